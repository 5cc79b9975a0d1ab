"""Which spans of which lists are proven complete: the only definition.

Backfill, verify and status ask it; the models and the dashboard state the same rule in SQL.

A row of `scan_windows` says that a window of a list was read, all of it at `scanned_at`. Readings that repeat
earlier ones replace their rows (`extract/scan_windows.py`), so a row may stand for several `readings`;
what it proves is what the last of them read. It is a proof when

1. its pages added up (`is_proven`): otherwise it is a known gap;
2. the load that brought it is complete: `_dlt_loads` has its `_dlt_load_id` with status 0. A killed or rolled
   back load may have left the row without the recordings;
3. the rows that it names are there: the table has at least `rows_loaded` recordings of the list that start in
   the window, its last second left out. Rows may be deleted, and a table dropped, long after the load; those
   that `vbc forget` has erased count as there;
4. it was read without filters, or with the filters in question;
5. and only for the part of its window that was older than the lookback when it was read: later recordings may
   have appeared in the rest. A reading in the future, by a clock that was ahead, proves nothing.

The dbt model `stg_vbc__proven_days` states the same rule in SQL for days;
`tests/warehouse/test_completeness.py` feeds both the same cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from vbc_source.config import CALL_LOGS_TABLE, SELF, VbcConfig
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.schema.erased import ERASED
from vbc_source.schema.names import LOAD_ID
from vbc_source.warehouse.queries import LoadedTables, write_instant
from vbc_source.warehouse.users import read_listed_users, read_unreadable
from vbc_source.windows import SECOND, Window

SCAN_WINDOWS = "scan_windows"
COMPANY_RECORDINGS, USER_RECORDINGS = "company_recordings", "user_recordings"
CLOCKS_DIFFER = 300  # seconds by which the clocks of machines may
RECORDINGS = (COMPANY_RECORDINGS, USER_RECORDINGS)
KEYS = {
    COMPANY_RECORDINGS: "account_id, id",
    USER_RECORDINGS: "account_id, user_id, id",
    CALL_LOGS_TABLE: "account_id, id, leg",
}


@dataclass(frozen=True, slots=True)
class RecordingList:
    """A list of recordings at VBC: ids may be `self`, and `user` is empty for the company's list."""

    resource: str
    account: str
    user: str = ""

    def matches(self, known: RecordingList) -> bool:
        """Return whether a list with real ids is the one meant, where `self` stands for any."""
        return (
            self.resource == known.resource
            and self.account in (SELF, known.account)
            and bool(self.user) == bool(known.user)
            and self.user in (SELF, known.user)
        )


ProvenSpans = Mapping[RecordingList, Sequence[Window]]


@dataclass(frozen=True, slots=True)
class Gap:
    """A span of a list that is not proven complete.

    Attributes:
        account_id: The list's account.
        resource: `company_recordings`, `user_recordings` or `call_logs`.
        user_id: The list's user; empty for the company's.
        start: First second of the gap.
        end: Last second of the gap.
    """

    account_id: str
    resource: str
    user_id: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class ReadProgress:
    """How far a list was read by complete loads, whatever the lookback; numbers are those of all runs."""

    list: RecordingList
    read_until: datetime  # end of the newest window that was read
    read_at: datetime
    requests: int
    rows_read: int  # rows of the lookback count each time
    windows: int


def read_proven_spans(loaded: LoadedTables, config: VbcConfig, window: Window | None = None) -> ProvenSpans:
    """Read the spans of each list that are proven complete, joined where they touch."""
    if not _has_proofs(loaded):
        return {}
    rows = loaded.query(lambda loaded: _write_spans(loaded, config.lookback, window), **_name_filters(config))
    spans: dict[RecordingList, list[Window]] = {}
    for resource, account, user, start, end in rows:
        spans.setdefault(RecordingList(resource, account, user), []).append(Window(_utc(start), _utc(end)))
    return spans


