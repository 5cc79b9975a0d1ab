"""Invented rows of the source's tables, with many edge cases, written directly into DuckDB or Postgres."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import psycopg2
import pyarrow as pa
from completeness_cases import COMPLETE_LOAD, FAILED_LOAD, LOADS, LOST_LOAD
from psycopg2.extras import execute_values

POSTGRES = "postgresql://postgres:any@127.0.0.1:5432/postgres"
MAIN, OTHER = "549825", "549826"
TEXT, WHOLE, INSTANT, TRUTH = "text", "bigint", "timestamptz", "boolean"
ARROW = {TEXT: pa.string(), WHOLE: pa.int64(), INSTANT: pa.timestamp("us", "UTC"), TRUTH: pa.bool_()}

Row = dict[str, Any]
Tables = dict[str, list[Row]]

_RECORDING = {
    "account_id": TEXT,
    "id": WHOLE,
    "call_direction": TEXT,
    "call_id": TEXT,
    "caller_id": TEXT,
    "cnam": TEXT,
    "dnis": TEXT,
    "duration": WHOLE,
    "duration__v_text": TEXT,
    "start": INSTANT,
    "end": INSTANT,
    "file_size_in_bytes": WHOLE,
}
_EXTENSION = {
    "account_id": TEXT,
    "recording_id": WHOLE,
    "position": WHOLE,
    "extension": TEXT,
    "is_empty": TRUTH,
}
_RULE = {"account_id": TEXT, "recording_id": WHOLE, "position": WHOLE, "rule_id": WHOLE, "is_empty": TRUTH}
_KEY = {"account_id": TEXT, "recording_type": TEXT, "user_id": TEXT, "recording_id": WHOLE}
COLUMNS: dict[str, dict[str, str]] = {
    "company_recordings": _RECORDING,
    "user_recordings": {**_RECORDING, "user_id": TEXT},
    "company_recordings__extensions": _EXTENSION,
    "user_recordings__extensions": {**_EXTENSION, "user_id": TEXT},
    "company_recordings__rule_ids": _RULE,
    "user_recordings__rule_ids": {**_RULE, "user_id": TEXT},
    "users": {
        **{"account_id": TEXT, "id": TEXT, "first_name": TEXT, "last_name": TEXT},
        **{"login_name": TEXT, "email": TEXT, "gone_at": INSTANT},
    },
    "users__extensions": {"account_id": TEXT, "user_id": TEXT, "position": WHOLE, "extension": TEXT},
    "extensions": {
        **{"account_id": TEXT, "extension": TEXT, "user_id": TEXT, "user_first_name": TEXT},
        **{"user_last_name": TEXT, "gone_at": INSTANT},
    },
    "scan_windows": {
        **{"account_id": TEXT, "resource": TEXT, "user_id": TEXT, "window_start": INSTANT},
        **{"window_end": INSTANT, "scanned_at": INSTANT, "filters": TEXT, "_dlt_load_id": TEXT},
        **{"rows_loaded": WHOLE, "is_proven": TRUTH},
    },
    "_dlt_loads": {"load_id": TEXT, "schema_name": TEXT, "status": WHOLE, "inserted_at": INSTANT},
    "recording_audio": {**_KEY, "status": TEXT},
    "holds": {"recording_id": WHOLE, "call_id": TEXT},  # a table of one's own
    "recording_tombstones": {**_KEY, "detected_at": INSTANT, "evidence": TEXT, "returned_at": INSTANT},
}


def at(text: str) -> datetime:
    """Parse an instant in UTC, such as 2025-03-09T06:59:59."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


# loads of the invented rows; "3" did not complete, and "4" (rolled back) has no row in `_dlt_loads`
LOOKBACK = timedelta(hours=48)

# clocks in New York change at 2025-03-09 07:00 and at 2025-11-02 06:00 UTC, in Havana an hour or two earlier
# with what a spreadsheet would take for a formula, and a browser for HTML
CALLER_NAMES = ("CLEO GREYSTOKE", None, "=1+1", "+12125550142", "@SUM(A1)", "<b>BOLD</b>")

