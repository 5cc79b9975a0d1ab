"""Which part of the archive one run checks: a share of its files, or a number of bytes. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from vbc_source.errors import UsageError

T = TypeVar("T")

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_FORM = re.compile(r"(?:(\d+)/(\d+)|(\d+(?:\.\d+)?)\s*(%|[KMGT]?B))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many files and bytes a run may read; None is no limit."""

    files: int | None = None
    size_bytes: int | None = None

    def less(self, files: int, size: int) -> Limit:
        """Return what is left after so many files and bytes."""
        return Limit(
            None if self.files is None else max(self.files - files, 0),
            None if self.size_bytes is None else max(self.size_bytes - size, 0),
        )

    def take(self, items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[T]:
        """Yield items until the limit is reached; the first one also where it is larger than the limit."""
        files, size = 0, 0
        if 0 in (self.files, self.size_bytes):
            return
        for item in items:
            files, size = files + 1, size + size_of(item)
            if self.size_bytes is not None and size > self.size_bytes and files > 1:
                return
            yield item
            if files == self.files:
                return


@dataclass(frozen=True, slots=True)
class Subset:
    """A share of the files, or a number of bytes; all files if both are None."""

    share: Fraction | None = None
    size_bytes: int | None = None

    def limit(self, files: int) -> Limit:
        """Return what a run may read of an archive of so many files."""
        # rounded up: after thirty runs of 1/30 every file was read
        return Limit(None if self.share is None else math.ceil(files * self.share), self.size_bytes)


def parse_subset(text: str | None) -> Subset:
    """Parse `1/30`, `5%` or `10GB`; None is all.

    Raises:
        UsageError: It is none of them, nothing, or more than all.
    """
    if text is None:
        return Subset()
    match = _FORM.fullmatch(text.strip())
    if match and match[1]:
        share = Fraction(int(match[1]), int(match[2])) if int(match[2]) else Fraction(0)
    elif match and match[4] == "%":
        # exact, as it is rounded up: a float could make it one file more
        share = Fraction(match[3]) / 100
    elif match and (size := int(Fraction(match[3]) * _UNITS[match[4].upper()])):
        return Subset(size_bytes=size)
    else:
        share = Fraction(0)
    if not 0 < share <= 1:
        raise UsageError(f"--subset must be a share such as 1/30 or 5%, or a size such as 10GB, not {text!r}")
    return Subset(share)