def _has_proofs(loaded: LoadedTables) -> bool:
    """Whether there may be proofs: rows of the first versions do not name their load, until the next sync."""
    return bool(loaded.find(SCAN_WINDOWS)) and {LOAD_ID, "filters"} <= loaded.columns(SCAN_WINDOWS).keys()


def _name_filters(config: VbcConfig) -> dict[str, str]:
    """Return the values of the placeholders in `_write_proofs`."""
    return {
        "filters": config.filters_of(COMPANY_RECORDINGS).label,
        "log_filters": config.filters_of(CALL_LOGS_TABLE).label,
    }


def _write_proofs(loaded: LoadedTables) -> str:
    """Write the query of the rows that may be proofs: rules 1, 2 and 4, and readings that are over."""
    # tables of earlier versions have proofs alone, which do not name their rows
    columns = loaded.columns(SCAN_WINDOWS)
    adds_up = "AND coalesce(w.is_proven, true)" if "is_proven" in columns else ""
    rows = "coalesce(w.rows_loaded, 0)" if "rows_loaded" in columns else "0"
    readings = "coalesce(w.readings, 1)" if "readings" in columns else "1"
    return f"""
        SELECT w.resource, w.account_id, coalesce(w.user_id, '') AS user_id, w.window_start, w.window_end,
            w.scanned_at, w.requests, w.rows_read, {readings} AS readings, {rows} AS rows_loaded
        FROM {SCAN_WINDOWS} AS w JOIN _dlt_loads AS l ON l.load_id = w._dlt_load_id
        WHERE l.status = 0 {adds_up} AND (
                w.filters IS NULL
                OR w.filters = CASE WHEN w.resource = '{CALL_LOGS_TABLE}' THEN :log_filters ELSE :filters END
            )
            AND w.scanned_at <= CURRENT_TIMESTAMP + INTERVAL '{CLOCKS_DIFFER} seconds'"""


def _write_supported(loaded: LoadedTables) -> str:
    """Write the expressions `lists` and `supported`: proofs whose rows are in the tables, rule 3.

    The bounds of windows and the starts of recordings are put into one order, in which recordings are
    counted: what a window holds is the difference between the counts at its bounds. That sorts all rows
    once, however windows overlap. The columns of a proof are carried along rather than joined again: a
    database has no statistics of what it computes on the way, and may take such a join for one of a few
    rows and compare each with each. Lists are numbered, since Postgres sorts numbers several times faster
    than texts. Proofs are numbered in an order, since a database may number them again for each use.
    """
    # in the order of `counted`, a bound (0) comes before the recordings (1) of its moment: so a window has
    # those of its first second, and not those of its last. `HAVING` asks for at least as many as were loaded:
    # late recordings join a window after it was read
    recordings = "".join(
        f"""UNION ALL
            SELECT lists.list, r.began, 1, NULL, NULL, NULL
            FROM ({rows}) AS r JOIN lists ON lists.resource = '{table}'
                AND lists.account_id = r.account_id AND lists.user_id = {user} """
        for table, user, rows in _write_recordings(loaded)
    )
    return f"""
        proofs AS ({_write_proofs(loaded)}), lists AS (
            SELECT resource, account_id, user_id,
                row_number() OVER (ORDER BY resource, account_id, user_id) AS list
            FROM (SELECT DISTINCT resource, account_id, user_id FROM proofs) AS d
        ), numbered AS (
            SELECT lists.list, window_start, window_end, scanned_at, rows_loaded, row_number() OVER (
                ORDER BY lists.list, window_start, window_end, scanned_at, rows_loaded
            ) AS proof
            FROM proofs AS p JOIN lists ON lists.resource = p.resource
                AND lists.account_id = p.account_id AND lists.user_id = p.user_id
        ), moments AS (
            SELECT list, window_start AS moment, 0 AS recordings, proof, scanned_at, rows_loaded FROM numbered
            UNION ALL SELECT list, window_end, 0, proof, scanned_at, rows_loaded FROM numbered
            {recordings}
        ), counted AS (
            SELECT *, sum(recordings) OVER (
                PARTITION BY list ORDER BY moment, recordings
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS recordings_before
            FROM moments
        ), supported AS (
            SELECT list, min(moment) AS window_start, max(moment) AS window_end, max(scanned_at) AS scanned_at
            FROM counted WHERE recordings = 0 GROUP BY list, proof
            HAVING max(recordings_before) - min(recordings_before) >= max(rows_loaded)
        )"""


