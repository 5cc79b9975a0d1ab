"""Call logs are loaded, backfilled, verified, repaired and watched like recordings."""

from __future__ import annotations

import pytest
from verification_cases import NOW, Prepare, Stand, ago

from vbc_source import backfill, diagnose, read_status
from vbc_source.emulator import Gateway
from vbc_source.errors import NotSubscribed
from vbc_source.windows import parse_instant

ON = {"SOURCES__VBC__CALL_LOGS": "true", "SOURCES__VBC__USER_IDS": "[]"}
RESOURCES = ("company_recordings", "call_logs")


@pytest.fixture
def stand(prepare: Prepare) -> Stand:
    gateway = Gateway(clock=lambda: NOW, recordings=120, days=60)
    return prepare(gateway, *RESOURCES, SOURCES__VBC__PAGE_SIZE="20", **ON)


def legs(stand: Stand) -> set[tuple[str, str]]:
    return {(id_, leg) for id_, leg in stand.query("SELECT id, leg FROM call_logs")}


@pytest.mark.slow
def test_missing_legs_are_found_and_repaired_and_purged_ones_stay(stand: Stand) -> None:
    before = legs(stand)
    assert stand.verify().ok
    lost = f"\"start\" > '{ago(40)}' AND \"start\" < '{ago(30)}'"
    [(count,)] = stand.query(f"SELECT count(*) FROM call_logs WHERE {lost}")
    stand.query(f"DELETE FROM call_logs WHERE {lost}")
    found = stand.verify()
    assert (found.ok, found.missing) == (False, count)
    assert {(span.recording_type, span.gone) for span in found.spans} == {("call_logs", 0)}
    assert {gap.resource for gap in found.gaps} == {"call_logs"}
    repaired = stand.verify(repair=True)
    assert (repaired.ok, repaired.loaded, legs(stand)) == (True, count, before)
    for id_ in {row["id"] for row in stand.gateway.call_logs.all()[-20:]}:  # VBC forgets the oldest
        stand.gateway.call_logs.delete(id_)
    result = stand.verify(deep=True, repair=True)
    assert (result.ok, result.gone, result.tombstoned, legs(stand)) == (True, 0, 0, before)
    assert [total.recording_type for total in result.totals] == ["company", "call_logs"]


def test_calls_lack_no_audio(stand: Stand) -> None:
    company, calls = stand.verify().totals
    assert company.without_audio == company.loaded > 0
    assert (calls.recording_type, calls.without_audio) == ("call_logs", 0)


@pytest.mark.slow
def test_without_the_subscription_verify_and_doctor_say_so(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.gateway.fault("unsubscribed*always@/reports/")
    with pytest.raises(NotSubscribed, match="Reports API, call logs of account 549825: the application"):
        stand.verify()
    (check,) = [check for check in diagnose(stand.target) if check.subject == "Reports API"]
    assert (check.works, check.needed) == (False, True)
    assert check.text.endswith("or set call_logs = false in [sources.vbc]")
    stand.gateway.heal()
    (check,) = [check for check in diagnose(stand.target) if check.subject == "Reports API"]
    assert (check.works, check.text.startswith("subscribed; ")) == (True, True)
    monkeypatch.setenv("SOURCES__VBC__CALL_LOGS", "false")
    stand.gateway.clear()
    assert "Reports API" not in {check.subject for check in diagnose(stand.target)}
    assert stand.verify().ok
    assert stand.gateway.count("/reports/") == 0


@pytest.mark.slow
def test_status_shows_how_far_calls_are_read(stand: Stand) -> None:
    status = read_status(stand.target)
    (item,) = [item for item in status.lists if item.resource == "call_logs"]
    assert (item.rows, item.lists, item.lag_seconds is not None) == (len(legs(stand)), 1, True)
    assert item.proven_until is not None
    assert f"{item.rows:,} legs of calls; last success" in "\n".join(status.summary())


@pytest.mark.slow
def test_a_backfill_loads_the_calls_of_its_span_once(prepare: Prepare) -> None:
    stand = prepare(Gateway(clock=lambda: NOW, recordings=60, days=30), load=False, **ON)
    span = parse_instant(ago(20)), parse_instant(ago(5))
    runs = [backfill(stand.target, *span, days=5) for _ in range(2)]
    starts = [parse_instant(f"{row['start']}Z") for row in stand.gateway.call_logs.all()]
    inside = sum(span[0] <= start <= span[1] for start in starts)
    assert runs[0].rows["call_logs"] == inside == len(legs(stand)) > 0
    assert (runs[0].windows, runs[1].windows) == (4, 0)
