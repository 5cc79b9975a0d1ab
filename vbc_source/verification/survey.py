"""Compares all lists of one type of recordings, account by account and user by user, and repairs them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vbc_source.api.endpoints import Endpoint, read_place
from vbc_source.api.recordings import RecordingApi
from vbc_source.config import SELF
from vbc_source.errors import (
    Forbidden,
    GatewayFault,
    IncompleteWindow,
    NotFound,
    NotSubscribed,
    Unavailable,
    VbcError,
)
from vbc_source.extract.lists import ListOwner, ListReader
from vbc_source.extract.request_pool import RequestPool
from vbc_source.load.destinations import Target
from vbc_source.recordings import RecordingType
from vbc_source.schema.pages import Page, PageRows
from vbc_source.verification.compare import CountedPart, Difference, ListComparison
from vbc_source.verification.evidence import DeletionEvidence
from vbc_source.verification.findings import ComparisonResult, DifferingSpan, ListTotal
from vbc_source.verification.inventory import Inventory, LoadedCounts
from vbc_source.verification.repair import load_missing, load_tombstones
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.tombstones import Tombstone, tell_history
from vbc_source.windows import Window

log = logging.getLogger(__name__)

Tallies = Mapping[ListOwner, list[LoadedCounts]]

MAY_BE_ALONE = (Forbidden, NotFound, Unavailable, IncompleteWindow)  # what may concern one list and no other
MOST_FAILURES = 5  # lists in a row that the gateway fails at, before the others are not tried


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """What to compare, and how.

    Attributes:
        settled: the span that no run of the source reads again; None for nothing.
        recent: the span behind it, where recordings may be missing for now; None for nothing.
        deep: whether to compare ids everywhere.
        repair: whether to put right what differs.
        now: when the run began.
    """

    settled: Window | None
    recent: Window | None
    deep: bool
    repair: bool
    now: datetime

    @property
    def windows(self) -> list[Window]:
        """Both spans, as far as there are any."""
        return [window for window in (self.settled, self.recent) if window]


@dataclass(frozen=True, slots=True)
class ListCount:
    """How many recordings a list has: a page for each span that was asked for; the list's real name."""

    place: ListOwner
    pages: list[Page[PageRows]]


