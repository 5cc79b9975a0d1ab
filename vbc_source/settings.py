"""The source's settings, checked before the first request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from vbc_source.faults import SettingsError
from vbc_source.windows import read_instant

BASE_URL = "https://api.vonage.com"
RECORDING_API = "/t/vbc.prod/call_recording/api"
SELF = "self"
HISTORY = timedelta(days=2 * 365)  # how far back a first run reads unless `start_date` says otherwise

LONGEST_LOOKBACK = timedelta(hours=876_000)

Instant = str | date | datetime


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run reads, and how.

    Attributes:
        recording_api: path of the Call Recording API.
        accounts: account ids, or `self`.
        start: where the history begins, or None for two years before the run.
        end: where a backfill ends; None for an incremental run.
        lookback: how far behind the cursor every run reads again.
        page_size: recordings to ask for at once.
        max_concurrency: requests in flight.
        skip_forbidden: go on without what the API user may not see.
        rows_per_run: where an incremental run ends early, recordings; None for nowhere.
        use_interval: take both bounds from the scheduler's data interval.
    """

    recording_api: str
    accounts: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    lookback: timedelta
    page_size: int
    max_concurrency: int
    skip_forbidden: bool
    rows_per_run: int | None
    use_interval: bool

    def first(self, now: datetime) -> datetime:
        """Where the history begins."""
        return self.start or now - HISTORY


def check_settings(
    *,
    recording_api: str,
    account_id: str | int | Sequence[str | int],
    start_date: Instant | None,
    end_date: Instant | None,
    lookback_hours: float,
    page_size: int,
    max_concurrency: int,
    requests_per_minute: int | None,
    on_forbidden: str,
    rows_per_run: int | None,
    allow_external_schedulers: bool,
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
    return Settings(
        recording_api="/" + recording_api.strip("/"),
        accounts=read_accounts(account_id),
        start=start,
        end=end,
        lookback=_read_lookback(lookback_hours),
        page_size=page_size,
        max_concurrency=max_concurrency,
        skip_forbidden=on_forbidden == "skip",
        rows_per_run=rows_per_run,
        use_interval=allow_external_schedulers,
    )


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{name} must be a whole number of at least 1, not {value!r}")


def _read_lookback(hours: Any) -> timedelta:
    try:
        lookback = timedelta(hours=hours)
    except (TypeError, ValueError, OverflowError):
        lookback = timedelta(-1)
    if not timedelta() <= lookback <= LONGEST_LOOKBACK:
        raise SettingsError(f"lookback_hours must be from 0 to 876000, a hundred years, not {hours!r}")
    return lookback


def read_accounts(account_id: str | int | Sequence[str | int]) -> tuple[str, ...]:
    """Read the account setting: one account or several.

    Raises:
        SettingsError: an account id is empty or holds other than letters and digits.
    """
    listed: Any = account_id
    if isinstance(account_id, str):  # from the environment: 549825,549826 or ["549825", "549826"]
        listed = account_id.strip(" []").replace('"', "").replace("'", "").split(",")
    elif isinstance(account_id, int):
        listed = [account_id]
    if not isinstance(listed, Sequence) or not all(isinstance(account, (str, int)) for account in listed):
        listed = ()
    accounts = tuple(dict.fromkeys(str(account).strip() for account in listed))
    if not accounts or not all(account.isalnum() for account in accounts):
        raise SettingsError("account_id must be self, an account id or a list of account ids")
    return accounts


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
