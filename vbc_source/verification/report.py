"""Write the result of a verification as text: the answer first, then where, then what else matters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from vbc_source.load.progress import write_time
from vbc_source.printable import align_columns
from vbc_source.windows import format_instant

if TYPE_CHECKING:
    from vbc_source.verification.findings import DifferingSpan, ListTotal, VerifyResult
    from vbc_source.verification.lateness import Lateness
    from vbc_source.warehouse.completeness import Gap

MOST_LINES = 40  # of each table; --json has all of them

_COUNTS = ("VBC", "loaded", "archived", "tombstoned")
_SPAN = ("account", "user", "type", "from", "to", *_COUNTS, "")
_TOTAL = ("account", "user", "type", *_COUNTS, "")
_GAP = ("account", "user", "resource", "from", "to")


def format_report(result: VerifyResult) -> Iterator[str]:
    """Yield the lines of the report."""
    yield _write_answer(result)
    if result.loaded or result.tombstoned or result.returned or result.unconfirmed:
        yield from _write_repairs(result)
    if result.spans:
        yield ""
        yield from _write_table(_SPAN, map(_write_span, result.spans))
    yield ""
    # lists that need attention first, then the company's
    totals = sorted(result.totals, key=lambda total: (total.agrees and not total.unread, total.user_id != ""))
    yield from _write_table(_TOTAL, map(_write_total, totals))
    yield from _write_notes(result)


def _write_answer(result: VerifyResult) -> str:
    span = f"from {format_instant(result.since)} to {format_instant(result.until)}"
    lists = f"{len(result.totals):,} list(s), {result.requests:,} requests, {result.seconds:.1f} s"
    if result.ok:
        now = " now" if any(not span.recent or span.gone for span in result.spans) else ""
        return f"Nothing is missing{now}: {result.compared:,} recordings at VBC {span}, all loaded ({lists})."
    counts = {
        "missing": result.missing,
        "gone at VBC": result.gone,
        "back at VBC": result.returned,
        "known gap(s)": result.known_gaps,
    }
    differences = _write_counts(counts) or "not all could be compared"
    return f"DIFFERS: {differences}; {result.compared:,} at VBC {span} ({lists})."


def _write_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)


def _write_repairs(result: VerifyResult) -> Iterator[str]:
    yield (
        f"Repaired: {result.loaded:,} loaded, {result.tombstoned:,} marked as gone, "
        f"{result.returned:,} marked as back."
    )
    if result.unconfirmed:
        yield (
            f"{result.unconfirmed:,} are not in VBC's list, but VBC did not confirm that each is gone: they "
            "are not marked. Run the command again later."
        )


def _write_span(span: DifferingSpan) -> Sequence[str]:
    missing = "waiting for the next sync" if span.recent else "missing"
    differences = _write_counts({missing: span.missing, "gone": span.gone, "back": span.returned})
    return (
        span.account_id,
        span.user_id or "-",
        span.recording_type,
        format_instant(span.start),
        format_instant(span.end),
        *(f"{number:,}" for number in (span.api, span.loaded, span.archived, span.tombstoned)),
        ("known gap: VBC counts other recordings than it lists" if span.known_gap else differences)
        + (", repaired" if span.repaired else ""),
    )


def _write_total(total: ListTotal) -> Sequence[str]:
    verdict = "equal" if total.agrees else "DIFFERS"
    return (
        total.account_id,
        total.user_id or "-",
        total.recording_type,
        "?" if total.api is None else f"{total.api:,}",
        *(f"{number:,}" for number in (total.loaded, total.archived, total.tombstoned)),
        f"not compared: {total.unread}" if total.unread else verdict,
    )


def _write_notes(result: VerifyResult) -> Iterator[str]:
    if result.waiting:
        yield f"{result.waiting:,} recent recordings are not loaded yet; the next sync loads them."
    if result.oldest_read:
        yield (
            f"Lists of quiet users wait up to {result.rest_hours:g} h for their turn; the one that has "
            f"waited longest was read {format_instant(result.oldest_read)}."
        )
    for table in result.left_out:
        yield f"{table} was never loaded, and is not compared."
    if result.without_audio:
        yield f"{result.without_audio:,} recordings have no archived audio: run vbc audio."
    if result.lateness:
        yield _write_lateness(result.lateness, result.lookback_hours)
    if result.missing:
        yield (
            f"With lookback_hours = {result.lookback_hours:g} no sync loaded what was missing: if more is "
            "missing every day, raise it."
        )
    if result.gaps:
        yield f"Not proven complete ({len(result.gaps):,} gaps in scan_windows):"
        yield from _write_table(_GAP, map(_write_gap, result.gaps))


def _write_lateness(lateness: Lateness, lookback_hours: float) -> str:
    p50, p99, longest = map(write_time, (lateness.p50_seconds, lateness.p99_seconds, lateness.max_seconds))
    text = (
        f"From the end of a call until it is loaded: {p50} (half of {lateness.recordings:,}), {p99} (99 of "
        f"100), {longest} (all). {lateness.behind:,} arrived behind later ones"
    )
    if not lateness.behind:
        return f"{text}."
    enough = "is enough" if lateness.lookback_hours <= lookback_hours else "is TOO LOW"
    return (
        f"{text}, by {write_time(lateness.max_behind_seconds)} at most, which requires lookback_hours "
        f"of {lateness.lookback_hours} or more: {lookback_hours:g} {enough}."
    )


def _write_gap(gap: Gap) -> Sequence[str]:
    bounds = format_instant(gap.start), format_instant(gap.end)
    return (gap.account_id, gap.user_id or "-", gap.resource, *bounds)


def _write_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    # one more, to know whether there are more
    shown = list(islice(rows, MOST_LINES + 1))
    counts = [place for place, head in enumerate(heads) if head in _COUNTS]
    yield from align_columns([heads, *shown[:MOST_LINES]], right=counts)
    if len(shown) > MOST_LINES:
        yield "… and more; --json has all of them"
