"""Invented recordings, encoded once, so that a page is a slice of bytes."""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from itertools import accumulate

ACCOUNT = "549825"
PREFIX = "/t/vbc.prod/call_recording/api"
DAYS = 700
HOUR, DAY = 3600, 86_400
FIRST_ID = 100_000_000

_ROW = (
    '{"_links":{"self":{"href":"%(root)s/accounts/%(account)s/company_call_recordings/%%d"}},'
    '"call_direction":"%%s","call_id":"%%s","caller_id":%%d,"cnam":"%%s","dnis":"%%d",'
    '"download_url":"%(root)s/audio/recording/%%d","duration":%%d,"end":"%%s","extensions":%%s,'
    '"file_name":"730048.%%d.%%032x.%%d.mp3","file_size_in_bytes":%%d,"id":%%d,"rule_ids":%%s,"start":"%%s"},'
)
_DIRECTIONS = ("INBOUND", "INBOUND", "INBOUND", "INBOUND", "OUTBOUND", "OUTBOUND", "OUTBOUND", "INTRA_PBX")
_NAMES = ("JOHN SMITH", "ADA LOVE", "WIRELESS CALLER", "ACME CORP", "MARY MILLER", "TOLL FREE", "KIM LEE")
_RULES = ("[1989]", "[1989,2012]", "[1989,2012,449]", "[449]", "[]")


@dataclass(frozen=True, slots=True)
class Recordings:
    """Recordings in ascending order of start.

    Attributes:
        body: The rows as JSON, each followed by a comma.
        offsets: Where each row starts in `body`, and the end.
        starts: The `start` of each, seconds since 1970.
        sizes: Size of each audio file, bytes.
    """

    body: bytes
    offsets: array[int]
    starts: array[int]
    sizes: array[int]

    def read_audio(self, recording_id: int) -> memoryview | None:
        """Return the audio file of a recording, or None."""
        row, rest = divmod(recording_id - FIRST_ID, 3)
        return _AUDIO[: self.sizes[row]] if not rest and 0 <= row < len(self.sizes) else None

    def select(self, first: int | None, last: int | None) -> tuple[int, int]:
        """Return the range of rows with `start` between two seconds, both included; None for no bound."""
        low = 0 if first is None else bisect_left(self.starts, first)
        high = len(self.starts) if last is None else bisect_right(self.starts, last)
        return low, max(low, high)

    def rows(self, low: int, high: int) -> memoryview:
        """Return the rows of a range, separated by commas."""
        return memoryview(self.body)[self.offsets[low] : self.offsets[high] - 1] if low < high else _NOTHING

    def rows_backwards(self, low: int, high: int) -> bytes:
        """Return the same rows, latest first."""
        body, offsets = self.body, self.offsets
        return b"".join(body[offsets[row] : offsets[row + 1]] for row in range(high - 1, low - 1, -1))[:-1]


_NOTHING = memoryview(b"")
# frames of 128 kbit/s at 44.1 kHz behind an empty tag, as `vbc audio` measures how long the sound is
_FRAMES, _FRAME_BYTES = 5_030, 417
_AUDIO = memoryview(
    b"ID3\x04"
    + bytes(6)
    + b"".join(
        b"\xff\xfb\x90\xc4" + sound
        for chance in [random.Random(0)]
        for sound in (chance.randbytes(_FRAME_BYTES - 4) for _ in range(_FRAMES))
    )
)


def invent(count: int, base_url: str, until: int, seed: int = 1) -> Recordings:
    """Invent recordings of the last 700 days, most of them in office hours.

    Args:
        count: Number of recordings.
        base_url: Prefix of the links.
        until: End of the newest hour, seconds since 1970.
        seed: Seed of the random numbers.
    """
    rng = random.Random(seed)
    starts = _draw_starts(rng, count, until)
    template = _ROW % {"root": base_url + PREFIX, "account": ACCOUNT}
    numbers = [
        15550100 + 10_000_000_000 + area * 10_000_000 + line
        for area in range(200, 260)
        for line in range(100)
    ]
    extensions = [f"[{1000 + number}]" for number in range(200)] + ["[1001,1002]"] * 10 + ["[]"] * 5
    body, offsets, sizes = bytearray(), array("q", [0]), array("q")
    for row, start in enumerate(starts):
        number, noise = FIRST_ID + row * 3, rng.getrandbits(128)
        seconds = 5 + noise % 600
        duration = seconds * 1000 + noise % 1000
        body += (
            template
            % (
                number,
                _DIRECTIONS[noise & 7],
                _make_call_id(noise),
                numbers[(noise >> 8) % len(numbers)],
                _NAMES[(noise >> 24) % len(_NAMES)],
                numbers[(noise >> 40) % len(numbers)],
                number,
                duration,
                _format(start + seconds),
                extensions[(noise >> 56) % len(extensions)],
                noise >> 64,
                noise,
                start * 1000,
                duration * 2,
                number,
                _RULES[(noise >> 72) % len(_RULES)],
                _format(start),
            )
        ).encode()
        offsets.append(len(body))
        sizes.append(duration * 2)
    return Recordings(bytes(body), offsets, starts, sizes)


def _draw_starts(rng: random.Random, count: int, until: int) -> array[int]:
    hours = range(until // HOUR - DAYS * 24, until // HOUR)
    sums = list(accumulate(_weigh_hour(hour) for hour in hours))
    drawn = rng.choices(hours, cum_weights=sums, k=count)
    return array("q", sorted(hour * HOUR + int(rng.random() * HOUR) for hour in drawn))


def _weigh_hour(hour: int) -> float:
    day, clock = divmod(hour, 24)
    busy = 1.0 if 8 <= clock < 18 else 0.1
    return busy * (0.2 if (day + 3) % 7 >= 5 else 1.0)  # 1 January 1970 was a Thursday


def _make_call_id(noise: int) -> str:
    text = f"{noise:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


@cache
def _name_day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY, timezone.utc):%Y-%m-%d}"


def _format(seconds: int) -> str:
    day, clock = divmod(seconds, DAY)
    minutes, second = divmod(clock, 60)
    return f"{_name_day(day)}T{minutes // 60:02}:{minutes % 60:02}:{second:02}+0000"
