"""The API's own filters, validated before the first request. Pure.

Names and types are the parameters of the list endpoints in the Call Recording API's OpenAPI file.
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
from vbc_source.windows import Window, floor_second, parse_instant

DIRECTIONS = ("INBOUND", "OUTBOUND", "INTRA_PBX")
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


def check_filters(filters: Any, privacy: PiiPolicy = PiiPolicy()) -> Filters:  # noqa: B008 - a frozen value
    """Validate the `filters` setting, a table of names and values or its JSON; raises SettingsError.

    The label is loaded into tables, so `privacy` keeps anybody from finding a telephone number by
    hashing all of them.
    """
    if filters in (None, ""):
        return Filters()
    if isinstance(filters, str):  # JSON, from an environment variable
        try:
            filters = json.loads(filters)
        except ValueError:
            filters = None
    if not isinstance(filters, Mapping):
        raise SettingsError(
            'filters must be a table of names and values, such as {"call_direction": "INBOUND"}'
        )
    if not filters:
        return Filters()
    parsed = {str(name): _read(str(name), value) for name, value in filters.items()}
    for name, relation in (("start", "after"), ("duration", "greater than")):
        low, high = parsed.get(f"{name}:gte"), parsed.get(f"{name}:lte")
        if low is not None and high is not None and low > high:
            raise SettingsError(f"filters: {name}:gte is {relation} {name}:lte")
    start, end = parsed.pop("start:gte", None), parsed.pop("start:lte", None)
    return Filters(parsed, start, end, _label(filters, privacy))


def _label(filters: Mapping[str, Any], privacy: PiiPolicy) -> str:
    content = json.dumps({name: str(value) for name, value in filters.items()}, sort_keys=True).encode()
    if privacy.key:
        content = hmac.digest(privacy.key, content, "sha256")
    elif not privacy.keeps:
        # without a key all telephone numbers could be tried; scrypt makes each try take 0.1 s
        content = hashlib.scrypt(content, salt=b"vbc filters", n=2**15, r=8, p=1, maxmem=2**26)
    return f"{','.join(sorted(filters))}#{hashlib.sha256(content).hexdigest()[:12]}"


def _read(name: str, value: Any) -> Any:
    if name in PAGING:
        raise SettingsError(f"filters: {name} is not a filter; use the setting {PAGING[name]}")
    if name not in _READERS:
        raise SettingsError(f"filters: there is no filter {name}; the filters are {', '.join(_READERS)}")
    expected, read = _READERS[name]
    try:
        return read(value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        # other values may be telephone numbers or names, which must not get into logs
        shown = f", not {value!r}" if name in ("start:gte", "start:lte", "call_direction") else ""
        raise SettingsError(f"filters: {name} must be {expected}{shown}") from None


def _read_text(value: Any, pattern: str = r"(?s).*\S.*") -> str:
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not re.fullmatch(pattern, text):
        raise ValueError(value)
    return text


_DATE = (
    "an ISO date such as 2025-01-31 or 2025-01-31T08:00:00Z",
    lambda value: floor_second(parse_instant(value)),
)
_NUMBER = ("a whole number of milliseconds", lambda value: int(_read_text(value, "[^-]+")))
_TEXT = ("a text", _read_text)
_READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
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
