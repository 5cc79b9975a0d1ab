"""The dlt source: its settings, and its resources with their keys."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, ParamSpec
from uuid import uuid4

import dlt
from dlt.extract import DltResource, DltSource

from vbc_source.api.client import Client
from vbc_source.api.endpoints import CALL_LOGS, COMPANY, EXTENSIONS, JOBS, ON_DEMAND, USERS, Endpoint
from vbc_source.api.turns import current_turns
from vbc_source.config import (
    BASE_URL,
    RECORDING_API,
    SELF,
    VbcConfig,
    VbcCredentials,
    read_tenant_settings,
)
from vbc_source.dlt_internals import DltSourceFactoryWrapper
from vbc_source.errors import Forbidden, GatewayFault, NotSubscribed, SettingsError, VbcError
from vbc_source.extract.accounts import AccountDirectory, write_snapshot
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.extract.extractor import Extractor, GapLog
from vbc_source.extract.polling import RequestLimit
from vbc_source.extract.reading.lists import ListOwner, ListReader, ReadTask
from vbc_source.extract.refusals import AccessLog, current_refusals, leaves_the_rest
from vbc_source.extract.scan_windows import make_scan_windows
from vbc_source.extract.state import ResourceRun, find_load_marks, hold_state
from vbc_source.extract.tables import ChildTables, TableBuilder, make_user_access
from vbc_source.lakes.tables import is_lake
from vbc_source.pii import PiiPolicy
from vbc_source.schema.names import SOURCE_SCHEMA
from vbc_source.schema.pages import read_page
from vbc_source.setting_values import ALL, Instant
from vbc_source.tenants import hold_tenant

Arguments = ParamSpec("Arguments")

log = logging.getLogger(__name__)


class TenantSourceFactory(DltSourceFactoryWrapper[Any, DltSource]):
    """A dlt source whose argument `tenant` chooses where dlt takes the other arguments from."""

    def __call__(self, *args: Any, **kwargs: Any) -> DltSource:
        """Make the source; arguments win over the tenant's settings, those over `[sources.vbc]`."""
        signature = inspect.signature(self)
        given = signature.bind_partial(*args, **kwargs).arguments
        with hold_tenant(given.pop("tenant", None)):
            # given as arguments, which win over all places where dlt looks: so a tenant
            # comes before `[sources.vbc]`
            own = {
                name: value for name, value in read_tenant_settings().items() if name in signature.parameters
            }
            return super().__call__(**{**own, **given, "tenant": None})


def tenant_source(function: Callable[Arguments, Any]) -> Callable[Arguments, DltSource]:
    """Make the source `vbc` of a function, as `dlt.source` does."""
    factory = TenantSourceFactory()
    factory.name, factory.section = SOURCE_SCHEMA, "vbc"
    return factory.bind(function)


