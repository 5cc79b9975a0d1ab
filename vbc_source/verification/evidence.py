"""Asks for single recordings that a proven list does not have: are they gone, on their own 404 alone?

A gateway that fails can answer 404 to everything. So a recording counts as gone only if it was asked for
twice, by itself, and got a 404 both times that bears no code of the gateway's own; and if a recording that
is there was answered between the two and after them.
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

BATCH = 200  # recordings between two looks at one that is there


class DeletionEvidence:
    """Finds out which recordings of one list are gone.

    Args:
        api: the single recordings of that list.
        pool: sends the requests.
        present: asks for something of the list that is there; raises where it is not answered.
        now: tells the time.
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
        """Give those of some recordings that are gone, with the evidence.

        Raises:
            NotSubscribed: the application may not ask.
        """
        left = iter(sorted(ids))
        while batch := list(islice(left, BATCH)):
            told = self._confirm_batch(batch)
            yield from told
            if not told:
                return  # nothing of these could be confirmed: others would fare no better

    def _confirm_batch(self, ids: list[int]) -> list[tuple[int, str]]:
        first = dict(zip(ids, self._pool.map(self._is_gone, ids), strict=True))
        again = [id_ for id_, moment in first.items() if moment]
        if not again or not self._answers():
            return []
        second = dict(zip(again, self._pool.map(self._is_gone, again), strict=True))
        if not self._answers():
            return []
        return [(id_, self._tell(id_, first[id_], moment)) for id_, moment in second.items() if moment]

    def _answers(self) -> bool:
        """Whether the gateway answers for what is there."""
        try:
            self._present()
        except NotSubscribed:
            raise
        except GatewayFault as fault:
            log.warning("nothing is taken for gone, since what is there is not answered either: %s", fault)
            return False
        return True

    def _is_gone(self, recording_id: int) -> datetime | None:
        """When the API said of a recording that it is gone; None where it did not."""
        try:
            self._api.show(recording_id)
        except NotFound as fault:
            if fault.status == 404 and fault.code is None:
                return self._now()
            log.warning("not taken for gone: %s", fault)
        except NotSubscribed:
            raise
        except GatewayFault as fault:
            log.warning("not taken for gone: %s", fault)
        return None

    def _tell(self, recording_id: int, first: datetime | None, second: datetime) -> str:
        times = " and ".join(f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (first, second) if moment)
        return (
            f"GET {self._api.locate(recording_id)} answered HTTP 404 at {times}, while the gateway answered "
            "for what is there; the list of its span was read complete, without it"
        )
