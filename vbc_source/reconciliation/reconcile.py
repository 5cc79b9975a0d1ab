"""Reconcile what was called with what was recorded. VBC is not asked: both are loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from vbc_source.config import CALL_LOGS_TABLE, VbcConfig, load_config
from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.reconciliation.calls import CallQueries
from vbc_source.reconciliation.findings import DIMENSIONS, ReconcileResult, add_up, share_fits
from vbc_source.reconciliation.spans import JudgedSpans, find_judged_spans
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.call_gaps import CALL_GAPS, GAP_KEY, CallGap, make_gaps_table, read_open_gaps
from vbc_source.warehouse.completeness import (
    RECORDINGS,
    ProvenSpans,
    RecordingList,
    find_lists,
    read_proven_spans,
)
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import check_order, floor_second

TOLERANCE = 10.0  # seconds


def reconcile(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    tolerance: float = TOLERANCE,
    known: bool = False,
    now: datetime | None = None,
) -> ReconcileResult:
    """Compare the call logs with the recordings that are loaded, and note in `call_gaps` what does not fit.

    Args:
        target: Where both are loaded.
        since: Oldest start of the calls; by default that of the oldest call log.
        until: Newest start of the calls; by default now.
        tolerance: How many seconds the length of a recording may differ from that of its call.
        known: Report known gaps again.
        now: The time of the run; by default the current time.

    Returns:
        The calls by class, and the gaps that are new.

    Raises:
        UsageError: `since` is after `until`, or filters leave out calls or recordings.
        VbcError: No call logs are loaded, or the destination could not be read.
    """
    check_order(since, until)
    now = now or datetime.now(timezone.utc)
    with explaining():
        config = load_config()
        _check_filters(config)
        loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), watch=False)
        proven = _read_proven(loaded, config)
        judged = find_judged_spans(proven, _find_recordings(loaded, config, proven))
        first = since or min(
            span.start for key, spans in proven.items() for span in spans if key.resource == CALL_LOGS_TABLE
        )
        queries = CallQueries(floor_second(first), until or now, judged, tolerance, config.vbc_timezone)
        rows = loaded.query(queries.write_totals, **queries.values)
        totals, share = [row[:-3] for row in rows], _measure_share(rows)
        # with other ids every call would look like a gap: none is noted, and none that is open is closed
        if not share_fits(share):
            return _make_result(queries, share, [], known=known)
        gaps = [_read_gap(row) for row in loaded.query(queries.write_gaps, **queries.values)]
        rules = _read_rules(loaded, queries)
        # a gap is an alarm once, in the run that finds it first
        before = {gap.key: gap for gap in read_open_gaps(loaded)}
        new = [gap for gap in gaps if gap.key not in before]
        closed = _find_closed(before.values(), gaps, queries)
        if new or closed:
            _write_gaps(loaded, new, closed, now)
    return _make_result(
        queries,
        share,
        gaps if known else new,
        totals,
        calls=sum(int(row[-1]) for row in rows),
        new=len(new),
        closed=len(closed),
        known=known,
        by={**add_up(totals), DIMENSIONS[-1]: rules},
    )


def _check_filters(config: VbcConfig) -> None:
    """Refuse filters that leave out recordings or calls: the others would look like gaps."""
    for setting, resource in (("filters", RECORDINGS[0]), ("call_log_filters", CALL_LOGS_TABLE)):
        # bounds of `start` are not among them: they leave no gaps between what is loaded
        if names := ", ".join(config.filters_of(resource).params):
            raise UsageError(
                f"{setting} in [sources.vbc] leave out some ({names}), which would look like gaps: calls can "
                "be reconciled only where all calls and all recordings are loaded"
            )


def _read_proven(loaded: LoadedTables, config: VbcConfig) -> ProvenSpans:
    proven = read_proven_spans(loaded, config) if loaded.find(CALL_LOGS_TABLE) else {}
    if not any(key.resource == CALL_LOGS_TABLE for key in proven):
        raise VbcError(
            "no call logs are loaded and proven complete, so that nothing can be compared: set call_logs = "
            "true in [sources.vbc], which needs a subscription to the Reports API, and run vbc sync"
        )
    if not loaded.find(*RECORDINGS):
        raise VbcError("no recordings are loaded, so that nothing can be compared: run vbc sync")
    return proven


def _find_recordings(loaded: LoadedTables, config: VbcConfig, proven: ProvenSpans) -> list[RecordingList]:
    """Find the lists of recordings that are read; where the users are not known, those that were read."""
    lists: list[RecordingList] = []
    for resource in loaded.find(*RECORDINGS):
        lists += find_lists(loaded, config, resource, proven) or []
    return lists


def _measure_share(rows: Sequence[Sequence[Any]]) -> float | None:
    """Return which part of the recorded calls has a log of the same id."""
    recorded, matched = (sum(int(row[column]) for row in rows) for column in (-3, -2))
    return matched / recorded if recorded else None


def _read_gap(row: Sequence[Any]) -> CallGap:
    account, call, kind, began, direction, extension = row
    return CallGap(str(account), str(call), kind, began.astimezone(timezone.utc), direction, extension)


def _read_rules(loaded: LoadedTables, queries: CallQueries) -> dict[str, Counter[str]]:
    rules: dict[str, Counter[str]] = {}
    if loaded.find("company_recordings__rule_ids"):
        for _, rule, kind, count in loaded.query(queries.write_rules, **queries.values):
            rules.setdefault(str(rule or "-"), Counter())[kind] += int(count)
    return rules


def _find_closed(before: Any, gaps: Sequence[CallGap], queries: CallQueries) -> list[CallGap]:
    """Find known gaps that this run has judged, and not found."""
    found = {gap.key for gap in gaps}
    return [
        gap
        for gap in before
        if gap.key not in found
        and queries.since <= gap.start <= queries.until
        and _is_judged(gap, queries.judged)
    ]


def _is_judged(gap: CallGap, judged: JudgedSpans) -> bool:
    return any(span.start <= gap.start <= span.end for span in judged.get(gap.account_id, ()))


def _write_gaps(
    loaded: LoadedTables, new: Sequence[CallGap], closed: Sequence[CallGap], now: datetime
) -> None:
    with hold_pipeline(loaded.target.ledgers("verify")) as held, loaded.lock():
        load_rows(held, CALL_GAPS, make_gaps_table(new, closed, now), "merge", GAP_KEY, VERIFY_SCHEMA)


def _make_result(
    queries: CallQueries,
    share: float | None,
    gaps: Sequence[CallGap],
    totals: Sequence[Sequence[Any]] = (),
    *,
    calls: int = 0,
    new: int = 0,
    closed: int = 0,
    known: bool = False,
    by: Any = None,
) -> ReconcileResult:
    """Make the result; each of `totals` ends with a class and how many calls are of it."""
    counts = Counter[str]()
    for *_, kind, count in totals:
        counts[kind] += int(count)
    # an account without a span is left out: it would hide how far the others are
    ends = [max((span.end for span in spans), default=None) for spans in queries.judged.values()]
    names = ("recorded", "missing", "not_flagged", "unexpected", "length_differs", "not_answered", "waiting")
    return ReconcileResult(
        # the other classes have usual reasons; a call that VBC flags, and has no recording of, may be a loss
        ok=share_fits(share) and not any(gap.kind == "missing" for gap in gaps),
        since=queries.since,
        until=queries.until,
        calls=calls,
        **{name: counts[name] for name in names},
        without_call=counts["without_call"],
        matched_share=share,
        gaps=tuple(gaps),
        new=new,
        closed=closed,
        known=known,
        judged_until=min((end for end in ends if end), default=None),
        by=by or {},
    )
