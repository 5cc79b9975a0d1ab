"""An emulator of the Vonage Business Communications gateway with two of its APIs.

It answers over HTTP, as Call Recording and as Provisioning, with invented recordings and users, and
goes wrong on demand in the ways the real one does. Nothing in it is shared with the connector, so that
a misreading cannot hide in both.

    gateway = Gateway(recordings=20_000)
    with Emulator(gateway) as url:
        ...
"""

from __future__ import annotations

from vbc_source.emulator.accounts import Account
from vbc_source.emulator.catalogue import FAULTS
from vbc_source.emulator.gateway import Gateway
from vbc_source.emulator.jobs import Jobs
from vbc_source.emulator.journal import Request
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.server import Emulator, serve
from vbc_source.emulator.users import Users

__all__ = ["FAULTS", "Account", "Emulator", "Gateway", "Jobs", "Recordings", "Request", "Users", "serve"]
