"""The local ledger `recording_plays`: who played or downloaded which recording, and when.

The database is only read, so this is a file of its own: one JSON line for each play, readable by the account
that runs the dashboard. Who played is the account of this machine that owns the connection, where the system
tells it. The lines are a chain of their own: each has the hash of the one before it. The archive's bucket
keeps its head, so that nobody can cut off the end of the chain unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import dlt
from filelock import FileLock, Timeout

from vbc_source.analytics.database import AnalyticsDatabase, find_database
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_head
from vbc_source.config import load_audio_config
from vbc_source.durable_files import fsync
from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers.actor import find_actor, find_user, name_account
from vbc_source.load.ledgers.custody import LINKS, Head, hash_fields, hash_link

log = logging.getLogger(__name__)

PlayAction = Literal["play", "download"]

# a player asks for a file in many ranges; within this time they are one play
SAME_PLAY = timedelta(minutes=15)
CONNECTIONS = Path("/proc/net/tcp")
ESTABLISHED = "01"
LOCK_SECONDS = 10.0  # a play takes a moment to record


@dataclass(frozen=True, slots=True)
class Play:
    """A play or a download of a recording; `link` is its line in the chain, None where it has none."""

    recording_key: str
    played_at: datetime
    played_by: str
    action: PlayAction
    link: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PlaysCheck:
    """What a verification of the ledger found: chained plays, and what is wrong."""

    events: int
    problems: tuple[str, ...]


class PlaysLedger:
    """Appends plays to a file. Thread-safe."""

    def __init__(
        self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        self.path, self._clock, self._lock = path, clock, threading.Lock()
        self._plays: list[Play] = []
        self._rest, self._size = b"", 0  # of the file as far as it was read, and its unfinished last line

    def record(self, recording_key: str, played_by: str, action: PlayAction) -> None:
        """Record a play unless it continues one; raises VbcError if that fails, so that nothing is played."""
        play = Play(recording_key, self._clock(), played_by, action)
        with self._lock:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # of two dashboards, only one may follow a line
                with FileLock(self.path.with_suffix(".lock"), mode=0o600, timeout=LOCK_SECONDS):
                    # with what another dashboard has appended: the new line follows the last one of the file
                    earlier = self._read()
                    if action == "play" and any(_continues(play, one) for one in earlier):
                        return
                    self._append(play)
            except (OSError, Timeout) as error:
                reason = "it is locked" if isinstance(error, Timeout) else error.strerror
                raise VbcError(
                    f"nothing is played, as it could not be recorded in {self.path}: {reason}"
                ) from error

    def list_plays(self, recording_key: str | None = None) -> list[Play]:
        """Return the plays of a recording, newest first; of all of them without one."""
        with self._lock:
            plays = [play for play in self._read() if recording_key in (None, play.recording_key)]
        return sorted(plays, key=lambda play: play.played_at, reverse=True)

    def read_links(self) -> list[Mapping[str, Any]]:
        """Return the chained lines, in their order."""
        with self._lock:
            return [play.link for play in self._read() if play.link]

    @property
    def chain(self) -> str:
        """The name of its chain: each machine has a file of its own for a dataset."""
        return f"recording_plays-{self.path.parent.name}-{find_actor()['actor_host']}"

    def find_head(self) -> Head:
        """Return the newest play of the chain."""
        links = self.read_links()
        return Head(len(links), str(links[-1]["hash"])) if links else Head()

    def verify(self, heads: Iterable[Head] = ()) -> PlaysCheck:
        """Verify the chain, also with what was its head once.

        Lines of earlier versions, without hashes, may only be its beginning.
        """
        problems, events, previous = list[str](), 0, ""
        hashes = [""]
        with self._lock:
            plays = list(self._read())
        for play in plays:
            if play.link is None:
                if events:
                    problems.append(f"a line after play {events} in {self.path} is not chained")
                continue
            events += 1
            if not _fits(play.link, previous):
                problems.append(
                    f"play {events} in {self.path} was changed, or does not follow the one before it"
                )
            previous = str(play.link.get("hash"))
            hashes.append(previous)
        problems += [
            f"play {head.sequence} in {self.path} is not as the bucket has it: it was cut off or replaced"
            for head in heads
            if head.hash != (hashes[head.sequence] if head.sequence <= events else None)
        ]
        return PlaysCheck(events, tuple(problems))

    def _append(self, play: Play) -> None:
        actor = find_actor()
        row = {
            **{name: value for name, value in asdict(play).items() if name != "link"},
            "played_at": play.played_at.isoformat(),
            **{name: actor[name] for name in ("actor_host", "actor_version")},
        }
        # lines of earlier versions have no hash
        previous = next((str(one.link["hash"]) for one in reversed(self._plays) if one.link), "")
        row |= {"previous_hash": previous, "hash": hash_link(previous, hash_fields(row))}
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # after a line that a kill or a full disk has cut short
            os.write(file, b"\n" * bool(self._rest) + json.dumps(row).encode() + b"\n")
            os.fsync(file)
        finally:
            os.close(file)
        # a new name is on the disk with its folder alone
        if is_new:
            fsync(self.path.parent)

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
        played_at = datetime.fromisoformat(row["played_at"])
        link = row if "hash" in row else None
        return Play(str(row["recording_key"]), played_at, str(row["played_by"]), row["action"], link)
    except (ValueError, TypeError, KeyError):
        return None  # cut short by a kill or a full disk


class PlaysHead:
    """Stores the head of a ledger's chain with the first play of a day. Thread-safe."""

    def __init__(
        self, plays: PlaysLedger, clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    ) -> None:
        self._plays, self._clock = plays, clock
        self._lock, self._day = threading.Lock(), date.min

    def store(self, bucket_url: str) -> None:
        """Store the head in a bucket unless it has today's; logs a warning where that is not possible."""
        now = self._clock()
        with self._lock:
            if self._day == now.date():
                return
            self._day = now.date()  # one attempt a day: a bucket that refuses must not delay each play
        try:
            with explaining():
                config = load_audio_config(bucket_url=bucket_url)
                store_head(
                    Bucket(config.bucket, config.storage), self._plays.chain, self._plays.find_head(), now
                )
        except VbcError as error:
            log.warning("the head of the chain of plays is not stored: %s", error)


def split_link(link: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the hash of a line covers: all but the hashes."""
    return {name: value for name, value in link.items() if name not in LINKS}


def _fits(link: Mapping[str, Any], previous: str) -> bool:
    own = hash_link(previous, hash_fields(split_link(link)))
    return (link.get("previous_hash"), link.get("hash")) == (previous, own)


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


def find_plays(target: Target) -> PlaysLedger | None:
    """Return the ledger of a target on this machine; None where the dashboard cannot show it."""
    try:
        return open_ledger(find_database(target))
    except UsageError:
        return None


def find_account(client: tuple[str, int] | None) -> str:
    """Return the account of this machine that owns a connection to the server, else the server's own."""
    try:
        # only Linux has this file
        lines = CONNECTIONS.read_text().splitlines()[1:]
    except OSError:
        return find_user()
    # ports are hexadecimal in this file
    port = f":{client[1]:04X}" if client else ""
    for line in lines:
        # of the two ends of a loopback connection, the client's has the client's port as its local one
        _, local, _, state, _, _, _, owner, *_ = line.split()
        if port and local.endswith(port) and state == ESTABLISHED:
            return name_account(int(owner))
    return find_user()