def _write_recordings(loaded: LoadedTables) -> Iterator[tuple[str, str, str]]:
    """Yield each table with windows, its user column, and the query of its rows' starts."""
    for table, user in ((COMPANY_RECORDINGS, "''"), (USER_RECORDINGS, "r.user_id"), (CALL_LOGS_TABLE, "''")):
        if loaded.has(table):
            columns = "account_id, user_id" if table == USER_RECORDINGS else "account_id"
            began = '"start" AS began'
            group = ""
            if loaded.kind == FILESYSTEM:  # a row stands beside its earlier versions
                began, group = 'max("start") AS began', f"GROUP BY {KEYS[table]}"
            yield table, user, f'SELECT {columns}, {began} FROM {table} WHERE "start" IS NOT NULL {group}'
            if loaded.has(ERASED):
                erased = f"""SELECT {columns}, max("start") AS began FROM {ERASED}
                    WHERE resource = '{table}' AND "start" IS NOT NULL GROUP BY {columns}, row_id"""
                yield table, user, erased


def _write_spans(loaded: LoadedTables, lookback: timedelta, window: Window | None) -> str:
    """Write the query of joined spans: rule 5 cuts their ends. Windows count whole seconds, both included."""
    behind = f"scanned_at - INTERVAL '{int(lookback.total_seconds())} seconds'"
    touching = ""
    if window:
        touching = f"""
            AND settled_end >= {write_instant(window.start)}
            AND window_start <= {write_instant(window.end)}"""
    return f"""
        WITH {_write_supported(loaded)}, settled AS (
            SELECT list, window_start, date_trunc('second', least(window_end, {behind})) AS settled_end
            FROM supported
        ), reached AS (
            SELECT *, max(settled_end) OVER (
                PARTITION BY list ORDER BY window_start, settled_end
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ) AS reached_end
            FROM settled WHERE window_start < settled_end {touching}
        ), islands AS (
            SELECT *, sum(CASE WHEN window_start <= reached_end THEN 0 ELSE 1 END) OVER
                ( PARTITION BY list ORDER BY window_start, settled_end ROWS BETWEEN UNBOUNDED PRECEDING
                AND CURRENT ROW
            ) AS island
            FROM reached
        ), spans AS (
            SELECT list, min(window_start) AS began, max(settled_end) AS ended
            FROM islands GROUP BY list, island
        )
        SELECT lists.resource, lists.account_id, lists.user_id, spans.began, spans.ended
        FROM spans JOIN lists ON lists.list = spans.list ORDER BY lists.list, spans.began"""


def read_progress(loaded: LoadedTables, config: VbcConfig) -> list[ReadProgress]:
    """Read how far each list was read by complete loads."""
    if not _has_proofs(loaded):
        return []

    def query(loaded: LoadedTables) -> str:
        return f"""
            SELECT resource, account_id, user_id, max(window_end), max(scanned_at), sum(requests),
                sum(rows_read), sum(readings)
            FROM ({_write_proofs(loaded)}) AS p GROUP BY resource, account_id, user_id
            ORDER BY account_id, resource, user_id"""

    return [
        ReadProgress(RecordingList(resource, account, user), _utc(until), _utc(at), *map(int, counts))
        for resource, account, user, until, at, *counts in loaded.query(query, **_name_filters(config))
    ]


