"""Find what is loaded about a person: recordings that hold the number, and recordings of the same calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from vbc_source.api.endpoints import CALL_LOGS, RECORDING_ENDPOINTS
from vbc_source.audio.ledger import LEDGER
from vbc_source.erasure.conditions import (
    MEMBERS,
    Kind,
    read_kind,
    write_duckdb_match,
    write_search,
)
from vbc_source.erasure.journal import ErasedLeg, ErasedRecording
from vbc_source.erasure.subject import Subject
from vbc_source.recordings import RECORDING_KEY, RecordingKey, RecordingType
from vbc_source.retention.holds import HOLDS, write_open_holds
from vbc_source.schema.erased import ERASED, ERASURES
from vbc_source.warehouse.erasures import KINDS, OF_RECORDINGS
from vbc_source.warehouse.queries import LoadedTables, Row
from vbc_source.warehouse.users import write_listed

_PART = 500  # values in one query


def find_recordings(loaded: LoadedTables, subject: Subject) -> list[ErasedRecording]:
    """Find the loaded recordings that hold the number or hash, or are named by their ids."""
    conditions: dict[str, list[str]] = {}
    for kind, endpoint in RECORDING_ENDPOINTS.items():
        if not loaded.find(endpoint.name):
            continue
        shape = endpoint.shape
        found = [_write_search(loaded, endpoint.name, subject)]
        for child in (f"{endpoint.name}__{name}" for name in shape.lists):
            if loaded.has(child):
                owner = "AND c.user_id = t.user_id" if endpoint.per_user else ""
                found.append(
                    f"EXISTS (SELECT 1 FROM {child} AS c WHERE c.account_id = t.account_id {owner} "
                    f"AND c.{shape.child_key} = t.{shape.id_column} "
                    f"AND ({_write_search(loaded, child, subject, 'c.')}))"
                )
        found += [_write_name(name) for name in subject.names if name.recording_type == kind]
        conditions[kind] = found
    return [row for kind, found in conditions.items() for row in _read(loaded, kind, " OR ".join(found))]


def find_of_calls(loaded: LoadedTables, calls: Iterable[tuple[str, str]]) -> list[ErasedRecording]:
    """Find the loaded recordings of calls, by account and call id."""
    requested = set(calls)
    found = []
    for part in _divide(sorted({call for _, call in requested})):
        condition = f"t.call_id IN ({', '.join(map(_quote, part))})"
        for kind, endpoint in RECORDING_ENDPOINTS.items():
            if loaded.find(endpoint.name) and "call_id" in loaded.columns(endpoint.name):
                found += list(_read(loaded, kind, condition))
    # the queries compare call ids alone
    return [row for row in found if (row.account_id, row.call_id) in requested]


def find_erased_before(loaded: LoadedTables, subject_hash: str) -> list[ErasedRecording]:
    """Find the recordings that earlier erasures of the same person have erased."""
    if len(loaded.find(ERASURES, ERASED)) < 2:
        return []
    rows = loaded.query(
        f"""
        SELECT DISTINCT account_id, resource, user_id, row_id, "start" FROM {ERASED}
        WHERE {OF_RECORDINGS}
            AND erasure_id IN (SELECT erasure_id FROM {ERASURES} WHERE subject_hash = :hash)""",
        hash=subject_hash,
    )
    return [
        ErasedRecording(str(account), KINDS[table], str(user or ""), int(id_), _write(start))
        for account, table, user, id_, start in rows
    ]


def has_namesake(loaded: LoadedTables, row: ErasedRecording) -> bool:
    """Return whether another user has a recording with the same id."""
    if not loaded.find("user_recordings"):
        return False
    others = loaded.query(
        "SELECT count(DISTINCT user_id) FROM user_recordings "
        f"WHERE account_id = :account AND id = {row.recording_id} AND user_id <> :user",
        account=row.account_id,
        user=row.user_id,
    )
    return bool(others[0][0])


def find_legs(
    loaded: LoadedTables, subject: Subject, calls: Iterable[tuple[str, str]] = ()
) -> list[ErasedLeg]:
    """Find the loaded legs of calls that hold the number or hash, or belong to calls."""
    if not loaded.find(CALL_LOGS.name):
        return []
    requested = set(calls)
    rows = _read_legs(loaded, _write_search(loaded, CALL_LOGS.name, subject))
    for part in _divide(sorted({call for _, call in requested})):
        of_calls = _read_legs(loaded, f"t.id IN ({', '.join(map(_quote, part))})")
        rows += [row for row in of_calls if (str(row[0]), str(row[1])) in requested]
    return [ErasedLeg(str(account), str(call), str(leg), _write(start)) for account, call, leg, start in rows]


def find_member_tables(loaded: LoadedTables, subject: Subject) -> list[str]:
    """Return the tables of users and extensions that hold the number of one that the account still has."""
    found = []
    for root in MEMBERS:
        if not loaded.find(root):
            continue
        key = "extension" if root == "extensions" else "id"
        there = f"SELECT account_id, {key} AS k FROM ({write_listed(loaded, root, key)}) AS l"
        for table in sorted(name for name in loaded.list_tables() if name.partition("__")[0] == root):
            id_column = key if table == root else "extension" if root == "extensions" else "user_id"
            query = f"""
                SELECT count(*) FROM {table} AS t JOIN ({there}) AS m
                    ON m.account_id = t.account_id AND m.k = t.{id_column}
                WHERE {_write_search(loaded, table, subject)}"""
            ((count,),) = loaded.query(query)
            if count:
                found.append(table)
    return found


def find_stored_keys(loaded: LoadedTables, recordings: Sequence[ErasedRecording]) -> dict[Any, set[str]]:
    """Return the addresses of the files that the ledger names for recordings, and who else has each.

    The keys of the result are recordings' keys; an address that the ledger also names for a recording that is
    not among them is under the key None.
    """
    if not loaded.find(LEDGER) or not recordings:
        return {}
    requested = {row.key for row in recordings}
    rows: list[Row] = []
    for part in _divide(sorted({row.recording_id for row in recordings})):
        ids = ", ".join(map(str, part))
        rows += loaded.query(
            f"""SELECT account_id, recording_type, user_id, recording_id, uri FROM {LEDGER}
            WHERE uri IS NOT NULL AND uri IN (SELECT uri FROM {LEDGER} WHERE recording_id IN ({ids}))"""
        )
    found: dict[Any, set[str]] = {}
    for account, kind, user, id_, uri in rows:
        key = str(account), str(kind), str(user or ""), int(id_)
        found.setdefault(key if key in requested else None, set()).add(str(uri))
    mine = set().union(*(uris for key, uris in found.items() if key))
    if None in found:
        found[None] &= mine
    return found


def find_open_holds(loaded: LoadedTables) -> set[RecordingKey]:
    """Return the keys of recordings that a hold list held when a retention plan was last made."""
    if not loaded.find(HOLDS):
        return set()
    rows = loaded.query(f"SELECT {', '.join(RECORDING_KEY)} FROM ({write_open_holds()}) AS h")
    return {(str(account), str(kind), str(user or ""), int(id_)) for account, kind, user, id_ in rows}


def read_columns(loaded: LoadedTables, table: str) -> dict[str, Kind]:
    """Return the columns of a table with what they hold."""
    return {name: read_kind(kind) for name, kind in loaded.columns(table).items()}


def _write_search(loaded: LoadedTables, table: str, subject: Subject, prefix: str = "t.") -> str:
    # `LoadedTables` takes DuckDB's dialect, and translates it
    return write_search(table, read_columns(loaded, table), subject, write_duckdb_match, prefix)


def _write_name(name: Any) -> str:
    conditions = [f"t.id = {name.recording_id}"]
    if name.user_id:
        conditions.append(f"t.user_id = {_quote(name.user_id)}")
    if name.account_id:
        conditions.append(f"t.account_id = {_quote(name.account_id)}")
    return f"({' AND '.join(conditions)})"


def _read(loaded: LoadedTables, kind: str, condition: str) -> Iterator[ErasedRecording]:
    endpoint = RECORDING_ENDPOINTS[kind]
    columns = loaded.columns(endpoint.name)
    user = "t.user_id" if endpoint.per_user else "''"
    optional = [
        f't."{name}"' if name in columns else "NULL" for name in ("start", "call_id", "file_size_in_bytes")
    ]
    selected = ", ".join(("t.account_id", user, "t.id", *optional))
    query = f"SELECT {selected} FROM {endpoint.name} AS t WHERE {condition}"
    seen = set()
    for account, owner, id_, start, call, size in loaded.query(query):
        recording_type: RecordingType = "user" if kind == "user" else "company"
        row = ErasedRecording(
            str(account),
            recording_type,
            str(owner or ""),
            int(id_),
            _write(start),
            str(call) if call else None,
            None if size is None else int(size),
        )
        if row.key not in seen:  # where a destination only appends, rows repeat
            seen.add(row.key)
            yield row


def _read_legs(loaded: LoadedTables, condition: str) -> list[Row]:
    return loaded.query(
        f'SELECT DISTINCT t.account_id, t.id, t.leg, t."start" FROM {CALL_LOGS.name} AS t WHERE {condition}'
    )


def _write(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).isoformat()


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _divide(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    yield from (values[first : first + _PART] for first in range(0, len(values), _PART))
