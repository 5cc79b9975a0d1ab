"""Which spans of calls may be judged: those in which every list is proven complete.

A call whose recording may still come, or may be there and not loaded, is not missing. Proofs end a lookback
before their reading, so that this is the grace for recordings and logs that come late, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from vbc_source.config import CALL_LOGS_TABLE, SELF
from vbc_source.warehouse.completeness import ProvenSpans, RecordingList
from vbc_source.windows import Window

JudgedSpans = Mapping[str, Sequence[Window]]


def find_judged_spans(proven: ProvenSpans, recordings: Sequence[RecordingList]) -> dict[str, list[Window]]:
    """Return, by account, the spans in which call logs and recordings are proven complete.

    Args:
        proven: The proven spans of all lists, by real ids.
        recordings: The lists of recordings that are read; ids may be `self`. Calls of an account without
            one are not judged: others may load its recordings.
    """
    judged: dict[str, list[Window]] = {}
    for logs, spans in proven.items():
        if logs.resource != CALL_LOGS_TABLE:
            continue
        # a call may be recorded in any list of its account, so that all of them have to be proven
        read = [item for item in recordings if item.account in (SELF, logs.account)]
        found = (_find_proven(item, logs.account, proven) for item in read)
        judged[logs.account] = reduce(_intersect, found, list(spans)) if read else []
    return judged


def _find_proven(item: RecordingList, account: str, proven: ProvenSpans) -> list[Window]:
    own = RecordingList(item.resource, account, item.user)
    return sorted(span for known, spans in proven.items() if own.matches(known) for span in spans)


def _intersect(first: Iterable[Window], second: Sequence[Window]) -> list[Window]:
    return [
        Window(max(one.start, other.start), min(one.end, other.end))
        for one in first
        for other in second
        if max(one.start, other.start) < min(one.end, other.end)
    ]
