"""The lists of accounts and users: their owners, and how to read one through the client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from vbc_source.api.client import Client
from vbc_source.api.endpoints import ApiCapabilities, Endpoint, keep_own_links, read_owner
from vbc_source.config import SELF, VbcConfig
from vbc_source.errors import SettingsError
from vbc_source.extract.reading.request_pool import RequestPool
from vbc_source.extract.reading.window_attempt import ReadWindow
from vbc_source.extract.reading.window_reader import WINDOW_PAGES, WindowReader
from vbc_source.schema.pages import Page, PageRows, read_page
from vbc_source.windows import Window, floor_second


@dataclass(frozen=True, slots=True)
class ListOwner:
    """The account or user that a list belongs to.

    Attributes:
        account: An account id, or `self`.
        user: A user id, or `self`; None where the list is the account's.
    """

    account: str
    user: str | None = None

    @property
    def is_self(self) -> bool:
        """Whether only the response shows the real owner."""
        return SELF in (self.account, self.user)

    @property
    def key(self) -> dict[str, str]:
        """The owner as key columns of a row."""
        return {"account_id": self.account, **({"user_id": self.user} if self.user else {})}

    def __str__(self) -> str:
        """Return the name under which state is kept: `549825`, `549825/745249`."""
        return self.account if self.user is None else f"{self.account}/{self.user}"


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A list to read.

    Attributes:
        owner: The owner as requested.
        title: The user's name for `user_access`; empty where it is unknown or private.
        expected: The name that `self` had in state the last time; empty where it was never resolved.
        window: The span to read; None for a list without windows.
        gaps: Earlier spans to read again, since they did not add up.
    """

    owner: ListOwner
    title: str = ""
    expected: str = ""
    window: Window | None = None
    gaps: tuple[Window, ...] = ()

    def __str__(self) -> str:
        """Name the list in messages: by ids, since names of people are not for logs."""
        account, user = self.owner.account, self.owner.user
        return f"account {account}" if user is None else f"user {user} of account {account}"


class ListReader:
    """Reads the lists of one gateway."""

    def __init__(self, config: VbcConfig, client: Client) -> None:
        self.config, self.client = config, client
        self._capabilities: dict[str, ApiCapabilities] = {}
        # One thread reads at a time. Reading a page releases the interpreter's lock dozens of times, and
        # threads that hand it over each time take a tenth longer for 200,000 recordings.
        self._reading = threading.Lock()

    def scan(
        self,
        endpoint: Endpoint,
        task: ReadTask,
        now: datetime,
        pool: RequestPool,
        window_pages: int | None = None,
    ) -> Generator[ReadWindow[PageRows], None, None]:
        """Read a list, oldest rows first, and prove its windows complete where they add up.

        A window has `window_pages` pages at most; None where requests are not limited.
        """
        # shared by all lists of an endpoint: what one finds out about pages costs the others no request
        capabilities = self._capabilities.setdefault(endpoint.name, ApiCapabilities(self.config.page_size))
        fetch = partial(self._fetch, endpoint, task.owner, pool.stopped)
        moment = floor_second(now)
        settled = now - self.config.lookback if task.window else now
        pages = window_pages or WINDOW_PAGES
        reader = WindowReader(fetch, capabilities, pool.executor, settled, pages)
        # gaps first, as they lie before the window: callers rely on windows that come oldest first
        for window in (*task.gaps, task.window or Window(moment, moment)):
            yield from reader.read(window)

    def read_whole(self, endpoint: Endpoint, owner: ListOwner, now: datetime) -> ReadWindow[PageRows]:
        """Read a list that has no windows."""
        with RequestPool(self.config.max_concurrency) as pool:
            return next(self.scan(endpoint, ReadTask(owner), now, pool))

    def find_owner(self, endpoint: Endpoint, owner: ListOwner) -> tuple[str | None, str | None]:
        """Request which account and user `self` is; None where the response does not tell."""
        what, path = endpoint.describe(owner.account, owner.user), self._locate(endpoint, owner)
        page = self.client.get(path, {"page_size": 1}, read_page, what=what)
        return read_owner(keep_own_links(page.links, self.client.base_url))

    def count(
        self, endpoint: Endpoint, owner: ListOwner, window: Window, stopped: Callable[[], bool]
    ) -> Page[PageRows]:
        """Request how many rows a span of a list has; the response holds one of them at most."""
        return self._fetch(endpoint, owner, stopped, window, None, 1)

    def page_rows(self, endpoint: Endpoint) -> int:
        """Return how many rows one response may hold, as far as that is known."""
        return self._capabilities.get(endpoint.name, ApiCapabilities(self.config.page_size)).page_size

    def _locate(self, endpoint: Endpoint, owner: ListOwner) -> str:
        return endpoint.locate(self.config.recording_api, owner.account, owner.user)

    def _fetch(
        self,
        endpoint: Endpoint,
        owner: ListOwner,
        stopped: Callable[[], bool],
        window: Window,
        number: int | None,
        size: int,
    ) -> Page[PageRows]:
        # without a number it is the first page, wherever the server starts to count
        params: dict[str, str | int] = {**({} if number is None else {"page": number}), "page_size": size}
        if endpoint.windowed:
            filters = self.config.filters_of(endpoint.name).params
            params = {**filters, **endpoint.select(window), **params}
        what, read = endpoint.describe(owner.account, owner.user), partial(self._read_page, endpoint)
        page = self.client.get(self._locate(endpoint, owner), params, read, what=what, stopped=stopped)
        return replace(page, links=keep_own_links(page.links, self.client.base_url))

    def _read_page(self, endpoint: Endpoint, body: bytes) -> Page[PageRows]:
        with self._reading:
            return read_page(body, endpoint.shape)


def resolve(owner: ListOwner, read: ReadWindow[PageRows]) -> ListOwner | None:
    """Return the real owner of a response's rows; None where it is unknown and there are no rows.

    Raises:
        SettingsError: It is unknown, and there are rows.
    """
    if not owner.is_self:
        return owner
    account, user = read_owner(tuple(link for page in read.pages for link in page.links))
    account = account if owner.account == SELF else owner.account
    user = user if owner.user == SELF else owner.user
    if account and (user or owner.user is None):
        return ListOwner(account, user)
    if read.total_items:
        raise SettingsError(describe_unresolved("user" if account else "account"))
    return None


def describe_unresolved(owner: Literal["account", "user"]) -> str:
    """Describe that no response of the gateway says who `self` is, and which setting to change."""
    setting = "user_ids" if owner == "user" else "account_id"
    return f"the gateway does not say which {owner} self is: set {setting} to its number"
