"""What an erasure found, erased and left: for people, as JSON, and as a certificate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

from vbc_source.private_files import write_private_file

# copies that no command of ours reaches
OUT_OF_REACH = (
    "backups and replicas of the database, and Postgres' write-ahead log",
    "extracts of BI tools, bags of evidence, notebooks, reports and CSV files, wherever people have put them",
    "zips of exports at VBC until they expire, and call logs at VBC: its API deletes neither",
    "free blocks of disks",
)


@dataclass(frozen=True, slots=True)
class Blocked:
    """Something that is not erased; `recording_id` is None where it is no single recording."""

    recording_id: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies in each place: erased ones, or in a dry run those that would be."""

    vbc: int = 0
    objects: int = 0
    rows: int = 0
    local_files: int = 0


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """What an erasure did, or would do.

    Attributes:
        applied: Whether anything was erased; False for a dry run.
        recordings: Recordings of the person.
        copies: Copies erased, or found.
        blocked: What is not erased, and why.
        erasure_id: Id of its row in `erasures`; empty for a dry run.
        places: Where copies are: tables, VBC, the bucket, with their number.
        notes: Further facts for the user.
        certificate: The file that certifies it; None for a dry run.
        ok: Whether nothing is blocked.
    """

    applied: bool
    recordings: int = 0
    copies: Copies = Copies()
    blocked: tuple[Blocked, ...] = ()
    erasure_id: str = ""
    places: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    certificate: str | None = None
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        copies = (
            f"{self.copies.vbc:,} at VBC, {self.copies.objects:,} objects, {self.copies.rows:,} rows, "
            f"{self.copies.local_files:,} files of dlt"
        )
        if self.applied:
            yield f"{self.recordings:,} recordings; erased: {copies}."
        else:
            yield f"Dry run: {self.recordings:,} recordings; --apply would erase: {copies}."
        for place, count in sorted(self.places.items()):
            yield f"  {place}: {count:,}"
        for item in self.blocked:
            name = f"recording {item.recording_id}" if item.recording_id is not None else "not erased"
            yield f"BLOCKED, {name}: {item.reason}."
        yield from (f"Note: {note}." for note in self.notes)
        yield f"Out of reach: {'; '.join(OUT_OF_REACH)}."
        if self.certificate:
            yield f"Certificate: {self.certificate}"


def write_certificate(
    folder: Path, result: ErasureResult, subject_hash: str, dataset: str, began_at: str, now: datetime
) -> ErasureResult:
    """Write the certificate, which does not name the person; return the result with its path."""
    path = folder / f"erasure-{result.erasure_id}.json"
    content = {
        "erasure_id": result.erasure_id,
        "subject_hash": subject_hash,
        "dataset": dataset,
        "began_at": began_at,
        "ended_at": now.isoformat(),
        "complete": result.ok,
        "recordings": result.recordings,
        "copies": asdict(result.copies),
        "not_erased": [asdict(item) for item in result.blocked],
        "notes": result.notes,
        "out_of_reach": OUT_OF_REACH,
    }
    write_private_file(path, json.dumps(content, indent=2) + "\n")
    return replace(result, certificate=str(path))
