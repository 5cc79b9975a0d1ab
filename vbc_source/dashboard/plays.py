"""The local ledger `recording_plays`: who played or downloaded which recording, and when.

The database is only read, so this is a file of its own: one JSON line for each play, readable by the account
that runs the dashboard. Who played is the account of this machine that owns the connection, where the system
tells it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

import dlt

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.errors import VbcError
from vbc_source.load.actor import find_user, name_account

Action = Literal["play", "download"]

# a player asks for a file in many ranges; within this time they are one play
SAME_PLAY = timedelta(minutes=15)
CONNECTIONS = Path("/proc/net/tcp")
ESTABLISHED = "01"


@dataclass(frozen=True, slots=True)
class Play:
    """A play or a download of a recording."""

    recording_key: str
    played_at: datetime
    played_by: str
    action: Action


class PlaysLedger:
    """Appends plays to a file. Thread-safe."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        self.path, self._clock, self._lock = path, clock, threading.Lock()
        self._plays: list[Play] = []
        self._rest, self._size = b"", 0  # of the file as far as it was read, and its unfinished last line

    def record(self, recording_key: str, played_by: str, action: Action) -> None:
        """Record a play unless it continues one; raises VbcError if that fails, so that nothing is played."""
        play = Play(recording_key, self._clock(), played_by, action)
        with self._lock:
            try:
                if action == "play" and any(_continues(play, earlier) for earlier in self._read()):
                    return
                self._append(play)
            except OSError as error:
                raise VbcError(
                    f"nothing is played, as it could not be recorded in {self.path}: {error.strerror}"
                ) from error

    def list_plays(self, recording_key: str) -> list[Play]:
        """Return the plays of a recording, newest first."""
        with self._lock:
            plays = [play for play in self._read() if play.recording_key == recording_key]
        return sorted(plays, key=lambda play: play.played_at, reverse=True)

    def _append(self, play: Play) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {**asdict(play), "played_at": play.played_at.isoformat()}
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, json.dumps(row).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)

    def _read(self) -> list[Play]:
        """Return all plays; of the file, only what was appended since the last time is read."""
        try:
            with open(self.path, "rb") as file:
                if file.seek(0, os.SEEK_END) < self._size:  # another file took its place
                    self._plays, self._rest, self._size = [], b"", 0
                file.seek(self._size)
                added = file.read()
        except FileNotFoundError:
            self._plays, self._rest, self._size = [], b"", 0
            return []
        self._size += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        self._plays += [play for line in lines if (play := _parse(line))]
        return self._plays


def _parse(line: bytes) -> Play | None:
    try:
        row = json.loads(line)
        return Play(**{**row, "played_at": datetime.fromisoformat(row["played_at"])})
    except (ValueError, TypeError, KeyError):
        return None  # cut short by a kill or a full disk


def _continues(play: Play, earlier: Play) -> bool:
    same = (play.recording_key, play.played_by) == (earlier.recording_key, earlier.played_by)
    return same and earlier.action == "play" and play.played_at - earlier.played_at < SAME_PLAY


def open_ledger(database: AnalyticsDatabase) -> PlaysLedger:
    """Return the ledger of a dataset, in dlt's data folder."""
    place = getattr(database.credentials, "database", "")
    host = getattr(database.credentials, "host", "")
    name = hashlib.sha256(f"{database.kind} {host} {place} {database.dataset}".encode()).hexdigest()[:16]
    folder = Path(dlt.current.run_context().data_dir) / "vbc_dashboard" / name
    return PlaysLedger(folder / "recording_plays.jsonl")


def find_account(client: tuple[str, int] | None) -> str:
    """Return the account of this machine that owns a connection to the server, else the server's own."""
    try:
        lines = CONNECTIONS.read_text().splitlines()[1:]
    except OSError:
        return find_user()
    port = f":{client[1]:04X}" if client else ""
    for line in lines:
        # of the two ends of a loopback connection, the client's has the client's port as its local one
        _, local, _, state, _, _, _, owner, *_ = line.split()
        if port and local.endswith(port) and state == ESTABLISHED:
            return name_account(int(owner))
    return find_user()
