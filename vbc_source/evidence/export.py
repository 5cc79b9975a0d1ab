"""Export all that is known about the recordings of a call, with its chain of custody, as a BagIt bag."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import read_heads
from vbc_source.audio.ledger import COLUMNS, LEDGER, LedgerRow
from vbc_source.audio.sidecars.metadata import LoadedFacts
from vbc_source.audio.sidecars.missing_sidecars import make_sidecar
from vbc_source.audio.sidecars.sidecar import LARGEST_SIDECAR, sidecar_key, write_sidecar
from vbc_source.audio.sidecars.storage import read_manifest
from vbc_source.config import load_audio_config
from vbc_source.dashboard.plays import PlaysLedger, find_plays, split_link
from vbc_source.errors import VbcError
from vbc_source.evidence.bag import Bag
from vbc_source.evidence.call import CallRecording, read_call
from vbc_source.evidence.chain import hold_ledgers, read_events
from vbc_source.fixity.days import judge_sidecar
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers.custody import (
    CUSTODY,
    EVENT,
    LEDGER_ACTIONS,
    ChainCheck,
    hash_fields,
    hash_row,
    write_canonical,
)
from vbc_source.recordings import RECORDING_KEY, escape
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

README = """\
What is known about one call: its audio, what was loaded about it, and the chain of custody.

  sha256sum -c manifest-sha256.txt     checks every file below data/
  data/recordings/N/                   one recording: audio, sidecar, loaded row, ledgers, proofs
  data/custody/*.jsonl                 the chain: an event a line, with the hash of the event before it;
                                       of other recordings' events there is the digest alone
  data/custody/starts.json             the hash before the first line of each chain
  data/custody/heads/                  the newest event of each day, as the bucket has it

docs/custody.md of vbc-source explains the chain, and has a short script that verifies it.
"""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EvidenceResult:
    """What was exported.

    Attributes:
        ok: Whether everything is there, and is what the ledgers and the chain say.
        recordings: Recordings of the call.
        files: Files in the bag, below `data`.
        problems: What is missing or differs; the rest is in the bag nevertheless.
    """

    ok: bool
    recordings: int
    files: int
    problems: tuple[str, ...] = ()

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield f"{self.recordings:,} recording(s) of the call, {self.files:,} files exported."
        yield from self.problems


def export_evidence(
    call_id: str,
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    out: Path,
    bucket_url: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> EvidenceResult:
    """Export audio, metadata, proofs and the chain of custody of all recordings of a call, as a BagIt bag.

    Audio is compared with the ledger while it is copied. What is missing or differs is named, and the rest
    exported. The files are private.

    Args:
        call_id: The call, as `call_id` of the recordings has it.
        target: Where the recordings are loaded.
        out: A new or empty folder.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        now: Returns the current time.

    Returns:
        What the bag holds, and what is missing or differs.

    Raises:
        UsageError: The folder is not empty.
        VbcError: Nothing is loaded about the call, or the destination could not be read.
    """
    with explaining():
        bucket = Bucket(load_audio_config(bucket_url=bucket_url).bucket)
    loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA))
    with hold_ledgers(target):
        recordings = read_call(loaded, call_id)
        if not recordings:
            raise VbcError("no recording of that call is loaded or archived")
        return _Export(loaded, bucket, Bag(out), find_plays(target), recordings).run(call_id, now())


class _Export:
    def __init__(
        self,
        loaded: LoadedTables,
        bucket: Bucket,
        bag: Bag,
        plays: PlaysLedger | None,
        recordings: Sequence[CallRecording],
    ) -> None:
        self._loaded, self._bucket, self._bag, self._plays = loaded, bucket, bag, plays
        self._recordings = recordings
        self._problems: list[str] = []
        self._starts: dict[str, str] = {}  # the hash before the first line of each chain, by its file

    def run(self, call_id: str, now: datetime) -> EvidenceResult:
        self._bag.add("README.txt", [README.encode()])
        events = self._read_own_events()
        for number, recording in enumerate(self._recordings, 1):
            log.info("evidence: %s", recording.title)
            self._add_recording(f"recordings/{number}", recording)
            self._compare(recording, events)
        self._add_chains(events)
        self._add_plays()
        # after the chains: their first lines are known once they are written
        self._add_json("custody/starts.json", self._starts)
        self._bag.close(now, **{"External-Identifier": call_id})
        problems = tuple(dict.fromkeys(self._problems))
        return EvidenceResult(not problems, len(self._recordings), self._bag.files, problems)

    def _add_recording(self, folder: str, recording: CallRecording) -> None:
        if not recording.files:
            erased = [row for row in recording.ledgers.get(LEDGER, ()) if row["status"] == "erased"]
            why = f": {erased[-1]['error']}" if erased else ""
            self._problems.append(f"{recording.title} has no archived file{why}")
        for row in recording.files:
            self._add_file(folder, recording, row)
        if recording.loaded:
            self._add_json(f"{folder}/loaded.json", recording.loaded)
        if not recording.windows:
            self._problems.append(f"{recording.title} is in no window that was read: nothing proves its list")
        self._add_json(f"{folder}/proofs.json", {"scan_windows": recording.windows})
        plays = self._plays.list_plays(recording.recording_key) if self._plays else []
        found = [
            {"played_at": one.played_at, "played_by": one.played_by, "action": one.action} for one in plays
        ]
        self._add_json(
            f"{folder}/ledgers.json", {**recording.ledgers, **({"recording_plays": found} if found else {})}
        )

    def _add_file(self, folder: str, recording: CallRecording, row: Row) -> None:
        """Add an archived file and its sidecar, and compare the file with the row of the ledger."""
        key = self._bucket.key_of(row["uri"])
        if key is None:
            self._problems.append(f"{recording.title}: {row['uri']} is not in {self._bucket.url}")
            return
        try:
            size = self._bucket.size(key)
            if size is None:
                self._problems.append(f"{recording.title}: {row['uri']} is missing in the bucket")
            else:
                written = self._bag.add(f"{folder}/{PurePosixPath(key).name}", self._read(key, size))
                if written != (row["size_bytes"], row["sha256"]):
                    self._problems.append(
                        f"{recording.title}: {row['uri']} differs from the ledger: {written.size} bytes with "
                        f"SHA-256 {written.sha256} instead of {row['size_bytes']} with {row['sha256']}"
                    )
            self._add_sidecar(folder, recording, row, key)
        except VbcError as error:
            self._problems.append(f"{recording.title}: {error}")

    def _add_sidecar(self, folder: str, recording: CallRecording, row: Row, key: str) -> None:
        sidecar = sidecar_key(key)
        name = f"{folder}/{PurePosixPath(sidecar).name}"
        size = self._bucket.size(sidecar)
        if size is None:
            columns: dict[str, Any] = {column: row.get(column) for column in COLUMNS}
            made = make_sidecar(
                LedgerRow(**columns), PurePosixPath(key).name, LoadedFacts(recording.loaded or None)
            )
            self._bag.add(name, [write_sidecar(made)])
        elif size > LARGEST_SIDECAR:
            self._problems.append(f"{recording.title}: its sidecar has {size:,} bytes, and is left out")
        else:
            body = b"".join(self._read(sidecar, size))
            self._bag.add(name, [body])
            path = PurePosixPath(sidecar)
            listed = (read_manifest(self._bucket, str(path.parent)) or {}).get(path.name)
            if flaw := judge_sidecar(body, row["sha256"], listed):
                self._problems.append(f"{recording.title}: its sidecar is not as it was written: {flaw}")

    def _read(self, key: str, size: int) -> Iterator[bytes]:
        return self._bucket.read_range(key, 0, size)

    def _add_json(self, name: str, fields: Row) -> None:
        # canonical first: values stand here as they were hashed, so that a reader can compute the digests
        text = json.dumps(json.loads(write_canonical(fields)), indent=2, sort_keys=True)
        self._bag.add(name, [text.encode(), b"\n"])

    def _read_own_events(self) -> list[dict[str, Any]]:
        """Read the events of the recordings, in the order of the chains."""
        if not self._loaded.has(CUSTODY):
            self._problems.append("there is no chain of custody: vbc audio starts one")
            return []
        events = []
        for recording in self._recordings:
            account, kind, user, id_ = recording.key
            where = "account_id = :account AND recording_type = :kind AND recording_id = :id"
            found = read_events(self._loaded, where, account=account, kind=kind, id=id_)
            # compared here: a company's events have no user, and SQL finds null equal to nothing
            events += [event for event in found if (event["user_id"] or "") == user]
        return events

    def _compare(self, recording: CallRecording, events: Sequence[Row]) -> None:
        """Compare the rows of the ledgers with the events of the recording."""
        own = [one for one in events if tuple(one[name] for name in RECORDING_KEY) == recording.key]
        for ledger, rows in recording.ledgers.items():
            known = {one["row_sha256"] for one in own if one["ledger"] == ledger}
            for row in rows if ledger in LEDGER_ACTIONS else ():
                # without an actor it is older than the chain, which says nothing about it
                if row.get("actor_version") and hash_row(row) not in known:
                    self._problems.append(
                        f"{recording.title}: a row of {ledger} was changed, or has no event"
                    )
        newest: dict[tuple[str, str], Row] = {}
        for one in sorted(own, key=lambda event: (event["recorded_at"], event["sequence"])):
            newest[one["ledger"], one["row_key"] or one["row_sha256"]] = one
        for (ledger, _), one in newest.items():
            if one["row_sha256"] not in map(hash_row, recording.ledgers.get(ledger, ())):
                self._problems.append(
                    f"{recording.title}: the row of {ledger} of event {one['sequence']} of chain "
                    f"{one['chain']} is missing or was changed"
                )

    def _add_chains(self, events: Sequence[Row]) -> None:
        """Add the chains, from the first event of the call on, with the heads in the bucket."""
        first: dict[str, int] = {}
        for event in events:
            first[event["chain"]] = min(event["sequence"], first.get(event["chain"], event["sequence"]))
        # other recordings' events are in the bag as digests: whoever gets it has no business with them
        own = {event["hash"] for event in events}
        for chain, sequence in first.items():
            self._bag.add(f"custody/{escape(chain)}.jsonl", self._write_chain(chain, sequence, own))
            self._add_heads(chain, sequence, escape(chain))

    def _add_heads(self, chain: str, first: int, folder: str) -> None:
        """Add the heads of a chain in the bucket that are not older than what is exported of it."""
        try:
            for head in read_heads(self._bucket, escape(chain)):
                if isinstance(head, str):
                    self._problems.append(f"the head {head} is not readable")
                elif head.sequence >= first:
                    self._bag.add(f"custody/heads/{folder}/{head.day}.json", [head.body])
        except VbcError as error:
            self._problems.append(f"the heads of chain {chain} are left out: {error}")

    def _write_chain(self, chain: str, first: int, own: set[str]) -> Iterator[bytes]:
        check = ChainCheck(from_start=False)
        where = "chain = :chain AND sequence >= :first"
        for row in read_events(self._loaded, where, chain=chain, first=first):
            self._problems += [problem.text for problem in check.check(row)]
            self._starts.setdefault(escape(chain), row["previous_hash"] or "")
            event = {name: row[name] for name in EVENT}
            yield _write_link(event, row, is_shown=row["hash"] in own)

    def _add_plays(self) -> None:
        """Add the dashboard's chain of plays, from the first play of the call on."""
        if self._plays is None:
            return
        keys = {recording.recording_key for recording in self._recordings}
        links = self._plays.read_links()
        first = next((place for place, link in enumerate(links) if link["recording_key"] in keys), None)
        if first is None:
            return
        self._problems += self._plays.verify().problems
        self._starts["plays"] = links[first]["previous_hash"] or ""
        self._bag.add(
            "custody/plays.jsonl",
            (
                _write_link(split_link(link), link, is_shown=link["recording_key"] in keys)
                for link in links[first:]
            ),
        )
        # plays are numbered from 1
        self._add_heads(self._plays.chain, first + 1, "plays")


def _write_link(event: Row, link: Row, *, is_shown: bool) -> bytes:
    """Write a line of a chain: the text of the event, or its digest where it is of another recording."""
    shown = {"event": write_canonical(event)} if is_shown else {"event_sha256": hash_fields(event)}
    line = {**shown, "previous_hash": link["previous_hash"] or "", "hash": link["hash"]}
    return write_canonical(line).encode() + b"\n"
