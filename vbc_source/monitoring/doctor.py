"""Check what a sync needs: credentials, login, accounts, subscriptions and the destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial

import dlt

from vbc_source.api.client import Client
from vbc_source.api.endpoints import CALL_LOGS, COMPANY, USERS, keep_own_links, read_owner
from vbc_source.config import CREDENTIALS_SECTION, VbcConfig, VbcCredentials, load_config
from vbc_source.errors import NotSubscribed, VbcError
from vbc_source.extract.accounts import explain_refusal
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import CALL_LOG, USER
from vbc_source.warehouse.queries import SOURCE_SCHEMA, LoadedTables
from vbc_source.windows import Window

DAY = timedelta(days=1)
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
    credentials = config.login
    missing = "" if credentials.access_token else ", ".join(credentials.missing())
    yield Check(
        "credentials", not missing, f"set {missing} in {CREDENTIALS_SECTION}" if missing else "are set"
    )
    if not missing:
        with closing(Client.from_config(config, retry_seconds=RETRY_SECONDS)) as client:
            login = _try("login", lambda: _check_login(client, credentials))
            yield login
            for account in config.accounts if login.works else ():
                yield from _check_account(client, config, account)
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


def _check_account(client: Client, config: VbcConfig, account: str) -> Iterator[Check]:
    recording_api = config.recording_api
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

    def check_call_logs() -> str:
        path = CALL_LOGS.locate(recording_api, real[0] if real else account, None)
        now = datetime.now(timezone.utc)
        params: dict[str, str | int] = {**CALL_LOGS.select(Window(now - DAY, now)), "page_size": 1}
        try:
            page = client.get(path, params, partial(read_page, shape=CALL_LOG), what="Reports API")
        except NotSubscribed as fault:
            fault.args = (f"{fault}; or set call_logs = false in [sources.vbc]",)
            raise
        return f"subscribed; {page.total_items:,} legs of calls since yesterday"

    yield _try(f"company recordings of {account}", check_recordings)
    yield _try("Provisioning API", check_users, needed=config.users is None)
    if config.call_logs:
        yield _try("Reports API", check_call_logs)


def _check_destination(target: Target) -> str:
    with explaining():
        loaded = LoadedTables(target)
        with loaded.lock(), loaded.open_dataset(dlt.Schema(SOURCE_SCHEMA)).sql_client as sql:
            sql.execute_sql("SELECT 1")
    return f"{loaded.destination.destination_name} answers; tables go to dataset {target.dataset}"
