"""The filters of a page: parsed from a URL's query, and written back as one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from vbc_source.errors import VbcError

PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "12 months", "all": "All"}
DEFAULT_PERIOD = "30"
TEXT_FILTERS = ("account", "direction", "extension", "type", "archived")
NUMBER_FILTERS = {"weekday": range(1, 8), "hour": range(24), "length": range(1, 100)}
PHONE_NUMBER = re.compile(r"\+?[0-9]{7,}")  # may be personal data, so it must not get into a URL


class InvalidFilter(VbcError):
    """A URL has a filter that does not exist or has an invalid value."""


@dataclass(frozen=True, slots=True)
class PageFilters:
    """Which recordings a page shows; a filter that is None matches all.

    Attributes:
        first: First day, in the time zone of the models.
        last: Last day, inclusive.
        account: Account id.
        direction: Direction as in the model `recordings`, such as `INBOUND`.
        extension: Extension that took part in the call.
        type: `company` or `user`.
        weekday: 1 (Monday) to 7.
        hour: 0 to 23.
        length: `bucket_order` of the model `duration_buckets`.
        archived: `yes` or `no`.
    """

    first: date
    last: date
    account: str | None = None
    direction: str | None = None
    extension: str | None = None
    type: str | None = None
    weekday: int | None = None
    hour: int | None = None
    length: int | None = None
    archived: str | None = None

    @property
    def days(self) -> int:
        """Number of days in the period."""
        return (self.last - self.first).days + 1

    @property
    def active(self) -> set[str]:
        """Names of the filters that are set, without the period."""
        return {name for name in (*TEXT_FILTERS, *NUMBER_FILTERS) if getattr(self, name) is not None}

    def previous_period(self) -> PageFilters:
        """Return the same filters for the period before, which has as many days."""
        span = timedelta(days=self.days)
        return replace(self, first=self.first - span, last=self.last - span)

    def write_query(self, **changes: Any) -> str:
        """Return the query of a URL with these filters; a change to None removes a filter."""
        period = {} if "days" in changes else {"from": self.first, "to": self.last}
        filters = {name: getattr(self, name) for name in (*TEXT_FILTERS, *NUMBER_FILTERS)}
        values = {**period, **filters, **changes}
        return urlencode({name: value for name, value in values.items() if value is not None})


def format_day_start(day: date, zone: ZoneInfo) -> str:
    """Return the instant at which a local day starts, as text in UTC."""
    # where clocks go back over midnight there are two: fold=0 (the default) is the first, as in the models
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S+00:00")


def read_filters(query: Mapping[str, str], earliest: date, latest: date) -> PageFilters:
    """Parse the query of a URL; an empty parameter counts as missing.

    Args:
        query: Parameters of the URL.
        earliest: First day with recordings.
        latest: Last day that was read.

    Raises:
        InvalidFilter: A parameter has an invalid value; the message names it.
    """
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    if "from" not in given and "to" not in given:
        first, last = resolve_period(given.get("days", DEFAULT_PERIOD), earliest, latest)
    else:
        first = _read_day("from", given["from"]) if "from" in given else earliest
        last = _read_day("to", given["to"]) if "to" in given else latest
        if first > last:
            raise InvalidFilter(f"The first day, {first}, is after the last one, {last}.")
    filters: dict[str, Any] = {name: given[name] for name in TEXT_FILTERS if name in given}
    for name, text in filters.items():
        if not text.isprintable():
            raise InvalidFilter(f"{name} must be printable text.")
    if PHONE_NUMBER.fullmatch(filters.get("extension", "")):
        raise InvalidFilter("An extension of more than six digits is not allowed: it may be a phone number.")
    filters |= {name: _read_number(name, given[name]) for name in NUMBER_FILTERS if name in given}
    return PageFilters(first, last, **filters)


def resolve_period(name: str, earliest: date, latest: date) -> tuple[date, date]:
    """Return the first and last day of a period of `PERIODS`, which ends with the last day read."""
    if name not in PERIODS:
        raise InvalidFilter(f"There is no period of {name[:20]} days: choose one of the page's, or two days.")
    return earliest if name == "all" else latest - timedelta(days=int(name) - 1), latest


def _read_day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidFilter(f"{name} must be a day such as 2025-01-31, not {text[:20]!r}.") from None
    # at the limits of `date` the arithmetic of periods would overflow
    if not 1990 <= day.year <= 2200:
        raise InvalidFilter(f"{name} must be a day between 1990 and 2200.")
    return day


def _read_number(name: str, text: str) -> int:
    allowed = NUMBER_FILTERS[name]
    # a plain isdigit() would accept characters such as ²
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) not in allowed:
        raise InvalidFilter(f"{name} must be a number from {allowed[0]} to {allowed[-1]}.")
    return int(text)
