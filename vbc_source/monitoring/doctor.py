"""Check what a sync needs: credentials, login, accounts, subscriptions and the destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import dlt

from vbc_source.api.client import Client
from vbc_source.api.endpoints import COMPANY, USERS, keep_own_links, read_owner
from vbc_source.config import CREDENTIALS_SECTION, VbcCredentials, load_config
from vbc_source.errors import VbcError
from vbc_source.extract.accounts import explain_refusal
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import USER
from vbc_source.warehouse.queries import SOURCE_SCHEMA, LoadedTables

RETRY_SECONDS = 5.0  # short: a person waits for the result


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Attributes:
        subject: What was checked.
        works: Whether it works.
        text: The result, and what to change where it does not work.
        needed: Whether `vbc sync` needs it.
    """

    subject: str
    works: bool
    text: str
    needed: bool = True


def diagnose(target: Target = Target()) -> Iterator[Check]:  # noqa: B008 - a frozen value
    """Check credentials, login, accounts, subscriptions and destination, one by one.

    Checks that cannot succeed after an earlier failure are left out.

    Args:
        target: Where recordings are to be loaded.

    Yields:
        The result of each check, as soon as it is known.

    Raises:
        SettingsError: A setting is malformed; the message names it.
    """
    with explaining():
        config = load_config()
    credentials, recording_api = config.login, config.recording_api
    missing = "" if credentials.access_token else ", ".join(credentials.missing())
    yield Check(
        "credentials", not missing, f"set {missing} in {CREDENTIALS_SECTION}" if missing else "are set"
    )
    if not missing:
        with closing(Client.from_config(config, retry_seconds=RETRY_SECONDS)) as client:
            login = _try("login", lambda: _check_login(client, credentials))
            yield login
            for account in config.accounts if login.works else ():
                # with on_forbidden = skip the other accounts are loaded
                needed = not config.skip_forbidden or len(config.accounts) == 1
                yield from _check_account(
                    client, recording_api, account, config.users is None and needed, needed
                )
    yield _try("destination", lambda: _check_destination(target))


def _try(subject: str, check: Callable[[], str], needed: bool = True) -> Check:
    try:
        return Check(subject, True, check(), needed)
    except VbcError as error:
        return Check(subject, False, str(error), needed)


def _check_login(client: Client, credentials: VbcCredentials) -> str:
    if credentials.access_token:
        return "a ready access_token is set; the next checks show whether it works"
    return f"{client.log_in()} works; runs share its token"


def _check_account(
    client: Client, recording_api: str, account: str, provisioned: bool, needed: bool
) -> Iterator[Check]:
    real: list[str] = []  # the Provisioning API does not accept `self`

    def check_recordings() -> str:
        path = COMPANY.locate(recording_api, account, None)
        page = client.get(path, {"page_size": 1}, read_page, what="Call Recording API")
        real.append(read_owner(keep_own_links(page.links, client.base_url))[0] or account)
        return f"account {real[0]}: {page.total_items:,} company recordings"

    def check_users() -> str:
        path = USERS.locate(recording_api, real[0] if real else account, None)
        with explain_refusal():
            page = client.get(path, {"page_size": 1}, partial(read_page, shape=USER), what="Provisioning API")
        return f"subscribed; {page.total_items:,} users"

    yield _try(f"company recordings of {account}", check_recordings, needed)
    yield _try("Provisioning API", check_users, needed=provisioned)


def _check_destination(target: Target) -> str:
    with explaining():
        loaded = LoadedTables(target)
        with loaded.lock(), loaded.open_dataset(dlt.Schema(SOURCE_SCHEMA)).sql_client as sql:
            sql.execute_sql("SELECT 1")
    return f"{loaded.destination.destination_name} answers; tables go to dataset {target.dataset}"
