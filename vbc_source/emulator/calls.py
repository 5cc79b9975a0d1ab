"""Invented calls: one from a start and a length, or a whole year of a call centre's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from random import Random
from typing import Any

from vbc_source.emulator.people import (
    COMPANY_NUMBERS,
    EXTENSIONS,
    pick_caller,
    pick_extensions,
    pick_name,
    pick_number,
    pick_rules,
)
from vbc_source.emulator.times import DAY, UTC, format_time

LONGEST = 3 * 3600 * 1000
BYTES_PER_MILLISECOND = 4

# Monday to Sunday; they add up to 7, so that the mean day has the mean volume.
_WEEKDAYS = (1.3, 1.35, 1.3, 1.3, 1.15, 0.4, 0.2)
_HOURS = (
    0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.6, 2.0, 8.0, 11.0, 12.0, 11.0,
    8.0, 10.0, 11.0, 11.0, 9.0, 7.0, 2.5, 1.2, 0.8, 0.5, 0.3, 0.2,
)  # fmt: skip
_HOUR_SUMS = list(accumulate(_HOURS))
# Ids count tenths of a second from here, so that they do not depend on which calls came before.
_FIRST_ID_TIME = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())
_SLOTS = 10


@dataclass(frozen=True, slots=True)
class Call:
    """A finished call.

    Attributes:
        start: When it began, epoch seconds.
        appears: When its recording can be listed, epoch seconds.
        fields: The recording as the API shows it, without links.
    """

    start: int
    appears: float
    fields: dict[str, Any]


def draw_duration(rng: Random) -> int:
    """Draw a length in milliseconds: three minutes in the middle, rarely hours."""
    if rng.random() < 0.002:
        return int(rng.uniform(LONGEST / 3, LONGEST))
    return min(LONGEST, max(2_000, int(rng.lognormvariate(math.log(180_000), 1.0))))


def _draw_parties(rng: Random) -> dict[str, Any]:
    chance = rng.random()
    company = COMPANY_NUMBERS[int(rng.random() * len(COMPANY_NUMBERS))]
    if chance < 0.6:
        caller, dnis, way = pick_caller(rng, pick_number(rng)), company, "INBOUND"
    elif chance < 0.9:
        caller, dnis, way = company, pick_number(rng), "OUTBOUND"
    else:
        caller, dnis, way = rng.choice(EXTENSIONS), rng.choice(EXTENSIONS), "INTRA_PBX"
    name = None if caller == "Anonymous" else pick_name(rng)
    return {"call_direction": way, "caller_id": caller, "cnam": name, "dnis": str(dnis)}


def _draw_call_id(rng: Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def make_fields(rng: Random, start: int, duration: int) -> dict[str, Any]:
    """Invent a recording.

    Args:
        rng: Where chance comes from.
        start: Epoch seconds.
        duration: Milliseconds.

    Returns:
        All fields but ``id``, ``_links`` and ``download_url``.
    """
    fields = _draw_parties(rng)
    fields["call_id"] = _draw_call_id(rng)
    fields["duration"] = duration
    fields["end"] = None if rng.random() < 0.003 else format_time(start + duration // 1000)
    fields["extensions"] = pick_extensions(rng)
    if rng.random() < 0.05:
        fields["extension"] = None
    noise = rng.getrandbits(128)
    fields["file_name"] = f"730048.{noise >> 64}.{noise:032x}.{start * 1000 + duration}.mp3"
    fields["file_size_in_bytes"] = duration * BYTES_PER_MILLISECOND + 200 + (noise & 1023)
    fields["rule_ids"] = pick_rules(rng)
    fields["start"] = format_time(start)
    return fields


def _draw_starts(rng: Random, day: int, count: int) -> list[int]:
    starts: list[int] = []
    for hour in rng.choices(range(24), cum_weights=_HOUR_SUMS, k=count):
        if starts and rng.random() < 0.02:
            starts.append(starts[-1])  # a call centre's lines often ring together
        else:
            starts.append(day * DAY + hour * 3600 + int(rng.random() * 3600))
    return starts


def _count_calls(rng: Random, day: int, rate: float) -> int:
    mean = rate * _WEEKDAYS[(day + 3) % 7] * rng.gauss(1, 0.08)  # 1 January 1970 was a Thursday
    return max(0, int(mean + rng.random()))


def make_day(seed: int, day: int, rate: float) -> list[Call]:
    """Invent the calls that begin on one day, the same ones for the same arguments.

    Args:
        seed: Of the whole company.
        day: Days since 1970, UTC.
        rate: Calls a day, averaged over a week.

    Returns:
        The calls in the order in which their recordings appear, which is the order of their ids.
    """
    rng = Random(f"{seed}/{day}")
    drawn: list[tuple[float, int, int]] = []
    for start in _draw_starts(rng, day, _count_calls(rng, day, rate)):
        duration = draw_duration(rng)
        drawn.append((start + duration / 1000 + rng.uniform(60, 600), start, duration))
    calls = []
    slot = 0
    for appears, start, duration in sorted(drawn):
        slot = max(slot + 1, int((appears - _FIRST_ID_TIME) * _SLOTS))
        # Even and odd ids take turns, as a long call may appear among the next day's.
        fields = {"id": slot * 2 + day % 2, **make_fields(rng, start, duration)}
        calls.append(Call(start, _FIRST_ID_TIME + slot / _SLOTS, fields))
    return calls


def newest_calls(seed: int, count: int, days: int, until: float) -> Iterator[Call]:
    """Invent the newest calls up to a moment, day by day backwards.

    Args:
        seed: Of the whole company.
        count: How many calls.
        days: The days over which that many are spread, on average.
        until: No call begins later; epoch seconds.
    """
    day = int(until // DAY)
    rate = count / days
    while count > 0:
        calls = [call for call in make_day(seed, day, rate) if call.start <= until]
        calls.sort(key=lambda call: -call.start)
        yield from calls[:count]
        count -= len(calls)
        day -= 1
