"""The dlt source: its settings, and its resources with their keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import dlt
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource, DltSource

from vbc_source.api.client import Client
from vbc_source.api.endpoints import COMPANY, EXTENSIONS, JOBS, ON_DEMAND, USERS, Endpoint
from vbc_source.config import ALL, BASE_URL, RECORDING_API, SELF, Instant, VbcConfig, VbcCredentials
from vbc_source.errors import Forbidden, SettingsError
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.checkpoint import Checkpoint
from vbc_source.extract.extractor import Extractor
from vbc_source.extract.lists import ListOwner, ListReader, ReadTask
from vbc_source.extract.snapshots import Snapshot
from vbc_source.extract.tables import make_empty_tables, split_children
from vbc_source.pii import PiiPolicy

log = logging.getLogger(__name__)


@dlt.source(name="vbc", section="vbc")
def vbc_source(
    credentials: VbcCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    recording_api: str = RECORDING_API,
    account_id: Any = SELF,  # str | int | list; dlt does not configure an argument of such a type
    user_ids: Any = ALL,
    start_date: Instant | None = None,
    end_date: Instant | None = None,
    lookback_hours: float = 48,
    page_size: int = 1000,
    max_concurrency: int = 8,
    requests_per_minute: int | None = None,
    on_forbidden: str = "raise",
    retry_seconds: float = 60,
    rows_per_run: int | None = None,
    allow_external_schedulers: bool = False,
    filters: Any = None,
    pii: str = "keep",
    pii_key: TSecretStrValue | None = None,
) -> DltSource:
    """Call recordings of Vonage Business Communications, with users, extensions and export jobs.

    Every argument is also dlt configuration, in section `sources.vbc`. Constructing sends nothing.

    Args:
        credentials: client and user with their secrets; or `refresh_token`; or a ready `access_token`.
        base_url: the gateway; tokens at `/token`, APIs below `/t/vbc.prod/…`.
        recording_api: path of the Call Recording API; `…/v1/api` and India's answer alike.
        account_id: an account, several, or `self`, the API user's. Rows always carry the real id.
        user_ids: whose on-demand recordings and export jobs to read: `all`, asked of the Provisioning API;
            a list, `self`, or `[]` for none. Unless it is `all`, `users` and `extensions` are not read.
        start_date: ISO; oldest `start` to read. Two years ago unless given.
        end_date: ISO; newest `start` to read. With it the run is a backfill: no state is read or written.
        lookback_hours: how far behind the newest loaded `start` every run reads again.
        page_size: recordings to ask for at once; what the server really gives is honoured.
        max_concurrency: requests in flight.
        requests_per_minute: a budget for all requests together; none unless given.
        on_forbidden: `raise`, or `skip` to load what is allowed and warn of what is not.
        retry_seconds: how long to go on asking a gateway that fails, seconds.
        rows_per_run: end an incremental run after about so many recordings; the next one goes on there.
        allow_external_schedulers: take the scheduler's data interval, less the lookback, without state.
        filters: the API's own, by their names; `start:gte` and `start:lte` narrow the span.
        pii: `keep`, `hash` (HMAC-SHA256) or `drop` names and numbers.
        pii_key: the key of the hashes.

    Raises:
        SettingsError: a setting is malformed; the message names it.
    """
    config = VbcConfig.from_values(**locals())
    return Resources(config, Client.from_config(config)).make()  # type: ignore[return-value]


@dlt.source(name="vbc", section="vbc")
def empty_tables(names: Sequence[str]) -> list[DltResource]:
    """The tables of lists of recordings without a row, so that loads side by side need not create them.

    Args:
        names: of the resources.
    """
    privacy = PiiPolicy()

    def make(endpoint: Endpoint) -> DltResource:
        def read() -> Iterator[Any]:
            yield from make_empty_tables(endpoint, dlt.current.source_schema())

        return make_resource(endpoint, read, privacy)

    return [make(endpoint) for endpoint in (COMPANY, ON_DEMAND) if endpoint.name in names]


class Resources:
    """The resources of one source: they share a client, what is known of users, and the round.

    Args:
        config: The settings.
        client: Sends the requests.
    """

    def __init__(self, config: VbcConfig, client: Client) -> None:
        self._config = config
        self._reader = ListReader(config, client)
        self._directory = AccountDirectory(self._reader, config.login.identity())

    def make(self) -> list[DltResource]:
        """Make all of them, in the order in which dlt turns to them."""
        return [
            self._make_histories(COMPANY, self._list_accounts),
            self._make_listing(USERS),
            self._make_listing(EXTENSIONS),
            self._make_histories(ON_DEMAND, self._list_users),
            self._make_histories(JOBS, self._list_job_owners),
        ]

    def _make_histories(self, endpoint: Endpoint, find: Callable[[], list[ReadTask]]) -> DltResource:
        progress = Checkpoint()

        def read() -> Iterator[Any]:
            yield from Extractor(endpoint, self._reader, progress, self._directory.learn).read(find())

        return make_resource(endpoint, read, self._config.pii_policy)

    def _make_listing(self, endpoint: Endpoint) -> DltResource:
        def read() -> Iterator[Any]:
            for account in self._find_accounts():
                yield from self._read_listing(endpoint, account)

        # whoever names the users need not be subscribed to the Provisioning API
        selected = self._config.users is None
        return make_resource(endpoint, read, self._config.pii_policy, selected=selected)

    def _read_listing(self, endpoint: Endpoint, account: str) -> Iterator[Any]:
        run, now = _name_run(), datetime.now(timezone.utc)
        try:
            proof = self._directory.read_list(endpoint, account, run, now)
        except Forbidden as fault:
            if not self._config.skip_forbidden:
                raise
            log.warning("left out, since on_forbidden = skip: %s", fault)
        else:
            state = {} if self._config.stateless else dlt.current.resource_state()
            yield from Snapshot(endpoint, account, self._config.pii_policy, state).write(proof, now)

    def _find_accounts(self) -> list[str]:
        state = self._remembered()
        found = [self._directory.find_account(asked, state) for asked in self._config.accounts]
        return list(dict.fromkeys(found))

    def _remembered(self) -> dict[str, Any]:
        """Which account `self` was the last time, by API user."""
        state: dict[str, Any] = {} if self._config.stateless else dlt.current.source_state()
        accounts: dict[str, Any] = state.setdefault("accounts", {})
        return accounts

    def _list_accounts(self) -> list[ReadTask]:
        return [ReadTask(ListOwner(account)) for account in self._config.accounts]

    def _list_users(self) -> list[ReadTask]:
        if not self._config.has_user_recordings:
            log.info("this API has no on-demand recordings: %s", self._config.recording_api)
            return []
        return [history for account in self._find_accounts() for history in self._list_users_of(account)]

    def _list_users_of(self, account: str) -> list[ReadTask]:
        listed = self._config.users
        if listed is not None:
            return [ReadTask(ListOwner(account, user)) for user in listed]
        try:
            users = self._directory.users(account, _name_run(), datetime.now(timezone.utc))
        except Forbidden as fault:
            if not self._config.skip_forbidden:
                raise
            log.warning("left out, since on_forbidden = skip: %s", fault)
            return []
        titles = users if self._config.pii_policy.keeps else dict.fromkeys(users, "")
        return [ReadTask(ListOwner(account, user), title) for user, title in titles.items()]

    def _is_own(self, account: str) -> bool:
        """Whether the API user belongs to an account; of a single one that is taken for granted."""
        if len(self._config.accounts) == 1:
            return True
        try:
            return account == self._directory.find_account(SELF, self._remembered())
        except SettingsError:
            return False

    def _list_job_owners(self) -> list[ReadTask]:
        """Users, and `self`: a company's export is listed under the user who started it."""
        owners = []
        for account in self._find_accounts():
            users = self._list_users_of(account)
            known = "" if self._config.stateless else _find_own_user(account)
            asked = {history.place.user for history in users} & {known, SELF}
            owners += (
                users if asked or not self._is_own(account) else [*users, ReadTask(ListOwner(account, SELF))]
            )
        return owners


def make_resource(
    endpoint: Endpoint, read: Callable[[], Iterator[Any]], privacy: PiiPolicy, *, selected: bool = True
) -> DltResource:
    """Make a resource of an endpoint: whatever `read` yields, with the keys and child tables that it has."""
    resource: DltResource = dlt.resource(
        read,
        name=endpoint.name,
        primary_key=endpoint.primary_key,
        # not declared `deduplicated`, though a run sends no row twice: a load that is killed between copying
        # into the staging table and writing that down copies once more
        write_disposition="merge",
        selected=selected,
    )
    return resource.add_step(split_children(endpoint, privacy))


def _find_own_user(account: str) -> str:
    """Say which user of an account `self` was the last time; empty where that is not known."""
    return str(dlt.current.resource_state().get(f"{account}/{SELF}", "")).partition("/")[2]


def _name_run() -> str:
    """Tell one run from another: a list is read once in each."""
    return str(dlt.current.load_package_state()["load_id"])
