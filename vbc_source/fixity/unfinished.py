"""Remember that a run has begun, so that the next one continues it after a kill."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from vbc_source.private_files import write_private_file

LONGEST_PAUSE = timedelta(days=7)  # what was checked before is checked again after it


class UnfinishedRun:
    """A file that is there while a run is not complete; one with other options is another run."""

    def __init__(self, path: Path, options: str) -> None:
        self._path, self._options = path, hashlib.sha256(options.encode()).hexdigest()

    def begin(self, now: datetime) -> datetime:
        """Return when the run began that is not complete: `now`, or earlier where it was interrupted."""
        if began := self._read(now):
            return began
        write_private_file(self._path, json.dumps({"began": now.isoformat(), "options": self._options}))
        return now

    def finish(self) -> None:
        """Record that the run is complete."""
        self._path.unlink(missing_ok=True)

    def _read(self, now: datetime) -> datetime | None:
        # what cannot be read is no unfinished run: then everything is checked again
        with suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads(self._path.read_text())
            began = datetime.fromisoformat(content["began"])
            # one that begins in the future was begun with a wrong clock
            if content["options"] == self._options and timedelta() <= now - began <= LONGEST_PAUSE:
                return began
        return None
