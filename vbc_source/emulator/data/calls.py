"""Generated calls of a call centre: a single one, a day, or the newest of many days."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Any

from vbc_source.emulator.data.dates import DAY, UTC, format_time
from vbc_source.emulator.data.people import draw_caller_name, draw_number

DIRECTIONS = ("INBOUND", "OUTBOUND", "INTRA_PBX")
MAX_DURATION = 3 * 3600 * 1000
BYTES_PER_MILLISECOND = 4

_EXTENSIONS = range(1001, 1025)
_RULES = (449, 1989, 2012, 2377, 3105)
_COMPANY_NUMBERS = (17325550100, 17325550101, 18485550102, 19085550103)
# Monday to Sunday. The sum is 7, so that the average day has the average volume.
_WEEKDAY_WEIGHTS = (1.3, 1.35, 1.3, 1.3, 1.15, 0.4, 0.2)
_HOUR_WEIGHTS = (
    0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.6, 2.0, 8.0, 11.0, 12.0, 11.0,
    8.0, 10.0, 11.0, 11.0, 9.0, 7.0, 2.5, 1.2, 0.8, 0.5, 0.3, 0.2,
)  # fmt: skip
_CUMULATIVE_HOUR_WEIGHTS = list(accumulate(_HOUR_WEIGHTS))
# Ids count tenths of a second since 2000, so that they do not depend on which calls were generated before.
_ID_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_IDS_PER_SECOND = 10


@dataclass(frozen=True, slots=True)
class Call:
    """A finished call.

    Attributes:
        start: Epoch seconds.
        visible_at: Epoch seconds from which its recording is listed.
        fields: The recording as the API shows it, without links.
    """

    start: int
    visible_at: float
    fields: dict[str, Any]


def draw_duration(rng: Random) -> int:
    """Draw a duration in milliseconds: a median of three minutes, in rare cases hours."""
    # long enough to appear behind hundreds of calls that began later, which a cursor alone would lose
    if rng.random() < 0.002:
        return int(rng.uniform(MAX_DURATION / 3, MAX_DURATION))
    return min(MAX_DURATION, max(2_000, int(rng.lognormvariate(math.log(180_000), 1.0))))


def _draw_inbound_caller(rng: Random, number: int) -> int | str:
    # The API returns numbers as numbers or as text, and "Anonymous".
    chance = rng.random()
    if chance < 0.05:
        return "Anonymous"
    return str(number) if chance < 0.12 else number


def _draw_parties(rng: Random) -> dict[str, Any]:
    chance = rng.random()
    company = _COMPANY_NUMBERS[int(rng.random() * len(_COMPANY_NUMBERS))]
    caller: int | str
    if chance < 0.6:
        caller, dnis, direction = _draw_inbound_caller(rng, draw_number(rng)), company, "INBOUND"
    elif chance < 0.9:
        caller, dnis, direction = company, draw_number(rng), "OUTBOUND"
    else:
        caller, dnis, direction = rng.choice(_EXTENSIONS), rng.choice(_EXTENSIONS), "INTRA_PBX"
    name = None if caller == "Anonymous" else draw_caller_name(rng)
    return {"call_direction": direction, "caller_id": caller, "cnam": name, "dnis": str(dnis)}


def draw_call_id(rng: Random) -> str:
    """Draw the id of a call."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _draw_extensions(rng: Random) -> list[int] | None:
    chance = rng.random()
    # Both null and an empty list occur in responses of the API.
    if chance < 0.04:
        return None if chance < 0.02 else []
    first = _EXTENSIONS[int(rng.random() * len(_EXTENSIONS))]
    if chance < 0.7:
        return [first]
    second = _EXTENSIONS[int(rng.random() * len(_EXTENSIONS))]
    return [first] if second == first else [first, second]


def _draw_rules(rng: Random) -> list[int] | None:
    chance = rng.random()
    if chance < 0.04:
        return None
    first = int(rng.random() * len(_RULES))
    count = 1 if chance < 0.65 else 2 if chance < 0.9 else 3
    return [_RULES[(first + index) % len(_RULES)] for index in range(count)]


