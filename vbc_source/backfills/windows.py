"""The windows of a backfill, and what is recorded of each. Pure.

Windows are half open here, unlike the API's: a window owns what starts before its end, and what starts at the
end belongs to its neighbour. So two windows that are loaded at the same time never write the same row.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TypedDict

from vbc_source.windows import SECOND, Window, floor_second, format_instant, read_instant


class WindowTask(TypedDict):
    """A window to load, as JSON.

    Attributes:
        key: A short name, the same for the same window.
        start: Its first instant, ISO.
        end: The instant behind its last, ISO.
        resources: Which resources to read.
    """

    key: str
    start: str
    end: str
    resources: list[str]


class WindowResult(WindowTask):
    """A loaded window, as JSON.

    Attributes:
        rows: Rows of the window by resource.
        requests: List requests sent.
        seconds: How long it took.
    """

    rows: dict[str, int]
    requests: int
    seconds: float


def cut_windows(start: datetime, end: datetime, now: datetime, days: float) -> list[Window]:
    """Cut a span, including its last second, into windows of so many days; nothing later than now."""
    first, last = floor_second(start), min(floor_second(end) + SECOND, floor_second(now))
    windows = []
    while first < last:
        cut = min(first + timedelta(days=days), last)
        windows.append(Window(first, cut))
        first = cut
    return windows


def window_key(window: Window) -> str:
    """Return a short name, the same for the same window; fit to be part of a dataset's name."""
    return f"{window.start:%Y%m%d}_{hashlib.sha256(str(window).encode()).hexdigest()[:8]}"


def make_task(window: Window, resources: list[str]) -> WindowTask:
    """Make the task of loading a window."""
    start, end = format_instant(window.start), format_instant(window.end)
    return WindowTask(key=window_key(window), start=start, end=end, resources=resources)


def window_of(task: WindowTask) -> Window:
    """Return the window of a task."""
    return Window(read_instant(task["start"]), read_instant(task["end"]))
