"""The list endpoints of the APIs, the tables of their rows, and what is learned of an API. Pure data.

Source: the vendor's reference, and its OpenAPI files of the Call Recording, Provisioning and Reports APIs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from vbc_source.config import SELF
from vbc_source.schema.specs import CALL_LOG, EXTENSION, JOB, RECORDING, USER, RowSpec
from vbc_source.windows import Window, format_instant, format_report_instant

PROVISIONING_API = "/t/vbc.prod/provisioning/api"
REPORTS_API = "/t/vbc.prod/reports"

Api = Literal["Call Recording API", "Provisioning API", "Reports API"]

_OWNER = re.compile(r"/accounts/([^/?]+)(?:/users/([^/?]+))?/")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A list that every account, or every user of an account, has.

    Attributes:
        name: Name of the resource and of the table.
        shape: Schema of its rows.
        path: Path below that of its owner, the account or the user.
        title: Name of its rows in errors and logs.
        per_user: Whether every user has such a list.
        windowed: Whether the list can be filtered by `start`.
        api: The API that it belongs to; each has a subscription of its own.
    """

    name: str
    shape: RowSpec
    path: str
    title: str
    per_user: bool = False
    windowed: bool = False
    api: Api = "Call Recording API"

    @property
    def provisioning(self) -> bool:
        """Whether it belongs to the Provisioning API."""
        return self.api == "Provisioning API"

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify the list's owner."""
        return ("account_id", "user_id") if self.per_user else ("account_id",)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns that identify a row."""
        # the legs of a call share its id
        call = (self.shape.id,) if self.shape.legs else ()
        return (*self.key, *call, self.shape.id_column)

    def locate(self, recording_api: str, account: str, user: str | None) -> str:
        """Return the path of one list."""
        api = _ROOTS.get(self.api, recording_api)
        owner = f"/users/{quote(user or '', safe='')}" if self.per_user else ""
        return f"{api}/accounts/{quote(account, safe='')}{owner}/{self.path}"

    def select(self, window: Window) -> dict[str, str]:
        """Return the parameters that select a span of the list."""
        if self.api == "Reports API":  # it documents no order
            return {
                "start:gte": format_report_instant(window.start),
                "start:lte": format_report_instant(window.end),
            }
        # an order is asked for and never relied on: where the server keeps it, the first page of a recent
        # window shows up to which second it is whole (`window_reader`)
        span = {"start:gte": format_instant(window.start), "start:lte": format_instant(window.end)}
        return {**span, "order": "start:ASC"}

    def describe(self, account: str, user: str | None) -> str:
        """Return the name of one list, without personal data."""
        owner = f"user {user} of account" if self.per_user else "account"
        return f"{self.api}, {self.title} of {owner} {account}"


_ROOTS: Mapping[Api, str] = {"Provisioning API": PROVISIONING_API, "Reports API": REPORTS_API}

COMPANY = Endpoint(
    "company_recordings", RECORDING, "company_call_recordings", "company recordings", windowed=True
)
ON_DEMAND = Endpoint(
    "user_recordings", RECORDING, "call_recordings", "recordings", per_user=True, windowed=True
)
JOBS = Endpoint("export_jobs", JOB, "call_recordings/jobs", "export jobs", per_user=True)
CALL_LOGS = Endpoint("call_logs", CALL_LOG, "call-logs", "call logs", windowed=True, api="Reports API")
USERS = Endpoint("users", USER, "users", "users", api="Provisioning API")
EXTENSIONS = Endpoint("extensions", EXTENSION, "extensions", "extensions", api="Provisioning API")

ENDPOINTS = (COMPANY, ON_DEMAND, JOBS, USERS, EXTENSIONS, CALL_LOGS)
RECORDING_ENDPOINTS: Mapping[str, Endpoint] = {"company": COMPANY, "user": ON_DEMAND}  # by recording type


@dataclass(slots=True)
class ApiCapabilities:
    """What was learned about an API; shared by the readers of all its lists.

    Attributes:
        page_size: Rows to request per page; lowered when the server refuses it.
        page_base: Number of the first page: 1 as documented, or 0; None until it is known.
        full: Rows of the largest page so far.
        accepted: The largest page size that any list was read with; 0 before the first.
        configured: The page size of the settings.
    """

    page_size: int
    page_base: int | None = None
    full: int = 0
    accepted: int = field(default=0, compare=False)
    configured: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the page size of the settings."""
        self.configured = self.page_size

    @property
    def first(self) -> int:
        """Number of the first page, as far as is known."""
        return 1 if self.page_base is None else self.page_base

    def accept_page_size(self) -> None:
        """Record that a list was read with this page size."""
        self.accepted = max(self.accepted, self.page_size)

    def restore_page_size(self) -> None:
        """Undo the lowering by a list that refuses every page size: other lists may still accept it."""
        self.page_size = self.accepted or self.configured


def keep_own_links(links: tuple[str, ...], base_url: str) -> tuple[str, ...]:
    """Return the links that point to the gateway's host, or that name no host.

    A link to another host names an account there, under which no row of this gateway may be loaded.
    """
    own = _read_host(base_url)
    return tuple(link for link in links if _read_host(link) in (None, own))


def _read_host(link: str) -> str | None:
    """Return the host of a link; None without one, and empty where it is malformed."""
    try:
        address = urlsplit(link.strip())
        # `data:…` has a scheme and no host: it is no relative link, and so not one of the gateway
        host = address.hostname or address.netloc or address.scheme or None
    except ValueError:
        return ""
    return "" if "\\" in link else host


def read_owner(links: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the real account and user in self links, which have them even if the request was for `self`.

    None where they name none, or several.
    """
    owners = [owner for link in links for owner in _OWNER.findall(link)]
    accounts = {account for account, _ in owners} - {SELF}
    users = {user for _, user in owners} - {"", SELF}
    return _only(accounts), _only(users)


def _only(ids: set[str]) -> str | None:
    return ids.pop() if len(ids) == 1 else None
