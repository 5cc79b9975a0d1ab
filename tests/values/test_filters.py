"""The API's own filters: validated before the first request; each combination has its own history."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from expected_rows import count, expected_recordings, extract, loaded, state
from gateway_fixtures import PASSWORD
from in_process import run_in_process
from loading import load, open_pipeline, query, still_gateway

from vbc_source import vbc_source
from vbc_source.emulator import Gateway
from vbc_source.errors import SettingsError
from vbc_source.filters import check_filters
from vbc_source.load.failures import explaining
from vbc_source.pii import PiiPolicy
from vbc_source.windows import Window, parse_instant

Serve = Callable[[Gateway], str]
OUTBOUND = {"call_direction": "OUTBOUND", "duration:gte": 60_000}


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ({"direction": "INBOUND"}, "there is no filter direction"),
        ({"Call_Direction": "INBOUND"}, "there is no filter Call_Direction"),
        ({"start": "2025-01-01"}, "there is no filter start"),
        ({7: "x"}, "there is no filter 7"),
        ({"page": 2}, "page is not a filter"),
        ({"page_size": 2}, "page_size is not a filter"),
        ({"order": "start:ASC"}, "order is not a filter"),
        ({"call_direction": "inbound"}, "call_direction must be one of"),
        ({"call_direction": ["INBOUND"]}, "call_direction must be one of"),
        ({"call_direction": None}, "call_direction must be one of"),
        ({"caller_id": 12.5}, "caller_id must be a text"),
        ({"caller_id": ["12025550100"]}, "caller_id must be a text"),
        ({"cnam": " "}, "cnam must be a text"),
        ({"dnis": True}, "dnis must be a text"),
        ({"call_id": {}}, "call_id must be a text"),
        ({"duration:gte": "a minute"}, "duration:gte must be a whole number of milliseconds"),
        ({"duration:gte": 1.5}, "duration:gte must be a whole number of milliseconds"),
        ({"duration:lte": -1}, "duration:lte must be a whole number of milliseconds"),
        ({"duration:lte": False}, "duration:lte must be a whole number of milliseconds"),
        ({"duration:gte": 5, "duration:lte": 4}, "duration:gte is greater than duration:lte"),
        ({"extension": "10x"}, "extension must be an extension number"),
        ({"start:gte": "yesterday"}, "start:gte must be an ISO date .* not 'yesterday'"),
        ({"start:gte": "2025-02-30"}, "start:gte must be an ISO date"),
        ({"start:lte": 20250101}, "start:lte must be an ISO date"),
        ({"start:gte": "2025-02-01", "start:lte": "2025-01-01"}, "start:gte is after start:lte"),
        ("call_direction=INBOUND", "filters must be a table"),
        (["call_direction"], "filters must be a table"),
        ("[1]", "filters must be a table"),
    ],
    ids=str,
)
def test_wrong_filter_is_named_before_any_request(filters: Any, named: str) -> None:
    with pytest.raises(SettingsError, match=named), explaining():
        vbc_source(base_url="http://127.0.0.1:9", filters=filters)


@pytest.mark.parametrize("name", ["caller_id", "dnis", "cnam", "call_id", "extension"])
def test_error_contains_no_number_and_no_name(name: str) -> None:
    with pytest.raises(SettingsError) as failure:
        check_filters({name: ["12025550100"]})
    assert "12025550100" not in str(failure.value)


@pytest.mark.parametrize(
    "filters",
    [None, "", {}, "{}"],
)
def test_empty_setting_gives_no_filters(filters: Any) -> None:
    assert check_filters(filters).label == ""


def test_dates_narrow_the_window() -> None:
    filters = check_filters({"start:gte": date(2025, 1, 31), "start:lte": "2025-02-01T05:30:00+05:30"})
    year = Window(parse_instant("2025-01-01"), parse_instant("2026-01-01"))
    assert filters.narrow(year) == Window(parse_instant("2025-01-31"), parse_instant("2025-02-01"))
    assert filters.narrow(Window(parse_instant("2025-03-01"), parse_instant("2025-04-01"))) is None
    assert filters.params == {}


@pytest.mark.parametrize(
    "privacy", [PiiPolicy(), PiiPolicy("hash", b"key"), PiiPolicy("drop")], ids=lambda policy: policy.mode
)
def test_label_identifies_filters_without_revealing_values(privacy: PiiPolicy) -> None:
    first, second = (
        {"caller_id": number, "call_direction": "INBOUND"} for number in ("12025550100", "12025550101")
    )
    label = check_filters(first, privacy).label
    assert label == check_filters(dict(reversed(first.items())), privacy).label
    assert label == check_filters(json.dumps(first), privacy).label
    assert label != check_filters(second, privacy).label
    assert "2025550" not in label


def test_label_depends_on_the_pii_policy() -> None:
    filters = {"caller_id": "12025550100"}
    labels = {check_filters(filters, privacy).label for privacy in (PiiPolicy(), PiiPolicy("drop"))}
    labels |= {check_filters(filters, PiiPolicy("hash", key)).label for key in (b"one", b"other")}
    assert len(labels) == 4


def test_filters_are_sent_and_each_combination_has_its_own_cursor(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=20, users=2, user_recordings=60)
    url, pipeline = serve(gateway), open_pipeline()
    monkeypatch.setenv("SOURCES__VBC__FILTERS", json.dumps(OUTBOUND))
    extract(pipeline, url, "company_recordings", "user_recordings")
    lists = [request.query for request in gateway.requests if "start:gte" in request.query]
    assert {(query["call_direction"], query["duration:gte"]) for query in lists} == {("OUTBOUND", "60000")}
    before = dict(state(pipeline)["cursors"])
    monkeypatch.setenv("SOURCES__VBC__FILTERS", json.dumps({"call_direction": "INBOUND"}))
    extract(pipeline, url, "company_recordings", "user_recordings")
    after = state(pipeline)["cursors"]
    assert before.items() <= after.items()
    assert len(after) > len(before)


@pytest.mark.slow
def test_each_combination_of_filters_has_its_own_history(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = still_gateway(recordings=60, users=2, user_recordings=60)
    url, pipeline = serve(gateway), open_pipeline()
    monkeypatch.setenv("SOURCES__VBC__FILTERS", json.dumps(OUTBOUND))
    load(pipeline, url, "company_recordings", "user_recordings")
    for request in gateway.requests:
        if request.path.endswith("call_recordings") and "start:gte" in request.query:
            assert (request.query["call_direction"], request.query["duration:gte"]) == ("OUTBOUND", "60000")
    ways = "SELECT DISTINCT call_direction, duration >= 60000 FROM {}"
    for table in ("company_recordings", "user_recordings"):
        assert query(pipeline, ways.format(table)) == [("OUTBOUND", True)]
    before = dict(state(pipeline)["cursors"])
    monkeypatch.setenv("SOURCES__VBC__FILTERS", json.dumps({"call_direction": "INBOUND"}))
    load(pipeline, url, "company_recordings", "user_recordings")
    assert before.items() <= state(pipeline)["cursors"].items()
    assert count(pipeline, "user_recordings", "call_direction = 'INBOUND'") == sum(
        row["call_direction"] == "INBOUND"
        for user in gateway.users.all()
        for row in gateway.users.recordings(user["id"]).all()
    )
    monkeypatch.delenv("SOURCES__VBC__FILTERS")
    load(pipeline, url, "company_recordings", "user_recordings")
    assert loaded(pipeline) == expected_recordings(gateway)
    assert count(pipeline, "company_recordings") == len(gateway.company)
    labels = query(pipeline, "SELECT DISTINCT filters FROM scan_windows ORDER BY 1 NULLS FIRST")
    assert [label and label.split("#")[0] for (label,) in labels] == [
        None,
        "call_direction",
        "call_direction,duration:gte",
    ]


@pytest.mark.slow
def test_filters_are_read_from_the_configuration_file(serve: Serve, own_folder: Path) -> None:
    folder = own_folder / ".dlt"
    folder.mkdir()
    (folder / "config.toml").write_text(
        '[sources.vbc.filters]\ncall_direction = "INBOUND"\n"start:gte" = 2025-01-31\n'
        '"duration:lte" = 60000\n'
    )
    gateway = still_gateway(recordings=10)
    settings = {f"CREDENTIALS__{name.upper()}": value for name, value in PASSWORD.items()}
    settings = {f"SOURCES__VBC__{name}": value for name, value in settings.items()}
    result = run_in_process(
        *("sync", "--resources", "company_recordings", "--start-date", "2020-01-01"),
        SOURCES__VBC__BASE_URL=serve(gateway),
        **settings,
    )
    assert result.exit_code == 0, result.stderr
    (request,) = [request for request in gateway.requests if request.path != "/token"]
    assert request.query["call_direction"] == "INBOUND"
    assert request.query["duration:lte"] == "60000"
    assert request.query["start:gte"] == "2025-01-31T00:00:00Z"
