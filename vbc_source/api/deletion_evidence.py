"""Confirm that recordings are gone: each by its own 404.

A failing gateway can answer 404 to everything. A recording therefore counts as gone only when

1. it was requested by itself twice, and both responses were a 404 without an error code of the gateway, and
2. a recording of the same list that exists was answered between the two requests, and again after the second.
   An empty list has none: then the list itself must be answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from datetime import datetime, timezone
from itertools import islice

from vbc_source.api.recordings import RecordingApi
from vbc_source.errors import GatewayFault, NotFound, NotSubscribed

log = logging.getLogger(__name__)

BATCH = 200  # recordings between two requests for one that exists


class DeletionEvidence:
    """Confirms which recordings of one list are gone.

    `present` requests something that exists in the list, and raises if there is no proper response.
    """

    def __init__(
        self,
        api: RecordingApi,
        pool: Executor,
        present: Callable[[], object],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._api, self._pool, self._present, self._now = api, pool, present, now

    def confirm(self, ids: Iterable[int]) -> Iterator[tuple[int, str]]:
        """Yield the recordings that are gone, each with the evidence; raises NotSubscribed."""
        left = iter(sorted(ids))
        while batch := list(islice(left, BATCH)):
            confirmed = self._confirm_batch(batch)
            yield from confirmed
            if not confirmed:
                return  # the gateway is likely to fail for the others as well

    def _confirm_batch(self, ids: list[int]) -> list[tuple[int, str]]:
        # all first requests come before all second ones: a short failure cannot answer both of a recording
        first = self._request_all(ids)
        if not first or not self._is_answering():
            return []
        second = self._request_all(list(first))
        if not second or not self._is_answering():
            return []
        return [(id_, self._describe(id_, first[id_], moment)) for id_, moment in second.items()]

    def _request_all(self, ids: list[int]) -> dict[int, datetime]:
        """Request each recording; return those that are gone, with the time of the response."""
        times = zip(ids, self._pool.map(self._request, ids), strict=True)
        return {id_: moment for id_, moment in times if moment}

    def _is_answering(self) -> bool:
        """Return whether the gateway answers for what exists."""
        try:
            self._present()
        except NotSubscribed:
            raise
        except GatewayFault as fault:
            log.warning("no recording is marked as gone: one that exists is not answered either: %s", fault)
            return False
        return True

    def _request(self, recording_id: int) -> datetime | None:
        """Request a recording; return when the API answered that it is gone, None for any other response."""
        try:
            self._api.show(recording_id)
        except NotSubscribed:
            raise
        except GatewayFault as fault:
            # with a code the gateway, not the API, answered: it does not know the path, or is misconfigured
            if says_gone(fault):
                return self._now()
            log.warning("recording is not marked as gone: %s", fault)
        return None

    def _describe(self, recording_id: int, first: datetime, second: datetime) -> str:
        return (
            f"GET {self._api.locate(recording_id)} answered HTTP 404 at {first:%Y-%m-%dT%H:%M:%SZ} and "
            f"{second:%Y-%m-%dT%H:%M:%SZ}, while the gateway answered for what exists"
        )


def says_gone(fault: GatewayFault) -> bool:
    """Return whether the API itself answered that a resource is gone, not the gateway before it."""
    return isinstance(fault, NotFound) and fault.status == 404 and fault.code is None


def request_present(api: RecordingApi) -> None:
    """Request a recording that a list contains; an empty list has none, so then the list must be answered."""
    for row in api.list({}, 1):
        api.show(row.get("id", 0))
