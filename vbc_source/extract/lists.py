"""Reads lists over the client: from the API's pages to proven windows, and what they say of `self`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from vbc_source.api.capabilities import ApiCapabilities
from vbc_source.api.client import Client
from vbc_source.api.endpoints import Endpoint, read_place
from vbc_source.api.rate_limit import ClientClosed
from vbc_source.config import SELF, VbcConfig
from vbc_source.errors import SettingsError
from vbc_source.extract.completeness import ProvenWindow
from vbc_source.extract.window_reader import WindowReader
from vbc_source.schema.pages import Page, PageRows, read_page
from vbc_source.windows import Window, floor_second, format_instant

READING = 2  # threads beside those that wait for an answer


@dataclass(frozen=True, slots=True)
class ListOwner:
    """Whose list it is.

    Attributes:
        account: an account id, or `self`.
        user: a user id, or `self`; None where the list is the account's.
    """

    account: str
    user: str | None = None

    @property
    def is_self(self) -> bool:
        """Whether the answer has to tell whose list it really is."""
        return SELF in (self.account, self.user)

    def __str__(self) -> str:
        """The name under which state is kept: `549825`, `549825/745249`."""
        return self.account if self.user is None else f"{self.account}/{self.user}"


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A list to read.

    Attributes:
        place: whose.
        title: how a person knows the user; empty where that is not known or not to be told.
        expected: the name it had in state the last time; empty where `self` was never resolved.
        window: the span to read; None for a list without windows.
    """

    place: ListOwner
    title: str = ""
    expected: str = ""
    window: Window | None = None

    def __str__(self) -> str:
        """For a report: by name, where there is one, and id."""
        account, user = self.place.account, self.place.user
        known = f"account {account}" if user is None else f"user {user} of account {account}"
        return f"{self.title} ({known})" if self.title else known


class ListReader:
    """Reads the lists of one gateway.

    Args:
        config: The settings.
        client: what to read with.
    """

    def __init__(self, config: VbcConfig, client: Client) -> None:
        self.config, self.client = config, client
        self._habits: dict[str, ApiCapabilities] = {}
        self._decoding = threading.Lock()  # one at a time: Python does no two at once, and loses by trying

    def scan(
        self, endpoint: Endpoint, history: ReadTask, now: datetime, session: RequestPool
    ) -> Iterator[ProvenWindow[PageRows]]:
        """Read a list, oldest first, and prove it complete.

        Args:
            endpoint: of which sort.
            history: which list, and which span of it.
            now: when the run began; what is older than the lookback counts as settled.
            session: of the run.

        Raises:
            VbcError: it could not be read, or not proven complete.
        """
        habits = self._habits.setdefault(endpoint.name, ApiCapabilities(self.config.page_size))
        fetch = partial(self._fetch, endpoint, history.place, session.stopped)
        window, moment = history.window, floor_second(now)
        settled = now - self.config.lookback if window else now
        scan = WindowReader(fetch, habits, session.pool, settled, session.ending)
        return scan.read(window or Window(moment, moment))

    def read_whole(self, endpoint: Endpoint, place: ListOwner, now: datetime) -> ProvenWindow[PageRows]:
        """Read a list that has no windows."""
        with RequestPool(self.config.max_concurrency) as session:
            return next(self.scan(endpoint, ReadTask(place), now, session))

    def find_account(self, endpoint: Endpoint, place: ListOwner) -> str | None:
        """Ask which account `self` is; None where the answer does not say."""
        what, path = endpoint.describe(place.account, place.user), self._locate(endpoint, place)
        page = self.client.get(path, {"page_size": 1}, read_page, what=what)
        return read_place(page.links)[0]

    def count(
        self, endpoint: Endpoint, place: ListOwner, window: Window, stopped: Callable[[], bool]
    ) -> Page[PageRows]:
        """Ask how many rows a span of a list has; the answer holds one of them, where there are any.

        Raises:
            GatewayFault: the gateway's last word.
        """
        return self._fetch(endpoint, place, stopped, window, None, 1)

    def page_rows(self, endpoint: Endpoint) -> int:
        """How many rows one answer may hold, as far as that is known."""
        return self._habits.get(endpoint.name, ApiCapabilities(self.config.page_size)).page_size

    def _locate(self, endpoint: Endpoint, place: ListOwner) -> str:
        return endpoint.locate(self.config.recording_api, place.account, place.user)

    def _fetch(
        self,
        endpoint: Endpoint,
        place: ListOwner,
        stopped: Callable[[], bool],
        window: Window,
        number: int | None,
        size: int,
    ) -> Page[PageRows]:
        # without a number it is the first page, wherever the server begins to count
        params: dict[str, str | int] = {**({} if number is None else {"page": number}), "page_size": size}
        if endpoint.windowed:
            span = {"start:gte": format_instant(window.start), "start:lte": format_instant(window.end)}
            params = {**self.config.api_filters.params, **span, "order": "start:ASC", **params}

        def read(body: bytes) -> Page[PageRows]:
            with self._decoding:
                return read_page(body, endpoint.shape)

        what = endpoint.describe(place.account, place.user)
        return self.client.get(self._locate(endpoint, place), params, read, what=what, stopped=stopped)


class _Threads(ThreadPoolExecutor):
    """Threads that turn away what comes after their end in the client's own way."""

    def __init__(self, threads: int, stopped: Callable[[], bool]) -> None:
        super().__init__(threads)
        self._stopped = stopped

    def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return super().submit(*args, **kwargs)
        except RuntimeError:
            if self._stopped():
                raise ClientClosed from None
            raise


class RequestPool:
    """The threads of one run that send requests, and the words for them to stop, or to come to an end.

    Args:
        requests: how many are to be in flight; further threads read what was answered.
    """

    def __init__(self, requests: int) -> None:
        self._stopped, self._ending = threading.Event(), threading.Event()
        self.pool = _Threads(requests + READING, self._stopped.is_set)
        self.stopped, self.stop = self._stopped.is_set, self._stopped.set
        self.ending, self.end = self._ending.is_set, self._ending.set

    def __enter__(self) -> RequestPool:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let what waits go: it finds that it was stopped, and whoever waits for it is told."""
        self.stop()
        self.pool.shutdown(wait=False)


def resolve(place: ListOwner, proof: ProvenWindow[PageRows]) -> ListOwner | None:
    """Say whose rows an answer has; None where it is unknown and there are no rows.

    Raises:
        SettingsError: there are rows, and nothing says whose they are.
    """
    if not place.is_self:
        return place
    account, user = read_place(tuple(link for page in proof.pages for link in page.links))
    account = account if place.account == SELF else place.account
    user = user if place.user == SELF else place.user
    if account and (user or place.user is None):
        return ListOwner(account, user)
    if proof.total_items:
        who, name = ("user", "user_ids") if account else ("account", "account_id")
        raise SettingsError(f"the gateway does not say which {who} self is: set {name} to its number")
    return None
