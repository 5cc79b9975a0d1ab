"""Settings of the source and the commands: one configuration class, validated before any request."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import dlt
from dlt.common.configuration import configspec, resolve_configuration
from dlt.common.configuration.providers import SettingsTomlProvider
from dlt.common.configuration.specs import BaseConfiguration, CredentialsConfiguration
from dlt.common.typing import TSecretStrValue

from vbc_source.errors import SettingsError
from vbc_source.filters import CALL_LOG_FILTERS, Filters, check_filters
from vbc_source.pii import SHORTEST_KEY, PiiPolicy
from vbc_source.setting_values import (
    ALL,
    check_base_url,
    check_recording_api,
    check_retries,
    check_whole,
    read_accounts,
    read_date,
    read_lookback,
    read_model_variables,
    read_span,
    read_timezone,
    read_users,
)
from vbc_source.storage import StorageSettings, check_lock, check_storage_class, read_tags
from vbc_source.tenants import current_tenant, read_own_settings
from vbc_source.windows import Window, plan_window

SECTIONS = ("sources", "vbc")
CREDENTIALS_SECTION = "[sources.vbc.credentials]"
BASE_URL = "https://api.vonage.com"
RECORDING_API = "/t/vbc.prod/call_recording/api"
INDIA = "call_recording_india"  # part of the API's path in India, where there are no on-demand recordings
SELF = "self"
CALL_LOGS_TABLE: Final = "call_logs"  # the resource of the Reports API
REALM = "@vbc.prod"
LOGIN_FIELDS = ("username", "password", "refresh_token", "access_token")
HISTORY = timedelta(days=2 * 365)  # how far back a first run reads unless `start_date` is set

Config = TypeVar("Config", bound=BaseConfiguration)


@configspec
class VbcCredentials(CredentialsConfiguration):
    """How to log in: a password, a refresh token, or a ready access token.

    Attributes:
        client_id: Key of the application in the developer portal.
        client_secret: Secret of the application.
        username: An API user; `@vbc.prod` is appended if missing.
        password: Password of that user. Single sign-on users cannot log in with one.
        refresh_token: Used instead of user and password; valid for 7 days, replaced at each use.
        access_token: An existing token, used until the gateway rejects it.
    """

    client_id: str | None = None
    client_secret: TSecretStrValue | None = None
    username: str | None = None
    password: TSecretStrValue | None = None
    refresh_token: TSecretStrValue | None = None
    access_token: TSecretStrValue | None = None

    def missing(self) -> list[str]:
        """Return the names of the settings missing for a login; empty when a login is possible."""
        required = ["client_id", "client_secret"]
        if not self.refresh_token:
            required += ["username", "password"]
        return [name for name in required if not self.get(name)]

    def full_username(self) -> str:
        """Return the user name with its realm; empty if no user is set."""
        name = self.username or ""
        return name if not name or name.lower().endswith(REALM) else name + REALM

    def identity(self) -> str:
        """Return a digest of application and user, independent of the password; empty without a user."""
        names = json.dumps([self.client_id, self.full_username()])
        return hashlib.sha256(names.encode()).hexdigest()[:16] if self.username else ""

    def fingerprint(self) -> str:
        """Return a keyed digest of all credentials, from which none of them can be read."""
        # the key is the application's secret: a bare digest would let others try likely passwords on the file
        secrets = json.dumps([self.full_username(), self.password, self.refresh_token])
        key = f"{self.client_id}:{self.client_secret}".encode()
        return hmac.new(key, secrets.encode(), hashlib.sha256).hexdigest()


@configspec
class VbcConfig(BaseConfiguration):
    """Settings in `[sources.vbc]`, or `SOURCES__VBC__…` in the environment.

    Both resolving it and `from_values` validate all settings. The properties return parsed values.

    Attributes:
        credentials: How to log in.
        base_url: Address of the gateway: tokens at `/token`, APIs below `/t/vbc.prod/…`; plain
            http to this machine alone.
        recording_api: Path of the Call Recording API; also `…/v1/api`, or the path of India's API.
        account_id: An account, a list of accounts, or `self`.
        user_ids: `all`, a user, a list of users, `self`, or `[]` for none.
        start_date: Oldest `start` to read, ISO; by default two years before the run.
        end_date: Newest `start` to read, ISO; makes the run a backfill without state.
        lookback_hours: How far behind the cursor every run reads again.
        page_size: Rows to request per page; the server may return fewer.
        max_concurrency: Most requests in flight at a time.
        requests_per_minute: Most requests per minute, all vbc processes of this machine and user together;
            None for no limit.
        budget_share: How many processes that share no disk share `requests_per_minute`.
        on_forbidden: `raise`, or `skip` to load what the user may read and report the rest.
        retry_seconds: How long to retry while the gateway fails, seconds.
        rows_per_run: Stop an incremental run after about this many recordings; None for no limit.
        max_requests: Stop an incremental run after about this many requests; None for no limit.
        polling: `all` reads every list in every run; `active` lets those of quiet users take turns.
        active_days: A user is quiet who has no recording in this many days.
        quiet_hours: Longest time between two readings of the list of a quiet user, hours.
        allow_external_schedulers: Take both dates from the scheduler's data interval.
        filters: The API's own filters, as a table or its JSON.
        call_logs: Also read the calls themselves, from the Reports API, a subscription of its own.
        call_log_filters: The Reports API's own filters, as a table or its JSON.
        pii: `keep`, `hash` or `drop` names and numbers.
        pii_key: Key of the hashes, at least 16 characters.
        token_folder: Folder of access tokens and login locks, shared by all who log in as this user; by
            default in dlt's data folder.
        vbc_timezone: Time zone in which the models count days and hours.
        model_variables: Variables of the models by name, such as `vbc_quiet_days`, as a table or its JSON.
    """

    credentials: VbcCredentials | None = None
    base_url: str = BASE_URL
    recording_api: str = RECORDING_API
    account_id: Any = SELF
    user_ids: Any = ALL
    start_date: Any | None = None
    end_date: Any | None = None
    lookback_hours: float = 48
    page_size: int = 1000
    max_concurrency: int = 8
    requests_per_minute: int | None = None
    budget_share: int = 1
    on_forbidden: str = "raise"
    retry_seconds: float = 60
    rows_per_run: int | None = None
    max_requests: int | None = None
    polling: str = "all"
    active_days: float = 14
    quiet_hours: float = 24
    allow_external_schedulers: bool = False
    filters: Any | None = None
    call_logs: bool = False
    call_log_filters: Any | None = None
    pii: str = "keep"
    pii_key: TSecretStrValue | None = None
    token_folder: str | None = None
    vbc_timezone: str = "UTC"
    model_variables: Any | None = None

    @classmethod
    def from_values(cls, **values: Any) -> VbcConfig:
        """Make a configuration from arguments alone; nothing is read from files or the environment."""
        config = cls(**values)
        config.on_resolved()
        return config

    def on_resolved(self) -> None:
        """Validate all settings; dlt calls this once it has resolved the values. Raises SettingsError."""
        self.base_url = check_base_url(self.base_url)
        self.recording_api = check_recording_api(self.recording_api)
        self.account_id, self.user_ids = read_accounts(self.account_id), read_users(self.user_ids)
        begin, end = self.start_date, self.end_date
        self.start_date, self.end_date = read_date("start_date", begin), read_date("end_date", end)
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise SettingsError(f"start_date {begin} is after end_date {end}")
        read_lookback(self.lookback_hours)
        check_retries(self.retry_seconds)
        for name in ("page_size", "max_concurrency", "budget_share"):
            check_whole(name, getattr(self, name))
        for name in ("requests_per_minute", "rows_per_run", "max_requests"):
            check_whole(name, getattr(self, name), optional=True)
        if self.polling not in ("all", "active"):
            raise SettingsError(f"polling must be all or active, not {self.polling!r}")
        read_span("active_days", self.active_days, "days")
        read_span("quiet_hours", self.quiet_hours, "hours")
        if self.on_forbidden not in ("raise", "skip"):
            raise SettingsError(f"on_forbidden must be raise or skip, not {self.on_forbidden!r}")
        if not isinstance(self.filters, Filters):
            self.filters = check_filters(self.filters, self.pii_policy)
        if not isinstance(self.call_log_filters, Filters):
            self.call_log_filters = check_filters(self.call_log_filters, self.pii_policy, CALL_LOG_FILTERS)
        self.vbc_timezone = read_timezone(self.vbc_timezone)
        self.model_variables = read_model_variables(self.model_variables)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Account ids, or `self`."""
        return cast("tuple[str, ...]", self.account_id)

    @property
    def users(self) -> tuple[str, ...] | None:
        """User ids, or `self`; None for all users that the Provisioning API lists."""
        return cast("tuple[str, ...] | None", self.user_ids)

    @property
    def start(self) -> datetime | None:
        """Oldest `start` to read, or None for two years before the run."""
        return cast("datetime | None", self.start_date)

    @property
    def end(self) -> datetime | None:
        """Newest `start` of a backfill; None for an incremental run."""
        return cast("datetime | None", self.end_date)

    @property
    def lookback(self) -> timedelta:
        """How far behind the cursor every run reads again."""
        return read_lookback(self.lookback_hours)

    def filters_of(self, resource: str) -> Filters:
        """Return the filters of the API that a resource belongs to, parsed."""
        return cast("Filters", self.call_log_filters if resource == CALL_LOGS_TABLE else self.filters)

    @property
    def pii_policy(self) -> PiiPolicy:
        """Policy for names and numbers; raises SettingsError for an unknown `pii` or a short key."""
        if self.pii not in ("keep", "hash", "drop"):
            raise SettingsError(f"pii must be keep, hash or drop, not {self.pii!r}")
        if self.pii == "hash" and len((self.pii_key or "").strip()) < SHORTEST_KEY:
            raise SettingsError(
                f"pii = hash needs a key of {SHORTEST_KEY} characters or more: set pii_key to a long random "
                "text in .dlt/secrets.toml, [sources.vbc], and keep it: another key gives other hashes"
            )
        return PiiPolicy(self.pii, (self.pii_key or "").encode())

    @property
    def skip_forbidden(self) -> bool:
        """Whether to skip what the API user may not read."""
        return self.on_forbidden == "skip"

    @property
    def has_user_recordings(self) -> bool:
        """Whether the API at this path has on-demand recordings."""
        return INDIA not in self.recording_api

    @property
    def active_span(self) -> timedelta:
        """A user is quiet whose newest recording is older than this."""
        return read_span("active_days", self.active_days, "days")

    @property
    def quiet_span(self) -> timedelta:
        """How long the list of a quiet user may rest."""
        return read_span("quiet_hours", self.quiet_hours, "hours")

    @property
    def longest_rest(self) -> timedelta:
        """How long any list may rest; zero where all are read in every run."""
        return self.quiet_span if self.polling == "active" else timedelta()

    @property
    def stateless(self) -> bool:
        """Whether the run has fixed bounds, so that it neither reads nor writes state."""
        return self.end is not None or self.allow_external_schedulers

    @property
    def login(self) -> VbcCredentials:
        """The credentials; empty if none are set, so that the first request reports the missing ones."""
        return self.credentials or VbcCredentials()

    @property
    def tokens(self) -> Path | None:
        """The folder of tokens and login locks; None for the one in dlt's data folder."""
        return Path(self.token_folder).expanduser().absolute() if self.token_folder else None

    @property
    def login_name(self) -> str | None:
        """The API user without its realm, or None if no user is set."""
        return (self.login.username or "").removesuffix(REALM) or None

    def first_start(self, now: datetime) -> datetime:
        """Return the oldest `start` that a run at this time reads."""
        return self.start or now - HISTORY

    def fixed_window(self, now: datetime, interval: Callable[[], Any]) -> Window | None:
        """Return the window of a stateless run: of a backfill, or of the data interval of a scheduler.

        Args:
            now: When the run started; nothing later is read.
            interval: Returns the scheduler's data interval, or None without a scheduler.

        Returns:
            The window; None where it is empty, and for an incremental run.

        Raises:
            SettingsError: There is no scheduler, although `allow_external_schedulers` is set.
        """
        start, end = self.first_start(now), self.end
        if self.allow_external_schedulers:
            given = interval()
            if given is None:
                raise SettingsError(
                    "allow_external_schedulers is set, but no scheduler provides a data interval: run it in "
                    "Airflow, set DLT_INTERVAL_START and DLT_INTERVAL_END, or remove the setting"
                )
            # with the lookback, as recordings appear after their calls have ended: late ones
            # belong to earlier intervals
            start, end = given.start - self.lookback, given.end
        if end is None:
            return None
        return plan_window(start, min(end, now))

    def choose_account(self, account: str | None) -> str:
        """Return the given account, or else the only one of the settings; raises SettingsError."""
        if account is None and len(self.accounts) > 1:
            raise SettingsError("account_id lists several accounts: choose one with --account")
        return account or self.accounts[0]


