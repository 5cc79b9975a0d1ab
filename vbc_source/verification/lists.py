"""Compare all lists of one type of recordings, account by account and user by user, and repair them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from vbc_source.api.deletion_evidence import DeletionEvidence
from vbc_source.api.endpoints import CALL_LOGS, RECORDING_ENDPOINTS, Endpoint, read_owner
from vbc_source.api.recordings import RecordingApi
from vbc_source.config import SELF
from vbc_source.errors import (
    Forbidden,
    GatewayFault,
    NotFound,
    VbcError,
)
from vbc_source.extract.reading.lists import ListOwner, ListReader
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.refusals import concerns_one_list
from vbc_source.schema.pages import Page, PageRows
from vbc_source.verification.compare import CountedSpan, Difference, SpanComparison
from vbc_source.verification.findings import DifferingSpan, Findings, ListTotal
from vbc_source.verification.inventory import Inventory, ListKind, LoadedCounts, RowId, recording_type_of
from vbc_source.verification.repair import ListRepair
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window

log = logging.getLogger(__name__)

COMPARED_ENDPOINTS: Mapping[str, Endpoint] = {**RECORDING_ENDPOINTS, "call_logs": CALL_LOGS}
MOST_FAILURES = 5  # lists in a row that fail before the run stops

CountsByList = Mapping[ListOwner, list[LoadedCounts]]


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What to compare, and how."""

    settled: Window | None  # the span that no sync reads again
    recent: Window | None  # the later span, where recordings may still be missing
    deep: bool
    repair: bool
    now: datetime  # when the run started

    @property
    def windows(self) -> list[Window]:
        """The spans to compare, oldest first."""
        return [window for window in (self.settled, self.recent) if window]


@dataclass(frozen=True, slots=True)
class ListCount:
    """How many recordings the API has in a list: the list's real owner, and a page for each counted span."""

    owner: ListOwner
    pages: list[Page[PageRows]]


