"""An emulator of the Vonage Business Communications gateway with its Call Recording API.

It answers over HTTP with invented recordings, and goes wrong on demand in the ways the real one
does. Nothing in it is shared with the connector, so that a misreading cannot hide in both.

    gateway = Gateway(recordings=20_000)
    with Emulator(gateway) as url:
        ...
"""

from __future__ import annotations

from vbc_source.emulator.catalogue import FAULTS
from vbc_source.emulator.gateway import Gateway
from vbc_source.emulator.journal import Request
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.server import Emulator, serve

__all__ = ["FAULTS", "Emulator", "Gateway", "Recordings", "Request", "serve"]
