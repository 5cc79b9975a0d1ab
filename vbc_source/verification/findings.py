"""Results of a verification. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from vbc_source.errors import VbcError
from vbc_source.verification.inventory import ListKind
from vbc_source.verification.lateness import Lateness
from vbc_source.verification.report import format_report
from vbc_source.warehouse.completeness import Gap


@dataclass(frozen=True, slots=True)
class DifferingSpan:
    """A span of one list in which VBC and the destination differ, or differed before the repair.

    Attributes:
        account_id: The list's account.
        recording_type: `company`, `user`, or `call_logs`.
        user_id: The list's user; empty for the company's.
        start: First second of the span.
        end: Last second of the span.
        api: Recordings at VBC.
        loaded: Recordings loaded.
        archived: Loaded recordings whose audio is archived.
        tombstoned: Loaded recordings that were known to be gone.
        missing: Recordings at VBC that are not loaded.
        gone: Loaded recordings that VBC does not list.
        returned: Tombstoned recordings that VBC lists again.
        recent: Whether every sync reads the span again, so that the next one loads what is missing.
        repaired: Whether this run repaired it.
        known_gap: Whether VBC counts other recordings than it lists, so that nothing can be compared.
    """

    account_id: str
    recording_type: ListKind
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
    known_gap: bool = False


@dataclass(frozen=True, slots=True)
class ListTotal:
    """Counts of one list as a whole.

    Attributes:
        account_id: The list's account.
        recording_type: `company`, `user`, or `call_logs`.
        user_id: The list's user; empty for the company's.
        api: Recordings at VBC; None where the list could not be read.
        loaded: Recordings loaded.
        archived: Loaded recordings whose audio is archived.
        tombstoned: Loaded recordings that are known to be gone.
        without_audio: Loaded recordings that are neither archived nor gone, nor deleted in the archive.
        agrees: Whether both sides agree, after repairs.
        unread: Why the list could not be read; empty where it could.
    """

    account_id: str
    recording_type: ListKind
    user_id: str
    api: int | None
    loaded: int
    archived: int
    tombstoned: int
    without_audio: int
    agrees: bool
    unread: str = ""


@dataclass(slots=True)
class Findings:
    """Collects what is found and repaired while lists are compared; named as in `VerifyResult`."""

    spans: list[DifferingSpan] = field(default_factory=list)
    totals: list[ListTotal] = field(default_factory=list)
    loaded: int = 0
    tombstoned: int = 0
    unconfirmed: int = 0
    fault: VbcError | None = None  # the first that kept a list from being compared

    def check_compared(self) -> None:
        """Raise the first fault where no list could be compared."""
        if self.fault and all(total.api is None for total in self.totals):
            raise self.fault


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """Result of a verification.

    Attributes:
        ok: Whether both sides agree, after repairs.
        since: Oldest `start` that was compared.
        until: Newest `start` of `compared`; newer recordings are compared too where some are loaded.
        compared: Recordings at VBC in that span, in all lists that could be read.
        missing: Recordings at VBC that were not loaded and that no sync would load.
        gone: Loaded recordings that VBC does not list.
        returned: Tombstoned recordings that VBC lists again.
        waiting: Recent recordings that the next sync loads.
        known_gaps: Spans in which VBC counts other recordings than it lists.
        loaded: Recordings that this run loaded.
        tombstoned: Recordings that this run marked as gone.
        unconfirmed: Recordings that VBC does not list and whose deletion was not confirmed.
        spans: Spans that differ, or differed before the repair.
        totals: Counts of each list.
        left_out: Tables that were never loaded and are not compared.
        without_audio: Recordings without archived audio; None where nothing is archived.
        gaps: Settled spans that are not proven complete.
        lateness: How late recordings arrive; None while that is not known.
        lookback_hours: The setting, to compare with `lateness`.
        rest_hours: How long the list of a quiet user may wait between two syncs, hours; 0 where none waits.
        oldest_read: When the user's list was last read that has waited longest; None where none waits.
        requests: Requests to the gateway, with a login where no token was cached.
        seconds: Duration.
    """

    ok: bool
    since: datetime
    until: datetime
    compared: int = 0
    missing: int = 0
    gone: int = 0
    returned: int = 0
    waiting: int = 0
    known_gaps: int = 0
    loaded: int = 0
    tombstoned: int = 0
    unconfirmed: int = 0
    spans: tuple[DifferingSpan, ...] = ()
    totals: tuple[ListTotal, ...] = ()
    left_out: tuple[str, ...] = ()
    without_audio: int | None = None
    gaps: tuple[Gap, ...] = ()
    lateness: Lateness | None = None
    lookback_hours: float = 0.0
    rest_hours: float = 0.0
    oldest_read: datetime | None = None
    requests: int = 0
    seconds: float = 0.0

    def summary(self) -> list[str]:
        """Describe the result in lines for people."""
        return list(format_report(self))