class ListsComparison:
    """Compares the lists of one type, and collects the results in `findings`."""

    def __init__(
        self,
        kind: ListKind,
        reader: ListReader,
        loaded: LoadedTables,
        pool: RequestPool,
        plan: ComparisonPlan,
        findings: Findings,
    ) -> None:
        config, endpoint = reader.config, COMPARED_ENDPOINTS[kind]
        inventory = Inventory(loaded, kind, config.filters_of(endpoint.name), config.pii_policy)
        self._kind, self._endpoint, self._reader, self._pool = kind, endpoint, reader, pool
        self._plan, self._findings, self._inventory = plan, findings, inventory
        self._spans = SpanComparison(endpoint, reader, inventory, pool, plan.now, plan.repair or plan.deep)
        self._repair = ListRepair(kind, endpoint, config, loaded, inventory, findings, plan.now)

    def run(self, owners: Sequence[ListOwner], accounts: Sequence[str] = ()) -> None:
        """Compare lists, and those loaded of `accounts` (real ids) even where VBC no longer has them."""
        loaded = self._inventory.count(self._plan.windows)
        # users who have left VBC have no list there: what is loaded of them is reported
        known = [owner for owner in sorted(loaded, key=str) if owner.account in accounts]
        owners = list(dict.fromkeys([*owners, *known]))
        compared: set[ListOwner] = set()
        failures = 0
        # counts are requested in parallel; spans that differ are searched one list after the other
        answers = self._pool.executor.map(lambda owner: self._count(owner, loaded), owners)
        for owner, answer in zip(owners, answers, strict=True):
            try:
                if isinstance(answer, VbcError):
                    raise answer
                if answer.owner not in compared:  # `self` may be named beside its id
                    self._compare(answer, loaded)
                compared.add(answer.owner)
                failures = 0
            except VbcError as fault:
                if not concerns_one_list(fault):
                    raise
                # a user who has left, or a list that is skipped as forbidden, is no failure of the gateway
                failures = 0 if self._is_expected(fault) else failures + 1
                if failures >= MOST_FAILURES:
                    raise
                self.add_unread(owner, fault, loaded.get(owner))

    def _count(self, owner: ListOwner, loaded: CountsByList) -> ListCount | VbcError:
        """Count a list at the API; return a failure, so that those of other lists are still counted."""
        try:
            pages: list[Page[PageRows]] = []
            for number, window in enumerate(self._plan.windows):
                # in each turn: after the first answer the owner may have another name than `self`
                counts = loaded.get(owner)
                # of the recent span only deletions matter: where nothing is loaded there are none
                if not pages or owner.is_self or (counts and counts[number].loaded):
                    pages.append(self._spans.count(owner, window))
                    owner = resolve_owner(owner, pages[0])
            return ListCount(owner, pages)
        except VbcError as error:
            return error

    def _compare(self, answer: ListCount, loaded: CountsByList) -> None:
        owner, agrees, before = answer.owner, True, len(self._findings.spans)
        counts = loaded.get(owner) or [LoadedCounts()] * len(answer.pages)
        # not strict: of the recent span there may be no page
        for window, page, loaded_counts in zip(self._plan.windows, answer.pages, counts, strict=False):
            span = CountedSpan(window, page.total_items, loaded_counts.expected)
            agrees = self._compare_span(owner, span, loaded_counts, next(iter(page.ids), None)) and agrees
        if owner.is_self:
            return  # an empty list whose answer does not say whose it is
        if self._plan.repair and len(self._findings.spans) > before:
            # again, as the repair has changed what is loaded
            counts = self._inventory.count(self._plan.windows).get(owner) or counts
        self._add_total(owner, answer.pages[0].total_items, counts[0], agrees)

    def _compare_span(
        self, owner: ListOwner, span: CountedSpan, counts: LoadedCounts, present: RowId | None
    ) -> bool:
        """Find the differences of a span, and repair them on request; return whether both sides agree then.

        `present` is a recording that the API lists, None where it lists none.
        """
        recent = span.window == self._plan.recent
        if self._plan.deep:
            differences, complete = self._spans.search_deep(owner, span), True
        else:
            differences, complete = self._spans.search(owner, span)
        if not differences and complete:
            return True
        if not differences:  # only the counts are known
            differences = [Difference(owner, span.window, span.api, counts)]
        # what is only missing in the recent span, the next sync loads
        waits = recent and not any(item.excess or item.returned or item.known_gap for item in differences)
        if waits or not self._plan.repair:
            self._add_spans(differences, recent, None)
            return waits
        unconfirmed = self._repair.run(differences, self._make_evidence(owner, span.window, present))
        self._add_spans(differences, recent, unconfirmed)
        if any(item.known_gap for item in differences):
            return False
        return self._spans.agrees(owner, span.window, recent=recent) and not unconfirmed

    def _make_evidence(self, owner: ListOwner, window: Window, present: RowId | None) -> DeletionEvidence:
        root = self._reader.config.recording_api
        kind = recording_type_of(self._kind)
        api = RecordingApi(self._reader.client, root, owner.account, kind, owner.user or "")

        def request_present() -> object:
            # of an empty list no recording can be asked for: then the list itself must be answered
            return self._spans.count(owner, window) if present is None else api.show(int(present))

        return DeletionEvidence(api, self._pool.executor, request_present)

    def _add_spans(
        self, differences: Sequence[Difference], recent: bool, unconfirmed: frozenset[RowId] | None
    ) -> None:
        """Add differing spans to the findings; `unconfirmed` is None where nothing was repaired."""
        for item in differences:
            span = DifferingSpan(
                account_id=item.owner.account,
                recording_type=self._kind,
                user_id=item.owner.user or "",
                start=item.window.start,
                end=item.window.end,
                api=item.api,
                loaded=item.counts.loaded,
                archived=item.counts.archived,
                tombstoned=item.counts.tombstoned,
                missing=0 if item.known_gap else item.lacking - len(item.returned),
                gone=0 if item.known_gap else item.excess,
                returned=len(item.returned),
                recent=recent,
                known_gap=item.known_gap,
                repaired=bool(item.windows) and unconfirmed is not None and not item.gone & unconfirmed,
            )
            self._findings.spans.append(span)

    def _is_expected(self, fault: VbcError) -> bool:
        """Return whether the source, too, goes on without a list after this fault."""
        vanished = isinstance(fault, NotFound) and fault.code is None and self._endpoint.per_user
        return vanished or (isinstance(fault, Forbidden) and self._reader.config.skip_forbidden)

    def add_unread(
        self, owner: ListOwner, fault: VbcError, counts: Sequence[LoadedCounts] | None = None
    ) -> None:
        """Add a list that could not be read; the fault is kept unless the source, too, goes on after it."""
        log.warning("%s of %s could not be compared: %s", self._endpoint.name, owner, fault)
        expected = self._is_expected(fault)
        if not expected:
            self._findings.fault = self._findings.fault or fault
        reason = f"HTTP {fault.status}" if isinstance(fault, GatewayFault) else type(fault).__name__
        self._add_total(owner, None, (counts or [LoadedCounts()])[0], expected, reason)

    def _add_total(
        self, owner: ListOwner, api: int | None, counts: LoadedCounts, agrees: bool, unread: str = ""
    ) -> None:
        total = ListTotal(
            owner.account, self._kind, owner.user or "", api, agrees=agrees, unread=unread, **asdict(counts)
        )
        self._findings.totals.append(total)


def resolve_owner(owner: ListOwner, page: Page[PageRows]) -> ListOwner:
    """Return the real ids behind `self`, where the links of an answer contain them."""
    account, user = read_owner(page.links)
    return ListOwner(
        (account or SELF) if owner.account == SELF else owner.account,
        (user or SELF) if owner.user == SELF else owner.user,
    )
