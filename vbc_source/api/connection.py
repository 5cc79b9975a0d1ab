"""Connects what acts on recordings to the gateway, from the source's own configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dlt
from dlt.common.configuration.inject import with_config
from dlt.common.typing import TSecretStrValue

from vbc_source.api.auth import REALM, VbcCredentials
from vbc_source.api.client import Client
from vbc_source.api.endpoints import SELF
from vbc_source.config import BASE_URL, RECORDING_API, read_accounts, read_privacy
from vbc_source.errors import SettingsError
from vbc_source.pii import PiiPolicy

SECTION = ("sources", "vbc", "audio")  # what is not set there is taken from [sources.vbc]


@dataclass(frozen=True, slots=True)
class Connection:
    """A gateway, and how to work with it.

    Attributes:
        client: what to send with.
        recording_api: path of the Call Recording API.
        accounts: account ids, or `self`.
        workers: requests in flight.
        skip_forbidden: whether what may not be read is no failure.
        login_name: of the API user, or None where it logs in without.
        privacy: how names and numbers are loaded.
    """

    client: Client
    recording_api: str
    accounts: tuple[str, ...]
    workers: int
    skip_forbidden: bool
    login_name: str | None
    privacy: PiiPolicy


@with_config(sections=SECTION)
def connect(
    credentials: VbcCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    recording_api: str = RECORDING_API,
    account_id: Any = SELF,
    max_concurrency: int = 8,
    requests_per_minute: int | None = None,
    retry_seconds: float = 60,
    on_forbidden: str = "raise",
    pii: str = "keep",
    pii_key: TSecretStrValue | None = None,
) -> Connection:
    """Make a connection; nothing is sent. The arguments are those of `vbc_source`.

    Raises:
        SettingsError: a setting is malformed; the message names it.
    """
    for name, value in (("max_concurrency", max_concurrency), ("requests_per_minute", requests_per_minute)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingsError(f"{name} must be a whole number of at least 1, not {value!r}")
    client = Client(
        base_url,
        credentials,
        requests_per_minute=requests_per_minute,
        retry_seconds=retry_seconds,
        connections=max_concurrency,
    )
    return Connection(
        client,
        "/" + recording_api.strip("/"),
        read_accounts(account_id),
        max_concurrency,
        on_forbidden == "skip",
        (credentials.username or "").removesuffix(REALM) or None,
        read_privacy(pii, pii_key),
    )


def choose_account(connection: Connection, account: str | None) -> str:
    """Say which account is meant where one is needed.

    Raises:
        SettingsError: the settings name several.
    """
    if account is None and len(connection.accounts) > 1:
        raise SettingsError("account_id in the settings names several accounts: say which with --account")
    return account or connection.accounts[0]
