"""What the dashboard draws: numbers become shapes and words; nothing is asked and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIRECTIONS = {"INBOUND": "Inbound", "OUTBOUND": "Outbound", "INTRA_PBX": "Internal", "UNKNOWN": "Unknown"}
TYPES = {"company": "Company", "user": "On demand"}
HEAT_LEVELS = 9
MOST_DAYS, MOST_WEEKS = 92, 105  # as many columns can be told apart


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a column: one direction.

    Attributes:
        kind: number of its colour.
        name: of the direction.
        recordings: how many.
        top: where it begins, in hundredths of the chart's height from above.
        height: in hundredths, too.
    """

    kind: int
    name: str
    recordings: int
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """A day, a week or a month of the chart over time, with its first and last day inside the period."""

    first: date
    last: date
    recordings: int
    parts: tuple[Part, ...]


def choose_step(first: date, last: date) -> str:
    """Say whether to count by `day`, `week` or `month`, so that columns can be told apart."""
    days = (last - first).days + 1
    if days <= MOST_DAYS:
        return "day"
    return "week" if days <= MOST_WEEKS * 7 else "month"


def each_step(first: date, last: date, step: str) -> Iterator[tuple[date, date, date]]:
    """Yield, of each step, the day that it is counted under, and its first and last day in the period."""
    day = first
    while day <= last:
        if step == "day":
            counted, behind = day, day + timedelta(days=1)
        elif step == "week":
            counted = day - timedelta(days=day.weekday())
            behind = counted + timedelta(days=7)
        else:
            counted = day.replace(day=1)
            behind = (counted + timedelta(days=31)).replace(day=1)
        yield counted, day, min(behind - timedelta(days=1), last)
        day = behind


def stack(
    steps: Iterable[tuple[date, date, date]], rows: Iterable[Sequence[Any]]
) -> tuple[list[Column], int]:
    """Make columns of counts by first day and direction; also what the chart's whole height stands for."""
    counts: dict[date, dict[str, int]] = {}
    for day, direction, recordings in rows:
        counts.setdefault(day, {})[direction] = recordings
    known = order_directions({direction for column in counts.values() for direction in column})
    height = round_up(max((sum(column.values()) for column in counts.values()), default=0))
    columns = []
    for counted, first, last in steps:
        column = counts.get(counted, {})
        parts, reached = [], 0
        for kind, direction in enumerate(known):
            number = column.get(direction, 0)
            reached += number
            top, share = 100 - 100 * reached / height, 100 * number / height
            parts.append(Part(kind, direction_name(direction), number, round(top, 3), round(share, 3)))
        columns.append(Column(first, last, reached, tuple(parts)))
    return columns, height


def order_directions(directions: Iterable[str]) -> list[str]:
    """The usual ones first, in the order in which they always come."""
    usual = list(DIRECTIONS)
    return sorted(directions, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def direction_name(direction: str) -> str:
    """What to call a direction."""
    return DIRECTIONS.get(direction, direction.replace("_", " ").capitalize())


def round_up(number: int) -> int:
    """The next number that is good to read, and whose half is whole (that of 1 is not)."""
    power = 1
    while True:
        for factor in (1, 2, 4, 5, 6, 8) if power > 1 else (1, 2, 4, 6, 8):
            if factor * power >= number:
                return factor * power
        power *= 10


def heat(hours: Mapping[tuple[int, int], int]) -> list[list[tuple[int, int]]]:
    """For each hour, for each weekday: recordings, and how warm that is, 0 to `HEAT_LEVELS`."""
    most = max(hours.values(), default=0)

    def cell(weekday: int, hour: int) -> tuple[int, int]:
        number = hours.get((weekday, hour), 0)
        return number, -(-number * HEAT_LEVELS // most) if number else 0

    return [[cell(weekday, hour) for weekday in range(1, 8)] for hour in range(24)]


def busiest(hours: Mapping[tuple[int, int], int]) -> tuple[int, int] | None:
    """The weekday and hour with most recordings; the first of several."""
    return min(hours, key=lambda place: (-hours[place], place), default=None)


def name_spans(days: Iterable[date]) -> list[tuple[date, date]]:
    """First and last days of the spans that days in order make up."""
    numbered = ((day.toordinal() - place, day) for place, day in enumerate(days))
    spans = ([day for _, day in group] for _, group in groupby(numbered, key=lambda pair: pair[0]))
    return [(span[0], span[-1]) for span in spans]


def say_duration(seconds: float | None) -> str:
    """Write a length for people; `unknown` where there is none."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def say_change(now: float | None, before: float | None) -> str:
    """Write how much more or less something is than before; empty where that cannot be said."""
    if now is None or not before:
        return ""
    change = 100 * (now - before) / before
    if abs(change) < 0.05:
        return "unchanged"
    return f"{'+' if change > 0 else '−'}{abs(change):,.1f} %"


def say_share(part: int, whole: int) -> str:
    """Write a share; what is not all is never written as 100 %, and what is something never as 0 %."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    return "over 99.9 %" if 99.9 < share < 100 else f"{share:.1f} %".replace(".0 %", " %")


def say_day(day: date) -> str:
    """Write a day for people."""
    return f"{day.day} {day:%b %Y}"
