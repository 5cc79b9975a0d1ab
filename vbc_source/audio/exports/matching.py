"""Whose file a member of an export is: by its name, its size and its time. Pure.

A name is proof where it is one recording's alone. Where the loaded names are hashed, the member's is
hashed likewise; where there are none, the recording's id or the time in the member's name must stand in.
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

ZONES = timedelta(days=1)  # a zip's times have no zone
EARLY, LATE = timedelta(minutes=1), timedelta(hours=1)  # how far a name's time is from the call
_MILLISECONDS = re.compile(r"(?:^|\.)(\d{13})\.[A-Za-z0-9]+$")


@dataclass(frozen=True, slots=True)
class LoadedRecording:
    """A loaded recording that a file may belong to.

    Attributes:
        recording: itself.
        file_name: as loaded: plain, hashed, or None.
        end: when the call ended, or None.
        stored: the key and the size in bytes of its file, where the ledger says that it is stored.
    """

    recording: Recording
    file_name: str | None
    end: datetime | None = None
    stored: tuple[str, int] | None = None


class MemberMatcher:
    """Tells whose file a member is.

    Args:
        candidates: the recordings it may be.
        privacy: how the loaded names were hidden.
    """

    def __init__(self, candidates: Iterable[LoadedRecording], privacy: PiiPolicy) -> None:
        self._privacy = privacy
        self._named: defaultdict[str, list[LoadedRecording]] = defaultdict(list)
        self._nameless: defaultdict[int, list[LoadedRecording]] = defaultdict(list)
        for candidate in candidates:
            if candidate.file_name:
                self._named[candidate.file_name].append(candidate)
            elif candidate.recording.size_bytes is not None:
                self._nameless[candidate.recording.size_bytes].append(candidate)

    def find(self, name: str, size: int, modified: datetime | None) -> LoadedRecording | None:
        """Find the recording of a member; None where there is none, or more than one.

        Args:
            name: of the member, without folders.
            size: of the member, bytes.
            modified: when it was made, in whatever zone, or None.
        """
        named = [one for known in hide_name(name, self._privacy) for one in self._named.get(known, ())]
        if named:
            fits = [one for one in named if one.recording.size_bytes in (None, size)]
            exact = [one for one in fits if one.recording.size_bytes == size]
            found = exact or fits
        else:
            found = [one for one in self._nameless.get(size, ()) if _says(name, one)]
        found = [one for one in found if _is_late_enough(modified, one)]
        return found[0] if len(found) == 1 else None


def hide_name(name: str, privacy: PiiPolicy) -> list[str]:
    """The ways in which a name may be loaded: as it is, from before names were hidden, and hidden."""
    hidden = privacy.hide(name)
    return list(dict.fromkeys([name, *([hidden] if hidden else [])]))


def _is_late_enough(modified: datetime | None, candidate: LoadedRecording) -> bool:
    """No file is older than its call."""
    return modified is None or modified.replace(tzinfo=timezone.utc) + ZONES >= candidate.recording.start


def _says(name: str, candidate: LoadedRecording) -> bool:
    """Whether a member's name tells the recording's id, or a time at the end of the call."""
    if PurePosixPath(name).stem == str(candidate.recording.recording_id):
        return True
    found = _MILLISECONDS.search(name)
    if not found or candidate.end is None:
        return False
    moment = datetime.fromtimestamp(int(found[1]) / 1000, timezone.utc)
    return candidate.recording.start - EARLY <= moment <= candidate.end + LATE
