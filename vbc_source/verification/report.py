"""Says what a verification has found, for somebody who has to act on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from vbc_source.verification.findings import DifferingSpan, ListTotal
from vbc_source.verification.lateness import Lateness
from vbc_source.verification.verify import VerifyResult
from vbc_source.warehouse.completeness import Gap
from vbc_source.windows import format_instant

MOST_LINES = 40  # of each table; --json has all of them


def summarize(outcome: VerifyResult) -> Iterator[str]:
    """Say it in lines: the answer first, then where, then what else is worth knowing."""
    yield _answer(outcome)
    if outcome.loaded or outcome.tombstoned or outcome.returned or outcome.unconfirmed:
        yield from _tell_repairs(outcome)
    if outcome.spans:
        yield ""
        yield from _table(_SPAN, map(_tell_span, outcome.spans))
    yield ""
    yield from _table(_TOTAL, map(_tell_total, _choose(outcome.totals)))
    yield from _tell_rest(outcome)


def _answer(outcome: VerifyResult) -> str:
    span = f"from {format_instant(outcome.since)} to {format_instant(outcome.until)}"
    lists = f"{len(outcome.totals):,} list(s), {outcome.requests:,} requests, {outcome.seconds:.1f} s"
    if outcome.ok:
        now = " now" if outcome.spans and any(not span.recent or span.gone for span in outcome.spans) else ""
        return (
            f"Nothing is missing{now}: {outcome.compared:,} recordings at VBC {span}, all loaded ({lists})."
        )
    told = {"missing": outcome.missing, "gone at VBC": outcome.gone, "back at VBC": outcome.returned}
    differ = ", ".join(f"{number:,} {what}" for what, number in told.items() if number)
    return f"DIFFERS: {differ or 'not all could be compared'}; {outcome.compared:,} at VBC {span} ({lists})."


def _tell_repairs(outcome: VerifyResult) -> Iterator[str]:
    yield (
        f"Repaired: {outcome.loaded:,} loaded, {outcome.tombstoned:,} marked as gone, "
        f"{outcome.returned:,} marked as back."
    )
    if outcome.unconfirmed:
        yield (
            f"{outcome.unconfirmed:,} are not in VBC's list, but VBC did not confirm that each is gone: "
            "they stay as they are. Run it again later."
        )


_SPAN = ("account", "user", "type", "from", "to", "VBC", "loaded", "archived", "tombstoned", "")


def _tell_span(span: DifferingSpan) -> Sequence[str]:
    missing = "waiting for the next sync" if span.recent else "missing"
    counts = {missing: span.missing, "gone": span.gone, "back": span.returned}
    told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
    return (
        span.account_id,
        span.user_id or "-",
        span.recording_type,
        format_instant(span.start),
        format_instant(span.end),
        *(f"{number:,}" for number in (span.api, span.loaded, span.archived, span.tombstoned)),
        told + (", repaired" if span.repaired else ""),
    )


_TOTAL = ("account", "user", "type", "VBC", "loaded", "archived", "tombstoned", "")


def _choose(totals: Sequence[ListTotal]) -> Iterator[ListTotal]:
    """Those that somebody has to look at, then the company's, then the others."""
    return iter(sorted(totals, key=lambda total: (total.agrees and not total.unread, total.user_id != "")))


def _tell_total(total: ListTotal) -> Sequence[str]:
    word = "equal" if total.agrees else "DIFFERS"
    return (
        total.account_id,
        total.user_id or "-",
        total.recording_type,
        "?" if total.api is None else f"{total.api:,}",
        *(f"{number:,}" for number in (total.loaded, total.archived, total.tombstoned)),
        f"not compared: {total.unread}" if total.unread else word,
    )


def _tell_rest(outcome: VerifyResult) -> Iterator[str]:
    if outcome.waiting:
        yield f"{outcome.waiting:,} recent recordings are not loaded yet; the next sync brings them."
    for table in outcome.left_out:
        yield f"{table} was never loaded, and is not compared."
    if outcome.without_audio:
        yield f"{outcome.without_audio:,} recordings have no archived audio: run vbc audio."
    if outcome.lateness:
        yield _tell_lateness(outcome.lateness, outcome.lookback_hours)
    if outcome.missing:
        yield (
            f"With lookback_hours = {outcome.lookback_hours:g} no sync brought what was missing: if there is "
            "more every day, raise it."
        )
    if outcome.gaps:
        yield f"Never read and proven complete ({len(outcome.gaps):,} gaps in scan_windows):"
        yield from _table(("account", "user", "resource", "from", "to"), map(_tell_gap, outcome.gaps))


def _tell_lateness(late: Lateness, lookback_hours: float) -> str:
    half, most, longest = (_write_time(t) for t in (late.p50_seconds, late.p99_seconds, late.max_seconds))
    text = (
        f"From a call's end until it is loaded: {half} (half of {late.recordings:,}), {most} (99 of 100), "
        f"{longest} (all). {late.behind:,} arrived behind later ones"
    )
    if not late.behind:
        return f"{text}."
    enough = "is enough" if late.lookback_hours <= lookback_hours else "is TOO LITTLE"
    return (
        f"{text}, by {_write_time(late.max_behind_seconds)} at most, which asks for lookback_hours of "
        f"{late.lookback_hours} or more: {lookback_hours:g} {enough}."
    )


def _write_time(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"


def _tell_gap(gap: Gap) -> Sequence[str]:
    whose = (gap.account_id, gap.user_id or "-", gap.resource)
    return (*whose, format_instant(gap.start), format_instant(gap.end))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    shown = list(islice(rows, MOST_LINES + 1))
    lines = [heads, *shown[:MOST_LINES]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = [
            cell.rjust(width) if heads[column] in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    if len(shown) > MOST_LINES:
        yield "… and more; --json has all of them"


_NUMBERS = ("VBC", "loaded", "archived", "tombstoned")
