"""The chain of custody: an event for each row that is loaded into a ledger, chained by hash. Pure.

The hash of an event covers its content and the hash of the event before it. So an event that is changed,
removed or moved later no longer fits the next one. The content of the ledger's row is in it as a digest
alone: the chain stays when the row has to be erased.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple

from vbc_source.recordings import RECORDING_KEY

CUSTODY = "custody"
LEDGER_ACTIONS = {  # by ledger
    "recording_audio": "archive",
    "audio_checks": "check",
    "recording_deletions": "deletion",
    "recording_holds": "hold",
    "erasures": "erasure",
    "erased_recordings": "erasure",
    "recording_tombstones": "tombstone",
}
ACTOR = ("actor_user", "actor_host", "actor_version")
EVENT = (  # columns of an event that its hash covers
    "chain",
    "sequence",
    "recorded_at",
    "action",
    *RECORDING_KEY,
    "ledger",
    "row_key",
    "row_sha256",
    *ACTOR,
)
LINKS = ("previous_hash", "hash")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event of a chain; of an empty one by default."""

    sequence: int = 0
    hash: str = ""
    recorded_at: datetime | None = None


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_canonical_instant(value)
    if isinstance(value, Decimal):  # what some warehouses make of whole numbers
        return int(value) if value == value.to_integral_value() else float(value)
    return str(value)


# kept: making one takes longer than a row
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_to_json).encode


def write_canonical(fields: Row) -> str:
    """Write fields as canonical JSON, the same from whatever database they are read.

    Keys are sorted, there are no spaces, and all is ASCII. Fields without a value are left out, so that a
    column that a later version adds changes nothing. Instants are in UTC, to the microsecond.
    """
    return _encode({name: value for name, value in fields.items() if value is not None})


def write_canonical_instant(moment: datetime) -> str:
    """Write an instant in UTC, to the microsecond; one without a zone is in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return aware.astimezone(timezone.utc).isoformat(timespec="microseconds")


def hash_fields(fields: Row) -> str:
    """Return the SHA-256 of canonical JSON, in hexadecimal digits."""
    return hashlib.sha256(write_canonical(fields).encode()).hexdigest()


def hash_row(row: Row) -> str:
    """Return the digest of a ledger's row: of what it says, without dlt's own columns."""
    return hash_fields({name: value for name, value in row.items() if not name.startswith("_dlt_")})


def hash_link(previous: str, event_sha256: str) -> str:
    """Return the hash of an event, given the hash of the event before it and the event's own digest."""
    return hashlib.sha256(f"{previous}{event_sha256}".encode()).hexdigest()


def chain_rows(
    ledger: str, rows: Iterable[Row], key: Sequence[str], chain: str, head: Head, now: datetime
) -> Iterator[dict[str, Any]]:
    """Make an event for each row of a ledger, each with the hash of the one before it.

    Args:
        ledger: A table of `LEDGER_ACTIONS`.
        rows: Its rows, with their actor.
        key: The columns that identify a row; none where a row is never replaced.
        chain: The name of the chain.
        head: Its newest event.
        now: When the rows are loaded; events never go back in time, even if the clock does.
    """
    moment, previous = max(now, head.recorded_at or now), head.hash
    for sequence, row in enumerate(rows, head.sequence + 1):
        event = {
            "chain": chain,
            "sequence": sequence,
            "recorded_at": moment,
            "action": LEDGER_ACTIONS[ledger],
            **{name: row.get(name) for name in (*RECORDING_KEY, *ACTOR)},
            "ledger": ledger,
            "row_key": write_key(row, key),
            "row_sha256": hash_row(row),
        }
        link = hash_link(previous, hash_fields(event))
        yield {**event, "previous_hash": previous, "hash": link}
        previous = link


def write_key(row: Row, key: Iterable[str]) -> str | None:
    """Write the key of a row as canonical JSON, with its columns; None where the ledger has no key."""
    columns = {name: row.get(name) for name in key}
    return write_canonical(columns) if columns else None


class ChainProblem(NamedTuple):
    """What is wrong with a chain, and where; a fork by itself hides nothing."""

    text: str
    is_fork: bool = False


class ChainCheck:
    """Verifies chains, event by event; they come in the order of chain and sequence.

    A fork is where two events of one chain have the same sequence, as when two machines have loaded into it
    at once. All its branches are verified.

    Attributes:
        events: Events so far, each once.
    """

    def __init__(self, *, from_start: bool = True) -> None:
        self.events = 0
        self._from_start = from_start
        self._chain, self._sequence = "", 0
        self._level: set[str] = set()  # hashes of the events of the newest sequence
        self._before: set[str] = set()  # and of the one before it; empty where that is not known

    def check(self, row: Row) -> Iterator[ChainProblem]:
        """Yield what is wrong with the next event; one that is there twice counts once."""
        chain, sequence = str(row["chain"]), int(row["sequence"])
        if chain != self._chain:
            # the first event of a chain follows the empty hash; from the middle, the
            # one before it is not known
            self._chain, self._sequence, self._level = chain, 0, {""}
            if not self._from_start:
                self._sequence, self._level = sequence - 1, set()
        elif sequence == self._sequence and row["hash"] in self._level:
            return  # a load that is killed while it copies copies once more
        self.events += 1
        name = name_event(chain, sequence)
        if sequence == self._sequence:
            yield ChainProblem(f"{name} is there more than once: the chain has a fork", is_fork=True)
        else:
            follows = sequence == self._sequence + 1
            if not follows:
                yield ChainProblem(_describe_missing(chain, self._sequence + 1, sequence - 1))
            # behind a hole there is nothing to compare with: the hole is the one fault that is reported
            self._before, self._level = self._level if follows else set(), set()
            self._sequence = sequence
        if problem := self._find_flaw(row):
            yield ChainProblem(f"{name} {problem}")
        self._level.add(str(row["hash"]))

    def _find_flaw(self, row: Row) -> str | None:
        event = {column: row.get(column) for column in EVENT}
        previous = str(row["previous_hash"] or "")
        if hash_link(previous, hash_fields(event)) != row["hash"]:
            return "was changed or moved: its hash is not that of its content"
        if self._before and previous not in self._before:
            return "does not follow the one before it: that was replaced"
        return None


def name_event(chain: str, sequence: int) -> str:
    """Name an event in messages."""
    return f"event {sequence} of chain {chain}"


def _describe_missing(chain: str, first: int, last: int) -> str:
    if first == last:
        return f"{name_event(chain, first)} is missing"
    return f"events {first} to {last} of chain {chain} are missing"
