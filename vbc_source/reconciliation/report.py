"""Write the result of a reconciliation as text: the answer first, then where, then what else matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vbc_source.printable import align_columns
from vbc_source.windows import format_instant

if TYPE_CHECKING:
    from vbc_source.reconciliation.findings import ClassCounts, ReconcileResult

MOST_LINES = 20  # of each table
_TITLES = {
    "recorded": "recorded",
    "missing": "flagged but missing",
    "not_flagged": "never flagged",
    "unexpected": "recorded though not flagged",
    "length_differs": "length differs",
    "without_call": "without a call",
}


def format_report(result: ReconcileResult) -> Iterator[str]:
    """Yield the lines of the report."""
    span = f"from {format_instant(result.since)} to {format_instant(result.until)}"
    if not result.fits:
        yield (
            f"The ids do not match: only {result.matched_share:.0%} of the recorded calls {span} have a "
            "call log of the same id, so recordings cannot be compared with calls, and nothing is "
            "reported as missing."
        )
        return
    counts = {title: getattr(result, name) for name, title in _TITLES.items()}
    listed = ", ".join(f"{count:,} {title}" for title, count in counts.items() if count)
    yield f"{result.calls:,} calls {span}: {listed or 'none recorded'}."
    yield _write_news(result)
    for dimension, values in result.by.items():
        if rows := _select_rows(values):
            yield ""
            yield from _write_table(dimension, rows)
    for gap in result.gaps[:MOST_LINES]:
        title, where = _TITLES[gap.kind], f"account {gap.account_id}"
        yield f"{title}: call {gap.call_id}, {format_instant(gap.start)}, {gap.direction or '-'}, {where}"
    if len(result.gaps) > MOST_LINES:
        yield f"… and {len(result.gaps) - MOST_LINES:,} more, in the table call_gaps."
    yield from _write_notes(result)


def _write_news(result: ReconcileResult) -> str:
    # the counts are of all gaps, new ones among them
    known = sum(getattr(result, name) for name in _TITLES if name != "recorded") - result.new
    text = f"{result.new:,} new gap(s), {known:,} known and open, {result.closed:,} closed."
    return f"{text} docs/coverage.md says what each class means." if result.new else text


def _select_rows(values: Mapping[str, ClassCounts]) -> list[tuple[str, ClassCounts]]:
    """Order values by how many calls are missing; a single value has the counts of all, and is left out."""
    rows = sorted(values.items(), key=lambda row: (-row[1].get("missing", 0), -sum(row[1].values()), row[0]))
    return rows if len(rows) > 1 else []


def _write_table(dimension: str, rows: Sequence[tuple[str, ClassCounts]]) -> Iterator[str]:
    heads = [f"by {dimension}", *_TITLES.values()]
    lines = [
        [value, *(f"{Counter(counts)[name]:,}" for name in _TITLES)] for value, counts in rows[:MOST_LINES]
    ]
    yield from align_columns([heads, *lines], right=range(1, len(heads)))
    if len(rows) > MOST_LINES:
        yield f"… and {len(rows) - MOST_LINES:,} more"


def _write_notes(result: ReconcileResult) -> Iterator[str]:
    if result.not_answered:
        yield f"{result.not_answered:,} calls were not answered, so that nothing could be recorded."
    if result.waiting:
        until = f" Judged up to {format_instant(result.judged_until)}." if result.judged_until else ""
        yield (
            f"{result.waiting:,} cannot be judged yet: call logs or recordings are not proven complete "
            f"there, or are younger than the lookback.{until}"
        )
    if result.matched_share is not None:
        yield f"{result.matched_share:.2%} of the recorded calls have a call log of the same id."