def find_first_start(loaded: LoadedTables) -> datetime | None:
    """Return where the history that was read starts; None where nothing was."""
    if not loaded.find(SCAN_WINDOWS):
        return None
    lists = f"resource IN {RECORDINGS}"
    ((first,),) = loaded.query(f"SELECT min(window_start) AS first FROM {SCAN_WINDOWS} WHERE {lists}")
    return _utc(first) if first else None


def find_gaps(proven: ProvenSpans, lists: Iterable[RecordingList], window: Window) -> Iterator[Gap]:
    """Yield the spans inside a window that are not proven complete."""
    for recordings in lists:
        spans = [span for known, found in proven.items() if recordings.matches(known) for span in found]
        reached = window.start
        # an empty span at the end closes the last gap
        for span in sorted([*spans, Window(window.end, window.end)]):
            if span.start - reached > SECOND:  # one run may end a second before the next starts
                end = min(span.start, window.end)
                yield Gap(recordings.account, recordings.resource, recordings.user, reached, end)
            reached = max(reached, span.end)


def is_proven(window: Window, lists: Sequence[RecordingList], proven: ProvenSpans) -> bool:
    """Return whether each of some lists is proven complete over a whole window."""
    # by one span alone: those that touch are joined already
    covered = [
        known
        for known, spans in proven.items()
        if any(span.start <= window.start and window.end <= span.end for span in spans)
    ]
    return all(any(map(recordings.matches, covered)) for recordings in lists)


def find_unproven(
    loaded: LoadedTables, config: VbcConfig, windows: Sequence[Window], resources: Sequence[str]
) -> list[tuple[Window, list[str]]]:
    """Return the windows that are not proven complete, each with the resources it lacks."""
    if not windows:
        return []
    proven = read_proven_spans(loaded, config, Window(windows[0].start, windows[-1].end))
    lists = {name: find_lists(loaded, config, name, proven) for name in resources}
    unproven = [
        (
            window,
            [name for name, known in lists.items() if known is None or not is_proven(window, known, proven)],
        )
        for window in windows
    ]
    return [(window, names) for window, names in unproven if names]


def find_lists(
    loaded: LoadedTables, config: VbcConfig, resource: str, proven: ProvenSpans
) -> list[RecordingList] | None:
    """Return the lists of a resource; None where that is not known yet."""
    if resource in (COMPANY_RECORDINGS, CALL_LOGS_TABLE):
        return [RecordingList(resource, account) for account in config.accounts]
    if not config.has_user_recordings:
        return []
    if config.users is not None:
        return [
            RecordingList(USER_RECORDINGS, account, user)
            for account in config.accounts
            for user in config.users
        ]
    # the users that are listed and may be read; without a list of users, those that were read
    users, unreadable = read_listed_users(loaded), read_unreadable(loaded)
    if not users:
        return [known for known in proven if known.resource == USER_RECORDINGS] or None
    return [
        RecordingList(USER_RECORDINGS, account, user)
        for account, user in users
        if user not in unreadable.get((account, USER_RECORDINGS), ())
        and (SELF in config.accounts or account in config.accounts)
    ]


def count_rows(loaded: LoadedTables, resource: str, windows: Sequence[Window]) -> dict[int, tuple[int, int]]:
    """Count the rows of windows, and the distinct ones, by the window's index."""
    if not windows:
        return {}
    cases = " ".join(
        f"""WHEN "start" < {write_instant(window.end)}
            AND "start" >= {write_instant(window.start)} THEN {index}"""
        for index, window in enumerate(windows)
    )
    # all windows in one pass over the table: a query for each would read it again and again
    keyed = f"SELECT CASE {cases} END AS place, {KEYS[resource]} FROM {resource}"
    copies = f"SELECT place, count(*) AS copies FROM ({keyed}) AS k GROUP BY place, {KEYS[resource]}"
    query = f"SELECT place, sum(copies), count(*) FROM ({copies}) AS c WHERE place >= 0 GROUP BY place"
    return {int(index): (int(copies), int(distinct)) for index, copies, distinct in loaded.query(query)}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
