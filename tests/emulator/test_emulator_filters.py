"""Filters of a list of recordings."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from emulator_client import Client, Serve

DAY = [f"2025-06-01T{hour:02d}:00:00+0000" for hour in range(24)]


@pytest.fixture(scope="module")
def client(serve_module: Serve) -> Client:
    client = serve_module()
    for hour in range(12):
        client.gateway.company.add(id=100 + hour, start=DAY[hour], duration=hour * 60_000)
    plain: dict[str, Any] = {"caller_id": 12015550100, "cnam": None, "dnis": "1", "extensions": [1001]}
    add = client.gateway.company.add
    add(**plain, id=1, start=DAY[20], call_direction="OUTBOUND", call_id="abc", duration=5)
    add(**{**plain, "caller_id": "Anonymous", "dnis": "17325550199"}, id=2, start=DAY[21], duration=6)
    add(**{**plain, "cnam": 'ZO\u00cb "Z" LAST', "extensions": [1, "2"]}, id=3, start=DAY[22], duration=7)
    add(**{**plain, "extensions": None, "extension": 3}, id=4, start=DAY[23], duration=8)
    return client


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"call_id": "abc"}, [1]),
        ({"caller_id": "Anonymous"}, [2]),
        ({"caller_id": "12015550100", "start_gte": DAY[20]}, [4, 3, 1]),
        ({"cnam": 'ZO\u00cb "Z" LAST'}, [3]),
        ({"cnam": "None"}, []),
        ({"dnis": "17325550199"}, [2]),
        ({"extension": "1"}, [3]),
        ({"extension": "2"}, [3]),
        ({"extension": "3"}, [4]),
        ({"extension": "1001", "start_gte": DAY[20]}, [2, 1]),
        ({"duration_gte": 600_000}, [111, 110]),
        ({"duration_lte": 6, "duration_gte": 1}, [2, 1]),
        ({"start_gte": DAY[10], "start_lte": DAY[11]}, [111, 110]),
        ({"start_gte": DAY[11], "start_lte": DAY[10]}, []),
        ({"start_lte": DAY[0]}, [100]),
        ({"call_direction": "OUTBOUND", "call_id": "abc"}, [1]),
        ({"call_direction": "INBOUND", "call_id": "abc"}, []),
        ({"unknown": "1", "call_id": "abc"}, [1]),
    ],
)
def test_filter_returns_matching_recordings(client: Client, filters: dict[str, Any], ids: list[int]) -> None:
    assert client.ids(**filters) == ids


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND", "INTRA_PBX"])
def test_filter_by_direction(serve: Serve, direction: str) -> None:
    client = serve(recordings=200)
    expected = [row["id"] for row in client.gateway.company.all() if row["call_direction"] == direction]
    assert sorted(client.ids(call_direction=direction)) == sorted(expected)


@pytest.mark.parametrize(
    "spelling",
    [
        "2025-06-01T10:00:00Z",
        "2025-06-01T10:00:00+0000",
        "2025-06-01T10:00:00+00:00",
        "2025-06-01T15:30:00+0530",
        "2025-06-01T05:00:00-05:00",
    ],
)
def test_date_bound_is_inclusive_in_every_accepted_format(client: Client, spelling: str) -> None:
    assert client.ids(start_gte=spelling, start_lte=spelling) == [110]


def test_date_bound_is_exact_to_the_millisecond(client: Client) -> None:
    client.gateway.company.add(id=5, start="2025-06-01T10:00:00.001+0000")
    assert 5 not in client.ids(start_lte=DAY[10])
    assert 5 in client.ids(start_gte=DAY[10])
    client.gateway.company.delete(5)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("2025-06-01", ""),
        ("yesterday", "yesterday"),
        ("2025-06-01T10:00:00", ""),
        ("2025-06-01T10:00:00.123Z", ".123Z"),
        ("2025-06-01 10:00:00Z", " 10:00:00Z"),
        ("2025-13-01T10:00:00Z", "2025-13-01T10:00:00Z"),
    ],
)
def test_malformed_date_returns_400(client: Client, text: str, rest: str) -> None:
    response = client.get_list(start_gte=text)
    assert response.status_code == 400
    assert response.json()["message"].endswith(f'is malformed at "{rest}"')


def test_unencoded_plus_in_a_date_is_read_as_a_space(client: Client) -> None:
    response = client.send(
        "GET",
        requests.Request(
            "GET",
            "/t/vbc.prod/call_recording/api/accounts/self/"
            "company_call_recordings?start:gte=2025-06-01T10:00:00+0000",
        ).url,
    )
    assert response.status_code == 400
    assert 'is malformed at " 0000"' in response.json()["message"]


@pytest.mark.parametrize(
    "params",
    [
        {"page": "x"},
        {"page_size": "x"},
        {"page_size": 0},
        {"duration_gte": "x"},
        {"order": "end:ASC"},
        {"call_direction": "SIDEWAYS"},
    ],
)
def test_invalid_parameter_returns_400(client: Client, params: dict[str, Any]) -> None:
    assert client.get_list(**params).status_code == 400
