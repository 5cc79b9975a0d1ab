"""Windows are read completely and proven complete, from a server in memory with any behaviour."""

from __future__ import annotations

import logging
import random
import threading
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from vbc_source.api.endpoints import ApiCapabilities
from vbc_source.api.http.rate_limit import ClientClosed
from vbc_source.errors import BadRequest, NotFound, Unavailable
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.reading.window_reader import PREFETCHED_WINDOWS, WINDOW_ROWS, WindowReader
from vbc_source.schema.pages import Page
from vbc_source.windows import Window

DAY = 86_400
PATIENCE = 20  # seconds until a test that hangs gives up


@pytest.fixture(autouse=True)
def own_folder() -> None:
    """No folder: nothing here reads or writes a file."""


EXAMPLES = [30, pytest.param(300, marks=pytest.mark.slow)]


def always_alike(examples: int) -> settings:
    return settings(
        derandomize=True,
        deadline=None,
        database=None,
        max_examples=examples,
        phases=[Phase.generate],  # without shrinking a failing server, which takes minutes
    )


class Call(NamedTuple):
    """One request to the server, and its answer."""

    window: Window
    number: int
    size: int
    answered: tuple[int, int] | None  # rows, total_items


@dataclass
class Server:
    """A list of (id, start) that is read page by page, with configurable behaviour."""

    rows: list[tuple[int, float]]
    base: int = 1
    before: str = "refused"  # page 0 where pages count from 1: refused, missing, empty or clamped
    beyond: str = "empty"  # a page behind the last one: empty, missing, refused or the last one repeated
    order: str | Callable[[int, list[int]], list[int]] = "ascending"  # descending, by id, random
    shuffles_ties: bool = False
    cap: int | None = None  # returns pages of this size at most, and reports it or not
    reports_cap: bool = True
    largest: int | None = None  # refuses larger pages
    precise: bool = True  # compares fractions of seconds too
    report: Callable[[int, int], int] = lambda _, total: total  # total_items, by number of the request
    change: Callable[[Server], None] | None = None  # called before each answer
    seed: int = 0
    most: int = 10_000  # requests after which reading counts as endless
    calls: list[Call] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.starts = dict(self.rows)
        self.line = sorted((start, id_) for id_, start in self.rows)
        self.unchanged = set(self.starts)  # ids that exist all the time
        self.random, self.lock = random.Random(self.seed), threading.Lock()

    def insert(self, id_: int, start: float) -> None:
        self.starts[id_] = start
        insort(self.line, (start, id_))

    def delete(self, id_: int) -> None:
        self.line.remove((self.starts.pop(id_), id_))
        self.unchanged.discard(id_)

    def inside(self, window: Window) -> set[int]:
        return {id_ for _, id_ in self.line[self._span(window)]}

    def fetch(self, window: Window, number: int, size: int) -> Page[Any]:
        with self.lock:
            self.calls.append(Call(window, number, size, None))
            if len(self.calls) > self.most:
                pytest.fail(f"more than {self.most} requests")
            if self.change:
                self.change(self)
            page = self._answer(window, number, size)
            self.calls[-1] = Call(window, number, size, (page.count, page.total_items))
            return page

    def _answer(self, window: Window, number: int, size: int) -> Page[Any]:
        if self.largest and size > self.largest:
            raise BadRequest(400)
        size, index, span = min(size, self.cap or size), number - self.base, self._span(window)
        total = span.stop - span.start
        if index < 0:
            if self.before != "clamped":
                self._fault(self.before)
            index = 0 if self.before == "clamped" else total
        elif index and index * size >= total:
            index = max(0, total - 1) // size if self.beyond == "repeated" else index
            self._fault(self.beyond)
        ids = self._arrange(window, span)[index * size : (index + 1) * size]
        seconds = {id_: int(self.starts[id_]) for id_ in ids}
        reported = size if self.reports_cap else None
        return Page(self.report(len(self.calls), total), reported, ids, lambda: seconds, len(ids), tuple(ids))

    def _fault(self, answer: str) -> None:
        if answer not in ("empty", "repeated"):
            raise {"refused": BadRequest(400), "missing": NotFound(404)}[answer]

    def _span(self, window: Window) -> slice:
        end = window.end.timestamp()
        behind = (end, float("inf")) if self.precise else (end + 1,)
        return slice(bisect_left(self.line, (window.start.timestamp(),)), bisect_left(self.line, behind))

    def _arrange(self, window: Window, span: slice) -> list[int]:
        line = self.line[span]
        if self.shuffles_ties:
            self.random.shuffle(line)
            line.sort(key=lambda row: row[0])
        ids = [id_ for _, id_ in line]
        if callable(self.order):
            return self.order(len(self.calls), ids)
        if self.order == "descending":
            ids.reverse()
        elif self.order == "by id":
            ids.sort(key=lambda id_: id_ * 2_654_435_761 % 2**32)
        elif self.order == "random":
            self.random.shuffle(ids)
        return ids


class _Numbered(Future[Any]):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def __hash__(self) -> int:
        return self.number


class AtOnce(ThreadPoolExecutor):
    """Runs each call at once and in order, so that a test is deterministic."""

    submitted = 0

    def submit(self, call: Any, /, *args: Any, **more: Any) -> Future[Any]:
        self.submitted += 1
        future = _Numbered(self.submitted)
        try:
            future.set_result(call(*args, **more))
        except Exception as error:
            future.set_exception(error)
        return future


def at(second: float) -> datetime:
    return datetime.fromtimestamp(second, timezone.utc)


def span(start: float, end: float) -> Window:
    return Window(at(start), at(end))