CLOCK_CHANGES = (at("2025-03-09T07:00:00"), at("2025-11-02T06:00:00"))
USERS = ("1001", "1002", "1003")


def invent(seed: int, recordings: int = 120) -> Tables:
    """Return rows around the days on which clocks change."""
    chance = random.Random(seed)
    tables: Tables = {name: [] for name in COLUMNS}
    for number in range(recordings):
        user = chance.choice([None, None, *USERS])
        # ids repeat from user to user, and between users and the company
        id_ = chance.randrange(10**6) * 1000 + number if user is None else number
        add_recording(tables, chance, chance.choice([MAIN, MAIN, OTHER]), user, id_)
    for turn in CLOCK_CHANGES:  # to the second, before and after
        for hours in range(-30, 31):
            for seconds in (-1, 0):
                start = turn + timedelta(hours=hours, seconds=seconds)
                add_recording(tables, chance, MAIN, None, int(start.timestamp()), start=start)
    add_people(tables)
    add_windows(tables, chance)
    for user in (None, *USERS):
        _mark_some(tables, chance, user)
    tables["holds"] = [
        {"recording_id": tables["company_recordings"][0]["id"], "call_id": None},
        {"recording_id": None, "call_id": "call-7"},
    ]
    return tables


def add_recording(
    tables: Tables, chance: random.Random, account: str, user: str | None, id_: int, **known: Any
) -> Row:
    """Add a recording and its extensions."""
    start = chance.choice(CLOCK_CHANGES) + timedelta(seconds=chance.randrange(-260_000, 260_000))
    length = chance.choice(
        [None, 0, 9_999, 10_000, 3_600_000, -5, chance.randrange(700_000), chance.randrange(9_000)]
    )
    row = {
        "account_id": account,
        "id": id_,
        "call_direction": chance.choice(["INBOUND", "OUTBOUND", "INTRA_PBX", "inbound", None, " "]),
        "call_id": f"call-{id_ % 50}",
        "caller_id": chance.choice(["12125550142", "Anonymous", None]),
        "cnam": chance.choice(CALLER_NAMES),
        "dnis": "17325550100",
        "duration": length,
        "duration__v_text": chance.choice(["12500.5", "soon", "77"]) if length is None else None,
        "start": None if chance.random() < 0.02 else start,
        "end": None if chance.random() < 0.2 else start + timedelta(milliseconds=length or 0),
        "file_size_in_bytes": None if chance.random() < 0.1 else chance.randrange(10**7),
        **({"user_id": user} if user else {}),
        **known,
    }
    kind = "user" if user else "company"
    tables[f"{kind}_recordings"].append(row)
    numbers = chance.choices(["1016", "1016", "1017", "1018", " 1019", None, ""], k=chance.randrange(4))
    for position, number in enumerate(numbers):
        item = {"account_id": account, "recording_id": id_, "position": position, "extension": number}
        tables[f"{kind}_recordings__extensions"].append({**item, **({"user_id": user} if user else {})})
    for position, rule in enumerate(_choose_rules(row)):
        item = {"account_id": account, "recording_id": id_, "position": position, "rule_id": rule}
        tables[f"{kind}_recordings__rule_ids"].append({**item, **({"user_id": user} if user else {})})
    return row


def _choose_rules(row: Row) -> list[int | None]:
    """Rule 449 falls silent on 2025-03-09; a list can be empty, have a null, or name a rule twice."""
    chance = random.Random(row["id"])
    late = row["start"] and row["start"] >= CLOCK_CHANGES[0]
    return chance.choice([[], [None], [1989], [1989, 1989], [2012, 1989], [2012] if late else [449, 2012]])


