"""Read gateway faults: status, headers and body become one of the errors. Pure.

The three body formats and the codes are those of WSO2 API Manager, in front of every VBC API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

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


class _Told(NamedTuple):
    """What a fault body says."""

    code: int | None
    message: str
    text: str
    next_access: str


_REJECTED = range(900901, 900906)
_THROTTLED = (900800, 900801, 900802, 900803, 900804, 900806, 900807)
_BACKEND = (*range(101000, 102000), *range(303000, 304000))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ACCESS_TIME = re.compile(r"(\d{4})-([A-Z][a-z]{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2})")
_PRIVATE = re.compile(r"[^\s@%]{0,64}(?:@|%40)\S*|\+?\d[\d\s()./\u2010-\u2015-]{5,}\d")


def read_fault(status: int, body: bytes, headers: Mapping[str, str], now: float) -> GatewayFault | None:
    """Say which fault an answer is, whatever format it comes in; None where it is no fault.

    A body with status 200 is a fault as well when it carries one, is empty or is HTML: gateways
    have been seen to answer so.

    Args:
        status: the HTTP status.
        body: the whole body.
        headers: the answer's headers.
        now: seconds since 1970, used where the answer bears no date of its own.
    """
    if status in (202, 204):
        return None
    told = _read_body(body)
    if told is None and status == 200:
        return None
    code, message = (told.code, told.message) if told else (None, "")
    kind = _classify(status, code)
    hint = redact(message) if kind in (BadRequest, GatewayFault) else ""
    return kind(status, code, hint, _read_retry_after(headers, told, now))


def _classify(status: int, code: int | None) -> type[GatewayFault]:
    by_code: dict[int | None, type[GatewayFault]] = {
        900805: Forbidden,  # blocked by an administrator
        900906: NotFound,  # the gateway has no such path
        900907: NotSubscribed,  # the subscription is blocked
        900908: NotSubscribed,
        900909: NotSubscribed,
        900910: Forbidden,
    }
    if code in by_code:
        return by_code[code]
    if status == 429 or code in _THROTTLED:
        return Throttled
    if status == 401 or code in _REJECTED:
        return TokenRejected
    if code in _BACKEND or status >= 500 or status == 408:
        return Unavailable
    by_status: dict[int, type[GatewayFault]] = {403: Forbidden, 404: NotFound}
    if status in by_status:
        return by_status[status]
    return BadRequest if 400 <= status < 500 else InvalidResponse


def _read_body(body: bytes) -> _Told | None:
    """Read a fault in any of the three formats; None where the body is no fault."""
    text = body.strip()
    if not text:
        return _Told(None, "", "", "")
    if text.startswith(b"<"):
        return _read_xml(text.decode("utf-8", "replace"))
    # only what looks like a fault is decoded here: a page of data is decoded once, by its reader
    if b'"fault"' not in text[:200] and b'"code"' not in text[:2000]:
        return None
    with suppress(ValueError):
        return _read_json(json.loads(text))
    return None


def _read_json(found: Any) -> _Told | None:
    fault = found.get("fault", found) if isinstance(found, dict) else None
    if not isinstance(fault, dict) or "code" not in fault or "_embedded" in found:
        return None
    said = {key: str(fault.get(key) or "") for key in ("message", "description", "nextAccessTime")}
    return _Told(_number(fault["code"]), said["message"], said["description"], said["nextAccessTime"])


def _read_xml(text: str) -> _Told:
    def tag(name: str) -> str:
        found = re.search(rf"<(?:\w+:)?{name}>(.*?)</(?:\w+:)?{name}>", text, re.DOTALL)
        return found.group(1).strip() if found else ""

    return _Told(_number(tag("code")), tag("message"), tag("description"), tag("nextAccessTime"))


def _number(value: Any) -> int | None:
    return int(value) if str(value).strip().isdigit() else None


def _read_retry_after(headers: Mapping[str, str], told: _Told | None, now: float) -> float | None:
    """Seconds until requests are allowed again: the later of what the header and the body say."""
    # measured from the gateway's own date, so that two clocks need not agree
    answered = _read_date(headers.get("Date", "")) or datetime.fromtimestamp(now, timezone.utc)
    header = headers.get("Retry-After", "").strip()
    said = [_read_date(header)]
    said += [_read_access_time(text) for text in ((told.next_access, told.text) if told else ())]
    seconds = [(moment - answered).total_seconds() for moment in said if moment]
    if header.isdigit():  # RFC 9110 allows seconds too
        seconds.append(float(header))
    return max(seconds, default=None)


def _read_access_time(text: str) -> datetime | None:
    found = _ACCESS_TIME.search(text)
    if not found or found.group(2) not in _MONTHS:
        return None
    month = _MONTHS.index(found.group(2)) + 1
    year, day, hour, minute, second = map(int, found.group(1, 3, 4, 5, 6))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None


def _read_date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def redact(text: str) -> str:
    """Take numbers that may be phone numbers, and addresses, out of a text from the gateway."""
    return _PRIVATE.sub("…", text[:1000])[:200]