@tenant_source
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
    budget_share: int = 1,
    on_forbidden: str = "raise",
    retry_seconds: float = 60,
    rows_per_run: int | None = None,
    max_requests: int | None = None,
    polling: str = "all",
    active_days: float = 14,
    quiet_hours: float = 24,
    allow_external_schedulers: bool = False,
    filters: Any = None,
    call_logs: bool = False,
    call_log_filters: Any = None,
    pii: str = "keep",
    pii_key: dlt.TSecretStrValue | None = None,
    token_folder: str | None = None,
    tenant: str | None = None,
) -> list[DltResource]:
    """Call recordings of Vonage Business Communications, with users, extensions and export jobs.

    Every argument is also dlt configuration, in section `sources.vbc`. Constructing sends nothing.

    dlt reports the use of your pipelines to its makers; `dlthub_telemetry = false` in `[runtime]` of
    `.dlt/config.toml`, or `RUNTIME__DLTHUB_TELEMETRY=false` in the environment, switches that off.

    Args:
        credentials: Client and user with their secrets; or `refresh_token`; or a ready `access_token`.
        base_url: The gateway; tokens at `/token`, APIs below `/t/vbc.prod/…`.
        recording_api: Path of the Call Recording API; `…/v1/api`, or the path of India's API, work as well.
        account_id: An account id, a list of them, or `self` for the API user's. Rows always have the real id.
        user_ids: The users whose on-demand recordings and export jobs to read: `all`, requested from the
            Provisioning API; a list, `self`, or `[]` for none. Unless it is `all`, `users` and `extensions`
            are not read.
        start_date: ISO; oldest `start` to read. Two years ago unless given.
        end_date: ISO; newest `start` to read. With it the run is a backfill: no state is read or written.
        lookback_hours: How many hours behind the newest loaded `start` every run reads again.
        page_size: Recordings to request per page; the server may return fewer.
        max_concurrency: Most requests in flight at a time.
        requests_per_minute: Most requests per minute, all vbc processes of this machine and user together;
            no limit unless given.
        budget_share: How many processes that share no disk share that budget; each keeps its part of it.
        on_forbidden: `raise`, or `skip` to load what is allowed and warn about the rest.
        retry_seconds: How long to retry while the gateway fails, seconds.
        rows_per_run: End an incremental run after about this many recordings; the next one continues there.
        max_requests: End an incremental run after about this many requests; the next one continues there.
        polling: `all` reads every list in every run. With `active`, lists of users without a recording in the
            last `active_days`, and export jobs of users who never had one, take turns.
        active_days: Days without a recording, after which a user's lists take turns.
        quiet_hours: Hours; the longest time between two readings of a list that takes turns. Lists of export
            jobs are read once a day.
        allow_external_schedulers: Read the scheduler's data interval, and the lookback before it, without
            state.
        filters: The API's own filters, by their names; `start:gte` and `start:lte` narrow the span.
        call_logs: Also read the calls themselves, recorded or not, from the Reports API, which has a
            subscription of its own.
        call_log_filters: The Reports API's own filters, by their names.
        pii: `keep`, `hash` (HMAC-SHA256) or `drop` names and numbers.
        pii_key: The key of the hashes, at least 16 characters.
        token_folder: Folder of access tokens and login locks; in dlt's data folder unless given.
        tenant: One customer of many: the other arguments come from `[sources.vbc.tenants.NAME]` first. Each
            needs a pipeline and a dataset of its own.

    Raises:
        SettingsError: A setting is malformed; the message names it.
    """
    settings = dict(locals())
    del settings["tenant"]  # the factory has taken it
    config = VbcConfig.from_values(**settings)
    return Resources(config, Client.from_config(config)).make()


@dlt.source(name=SOURCE_SCHEMA, section="vbc")
def empty_tables(names: Sequence[str]) -> list[DltResource]:
    """The tables of recordings without rows, created before parallel loads that would race to create them."""

    def make(endpoint: Endpoint) -> DltResource:
        def read() -> Iterator[Any]:
            schema, page = dlt.current.source_schema(), read_page(b'{"total_items": 0}', endpoint.shape)
            DestinationLookup().restore_tables(schema)
            rows = TableBuilder(endpoint, schema, PiiPolicy())
            yield rows.build([page.rows], dict.fromkeys(endpoint.key, ""))
            yield make_scan_windows(endpoint, [], "", in_lake=is_lake(dlt.current.pipeline()))
            yield make_user_access([])

        return make_resource(endpoint, read, PiiPolicy())

    return [make(endpoint) for endpoint in (COMPANY, ON_DEMAND, CALL_LOGS) if endpoint.name in names]


