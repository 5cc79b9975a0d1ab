"""Whose lists could not be read: noted where that concerns one user, raised where it concerns the run."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from datetime import datetime
from typing import Any

from vbc_source.api.endpoints import Endpoint
from vbc_source.errors import (
    Forbidden,
    GatewayFault,
    IncompleteWindow,
    NotFound,
    NotSubscribed,
    Unavailable,
    VbcError,
)
from vbc_source.extract.lists import ReadTask
from vbc_source.extract.state import CursorState

log = logging.getLogger(__name__)

MOST_NAMED = 10  # users that an error names
MAY_BE_ALONE = (Forbidden, NotFound, Unavailable, IncompleteWindow)  # what may concern one list and no other
NO_SUCH_PATH = 900906  # what the gateway says of a path it does not know, whoever's list it is


class AccessLog:
    """What a run finds out about who may be read.

    Args:
        endpoint: whose lists.
        skip_forbidden: whether to go on without what may not be read, as `on_forbidden` says.
        most_failures: lists in a row that the gateway fails at, after which the others are not tried.
        cursors: where it is remembered, or None.
        metrics: where it is counted.
        now: when the run began.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        skip_forbidden: bool,
        most_failures: int,
        cursors: CursorState | None,
        metrics: MutableMapping[str, Any],
        now: datetime,
    ) -> None:
        self._endpoint, self._skip, self._cursors = endpoint, skip_forbidden, cursors
        self._metrics, self._now, self._most = metrics, now, most_failures
        self._failures: list[tuple[ReadTask, VbcError]] = []
        self._in_a_row = 0
        self._rows: list[dict[str, Any]] = []

    @property
    def hopeless(self) -> bool:
        """Whether so many lists in a row failed that the others will."""
        return self._in_a_row >= self._most

    def allow(self, history: ReadTask) -> None:
        """Note that a list was read to its end."""
        self._in_a_row = 0
        self._note(history, "", None)

    def judge(self, history: ReadTask, error: Exception) -> bool:
        """Take an error in.

        Returns:
            Whether the list is done with; else it has failed, and `check` will say so.

        Raises:
            Exception: the error, where it concerns every list.
        """
        if not isinstance(error, MAY_BE_ALONE) or isinstance(error, NotSubscribed):
            raise error
        vanished = isinstance(error, NotFound) and error.code != NO_SUCH_PATH and self._endpoint.per_user
        if vanished or (isinstance(error, Forbidden) and self._skip):
            self._in_a_row = 0
            self._note(history, "not_found" if vanished else "forbidden", error)
            return True
        self._failures.append((history, error))
        # a refusal says nothing of the next list, and costs one request
        self._in_a_row += not isinstance(error, Forbidden)
        return False

    def check(self) -> None:
        """Raise the first failure; it names the others too.

        Raises:
            VbcError: a list could not be read.
        """
        for history, error in self._failures[:1]:
            others = [str(other) for other, _ in self._failures[1:]]
            named = ", ".join(others[:MOST_NAMED]) + (" …" if len(others) > MOST_NAMED else "")
            error.args = (
                f"{error}"
                + (f"; that was {history}" if history.title else "")
                + (f"; likewise {named}" if named else "")
                + ("; or set on_forbidden = skip to go on without" if isinstance(error, Forbidden) else ""),
            )
            raise error

    def take_rows(self) -> list[dict[str, Any]]:
        """Give what is new: rows of `user_access`."""
        rows, self._rows = self._rows, []
        return rows

    @property
    def failed(self) -> bool:
        """Whether any list could not be read."""
        return bool(self._failures)

    def _note(self, history: ReadTask, reason: str, error: VbcError | None) -> None:
        place = history.place
        if reason:
            self._metrics.setdefault(reason, []).append(str(history))
            log.warning("left out, %s: %s (%s)", reason.replace("_", " "), history, error)
        if not place.user or not (self._cursors is None or self._cursors.bar(str(place), reason)):
            return
        if self._cursors is None and not reason:
            return
        status = f"HTTP {error.status}" if isinstance(error, GatewayFault) else None
        self._rows.append(
            {
                "account_id": place.account,
                "resource": self._endpoint.name,
                "user_id": place.user,
                "user_name": history.title or None,
                "access": reason or "allowed",
                "detail": status,
                "noted_at": self._now,
            }
        )