@configspec
class AudioConfig(VbcConfig):
    """Settings in `[sources.vbc.audio]`; those missing there are taken from `[sources.vbc]`.

    Attributes:
        bucket_url: Where files are stored.
        max_attempts: Number of runs that try to download a file before it is given up.
        max_zip_bytes: Largest zip file of an export to download, bytes.
        object_lock_mode: Lock every object on S3: `GOVERNANCE`, or `COMPLIANCE`, which nobody can end early.
        object_lock_days: How many days an object is locked, counted from its upload.
        object_lock_until: Until when objects are locked, ISO, in place of `object_lock_days`.
        legal_hold: Put a legal hold on every object on S3, which stays until it is removed.
        kms_key_id: Key in AWS KMS that encrypts objects on S3; by default what the bucket is set to.
        storage_class: Storage class of objects on S3, such as `STANDARD_IA`; by default the bucket's.
        tags: Tags of objects on S3, as a table or its JSON.
    """

    bucket_url: str | None = None
    max_attempts: int = 5
    max_zip_bytes: int = 50_000_000_000
    object_lock_mode: str | None = None
    object_lock_days: int | None = None
    object_lock_until: Any | None = None
    legal_hold: bool = False
    kms_key_id: str | None = None
    storage_class: str | None = None
    tags: Any | None = None

    def on_resolved(self) -> None:
        """Validate the settings that VbcConfig lacks; raises SettingsError."""
        # dlt calls this method of each class itself, base class first: no super() here
        check_whole("max_attempts", self.max_attempts)
        check_whole("max_zip_bytes", self.max_zip_bytes)
        self.object_lock_until = read_date("object_lock_until", self.object_lock_until)
        check_lock(self.object_lock_mode, self.object_lock_days, self.object_lock_until)
        check_storage_class(self.storage_class)
        self.tags = read_tags(self.tags)

    @property
    def storage(self) -> StorageSettings:
        """What every object that is stored gets."""
        return StorageSettings(**{item.name: getattr(self, item.name) for item in fields(StorageSettings)})

    @property
    def bucket(self) -> str:
        """Where files are stored; raises SettingsError if that is not configured."""
        if not self.bucket_url:
            raise SettingsError(
                "no bucket configured: give --bucket-url, or set bucket_url in [sources.vbc.audio]"
            )
        return self.bucket_url


