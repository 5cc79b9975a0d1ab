"""Describe the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> list[str]:
    """Return lines on processor, memory, system, and the load before the run."""
    return [
        f"processor: {os.cpu_count()} cores, {_read('/proc/cpuinfo', 'model name') or platform.processor()}",
        f"memory: {_read_memory():.0f} GB",
        f"system: {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"load before the run: {os.getloadavg()[0]:.1f}",
    ]


def _read(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _read_memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
