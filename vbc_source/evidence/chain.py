"""Verify the chain of custody: its events, the ledgers, and the heads in the bucket, all with each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import StoredHead, list_chains, read_heads
from vbc_source.config import load_audio_config
from vbc_source.dashboard.plays import find_plays
from vbc_source.erasure.conditions import KEPT
from vbc_source.errors import VbcError
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers.custody import (
    CUSTODY,
    EVENT,
    LEDGER_ACTIONS,
    LINKS,
    ChainCheck,
    Head,
    hash_row,
    name_event,
    write_canonical_instant,
    write_key,
)
from vbc_source.load.locks import hold_pipeline_lock
from vbc_source.recordings import RECORDING_KEY, RecordingKey
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.erasures import read_erased
from vbc_source.warehouse.queries import LoadedTables, query_pages

PAGE_ROWS = 20_000
MOST_PROBLEMS = 1000  # that are named; the others are counted
_ORDER = ("chain", "sequence", "hash")
COLUMNS = (*_ORDER, *(name for name in (*EVENT, *LINKS) if name not in _ORDER))
# what every event has; one without is named, but cannot be placed in a chain
_WHOLE = " AND ".join(f"{name} IS NOT NULL" for name in (*_ORDER, "recorded_at", "ledger", "row_sha256"))

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CustodyResult:
    """What a verification of the chain of custody found.

    Attributes:
        ok: Whether nothing is wrong.
        events: Events in the chain.
        rows: Rows of the ledgers that were compared with their newest event.
        unchained: Rows that were loaded before the chain began, so that it does not cover them.
        erased: Rows that were removed by an erasure, which is in the chain itself.
        heads: Heads in the bucket that the chain was compared with; None where no bucket is configured.
        plays: Plays that the dashboard has chained; None where it has no ledger of them on this machine.
        problems: What is wrong, and where.
        unnamed: How many more problems there are.
    """

    ok: bool
    events: int = 0
    rows: int = 0
    unchained: int = 0
    erased: int = 0
    heads: int | None = None
    plays: int | None = None
    problems: tuple[str, ...] = ()
    unnamed: int = 0

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield f"{self.events:,} events and {self.rows:,} rows of ledgers verified."
        if self.unchained:
            yield f"{self.unchained:,} rows are older than the chain, which says nothing about them."
        if self.erased:
            yield f"{self.erased:,} rows were erased on request."
        if self.heads is None:
            yield "No bucket is configured: whether the end of the chain was cut off is not known."
        elif not self.heads:
            yield "The bucket has no head of the chain: whether its end was cut off is not known."
        else:
            yield f"{self.heads:,} heads in the bucket compared."
        if self.plays is not None:
            yield f"{self.plays:,} plays verified."
        yield from self.problems
        if self.unnamed:
            yield f"{self.unnamed:,} more problems are not named."


def verify_custody(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    since: datetime | None = None,
) -> CustodyResult:
    """Verify the chain of custody, and that the ledgers are what it says; nothing is changed.

    Args:
        target: Where the recordings are loaded.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        since: Only heads of this day and later count, and only forks of events since then: what was broken
            before is known.

    Returns:
        The problems that were found in the chain and in the ledgers; none if `ok`.

    Raises:
        VbcError: Nothing is chained yet, or the destination or the bucket could not be read.
    """
    with explaining():
        url = load_audio_config(bucket_url=bucket_url).bucket_url
        bucket = Bucket(url) if url else None
    loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA))
    with hold_ledgers(target):
        if not loaded.find(CUSTODY):
            raise VbcError(_describe_no_chain(target, bucket))
        return _Verification(loaded, bucket, since).run()


@contextmanager
def hold_ledgers(target: Target) -> Iterator[None]:
    """Keep other processes from loading ledgers: new rows would be in a ledger, and not yet in its chain."""
    with ExitStack() as stack:
        for pipeline in list_pipelines(target):
            stack.enter_context(hold_pipeline_lock(pipeline))
        yield


def list_pipelines(target: Target) -> tuple[str, ...]:
    """Return the pipelines that load ledgers; each has a chain of its name."""
    return tuple(target.ledgers(name).pipeline for name in ("audio", "verify"))


def _describe_no_chain(target: Target, bucket: Bucket | None) -> str:
    if bucket and not set(list_pipelines(target)).isdisjoint(list_chains(bucket)):
        return (
            f"dataset {target.dataset} has no table {CUSTODY}, although the bucket has heads of its chain: "
            "the table was removed, or the database restored"
        )
    return f"there is no chain of custody in dataset {target.dataset}: vbc audio starts one"


@dataclass(slots=True)
class _Newest:
    """The newest event of a row of a ledger."""

    at: tuple[datetime, int]
    row: bytes
    chain: str
    sequence: int
    is_seen: bool = False


class _Verification:
    def __init__(self, loaded: LoadedTables, bucket: Bucket | None, since: datetime | None) -> None:
        self._loaded, self._bucket, self._since = loaded, bucket, since
        self._problems: list[str] = []
        self._unnamed = 0
        self._known: set[bytes] = set()  # digests of rows of ledgers, as events have them
        self._newest: dict[bytes, _Newest] = {}  # by ledger and key
        self._keys: dict[str, list[str]] = {}  # columns of the key of each ledger
        self._began: dict[str, datetime] = {}  # when the first event of each ledger was recorded

    def run(self) -> CustodyResult:
        heads = self._read_heads()
        self._find_cut()
        events = self._check_events(heads)
        self._find_doubles()
        result = CustodyResult(
            ok=True,
            events=events,
            heads=len(heads) if self._bucket else None,
            plays=self._check_plays(heads.values()),
        )
        for ledger in self._loaded.find(*LEDGER_ACTIONS):
            result = self._check_ledger(ledger, result)
        result = self._check_missing(result)
        return replace(result, ok=not self._problems, problems=tuple(self._problems), unnamed=self._unnamed)

    def _report(self, problem: str) -> None:
        if len(self._problems) < MOST_PROBLEMS:
            self._problems.append(problem)
        else:
            self._unnamed += 1

    def _read_heads(self) -> dict[tuple[str, int, str], StoredHead]:
        """Read the heads in the bucket that count, by chain, sequence and hash."""
        if self._bucket is None:
            return {}
        first = self._since.strftime("%Y-%m-%d") if self._since else ""
        heads = {}
        for folder in list_chains(self._bucket):
            for head in read_heads(self._bucket, folder):
                if isinstance(head, str):
                    self._report(f"the head {head} is not readable")
                elif head.day >= first:
                    heads[head.chain, head.sequence, head.hash] = head
        return heads

    def _check_events(self, heads: dict[tuple[str, int, str], StoredHead]) -> int:
        check = ChainCheck()
        # another pipeline or database may use the bucket, too
        chains, expected = set(list_pipelines(self._loaded.target)), dict(heads)
        for event in read_events(self._loaded):
            chains.add(event["chain"])
            for problem in check.check(event):
                if not (problem.is_fork and self._since and event["recorded_at"] < self._since):
                    self._report(problem.text)
            expected.pop((event["chain"], event["sequence"], event["hash"]), None)
            self._remember(event)
        for head in expected.values():
            if head.chain in chains:
                self._report(
                    f"{name_event(head.chain, head.sequence)} is not as the bucket has it, in the head of "
                    f"{head.day}: the chain was cut off or replaced, or the database restored"
                )
        return check.events

    def _remember(self, event: Row) -> None:
        ledger, key, digest = event["ledger"], event["row_key"], event["row_sha256"]
        if key and ledger not in self._keys:
            with suppress(ValueError, TypeError):  # a key that was changed, which is reported elsewhere
                # from the events themselves: another version of this package may have another key
                self._keys[ledger] = sorted(json.loads(key))
        self._began[ledger] = min(event["recorded_at"], self._began.get(ledger, event["recorded_at"]))
        row = _digest(ledger, key, digest)
        self._known.add(row)
        newest = _Newest((event["recorded_at"], event["sequence"]), row, event["chain"], event["sequence"])
        # by time before number: the branches of a fork have the same numbers
        found = self._newest.setdefault(_digest(ledger, key or digest), newest)
        if found.at < newest.at:
            self._newest[_digest(ledger, key or digest)] = newest

    def _find_cut(self) -> None:
        """Find events that lack what every event has."""
        ((count,),) = self._loaded.query(f"SELECT count(*) FROM {CUSTODY} WHERE NOT ({_WHOLE})")
        if count:
            self._report(f"{count} rows of {CUSTODY} were changed: they lack what every event has")

    def _find_doubles(self) -> None:
        """Find events that are there again with another content, but the same hash."""
        # DISTINCT: a load that was killed while it copied has copied events once more, which changes nothing
        same = ", ".join(_ORDER)
        for chain, sequence, *_ in self._loaded.query(
            f"SELECT {same} FROM (SELECT DISTINCT {', '.join(COLUMNS)} FROM {CUSTODY}) AS events "
            f"GROUP BY {same} HAVING count(*) > 1"
        ):
            self._report(f"{name_event(chain, sequence)} is there again, with another content")

    def _check_ledger(self, ledger: str, result: CustodyResult) -> CustodyResult:
        """Compare the rows of a ledger with the events."""
        rows = unchained = 0
        # in files, a row stays beside the one that replaced it
        is_appended = self._loaded.kind == FILESYSTEM
        for row in read_ledger(self._loaded, ledger):
            rows += 1
            key, digest = write_key(row, self._keys.get(ledger, ())), hash_row(row)
            # a row of a ledger that is never replaced has no key; its content identifies it
            place = self._newest.get(_digest(ledger, key or digest))
            content = _digest(ledger, key, digest)
            if place and place.row == content:
                place.is_seen = True
            elif content in self._known:
                continue  # replaced by a newer row, in a ledger that is only appended to
            elif place and (row.get("actor_version") or not is_appended):
                place.is_seen = True
                self._report(
                    f"the row {key} of {ledger} was changed after {name_event(place.chain, place.sequence)}"
                )
            elif row.get("actor_version") or self._is_younger(ledger, row):
                self._report(f"the row {key or _name_row(row)} of {ledger} has no event")
            else:
                unchained += 1
        return replace(result, rows=result.rows + rows, unchained=result.unchained + unchained)

    def _is_younger(self, ledger: str, row: Row) -> bool:
        """Return whether a row says that it is younger than the first event of its ledger, or of any."""
        # compared as canonical texts: some databases return instants without a zone, others with one
        moments = (row[name] for name in row if name.endswith("_at"))
        newest = max(
            (write_canonical_instant(one) for one in moments if isinstance(one, datetime)), default=""
        )
        began = self._began.get(ledger) or min(self._began.values(), default=None)
        return began is not None and newest > write_canonical_instant(began)

    def _check_missing(self, result: CustodyResult) -> CustodyResult:
        """Name the events whose row is not there, unless an erasure has removed it."""
        missing = {(one.chain, one.sequence) for one in self._newest.values() if not one.is_seen}
        if not missing:
            return result
        # read a second time, and only where something is missing: events in memory have no key of a recording
        erased, forgiven = read_erased(self._loaded), 0
        for event in read_events(self._loaded):
            if (event["chain"], event["sequence"]) not in missing:
                continue
            # an erasure keeps the rows of these ledgers, and so excuses none that is missing there
            if event["ledger"] not in KEPT and _key_of(event) in erased:
                forgiven += 1
            else:
                name = event["row_key"] or _name_row(event)
                self._report(
                    f"the row {name} of {event['ledger']} is missing, or is an older one than that of "
                    f"{name_event(event['chain'], event['sequence'])}"
                )
        return replace(result, erased=forgiven)

    def _check_plays(self, heads: Iterable[StoredHead]) -> int | None:
        plays = find_plays(self._loaded.target)
        if plays is None:
            return None
        check = plays.verify(Head(head.sequence, head.hash) for head in heads if head.chain == plays.chain)
        for problem in check.problems:
            self._report(problem)
        return check.events if plays.path.exists() else None


def read_events(loaded: LoadedTables, where: str = "1 = 1", **values: Any) -> Iterator[dict[str, Any]]:
    """Read events in the order of their chains, each once."""
    rows = query_pages(
        loaded,
        lambda _: f"SELECT {', '.join(COLUMNS)} FROM {CUSTODY} WHERE {_WHOLE} AND {where}",
        COLUMNS,
        len(_ORDER),
        PAGE_ROWS,
        **values,
    )
    for row in rows:
        yield {**row, "sequence": int(row["sequence"])}


def read_ledger(loaded: LoadedTables, ledger: str) -> Iterator[dict[str, Any]]:
    """Read the rows of a ledger with all columns but dlt's, in parts, as not all may fit into memory."""
    columns = [name for name in loaded.columns(ledger) if not name.startswith("_dlt_")]
    ((count,),) = loaded.query(f"SELECT count(*) FROM {ledger}")
    # by the remainder of the id: not every ledger has a key to continue after, and a null must be in one part
    parts = -(-int(count) // PAGE_ROWS) if "recording_id" in columns else 1
    for part in range(parts):
        # SQL's remainder has the sign of the id
        where = f"WHERE coalesce(recording_id, 0) % {parts} IN ({part}, {part - parts})" if parts > 1 else ""
        names = ", ".join(f'"{name}"' for name in columns)
        for row in loaded.query(f"SELECT {names} FROM {ledger} {where}"):
            yield dict(zip(columns, row, strict=True))


def _digest(*parts: str | None) -> bytes:
    # half a digest: one is kept in memory for each event and each row
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).digest()[:16]


def _name_row(row: Row) -> str:
    return " ".join(str(row[name]) for name in RECORDING_KEY if row.get(name)) or "without a key"


def _key_of(event: Row) -> RecordingKey:
    account, kind, user, id_ = (event[name] for name in RECORDING_KEY)
    return str(account), str(kind), str(user or ""), int(id_ or 0)