class Resources:
    """The resources of one source: they share a client and what is known about accounts and users."""

    def __init__(
        self,
        config: VbcConfig,
        client: Client,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.config, self._client = config, client
        self._lookup, self._clock = DestinationLookup(), clock
        self._reader = ListReader(config, client)
        self._directory = AccountDirectory(self._reader, config.login.identity())
        self._limit = RequestLimit(config.max_requests, lambda: client.requests_sent)
        self.source_id, self._load_id = uuid4().hex, ""
        # in the order in which dlt reads them
        # company recordings first: their links show which account `self` is, which saves the others a request
        self.readers: dict[Endpoint, Callable[[ResourceRun], Iterator[Any]]] = {
            COMPANY: partial(
                self._read_recordings, lambda _: [ReadTask(ListOwner(name)) for name in config.accounts]
            ),
            CALL_LOGS: self._read_call_logs,
            USERS: self._read_snapshots,
            EXTENSIONS: self._read_snapshots,
            ON_DEMAND: partial(self._read_recordings, self._list_users),
            JOBS: partial(self._read_recordings, self._list_job_owners),
        }

    def make(self) -> list[DltResource]:
        """Make all resources."""
        return [
            make_resource(
                endpoint, self._run(endpoint), self.config.pii_policy, selected=self.is_selected(endpoint)
            )
            for endpoint in self.readers
        ]

    def is_selected(self, endpoint: Endpoint) -> bool:
        """Return whether a resource is read unless others are named; some need another subscription."""
        if endpoint is CALL_LOGS:
            return self.config.call_logs
        return self.config.users is None or not endpoint.provisioning

    def _run(self, endpoint: Endpoint) -> Callable[[], Iterator[Any]]:
        """Return the generator function of a resource; dlt takes no partial."""

        def read() -> Iterator[Any]:
            now, stateless = self._clock(), self.config.stateless
            metrics = dlt.current.resource_metrics()
            metrics.clear()  # a source that runs again keeps the metrics of the run before
            self._client.take_turns(current_turns())  # of this run, for all threads
            # asking dlt for state creates it: a backfill must leave none behind
            state = {} if stateless else dlt.current.resource_state()
            schema, load_id = dlt.current.source_schema(), str(dlt.current.load_package_state()["load_id"])
            if load_id != self._load_id:  # once a run, not for each resource
                self._load_id, self._lookup = load_id, DestinationLookup()
                self._lookup.begin(schema, [] if stateless else find_load_marks(dlt.current.source_state()))
            run = ResourceRun(
                endpoint,
                self.config,
                source_id=self.source_id,
                load_id=load_id,
                schema=schema,
                state=state,
                accounts={} if stateless else dlt.current.source_state().setdefault("accounts", {}),
                metrics=metrics,
                lookup=self._lookup,
                now=now,
                window=self.config.fixed_window(now, dlt.current.interval),
            )
            # a function: it is called only where the destination lacks the load
            # that the local state names
            read_stored = partial(self._lookup.read_state, schema.name, endpoint.name)
            with hold_state(state, load_id, self._lookup.has_load, read_stored):
                yield from self.readers[endpoint](run)

        return read

    def _read_recordings(
        self, find: Callable[[ResourceRun], list[ReadTask]], run: ResourceRun
    ) -> Iterator[Any]:
        access = self._open_access_log(run)
        return Extractor(run, self._reader, access, self._directory.learn, self._limit).read(find(run))

    def _read_call_logs(self, run: ResourceRun) -> Iterator[Any]:
        # the Reports API takes no `self`
        accounts = [ReadTask(ListOwner(account)) for account in self._find_accounts(run)]
        try:
            yield from self._read_recordings(lambda _: accounts, run)
        except NotSubscribed as fault:
            fault.args = (f"{fault}; or do without the calls: set call_logs = false in [sources.vbc]",)
            self._skip(fault, "Reports API")
            # named in `user_access`, so that `vbc status` says what is missing and why
            if self.config.skip_forbidden:
                access = self._open_access_log(run)
                for task in accounts:
                    access.leave_out(task, fault)
                if rows := access.take_rows():
                    yield make_user_access(rows)

    def _read_snapshots(self, run: ResourceRun) -> Iterator[Any]:
        access = self._open_access_log(run)
        for account in self._find_accounts(run):
            task = ReadTask(ListOwner(account))
            try:
                read = self._directory.read_list(run.endpoint, account, run.load_id, run.now, run.state)
            except GatewayFault as fault:
                self._skip(fault, f"{run.endpoint.title} of {task}")
                if isinstance(fault, Forbidden) and self.config.skip_forbidden:
                    access.leave_out(task, fault)
            else:
                access.allow(task)
                yield from write_snapshot(run, account, read)
                if not read.is_proven:
                    gaps = GapLog(run)
                    gaps.add(task, read)
                    gaps.report()
            if rows := access.take_rows():
                yield make_user_access(rows)

    def _open_access_log(self, run: ResourceRun) -> AccessLog:
        def find_account(requested: str) -> str:
            try:
                return self._directory.find_account(requested, run.accounts)
            except VbcError:  # the list that names the user may be the one that failed
                return requested

        return AccessLog(run, find_account)

    def _skip(self, fault: GatewayFault, title: str) -> None:
        """Go on without a list, or report it at the end of the run, or end the run."""
        if isinstance(fault, Forbidden) and self.config.skip_forbidden:
            log.warning("left out, since on_forbidden = skip: %s", fault)
        elif (
            (refusals := current_refusals())
            and (isinstance(fault, Forbidden) or leaves_the_rest(fault))
            and refusals.takes(fault)
        ):
            refusals.add([title], fault)
        else:
            raise fault

    def _find_accounts(self, run: ResourceRun) -> list[str]:
        find = self._directory.find_account
        # each once: `self` may be one of those that are listed by number
        return list(dict.fromkeys(find(name, run.accounts) for name in self.config.accounts))

    def _list_users(self, run: ResourceRun) -> list[ReadTask]:
        if not self.config.has_user_recordings:
            log.info("this API has no on-demand recordings: %s", self.config.recording_api)
            return []
        return [task for account in self._find_accounts(run) for task in self._list_users_of(account, run)]

    def _list_users_of(self, account: str, run: ResourceRun) -> list[ReadTask]:
        if self.config.users is not None:
            return [ReadTask(ListOwner(account, user)) for user in self.config.users]
        try:
            users = self._directory.users(account, run.load_id, run.now, run.state)
        except GatewayFault as fault:
            self._skip(fault, f"{USERS.title} of {ReadTask(ListOwner(account))}")
            return []
        # titles go into `user_access`, so that with `pii` they must not be names
        titles = users if self.config.pii_policy.keeps else dict.fromkeys(users, "")
        return [ReadTask(ListOwner(account, user), title) for user, title in titles.items()]

    def _is_own(self, account: str, run: ResourceRun) -> bool:
        """Whether an account is the API user's; a single account is assumed to be."""
        if len(self.config.accounts) == 1:
            return True
        try:
            return account == self._directory.find_account(SELF, run.accounts)
        except SettingsError:
            return False

    def _list_job_owners(self, run: ResourceRun) -> list[ReadTask]:
        """List users, and `self`: a company's export is listed under the user who started it."""
        owners = []
        for account in self._find_accounts(run):
            users = self._list_users_of(account, run)
            # the user that `self` was the last time; read under its own id, if it is among the users
            own = str(run.state.get(f"{account}/{SELF}", "")).partition("/")[2]
            includes_own = {task.owner.user for task in users} & {own, SELF}
            owners += users
            if not includes_own and self._is_own(account, run):
                owners.append(ReadTask(ListOwner(account, SELF)))
        return owners


def make_resource(
    endpoint: Endpoint, read: Callable[[], Iterator[Any]], privacy: PiiPolicy, *, selected: bool = True
) -> DltResource:
    """Make the resource of an endpoint, with its keys and child tables."""
    resource: DltResource = dlt.resource(
        read,
        name=endpoint.name,
        primary_key=endpoint.primary_key,
        # Not declared `deduplicated`, although a run sends no row twice: a load that is killed between the
        # copy into the staging table and the record of it copies once more.
        write_disposition="merge",
        selected=selected,
    )
    return resource.add_step(ChildTables(endpoint, privacy))
