"""Reading gateway faults: status, headers and body become one of the errors. Pure.

The body formats and codes are those of WSO2 API Manager, which stands in front of every VBC API:
https://apim.docs.wso2.com/en/latest/troubleshooting/error-handling/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from vbc_source.api.http.bodies import read_integer
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    GatewayFault,
    InvalidResponse,
    NotFound,
    NotSubscribed,
    Throttled,
    TokenRejected,
    Unavailable,
)

_BY_CODE: Mapping[int | None, type[GatewayFault]] = {
    900805: Forbidden,  # blocked by an administrator
    900906: NotFound,  # no API has this path
    900907: NotSubscribed,  # the subscription is blocked
    900908: NotSubscribed,
    900909: NotSubscribed,
    900910: Forbidden,  # scope not allowed
}
_BY_STATUS: Mapping[int, type[GatewayFault]] = {403: Forbidden, 404: NotFound}
_FIELDS = ("code", "message", "description", "nextAccessTime")
# what only data has: a recording or a list may get a field `code` one day
_DATA = frozenset({"_embedded", "_links", "id", "job_ids", "total_items"})
# taken together: gateways give a revoked token the code of an invalid, an expired or a missing one
_REJECTED = range(900901, 900906)
_THROTTLED = (900800, 900801, 900802, 900803, 900804, 900806, 900807)
_BACKEND = (*range(101000, 102000), *range(303000, 304000))
_TAG = re.compile(r"<(?:\w+:)?(code|message|description|nextAccessTime)>(.*?)</(?:\w+:)?\1>", re.DOTALL)
_ACCESS_TIME = re.compile(r"(\d{4})-([A-Z][a-z]{2})-(\d{2}) (\d{2}:\d{2}:\d{2})")
# tokens, and whatever is as long as one
_SECRET = re.compile(r"(?i:bearer)\s+\S+|\S{40,}")
# addresses of mail, and numbers of at least seven digits with any usual separators
_PRIVATE = re.compile(r"[^\s@%]{0,64}(?:@|%40)\S*|\+?\d[\d\s()./\u2010-\u2015-]{5,}\d")
LONGEST_FAULT = 1 << 13  # bytes of a body that are looked at


def read_fault(status: int, body: bytes, headers: Mapping[str, str], now: float) -> GatewayFault | None:
    """Return the fault in a response, in whatever format it comes; None if there is none.

    A body with status 200 is a fault too if it contains one, is empty or is HTML: VBC's gateway has
    been seen to answer so. The start of a body is enough; `now`, seconds since 1970, is used where the
    response has no date of its own.
    """
    if status in (202, 204):
        return None
    fields = _read_body(body, not_in=_DATA if status == 200 else frozenset({"_embedded"}))
    if fields is None and status == 200:
        return None
    texts = {name: _read_field((fields or {}).get(name)) for name in _FIELDS}
    code = read_integer(texts["code"])
    kind = _classify(status, code)
    # the other kinds say all that matters themselves, and messages may contain personal data
    hint = redact(texts.get("message", "")) if kind in (BadRequest, GatewayFault) else ""
    return kind(status, code, hint, _read_retry_after(headers, texts, now))


def _read_field(value: Any) -> str:
    return str(value).strip() if isinstance(value, (str, int)) else ""


def _classify(status: int, code: int | None) -> type[GatewayFault]:
    # the code before the status: a 403 is a missing subscription as well as a missing right
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 429 or code in _THROTTLED:
        return Throttled
    if status == 401 or code in _REJECTED:
        return TokenRejected
    if code in _BACKEND or status >= 500 or status == 408:
        return Unavailable
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return BadRequest if 400 <= status < 500 else InvalidResponse


def _read_body(body: bytes, not_in: Set[str]) -> Mapping[str, Any] | None:
    """Return the fields of a fault in XML, wrapped JSON or flat JSON; None if the body is not a fault.

    JSON that has one of the fields `not_in` is none.
    """
    text = body.strip()
    if text.startswith(b"<"):
        tags = _TAG.findall(text[:LONGEST_FAULT].decode("utf-8", "replace"))
        return dict(reversed(tags))  # the first of each name
    # decode only what looks like a fault: a page of data is decoded once, by its reader
    if b'"fault"' not in text[:200] and b'"code"' not in text[:2000]:
        return None if text else {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fault = value.get("fault", value) if isinstance(value, dict) else None
    return fault if isinstance(fault, dict) and "code" in fault and not_in.isdisjoint(value) else None


def _read_retry_after(headers: Mapping[str, str], fault: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until requests are allowed again: the later of header and body."""
    # measured by the gateway's own clock, so that ours need not agree
    answered = _read_date(headers.get("Date", "")) or datetime.fromtimestamp(now, timezone.utc)
    header = headers.get("Retry-After", "").strip()
    # such as `2019-Sep-18 05:34:00+0000 UTC`, in older versions of WSO2 at the end of the description
    times = [_ACCESS_TIME.search(fault.get(name, "")) for name in ("nextAccessTime", "description")]
    # not strptime, whose `%b` depends on the locale
    dates = [header, *(f"{time[3]} {time[2]} {time[1]} {time[4]}" for time in times if time)]
    seconds = [(moment - answered).total_seconds() for moment in map(_read_date, dates) if moment]
    wait = read_integer(header)  # RFC 9110, section 10.2.3: a date or seconds; WSO2 sends a date
    if wait is not None:
        seconds.append(float(wait))
    return max(seconds, default=None)


def _read_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def redact(text: str) -> str:
    """Remove possible numbers, mail addresses and tokens from a text of the gateway, and shorten it."""
    return _SECRET.sub("…", _PRIVATE.sub("…", text[:1000]))[:200]
