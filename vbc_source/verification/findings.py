"""What a comparison of all lists has found. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from vbc_source.recordings import RecordingType


@dataclass(frozen=True, slots=True)
class DifferingSpan:
    """A span in which VBC and the destination differ, or differed.

    Attributes:
        account_id: whose list it is.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        start: the span's first second.
        end: its last second.
        api: how many recordings VBC has.
        loaded: how many are loaded.
        archived: of them, whose audio is stored.
        tombstoned: of them, what was known to be gone.
        missing: at VBC, and not loaded.
        gone: loaded, and not at VBC.
        returned: tombstoned, and at VBC again.
        recent: whether every sync reads it again, so that what is missing only waits for the next one.
        repaired: whether this run put it right.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    start: datetime
    end: datetime
    api: int
    loaded: int
    archived: int
    tombstoned: int
    missing: int
    gone: int
    returned: int
    recent: bool
    repaired: bool = False


@dataclass(slots=True)
class ListTotal:
    """What one list has as a whole.

    Attributes:
        account_id: whose list it is.
        recording_type: `company` or `user`.
        user_id: empty for the company's.
        api: how many recordings VBC has.
        loaded: how many are loaded.
        archived: of them, whose audio is stored.
        tombstoned: of them, what is known to be gone.
        without_audio: neither archived nor gone.
        agrees: whether both sides agree, after what was repaired.
        unread: why VBC could not be asked; empty where it could.
    """

    account_id: str
    recording_type: RecordingType
    user_id: str
    api: int | None
    loaded: int
    archived: int
    tombstoned: int
    without_audio: int
    agrees: bool
    unread: str = ""


@dataclass(slots=True)
class ComparisonResult:
    """What a survey has found.

    Attributes:
        spans: what differs.
        totals: of all lists.
        loaded: how many recordings were loaded.
        tombstoned: how many were found to be gone.
        returned: how many were found to be back.
        unconfirmed: how many are not listed, and could not be shown to be gone.
    """

    spans: list[DifferingSpan] = field(default_factory=list)
    totals: list[ListTotal] = field(default_factory=list)
    loaded: int = 0
    tombstoned: int = 0
    returned: int = 0
    unconfirmed: int = 0
