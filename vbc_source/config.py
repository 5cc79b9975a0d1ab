"""The source's settings, checked before the first request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, Literal

from vbc_source.errors import SettingsError
from vbc_source.filters import Filters, check_filters
from vbc_source.pii import PiiPolicy
from vbc_source.windows import Window, plan_window, read_instant

BASE_URL = "https://api.vonage.com"
RECORDING_API = "/t/vbc.prod/call_recording/api"
INDIA = "call_recording_india"  # in the path; that API has no on-demand recordings
ALL = "all"
HISTORY = timedelta(days=2 * 365)  # how far back a first run reads unless `start_date` says otherwise

LONGEST_LOOKBACK = timedelta(hours=876_000)

Instant = str | date | datetime


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run reads, and how.

    Attributes:
        recording_api: path of the Call Recording API.
        accounts: account ids, or `self`.
        users: user ids, or `self`; None for all that the Provisioning API lists.
        start: where the history begins, or None for two years before the run.
        end: where a backfill ends; None for an incremental run.
        lookback: how far behind the cursor every run reads again.
        page_size: recordings to ask for at once.
        max_concurrency: requests in flight.
        skip_forbidden: go on without what the API user may not see.
        rows_per_run: where an incremental run ends early, recordings; None for nowhere.
        use_interval: take both bounds from the scheduler's data interval.
        filters: what the server is asked to leave out.
        privacy: what becomes of names and numbers.
    """

    recording_api: str
    accounts: tuple[str, ...]
    users: tuple[str, ...] | None
    start: datetime | None
    end: datetime | None
    lookback: timedelta
    page_size: int
    max_concurrency: int
    skip_forbidden: bool
    rows_per_run: int | None
    use_interval: bool
    filters: Filters
    privacy: PiiPolicy

    @property
    def has_user_recordings(self) -> bool:
        """Whether the API at this path has on-demand recordings."""
        return INDIA not in self.recording_api

    def first(self, now: datetime) -> datetime:
        """Where the history begins."""
        return self.start or now - HISTORY

    def fixed_span(self, now: datetime, interval: Callable[[], Any]) -> Window | Literal[False] | None:
        """The span of a backfill or a scheduler's interval, False for an empty one; None for neither.

        Args:
            now: nothing later is read.
            interval: gives the scheduler's data interval, or None where there is none.

        Raises:
            SettingsError: a scheduler is expected, and there is none.
        """
        start, end = self.first(now), self.end
        if self.use_interval:
            given = interval()
            if given is None:
                raise SettingsError(
                    "allow_external_schedulers is set, but no scheduler gives a data interval: run it in "
                    "Airflow, set DLT_INTERVAL_START and DLT_INTERVAL_END, or leave the setting out"
                )
            start, end = given.start - self.lookback, given.end
        if end is None:
            return None
        return plan_window(start, min(end, now)) or False


def check_settings(
    *,
    recording_api: str,
    account_id: Any,
    user_ids: Any,
    start_date: Instant | None,
    end_date: Instant | None,
    lookback_hours: float,
    page_size: int,
    max_concurrency: int,
    requests_per_minute: int | None,
    on_forbidden: str,
    rows_per_run: int | None,
    allow_external_schedulers: bool,
    filters: Any,
    pii: str,
    pii_key: str | None,
) -> Settings:
    """Turn what the user wrote into settings.

    Raises:
        SettingsError: a value is malformed; the message names the setting.
    """
    start, end = read_date("start_date", start_date), read_date("end_date", end_date)
    if start and end and start > end:
        raise SettingsError(f"start_date {start_date} is after end_date {end_date}")
    _check_whole("page_size", page_size)
    _check_whole("max_concurrency", max_concurrency)
    for name, value in (("requests_per_minute", requests_per_minute), ("rows_per_run", rows_per_run)):
        if value is not None:
            _check_whole(name, value)
    if on_forbidden not in ("raise", "skip"):
        raise SettingsError(f"on_forbidden must be raise or skip, not {on_forbidden!r}")
    privacy = read_privacy(pii, pii_key)
    return Settings(
        recording_api="/" + recording_api.strip("/"),
        accounts=read_accounts(account_id),
        users=read_users(user_ids),
        start=start,
        end=end,
        lookback=read_lookback(lookback_hours),
        page_size=page_size,
        max_concurrency=max_concurrency,
        skip_forbidden=on_forbidden == "skip",
        rows_per_run=rows_per_run,
        use_interval=allow_external_schedulers,
        filters=check_filters(filters, privacy),
        privacy=privacy,
    )


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{name} must be a whole number of at least 1, not {value!r}")


def read_lookback(hours: Any) -> timedelta:
    """Read the lookback.

    Raises:
        SettingsError: it is no number of hours, or out of bounds.
    """
    try:
        lookback = timedelta(hours=hours)
    except (TypeError, ValueError, OverflowError):
        lookback = timedelta(-1)
    if not timedelta() <= lookback <= LONGEST_LOOKBACK:
        raise SettingsError(f"lookback_hours must be from 0 to 876000, a hundred years, not {hours!r}")
    return lookback


def read_accounts(account_id: Any) -> tuple[str, ...]:
    """Read the account setting: one account or several.

    Raises:
        SettingsError: an account id is empty or holds other than letters and digits.
    """
    accounts = _read_ids(account_id)
    if not accounts:
        raise SettingsError("account_id must be self, an account id or a list of account ids")
    return accounts


def read_users(user_ids: Any) -> tuple[str, ...] | None:
    """Read the user setting: None for `all`, else the users; empty for none.

    Raises:
        SettingsError: a user id holds other than letters and digits.
    """
    if isinstance(user_ids, str) and user_ids.strip().lower() in (ALL, "none"):
        return None if user_ids.strip().lower() == ALL else ()
    users = () if user_ids is None else _read_ids(user_ids)
    if users is None or ALL in users:
        raise SettingsError("user_ids must be all, self, a user id, a list of user ids, or [] for none")
    return users


def _read_ids(ids: Any) -> tuple[str, ...] | None:
    """Read one id or several; None where that is none of both."""
    listed: Any = ids
    if isinstance(ids, str):  # from the environment: 549825,549826 or ["549825", "549826"]
        text = ids.strip(" []").replace('"', "").replace("'", "")
        listed = text.split(",") if text else []
    elif isinstance(ids, int) and not isinstance(ids, bool):
        listed = [ids]
    if not isinstance(listed, Sequence) or not all(type(id_) in (str, int) for id_ in listed):
        return None
    read = tuple(dict.fromkeys(str(id_).strip() for id_ in listed))
    return read if all(id_.isalnum() for id_ in read) else None


def read_privacy(pii: Any, pii_key: str | None) -> PiiPolicy:
    """Read the two settings on personal data.

    Raises:
        SettingsError: there is no such way, or no key to hash with.
    """
    if pii not in ("keep", "hash", "drop"):
        raise SettingsError(f"pii must be keep, hash or drop, not {pii!r}")
    if pii == "hash" and not pii_key:
        raise SettingsError(
            "pii = hash needs a key: set pii_key to a long random text in .dlt/secrets.toml, "
            "[sources.vbc], and keep it, since another key gives other hashes"
        )
    return PiiPolicy(pii, (pii_key or "").encode())


def read_date(name: str, value: Instant | None) -> datetime | None:
    """Read a date setting.

    Raises:
        SettingsError: it is no ISO date; the message names the setting.
    """
    if value is None or value == "":
        return None
    try:
        return read_instant(value).astimezone(timezone.utc)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise SettingsError(
            f"{name} must be an ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z, not {value!r}"
        ) from None
