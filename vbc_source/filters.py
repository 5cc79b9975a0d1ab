"""The API's own filters, validated before the first request. Pure.

Names and types are the parameters of the list endpoints in the OpenAPI files of the Call Recording and
Reports APIs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from vbc_source.errors import SettingsError
from vbc_source.pii import PiiPolicy
from vbc_source.windows import Window, floor_second, format_report_instant, parse_instant

DIRECTIONS = ("INBOUND", "OUTBOUND", "INTRA_PBX")
LOG_DIRECTIONS = ("Inbound", "Outbound")
# parameters that are not filters, and the setting to use instead
PAGING = {"page": "page_size", "page_size": "page_size", "order": "start_date"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Validated filters.

    Attributes:
        params: Filters to send unchanged.
        start: Oldest `start`, or None.
        end: Newest `start`, or None.
        label: Identifies the combination of filters without revealing values; empty without filters.
    """

    params: Mapping[str, str | int] = field(default_factory=dict)
    start: datetime | None = None
    end: datetime | None = None
    label: str = ""

    def narrow(self, window: Window | None) -> Window | None:
        """Return the part of a window within the filters on `start`; None where nothing is left."""
        if window is None:
            return None
        start, end = max(window.start, self.start or window.start), min(window.end, self.end or window.end)
        return Window(start, end) if start <= end else None


@dataclass(frozen=True, slots=True)
class FilterSetting:
    """A setting that holds filters of one API.

    Attributes:
        name: Its name.
        example: A valid value.
        readers: What each filter must be, and how it is parsed.
    """

    name: str
    example: str
    readers: Mapping[str, tuple[str, Callable[[Any], Any]]]


def check_filters(
    filters: Any,
    privacy: PiiPolicy = PiiPolicy(),  # noqa: B008 - a frozen value
    setting: FilterSetting | None = None,
) -> Filters:
    """Validate a setting of filters, a table of names and values or its JSON; raises SettingsError.

    The label is loaded into tables. With the key of `privacy`, or by a slow hash, it is made so that nobody
    can find a telephone number by hashing all of them.
    """
    setting = setting or RECORDING_FILTERS
    filters = read_setting_table(setting.name, filters, setting.example)
    if not filters:
        return Filters()
    parsed = {str(name): _read(setting, str(name), value) for name, value in filters.items()}
    for name, relation in (("start", "after"), ("end", "after"), ("duration", "greater than")):
        low, high = parsed.get(f"{name}:gte"), parsed.get(f"{name}:lte")
        if low is not None and high is not None and low > high:
            raise SettingsError(f"{setting.name}: {name}:gte is {relation} {name}:lte")
    # bounds of `start` are not sent beside those of a window: they narrow the windows
    start, end = parsed.pop("start:gte", None), parsed.pop("start:lte", None)
    return Filters(parsed, start, end, _label(filters, privacy))


def read_setting_table(name: str, value: Any, example: str) -> Mapping[str, Any]:
    """Parse a setting that is a table, or its JSON in an environment variable; raises SettingsError."""
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name} must be a table of names and values, such as {example}")
    return value


def _label(filters: Mapping[str, Any], privacy: PiiPolicy) -> str:
    # sorted: the order in a settings file says nothing
    content = json.dumps({name: str(value) for name, value in filters.items()}, sort_keys=True).encode()
    if privacy.key:
        content = hmac.digest(privacy.key, content, "sha256")
    elif not privacy.keeps:
        # without a key all telephone numbers could be tried; scrypt makes each try take 0.1 s
        content = hashlib.scrypt(content, salt=b"vbc filters", n=2**15, r=8, p=1, maxmem=2**26)
    return f"{','.join(sorted(filters))}#{hashlib.sha256(content).hexdigest()[:12]}"


def _read(setting: FilterSetting, name: str, value: Any) -> Any:
    if name in PAGING:
        raise SettingsError(f"{setting.name}: {name} is not a filter; use the setting {PAGING[name]}")
    if name not in setting.readers:
        names = ", ".join(setting.readers)
        raise SettingsError(f"{setting.name}: there is no filter {name}; the filters are {names}")
    expected, read = setting.readers[name]
    try:
        return read(value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        # other values may be telephone numbers or names, which must not get into logs
        shown = f", not {value!r}" if name in _SHOWN else ""
        raise SettingsError(f"{setting.name}: {name} must be {expected}{shown}") from None


def _read_text(value: Any, pattern: str = r"(?s).*\S.*") -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not re.fullmatch(pattern, text):
        raise ValueError(value)
    return text


_DATE = (
    "an ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z",
    lambda value: floor_second(parse_instant(value)),
)
# a minus sign is refused here, since `int` would take it
_NUMBER = ("a whole number of milliseconds", lambda value: int(_read_text(value, "[^-]+")))
_TEXT = ("a text", _read_text)
# in the API's form, which also sorts by time, so that two bounds can be compared as texts
_END = (_DATE[0], lambda value: format_report_instant(parse_instant(value)))
# values that are no personal data
_SHOWN = ("start:gte", "start:lte", "end:gte", "end:lte", "call_direction", "direction")
_RECORDING_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "call_direction": (f"one of {', '.join(DIRECTIONS)}", partial(_read_text, pattern="|".join(DIRECTIONS))),
    "call_id": _TEXT,
    "caller_id": _TEXT,
    "cnam": _TEXT,
    "dnis": _TEXT,
    "duration:gte": _NUMBER,
    "duration:lte": _NUMBER,
    "extension": ("an extension number", partial(_read_text, pattern="[0-9]+")),
    "start:gte": _DATE,
    "start:lte": _DATE,
}
RECORDING_FILTERS = FilterSetting("filters", '{"call_direction": "INBOUND"}', _RECORDING_READERS)
_REPORT_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "direction": (
        f"one of {', '.join(LOG_DIRECTIONS)}",
        partial(_read_text, pattern="|".join(LOG_DIRECTIONS)),
    ),
    **dict.fromkeys(("from", "to", "source_user", "destination_user"), _TEXT),
    "start:gte": _DATE,
    "start:lte": _DATE,
    "end:gte": _END,
    "end:lte": _END,
}
CALL_LOG_FILTERS = FilterSetting("call_log_filters", '{"direction": "Inbound"}', _REPORT_READERS)
