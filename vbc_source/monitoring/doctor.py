"""Check what a sync needs: settings, login, rights, subscriptions, and a destination that it may write.

No refused login is tried again, and the pipeline is not opened. What is written to try a place is removed,
but for the locked object that proves a bucket's lock: it can be removed after a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt

from vbc_source.api.client import Client
from vbc_source.api.endpoints import CALL_LOGS, COMPANY, ON_DEMAND, USERS, keep_own_links, read_owner
from vbc_source.audio.bucket import Bucket
from vbc_source.config import CREDENTIALS_SECTION, SELF, VbcConfig, load_audio_config, load_config
from vbc_source.errors import NotSubscribed, VbcError
from vbc_source.extract.accounts import explain_refusal
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.lakes.trial import PREFIX, try_writing
from vbc_source.load.destinations import Target
from vbc_source.load.destinations.postgres import ADBC
from vbc_source.load.failures import check_installed, explaining
from vbc_source.load.sync import make_source
from vbc_source.monitoring.bucket_lock import prove_lock
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import CALL_LOG, USER
from vbc_source.tenants import name_own_tables
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import Window

DAY = timedelta(days=1)
RETRY_SECONDS = 5.0  # short: a person waits for the result
_INSUFFICIENT_PRIVILEGE = "42501"  # of Postgres
ADVICE = "Vonage advises a user of its own for an integration, without single sign-on"


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


def diagnose(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket: bool = False,
) -> Iterator[Check]:
    """Check settings, credentials, login, accounts, subscriptions, destination and audio bucket, one by one.

    Checks that cannot succeed after an earlier failure are left out.

    Args:
        target: Where recordings are to be loaded.
        bucket: Whether to prove also that the audio bucket refuses to delete what the settings lock. That
            leaves an object of ten bytes there, locked for a minute, which the next such check removes.

    Yields:
        The result of each check, as soon as it is known.
    """
    settings = _try("settings", _check_settings)
    yield settings
    if settings.works:
        yield from _check_gateway(load_config())
    yield _try("destination", lambda: _check_destination(target))
    if settings.works:
        yield from _check_bucket(bucket)


def _try(subject: str, check: Callable[[], str], needed: bool = True) -> Check:
    try:
        with explaining():
            return Check(subject, True, check(), needed)
    except VbcError as error:
        # errors of the gateway begin with the API, which may be the subject
        text = name_own_tables(str(error)).removeprefix(f"{subject}: ")
        return Check(subject, False, text, needed)


def _check_settings() -> str:
    load_config()
    make_source()  # what a sync makes of them; nothing is sent
    return "valid"


def _check_gateway(config: VbcConfig) -> Iterator[Check]:
    credentials = config.login
    missing = "" if credentials.access_token else ", ".join(credentials.missing())
    if missing:
        yield Check(
            "credentials", False, name_own_tables(f"set {missing} in {CREDENTIALS_SECTION}. {ADVICE}")
        )
        return
    yield Check("credentials", True, "set")
    with closing(Client.from_config(config, retry_seconds=RETRY_SECONDS)) as client:
        login = _try("login", lambda: _check_login(client, config))
        yield login
        for account in config.accounts if login.works else ():
            yield from _check_account(client, config, account)


def _check_login(client: Client, config: VbcConfig) -> str:
    if config.login.access_token:
        return "a ready access_token is set; the next checks show whether it works"
    return f"{client.log_in()} works; runs share its token. {ADVICE}"


def _check_account(client: Client, config: VbcConfig, account: str) -> Iterator[Check]:
    api = config.recording_api
    needed = not config.skip_forbidden or len(config.accounts) == 1  # else the other accounts are loaded
    real, users = account, list(config.users or ())

    def check_recordings() -> str:
        nonlocal real  # the Provisioning API does not accept `self`
        path = COMPANY.locate(api, account, None)
        page = client.get(path, {"page_size": 1}, read_page, what="Call Recording API")
        real = read_owner(keep_own_links(page.links, client.base_url))[0] or account
        return f"account {real}: {page.total_items:,} company recordings"

    def check_users() -> str:
        path = USERS.locate(api, real, None)
        with explain_refusal():
            page = client.get(path, {"page_size": 1}, partial(read_page, shape=USER), what="Provisioning API")
        users.extend(page.rows.table["id"].to_pylist() if config.users is None else ())
        return f"subscribed; {page.total_items:,} users"

    def check_own_recordings() -> str:
        path = ON_DEMAND.locate(api, account, users[0])
        page = client.get(path, {"page_size": 1}, read_page, what="Call Recording API")
        return f"{page.total_items:,} of their own"

    def check_call_logs() -> str:
        path = CALL_LOGS.locate(api, real, None)
        now = datetime.now(timezone.utc)
        # the Reports API refuses a list without bounds of `start`
        params: dict[str, str | int] = {**CALL_LOGS.select(Window(now - DAY, now)), "page_size": 1}
        try:
            page = client.get(path, params, partial(read_page, shape=CALL_LOG), what="Reports API")
        except NotSubscribed as fault:
            fault.args = (f"{fault}; or set call_logs = false in [sources.vbc]",)
            raise
        return f"subscribed; {page.total_items:,} legs of calls since yesterday"

    # in this order: the first check finds out the account's number, the second one a user, for those below
    yield _try(f"company recordings of {account}", check_recordings, needed)
    yield _try("Provisioning API", check_users, needed=config.users is None and needed)
    if users and config.has_user_recordings:
        name = "the API user" if users[0] == SELF else f"user {users[0]}"
        yield _try(f"recordings of {name}", check_own_recordings, needed=not config.skip_forbidden)
    if config.call_logs:
        yield _try("Reports API", check_call_logs, needed)


def _check_destination(target: Target) -> str:
    loaded = LoadedTables(target)
    client: Any = loaded.open_dataset(dlt.Schema(SOURCE_SCHEMA)).destination_client
    capabilities: Any = loaded.destination.capabilities()
    if loaded.kind == "postgres":
        check_installed(ADBC)
    with loaded.lock():
        if loaded.kind == FILESYSTEM:
            try_writing(client.fs_client, client.dataset_path)
        elif loaded.kind == "duckdb" and not Path(database := client.config.credentials.database).exists():
            # opening a database that is not there would make its file
            _try_new_file(database)
        else:
            _try_tables(client, capabilities.supports_ddl_transactions)
    name = loaded.destination.destination_name
    return f"{name} answers and may be written; tables go to dataset {target.dataset}"


def _try_new_file(database: str) -> None:
    """Make a DuckDB file where the database will be, and remove it."""
    import duckdb

    if database == ":memory:":
        return
    # beside the database: that folder has to admit a file
    draft = Path(database).with_name(f"{PREFIX}{uuid4().hex}.duckdb")
    try:
        duckdb.connect(str(draft)).close()
    finally:
        with suppress(OSError):
            draft.unlink()


class _Undo(Exception):
    """Raised to roll back."""


def _try_tables(client: Any, transactions: bool) -> None:
    """Create and drop a table in the dataset and in that of merges, inside a transaction that is rolled back.

    Where a database has no such transactions, a dataset that is missing stays so: the first load makes it.
    """
    with client:
        sql = client.sql_client
        if not transactions:
            if sql.has_dataset():
                _try_table(sql)
            return
        # dlt commits what ends without an error
        with suppress(_Undo), sql.begin_transaction():
            _make_and_try(sql)
            # dlt merges through a second dataset, which needs the same rights
            with sql.with_staging_dataset():
                _make_and_try(sql)
            raise _Undo


def _make_and_try(sql: Any) -> None:
    try:
        if not sql.has_dataset():
            sql.create_dataset()
        _try_table(sql)
    except Exception as error:
        # by its code: the text is in the language of the server
        if getattr(getattr(error, "dbapi_exception", None), "pgcode", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise VbcError(
            f"the database user may not create in dataset {sql.dataset_name}: grant it CREATE on the "
            f"database, or create the schemas {sql.dataset_name} and {sql.staging_dataset_name} and grant it "
            "USAGE and CREATE on both"
        ) from error


def _try_table(sql: Any) -> None:
    name = sql.make_qualified_table_name(f"{PREFIX.strip('.')}{uuid4().hex[:8]}")
    sql.execute_sql(f"CREATE TABLE {name} (checked INTEGER)")
    sql.execute_sql(f"DROP TABLE {name}")


def _check_bucket(prove: bool) -> Iterator[Check]:
    def check() -> str:
        bucket = _open_bucket()
        bucket.try_writing()
        return f"{bucket.url} may be written"

    def check_lock() -> str:
        bucket = _open_bucket()
        if not bucket.storage.locks:
            return "neither object_lock_mode nor legal_hold is set: what is stored can be deleted"
        return prove_lock(bucket)

    # what works has the bucket's address as its text; an empty one means that no archive is configured
    settings = _try("audio settings", lambda: str(load_audio_config().bucket_url or ""), needed=False)
    if not settings.works:
        yield settings
    elif settings.text:
        yield _try("audio bucket", check, needed=prove)
    if prove and settings.works:
        yield _try("lock of the audio bucket", check_lock)


def _open_bucket() -> Bucket:
    config = load_audio_config()
    return Bucket(config.bucket, config.storage)
