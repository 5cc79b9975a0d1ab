"""What a reader of the dashboard has chosen: from an address to conditions of SQL, and back to an address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from vbc_source.errors import VbcError

PERIODS = {"7": "7 days", "30": "30 days", "90": "90 days", "365": "12 months", "all": "All"}
DEFAULT_PERIOD = "30"
TEXTS = ("account", "direction", "extension", "type", "archived")
NUMBERS = {"weekday": range(1, 8), "hour": range(24), "length": range(1, 100)}
PHONE_NUMBER = re.compile(r"\+?[0-9]{7,}")  # not to stand in an address


class InvalidFilter(VbcError):
    """An address asks for what cannot be chosen."""


@dataclass(frozen=True, slots=True)
class Length:
    """A span of lengths, as the model `duration_buckets` has it.

    Attributes:
        order: its number, from 1.
        name: what to call it.
        shortest: seconds; None where lengths are unknown.
        below: seconds; None where there is no limit, or lengths are unknown.
    """

    order: int
    name: str
    shortest: float | None
    below: float | None


@dataclass(frozen=True, slots=True)
class PageFilters:
    """Which recordings are looked at; None is all.

    Attributes:
        first: first day, in the time zone of the models.
        last: last day.
        account: an account's id.
        direction: such as `INBOUND`.
        extension: a number that took part.
        type: `company` or `user`.
        weekday: 1 is Monday.
        hour: 0 to 23.
        length: number of a bucket.
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
        """How many days there are in the period."""
        return (self.last - self.first).days + 1

    def asked(self) -> set[str]:
        """What else than the period is chosen."""
        return {name for name in (*TEXTS, *NUMBERS) if getattr(self, name) is not None}

    def before(self) -> PageFilters:
        """The same of the period before, which is as long."""
        span = timedelta(days=self.days)
        return replace(self, first=self.first - span, last=self.last - span)

    def link(self, **changed: Any) -> str:
        """Write the part of an address behind `?`; what is changed to None is left out."""
        wanted = {"from": self.first, "to": self.last}
        wanted |= {name: getattr(self, name) for name in (*TEXTS, *NUMBERS)}
        if "days" in changed:
            del wanted["from"], wanted["to"]
        return urlencode({name: value for name, value in {**wanted, **changed}.items() if value is not None})

    def conditions(self, zone: ZoneInfo, lengths: Sequence[Length]) -> tuple[str, dict[str, Any]]:
        """Write conditions on a row `r` of the model `recordings`, in SQL, and their values."""
        found = [*_WHEN]
        values: dict[str, Any] = {"since": day_start(self.first, zone)}
        values["until"] = day_start(self.last + timedelta(days=1), zone)
        found += [_CONDITIONS[name] for name in _CONDITIONS if getattr(self, name) is not None]
        for name in _CONDITIONS:
            values[name] = getattr(self, name)
        values |= {"zone": zone.key, "archived": self.archived == "yes"}
        chosen = next((length for length in lengths if length.order == self.length), None)
        if chosen is not None:
            found.append(_limit(chosen))
            values |= {"shortest": chosen.shortest, "below": chosen.below}
        return " AND ".join(found), values


LOCAL = "(r.started_at AT TIME ZONE %(zone)s)"  # an instant on the wall clocks
_WHEN = (
    "r.started_at >= CAST(%(since)s AS timestamp with time zone)",
    "r.started_at < CAST(%(until)s AS timestamp with time zone)",
)
_CONDITIONS = {
    "account": "r.account_id = %(account)s",
    "direction": "r.direction = %(direction)s",
    "type": "r.recording_type = %(type)s",
    "extension": "r.recording_key IN (SELECT recording_key FROM {recording_extensions} "
    "WHERE extension = %(extension)s)",
    "weekday": f"extract(isodow FROM {LOCAL}) = %(weekday)s",
    "hour": f"extract(hour FROM {LOCAL}) = %(hour)s",
    "archived": "r.archived = %(archived)s",
}


def _limit(length: Length) -> str:
    if length.shortest is None:
        return "r.duration_seconds IS NULL"
    above = "r.duration_seconds >= %(shortest)s"
    return above if length.below is None else f"{above} AND r.duration_seconds < %(below)s"


def day_start(day: date, zone: ZoneInfo) -> str:
    """The instant in which a day begins, as text."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    return midnight.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S+00:00")


def read_filters(asked: Mapping[str, str], earliest: date, latest: date) -> PageFilters:
    """Read what an address asks for.

    Args:
        asked: the address's parameters; empty ones count as not given.
        earliest: first day with recordings.
        latest: last day that was read.

    Raises:
        BadChoice: it cannot be chosen; the message says what.
    """
    given = {name: value.strip() for name, value in asked.items() if value.strip()}
    first, last = _read_period(given, earliest, latest)
    texts: dict[str, Any] = {name: given[name] for name in TEXTS if name in given}
    numbers: dict[str, Any] = {name: _read_number(name, given[name]) for name in NUMBERS if name in given}
    chosen = PageFilters(first, last, **texts, **numbers)
    if unreadable := [name for name, text in texts.items() if not text.isprintable()]:
        raise InvalidFilter(f"{unreadable[0]} must be text that can be read.")
    if chosen.extension and PHONE_NUMBER.fullmatch(chosen.extension):
        raise InvalidFilter(
            "An extension of more than six digits cannot be chosen: it may be a phone number."
        )
    return chosen


def _read_period(given: Mapping[str, str], earliest: date, latest: date) -> tuple[date, date]:
    if "from" not in given and "to" not in given:
        return period(given.get("days", DEFAULT_PERIOD), earliest, latest)
    first = _read_day("from", given["from"]) if "from" in given else earliest
    last = _read_day("to", given["to"]) if "to" in given else latest
    if first > last:
        raise InvalidFilter(f"The first day, {first}, is behind the last one, {last}.")
    return first, last


def period(name: str, earliest: date, latest: date) -> tuple[date, date]:
    """First and last day of a period of `PERIODS`, which ends with the last day that was read.

    Raises:
        BadChoice: there is no such period.
    """
    if name not in PERIODS:
        raise InvalidFilter(f"There is no period of {name[:20]} days: choose one of the page's, or two days.")
    return earliest if name == "all" else latest - timedelta(days=int(name) - 1), latest


def _read_day(name: str, text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidFilter(f"{name} must be a day such as 2025-01-31, not {text[:20]!r}.") from None
    if not 1990 <= day.year <= 2200:
        raise InvalidFilter(f"{name} must be a day between 1990 and 2200.")
    return day


def _read_number(name: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,2}", text) or int(text) not in NUMBERS[name]:
        allowed = NUMBERS[name]
        raise InvalidFilter(f"{name} must be a number from {allowed[0]} to {allowed[-1]}.")
    return int(text)
