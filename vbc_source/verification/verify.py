"""Verify that nothing is missing: compare what VBC has with what is loaded, and repair it on request."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

from vbc_source.api.client import Client
from vbc_source.audio.ledger import LEDGER
from vbc_source.config import CALL_LOGS_TABLE, SELF, VbcConfig, load_config
from vbc_source.errors import NotSubscribed, VbcError
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.reading.lists import ListOwner, ListReader
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.refusals import concerns_one_list
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.locks import open_turns
from vbc_source.recordings import RECORDING_TYPES, RecordingType
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.verification.findings import Findings, VerifyResult
from vbc_source.verification.inventory import ListKind
from vbc_source.verification.lateness import measure_lateness
from vbc_source.verification.lists import COMPARED_ENDPOINTS, ComparisonPlan, ListsComparison
from vbc_source.warehouse.completeness import (
    USER_RECORDINGS,
    Gap,
    RecordingList,
    find_first_start,
    find_gaps,
    read_progress,
    read_proven_spans,
)
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES
from vbc_source.warehouse.views import write_view
from vbc_source.windows import Window, check_order, floor_second, format_instant

log = logging.getLogger(__name__)


def verify(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    types: Sequence[RecordingType] = (),
    deep: bool = False,
    repair: bool = False,
) -> VerifyResult:
    """Compare what VBC has with what is loaded.

    Args:
        target: Where the recordings are loaded.
        since: Oldest `start`; by default `start_date`, or where the loaded history starts.
        until: Newest `start`; by default now.
        types: Types of recordings; by default those that were ever loaded.
        deep: Compare ids everywhere, not only where counts differ.
        repair: Load what is missing and mark what is gone.

    Returns:
        The differences, the counts of each list, and what was repaired.

    Raises:
        UsageError: `since` is after `until`.
        VbcError: Nothing is loaded, or VBC or the destination could not be read.
    """
    check_order(since, until)
    started, now = time.monotonic(), datetime.now(timezone.utc)
    with explaining():
        config = load_config()
        reader = ListReader(config, Client.from_config(config))
        loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), watch=False)
    with (
        closing(reader.client),
        explaining(),
        open_turns(loaded.destination, loaded.make_client) as turns,
    ):
        reader.client.take_turns(turns)
        first = since or config.start or find_first_start(loaded)
        chosen, left_out = _choose_types(loaded, config, types)
        make = partial(make_plan, config, now, first, until, deep=deep, repair=repair)
        plans = {kind: make(resource=COMPARED_ENDPOINTS[kind].name) for kind in chosen}
        plan = plans[chosen[0]]
        findings = _compare(plans, reader, loaded)
        result = _make_result(
            findings,
            config,
            plan,
            left_out=left_out,
            archived=bool(loaded.find(LEDGER)),
            gaps=tuple(_find_gaps(loaded, config, plan, findings, since)),
            lateness=measure_lateness(loaded, now),
            oldest_read=_find_oldest_reading(loaded, config, findings) if config.longest_rest else None,
        )
        write_view(loaded)
    return replace(result, requests=reader.client.requests_sent, seconds=time.monotonic() - started)


def _make_result(
    findings: Findings, config: VbcConfig, plan: ComparisonPlan, *, archived: bool, **fields: Any
) -> VerifyResult:
    """Make the result of what was found, and of the fields that are given."""
    spans, totals = findings.spans, findings.totals
    return VerifyResult(
        ok=all(total.agrees for total in totals),
        since=plan.windows[0].start,
        until=plan.windows[0].end,
        compared=sum(total.api or 0 for total in totals if total.recording_type != CALL_LOGS_TABLE),
        missing=sum(span.missing for span in spans if not span.recent),
        gone=sum(span.gone for span in spans),
        returned=sum(span.returned for span in spans),
        waiting=sum(span.missing for span in spans if span.recent),
        known_gaps=sum(span.known_gap for span in spans),
        loaded=findings.loaded,
        tombstoned=findings.tombstoned,
        unconfirmed=findings.unconfirmed,
        spans=tuple(spans),
        totals=tuple(totals),
        without_audio=sum(total.without_audio for total in totals) if archived else None,
        lookback_hours=config.lookback / timedelta(hours=1),
        rest_hours=config.longest_rest / timedelta(hours=1),
        **fields,
    )


def make_plan(
    config: VbcConfig,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
    *,
    deep: bool = False,
    repair: bool = False,
    resource: str = "",
) -> ComparisonPlan:
    """Plan which spans to compare: what every sync reads again is a span of its own."""
    # the API's bounds are whole seconds
    first, last = floor_second(since or config.first_start(now)), floor_second(min(until or now, now))
    window = config.filters_of(resource).narrow(Window(first, last)) if first <= last else None
    if window is None:
        raise VbcError(
            f"there is nothing to compare from {format_instant(first)} to {format_instant(last)}: since is "
            "after until or now, or the filters on start leave nothing"
        )
    # lists that take turns may wait longer than the lookback
    edge = floor_second(now - max(config.lookback, config.longest_rest))
    if window.end <= edge:
        return ComparisonPlan(window, None, deep, repair, now)
    if window.start >= edge:
        return ComparisonPlan(None, window, deep, repair, now)
    settled, recent = Window(window.start, edge), Window(edge, window.end)
    return ComparisonPlan(settled, recent, deep, repair, now)


def _choose_types(
    loaded: LoadedTables, config: VbcConfig, types: Sequence[RecordingType]
) -> tuple[list[ListKind], tuple[str, ...]]:
    """Return the types to compare, and the tables that are left out because they were never loaded."""
    available = RECORDING_TYPES if config.has_user_recordings else RECORDING_TYPES[:1]
    present = [kind for kind in available if loaded.find(TABLES[kind])]
    if not present:
        raise VbcError("nothing is loaded yet, so nothing can be compared: run vbc sync first")
    # the company's first: its list may tell which account `self` is
    chosen: list[ListKind] = [kind for kind in RECORDING_TYPES if kind in (types or present)]
    if absent := [kind for kind in RECORDING_TYPES if kind in chosen and kind not in present]:
        raise VbcError(f"there is no table {TABLES[absent[0]]} in the destination: run vbc sync first")
    absent_tables = [TABLES[kind] for kind in available if kind not in present]
    if config.call_logs and not types:
        if loaded.find(CALL_LOGS_TABLE):
            chosen.append(CALL_LOGS_TABLE)
        else:
            absent_tables.append(CALL_LOGS_TABLE)
    return chosen, () if types else tuple(absent_tables)


def _compare(plans: Mapping[ListKind, ComparisonPlan], reader: ListReader, loaded: LoadedTables) -> Findings:
    config, findings = reader.config, Findings()
    directory = AccountDirectory(reader, config.login.identity())
    with RequestPool(config.max_concurrency) as pool:
        for kind, plan in plans.items():
            comparison = ListsComparison(kind, reader, loaded, pool, plan, findings)
            if kind == "company":
                comparison.run([ListOwner(account) for account in config.accounts])
                _learn_account(directory, config, findings)
            elif kind == "call_logs":
                _compare_call_logs(comparison, directory, config)
            else:
                comparison.run(*_find_user_lists(comparison, directory, config, plan.now))
    findings.check_compared()
    return findings


def _compare_call_logs(comparison: ListsComparison, directory: AccountDirectory, config: VbcConfig) -> None:
    # each once: `self` may be named beside its id
    accounts = dict.fromkeys(directory.find_account(account, {}) for account in config.accounts)
    try:
        comparison.run([ListOwner(account) for account in accounts])
    # the Reports API needs a subscription of its own
    except NotSubscribed as fault:
        if not config.skip_forbidden:
            raise
        log.warning("left out, since on_forbidden = skip: %s", fault)


def _learn_account(directory: AccountDirectory, config: VbcConfig, findings: Findings) -> None:
    """Keep which account `self` is from the company's list, which saves a request."""
    accounts = [total.account_id for total in findings.totals if total.account_id != SELF]
    if config.accounts == (SELF,) and accounts:
        directory.learn(accounts[0])


