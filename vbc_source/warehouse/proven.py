"""What the destination says of a backfill: which windows are proven complete, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from vbc_source.config import VbcConfig
from vbc_source.warehouse.coverage import ANY, Proven, RecordingList, is_proven, settled_part
from vbc_source.warehouse.queries import LoadedTables, Row
from vbc_source.windows import Window, format_instant

COMPANY, USERS = "company_recordings", "user_recordings"
KEYS = {COMPANY: "account_id, id", USERS: "account_id, user_id, id"}


def find_left(
    loaded: LoadedTables, config: VbcConfig, windows: Sequence[Window], resources: Sequence[str]
) -> list[tuple[Window, list[str]]]:
    """Say which windows are not proven complete, and for which resources."""
    if not windows:
        return []
    proven = read_proven(loaded, config, windows[0].start, windows[-1].end)
    lists = {name: find_lists(loaded, config, name, proven) for name in resources}

    def find(window: Window) -> list[str]:
        return [
            name for name, known in lists.items() if known is None or not is_proven(window, known, proven)
        ]

    return [(window, names) for window in windows if (names := find(window))]


def read_proven(loaded: LoadedTables, config: VbcConfig, start: datetime, end: datetime) -> Proven:
    """Read which spans of which lists were proven complete, by loads that are complete themselves."""
    proven: dict[RecordingList, list[Window]] = {}
    label = config.api_filters.label
    rows = loaded.query(_write_proofs, start=start, end=end, filters=label)
    for account, resource, user, first, last, scanned_at in rows:
        if span := settled_part(Window(first, last), scanned_at, config.lookback):
            proven.setdefault(RecordingList(resource, account, user or ""), []).append(span)
    return proven


def _write_proofs(_: LoadedTables) -> str:
    return """
        SELECT w.account_id, w.resource, w.user_id, w.window_start, w.window_end, w.scanned_at
        FROM scan_windows AS w JOIN _dlt_loads AS l ON l.load_id = w._dlt_load_id
        WHERE l.status = 0 AND (w.filters IS NULL OR w.filters = :filters)
            AND w.window_end > CAST(:start AS TIMESTAMPTZ) AND w.window_start < CAST(:end AS TIMESTAMPTZ)"""


def find_lists(
    loaded: LoadedTables, config: VbcConfig, resource: str, proven: Proven
) -> list[RecordingList] | None:
    """Say which lists a resource has; None where that is not known yet."""
    if resource == COMPANY:
        return [RecordingList(COMPANY, account) for account in config.accounts]
    if not config.has_user_recordings:
        return []
    if config.users is not None:
        return [RecordingList(USERS, account, user) for account in config.accounts for user in config.users]
    return _find_users(loaded, config, proven)


def _find_users(loaded: LoadedTables, config: VbcConfig, proven: Proven) -> list[RecordingList] | None:
    """Users that are listed, or were read at all where no list was loaded; but for whom may not be read."""
    barred = loaded.query(_write_barred)
    listed = loaded.query(_write_users)
    if not listed:
        read = [known for known in proven if known.resource == USERS]
        return read or None
    found = [RecordingList(USERS, account, user) for account, user in listed if (account, user) not in barred]
    return [known for known in found if ANY in config.accounts or known.account in config.accounts]


def _write_barred(_: LoadedTables) -> str:
    return f"SELECT account_id, user_id FROM user_access WHERE access <> 'allowed' AND resource = '{USERS}'"


def _write_users(loaded: LoadedTables) -> str:
    if loaded.has("users", "gone_at"):
        return "SELECT account_id, id FROM users WHERE gone_at IS NULL"
    return "SELECT account_id, user_id FROM user_access WHERE 1 = 0"


def count_rows(loaded: LoadedTables, resource: str, windows: Sequence[Window]) -> dict[int, tuple[int, int]]:
    """Count the rows of windows, and the distinct ones, by the place of the window in the sequence."""

    def write(_: LoadedTables) -> str:
        cases = " ".join(
            f"""WHEN "start" < CAST('{format_instant(window.end)}' AS TIMESTAMPTZ)
                AND "start" >= CAST('{format_instant(window.start)}' AS TIMESTAMPTZ) THEN {place}"""
            for place, window in enumerate(windows)
        )
        keyed = f"SELECT CASE {cases} END AS place, {KEYS[resource]} FROM {resource}"
        copies = f"SELECT place, count(*) AS copies FROM ({keyed}) AS k GROUP BY place, {KEYS[resource]}"
        return f"SELECT place, sum(copies), count(*) FROM ({copies}) AS c WHERE place >= 0 GROUP BY place"

    rows: list[Row] = loaded.query(write) if windows else []
    return {int(place): (int(copies), int(distinct)) for place, copies, distinct in rows}
