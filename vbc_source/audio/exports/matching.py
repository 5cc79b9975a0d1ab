"""Match the members of a zip to loaded recordings, by name, size and time. Pure.

A name that only one recording has is sufficient. Where loaded names are hashed, the member's name is hashed
likewise. Where no names are loaded, the recording's id or the time in the member's name must agree.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath

from vbc_source.pii import PiiPolicy
from vbc_source.recordings import Recording

ZONE_TOLERANCE = timedelta(days=1)  # the times in a zip have no time zone
# how far the time in a name may be before the start, or after the end, of the call
EARLY_TOLERANCE, LATE_TOLERANCE = timedelta(minutes=1), timedelta(hours=1)
# a name ends with the milliseconds of a moment: `730048.….1463122442148.mp3` in the reference
_MILLISECONDS = re.compile(r"(?:^|\.)(\d{13})\.[A-Za-z0-9]+$")


@dataclass(frozen=True, slots=True)
class LoadedRecording:
    """A loaded recording that a file may belong to.

    `stored` is key and size in bytes of its file, if the ledger records one; `erased`, whether that file was
    deleted from the archive on purpose.
    """

    recording: Recording
    file_name: str | None
    end: datetime | None = None
    stored: tuple[str, int] | None = None
    erased: bool = False


class MemberMatcher:
    """Finds the recording of a member. `pii` tells how file names were loaded."""

    def __init__(self, candidates: Iterable[LoadedRecording], pii: PiiPolicy) -> None:
        self._pii = pii
        self._by_name: defaultdict[str, list[LoadedRecording]] = defaultdict(list)
        self._unnamed_by_size: defaultdict[int, list[LoadedRecording]] = defaultdict(list)
        for candidate in candidates:
            if candidate.file_name:
                self._by_name[candidate.file_name].append(candidate)
            elif candidate.recording.size_bytes is not None:
                self._unnamed_by_size[candidate.recording.size_bytes].append(candidate)

    def find(self, name: str, size: int, modified: datetime | None) -> LoadedRecording | None:
        """Return the recording of a member; None if there is none, or more than one."""
        matches = [
            match for loaded in list_loaded_names(name, self._pii) for match in self._by_name.get(loaded, ())
        ]
        if matches:
            fitting = [match for match in matches if match.recording.size_bytes in (None, size)]
            # a size that agrees counts more than one that the API did not report
            exact = [match for match in fitting if match.recording.size_bytes == size]
            matches = exact or fitting
        else:
            unnamed = self._unnamed_by_size.get(size, ())
            matches = [match for match in unnamed if _has_id_or_time(name, match)]
        matches = [match for match in matches if _is_not_older(modified, match)]
        return matches[0] if len(matches) == 1 else None


def list_loaded_names(name: str, pii: PiiPolicy) -> list[str]:
    """Return the forms in which a name may be loaded: plain, from before names were hashed, and hashed."""
    hidden = pii.hide(name)
    return list(dict.fromkeys([name, *([hidden] if hidden else [])]))


def _is_not_older(modified: datetime | None, candidate: LoadedRecording) -> bool:
    """Return whether a file may be of a call: it is never older."""
    if modified is None:
        return True
    return modified.replace(tzinfo=timezone.utc) + ZONE_TOLERANCE >= candidate.recording.start


def _has_id_or_time(name: str, candidate: LoadedRecording) -> bool:
    """Return whether a member's name contains the recording's id, or a time at the end of the call."""
    if PurePosixPath(name).stem == str(candidate.recording.recording_id):
        return True
    match = _MILLISECONDS.search(name)
    if not match or candidate.end is None:
        return False
    moment = datetime.fromtimestamp(int(match[1]) / 1000, timezone.utc)
    return candidate.recording.start - EARLY_TOLERANCE <= moment <= candidate.end + LATE_TOLERANCE
