"""Faults that are currently switched on."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from vbc_source.emulator.faults.catalogue import FAULTS, ONE_TIME

DEFAULT_QUOTA = 10
QUOTA_SECONDS = 60

SYNTAX = "NAME[:FORMAT][*TIMES][@TEXT]"
_SPEC = re.compile(
    r"(?P<name>[a-z0-9-]+|latency-N)(?::(?P<format>xml|wrapped|flat))?"
    r"(?:\*(?P<times>\d+|always))?(?:@(?P<path_part>.+))?"
)
_NUMBERED = re.compile(r"(latency|cap|cap-quiet)-(\d+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is switched on.

    Attributes:
        name: Name in the catalogue, without the number of a numbered fault.
        format: Format of gateway faults: xml, wrapped or flat.
        times: Number of requests that it still affects; None for all.
        number: Number in its name, or the quota.
        path_part: Text that the path of a request must contain; empty for all requests.
    """

    name: str
    format: str = "wrapped"
    times: int | None = None
    number: int = 0
    path_part: str = ""


def parse_fault(spec: str) -> Fault:
    """Parse `NAME[:FORMAT][*TIMES][@TEXT]`.

    Args:
        spec: FORMAT is the format of a gateway fault: `xml`, `wrapped` (the default) or `flat`.
            TIMES is how many requests a one-time fault affects, a number or `always`, 1 by default;
            for `quota` it is the quota; other faults ignore it. With TEXT only requests whose path
            contains it are affected: `unsubscribed*always@/provisioning/`, `suspended*3@/users/17/`.

    Raises:
        ValueError: The syntax or the name is unknown.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"invalid fault {spec!r}: the syntax is {SYNTAX}")
    name, times, path_part = match["name"], match["times"], match["path_part"] or ""
    form = match["format"] or "wrapped"
    if name == "quota":
        quota = int(times) if times and times != "always" else DEFAULT_QUOTA
        return Fault(name, form, None, quota, path_part)
    if numbered := _NUMBERED.fullmatch(name):
        return Fault(numbered[1], form, None, int(numbered[2]), path_part)
    # `latency-N` is how the catalogue writes a fault of any number
    if name not in FAULTS or name == "latency-N":
        raise ValueError(f"unknown fault {name!r}")
    if name not in ONE_TIME or times == "always":
        return Fault(name, form, path_part=path_part)
    return Fault(name, form, int(times or 1), path_part=path_part)


class ActiveFaults:
    """Faults that are switched on, oldest first. Thread-safe."""

    def __init__(
        self, specs: Iterable[str], clock: Callable[[], float], lock: AbstractContextManager[Any]
    ) -> None:
        """Switch faults on.

        Args:
            specs: Faults in the syntax of `parse_fault`.
            clock: Returns epoch seconds, for the quota.
            lock: Reentrant lock, held while faults are read or changed.
        """
        self._clock = clock
        self._lock = lock
        self._active: list[Fault] = [parse_fault(spec) for spec in specs]
        self._quota_use: dict[Fault, tuple[float, int]] = {}

    def add(self, spec: str) -> None:
        """Switch a fault on."""
        fault = parse_fault(spec)
        with self._lock:
            self._active.append(fault)

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._active.clear()
            self._quota_use.clear()

    def find(self, name: str, path: str) -> Fault | None:
        """Look up an active fault for a path, the newest first, without using it up."""
        with self._lock:
            # The newest first: a test can override a behaviour without switching the old one off.
            matches = (
                fault for fault in reversed(self._active) if fault.name == name and fault.path_part in path
            )
            return next(matches, None)

    def has(self, name: str, path: str) -> bool:
        """Check whether a fault is active for a path."""
        return self.find(name, path) is not None

    def take(self, names: Container[str], path: str) -> Fault | None:
        """Look up the oldest of these faults that is active for a path, and use it once."""
        with self._lock:
            # in the order in which they were switched on, so that a test can plan a sequence of faults
            for index, fault in enumerate(self._active):
                if fault.name in names and fault.path_part in path:
                    self._use(index, fault)
                    return fault
            return None

    def use_quota(self, path: str) -> tuple[Fault, float] | None:
        """Count a request against the quota.

        Returns:
            None, or if the quota is exceeded: its fault, and epoch seconds when requests are allowed again.
        """
        with self._lock:
            fault = self.find("quota", path)
            if fault is None:
                return None
            now = self._clock()
            # A fixed window, which starts with the first request after the previous window.
            start, used = self._quota_use.get(fault, (float("-inf"), 0))
            if now >= start + QUOTA_SECONDS:
                start, used = now, 0
            if used >= fault.number:
                return fault, start + QUOTA_SECONDS
            self._quota_use[fault] = (start, used + 1)
            return None

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times > 1:
            self._active[index] = replace(fault, times=fault.times - 1)
        else:
            del self._active[index]
