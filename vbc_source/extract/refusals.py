"""Lists that a run cannot read: which errors end it, and which are reported at its end, with the rest loaded.

An `AccessLog` judges the errors of one resource. `Refusals` collects those of all resources of a run, where
its caller asks for that; without it the first error is raised.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeGuard

from vbc_source.config import CALL_LOGS_TABLE
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    GatewayFault,
    NotFound,
    NotSubscribed,
    Throttled,
    TokenRejected,
    Unavailable,
    VbcError,
)
from vbc_source.extract.reading.lists import ReadTask
from vbc_source.extract.state import ResourceRun

log = logging.getLogger(__name__)

MAX_NAMED = 10  # lists that an error names
MAX_UNANSWERED = 2  # lists to fail, each after its retries, while none was answered; another one ends the run
CHECK_PATH = "check account_id and recording_api"  # what to do about a 404 of a list
NO_SUCH_PATH = 900906  # the gateway's code for a path that it does not know, for any list


def name_others(names: Sequence[str]) -> str:
    """Write the lists that an error concerns too, as the end of its message; nothing where there are none."""
    named = ", ".join(names[:MAX_NAMED]) + (" …" if len(names) > MAX_NAMED else "")
    return f"; also affected: {named}" if named else ""


class Refusals:
    """Collects the lists that could not be read, with the reason of each."""

    def __init__(self) -> None:
        self._found: dict[str, GatewayFault] = {}
        self._answered = False

    def add(self, lists: Sequence[str], error: GatewayFault) -> None:
        """Add lists that could not be read for one reason."""
        for name in lists:
            self._found.setdefault(name, error)

    def record_answer(self) -> None:
        """Record that a window was read: what fails does not concern the whole gateway."""
        self._answered = True

    def takes(self, error: GatewayFault) -> bool:
        """Whether the run goes on after an error; where nothing is answered, the others would fail, too."""
        return self._answered or isinstance(error, Forbidden) or len(self._found) < MAX_UNANSWERED

    def check_answered(self) -> None:
        """Raise the first error if no list was answered, and not all were refused."""
        if not self._answered and not all(isinstance(error, Forbidden) for error in self._found.values()):
            self.check()

    def describe(self) -> str:
        """Return the reasons, each with the names of the lists that it concerns; empty without any."""
        groups: dict[tuple[object, ...], list[str]] = {}
        for name, error in self._found.items():
            # one reason each: messages of the same kind, status and code differ in the list that they name
            groups.setdefault((type(error), error.status, error.code), []).append(name)
        texts = [f"{self._found[first]}{name_others(others)}" for first, *others in groups.values()]
        if all(isinstance(error, Forbidden) for error in self._found.values()):
            end = ["what the user may read is loaded"]
        else:
            end = ["the rest is loaded"] if self._answered else []
        return "; ".join([*texts, *end]) if texts else ""

    def check(self) -> None:
        """Raise the first error, with all reasons and the names of all lists."""
        text = self.describe()
        for error in self._found.values():
            error.args = (text,)
            raise error


# dlt calls the resources, and hands no argument of ours through: a context variable reaches them
_collected: ContextVar[Refusals | None] = ContextVar("vbc_refusals", default=None)


@contextmanager
def collect_refusals(refusals: Refusals | None = None) -> Iterator[Refusals]:
    """Collect the failures of the extraction inside, which dlt would otherwise end with nothing loaded.

    Raises the first of them after the extraction where the gateway answered nothing.
    """
    refusals = Refusals() if refusals is None else refusals
    token = _collected.set(refusals)
    try:
        yield refusals
        refusals.check_answered()
    finally:
        _collected.reset(token)


def current_refusals() -> Refusals | None:
    """Return where to report a list that could not be read; None where its error has to be raised."""
    return _collected.get()


def concerns_one_list(error: Exception) -> TypeGuard[GatewayFault]:
    """Return whether an error may concern one list alone."""
    if isinstance(error, NotSubscribed):
        return False
    return isinstance(error, (Forbidden, NotFound, Unavailable, BadRequest, TokenRejected))


def leaves_the_rest(error: Exception) -> TypeGuard[GatewayFault]:
    """Return whether the rest is loaded after an error; also if the quota is used up for hours."""
    return concerns_one_list(error) or isinstance(error, Throttled)


class AccessLog:
    """Records which lists of a run can be read; `find_account` returns the real id of `self`."""

    def __init__(self, run: ResourceRun, find_account: Callable[[str], str]) -> None:
        self._run, self._find_account = run, find_account
        # twice as many as are read at a time: a few broken lists do not end the run
        self._max_failures = 2 * run.config.max_concurrency + 1
        self._failures: list[tuple[ReadTask, GatewayFault]] = []
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

    def record_answer(self) -> None:
        """Record that a window was read."""
        self._in_a_row = 0
        if refusals := current_refusals():
            refusals.record_answer()

    def allow(self, task: ReadTask) -> None:
        """Record that a list was read to its end."""
        self.record_answer()
        self._record(task, "", None)

    def judge(self, task: ReadTask, error: Exception) -> bool:
        """Return whether an error finishes its list, else `check` raises it; raise what concerns all."""
        if not leaves_the_rest(error):
            raise error
        # a user who has left answers 404 as well; the gateway's own code says that no list has such a path
        vanished = isinstance(error, NotFound) and error.code != NO_SUCH_PATH and self._run.endpoint.per_user
        if vanished or (isinstance(error, Forbidden) and self._run.config.skip_forbidden):
            self._in_a_row = 0
            self._record(task, "not_found" if vanished else "forbidden", error)
            return True
        if isinstance(error, Forbidden) and (refusals := current_refusals()):
            refusals.add([f"{self._run.endpoint.title} of {task}"], error)
            self._explain(error)
            return True
        # kept, not raised: dlt would end the extraction, and drop what the other lists have brought
        self._failures.append((task, error))
        # a refusal predicts nothing about the next list, and costs one request
        self._in_a_row += not isinstance(error, Forbidden)
        if isinstance(error, Throttled):  # the quota is everybody's
            self._in_a_row = self._max_failures
        return False

    def check(self) -> None:
        """Raise the first failure, its message names the other lists too; or report all at the run's end."""
        refusals = current_refusals()
        if refusals and all(refusals.takes(error) for _, error in self._failures):
            for task, error in self._failures:
                self._explain(error)
                refusals.add([f"{self._run.endpoint.title} of {task}"], error)
            return
        for _, error in self._failures[:1]:
            error.args = (f"{error}{name_others([str(other) for other, _ in self._failures[1:]])}",)
            self._explain(error)
            raise error

    def _explain(self, error: VbcError) -> None:
        if isinstance(error, Forbidden):
            error.args = (f"{error}; or set on_forbidden = skip to continue without them",)
        elif isinstance(error, NotFound) and self._run.endpoint.name != CALL_LOGS_TABLE:
            error.args = (f"{error}; {CHECK_PATH}",)

    def take_rows(self) -> list[dict[str, Any]]:
        """Return the new rows of `user_access`, and forget them."""
        rows, self._rows = self._rows, []
        return rows

    def leave_out(self, task: ReadTask, error: Forbidden) -> None:
        """Record that a list is left out because the API user may not read it."""
        self._record(task, "forbidden", error)

    def _record(self, task: ReadTask, reason: str, error: VbcError | None) -> None:
        owner, run = task.owner, self._run
        if reason:
            run.metrics.setdefault(reason, []).append(str(task))
            log.warning("left out, %s: %s (%s)", reason.replace("_", " "), task, error)
        # state shows what is new; a backfill has none, and reports refusals alone
        if not (run.cursors.bar(str(owner), reason) if run.incremental else reason):
            return
        self._rows.append(
            {
                "account_id": self._find_account(owner.account),
                "resource": run.endpoint.name,
                "user_id": owner.user or "",
                "user_name": task.title or None,
                "access": reason or "allowed",
                "detail": f"HTTP {error.status}" if isinstance(error, GatewayFault) else None,
                "noted_at": run.now,
            }
        )
