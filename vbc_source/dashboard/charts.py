"""Numbers as shapes and text for the page. Pure: no queries, no HTML."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIRECTIONS = {"INBOUND": "Inbound", "OUTBOUND": "Outbound", "INTRA_PBX": "Internal", "UNKNOWN": "Unknown"}
TYPES = {"company": "Company", "user": "On demand"}
HEAT_LEVELS = 9
MOST_DAYS, MOST_WEEKS = 92, 105  # more columns than this cannot be told apart at 1280 pixels


@dataclass(frozen=True, slots=True)
class Segment:
    """One direction in a column of the chart.

    Attributes:
        color: Number of its color, from 0.
        name: Name of the direction.
        recordings: Number of recordings.
        top: Distance from the top of the chart, in percent of its height.
        height: Height, in percent of the chart's height.
    """

    color: int
    name: str
    recordings: int
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class ChartColumn:
    """A day, week or month of the chart, with its first and last day inside the period."""

    name: str
    first: date
    last: date
    recordings: int
    segments: tuple[Segment, ...]


def choose_step(first: date, last: date) -> str:
    """Return `day`, `week` or `month`: the smallest step with few enough columns."""
    days = (last - first).days + 1
    if days <= MOST_DAYS:
        return "day"
    return "week" if days <= MOST_WEEKS * 7 else "month"


def split_period(first: date, last: date, step: str) -> Iterator[tuple[date, date, date]]:
    """Yield the calendar start of each step, and its first and last day inside the period."""
    day = first
    while day <= last:
        start = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[step]
        length = {"day": 1, "week": 7, "month": monthrange(day.year, day.month)[1]}[step]
        end = start + timedelta(days=length - 1)
        yield start, day, min(end, last)
        day = end + timedelta(days=1)


def stack_columns(
    first: date, last: date, step: str, counts: Iterable[Sequence[Any]]
) -> tuple[list[ChartColumn], int]:
    """Return stacked columns, and the number that the chart's full height stands for.

    Each count is a row of the calendar start of a step, direction, and number of recordings.
    """
    by_step: dict[date, dict[str, int]] = {}
    for start, direction, number in counts:
        by_step.setdefault(start, {})[direction] = number
    directions = sort_directions({direction for column in by_step.values() for direction in column})
    height = round_up(max((sum(column.values()) for column in by_step.values()), default=0))
    columns = []
    for start, day, end in split_period(first, last, step):
        segments, total = [], 0
        for color, direction in enumerate(directions):
            number = by_step.get(start, {}).get(direction, 0)
            total += number
            top, share = round(100 - 100 * total / height, 3), round(100 * number / height, 3)
            segments.append(Segment(color, format_direction(direction), number, top, share))
        columns.append(ChartColumn(format_step(day, end, step), day, end, total, tuple(segments)))
    return columns, height


def sort_directions(directions: Iterable[str]) -> list[str]:
    """Return directions in a fixed order, unusual ones last, so that colors stay the same."""
    usual = list(DIRECTIONS)
    return sorted(directions, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def round_up(number: int) -> int:
    """Return the next round number whose half is whole too (except 1), for the scale of the chart."""
    power = 1
    while True:
        for factor in (1, 2, 4, 5, 6, 8) if power > 1 else (1, 2, 4, 6, 8):
            if factor * power >= number:
                return factor * power
        power *= 10


def build_heatmap(hours: Mapping[tuple[int, int], int]) -> list[list[tuple[int, int]]]:
    """Return the recordings and heat level (0 to `HEAT_LEVELS`) of each hour and weekday."""
    most = max(hours.values(), default=0)
    # rounded up, so that a single recording is visible beside thousands
    cells = {place: (number, -(-number * HEAT_LEVELS // most)) for place, number in hours.items()}
    return [[cells.get((weekday, hour), (0, 0)) for weekday in range(1, 8)] for hour in range(24)]


def describe_busiest(hours: Mapping[tuple[int, int], int]) -> str:
    """Return a sentence about the weekday and hour with most recordings, the earliest on a tie."""
    if not hours:
        return ""
    weekday, hour = place = min(hours, key=lambda place: (-hours[place], place))
    return f"Most on {WEEKDAYS[weekday - 1]}s at {hour:02}:00: {hours[place]:,}."


def group_days(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and last day of each run of consecutive days."""
    numbered = ((day.toordinal() - place, day) for place, day in enumerate(days))
    runs = ([day for _, day in group] for _, group in groupby(numbered, key=lambda pair: pair[0]))
    return [(run[0], run[-1]) for run in runs]


def format_direction(direction: str) -> str:
    """Return the name of a direction for people."""
    return DIRECTIONS.get(direction, direction.replace("_", " ").capitalize())


def format_duration(seconds: float | None) -> str:
    """Return a length such as `2 min 05 s`, or `unknown`."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def format_change(now: float | None, before: float | None) -> str:
    """Return the relative change such as `+10.0 %`; empty where there is nothing to compare with."""
    if now is None or not before:
        return ""
    change = 100 * (now - before) / before
    if abs(change) < 0.05:
        return "unchanged"
    return f"{'+' if change > 0 else '−'}{abs(change):,.1f} %"


def format_share(part: int, whole: int) -> str:
    """Return a share in percent; only all is `100 %`, and only nothing is `0 %`."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    return "over 99.9 %" if 99.9 < share < 100 else f"{share:.1f} %".replace(".0 %", " %")


def format_day(day: date) -> str:
    """Return a day such as `1 Mar 2025`."""
    return f"{day.day} {day:%b %Y}"


def format_days(first: date, last: date) -> str:
    """Return a run of days such as `1 Mar 2025 to 3 Mar 2025`, or its only day."""
    return format_day(first) if first == last else f"{format_day(first)} to {format_day(last)}"


def format_step(first: date, last: date, step: str) -> str:
    """Return the name of a chart's column, such as `Sat 1 Mar 2025` or `March 2025`."""
    if step == "day":
        return f"{first:%a} {format_day(first)}"
    return f"{first:%B %Y}" if step == "month" else format_days(first, last)
