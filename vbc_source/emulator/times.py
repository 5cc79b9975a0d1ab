"""Dates as the gateway writes them, and as it accepts them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from functools import lru_cache

UTC = timezone.utc
DAY = 86_400

# Not strftime: its month names follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Every part is optional, so that the end of the match is the place where the text goes wrong.
_FILTER = re.compile(
    r"(?:(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(Z|[+-]\d\d:?\d\d)?)?)?)?)?)?)?", re.ASCII
)
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)


class MalformedDateError(ValueError):
    """A date in a filter is not written as the gateway expects it."""

    def __init__(self, text: str, rest: str) -> None:
        """Word the message as the vendor's date library does."""
        super().__init__(f'Invalid format: "{text}" is malformed at "{rest}"')


@lru_cache(maxsize=4096)
def _name_day(day: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(days=day)).strftime("%Y-%m-%d")


def format_time(epoch: int) -> str:
    """Write epoch seconds as a recording does: ``2019-01-01T00:00:00+0000``."""
    day, second = divmod(epoch, DAY)
    hour, second = divmod(second, 3600)
    minute, second = divmod(second, 60)
    return f"{_name_day(day)}T{hour:02d}:{minute:02d}:{second:02d}+0000"


def format_access_time(epoch: float) -> str:
    """Write epoch seconds as ``nextAccessTime`` does: ``2019-Sep-18 05:34:00+0000 UTC``."""
    moment = datetime.fromtimestamp(int(epoch), UTC)
    return f"{moment.year}-{_MONTHS[moment.month - 1]}-{moment:%d %H:%M:%S}+0000 UTC"


def format_http_date(epoch: float) -> str:
    """Write epoch seconds as an HTTP header does."""
    return formatdate(int(epoch), usegmt=True)


def _read_zone(text: str | None) -> timedelta:
    if not text or text in "Zz":
        return timedelta(0)
    sign = -1 if text[0] == "-" else 1
    return sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))


def _to_milliseconds(parts: list[str], fraction: str | None, zone: str | None) -> int:
    year, month, day, hour, minute, second = (int(part) for part in parts)
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _read_zone(zone)
    return int(moment.timestamp()) * 1000 + int(((fraction or "") + "000")[:3])


def parse_filter_date(text: str) -> int:
    """Read a date given in a filter.

    Args:
        text: ``yyyy-MM-ddTHH:mm:ss`` and ``Z``, ``+0000`` or another offset; no fraction.

    Returns:
        Milliseconds since 1970.

    Raises:
        MalformedDateError: It is written in any other way.
    """
    match = _FILTER.match(text)
    end = match.end() if match else 0
    if match is None or match[7] is None or end != len(text):
        raise MalformedDateError(text, text[end:])
    try:
        return _to_milliseconds(list(match.groups()[:6]), None, match[7])
    except (ValueError, OverflowError):
        raise MalformedDateError(text, text) from None


def parse_moment(value: object) -> int | None:
    """Read a time of a recording, however it is written; milliseconds since 1970, or None."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return _to_milliseconds(list(match.groups()[:6]), match[7], match[8])
    except (ValueError, OverflowError):
        return None