def _find_user_lists(
    comparison: ListsComparison, directory: AccountDirectory, config: VbcConfig, now: datetime
) -> tuple[list[ListOwner], list[str]]:
    """Return the users' lists, and the accounts of which loaded users are compared too.

    Of an account whose users cannot be listed, those that are loaded are compared.
    """
    state = dict[str, str]()
    accounts = list(dict.fromkeys(directory.find_account(account, state) for account in config.accounts))
    if config.users is not None:
        return [ListOwner(account, user) for account in accounts for user in config.users], []
    owners: list[ListOwner] = []
    for account in accounts:
        try:
            owners += [ListOwner(account, user) for user in directory.users(account, "verify", now, {})]
        except VbcError as fault:
            if not concerns_one_list(fault):
                raise
            comparison.add_unread(ListOwner(account), fault)
    return owners, accounts


def _find_gaps(
    loaded: LoadedTables,
    config: VbcConfig,
    plan: ComparisonPlan,
    findings: Findings,
    since: datetime | None,
) -> list[Gap]:
    """Find the settled spans that are not proven complete, of all lists that could be read."""
    if not plan.settled:
        return []
    lists = [
        RecordingList(COMPARED_ENDPOINTS[total.recording_type].name, total.account_id, total.user_id)
        for total in findings.totals
        if not total.unread
    ]
    gaps = list(find_gaps(read_proven_spans(loaded, config, plan.settled), lists, plan.settled))
    if not gaps:
        return []
    read_until = {item.list: item.read_until for item in read_progress(loaded, config)}
    # without a date in the settings, each list begins two years before it was first read
    begins = None if since or config.start else config.first_start(plan.now)
    return [
        gap
        for gap in gaps
        if not is_read_again(gap, read_until, config.lookback)
        and not (begins and gap.start == plan.settled.start and gap.end <= begins)
    ]


def _find_oldest_reading(loaded: LoadedTables, config: VbcConfig, findings: Findings) -> datetime | None:
    """Find when the list that has waited longest was last read, of the users' lists that were compared."""
    lists = {
        RecordingList(USER_RECORDINGS, total.account_id, total.user_id)
        for total in findings.totals
        if total.user_id and not total.unread
    }
    return min((item.read_at for item in read_progress(loaded, config) if item.list in lists), default=None)


def is_read_again(gap: Gap, read_until: Mapping[RecordingList, datetime], lookback: timedelta) -> bool:
    """Return whether a gap lies in the lookback of its list's newest window, so that the next sync reads it.

    Between two syncs the settled span grows, while proofs do not: without this, every list had a gap.
    """
    end = read_until.get(RecordingList(gap.resource, gap.account_id, gap.user_id))
    return end is not None and end - lookback <= gap.start and gap.end <= end
