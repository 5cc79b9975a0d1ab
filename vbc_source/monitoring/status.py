"""What a pipeline has loaded and how its runs went: the destination and this machine say so, not VBC."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import dlt
import duckdb
from dlt.common.destination.exceptions import DestinationUndefinedEntity

from vbc_source.audio.ledger import LEDGER
from vbc_source.extract.file_tables import is_lake_of, read_table
from vbc_source.load.database_lock import find_kind
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import AUDIO_SCHEMA
from vbc_source.load.locks import is_locked
from vbc_source.monitoring.runs import RunHistory, read_runs
from vbc_source.warehouse.queries import ONE_PROCESS, SOURCE_SCHEMA, LoadedTables

RECORDINGS = {"company_recordings": "account_id, id", "user_recordings": "account_id, user_id, id"}
_COLUMNS = {  # what is read of each table
    "scan_windows": [
        "account_id",
        "resource",
        "user_id",
        "window_end",
        "scanned_at",
        "requests",
        "rows_read",
    ],
    "user_access": ["account_id", "resource", "user_id", "access", "noted_at"],
    "users": ["account_id", "id", "gone_at"],
    "company_recordings": ["account_id", "id"],
    "user_recordings": ["account_id", "user_id", "id"],
    LEDGER: ["account_id", "recording_type", "user_id", "recording_id", "status", "fetched_at"],
}
_LISTS = """
    SELECT account_id, resource, user_id, max(scanned_at), max(window_end), sum(requests), sum(rows_read),
        count(*)
    FROM scan_windows GROUP BY account_id, resource, user_id"""
_ACCESS = "SELECT account_id, resource, user_id, access FROM user_access ORDER BY noted_at"
_GONE = "SELECT account_id, id FROM users WHERE gone_at IS NOT NULL"
_ROWS = "SELECT account_id, count(*) FROM (SELECT DISTINCT {key} FROM {table}) AS told GROUP BY account_id"
_AUDIO = f"SELECT status, count(*) FROM {LEDGER} GROUP BY status"
_AUDIO_IN_FILES = f"""
    SELECT status, count(*) FROM (
        SELECT arg_max(status, fetched_at) AS status FROM {LEDGER}
        GROUP BY account_id, recording_type, user_id, recording_id
    ) AS newest GROUP BY status"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ListStatus:
    """What is known of an account's list, or of its users' lists together.

    Attributes:
        account_id: the account.
        resource: `company_recordings` or `user_recordings`.
        lists: how many lists that is: 1, or one for each user that can be read.
        unreadable: users whose list may not be read, or is gone.
        last_success: when one of them was last proven complete.
        proven_until: up to where all of them are.
        lag_seconds: how far that is behind now.
        rows: recordings in the table.
        rows_read: by all runs together; what the lookback reads again counts again.
        requests: list requests of all runs together.
        windows: how many were proven complete.
    """

    account_id: str
    resource: str
    lists: int
    unreadable: int
    last_success: datetime
    proven_until: datetime
    lag_seconds: float
    rows: int
    rows_read: int
    requests: int
    windows: int


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a pipeline.

    Attributes:
        pipeline: its name.
        dataset: where it loads.
        busy: whether another process holds the database just now, so that only `runs` is known.
        lists: what is loaded, by account and resource.
        runs: how the runs on this machine went.
        pending_packages: what a failed run left for the next one.
        audio: files by what became of them.
        lag_seconds: of the list that is furthest behind; None where nothing was loaded.
    """

    pipeline: str
    dataset: str
    busy: bool
    lists: tuple[ListStatus, ...]
    runs: RunHistory
    pending_packages: int
    audio: dict[str, int]
    lag_seconds: float | None


def read_status(pipeline: dlt.Pipeline, now: datetime) -> Status:
    """Find out what is known of a pipeline; no request is sent to VBC.

    Raises:
        VbcError: the destination could not be asked.
    """
    runs = read_runs(pipeline.pipeline_name)
    kind = find_kind(pipeline)
    busy = kind in ONE_PROCESS and is_locked(pipeline.pipeline_name)
    lists: tuple[ListStatus, ...] = ()
    audio: dict[str, int] = {}
    if not busy:
        in_files = is_lake_of(pipeline)
        ask = _ask_files(pipeline) if in_files else _ask_database(pipeline)
        lists = tuple(_read_lists(ask, now))
        audio = {status: int(files) for status, files in ask(LEDGER, _AUDIO_IN_FILES if in_files else _AUDIO)}
    lags = [told.lag_seconds for told in lists]
    if busy and runs.last_success:
        lags = [now.timestamp() - runs.last_success]
    packages = [*pipeline.list_extracted_load_packages(), *pipeline.list_normalized_load_packages()]
    dataset = str(pipeline.dataset_name)
    return Status(
        pipeline.pipeline_name, dataset, busy, lists, runs, len(packages), audio, max(lags, default=None)
    )


Ask = Callable[[str, str], list[Row]]


def _ask_database(pipeline: dlt.Pipeline) -> Ask:
    """Make what asks for rows of one table; none where there is no such table."""
    loaded = LoadedTables(pipeline, pipeline.pipeline_name)

    def ask(table: str, query: str) -> list[Row]:
        known = False

        def write(loaded: LoadedTables) -> str:
            nonlocal known
            known = all(loaded.has(table, column) for column in _COLUMNS[table])
            return query if known else "SELECT 1"

        rows = loaded.query(write)
        return rows if known else []

    return ask


def _ask_files(pipeline: dlt.Pipeline) -> Ask:
    def ask(table: str, query: str) -> list[Row]:
        schema = AUDIO_SCHEMA if table == LEDGER else SOURCE_SCHEMA
        with explaining():
            dataset = dlt.dataset(pipeline.destination, str(pipeline.dataset_name), schema)
            try:
                rows = read_table(dataset.destination_client, table, _COLUMNS[table])
            except DestinationUndefinedEntity:
                return []
            with duckdb.connect() as connection:
                connection.register(table, rows)
                return connection.execute(query).fetchall() if len(rows) else []

    return ask


def _read_lists(ask: Ask, now: datetime) -> Iterable[ListStatus]:
    barred = {
        (account, resource, user): access for account, resource, user, access in ask("user_access", _ACCESS)
    }
    gone = {(account, user) for account, user in ask("users", _GONE)}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in ask("scan_windows", _LISTS):
        groups.setdefault(row[:2], []).append(row)
    for (account, resource), rows in sorted(groups.items()):
        left_out = {user for where, what, user in barred if (where, what) == (account, resource)}
        unreadable = {user for user in left_out if barred[account, resource, user] != "allowed"}
        live = [row for row in rows if row[2] not in unreadable and (account, row[2]) not in gone] or rows
        proven = min(_utc(row[4]) for row in live)
        counted: dict[str, int] = dict(ask(resource, _ROWS.format(key=RECORDINGS[resource], table=resource)))
        yield ListStatus(
            account_id=account,
            resource=resource,
            lists=len(live),
            unreadable=len(unreadable),
            last_success=max(_utc(row[3]) for row in rows),
            proven_until=proven,
            lag_seconds=max(0.0, (now - proven).total_seconds()),
            rows=int(counted.get(account, 0)),
            rows_read=sum(int(row[6]) for row in rows),
            requests=sum(int(row[5]) for row in rows),
            windows=sum(int(row[7]) for row in rows),
        )


def _utc(moment: Any) -> datetime:
    found: datetime = moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))
    return found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)