def add_people(tables: Tables) -> None:
    """Add users and extensions: present, removed, without a name, without a user."""
    gone = at("2025-11-01T15:00:00")

    def user(id_: str, first: str | None, last: str | None, left: datetime | None = None) -> Row:
        name = {"first_name": first, "last_name": last, "login_name": f"login{id_}", "email": None}
        return {"account_id": MAIN, "id": id_, **name, "gone_at": left}

    tables["users"] += [
        user("1001", "Emil", "Quill"),
        user("1002", " ", None),
        user("1003", "Ada", None, gone),
    ]
    owned = [("1001", "1016"), ("1002", "1017"), ("1003", "1018"), ("1002", "1020"), ("1003", "1020")]
    tables["users__extensions"] += [
        {"account_id": MAIN, "user_id": id_, "position": 0, "extension": number} for id_, number in owned
    ]
    known = {"account_id": MAIN, "user_first_name": None, "user_last_name": None, "gone_at": None}
    tables["extensions"] += [
        {
            **known,
            "extension": "1016",
            "user_id": "1001",
            "user_first_name": "Emil",
            "user_last_name": "Quillfeather",
        },
        {**known, "extension": "1018", "user_id": "1003", "user_first_name": "Ada", "gone_at": gone},
        {**known, "extension": "1021", "user_id": None},
    ]


def add_windows(tables: Tables, chance: random.Random) -> None:
    """Add windows: whole days, days in pieces, gaps, and windows that prove nothing."""
    rules = random.Random(chance.randrange(10**6))
    lists = [(MAIN, "company_recordings", None), (OTHER, "company_recordings", None)]
    lists += [(MAIN, "user_recordings", user) for user in USERS]
    for account, resource, user in lists:
        for turn in CLOCK_CHANGES:
            scanned, start = turn + timedelta(days=30), turn - timedelta(days=4, hours=chance.randrange(24))
            while start < turn + timedelta(days=3):
                end = start + timedelta(seconds=chance.choice([6 * 3600, 86_400, 250_000, 3 * 3600 - 7]))
                scanned += timedelta(
                    minutes=chance.randrange(-300, 900), microseconds=chance.randrange(10**6)
                )
                label = "call_direction#5d41402abc4b" if chance.random() < 0.1 else None
                row = {"account_id": account, "resource": resource, "user_id": user, "filters": label}
                times = {"window_start": start, "window_end": end, "scanned_at": scanned}
                if rules.random() < 0.1:  # a part, or all, was not settled yet
                    times["scanned_at"] = end + timedelta(hours=rules.randrange(1, 60))
                tables["scan_windows"].append({**row, **times})
                start = chance.choice(
                    [end, end, end, start, end - timedelta(hours=30), end + timedelta(hours=1)]
                )
                start = max(start, times["window_start"])
        now = CLOCK_CHANGES[1] - timedelta(days=3)
        while now < CLOCK_CHANGES[1] + timedelta(days=4):  # incremental runs every few hours
            start, now = now - LOOKBACK, now + timedelta(hours=chance.choice([1, 5, 11]))
            times = {"window_start": start, "window_end": now}
            row = {"account_id": account, "resource": resource, "user_id": user, "filters": None}
            tables["scan_windows"].append({**row, **times, "scanned_at": now + timedelta(seconds=1)})
    tables["scan_windows"].append(
        {**tables["scan_windows"][0], "resource": "users", "window_end": at("2026-01-01")}
    )
    for row in tables["scan_windows"]:
        row["_dlt_load_id"] = rules.choice([*"11111111222222", FAILED_LOAD, LOST_LOAD])
    tables["_dlt_loads"] += [{"load_id": id_, "status": status} for id_, status in LOADS.items()]


def _mark_some(tables: Tables, chance: random.Random, user: str | None) -> None:
    kind = "user" if user else "company"
    for row in tables[f"{kind}_recordings"]:
        if row.get("user_id") != user:
            continue
        key = {
            "account_id": row["account_id"],
            "recording_type": kind,
            "user_id": user or "",
            "recording_id": row["id"],
        }
        if chance.random() < 0.5:
            status = chance.choice(["stored", "stored", "failed", "missing", "forbidden"])
            tables["recording_audio"].append({**key, "status": status})
        if chance.random() < 0.15:
            back = chance.choice([None, None, at("2025-12-01")])
            found = {"detected_at": at("2025-11-20"), "evidence": "404", "returned_at": back}
            tables["recording_tombstones"].append({**key, **found})


