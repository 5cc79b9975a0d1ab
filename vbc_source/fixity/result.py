"""The result of a check of the archive. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from vbc_source.fixity.inventory import Finding
from vbc_source.load.progress import write_size

MOST_LINES = 20  # of findings in a summary; --json has all


@dataclass(frozen=True, slots=True)
class FixityResult:
    """What a run checked, and what is wrong with the archive.

    Attributes:
        ok: Whether nothing is wrong, also by earlier runs.
        checked: Files read by this run, or whose checksum was asked for.
        bytes: Bytes of them.
        damaged: Ids of recordings whose file is damaged, whichever run found it.
        missing: Ids of recordings whose file is missing, whichever run found it.
        unreadable: Ids of recordings whose file could not be read.
        repaired: Ids of recordings whose file this run has put back.
        proven: Ids of recordings whose file this run has compared with VBC's bytes for the first time.
        unproven: Files that this run could not compare, as VBC did not give them.
        unknown: Audio objects that no row of the ledger names.
        unknown_keys: Some of their keys.
        sidecars: Keys of sidecars that are missing or do not agree with the ledger.
        manifests: Keys of manifests that are missing or do not agree with the ledger.
        without_sidecars: Files in folders that have neither sidecars nor a manifest.
        read_instead: Files read despite `remote`, as the store has no checksum of the whole object.
        left: Files of the selection that this run did not check.
        never_checked: Files of the selection that no run has ever checked.
        oldest_check: The oldest of the newest checks of all files of the selection.
        findings: What is wrong with each file; the ids above are theirs. At most 10,000.
        flaws: What is wrong with sidecars and manifests, in words.
        requests: Requests sent to VBC.
        seconds: Duration of the run.
    """

    ok: bool = True
    checked: int = 0
    bytes: int = 0
    damaged: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    unreadable: tuple[int, ...] = ()
    repaired: tuple[int, ...] = ()
    proven: tuple[int, ...] = ()
    unproven: int = 0
    unknown: int = 0
    unknown_keys: tuple[str, ...] = ()
    sidecars: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    without_sidecars: int = 0
    read_instead: int = 0
    left: int = 0
    never_checked: int = 0
    oldest_check: datetime | None = None
    findings: tuple[Finding, ...] = ()
    flaws: tuple[str, ...] = ()
    requests: int = 0
    seconds: float = 0.0

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield f"{self.checked:,} file(s) checked ({write_size(self.bytes)}) in {self.seconds:.1f} s."
        if self.read_instead:
            yield f"{self.read_instead:,} of them were read: the store has no checksum of the whole object."
        if self.repaired:
            yield f"{len(self.repaired):,} are stored again from VBC: {_list(map(str, self.repaired))}."
        if self.proven:
            yield f"{len(self.proven):,} are compared with VBC's own bytes now."
        if self.unproven:
            yield f"{self.unproven:,} could not be compared, since VBC did not give them."
        wrong = {"damaged": self.damaged, "missing": self.missing, "unreadable": self.unreadable}
        if any(wrong.values()):
            yield f"{', '.join(f'{len(ids):,} {name}' for name, ids in wrong.items() if ids)}:"
            yield from _cut([_describe(finding) for finding in self.findings])
        yield from _cut(list(self.flaws))
        if self.unknown:
            yield (
                f"{self.unknown:,} objects are in the bucket, but not in the ledger; vbc audio records those "
                f"of loaded recordings: {_list(self.unknown_keys)}."
            )
        if self.left:
            oldest = f", oldest check: {self.oldest_check:%Y-%m-%d}" if self.oldest_check else ""
            never = f"{self.never_checked:,} were never checked"
            yield f"{self.left:,} file(s) left for other runs; {never}{oldest}."


def _describe(finding: Finding) -> str:
    version = f" version {finding.version}" if finding.version > 1 else ""
    owner = f" of user {finding.user_id}" if finding.user_id else ""
    return (
        f"{finding.recording_type} recording {finding.recording_id}{version}{owner} is {finding.outcome}: "
        f"{finding.error}"
    )


def _cut(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:MOST_LINES]
    if len(lines) > MOST_LINES:
        yield f"… and {len(lines) - MOST_LINES:,} more."


def _list(names: Iterator[str] | Sequence[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:MOST_LINES]) + (", …" if len(listed) > MOST_LINES else "")
