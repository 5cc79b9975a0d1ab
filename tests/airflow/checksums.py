"""Tells whether two datasets hold the same, and whether one holds what a gateway has."""

from __future__ import annotations

from typing import Any

from conftest import DATABASE, execute

from vbc_source.emulator import Gateway

TABLES = {
    "company_recordings": ("account_id", "id"),
    "company_recordings__extensions": ("account_id", "recording_id", "position"),
    "company_recordings__rule_ids": ("account_id", "recording_id", "position"),
    "user_recordings": ("account_id", "user_id", "id"),
    "user_recordings__extensions": ("account_id", "user_id", "recording_id", "position"),
    "user_recordings__rule_ids": ("account_id", "user_id", "recording_id", "position"),
}


def checksum(warehouse: str, dataset: str) -> dict[str, tuple[Any, ...]]:
    """By table, how many rows there are, and a digest of all their values."""
    found = {}
    for table, key in TABLES.items():
        columns = [
            f'"{name}"'
            for (name,) in execute(
                f"SELECT column_name FROM information_schema.columns WHERE table_schema = '{dataset}' "
                f"AND table_name = '{table}' AND column_name NOT LIKE '%dlt%' ORDER BY 1",
                warehouse,
            )
        ]
        (found[table],) = execute(
            f"SELECT count(*), md5(string_agg(row({', '.join(columns)})::text, ';' "
            f'ORDER BY {", ".join(key)})) FROM "{dataset}"."{table}"',
            warehouse,
        )
    return found


def ids(warehouse: str, dataset: str, table: str = "company_recordings") -> list[int]:
    return sorted(int(str(id_)) for (id_,) in execute(f'SELECT id FROM "{dataset}"."{table}"', warehouse))


def held(gateway: Gateway) -> list[int]:
    return sorted(int(row["id"]) for row in gateway.company.all())


def address(warehouse: str) -> str:
    return f"{DATABASE}/{warehouse}"
