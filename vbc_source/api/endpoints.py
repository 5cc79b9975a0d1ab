"""The list endpoints of the APIs, the tables of their rows, and what is learned of an API. Pure data.

Source: the vendor's reference, and its OpenAPI files of the Call Recording and Provisioning APIs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from vbc_source.config import SELF
from vbc_source.schema.specs import EXTENSION, JOB, RECORDING, USER, RowSpec

PROVISIONING_API = "/t/vbc.prod/provisioning/api"

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
        provisioning: Whether it belongs to the Provisioning API.
    """

    name: str
    shape: RowSpec
    path: str
    title: str
    per_user: bool = False
    windowed: bool = False
    provisioning: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify the list's owner."""
        return ("account_id", "user_id") if self.per_user else ("account_id",)

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns that identify a row."""
        return (*self.key, self.shape.id_column)

    def locate(self, recording_api: str, account: str, user: str | None) -> str:
        """Return the path of one list."""
        api = PROVISIONING_API if self.provisioning else recording_api
        owner = f"/users/{quote(user or '', safe='')}" if self.per_user else ""
        return f"{api}/accounts/{quote(account, safe='')}{owner}/{self.path}"

    def describe(self, account: str, user: str | None) -> str:
        """Return the name of one list, without personal data."""
        api = "Provisioning API" if self.provisioning else "Call Recording API"
        owner = f"user {user} of account" if self.per_user else "account"
        return f"{api}, {self.title} of {owner} {account}"


COMPANY = Endpoint(
    "company_recordings", RECORDING, "company_call_recordings", "company recordings", windowed=True
)
ON_DEMAND = Endpoint(
    "user_recordings", RECORDING, "call_recordings", "recordings", per_user=True, windowed=True
)
JOBS = Endpoint("export_jobs", JOB, "call_recordings/jobs", "export jobs", per_user=True)
USERS = Endpoint("users", USER, "users", "users", provisioning=True)
EXTENSIONS = Endpoint("extensions", EXTENSION, "extensions", "extensions", provisioning=True)


@dataclass(slots=True)
class ApiCapabilities:
    """What was learned about an API; shared by the readers of all its lists.

    Attributes:
        page_size: Rows to request per page; lowered when the server refuses it.
        page_base: Number of the first page: 1 as documented, or 0; None until it is known.
        full: Rows of the largest page so far.
    """

    page_size: int
    page_base: int | None = None
    full: int = 0

    @property
    def first(self) -> int:
        """Number of the first page, as far as is known."""
        return 1 if self.page_base is None else self.page_base


def keep_own_links(links: tuple[str, ...], base_url: str) -> tuple[str, ...]:
    """Return the links that point to the gateway's host, in whatever spelling, or to no host.

    Those to another host name its accounts, under which no row of the gateway must be loaded.
    """
    own = _read_host(base_url)
    return tuple(link for link in links if _read_host(link) in (None, own))


def _read_host(link: str) -> str | None:
    """Return the host of a link; None without one, and empty where it is malformed."""
    try:
        address = urlsplit(link.strip())
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