@configspec
class TenantConfig(VbcConfig):
    """Settings of one customer of many: they override those of the other sections, all of which may be here.

    Those of credentials and audio are in `[sources.vbc.tenants.NAME.credentials]` and
    `[sources.vbc.tenants.NAME.audio]`.

    Attributes:
        dataset: Dataset of the tenant's tables; by default `vbc_NAME`.
        destination: Name of a dlt destination of the tenant's own, configured in `[destination.…]`.
    """

    dataset: str | None = None
    destination: str | None = None


def load_config(**overrides: Any) -> VbcConfig:
    """Read `[sources.vbc]`, for the chosen tenant; overrides that are not None win. Raises SettingsError."""
    return _load(VbcConfig(), SECTIONS, overrides)


def load_audio_config(**overrides: Any) -> AudioConfig:
    """Read `[sources.vbc.audio]` and `[sources.vbc]`, for the chosen tenant; overrides not None win."""
    return _load(AudioConfig(), (*SECTIONS, "audio"), overrides)


def _load(config: Config, sections: tuple[str, ...], overrides: dict[str, Any]) -> Config:
    check_names()
    # dlt would use an explicit None instead of the configured value
    given = {name: value for name, value in overrides.items() if value is not None}
    tables = ("audio.", "") if isinstance(config, AudioConfig) else ("",)
    own = read_tenant_settings(type(config), tables)
    return resolve_configuration(config, sections=sections, explicit_value={**own, **given})


