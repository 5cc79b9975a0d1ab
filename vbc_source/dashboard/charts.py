"""Numbers as shapes and text for the page. Pure: no queries, no HTML."""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from math import ceil
from typing import Any

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DIRECTION_LABELS = {
    "INBOUND": "Inbound",
    "OUTBOUND": "Outbound",
    "INTRA_PBX": "Internal",
    "UNKNOWN": "Unknown",
}
TYPE_LABELS = {"company": "Company", "user": "On demand"}
HEAT_LEVELS = 9
SATURDAY, DAYS_OF_A_WEEK = 5, 7
MOST_TICKS = 13
FEWEST_TO_COMPARE = 30  # recordings; a percentage of fewer says more about chance than about calls
# more columns than this cannot be told apart at 1280 pixels
MOST_DAYS, MOST_WEEKS, MOST_MONTHS = 92, 105, 120


@dataclass(frozen=True, slots=True)
class ChartColumn:
    """A day, week, month or year of the chart, with its first and last day inside the period.

    Attributes:
        name: Its name.
        first: First day.
        last: Last day.
        recordings: Number of recordings.
        before: Number in the period before; None if nothing is compared.
        directions: Number of recordings of each direction of the chart.
        height: Height, in percent of the chart's.
        weekend: Whether it is a Saturday or a Sunday.
        incomplete: Whether a day of it is not proven complete.
        partial: Whether it is only a part of a week, month or year, at an end of the period.
    """

    name: str
    first: date
    last: date
    recordings: int
    before: int | None
    directions: tuple[int, ...]
    height: float
    weekend: bool
    incomplete: bool
    partial: bool


@dataclass(frozen=True, slots=True)
class Line:
    """A direction in a chart of its own.

    Attributes:
        direction: Its name.
        recordings: Number of recordings in the period.
        most: Number in its highest whole column.
        points: Points of the line, through whole columns only.
    """

    direction: str
    recordings: int
    most: int
    points: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label below the chart: text, place in percent of its width, and whether a narrow chart shows it."""

    text: str
    place: float
    major: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Recordings over time.

    Attributes:
        step: `day`, `week`, `month` or `year`.
        columns: Its columns, the oldest first.
        height: The number that its full height stands for.
        before: Points of the line of the period before; empty if nothing is compared.
        lines: The directions, each with a line.
        ticks: Labels of the axis.
    """

    step: str
    columns: tuple[ChartColumn, ...]
    height: int
    before: str
    lines: tuple[Line, ...]
    ticks: tuple[Tick, ...]


def choose_step(first: date, last: date) -> str:
    """Return `day`, `week`, `month` or `year`: the smallest step with few enough columns."""
    days = (last - first).days + 1
    if days <= MOST_DAYS:
        return "day"
    if days <= MOST_WEEKS * 7:
        return "week"
    return "month" if days <= MOST_MONTHS * 30 else "year"


def split_period(first: date, last: date, step: str) -> Iterator[tuple[date, date, bool]]:
    """Yield the first and last day of each step inside the period, and whether that is all of the step.

    Weeks end on the weekday of the last day: a period of whole weeks has whole columns only.
    """
    day = first
    while day <= last:
        start, end = _bound_step(day, step, last.weekday())
        yield day, min(end, last), day == start and end <= last
        day = end + timedelta(days=1)


def _bound_step(day: date, step: str, last_weekday: int) -> tuple[date, date]:
    if step == "year":
        return date(day.year, 1, 1), date(day.year, 12, 31)
    if step == "month":
        return day.replace(day=1), day.replace(day=monthrange(day.year, day.month)[1])
    if step == "day":
        return day, day
    end = day + timedelta(days=(last_weekday - day.weekday()) % DAYS_OF_A_WEEK)
    return end - timedelta(days=DAYS_OF_A_WEEK - 1), end


DirectionCounts = Iterable[Sequence[Any]]
"""Rows of a day, a direction, and the number of recordings."""


