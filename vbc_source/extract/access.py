"""Lists that could not be read: recorded where that concerns one user, raised where it concerns the run."""

from __future__ import annotations

import logging
from typing import Any

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
from vbc_source.extract.state import ResourceRun

log = logging.getLogger(__name__)

MAX_NAMED = 10  # lists that an error names
SINGLE_LIST_ERRORS = (Forbidden, NotFound, Unavailable, IncompleteWindow)  # may concern one list alone
NO_SUCH_PATH = 900906  # the gateway's code for a path that it does not know, for any list


class AccessLog:
    """Records which lists of a run can be read."""

    def __init__(self, run: ResourceRun) -> None:
        self._run = run
        # twice as many as may fail side by side: a few broken lists do not hold back the others
        self._max_failures = 2 * run.config.max_concurrency + 1
        self._failures: list[tuple[ReadTask, VbcError]] = []
        self._in_a_row = 0
        self._rows: list[dict[str, Any]] = []

    @property
    def hopeless(self) -> bool:
        """Whether so many lists in a row failed that the others will fail too."""
        return self._in_a_row >= self._max_failures

    @property
    def failed(self) -> bool:
        """Whether any list could not be read."""
        return bool(self._failures)

    def allow(self, task: ReadTask) -> None:
        """Record that a list was read to its end."""
        self._in_a_row = 0
        self._record(task, "", None)

    def judge(self, task: ReadTask, error: Exception) -> bool:
        """Return whether an error finishes its list, else `check` raises it; raise what concerns all."""
        if not isinstance(error, SINGLE_LIST_ERRORS) or isinstance(error, NotSubscribed):
            raise error
        vanished = isinstance(error, NotFound) and error.code != NO_SUCH_PATH and self._run.endpoint.per_user
        if vanished or (isinstance(error, Forbidden) and self._run.config.skip_forbidden):
            self._in_a_row = 0
            self._record(task, "not_found" if vanished else "forbidden", error)
            return True
        self._failures.append((task, error))
        # a refusal predicts nothing about the next list, and costs one request
        self._in_a_row += not isinstance(error, Forbidden)
        return False

    def check(self) -> None:
        """Raise the first failure; its message names the other lists too."""
        for task, error in self._failures[:1]:
            others = [str(other) for other, _ in self._failures[1:]]
            named = ", ".join(others[:MAX_NAMED]) + (" …" if len(others) > MAX_NAMED else "")
            error.args = (
                f"{error}"
                + (f"; that was {task}" if task.title else "")
                + (f"; likewise {named}" if named else "")
                + ("; or set on_forbidden = skip to go on without" if isinstance(error, Forbidden) else ""),
            )
            raise error

    def take_rows(self) -> list[dict[str, Any]]:
        """Return the new rows of `user_access`, and forget them."""
        rows, self._rows = self._rows, []
        return rows

    def _record(self, task: ReadTask, reason: str, error: VbcError | None) -> None:
        owner, run = task.owner, self._run
        if reason:
            run.metrics.setdefault(reason, []).append(str(task))
            log.warning("left out, %s: %s (%s)", reason.replace("_", " "), task, error)
        # state shows what is new; a backfill has none, and reports refusals alone
        if not owner.user or not (run.cursors.bar(str(owner), reason) if run.incremental else reason):
            return
        self._rows.append(
            {
                "account_id": owner.account,
                "resource": run.endpoint.name,
                "user_id": owner.user,
                "user_name": task.title or None,
                "access": reason or "allowed",
                "detail": f"HTTP {error.status}" if isinstance(error, GatewayFault) else None,
                "noted_at": run.now,
            }
        )
