"""Single settings, parsed and checked. Pure; all functions raise SettingsError, with the setting's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from vbc_source.errors import SettingsError
from vbc_source.filters import read_setting_table
from vbc_source.windows import parse_instant

ALL = "all"
LONGEST_LOOKBACK = timedelta(hours=876_000)  # a hundred years
LONGEST_RETRIES = 86_400  # seconds
MODEL_DAYS = ("vbc_retention_days", "vbc_policy_days", "vbc_quiet_days", "vbc_repeat_days")
MODEL_VARIABLES = (*MODEL_DAYS, "vbc_holds_relation")

_ADDRESS = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_PATH = re.compile(r"/*\w[\w.-]*(/\w[\w.-]*)*/*", re.ASCII)

Instant = str | date | datetime


def check_base_url(url: str) -> str:
    """Validate the address of the gateway, and remove a slash at its end; raises SettingsError."""
    if not url.startswith(("http://", "https://")):
        raise SettingsError("base_url must begin with https://")
    if "@" in url:
        raise SettingsError("base_url must not contain a user name or a password")
    if not _ADDRESS.fullmatch(url):
        raise SettingsError("base_url must be an address such as https://api.vonage.com, without spaces or ?")
    if url.startswith("http://") and not is_this_machine(url):
        raise SettingsError(
            "base_url must begin with https://: http:// would send the password unencrypted, and is "
            "allowed to this machine alone (http://127.0.0.1 or http://localhost)"
        )
    return url.rstrip("/")


def check_recording_api(path: str) -> str:
    """Validate the path of the Call Recording API, and begin it with one slash; raises SettingsError."""
    if not _PATH.fullmatch(path):
        raise SettingsError(
            f"recording_api must be a path such as /t/vbc.prod/call_recording/api, not {path!r}"
        )
    return "/" + path.strip("/")


def is_this_machine(url: str) -> bool:
    """Return whether an address is one of this machine's own: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        # `localhost.` is the same name, written in full
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_whole(name: str, value: Any, *, optional: bool = False) -> None:
    """Check a setting that is a whole number of at least 1, or None where it is optional.

    Raises:
        SettingsError: It is something else.
    """
    if optional and value is None:
        return
    # true is an `int` to Python, and would be the number 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{name} must be a whole number of at least 1, not {value!r}")


def read_lookback(hours: Any) -> timedelta:
    """Parse the setting `lookback_hours`; raises SettingsError."""
    try:
        lookback = timedelta(hours=hours)
    except (TypeError, ValueError, OverflowError):
        lookback = timedelta(-1)
    # true is a number to timedelta too
    if isinstance(hours, bool) or not timedelta() <= lookback <= LONGEST_LOOKBACK:
        raise SettingsError(f"lookback_hours must be from 0 to 876000 (a hundred years), not {hours!r}")
    return lookback


def check_retries(seconds: Any) -> None:
    """Check the setting `retry_seconds`; raises SettingsError."""
    usable = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not usable or not 0 <= seconds <= LONGEST_RETRIES:  # also false for nan
        raise SettingsError(f"retry_seconds must be from 0 to {LONGEST_RETRIES} (a day), not {seconds!r}")


def read_span(name: str, value: Any, unit: Literal["hours", "days"]) -> timedelta:
    """Parse a setting that is a positive number of hours or days; raises SettingsError."""
    try:
        span = timedelta(days=value) if unit == "days" else timedelta(hours=value)
    except (TypeError, ValueError, OverflowError):
        span = timedelta()
    # true is a number to timedelta too
    if isinstance(value, bool) or span <= timedelta():
        raise SettingsError(f"{name} must be a number of {unit} above 0, not {value!r}")
    return span


def read_accounts(account_id: Any) -> tuple[str, ...]:
    """Parse the setting `account_id`, one account or several; raises SettingsError."""
    accounts = _read_ids(account_id)
    if not accounts:
        raise SettingsError("account_id must be self, an account id or a list of account ids")
    return accounts


def read_users(user_ids: Any) -> tuple[str, ...] | None:
    """Parse the setting `user_ids`: None for `all`, else the users; empty for none. Raises SettingsError."""
    # an environment variable cannot hold an empty list, so `none` stands for it
    if isinstance(user_ids, str) and user_ids.strip().lower() in (ALL, "none"):
        return None if user_ids.strip().lower() == ALL else ()
    users = () if user_ids is None else _read_ids(user_ids)
    if users is None or ALL in users:
        raise SettingsError("user_ids must be all, self, a user id, a list of user ids, or [] for none")
    return users


def _read_ids(ids: Any) -> tuple[str, ...] | None:
    """Parse one id or several; None if the value is neither."""
    listed: Any = ids
    if isinstance(ids, str):  # an environment variable: 549825,549826 or ["549825", "549826"]
        text = ids.strip(" []").replace('"', "").replace("'", "")
        listed = text.split(",") if text else []
    elif isinstance(ids, int) and not isinstance(ids, bool):
        listed = [ids]
    if not isinstance(listed, Sequence) or not all(type(id_) in (str, int) for id_ in listed):
        return None
    read = tuple(dict.fromkeys(str(id_).strip() for id_ in listed))
    # ids become parts of paths: a slash or two dots would lead to another one
    return read if all(id_.isalnum() for id_ in read) else None


def read_date(name: str, value: Instant | None) -> datetime | None:
    """Parse a setting that is a date; raises SettingsError with the name of the setting."""
    if value is None or value == "":
        return None
    try:
        return parse_instant(value).astimezone(timezone.utc)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise SettingsError(
            f"{name} must be an ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z, not {value!r}"
        ) from None


def read_model_variables(variables: Any) -> dict[str, Any]:
    """Parse the setting `model_variables`; raises SettingsError."""
    variables = read_setting_table("model_variables", variables, '{"vbc_quiet_days": 14}')
    for name, value in variables.items():
        if name not in MODEL_VARIABLES:
            raise SettingsError(f"model_variables has no {name}; it has {', '.join(MODEL_VARIABLES)}")
        if name in MODEL_DAYS:
            check_whole(f"model_variables.{name}", value)
    return dict(variables)


def read_timezone(name: str) -> str:
    """Parse the setting `vbc_timezone`; raises SettingsError."""
    try:
        return ZoneInfo(name or "UTC").key
    except (KeyError, ValueError, OSError):  # an unknown zone, a malformed name, or a folder
        raise SettingsError(
            f"vbc_timezone must be a time zone such as America/New_York, not {name!r}"
        ) from None
