"""The list endpoints of the APIs, and the tables that their rows are loaded into. Pure data.

Source: the vendor's reference, and its OpenAPI files of the Call Recording and Provisioning APIs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

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
        path: Path below that of the API, with placeholders for account and user.
        key: Columns that identify the list's owner.
        title: Name of the list in errors and logs, with the same placeholders.
        windowed: Whether the list can be filtered by `start`.
        provisioning: Whether it belongs to the Provisioning API.
    """

    name: str
    shape: RowSpec
    path: str
    key: tuple[str, ...]
    title: str
    windowed: bool = False
    provisioning: bool = False

    @property
    def per_user(self) -> bool:
        """Whether every user has such a list."""
        return "user_id" in self.key

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns that identify a row."""
        return (*self.key, self.shape.id_column)

    def locate(self, recording_api: str, account: str, user: str | None) -> str:
        """Return the path of one list."""
        api = PROVISIONING_API if self.provisioning else recording_api
        return api + self.path.format(account=quote(account, safe=""), user=quote(user or "", safe=""))

    def describe(self, account: str, user: str | None) -> str:
        """Return the name of one list, without personal data."""
        return self.title.format(account=account, user=user)


COMPANY = Endpoint(
    "company_recordings",
    RECORDING,
    "/accounts/{account}/company_call_recordings",
    ("account_id",),
    "Call Recording API, company recordings of account {account}",
    windowed=True,
)
ON_DEMAND = Endpoint(
    "user_recordings",
    RECORDING,
    "/accounts/{account}/users/{user}/call_recordings",
    ("account_id", "user_id"),
    "Call Recording API, recordings of user {user} of account {account}",
    windowed=True,
)
JOBS = Endpoint(
    "export_jobs",
    JOB,
    "/accounts/{account}/users/{user}/call_recordings/jobs",
    ("account_id", "user_id"),
    "Call Recording API, export jobs of user {user} of account {account}",
)
USERS = Endpoint(
    "users",
    USER,
    "/accounts/{account}/users",
    ("account_id",),
    "Provisioning API, users of account {account}",
    provisioning=True,
)
EXTENSIONS = Endpoint(
    "extensions",
    EXTENSION,
    "/accounts/{account}/extensions",
    ("account_id",),
    "Provisioning API, extensions of account {account}",
    provisioning=True,
)


def read_place(links: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the real account and user in the links of a response; None where they give only `self`.

    Self links carry the real account id even if the request was for `self`.
    """
    owners = [owner for link in links for owner in _OWNER.findall(link)]
    accounts = [account for account, _ in owners if account != SELF]
    users = [user for _, user in owners if user not in ("", SELF)]
    return accounts[0] if accounts else None, users[0] if users else None