def draw_chart(
    first: date,
    last: date,
    step: str,
    counts: DirectionCounts,
    before: DirectionCounts | None = None,
    proven: Container[date] | None = None,
) -> Chart:
    """Return the chart of a period.

    Args:
        first: First day.
        last: Last day.
        step: `day`, `week`, `month` or `year`.
        counts: Recordings of the period by day.
        before: Recordings of the period before by day; drawn by day and week only, as months do not fit
            over each other.
        proven: Days that are proven complete; None if that is not shown.
    """
    parts = [*split_period(first, last, step)]
    # whole weeks, as in `PageFilters.previous_period`: the same weekdays lie over each other
    shift = timedelta(weeks=-(-((last - first).days + 1) // DAYS_OF_A_WEEK))
    compared = before is not None and step in ("day", "week")
    by_step = _sum_steps(counts, parts)
    earlier = _sum_steps([(day + shift, *rest) for day, *rest in before or () if compared], parts)
    directions = sort_directions({direction for column in by_step for direction in column})
    totals, was = ([sum(column.values()) for column in columns] for columns in (by_step, earlier))
    # 1 at least, also where there is nothing
    height = round_up(max([*totals, *was], default=0))
    columns = [
        ChartColumn(
            name=format_step(day, end, step) if whole else format_days(day, end),
            first=day,
            last=end,
            recordings=totals[place],
            before=was[place] if compared else None,
            directions=tuple(by_step[place].get(direction, 0) for direction in directions),
            height=round(100 * totals[place] / height, 3),
            weekend=step == "day" and day.weekday() >= SATURDAY,
            incomplete=proven is not None and not all(each in proven for each in list_days(day, end)),
            partial=not whole,
        )
        for place, (day, end, whole) in enumerate(parts)
    ]
    # a part of a week or month would look like a rise or a fall
    whole_ones = [place for place, column in enumerate(columns) if not column.partial]
    places = whole_ones or range(len(columns))
    lines = [
        _draw_line(direction, {place: columns[place].directions[number] for place in places}, columns, number)
        for number, direction in enumerate(directions)
    ]
    line = _draw_points(dict(enumerate(was)), height) if compared else ""
    return Chart(step, tuple(columns), height, line, tuple(lines), tuple(_draw_ticks(columns, step)))


def list_days(first: date, last: date) -> Iterator[date]:
    """Yield the days from first to last."""
    for place in range((last - first).days + 1):
        yield first + timedelta(days=place)


def _sum_steps(counts: DirectionCounts, parts: Sequence[tuple[date, date, bool]]) -> list[dict[str, int]]:
    """Return the recordings of each step by direction."""
    starts, sums = [part[0] for part in parts], [dict[str, int]() for _ in parts]
    for day, direction, number in counts:
        column = sums[bisect_right(starts, day) - 1]
        column[direction] = column.get(direction, 0) + number
    return sums


def _draw_line(
    direction: str, numbers: Mapping[int, int], columns: Sequence[ChartColumn], place: int
) -> Line:
    height = round_up(max(numbers.values(), default=0))
    recordings = sum(column.directions[place] for column in columns)
    return Line(direction, recordings, max(numbers.values()), _draw_points(numbers, height))


def _draw_points(numbers: Mapping[int, int], height: int) -> str:
    """Return the points of a line through the middle of each column, which is ten wide."""
    points = [(place, f"{round(100 - 100 * number / height, 2):g}") for place, number in numbers.items()]
    if len(points) == 1:  # a line needs two points
        ((place, y),) = points
        return f"{place * 10},{y} {place * 10 + 10},{y}"
    return " ".join(f"{place * 10 + 5},{y}" for place, y in points)


def _draw_ticks(columns: Sequence[ChartColumn], step: str) -> Iterator[Tick]:
    """Yield labels where a week, month or year starts, few enough to be read."""
    starts = [place for place, column in enumerate(columns) if _starts_tick(column, step)] or [0]
    stride = -(-len(starts) // MOST_TICKS)
    for number, place in enumerate(starts[::stride]):
        first = columns[place].first
        text = f"{first.year}" if step == "year" else f"{first:%b %Y}"
        text = f"{first.day} {first:%b}" if step == "day" else text
        yield Tick(text, round(100 * (place + 0.5) / len(columns), 2), number % 3 == 0)


def _starts_tick(column: ChartColumn, step: str) -> bool:
    if step == "day":
        return column.first.weekday() == 0
    if step == "week":
        return column.first.day <= DAYS_OF_A_WEEK
    return step == "year" or column.first.month in (1, 7)


def sort_directions(directions: Iterable[str]) -> list[str]:
    """Return directions in a fixed order, unusual ones last, so that colors stay the same."""
    usual = list(DIRECTION_LABELS)
    return sorted(directions, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def round_up(number: int) -> int:
    """Return the next round number whose half is whole too (except 1), for the scale of the chart."""
    power = 1
    while True:
        for factor in (1, 2, 4, 5, 6, 8) if power > 1 else (1, 2, 4, 6, 8):
            if factor * power >= number:
                return factor * power
        power *= 10


@dataclass(frozen=True, slots=True)
class HeatCell:
    """An hour of a weekday: all its recordings, how many there are on average, and its heat level."""

    recordings: int
    average: float
    level: int


def build_heatmap(hours: Mapping[tuple[int, int], int], weekdays: Mapping[int, int]) -> list[list[HeatCell]]:
    """Return a row for each hour with a cell for each weekday, which is in the period as often as given."""
    averages = average_hours(hours, weekdays)
    most = max(averages.values(), default=0)

    def make(place: tuple[int, int]) -> HeatCell:
        average = averages.get(place, 0)
        # rounded up, so that a single recording is visible beside thousands
        return HeatCell(hours.get(place, 0), average, ceil(average * HEAT_LEVELS / most) if average else 0)

    return [[make((weekday, hour)) for weekday in range(1, 8)] for hour in range(24)]


def average_hours(
    hours: Mapping[tuple[int, int], int], weekdays: Mapping[int, int]
) -> dict[tuple[int, int], float]:
    """Return the average recordings in each weekday and hour: sums depend on the period's length."""
    return {place: number / max(1, weekdays[place[0]]) for place, number in hours.items()}


def describe_busiest(hours: Mapping[tuple[int, int], int], weekdays: Mapping[int, int]) -> str:
    """Return a sentence about the weekday and hour with most recordings on average, the earliest on a tie."""
    averages = average_hours(hours, weekdays)
    if not averages:
        return ""
    weekday, hour = place = min(averages, key=lambda place: (-averages[place], place))
    return f"Most on {WEEKDAYS[weekday - 1]}s at {hour:02}:00: {format_average(averages[place])} on average."


def format_average(number: float) -> str:
    """Return an average with two significant digits or more, without zeros after the point."""
    return (
        f"{number:,.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0") if number >= 0.1 else "<0.1"
    )


def group_days(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return the first and last day of each run of consecutive days."""
    # this difference is the same for days that follow each other
    numbered = ((day.toordinal() - place, day) for place, day in enumerate(days))
    runs = ([day for _, day in group] for _, group in groupby(numbered, key=lambda pair: pair[0]))
    return [(run[0], run[-1]) for run in runs]


def format_direction(direction: str) -> str:
    """Return the name of a direction for people."""
    return DIRECTION_LABELS.get(direction, direction.replace("_", " ").capitalize())


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


def format_change(now: float | None, before: float | None, recordings: int) -> str:
    """Return the relative change such as `+10.0 %`; empty where there is nothing to compare with.

    `recordings` is the number behind the figure before: fewer than `FEWEST_TO_COMPARE` are not compared.
    """
    if now is None or not before or recordings < FEWEST_TO_COMPARE:
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
    if step == "month":
        return f"{first:%B %Y}"
    return f"{first.year}" if step == "year" else format_days(first, last)


def format_local(moment: datetime | None) -> str:
    """Return an instant such as `2025-03-01 14:05:09`."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "unknown"


def format_count(number: int, noun: str) -> str:
    """Return a number with its noun: `1 recording`, `2,000 recordings`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_bytes(size: int | None) -> str:
    """Return a size such as `1.4 MB`."""
    if size is None:
        return "unknown"
    amount, units = float(size), ("B", "kB", "MB", "GB", "TB")
    power = 0
    while amount >= 1000 and power < len(units) - 1:
        amount, power = amount / 1000, power + 1
    return f"{amount:,.1f} {units[power]}" if power and amount < 100 else f"{amount:,.0f} {units[power]}"
