"""Single recordings are listed from the first page on, wherever the server starts to count."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from gateway_fixtures import API, make_credentials
from loading import still_gateway

from vbc_source import open_recordings
from vbc_source.api.client import Client
from vbc_source.api.recordings import RecordingApi
from vbc_source.emulator import Gateway
from vbc_source.errors import UsageError

Serve = Callable[[Gateway], str]


@pytest.mark.parametrize("faults", [(), ("page-base-0",), ("page-base-0", "empty-404"), ("cap-7",)])
@pytest.mark.parametrize("limit", [20, 200])
def test_the_newest_recordings_are_listed_once_for_any_paging(
    serve: Serve, faults: tuple[str, ...], limit: int
) -> None:
    gateway = still_gateway(recordings=50)
    newest = sorted(gateway.company.all(), key=lambda row: row["start"], reverse=True)
    for fault in faults:
        gateway.fault(fault)
    with closing(Client(serve(gateway), make_credentials())) as client:
        listed = list(RecordingApi(client, API, "self", "company").list({}, limit))
    assert [row["start"] for row in listed] == [row["start"] for row in newest[:limit]]
    assert len({row["id"] for row in listed}) == len(listed)


def test_a_user_of_company_recordings_is_refused() -> None:
    with pytest.raises(UsageError, match="company recordings belong to no user"):
        open_recordings("company", "745249")
