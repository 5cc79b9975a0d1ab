"""The fixture server as a separate process."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.environments import ROOT


class Fixture:
    """Serve recordings during a `with` block.

    Args:
        rows: Number of recordings.
        quiet_hours: Age of the newest recording, hours.
    """

    def __init__(self, rows: int, quiet_hours: int = 0) -> None:
        self._command = [sys.executable, "-m", "benchmarks.server", "--rows", str(rows)]
        self._command += ["--quiet-hours", str(quiet_hours)]
        self.rows = rows
        self.url = ""

    def __enter__(self) -> Fixture:
        """Start the server; return when it answers."""
        self._server = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.url = self._server.stdout.readline().strip() if self._server.stdout else ""
        if not self.url:
            raise RuntimeError("the fixture server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._server.terminate()
        self._server.wait()

    def set(self, cap: int, delay: float, per_minute: int) -> None:
        """Set the largest page, the latency in seconds and the quota; reset the counters."""
        self._get("/control?" + urlencode({"cap": cap, "delay": delay, "per_minute": per_minute}))

    def take_stats(self) -> dict[str, int]:
        """Return the counters since the last reset, and reset them."""
        stats: dict[str, int] = self._get("/stats")
        return stats

    def _get(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)