class ListsComparison:
    """Compares the lists of one type.

    Args:
        kind: of which type.
        endpoint: its lists.
        reader: asks the API.
        loaded: asks the destination.
        target: Where repairs are loaded.
        plan: what to compare.
    """

    def __init__(
        self,
        kind: RecordingType,
        endpoint: Endpoint,
        reader: ListReader,
        loaded: LoadedTables,
        target: Target,
        plan: ComparisonPlan,
    ) -> None:
        self._kind, self._endpoint, self._reader, self._loaded = kind, endpoint, reader, loaded
        self._target, self._plan = target, plan
        config = reader.config
        self._inventory = Inventory(loaded, kind, config.api_filters, config.pii_policy)
        self.findings = ComparisonResult()

    def run(self, places: Sequence[ListOwner], accounts: Sequence[str] = ()) -> ComparisonResult:
        """Compare lists.

        Args:
            places: those that the settings name.
            accounts: whose lists are compared even where the destination alone knows them; the real ids.

        Raises:
            VbcError: what stopped it.
        """
        plan, config = self._plan, self._reader.config
        with RequestPool(config.max_concurrency) as session:
            self._session = session
            self._comparison = ListComparison(
                self._endpoint, self._reader, self._inventory, session, plan.now, plan.repair or plan.deep
            )
            tallies = self._inventory.tally(plan.windows)
            known = [place for place in sorted(tallies, key=str) if place.account in accounts]
            self._run(list(dict.fromkeys([*places, *known])), tallies)
        return self.findings

    def _run(self, places: Sequence[ListOwner], tallies: Tallies) -> None:
        done: set[ListOwner] = set()
        failures = 0
        for place, answer in zip(
            places, self._session.pool.map(lambda place: self._ask(place, tallies), places), strict=True
        ):
            try:
                if isinstance(answer, VbcError):
                    raise answer
                if answer.place not in done:
                    self._judge(answer, tallies)
                done.add(answer.place)
                failures = 0
            except NotSubscribed:
                raise
            except MAY_BE_ALONE as fault:
                failures = 0 if self._is_left_out(fault) else failures + 1
                if failures >= MOST_FAILURES or (failures and len(places) == 1):
                    raise
                self._note_unread(place, fault, tallies)

    def _ask(self, place: ListOwner, tallies: Tallies) -> ListCount | VbcError:
        """Ask how many recordings a list has; of recent ones only where some are loaded that may be gone."""
        try:
            pages: list[Page[PageRows]] = []
            for number, window in enumerate(self._plan.windows):
                known = tallies.get(place)
                if not pages or place.is_self or (known and known[number].loaded):
                    pages.append(self._comparison.count(place, window))
                    place = resolve(place, pages[0])
            return ListCount(place, pages)
        except VbcError as error:
            return error

    def _judge(self, answer: ListCount, tallies: Tallies) -> None:
        place, agrees, before = answer.place, True, len(self.findings.spans)
        counted = tallies.get(place) or [LoadedCounts()] * len(answer.pages)
        for window, page, tally in zip(self._plan.windows, answer.pages, counted, strict=False):
            root = CountedPart(window, page.total_items, tally.expected)
            agrees = self._settle(place, root, tally, next(iter(page.ids), None)) and agrees
        if not place.is_self:
            if self._plan.repair and len(self.findings.spans) > before:
                counted = self._inventory.tally(self._plan.windows).get(place) or counted
            self._note_total(place, answer.pages[0].total_items, counted[0], agrees)

    def _settle(self, place: ListOwner, root: CountedPart, tally: LoadedCounts, present: int | None) -> bool:
        """Find what differs in a span, and put it right if asked to; says whether both sides agree then."""
        recent = root.window == self._plan.recent
        if self._plan.deep:
            found, whole = self._comparison.search_deep(root, place), True
        else:
            found, whole = self._comparison.search(root, place)
        if not found:
            if whole:
                return True
            found = [Difference(place, root.window, root.api, tally)]  # the counts alone are known
        waits = recent and not any(one.excess or one.returned for one in found)
        if waits or not self._plan.repair:
            self._note_spans(found, recent, None)
            return waits
        left = self._repair(place, found, root.window, present)
        self._note_spans(found, recent, left)
        after = self._comparison.measure(place, root.window).surplus
        return not left and (after >= 0 if recent else after == 0)

    def _repair(
        self, place: ListOwner, found: Sequence[Difference], window: Window, present: int | None
    ) -> frozenset[int]:
        """Load what is missing, and mark what is gone or back; gives what could not be shown to be gone."""
        missing = frozenset[int]().union(*(one.missing for one in found))
        gone = frozenset[int]().union(*(one.gone for one in found)) - missing
        returned = frozenset[int]().union(*(one.returned for one in found))
        if missing:
            lacking = [one for one in found if one.missing]
            load_missing(self._target, self._endpoint, self._reader.config, lacking)
        confirmed = dict(self._confirm(place, gone, window, present)) if gone else {}
        history = self._inventory.tombstones(place) if confirmed or returned else {}
        now = self._plan.now
        rows = [replace(history[id_], returned_at=now) for id_ in sorted(returned)]
        for id_, evidence in confirmed.items():
            told = evidence + tell_history(history.get(id_))
            rows.append(Tombstone(place.account, self._kind, place.user or "", id_, now, told))
        if rows:
            load_tombstones(self._target, self._loaded, rows)
            self._loaded.refresh()
        self.findings.loaded += len(missing)
        self.findings.returned += len(returned)
        self.findings.tombstoned += len(confirmed)
        self.findings.unconfirmed += len(gone) - len(confirmed)
        return gone - confirmed.keys()

    def _confirm(
        self, place: ListOwner, gone: frozenset[int], window: Window, present: int | None
    ) -> Iterator[tuple[int, str]]:
        config, client = self._reader.config, self._reader.client
        api = RecordingApi(client, config.recording_api, place.account, self._kind, place.user or "")

        def look() -> object:
            # where a list is empty nothing can be shown, but the list itself has to answer
            return self._comparison.count(place, window) if present is None else api.show(present)

        return DeletionEvidence(api, self._session.pool, look).confirm(gone)

    def _note_spans(self, found: Sequence[Difference], recent: bool, left: frozenset[int] | None) -> None:
        for one in found:
            tally, place = one.tally, one.place
            self.findings.spans.append(
                DifferingSpan(
                    place.account,
                    self._kind,
                    place.user or "",
                    one.window.start,
                    one.window.end,
                    one.api,
                    tally.loaded,
                    tally.archived,
                    tally.tombstoned,
                    one.lacking - len(one.returned),
                    one.excess,
                    len(one.returned),
                    recent,
                    bool(one.proofs) and left is not None and not one.gone & left,
                )
            )

    def _is_left_out(self, fault: VbcError) -> bool:
        """Whether the source, too, goes on without a list for that reason."""
        vanished = isinstance(fault, NotFound) and fault.code is None and self._endpoint.per_user
        return vanished or (isinstance(fault, Forbidden) and self._reader.config.skip_forbidden)

    def _note_unread(self, place: ListOwner, fault: VbcError, tallies: Tallies) -> None:
        log.warning("%s of %s could not be compared: %s", self._endpoint.name, place, fault)
        tally, left_out = tallies.get(place, [LoadedCounts()])[0], self._is_left_out(fault)
        status = f"HTTP {fault.status}" if isinstance(fault, GatewayFault) else type(fault).__name__
        self._note_total(place, None, tally, left_out, status)

    def _note_total(
        self, place: ListOwner, api: int | None, tally: LoadedCounts, agrees: bool, unread: str = ""
    ) -> None:
        self.findings.totals.append(
            ListTotal(
                place.account,
                self._kind,
                place.user or "",
                api,
                tally.loaded,
                tally.archived,
                tally.tombstoned,
                tally.without_audio,
                agrees,
                unread,
            )
        )


def resolve(place: ListOwner, page: Page[PageRows]) -> ListOwner:
    """Say whose list `self` is, where an answer tells."""
    account, user = read_place(page.links)
    return ListOwner(
        (account or SELF) if place.account == SELF else place.account,
        (user or SELF) if place.user == SELF else place.user,
    )
