"""Which spans of a list were never proven complete: what the windows in `scan_windows` leave between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from vbc_source.api.endpoints import Endpoint
from vbc_source.extract.lists import ListOwner
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.windows import SECOND, Window

PROOFS = "scan_windows"
_LISTS = "account_id, whose"

Write = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of a list that no run has read and proven complete.

    Attributes:
        account_id: whose list it is.
        resource: of which sort.
        user_id: empty for the company's.
        start: the gap's first second.
        end: its last second.
    """

    account_id: str
    resource: str
    user_id: str
    start: datetime
    end: datetime


def find_gaps(
    loaded: LoadedTables, endpoint: Endpoint, label: str, window: Window, places: Iterable[ListOwner]
) -> Iterator[Gap]:
    """Give the gaps of lists within a span.

    Args:
        loaded: what the destination holds.
        endpoint: of which sort of lists.
        label: of the filters; what was read without any is proven with them, too.
        window: the span.
        places: the lists.

    Raises:
        VbcError: the destination could not be asked.
    """
    has_proofs = bool(loaded.find(PROOFS))
    inner = _read(loaded, _write_inner, endpoint, label, window) if has_proofs else {}
    edges = _read(loaded, _write_edges, endpoint, label, window) if has_proofs else {}
    for place in places:
        ends = edges.get(place)
        spans = inner.get(place, [])
        if ends:
            spans = [(window.start, ends[0][0]), *spans, (ends[0][1], window.end)]
        else:
            spans = [(window.start, window.end)]
        for start, end in spans:
            if end - start > SECOND:  # one run may end a second before the next begins
                yield Gap(place.account, endpoint.name, place.user or "", start, end)


def find_first(loaded: LoadedTables) -> datetime | None:
    """Where the history that was read begins; None where that is not known.

    Raises:
        VbcError: the destination could not be asked.
    """
    if not loaded.find(PROOFS):
        return None
    names = "'company_recordings', 'user_recordings'"
    ((first,),) = loaded.query(
        lambda _: f"SELECT min(window_start) AS first FROM {PROOFS} WHERE resource IN ({names})"
    )
    return first.astimezone(timezone.utc) if first else None


def _read(
    loaded: LoadedTables, write: Write, endpoint: Endpoint, label: str, window: Window
) -> dict[ListOwner, list[tuple[datetime, datetime]]]:
    rows = loaded.query(
        lambda _: write(), resource=endpoint.name, label=label, first=window.start, last=window.end
    )
    found: dict[ListOwner, list[tuple[datetime, datetime]]] = {}
    for account, user, start, end in rows:
        span = (start.astimezone(timezone.utc), end.astimezone(timezone.utc))
        found.setdefault(ListOwner(str(account), str(user) or None), []).append(span)
    return found


def _write_proofs() -> str:
    return f"""
        SELECT account_id, coalesce(user_id, '') AS whose, window_start, window_end FROM {PROOFS}
        WHERE resource = :resource AND coalesce(filters, :label) = :label
            AND window_end >= CAST(:first AS TIMESTAMPTZ) AND window_start <= CAST(:last AS TIMESTAMPTZ)"""


def _write_inner() -> str:
    reached = f"""
        SELECT {_LISTS}, window_start, max(window_end) OVER (
            PARTITION BY {_LISTS} ORDER BY window_start, window_end
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached FROM ({_write_proofs()}) AS p"""
    return f"""
        SELECT {_LISTS}, reached, window_start FROM ({reached}) AS r WHERE reached < window_start
        ORDER BY {_LISTS}, window_start"""


def _write_edges() -> str:
    return f"""
        SELECT {_LISTS}, min(window_start) AS first_start, max(window_end) AS last_end
        FROM ({_write_proofs()}) AS p GROUP BY {_LISTS}"""
