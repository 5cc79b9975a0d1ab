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

_SPEC = re.compile(
    r"(?P<name>[a-z0-9-]+|latency-N)(?::(?P<form>xml|wrapped|flat))?(?:\*(?P<times>\d+|always))?"
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
    """

    name: str
    form: str = "wrapped"
    times: int | None = None
    number: int = 0


def parse_fault(spec: str) -> Fault:
    """Read ``NAME[:FORMAT][*TIMES]``.

    Raises:
        ValueError: It is not written like that, or there is no such fault.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(f"a fault is written NAME[:FORMAT][*TIMES], not {spec!r}")
    name, form, times = match["name"], match["form"] or "wrapped", match["times"]
    if name == "quota":
        return Fault(name, form, None, int(times) if times and times != "always" else DEFAULT_QUOTA)
    if numbered := _NUMBERED.fullmatch(name):
        return Fault(numbered[1], form, None, int(numbered[2]))
    if name not in FAULTS or name == "latency-N":
        raise ValueError(f"there is no fault {name!r}")
    if name not in ONE_OFFS or times == "always":
        return Fault(name, form)
    return Fault(name, form, int(times or 1))


class Faults:
    """The faults that are on, in the order in which they were switched on."""

    def __init__(
        self, specs: Iterable[str], clock: Callable[[], float], lock: AbstractContextManager[Any]
    ) -> None:
        """Switch faults on.

        Args:
            specs: Written ``NAME[:FORMAT][*TIMES]``.
            clock: Epoch seconds, for the quota.
            lock: Reentrant, held while faults are read or changed.
        """
        self._clock = clock
        self._lock = lock
        self._on: list[Fault] = [parse_fault(spec) for spec in specs]
        self._window = float("-inf")
        self._used = 0

    def add(self, spec: str) -> None:
        """Switch a fault on."""
        fault = parse_fault(spec)
        with self._lock:
            self._on.append(fault)

    def heal(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._on.clear()
            self._window = float("-inf")

    def find(self, name: str) -> Fault | None:
        """Look up a fault that is on, the one switched on last."""
        with self._lock:
            return next((fault for fault in reversed(self._on) if fault.name == name), None)

    def has(self, name: str) -> bool:
        """Tell whether a fault is on."""
        return self.find(name) is not None

    def take(self, names: Container[str]) -> Fault | None:
        """Let the first of these faults strike once."""
        with self._lock:
            for place, fault in enumerate(self._on):
                if fault.name in names:
                    self._use(place, fault)
                    return fault
            return None

    def spend_quota(self) -> float | None:
        """Count a request against the quota; return when requests are allowed again if it is used up."""
        fault = self.find("quota")
        if fault is None:
            return None
        with self._lock:
            now = self._clock()
            if now >= self._window + QUOTA_SECONDS:
                self._window, self._used = now, 0
            if self._used >= fault.number:
                return self._window + QUOTA_SECONDS
            self._used += 1
            return None

    def _use(self, place: int, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times > 1:
            self._on[place] = replace(fault, times=fault.times - 1)
        else:
            del self._on[place]
