"""Windows of a list that do not add up: they are known gaps, and later runs read them again. Pure.

A gap is read again an hour after it was found, then after two, four and so on: ten times within three weeks.
After that it stays in state, and `vbc backfill` or a repair of VBC may close it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from vbc_source.windows import Window, format_instant, parse_instant

FIRST_WAIT, MOST_TRIES = timedelta(hours=1), 10


@dataclass(frozen=True, slots=True)
class KnownGap:
    """A window that was read and is not proven complete.

    Attributes:
        window: The span.
        tries: How often it was read because it was due.
        tried_at: When it was last read.
    """

    window: Window
    tries: int
    tried_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Whether it should be read again."""
        wait = FIRST_WAIT * 2 ** (self.tries - 1)
        return self.tries < MOST_TRIES and now - self.tried_at >= wait


def update_gaps(gaps: Iterable[KnownGap], window: Window, now: datetime, *, proven: bool) -> list[KnownGap]:
    """Return the gaps of a list after one of its windows was read."""
    touched = [gap for gap in gaps if gap.window.start < window.end and window.start < gap.window.end]
    left = [gap for gap in gaps if gap not in touched]
    for gap in touched:
        left += [replace(gap, window=rest) for rest in _subtract(gap.window, window)]
    if not proven:
        early = [gap for gap in touched if not gap.is_due(now)]
        # a run whose lookback contains the gap is no try: there may be ten such runs in an hour
        tries = max((gap.tries + gap.is_due(now) for gap in touched), default=1)
        left.append(KnownGap(window, tries, max((gap.tried_at for gap in early), default=now)))
    return _join(left)


def _subtract(gap: Window, window: Window) -> list[Window]:
    rest = []
    if gap.start < window.start:
        rest.append(Window(gap.start, window.start))
    if window.end < gap.end:
        rest.append(Window(window.end, gap.end))
    return rest


def _join(gaps: Iterable[KnownGap]) -> list[KnownGap]:
    """Join gaps that touch."""
    joined: list[KnownGap] = []
    for gap in sorted(gaps, key=lambda gap: gap.window):
        last = joined[-1] if joined else None
        if last is None or last.window.end < gap.window.start:
            joined.append(gap)
            continue
        window = Window(last.window.start, max(last.window.end, gap.window.end))
        joined[-1] = KnownGap(window, max(last.tries, gap.tries), max(last.tried_at, gap.tried_at))
    return joined


def read_gaps(stored: Sequence[dict[str, Any]]) -> list[KnownGap]:
    """Read gaps from state."""
    return [
        KnownGap(
            Window(parse_instant(gap["start"]), parse_instant(gap["end"])),
            int(gap["tries"]),
            parse_instant(gap["tried_at"]),
        )
        for gap in stored
    ]


def write_gaps(gaps: Iterable[KnownGap]) -> list[dict[str, Any]]:
    """Write gaps for state."""
    return [
        {
            "start": format_instant(gap.window.start),
            "end": format_instant(gap.window.end),
            "tries": gap.tries,
            "tried_at": format_instant(gap.tried_at),
        }
        for gap in gaps
    ]