def spread(count: int, over: int) -> list[tuple[int, float]]:
    """Recordings at equal distances, the first at second 0."""
    return [(id_, id_ * over // count) for id_ in range(count)]


def make_scan(
    server: Server,
    size: int,
    settled: float = 10 * DAY,
    *,
    base: int | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> WindowReader[Any]:
    scan = WindowReader(server.fetch, ApiCapabilities(size), pool or AtOnce(), at(settled))
    scan.capabilities.page_base = base
    return scan


def read(
    server: Server,
    window: Window,
    size: int,
    settled: float = 10 * DAY,
    *,
    base: int | None = None,
    pool: ThreadPoolExecutor | None = None,
) -> list[ReadWindow[Any]]:
    """Read a span and check what every reading must satisfy.

    Args:
        settled: The second before which nothing arrives any more.
        base: The number of the first page, where it is known from an earlier window.
    """
    proofs = list(make_scan(server, size, settled, base=base, pool=pool).read(window))
    check(server, window, proofs)
    return proofs


def check(server: Server, window: Window, proofs: list[ReadWindow[Any]]) -> None:
    assert [len(ids_of(proof)) for proof in proofs] == [proof.total_items for proof in proofs]
    bounds = [(proof.window.start, proof.window.end) for proof in proofs]
    assert (bounds[0][0], bounds[-1][1]) == (window.start, window.end)
    assert [end for _, end in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert bounds == sorted(bounds)
    found = set().union(*map(ids_of, proofs))
    lost = (server.unchanged & server.inside(window)) - found
    assert not lost, f"lost: {lost}"


def ids_of(proof: ReadWindow[Any]) -> set[int]:
    return set().union(*(page.ids for page in proof.pages))


def requests_by_window(server: Server) -> Counter[Window]:
    return Counter(call.window for call in server.calls)


# Servers that do not change


@pytest.mark.parametrize("beyond", ["empty", "missing", "repeated"])
@pytest.mark.parametrize("before", ["refused", "missing", "empty", "clamped"])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 19, 20, 21, 200, 205])
def test_no_page_is_missed_whatever_the_page_base(base: int, before: str, beyond: str, count: int) -> None:
    server = Server(spread(count, DAY), base=base, before=before, beyond=beyond)
    proofs = read(server, span(0, DAY), 10)
    assert set().union(*map(ids_of, proofs)) == set(range(count))
    assert sum(proof.requests for proof in proofs) == len(server.calls)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("settled", [0, DAY // 3, 10 * DAY])
@pytest.mark.parametrize("order", ["ascending", "descending", "by id"])
def test_the_order_of_the_list_does_not_matter(order: str, settled: float, base: int) -> None:
    server = Server(spread(230, DAY), order=order, base=base)
    for proof in read(server, span(0, DAY), 10, settled):
        assert ids_of(proof) == server.inside(proof.window)


@pytest.mark.parametrize("settled", [0, DAY // 3, 10 * DAY])
@pytest.mark.parametrize("before", ["refused", "clamped"])
def test_a_list_in_random_order_is_read_completely(before: str, settled: float) -> None:
    for seed in range(40):
        server = Server(spread(60, DAY), order="random", seed=seed, before=before)
        for proof in read(server, span(0, DAY), 10, settled):
            assert ids_of(proof) == server.inside(proof.window)


@pytest.mark.parametrize("beyond", ["empty", "missing", "refused"])
def test_a_list_in_random_order_is_read_completely_where_pages_count_from_0(beyond: str) -> None:
    # page 0 overlaps by chance with what other pages gave
    for seed in range(40):
        server = Server(spread(60, DAY), order="random", seed=seed, base=0, beyond=beyond)
        for proof in read(server, span(0, DAY), 10):
            assert ids_of(proof) == server.inside(proof.window)


def test_an_empty_list_is_proven_by_one_request() -> None:
    server = Server([])
    (proof,) = read(server, span(0, DAY), 10)
    assert (proof.total_items, proof.requests, proof.attempts, proof.window) == (0, 1, 1, span(0, DAY))
    assert len(server.calls) == 1


def test_a_list_that_one_answer_holds_costs_one_request() -> None:
    server = Server(spread(10, DAY))
    (proof,) = read(server, span(0, DAY), 10)
    assert (proof.total_items, proof.requests, proof.attempts) == (10, 1, 1)
    assert [(call.number, call.size) for call in server.calls] == [(1, 10)]


def test_a_single_second_can_be_read() -> None:
    server = Server([(1, 5), (2, 5), (3, 6)])
    (proof,) = read(server, span(5, 5), 10)
    assert ids_of(proof) == {1, 2}


def test_fractions_of_a_boundary_second_are_not_lost_between_neighbours() -> None:
    server = Server([(id_, id_ / 4) for id_ in range(400)])
    proofs = read(server, span(0, 100), 10, settled=0)
    assert len(proofs) > 40
    assert all(len(proof.pages) == 1 for proof in proofs)


def test_neighbouring_windows_share_their_boundary_second_alone() -> None:
    server = Server(spread(60, 60))
    proofs = read(server, span(0, 60), 7, settled=0)
    for before, after in pairwise(proofs):
        both = ids_of(before) & ids_of(after)
        assert {server.starts[id_] for id_ in both} <= {before.window.end.timestamp()}


# What is detected about the server, and kept


@pytest.mark.parametrize("base", [0, 1])
def test_the_page_base_is_detected_once(base: int) -> None:
    server = Server(spread(100, DAY), base=base, beyond="missing")
    scan = make_scan(server, 10)
    assert scan.capabilities.page_base is None
    list(scan.read(span(0, DAY // 2)))
    assert scan.capabilities.page_base == base
    server.calls.clear()
    (proof,) = scan.read(span(DAY // 2 + 1, DAY // 2 + 3600))
    assert ids_of(proof) == server.inside(proof.window)
    assert [call.number for call in server.calls] == [base]


@pytest.mark.parametrize("beyond", ["missing", "refused"])
@pytest.mark.parametrize("count", [0, 7])
def test_page_base_0_is_detected_when_a_single_page_is_requested_as_page_1(count: int, beyond: str) -> None:
    server = Server(spread(count, DAY), base=0, beyond=beyond)
    scan = make_scan(server, 1000)
    (proof,) = scan.read(span(0, DAY))
    assert (proof.total_items, [call.number for call in server.calls]) == (count, [1, 0])
    assert scan.capabilities == ApiCapabilities(1000, page_base=0, full=count)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"largest": 100}, ApiCapabilities(100, page_base=1, full=100)),
        ({"base": 0, "beyond": "missing"}, ApiCapabilities(1000, page_base=0, full=200)),
        ({"base": 0, "beyond": "refused"}, ApiCapabilities(1000, page_base=0, full=200)),
    ],
)
def test_lists_that_detect_the_same_capability_at_once_are_all_read(
    options: dict[str, Any], found: ApiCapabilities
) -> None:
    habits, together = ApiCapabilities(1000), threading.Barrier(4, timeout=PATIENCE)

    def read_one(_: int) -> list[ReadWindow[Any]]:
        server, requested = Server(spread(200, DAY), **options), threading.Event()

        def fetch(window: Window, number: int, size: int) -> Page[Any]:
            if not requested.is_set():
                requested.set()
                together.wait()  # the first request of each is answered when those of the others were sent
            return server.fetch(window, number, size)

        return list(WindowReader(fetch, habits, AtOnce(), at(2 * DAY)).read(span(0, DAY)))

    with ThreadPoolExecutor(4) as lists:
        read = list(lists.map(read_one, range(4)))
    assert [sum(proof.total_items for proof in proofs) for proofs in read] == [200] * 4
    assert habits == found


@pytest.mark.parametrize("largest", [100, 10])
def test_a_page_size_that_another_list_found_out_during_a_probe_is_not_lowered_further(largest: int) -> None:
    server = Server(spread(200, DAY), largest=largest)
    capabilities = ApiCapabilities(1000)

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if number == 0:  # the probe after the first refusal; meanwhile another list has found the size
            capabilities.page_size = largest
        return server.fetch(window, number, size)

    proofs = list(WindowReader(fetch, capabilities, AtOnce(), at(2 * DAY)).read(span(0, DAY)))
    assert sum(proof.total_items for proof in proofs) >= 200
    assert {call.size for call in server.calls} == {1000, largest}


@pytest.mark.parametrize("is_first", [True, False])
def test_a_list_that_refuses_every_page_size_does_not_lower_that_of_others(is_first: bool) -> None:
    broken, server = Server([], largest=1), Server(spread(200, DAY), largest=100)
    capabilities = ApiCapabilities(1000)

    def read_list(server: Server) -> list[ReadWindow[Any]]:
        return list(WindowReader(server.fetch, capabilities, AtOnce(), at(2 * DAY)).read(span(0, DAY)))

    if not is_first:
        read_list(server)
    with pytest.raises(BadRequest):
        read_list(broken)
    server.calls.clear()
    assert sum(proof.total_items for proof in read_list(server)) == 200
    assert {call.size for call in server.calls} == ({1000, 100} if is_first else {100})


def test_a_list_that_does_not_exist_fails_after_two_requests() -> None:
    def missing(window: Window, number: int, size: int) -> Page[Any]:
        requested.append(number)
        raise NotFound(404)

    requested: list[int] = []
    with pytest.raises(NotFound):
        list(WindowReader(missing, ApiCapabilities(10), AtOnce(), at(0)).read(span(0, DAY)))
    assert requested == [1, 0]


def test_an_answer_without_evidence_does_not_set_the_page_base() -> None:
    # page 0 is empty since the only row has vanished, not since pages count from 1
    server = Server([(1, 50), *((id_, id_) for id_ in range(5000, 5008))], base=0)

    def vanish(server: Server) -> None:
        if len(server.calls) == 2:
            server.delete(1)

    server.change = vanish
    scan = make_scan(server, 10)
    proofs = [*scan.read(span(0, 100)), *scan.read(span(100, 6000))]
    check(server, span(0, 6000), proofs)
    assert [proof.total_items for proof in proofs] == [0, 8]


@pytest.mark.parametrize("beyond", ["missing", "empty", "refused"])
def test_a_wrong_page_base_is_detected_again(beyond: str) -> None:
    # rows vanish, so that page 0 repeats what page 1 gave, as if pages counted from 1
    server = Server(spread(4, DAY), base=0, beyond=beyond)

    def vanish(server: Server) -> None:
        if server.calls[-1].number == 0 and len(server.starts) == 4:
            server.delete(0)
            server.delete(1)

    server.change = vanish
    proofs = read(server, span(0, DAY), 2)
    assert sum(proof.total_items for proof in proofs) >= 2


@pytest.mark.parametrize(
    ("page_size", "largest", "requested"),
    [(1000, 100, [1000, 1000, 100]), (500, 10, [500, 500, 100, 100, 10])],
)
def test_a_refused_page_size_falls_back_and_is_not_requested_again(
    page_size: int, largest: int, requested: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(spread(largest * 4, DAY), largest=largest)
    with caplog.at_level(logging.WARNING):
        proofs = read(server, span(0, DAY), page_size)
    assert [call.size for call in server.calls] == requested + [largest] * (
        len(server.calls) - len(requested)
    )
    assert sum(proof.requests for proof in proofs) == len(server.calls)
    assert [record.getMessage().split(" was")[0] for record in caplog.records] == [
        f"page_size {size}" for size in dict.fromkeys(requested[:-1])
    ]


@pytest.mark.parametrize("size", [5, 10])
def test_a_refusal_of_the_smallest_page_is_raised(size: int) -> None:
    server = Server(spread(4, DAY), largest=1)
    with pytest.raises(BadRequest):
        read(server, span(0, DAY), size)
    assert [call.number for call in server.calls] == [1, 0]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("reports_cap", [True, False])
@pytest.mark.parametrize("before", ["refused", "empty", "clamped"])
def test_a_silent_page_size_cap_loses_no_row(before: str, reports_cap: bool, base: int) -> None:
    server = Server(spread(300, DAY), cap=10, reports_cap=reports_cap, before=before, base=base)
    proofs = read(server, span(0, DAY), 1000)
    assert sum(proof.total_items for proof in proofs) >= 300
    assert len(server.calls) <= 35


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("before", ["refused", "empty", "clamped"])
@pytest.mark.parametrize("count", [15, 18, 95])
def test_a_last_page_that_is_repeated_behind_itself_is_no_cap(count: int, before: str, base: int) -> None:
    server = Server(spread(count, DAY), base=base, before=before, beyond="repeated")
    scan = make_scan(server, 10)
    for day in range(3):
        proofs = list(scan.read(span(0, DAY)))
        assert sum(proof.total_items for proof in proofs) >= count, day
    assert scan.capabilities.page_size == 10
    assert len(server.calls) <= 3 * (count / 10 + 8)


def test_a_first_page_that_lacks_its_rows_once_is_no_cap() -> None:
    server = Server(spread(200, DAY))

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        page = server.fetch(window, number, size)
        return replace(page, ids=[], count=0) if len(server.calls) == 1 else page

    proofs = list(WindowReader(fetch, ApiCapabilities(10), AtOnce(), at(2 * DAY)).read(span(0, DAY)))
    assert sum(proof.total_items for proof in proofs) >= 200
    assert {call.size for call in server.calls} == {10}


# Requests


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("size", [100, 1000])
@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_an_unchanged_history_needs_hardly_more_requests_than_pages(count: int, size: int, base: int) -> None:
    server = Server(spread(count, 730 * DAY), base=base)
    proofs = read(server, span(0, 730 * DAY), size, settled=731 * DAY)
    pages, finding_out = count / size, 2 if base else 4
    assert pages <= len(server.calls) <= pages * 1.05 + finding_out
    assert sum(proof.requests for proof in proofs) == len(server.calls)
    assert {proof.attempts for proof in proofs} == {1}


def test_two_years_with_a_recent_end_need_hardly_more_requests_than_pages() -> None:
    server = Server(spread(73_000, 730 * DAY))
    read(server, span(0, 730 * DAY), 1000, settled=728 * DAY)
    assert len(server.calls) <= 73 * 1.1 + 2


def test_the_last_window_is_a_short_one_since_nothing_is_left_to_request_while_it_is_written() -> None:
    proofs = read(Server(spread(2500, DAY)), span(0, DAY), 10, settled=2 * DAY)
    *others, half, last = [proof.window.end - proof.window.start for proof in proofs]
    assert len(others) > 1
    assert half == last
    assert {length / 2 for length in others} == {last}


def test_an_uneven_history_is_read_in_windows_of_bounded_size() -> None:
    rows = [(id_, id_ % DAY + 300 * DAY) for id_ in range(60_000)]
    server = Server(rows)
    proofs = read(server, span(0, 730 * DAY), 1000, settled=731 * DAY)
    assert max(proof.total_items for proof in proofs) <= WINDOW_ROWS
    assert len(server.calls) <= 60 * 1.5


# A list that changes while it is read


def test_a_deletion_between_two_pages_makes_the_window_read_again() -> None:
    server = Server(spread(95, DAY))

    def vanish(server: Server) -> None:
        if len(server.calls) == 4:
            server.delete(3)

    server.change = vanish
    proofs = read(server, span(0, DAY), 10, base=1)
    assert set().union(*map(ids_of, proofs)) == set(range(95)) - {3}
    assert {proof.attempts for proof in proofs} == {2}


def test_only_the_window_that_changed_is_read_again() -> None:
    server = Server(spread(4000, 100 * DAY))
    moved: list[Window] = []

    def vanish(server: Server) -> None:
        call = server.calls[-1]
        if call.window.start >= at(50 * DAY) and call.number == 3 and not moved:
            moved.append(call.window)
            server.delete(min(server.inside(call.window)))

    server.change = vanish
    proofs = read(server, span(0, 100 * DAY), 10, settled=101 * DAY, base=1)
    (again,) = moved
    inside = {
        proof.window
        for proof in proofs
        if again.start <= proof.window.start and proof.window.end <= again.end
    }
    assert {proof.window for proof in proofs if proof.attempts > 1} == inside
    assert len(inside) > 1
    requested = Counter((call.window, call.number) for call in server.calls)
    assert [page for page, times in requested.items() if times > 1] == []
    others = [proof for proof in proofs if proof.window not in inside]
    whole = span(0, 100 * DAY)
    for proof in others:
        assert requests_by_window(server)[proof.window] == len(proof.pages)
    spent = sum(len(proof.pages) for proof in proofs) + requests_by_window(server)[again]
    assert len(server.calls) == spent + requests_by_window(server)[whole]
    assert sum(proof.requests for proof in proofs) == len(server.calls)


def test_a_window_that_changed_is_read_in_halves_and_then_one_answer_at_a_time() -> None:
    server = Server(spread(90, DAY))

    def vanish(server: Server) -> None:
        if server.calls[-1].number == 2:
            server.delete(max(server.inside(server.calls[-1].window)))

    server.change = vanish
    proofs = read(server, span(0, DAY), 10, base=1)
    requested = list(requests_by_window(server))
    assert requested[:2] == [span(0, DAY), span(0, DAY // 2)]
    assert all(len(proof.pages) == 1 for proof in proofs)
    assert max(proof.attempts for proof in proofs) == 3


@pytest.mark.parametrize("after", range(1, 12))
@pytest.mark.parametrize("where", ["earlier gone, later come", "later gone, earlier come"])
def test_a_deletion_and_an_insertion_with_equal_counts_in_recent_time_lose_nothing(
    where: str, after: int
) -> None:
    server = swap_rows_after(after, where, Server(spread(30, DAY)))
    read(server, span(0, DAY), 10, settled=0)


@pytest.mark.parametrize("after", range(1, 12))
@pytest.mark.parametrize("where", ["earlier gone, later come", "later gone, earlier come"])
def test_rows_that_swap_in_recent_time_lose_nothing_where_pages_count_from_0(where: str, after: int) -> None:
    # the page that shows the page base and page 0 are two answers: not to be combined in recent time
    for count in (15, 30):
        server = swap_rows_after(after, where, Server(spread(count, DAY), base=0))
        read(server, span(0, DAY), 10, settled=0)


@pytest.mark.parametrize("after", range(1, 12))
@pytest.mark.parametrize("where", ["earlier gone, later come", "later gone, earlier come"])
def test_rows_that_swap_in_recent_time_lose_nothing_where_a_cap_is_silent(where: str, after: int) -> None:
    # a page that is not full looks like a last page of a server that counts from 0
    server = swap_rows_after(after, where, Server(spread(30, DAY), cap=10, reports_cap=False))
    read(server, span(0, DAY), 20, settled=0)


def swap_rows_after(requests: int, where: str, server: Server) -> Server:
    """One recording vanishes and another comes, far from it, after so many requests."""
    first, last = min(server.starts), max(server.starts)
    gone, come = (first, DAY - 1) if where.startswith("earlier") else (last, 1)

    def swap(server: Server) -> None:
        if len(server.calls) == requests + 1:
            server.delete(gone)
            server.insert(999, come)

    server.change = swap
    return server


def test_a_recording_that_arrives_while_the_page_base_is_detected_hides_no_other() -> None:
    # page 0 reports another total than page 1; without row 9 the distinct ids are as many as page 1 reports
    server = Server(spread(15, DAY), base=0)

    def arrive(server: Server) -> None:
        if len(server.calls) == 2:
            server.insert(999, 1)

    server.change = arrive
    read(server, span(0, DAY), 10, settled=0)


@pytest.mark.parametrize("request_", [1, 2, 3, 4, 5])
def test_pages_with_different_totals_are_never_combined(request_: int) -> None:
    server = Server(spread(48, DAY), report=lambda number, total: total + (number == request_))
    proofs = read(server, span(0, DAY), 10, base=1)
    assert all(page.total_items == proof.total_items for proof in proofs for page in proof.pages)
    assert {proof.attempts for proof in proofs} == {2}


def test_a_recording_that_arrives_between_two_pages_hides_no_other() -> None:
    # page 2 comes last, reports one more, and lacks the recording that moved to page 3
    rows, whole = spread(30, DAY), span(0, DAY)
    before, after = Server(rows), Server([*rows, (999, DAY // 2)])

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        server = before if window == whole and number in (1, 3) else after
        return server.fetch(window, number, size)

    check(before, whole, list(WindowReader(fetch, ApiCapabilities(10), AtOnce(), at(10 * DAY)).read(whole)))


@pytest.mark.parametrize("wrong", [-3, -1, 1, 3])
@pytest.mark.parametrize("request_", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 8, 28, 300])
def test_a_total_that_is_wrong_once_needs_a_second_reading(count: int, request_: int, wrong: int) -> None:
    server = Server(
        spread(count, DAY), report=lambda number, total: max(0, total + (wrong if number == request_ else 0))
    )
    proofs = read(server, span(0, DAY), 10)
    assert set().union(*map(ids_of, proofs)) == set(range(count))


def read_all(server: Server, window: Window, size: int, settled: float = 10 * DAY) -> list[ReadWindow[Any]]:
    """Read a span whose windows need not be proven; they cover it without a hole."""
    windows = list(make_scan(server, size, settled).read(window))
    assert (windows[0].window.start, windows[-1].window.end) == (window.start, window.end)
    assert all(before.window.end == after.window.start for before, after in pairwise(windows))
    return windows


@pytest.mark.parametrize("total", [50, 5000])
@pytest.mark.parametrize("settled", [0, 720 * DAY, 800 * DAY])
def test_a_list_that_counts_rows_and_lists_none_costs_a_bounded_number_of_requests(
    settled: float, total: int
) -> None:
    calls = []

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        calls.append(window)
        return Page(total_items=total, page_size=size, ids=[], seconds=dict, count=0, rows=None)

    whole = span(0, 730 * DAY)
    windows = list(WindowReader(fetch, ApiCapabilities(100), AtOnce(), at(settled)).read(whole))
    assert not any(window.is_proven for window in windows)
    assert (windows[0].window.start, windows[-1].window.end) == (whole.start, whole.end)
    assert len(calls) <= 250


@pytest.mark.parametrize("settled", [0, 10 * DAY])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("wrong", [-1, 1, 2])
@pytest.mark.parametrize("count", [2, 8, 95, 1000])
def test_a_server_whose_totals_are_always_wrong_proves_nothing_and_is_read_all_the_same(
    count: int, wrong: int, base: int, settled: float
) -> None:
    most = 4_000
    server = Server(spread(count, DAY), report=lambda _, total: total + wrong, base=base, most=most)
    windows = read_all(server, span(0, DAY), 10, settled)
    assert wrong < 0 or not any(window.is_proven for window in windows)
    found = set().union(*map(ids_of, windows))
    assert found == set(range(count)) if wrong > 0 else found <= set(range(count))


def test_a_total_that_ignores_the_dates_ends_after_a_bounded_number_of_requests() -> None:
    # a second with one recording looks like a list of 2000 pages
    server = Server(spread(2000, 100 * DAY), report=lambda _, __: 2000, most=20_000)
    windows = read_all(server, span(0, 100 * DAY), 10)
    assert not any(window.is_proven for window in windows)


@pytest.mark.parametrize("total", [10**9, 10**18, 10**30])
def test_a_total_beyond_reason_is_one_window_that_is_not_proven(total: int) -> None:
    server = Server(spread(2000, 100 * DAY), report=lambda _, __: total, most=50)
    (window,) = read_all(server, span(0, 100 * DAY), 10)
    assert (window.is_proven, window.total_items, window.found) == (False, total, 10)


@pytest.mark.parametrize("size", [10, 100, 1000])
@pytest.mark.parametrize("kind", ["listed twice", "not listed"])
@pytest.mark.parametrize("odd", [0, 37, 99])
def test_one_recording_that_never_adds_up_costs_its_own_second_alone(odd: int, kind: str, size: int) -> None:
    server = Server(spread(100, 60 * DAY), most=400)
    second = server.starts[odd]
    answer = server._answer

    def answer_oddly(window: Window, number: int, size: int) -> Page[Any]:
        page = answer(window, number, size)
        if not window.start.timestamp() <= second <= window.end.timestamp():
            return page
        ids = [id_ for id_ in page.ids if kind == "listed twice" or id_ != odd]
        ids += [odd] * (odd in ids)
        total = page.total_items + (kind == "listed twice")
        return replace(page, total_items=total, ids=ids, count=len(ids), rows=tuple(ids))

    server._answer = answer_oddly  # type: ignore[method-assign]
    windows = read_all(server, span(0, 60 * DAY), size)
    unproven = [window for window in windows if not window.is_proven]
    assert all(
        abs(bound.timestamp() - second) <= 1
        for bad in unproven
        for bound in (bad.window.start, bad.window.end)
    )
    found = set().union(*map(ids_of, windows))
    assert found == set(range(100)) - ({odd} if kind == "not listed" else set())


def test_windows_behind_the_one_that_never_adds_up_are_proven() -> None:
    def report(_: int, total: int) -> int:
        window = server.calls[-1].window
        return total + (window.start <= at(50 * DAY + 7) <= window.end)

    server = Server(spread(4000, 100 * DAY), report=report)
    windows = read_all(server, span(0, 100 * DAY), 10)
    assert set().union(*map(ids_of, windows)) == set(range(4000))
    assert {at(50 * DAY + 6), at(50 * DAY + 7)} == {bad.window.start for bad in windows if not bad.is_proven}


@pytest.mark.parametrize("second", [-62_135_596_800, 253_402_300_799])  # of the years 1 and 9999
@pytest.mark.parametrize("total", [150, 152])
def test_rows_outside_the_window_are_read_without_a_search(total: int, second: int) -> None:
    server = Server([(id_, second) for id_ in range(150)], most=60)
    server._span = lambda window: slice(0, 150)  # type: ignore[method-assign] # it ignores the dates
    server.report = lambda _, __: total
    windows = list(make_scan(server, 100).read(span(0, 700 * DAY)))
    assert set().union(*map(ids_of, windows)) == set(range(150))
    assert {window.is_proven for window in windows} == {total == 150}


@pytest.mark.parametrize("base", [None, 1])
@pytest.mark.parametrize("settled", [0, 10 * DAY])
def test_an_empty_page_that_reports_recordings_is_read_again(settled: float, base: int | None) -> None:
    server = Server([], report=lambda number, _: 3 if number == 1 else 0)
    (proof,) = read(server, span(0, DAY), 10, settled, base=base)
    assert (proof.total_items, proof.attempts) == (0, 2)


def test_a_missing_page_after_deletions_is_no_failure() -> None:
    server = Server(spread(21, DAY), beyond="missing")

    def vanish(server: Server) -> None:
        if len(server.calls) == 2:
            server.delete(20)

    server.change = vanish
    read(server, span(0, DAY), 10, base=1)
    assert (3, None) in [(call.number, call.answered) for call in server.calls]


# Equal starts


def swap_ties(first: int, second: int, on: int) -> Callable[[int, list[int]], list[int]]:
    """Two recordings change places in the answer to one request."""

    def order(number: int, ids: list[int]) -> list[int]:
        other = {first: second, second: first} if number == on else {}
        return [other.get(id_, id_) for id_ in ids]

    return order


def test_a_second_split_by_a_page_boundary_is_read_separately() -> None:
    rows = [(id_, id_ * 60 if id_ != 10 else 9 * 60) for id_ in range(30)]
    server = Server(rows, order=swap_ties(9, 10, on=2))
    (proof,) = read(server, span(0, DAY), 10, base=1)
    assert (proof.attempts, proof.requests, ids_of(proof)) == (1, 4, set(range(30)))
    assert server.calls[-1].window == span(540, 541)


def test_equal_starts_in_any_order_are_read_whole() -> None:
    for seed in range(30):
        rows = [(id_, id_ // 5 * 600) for id_ in range(200)]
        server = Server(rows, shuffles_ties=True, seed=seed)
        for proof in read(server, span(0, DAY), 10):
            assert ids_of(proof) == server.inside(proof.window)


def test_readings_of_a_crowded_second_are_not_combined_while_recordings_change() -> None:
    # what vanished since the first reading would make up for what no reading has given
    server = Server([(id_, 0) for id_ in range(12)])

    def order(number: int, ids: list[int]) -> list[int]:
        if number > 12:
            return ids
        if 999 not in server.starts:
            return [*range(10), 8, 9]
        return [0, 1, 2, 3, 4, 6, 7, 8, 999, 9, 10, 9]

    def swap(server: Server) -> None:
        if len(server.calls) == 3:
            server.delete(5)
            server.insert(999, 0)

    server.order, server.change = order, swap
    read(server, span(0, 1), 10, settled=0, base=1)


def test_a_split_second_is_read_where_pages_count_from_0() -> None:
    # a second by itself is one page, and a server that counts from 0 answers 404 to its page 1
    rows = [(id_, id_ * 60 if id_ != 20 else 19 * 60) for id_ in range(30)]
    server = Server(rows, order=swap_ties(19, 20, on=2), base=0, beyond="missing")
    read(server, span(0, DAY), 10)


def test_a_split_last_second_adds_no_row_from_behind_the_window() -> None:
    # a row of the second behind the window would make up for the count of the lost one
    def order(number: int, ids: list[int]) -> list[int]:
        return {1: [*range(9), 11, 9, 10], 2: [*range(9), 10, 11, 9]}.get(number, ids)  # 11 twice, 10 never

    rows = [*((id_, id_ * 5) for id_ in range(11)), (11, 100), (12, 101)]
    server = Server(rows, order=order)
    for proof in read(server, span(0, 100), 10):
        assert ids_of(proof) == server.inside(proof.window)


# Settled time and recent time


def test_recent_windows_are_split_until_one_answer_holds_each() -> None:
    server = Server(spread(300, DAY))
    proofs = read(server, span(0, DAY), 10, settled=0)
    assert all(len(proof.pages) == 1 and proof.total_items <= 10 for proof in proofs)


def test_settled_windows_are_read_in_many_pages() -> None:
    server = Server(spread(300, DAY))
    (proof,) = read(server, span(0, DAY), 10, settled=DAY + 1)
    assert len(proof.pages) == 30


@pytest.mark.parametrize("order", ["ascending", "descending", "by id"])
@pytest.mark.parametrize("settled", [1, 600, DAY // 10, DAY // 2, DAY - 600, DAY - 1, DAY])
def test_one_answer_holds_each_window_that_reaches_into_the_lookback(settled: int, order: str) -> None:
    server = Server(spread(300, DAY), order=order)
    for proof in read(server, span(0, DAY), 10, settled):
        assert len(proof.pages) == 1 or proof.window.end <= at(settled)


@pytest.mark.parametrize("settled", [DAY * 2 // 3, DAY - 600])
def test_a_long_settled_part_is_read_in_many_pages_up_to_the_lookback(settled: int) -> None:
    server = Server(spread(300, DAY))
    history, *recent = read(server, span(0, DAY), 10, settled)
    assert history.window.start == at(0)
    assert at(settled - 1) <= history.window.end <= at(settled)
    assert len(history.pages) == -(-history.total_items // 10)
    assert len(recent) >= (300 - history.total_items) / 10


@pytest.mark.parametrize("start", [lambda id_: id_ * 28, lambda id_: id_**2 / 105])
def test_recent_time_needs_few_requests_per_page(start: Callable[[int], float]) -> None:
    server = Server([(id_, start(id_)) for id_ in range(3000)])
    read(server, span(0, DAY), 100, settled=0)
    assert len(server.calls) <= 2.5 * 30 + 2


def test_a_span_that_one_answer_holds_is_not_split_at_the_lookback() -> None:
    server = Server(spread(10, DAY))
    (proof,) = read(server, span(0, DAY), 10, settled=DAY // 2)
    assert proof.requests == 1


def test_the_second_of_the_settled_instant_counts_as_recent() -> None:
    server = Server([(id_, id_ * 3) for id_ in range(30)])

    def swap(server: Server) -> None:
        if len(server.calls) == 3:
            server.delete(0)
            server.insert(999, 100)

    server.change = swap
    read(server, span(0, 150), 10, settled=100, base=1)


def test_a_fraction_of_the_settled_instant_is_dropped() -> None:
    server = Server(spread(300, DAY))
    windows = [proof.window for proof in read(server, span(0, DAY), 10, settled=DAY - 600 + 0.9)]
    assert DAY - 601 <= windows[0].end.timestamp() <= DAY - 600
    assert all(moment.microsecond == 0 for window in windows for moment in (window.start, window.end))


# Any server


@st.composite
def servers(
    draw: st.DrawFn, order: st.SearchStrategy[str], base: int, churn: float
) -> tuple[Server, int, int]:
    """A server, the page size to ask for, and the second from which on recordings may arrive."""
    size, cap, reports_cap, largest = draw(
        st.sampled_from(
            [
                (2, None, True, None),
                (3, None, False, None),
                (10, None, True, None),
                (30, None, True, None),
                (30, 10, True, None),
                (30, 10, False, None),
                (7, 3, False, None),
                (1000, 30, True, None),
                (500, None, True, 10),
            ]
        )
    )
    room = min(cap or size, largest or size) // 2  # two seconds are never more than an answer holds
    seconds = draw(st.lists(st.integers(0, 1000).map(lambda half: half * 2), unique=True, max_size=60))
    starts = [second for second in seconds for _ in range(draw(st.integers(1, room)))]
    fraction = draw(st.sampled_from([0, 0.25, 0.999]))
    recent = draw(st.sampled_from([0, 1000, 1800, 3000]))
    drawn = draw(order)
    # in random order, or while rows vanish, nothing tells a repeated page from a further one
    repeats = isinstance(drawn, str) and drawn != "random" and not churn
    beyond = ["empty", "missing", *(["repeated"] if repeats else [])]
    server = Server(
        [(id_, start + fraction * (id_ % 2)) for id_, start in enumerate(starts)],
        base=base,
        before=draw(st.sampled_from(["refused", "missing", "empty", "clamped"])),
        beyond=draw(st.sampled_from(beyond)),
        order=drawn,
        shuffles_ties=draw(st.booleans()),
        cap=cap,
        reports_cap=reports_cap,
        largest=largest,
        precise=draw(st.booleans()),
        change=live(churn, recent, room) if churn else None,
        seed=draw(st.integers(0, 10_000)),
    )
    return server, size, recent


def live(churn: float, recent: int, room: int) -> Callable[[Server], None]:
    """Recordings vanish at any time, and arrive in recent time."""

    def change(server: Server) -> None:
        if server.starts and server.random.random() < churn:
            server.delete(server.random.choice(list(server.starts)))
        if recent <= 2000 and server.random.random() < churn:
            start = server.random.randint(recent // 2, 1000) * 2
            if sum(int(other) == start for other in server.starts.values()) < room:
                server.insert(10_000 + len(server.calls), start)

    return change


FIXED = st.sampled_from(["ascending", "descending", "by id"])
RANDOM = st.just("random")


@pytest.mark.parametrize("order", [FIXED, RANDOM], ids=["fixed", "random"])
@pytest.mark.parametrize("base", [1, 0])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_server_that_stands_still_is_read_exactly(
    examples: int, base: int, order: st.SearchStrategy[str]
) -> None:
    @always_alike(examples)
    @given(servers(order, base, churn=0))
    def whole(case: tuple[Server, int, int]) -> None:
        server, size, settled = case
        proofs = read(server, span(0, 2001), size, settled)
        for proof in proofs:
            assert ids_of(proof) == server.inside(proof.window)
        assert sum(proof.requests for proof in proofs) == len(server.calls)

    whole()


@pytest.mark.parametrize("churn", [0.05, 0.3])
@pytest.mark.parametrize("order", [FIXED, RANDOM], ids=["fixed", "random"])
@pytest.mark.parametrize("base", [1, 0])
@pytest.mark.parametrize("examples", EXAMPLES)
def test_recordings_that_exist_all_the_time_are_read(
    examples: int, base: int, order: st.SearchStrategy[str], churn: float
) -> None:
    @always_alike(examples)
    @given(servers(order, base, churn))
    def whole(case: tuple[Server, int, int]) -> None:
        server, size, settled = case
        read(server, span(0, 2001), size, settled)

    whole()


# Many threads


def test_pages_are_requested_by_many_threads_at_once() -> None:
    together = threading.Barrier(4, timeout=PATIENCE)
    server = Server(spread(50, DAY))

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if number > 1:
            together.wait()  # breaks unless four requests are in flight
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(4) as pool:
        (proof,) = WindowReader(fetch, ApiCapabilities(10), pool, at(2 * DAY)).read(span(0, DAY))
    assert ids_of(proof) == set(range(50))
    assert sorted(min(page.ids) for page in proof.pages) == [0, 10, 20, 30, 40]


def test_the_first_page_of_the_next_window_is_requested_while_pages_of_a_window_are_awaited() -> None:
    requested: dict[Window, threading.Event] = defaultdict(threading.Event)
    server = Server(spread(2500, DAY))
    first, second, *_ = (piece.window for piece in read(server, span(0, DAY), 10, base=1))

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        requested[window].set()
        if (window, number) == (first, 5):
            assert requested[second].wait(PATIENCE)
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(4) as pool:
        scan = WindowReader(fetch, ApiCapabilities(10, page_base=1), pool, at(2 * DAY))
        check(server, span(0, DAY), list(scan.read(span(0, DAY))))


def test_nothing_but_first_pages_of_a_few_windows_is_requested_in_advance() -> None:
    """A run that ends has no use for them."""
    server = Server(spread(9000, DAY))
    proofs = WindowReader(server.fetch, ApiCapabilities(10, page_base=1), AtOnce(), at(2 * DAY)).read(
        span(0, DAY)
    )
    window = next(proofs).window
    further = [call for call in server.calls if call.window.start >= window.end]
    assert len(further) == PREFETCHED_WINDOWS
    assert {call.number for call in further} == {1}


def test_no_request_is_sent_after_a_window_has_failed() -> None:
    server, failed = Server(spread(2500, DAY)), threading.Event()
    late: list[int] = []

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if failed.is_set():
            late.append(number)
        if number == 40:
            raise Unavailable(503)
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Unavailable):
            list(WindowReader(fetch, ApiCapabilities(10, page_base=1), pool, at(2 * DAY)).read(span(0, DAY)))
        failed.set()
    assert len(late) <= 1  # which was about to be sent


def test_a_reader_that_waits_for_pages_ends_when_the_pool_is_stopped() -> None:
    server, requested, stopped = Server(spread(500, DAY)), threading.Event(), threading.Event()

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if session.stopped():
            raise ClientClosed  # as the client does
        if number > 1:
            requested.set()
            while not session.stopped():
                stopped.wait(0.001)
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(1) as reader:
        with RequestPool(1) as session:
            scan = WindowReader(fetch, ApiCapabilities(10, page_base=1), session.executor, at(2 * DAY))
            reading = reader.submit(lambda: list(scan.read(span(0, DAY))))
            assert requested.wait(PATIENCE)
        # of a page it waits for, or when it requests the next one
        with pytest.raises((ClientClosed, CancelledError, RuntimeError)):
            reading.result(PATIENCE)


def test_pages_requested_in_advance_are_requested_again_where_the_page_base_was_wrong() -> None:
    """By one that was there before: a list with a page 0 that was found out to count from 1."""
    server = Server(spread(2500, DAY), base=0)
    with ThreadPoolExecutor(4) as pool:
        scan = WindowReader(server.fetch, ApiCapabilities(10, page_base=1), pool, at(2 * DAY))
        check(server, span(0, DAY), list(scan.read(span(0, DAY))))
    assert scan.capabilities.page_base == 0


def test_a_changing_list_is_read_whole_by_many_threads() -> None:
    for seed in range(20):
        server = Server(spread(500, 2000), change=live(0.1, 1500, 5), seed=seed)
        with ThreadPoolExecutor(8) as pool:
            read(server, span(0, 2001), 20, 1500, pool=pool)


def test_a_fault_of_one_page_ends_the_reading_and_cancels_the_pages_that_wait() -> None:
    failed, reader = threading.Event(), threading.get_ident()
    server = Server(spread(500, DAY))

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if number == 2:
            raise Unavailable(503)
        if number > 2 and threading.get_ident() != reader:
            assert failed.wait(PATIENCE)
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(1) as pool:
        scan = WindowReader(fetch, ApiCapabilities(10, page_base=1), pool, at(2 * DAY))
        with pytest.raises(Unavailable):
            list(scan.read(span(0, DAY)))
        failed.set()
    assert len(server.calls) < 10  # of 50


def test_a_window_that_changed_is_not_read_to_its_end() -> None:
    next_window, reader = threading.Event(), threading.get_ident()
    whole = span(0, DAY)
    server = Server(spread(500, DAY), report=lambda number, total: total + (number == 1))

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        if window != whole:
            next_window.set()
        elif number > 2 and threading.get_ident() != reader:
            assert next_window.wait(PATIENCE)
        return server.fetch(window, number, size)

    with ThreadPoolExecutor(1) as pool:
        scan = WindowReader(fetch, ApiCapabilities(10, page_base=1), pool, at(2 * DAY))
        proofs = list(scan.read(whole))
    check(server, whole, proofs)
    assert requests_by_window(server)[whole] < 10  # of 50
    assert sum(proof.requests for proof in proofs) == len(server.calls)


def test_a_fault_of_the_first_page_is_raised_as_it_is() -> None:
    fault = Unavailable(503)

    def fetch(window: Window, number: int, size: int) -> Page[Any]:
        raise fault

    with pytest.raises(Unavailable) as raised:
        list(WindowReader(fetch, ApiCapabilities(10), AtOnce(), at(0)).read(span(0, DAY)))
    assert raised.value is fault
