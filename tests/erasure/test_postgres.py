"""What is particular to Postgres: sessions that a pooler shares, and statistics."""

from __future__ import annotations

import secrets

import pytest
from warehouses import set_up

from vbc_source.erasure.conditions import Erased
from vbc_source.erasure.database import DatabaseRows
from vbc_source.erasure.subject import read_subject
from vbc_source.pii import PiiPolicy


def open_rows(pipeline: object, number: str) -> DatabaseRows:
    subject = read_subject(number, None, (), PiiPolicy())
    return DatabaseRows(pipeline, subject, ["company_recordings"], "no_models")  # type: ignore[arg-type]


def test_all_queries_are_in_the_transaction_of_the_temporary_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """PgBouncer with `pool_mode = transaction` runs the next transaction in another session."""
    with set_up("postgres", monkeypatch, dict) as warehouse:
        with open_rows(warehouse.open(), "+44 20 7946 0958")._open(Erased((), ())) as client:
            first, second = (client.execute_sql("SELECT txid_current()") for _ in range(2))
        assert first == second


def test_statistics_of_before_are_gone_from_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = f"4420{secrets.randbelow(10**8):08}"  # not another test's
    with set_up("postgres", monkeypatch, dict) as warehouse:
        pipeline = warehouse.open()
        rows = open_rows(pipeline, f"+{digits}")
        with pipeline.sql_client() as client:
            client.create_dataset()
            table = client.make_qualified_table_name("company_recordings")
            client.execute_sql(
                f"CREATE TABLE {table} AS SELECT '549825' AS account_id, i AS id, "
                f"CASE WHEN i % 2 = 0 THEN '{digits}' ELSE 'other' END AS notes "
                "FROM generate_series(1, 100) AS r(i)"
            )
            client.execute_sql(f"ANALYZE {table}")

            def read_statistics() -> bytes:
                client.execute_sql("CHECKPOINT")
                ((data,),) = client.execute_sql(
                    "SELECT pg_read_binary_file(pg_relation_filepath('pg_catalog.pg_statistic'))"
                )
                return bytes(data)

            assert digits.encode() in read_statistics()
            assert rows.erase(Erased((), ())) == 50
            assert rows.compact() == []
            assert digits.encode() not in read_statistics()
