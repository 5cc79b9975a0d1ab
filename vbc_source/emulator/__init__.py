"""Emulator of the Vonage Business Communications gateway with three of its APIs.

Serves Call Recording, Provisioning and Reports over HTTP, with generated recordings, users and call logs,
and on demand with the faults of the real gateway. Imports nothing of the connector, so that a misreading of
the API cannot hide in both.

    gateway = Gateway(recordings=20_000)
    with Emulator(gateway) as url:
        ...

Imports point downwards only, which import-linter checks:

    http     the gateway in front of the APIs, and its server
    routes   endpoints of the APIs
    faults   what can go wrong
    data     accounts, users, recordings, jobs, audio
"""

from __future__ import annotations

from vbc_source.emulator.data.accounts import Account
from vbc_source.emulator.data.call_logs import CallLogs
from vbc_source.emulator.data.jobs import Jobs
from vbc_source.emulator.data.recordings import Recordings
from vbc_source.emulator.data.users import Users
from vbc_source.emulator.faults.catalogue import FAULTS
from vbc_source.emulator.http.gateway import Gateway
from vbc_source.emulator.http.request_log import Request
from vbc_source.emulator.http.server import Emulator, serve

__all__ = [
    "FAULTS",
    "Account",
    "CallLogs",
    "Emulator",
    "Gateway",
    "Jobs",
    "Recordings",
    "Request",
    "Users",
    "serve",
]