def make_recording_fields(rng: Random, start: int, duration: int) -> dict[str, Any]:
    """Generate a recording.

    Args:
        rng: Source of random values.
        start: Epoch seconds.
        duration: Milliseconds.

    Returns:
        All fields but `id`, `_links` and `download_url`.
    """
    fields = _draw_parties(rng)
    fields["call_id"] = draw_call_id(rng)
    fields["duration"] = duration
    # null now and then, as in the API
    fields["end"] = None if rng.random() < 0.003 else format_time(start + duration // 1000)
    fields["extensions"] = _draw_extensions(rng)
    if rng.random() < 0.05:
        fields["extension"] = None  # the API can return it beside the list, null
    noise = rng.getrandbits(128)
    fields["file_name"] = f"730048.{noise >> 64}.{noise:032x}.{start * 1000 + duration}.mp3"
    fields["file_size_in_bytes"] = duration * BYTES_PER_MILLISECOND + 200 + (noise & 1023)
    fields["rule_ids"] = _draw_rules(rng)
    fields["start"] = format_time(start)
    return fields


def _draw_starts(rng: Random, day: int, count: int) -> list[int]:
    starts: list[int] = []
    for hour in rng.choices(range(24), cum_weights=_CUMULATIVE_HOUR_WEIGHTS, k=count):
        if starts and rng.random() < 0.02:
            starts.append(starts[-1])  # equal starts are common in a call centre, and a hard case for paging
        else:
            starts.append(day * DAY + hour * 3600 + int(rng.random() * 3600))
    return starts


def _make_generator(seed: int, day: int) -> Random:
    """Make a generator for each day: the calls of a day do not depend on how many days are generated."""
    return Random(f"{seed}/{day}")


def _draw_variation(rng: Random) -> tuple[float, float]:
    return rng.gauss(1, 0.08), rng.random()


# most days of a small company have no call, and their generators took most of the time of a gateway's start
@lru_cache(maxsize=1 << 16)
def _find_variation(seed: int, day: int) -> tuple[float, float]:
    return _draw_variation(_make_generator(seed, day))


def _draw_call_count(seed: int, day: int, rate: float) -> int:
    factor, chance = _find_variation(seed, day)
    mean = rate * _WEEKDAY_WEIGHTS[(day + 3) % 7] * factor  # 1 January 1970 was a Thursday
    return max(0, int(mean + chance))


def _make_day(seed: int, day: int, rate: float) -> list[Call]:
    """Generate the calls that start on one day, always the same for equal arguments.

    Args:
        seed: Seed of the company or user.
        day: Days since 1970, UTC.
        rate: Calls per day, averaged over a week.

    Returns:
        The calls in order of visibility, which is the order of their ids.
    """
    count = _draw_call_count(seed, day, rate)
    if not count:
        return []
    rng = _make_generator(seed, day)
    _draw_variation(rng)  # it has made the count
    drawn: list[tuple[float, int, int]] = []
    for start in _draw_starts(rng, day, count):
        duration = draw_duration(rng)
        drawn.append((start + duration / 1000 + rng.uniform(60, 600), start, duration))
    calls = []
    tick = 0
    for visible_at, start, duration in sorted(drawn):
        tick = max(tick + 1, int((visible_at - _ID_EPOCH) * _IDS_PER_SECOND))
        # Days alternate between even and odd ids: a long call can become visible among those of the next day.
        fields = {"id": tick * 2 + day % 2, **make_recording_fields(rng, start, duration)}
        calls.append(Call(start, _ID_EPOCH + tick / _IDS_PER_SECOND, fields))
    return calls


def generate_newest_calls(seed: int, count: int, days: int, until: float) -> Iterator[Call]:
    """Generate the newest calls before a moment, day by day backwards.

    Args:
        seed: Seed of the company or user.
        count: Number of calls.
        days: Number of days over which they are spread, on average.
        until: Epoch seconds; no call starts later.
    """
    day = int(until // DAY)
    rate = count / days
    while count > 0:
        if made := _make_day(seed, day, rate):
            calls = [call for call in made if call.start <= until]
            calls.sort(key=lambda call: -call.start)
            # the newest of the oldest day, so that exactly `count` are made
            yield from calls[:count]
            count -= len(calls)
        day -= 1