def read_tenant_settings(
    spec: type[BaseConfiguration] = VbcConfig, sections: tuple[str, ...] = ("",)
) -> dict[str, Any]:
    """Read what the chosen tenant sets itself, as explicit values for dlt; empty without a tenant.

    Raises:
        SettingsError: The tenant has neither a login nor an account of its own, and would be loaded with
            another customer's recordings.
    """
    if (tenant := current_tenant()) is None:
        return {}
    own = read_own_settings(spec, sections)
    login = own.get("credentials", {})
    if any(name in login for name in LOGIN_FIELDS):
        # a login is taken as a whole: dlt would add another user's token to this user and password
        own["credentials"] = {**dict.fromkeys(LOGIN_FIELDS), **login}
    elif "account_id" not in own:
        raise SettingsError(
            f"tenant {tenant} has no login of its own: set username and password in "
            f"[sources.vbc.tenants.{tenant}.credentials], or account_id in [sources.vbc.tenants.{tenant}] "
            "where it shares the login of the others"
        )
    return own


def check_names() -> None:
    """Refuse a setting that does not exist, in the files of settings and in the environment.

    A misspelt `pii` would load names and numbers in the clear. Tables are left alone: dlt has some there.

    Raises:
        SettingsError: The message has the name that was probably meant.
    """
    # those of the audio above as well, since dlt looks there for what its own table lacks
    audio, credentials = AudioConfig.get_resolvable_fields(), VbcCredentials.get_resolvable_fields()
    tables = {SECTIONS: audio, (*SECTIONS, "audio"): audio, (*SECTIONS, "credentials"): credentials}
    if tenant := current_tenant():
        own = {(*SECTIONS, "tenants", tenant, *place[2:]): known for place, known in tables.items()}
        tables |= {place: {**known, **TenantConfig.get_resolvable_fields()} for place, known in own.items()}
    for place, known in tables.items():
        for name in list_settings(place):
            if name not in known:
                close = get_close_matches(name.lower(), sorted(known), n=1)
                meant = f"did you mean {close[0]}?" if close else "docs/reference/settings.md has them all"
                raise SettingsError(f"there is no setting {name} in [{'.'.join(place)}]: {meant}")


def list_settings(place: tuple[str, ...]) -> list[str]:
    """Return the names of the settings in one table, as files and environment have them, without tables."""
    *sections, key = place
    names: list[str] = []
    for provider in dlt.config.config_providers:
        if isinstance(provider, SettingsTomlProvider):  # others send requests, and hold what is asked for
            table, _ = provider.get_value(key, dict, "", *sections)
            if isinstance(table, dict):
                names += [name for name, value in table.items() if not isinstance(value, dict)]
    prefix = "".join(f"{section}__" for section in place).upper()
    # a name with another `__` is that of a setting in a table below
    rest = [name.removeprefix(prefix) for name in os.environ if name.startswith(prefix)]
    return names + [name.lower() for name in rest if "__" not in name]


def has_setting(name: str) -> bool:
    """Return whether a setting of `[sources.vbc]` is set, in general or for the chosen tenant."""
    return name in read_tenant_settings() or dlt.config.get(".".join((*SECTIONS, name))) is not None
