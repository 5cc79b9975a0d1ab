"""Date formats that the gateway writes and accepts."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from email.utils import formatdate
from functools import lru_cache

UTC = timezone.utc
DAY = 86_400

# Not strftime: its month names depend on the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Every part is optional, so the end of the match is the position of the first invalid character.
_FILTER = re.compile(
    r"(?:(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(Z|[+-]\d\d:?\d\d)?)?)?)?)?)?)?", re.ASCII
)
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII | re.IGNORECASE,
)


class MalformedDateError(ValueError):
    """A date in a filter does not have the format that the gateway requires."""

    def __init__(self, text: str, rest: str) -> None:
        """Format the message like the date library of the vendor."""
        super().__init__(f'Invalid format: "{text}" is malformed at "{rest}"')


@lru_cache(maxsize=4096)
def _format_day(day: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(days=day)).strftime("%Y-%m-%d")


def format_time(epoch: int) -> str:
    """Format epoch seconds like a recording does: `2019-01-01T00:00:00+0000`."""
    # Called twice for each generated recording: strftime would take most of the time.
    day, second = divmod(epoch, DAY)
    hour, second = divmod(second, 3600)
    minute, second = divmod(second, 60)
    return f"{_format_day(day)}T{hour:02d}:{minute:02d}:{second:02d}+0000"


def format_report_time(epoch: int) -> str:
    """Format epoch seconds like a call log does: `2019-01-01 00:00:00`, in UTC."""
    return format_time(epoch).replace("T", " ").removesuffix("+0000")


def parse_report_date(text: str) -> int:
    """Parse a date of a filter of the Reports API: `yyyy-MM-dd HH:mm:ss`, in UTC.

    Returns:
        Milliseconds since 1970.

    Raises:
        ValueError: The text has another format.
    """
    # neither a `T` nor an offset, which the Call Recording API wants
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def format_access_time(epoch: float) -> str:
    """Format epoch seconds like `nextAccessTime`: `2019-Sep-18 05:34:00+0000 UTC`."""
    moment = datetime.fromtimestamp(int(epoch), UTC)
    return f"{moment.year}-{_MONTHS[moment.month - 1]}-{moment:%d %H:%M:%S}+0000 UTC"


def format_http_date(epoch: float) -> str:
    """Format epoch seconds for an HTTP header."""
    return formatdate(int(epoch), usegmt=True)


def _parse_offset(text: str | None) -> timedelta:
    if not text or text in "Zz":
        return timedelta(0)
    sign = -1 if text[0] == "-" else 1
    return sign * timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))


def _to_milliseconds(parts: list[str], fraction: str | None, offset: str | None) -> int:
    year, month, day, hour, minute, second = (int(part) for part in parts)
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC) - _parse_offset(offset)
    return int(moment.timestamp()) * 1000 + int(((fraction or "") + "000")[:3])


def parse_filter_date(text: str) -> int:
    """Parse a date of a filter.

    Args:
        text: `yyyy-MM-ddTHH:mm:ss` followed by `Z`, `+0000` or another offset; no fraction.

    Returns:
        Milliseconds since 1970.

    Raises:
        MalformedDateError: The text has another format.
    """
    match = _FILTER.match(text)
    end = match.end() if match else 0
    # the offset is the last part: a date without one is malformed at its end
    if match is None or match[7] is None or end != len(text):
        raise MalformedDateError(text, text[end:])
    try:
        return _to_milliseconds(list(match.groups()[:6]), None, match[7])
    except (ValueError, OverflowError):
        raise MalformedDateError(text, text) from None


def parse_timestamp(value: object) -> int | None:
    """Parse a time of a recording in any of its formats; milliseconds since 1970, or None."""
    match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        return _to_milliseconds(list(match.groups()[:6]), match[7], match[8])
    except (ValueError, OverflowError):
        return None
