"""No recording is tombstoned because of answers of a failing gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from gateway_fixtures import API, Stage, make_credentials
from loading import still_gateway
from verification_cases import Prepare, oldest

from vbc_source import VbcError
from vbc_source.api.client import Client
from vbc_source.api.deletion_evidence import DeletionEvidence
from vbc_source.api.recordings import RecordingApi
from vbc_source.emulator import Gateway
from vbc_source.emulator.faults.catalogue import BROKEN_RESPONSES, ERROR_RESPONSES
from vbc_source.errors import NotSubscribed
from vbc_source.verification.findings import VerifyResult

THERE, GONE = 11, 12
# faults that wait are retried until an answer comes, which then counts; with cut-json a 404 stays a 404
OTHERS = ("throttled", "hard", "token", "not-found", "cut-json")
LASTING = [name for name in (*ERROR_RESPONSES, *BROKEN_RESPONSES) if not name.startswith(OTHERS)]
EVERYDAY = ("no-rights",)
# the client waits for a second where a response says so
PASSING = [
    pytest.param(name, marks=pytest.mark.slow if name in ("throttled", "hard-limit") else [])
    for name in (*ERROR_RESPONSES, *BROKEN_RESPONSES)
    if not name.startswith("throttled-")
]


@pytest.fixture
def confirm(stage: Stage) -> Iterator[Callable[..., list[int]]]:
    """Serve a gateway with one recording; the function returns which of some ids are confirmed as gone."""
    gateway = stage.start()
    gateway.company.add(id=THERE, duration=1000)
    client = Client(stage.base_url, make_credentials(), retry_seconds=0)
    api = RecordingApi(client, API, "self", "company")

    def run(*ids: int, faults: tuple[str, ...] = (), present: int = THERE) -> list[int]:
        for fault in faults:
            gateway.fault(fault)
        with ThreadPoolExecutor(2) as pool:
            return [id_ for id_, _ in DeletionEvidence(api, pool, lambda: api.show(present)).confirm(ids)]

    with closing(client):
        yield run


def test_a_recording_is_gone_after_its_own_404_twice(confirm: Callable[..., list[int]]) -> None:
    assert confirm(THERE, GONE) == [GONE]


@pytest.mark.parametrize("fault", PASSING)
def test_after_a_passing_fault_an_existing_recording_is_not_gone(
    confirm: Callable[..., list[int]], fault: str
) -> None:
    try:
        assert confirm(THERE, faults=(f"{fault}*1@/company_call_recordings/{THERE}",)) == []
    except NotSubscribed:
        assert fault == "unsubscribed"


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=pytest.mark.slow if name == "rejected-200" else []) for name in LASTING],
)
@pytest.mark.parametrize("form", ["xml", "wrapped", "flat"])
def test_a_lasting_fault_confirms_no_deletion(
    confirm: Callable[..., list[int]], fault: str, form: str
) -> None:
    """Whether one recording is answered with the fault, or every request is."""
    try:
        assert confirm(GONE, faults=(f"{fault}:{form}*always@/company_call_recordings/{GONE}",)) == []
        assert confirm(GONE, faults=(f"{fault}:{form}*always",)) == []
    except NotSubscribed:
        assert fault == "unsubscribed"


def test_a_gateway_that_answers_404_to_everything_confirms_no_deletion(
    confirm: Callable[..., list[int]],
) -> None:
    assert confirm(THERE, GONE, faults=("not-found*always",)) == []


def test_an_existing_recording_must_be_answered_between_and_after(confirm: Callable[..., list[int]]) -> None:
    assert confirm(GONE, faults=(f"html*1@/company_call_recordings/{THERE}",)) == []
    assert confirm(GONE, faults=(f"no-rights*1@/company_call_recordings/{THERE}",)) == []
    assert confirm(GONE, present=GONE) == []


def test_a_404_of_a_wrong_path_confirms_no_deletion(confirm: Callable[..., list[int]], stage: Stage) -> None:
    client = Client(stage.base_url, make_credentials(), retry_seconds=0)
    with closing(client), ThreadPoolExecutor(2) as pool:
        wrong = RecordingApi(client, "/t/vbc.prod/no_such_api", "self", "company")
        here = RecordingApi(client, API, "self", "company")
        assert list(DeletionEvidence(wrong, pool, lambda: wrong.show(THERE)).confirm([THERE])) == []
        assert [id_ for id_, _ in DeletionEvidence(here, pool, lambda: here.show(THERE)).confirm([GONE])] == [
            GONE
        ]


@pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.slow) for name in LASTING]
)
def test_a_run_against_a_failing_gateway_marks_nothing(prepare: Prepare, fault: str) -> None:
    stand = prepare(None, "company_recordings")
    gone = oldest(stand.gateway, 50)
    stand.gateway.company.delete(gone)
    for place in (f"company_call_recordings/{gone}", "company_call_recordings"):
        stand.gateway.fault(f"{fault}*always@/{place}")
        outcome = attempt(stand.verify)
        assert outcome is None or (outcome.ok, outcome.tombstoned, outcome.unconfirmed) == (False, 0, 1)
        assert stand.tombstones() == []
    stand.gateway.heal()
    assert stand.verify(repair=True).tombstoned == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", ["truncated", "cut-json", "wrong-totals", "missing-totals", "fault-200", "html", "reset"]
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_passing_fault_anywhere_does_not_change_the_result(
    prepare: Prepare, fault: str, times: int
) -> None:
    stand = prepare(
        None, "company_recordings", SOURCES__VBC__RETRY_SECONDS="20", SOURCES__VBC__PAGE_SIZE="50"
    )
    gone = oldest(stand.gateway, 50)
    stand.gateway.company.delete(gone)
    stand.add_late(1)
    stand.add_late(2)
    stand.gateway.fault(f"{fault}*{times}")
    result = stand.verify()
    assert (result.missing, result.gone) == (2, 1)
    stand.gateway.fault(f"{fault}*{times}")
    done = stand.verify(repair=True)
    assert (done.ok, done.loaded, done.tombstoned) == (True, 2, 1)
    assert stand.tombstones() == [("company", "", gone)]


@pytest.mark.slow
def test_a_recording_that_a_list_omits_is_not_marked(prepare: Prepare) -> None:
    """The list omits it, in its count too; requested by itself, the recording exists."""
    stand = prepare(None, "company_recordings")
    hidden = next(row for row in stand.gateway.company.all() if row["id"] == oldest(stand.gateway, 50))

    def hide(gateway: Gateway, _: Any) -> None:
        if any(row["id"] == hidden["id"] for row in gateway.company.all()):
            gateway.company.change(hidden["id"], start="2001-01-01T00:00:00+0000")

    stand.gateway.before_page.append(hide)
    outcome = stand.verify(repair=True)
    assert (outcome.ok, outcome.gone, outcome.tombstoned, outcome.unconfirmed) == (False, 1, 0, 1)
    assert stand.tombstones() == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["arrivals", "churn"])
def test_while_recordings_come_and_go_only_deleted_ones_are_marked(prepare: Prepare, fault: str) -> None:
    stand = prepare(still_gateway(recordings=1000), "company_recordings", SOURCES__VBC__PAGE_SIZE="20")
    stand.gateway.company.delete(oldest(stand.gateway, 50))
    stand.gateway.fault(fault)
    outcome = attempt(stand.verify)
    stand.gateway.heal()
    held = {int(row["id"]) for row in stand.gateway.company.all()}
    marked = {id_ for _, _, id_ in stand.tombstones()}
    assert not marked & held
    if fault == "arrivals":
        assert outcome
        assert (outcome.ok, len(marked)) == (True, 1)
    assert stand.verify(repair=True).ok


@pytest.mark.slow
def test_a_recording_whose_start_moved_is_loaded_anew_not_marked(prepare: Prepare) -> None:
    stand = prepare(None, "company_recordings", SOURCES__VBC__PAGE_SIZE="50")
    moved = oldest(stand.gateway, 50)
    stand.gateway.company.change(moved, start="2026-01-15T12:00:00+0000")
    assert stand.verify(deep=True, repair=True).tombstoned == 0
    assert stand.verify(deep=True).ok
    assert stand.tombstones() == []


def attempt(run: Callable[..., VerifyResult]) -> VerifyResult | None:
    try:
        return run(repair=True)
    except VbcError:
        return None