def change(tables: Tables, seed: int) -> Tables:
    """Return rows as after another sync: late arrivals, corrections, tombstones, returns, audio, windows."""
    chance = random.Random(seed)
    later: Tables = {name: [dict(row) for row in rows] for name, rows in tables.items()}
    for kind in ("company", "user"):
        for row in chance.sample(later[f"{kind}_recordings"], 12):
            row.update(duration=chance.randrange(10**6), duration__v_text=None, call_direction="OUTBOUND")
            row.update(end=row["start"] and row["start"] + timedelta(milliseconds=row["duration"]))
        for row in chance.sample(later[f"{kind}_recordings__extensions"], 12):
            row.update(extension="1022")
        later[f"{kind}_recordings"] = later[f"{kind}_recordings"][3:]  # a reload of the raw tables
    for number in range(15):
        add_recording(later, chance, MAIN, chance.choice([None, *USERS]), 10**10 + 100 * seed + number)
    for stone in chance.sample(later["recording_tombstones"], 5):
        stone["returned_at"] = None if stone["returned_at"] else at("2025-12-02")
    marked = {
        tuple(row[name] for name in _KEY) for row in later["recording_tombstones"] + later["recording_audio"]
    }
    for row in later["company_recordings"][:30]:
        key = (row["account_id"], "company", "", row["id"])
        if key not in marked:
            values = dict(zip(_KEY, key, strict=True))
            later["recording_audio"].append({**values, "status": "stored"})
            if row["id"] % 3 == 0:
                stone = {"detected_at": at("2025-12-03"), "evidence": "404", "returned_at": None}
                later["recording_tombstones"].append({**values, **stone})
    for audio in chance.sample(later["recording_audio"], 8):
        audio["status"] = "stored"
    whole = {
        "window_start": CLOCK_CHANGES[0] - timedelta(days=9),
        "window_end": CLOCK_CHANGES[1] + timedelta(days=9),
    }
    for user in (None, *USERS[:2]):
        place = {
            "account_id": MAIN,
            "resource": f"{'user' if user else 'company'}_recordings",
            "user_id": user,
        }
        proof = {"scanned_at": at("2025-12-24"), "filters": None, "_dlt_load_id": COMPLETE_LOAD}
        later["scan_windows"].append({**place, **whole, **proof})
    return later


def write_duckdb(path: Path, tables: Tables) -> None:
    """Write tables into dataset `vbc_data` of a DuckDB file; they replace existing ones."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS vbc_data")
        for name, rows in tables.items():
            schema = pa.schema([(column, ARROW[kind]) for column, kind in COLUMNS[name].items()])
            connection.register("arrow_rows", pa.Table.from_pylist(rows, schema))
            connection.execute(f"CREATE OR REPLACE TABLE vbc_data.{name} AS SELECT * FROM arrow_rows")


def write_postgres(dataset: str, tables: Tables) -> None:
    """Write tables into a schema of Postgres; they replace existing ones."""
    with connect_postgres() as cursor:
        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {dataset}")
        for name, rows in tables.items():
            columns = COLUMNS[name]
            kinds = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
            cursor.execute(f"DROP TABLE IF EXISTS {dataset}.{name}; CREATE TABLE {dataset}.{name} ({kinds})")
            values = [[row.get(column) for column in columns] for row in rows]
            execute_values(cursor, f"INSERT INTO {dataset}.{name} VALUES %s", values) if values else None


@contextmanager
def connect_postgres() -> Iterator[Any]:
    """Open a cursor that commits at the end."""
    connection = psycopg2.connect(POSTGRES)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextmanager
def own_dataset() -> Iterator[str]:
    """Return a unique name of a Postgres schema; it and the models' schema are dropped at the end."""
    dataset = f"models_{uuid4().hex[:12]}"
    try:
        yield dataset
    finally:
        with connect_postgres() as cursor:
            for name in (dataset, f"{dataset}_models", f"{dataset}_staging"):
                cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
