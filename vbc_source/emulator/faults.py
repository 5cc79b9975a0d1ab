"""Which faults are on."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from vbc_source.emulator.catalogue import FAULTS, ONE_OFFS

DEFAULT_QUOTA = 10
QUOTA_SECONDS = 60

GRAMMAR = "NAME[:FORMAT][*TIMES][@TEXT]"
_SPEC = re.compile(
    r"(?P<name>[a-z0-9-]+|latency-N)(?::(?P<form>xml|wrapped|flat))?"
    r"(?:\*(?P<times>\d+|always))?(?:@(?P<place>.+))?"
)
_NUMBERED = re.compile(r"(latency|cap|cap-quiet)-(\d+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that is on.

    Attributes:
        name: As in the catalogue; of numbered ones without the number.
        form: How gateway faults are written: xml, wrapped or flat.
        times: How often it will strike; None for ever.
        number: The number in its name, or the quota.
        place: What the path of a request contains that it strikes; every path contains nothing.
    """

    name: str
    form: str = "wrapped"
    times: int | None = None
    number: int = 0
    place: str = ""


def parse_fault(spec: str) -> Fault:
    """Read ``NAME[:FORMAT][*TIMES][@TEXT]``.

    FORMAT is how gateway faults are written: ``xml``, ``wrapped`` (the default) or ``flat``. TIMES is
    how often a fault strikes that strikes once when not told, a number or ``always``; of ``quota`` it
    is the quota; what stays anyway has no use for it. With TEXT only requests whose path contains it
    are struck: ``unsubscribed*always@/provisioning/``, ``suspended*3@/users/17/``.

    Raises:
        ValueError: It is not written like that, or there is no such fault.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"a fault is written {GRAMMAR}, not {spec!r}")
    name, form, times, place = match["name"], match["form"] or "wrapped", match["times"], match["place"] or ""
    if name == "quota":
        quota = int(times) if times and times != "always" else DEFAULT_QUOTA
        return Fault(name, form, None, quota, place)
    if numbered := _NUMBERED.fullmatch(name):
        return Fault(numbered[1], form, None, int(numbered[2]), place)
    if name not in FAULTS or name == "latency-N":
        raise ValueError(f"there is no fault {name!r}")
    if name not in ONE_OFFS or times == "always":
        return Fault(name, form, place=place)
    return Fault(name, form, int(times or 1), place=place)


class Faults:
    """The faults that are on, in the order in which they were switched on."""

    def __init__(
        self, specs: Iterable[str], clock: Callable[[], float], lock: AbstractContextManager[Any]
    ) -> None:
        """Switch faults on.

        Args:
            specs: As ``parse_fault`` reads them.
            clock: Epoch seconds, for the quota.
            lock: Reentrant, held while faults are read or changed.
        """
        self._clock = clock
        self._lock = lock
        self._on: list[Fault] = [parse_fault(spec) for spec in specs]
        self._windows: dict[Fault, tuple[float, int]] = {}

    def add(self, spec: str) -> None:
        """Switch a fault on."""
        fault = parse_fault(spec)
        with self._lock:
            self._on.append(fault)

    def heal(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._on.clear()
            self._windows.clear()

    def find(self, name: str, path: str) -> Fault | None:
        """Look up a fault that is on for a path, the one switched on last."""
        with self._lock:
            on = (fault for fault in reversed(self._on) if fault.name == name and fault.place in path)
            return next(on, None)

    def has(self, name: str, path: str) -> bool:
        """Tell whether a fault is on for a path."""
        return self.find(name, path) is not None

    def take(self, names: Container[str], path: str) -> Fault | None:
        """Let the first of these faults that is on for a path strike once."""
        with self._lock:
            for index, fault in enumerate(self._on):
                if fault.name in names and fault.place in path:
                    self._use(index, fault)
                    return fault
            return None

    def spend_quota(self, path: str) -> tuple[Fault, float] | None:
        """Count a request against the quota.

        Returns:
            When it is used up, the quota and when requests are allowed again.
        """
        with self._lock:
            fault = self.find("quota", path)
            if fault is None:
                return None
            now = self._clock()
            begun, used = self._windows.get(fault, (float("-inf"), 0))
            if now >= begun + QUOTA_SECONDS:
                begun, used = now, 0
            if used >= fault.number:
                return fault, begun + QUOTA_SECONDS
            self._windows[fault] = (begun, used + 1)
            return None

    def _use(self, index: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times > 1:
            self._on[index] = replace(fault, times=fault.times - 1)
        else:
            del self._on[index]
