"""The filters of a page: parsed from a URL's query, and written back as one. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from vbc_source.errors import VbcError

# whole weeks, so that a period and the one before have the same weekdays
PERIODS = {"7": "7 days", "28": "28 days", "91": "91 days", "364": "364 days", "all": "All"}
DEFAULT_PERIOD = "28"
FIRST_YEAR, LAST_YEAR = 1990, 2200  # at the limits of `date` the arithmetic of periods would overflow
TYPES = ("company", "user")
ARCHIVED = ("yes", "no", "failed")
TEXT_FILTERS = ("account", "direction", "extension", "type", "archived")
NUMBER_FILTERS = {"weekday": range(1, 8), "hour": range(24), "length": range(1, 100)}
FILTERS = (*TEXT_FILTERS, *NUMBER_FILTERS)
SORTS = ("start", "length", "size")
NEWEST_FIRST = "-start"
# parameters of an address; others, and empty ones, are removed from it
PARAMETERS = frozenset({"days", "from", "to", "sort", "page", "at", *FILTERS})
PHONE_NUMBER = re.compile(r"\+?[0-9]{7,}")  # may be personal data, so it must not get into a URL


class InvalidFilter(VbcError):
    """A URL has a filter that does not exist or has an invalid value."""


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """The values that filters can have.

    Attributes:
        earliest: First day with recordings.
        latest: Last day that was read.
        proven: Last day that is proven complete, with which periods end; None if none is.
        behind: Number of lists that are not proven so far, see `choose_last_day`.
        accounts: Account ids.
        directions: Directions as in the models.
        extensions: Extensions, each with the name of its user if known.
        buckets: Numbers and names of the ranges of lengths; the last one is for unknown lengths.
    """

    earliest: date
    latest: date
    proven: date | None = None
    accounts: tuple[str, ...] = ()
    directions: tuple[str, ...] = ()
    extensions: tuple[tuple[Any, ...], ...] = ()
    buckets: tuple[tuple[Any, ...], ...] = ()
    behind: int = 0

    @property
    def end(self) -> date:
        """The day with which periods end."""
        # later days may still lack recordings
        return self.proven if self.proven and self.proven >= self.earliest else self.latest


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
        archived: `yes`, `no`, or `failed` for those that could not be archived.
        period: Name of the period in `PERIODS` that these days are; it moves on with what is read.
        sort: Order of a list: one of `SORTS`, with `-` for the newest or largest first.
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
    period: str | None = None
    sort: str = NEWEST_FIRST

    @property
    def days(self) -> int:
        """Number of days in the period."""
        return (self.last - self.first).days + 1

    @property
    def active(self) -> set[str]:
        """Names of the filters that are set, without the period."""
        return {name for name in FILTERS if getattr(self, name) is not None}

    @property
    def weekdays(self) -> dict[int, int]:
        """How often each weekday, 1 (Monday) to 7, is in the period."""
        whole, rest = divmod(self.days, 7)
        more = {(self.first.weekday() + place) % 7 + 1 for place in range(rest)}
        return {number: whole + (number in more) for number in range(1, 8)}

    def previous_period(self) -> PageFilters:
        """Return the same filters for as many days before, on the same weekdays: whole weeks earlier."""
        span = timedelta(weeks=-(-self.days // 7))
        return replace(self, first=self.first - span, last=self.last - span, period=None)

    def write_query(self, **changes: Any) -> str:
        """Return the query of a URL with these filters; a change to None removes a filter."""
        period: dict[str, Any] = {"from": self.first, "to": self.last}
        if "days" in changes:
            period = {}
        elif self.period and not {"from", "to"} & changes.keys():
            period = {"days": self.period}
        values = {**period, **{name: getattr(self, name) for name in FILTERS}, "sort": self.sort, **changes}
        # an address need not name what is the default
        standing = {"days": DEFAULT_PERIOD, "sort": NEWEST_FIRST, "page": 1}
        return urlencode(
            {name: value for name, value in values.items() if value not in (None, standing.get(name))}
        )

    def write_address(self, path: str, **changes: Any) -> str:
        """Return the address of a page with these filters."""
        query = self.write_query(**changes)
        return f"{path}?{query}" if query else path


def format_day_start(day: date, zone: ZoneInfo) -> str:
    """Return the instant at which a local day starts, as text in UTC."""
    # where clocks go back over midnight there are two: fold=0 (the default) is the first, as in the models
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S+00:00")


def read_filters(query: Mapping[str, str], options: FilterOptions) -> PageFilters:
    """Parse the query of a URL; an empty parameter counts as missing.

    Raises:
        InvalidFilter: A parameter has a value that is invalid or that no recording has.
    """
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    first, last = _read_period(given, options)
    filters: dict[str, Any] = {name: given[name] for name in TEXT_FILTERS if name in given}
    if PHONE_NUMBER.fullmatch(filters.get("extension", "")):
        raise InvalidFilter("An extension of more than six digits is not allowed: it may be a phone number.")
    known: dict[str, Collection[str]] = {
        "account": options.accounts,
        "direction": options.directions,
        "extension": [number for number, _ in options.extensions],
        "type": TYPES,
        "archived": ARCHIVED,
    }
    for name, value in filters.items():
        if value not in known[name]:
            raise InvalidFilter(f"No recording has the {name} of this address. Choose another, or none.")
    filters |= {name: _read_number(name, given[name]) for name in NUMBER_FILTERS if name in given}
    if filters.get("length") not in (None, *(order for order, _ in options.buckets)):
        raise InvalidFilter("No recording has the length of this address. Choose another, or none.")
    sort = given.get("sort", NEWEST_FIRST)
    if sort.removeprefix("-") not in SORTS:
        raise InvalidFilter(f"A list is sorted by {', '.join(SORTS)}, with - for the largest first.")
    return PageFilters(first, last, **filters, period=_name_period(first, last, options), sort=sort)


def _read_period(given: Mapping[str, str], options: FilterOptions) -> tuple[date, date]:
    if "from" not in given and "to" not in given:
        return resolve_period(given.get("days", DEFAULT_PERIOD), options)
    first = read_day("from", given["from"]) if "from" in given else options.earliest
    last = read_day("to", given["to"]) if "to" in given else options.latest
    if first > last:
        raise InvalidFilter(f"The first day, {first}, is after the last one, {last}.")
    return first, last


def resolve_period(name: str, options: FilterOptions) -> tuple[date, date]:
    """Return the first and last day of a period of `PERIODS`, which ends with the last proven day.

    Raises:
        InvalidFilter: There is no such period.
    """
    if name not in PERIODS:
        raise InvalidFilter(f"There is no period of {name[:20]} days: choose one of the page's, or two days.")
    if name == "all":
        return options.earliest, options.latest
    return options.end - timedelta(days=int(name) - 1), options.end


def _name_period(first: date, last: date, options: FilterOptions) -> str | None:
    return next((name for name in PERIODS if resolve_period(name, options) == (first, last)), None)


def choose_last_day(proven: Iterable[date]) -> date | None:
    """Return the last day that is proven for all lists, given that of each list.

    A list whose last proven day is more than a week older than the newest one may not be read any more:
    it does not hold the others back.
    """
    days = list(proven)
    return min((day for day in days if max(days) - day <= timedelta(days=7)), default=None)


def is_canonical(query: Sequence[tuple[str, str]]) -> bool:
    """Return whether a query has known parameters only, each once and with a value."""
    names = [name for name, value in query if value.strip()]
    return len(names) == len(set(names)) == len(query) and PARAMETERS.issuperset(names)


def read_day(name: str, text: str) -> date:
    """Parse a day; raises InvalidFilter."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidFilter(f"{name} must be a day such as 2025-01-31, not {text[:20]!r}.") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise InvalidFilter(f"{name} must be a day between {FIRST_YEAR} and {LAST_YEAR}.")
    return day


def read_page_number(text: str) -> int:
    """Parse the number of a page of a list; raises InvalidFilter."""
    # isdecimal() would accept other digits than ASCII; so long a number keeps the offset within SQL's bigint
    if not re.fullmatch("[0-9]{1,7}", text) or not int(text):
        raise InvalidFilter("page must be a number, from 1.")
    return int(text)


def _read_number(name: str, text: str) -> int:
    allowed = NUMBER_FILTERS[name]
    # a plain isdigit() would accept characters such as ²
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) not in allowed:
        raise InvalidFilter(f"{name} must be a number from {allowed[0]} to {allowed[-1]}.")
    return int(text)
