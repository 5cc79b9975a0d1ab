"""Results of a reconciliation. Pure values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vbc_source.reconciliation.report import format_report
from vbc_source.warehouse.call_gaps import CallGap

LEAST_SHARE = 0.5  # of the recorded calls that must have a log, else the ids are not the same
DIMENSIONS = ("account", "day", "direction", "extension", "user", "recording rule")
ClassCounts = Mapping[str, int]  # by class


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """Result of a reconciliation; counts are of calls, whose legs are united.

    Attributes:
        ok: Whether the ids fit, and no call is flagged without a recording that was not known before.
        since: Oldest start of the calls.
        until: Newest start of the calls.
        calls: Calls in the logs.
        recorded: Calls that are flagged as recorded, with a recording of their length.
        missing: Calls that are flagged as recorded, without a recording.
        not_flagged: Calls that were answered, not flagged, and have no recording.
        unexpected: Calls with a recording that are not flagged.
        length_differs: Calls whose recording, or its audio file, is shorter or longer than it should be.
        without_call: Recordings, by call, that no log names.
        not_answered: Calls that nobody answered, without a recording.
        waiting: Calls, and recordings without one, that cannot be judged yet: a list is not proven complete.
        matched_share: Which part of the recorded calls has a log; None where there are none.
        gaps: What does not fit and was not known before, oldest first; with `known`, all of it.
        new: How much of it was not known before.
        closed: How many gaps that were open fit now.
        known: Whether known gaps count as a failure, too.
        judged_until: Up to when calls are judged, of the account furthest behind; None where none are.
        by: Counts by class, of each value of each dimension.
    """

    ok: bool
    since: datetime
    until: datetime
    calls: int
    recorded: int
    missing: int
    not_flagged: int
    unexpected: int
    length_differs: int
    without_call: int
    not_answered: int
    waiting: int
    matched_share: float | None
    gaps: tuple[CallGap, ...]
    new: int
    closed: int
    known: bool
    judged_until: datetime | None
    by: Mapping[str, Mapping[str, ClassCounts]]

    @property
    def fits(self) -> bool:
        """Whether calls and recordings have the same ids."""
        return share_fits(self.matched_share)

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        return list(format_report(self))

    def to_json(self) -> dict[str, Any]:
        """Return the result as --json prints it."""
        names = ("ok", "calls", "recorded", "missing", "not_flagged", "unexpected", "length_differs")
        return {
            **{name: getattr(self, name) for name in (*names, "without_call", "matched_share")},
            "gaps": [
                {
                    "account_id": gap.account_id,
                    "call_id": gap.call_id,
                    "class": gap.kind,
                    "start": gap.start.isoformat(),
                    "direction": gap.direction,
                }
                for gap in self.gaps
            ],
        }


def share_fits(share: float | None) -> bool:
    """Return whether enough recorded calls have a log for the ids to be the same."""
    return share is None or share >= LEAST_SHARE


def add_up(rows: list[tuple[Any, ...]]) -> dict[str, dict[str, Counter[str]]]:
    """Add up rows of the dimensions' values, a class and a count."""
    # rules are counted by a query of their own: a call whose recordings name several counts for each of them
    by: dict[str, dict[str, Counter[str]]] = {name: {} for name in DIMENSIONS[:-1]}
    for *values, kind, count in rows:
        for name, value in zip(by, values, strict=True):
            by[name].setdefault(str(value or "-"), Counter())[kind] += int(count)
    return by
