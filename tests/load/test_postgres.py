"""Our Postgres destination loads the same rows as dlt's own, writes only what changed, and makes indexes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import dlt
import psycopg2
import psycopg2.extensions
import pyarrow as pa
import pytest
from loading import query
from warehouses import POSTGRES, has_postgres

from vbc_source import Target, VbcPostgres
from vbc_source.analytics.database import find_database
from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.destinations import open_destination
from vbc_source.load.destinations.added_columns import ADDED_VALUE
from vbc_source.load.destinations.postgres import OpenPostgresCredentials
from vbc_source.load.failures import explaining

pytestmark = [
    pytest.mark.destinations,
    pytest.mark.skipif(not has_postgres(), reason="no PostgreSQL at 127.0.0.1:5432"),
]
ODD = [
    "",
    "a 'quote'",
    'a "quote"',
    "line\nbreak\r\n",
    "back\\slash \\N \\.",
    "comma,\ttab",
    "é😀",
    "NULL",
    None,
]


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a dataset, which is dropped at the end."""
    name = f"vbc_test_{abs(hash(request.node.nodeid)) % 10**9}"
    yield name
    for kind in ("ours", "plain"):
        with open_pipeline(name, kind).sql_client() as client:
            for schema in (client.dataset_name, client.staging_dataset_name):
                client.execute_sql(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def open_pipeline(dataset: str, kind: str = "ours") -> dlt.Pipeline:
    factory = VbcPostgres if kind == "ours" else dlt.destinations.postgres
    destination = factory(POSTGRES, create_indexes=False)
    return dlt.pipeline(kind, destination=destination, dataset_name=f"{dataset}_{kind}")


def load(pipeline: dlt.Pipeline, tables: Sequence[pa.Table], **hints: Any) -> None:
    columns = {"gone": {"hard_delete": True}} if "gone" in tables[0].column_names else {}
    given = {"primary_key": ("account", "id"), "columns": columns, **hints}

    @dlt.resource(name="things", write_disposition="merge", **given)
    def things() -> Iterator[pa.Table]:
        yield from tables

    with explaining():
        pipeline.run(things())


def rows(first: int, last: int, **columns: Any) -> pa.Table:
    ids = list(range(first, last))
    constants = {name: [value] * len(ids) for name, value in columns.items()}
    return pa.table({"account": ["1"] * len(ids), "id": pa.array(ids, pa.int64()), **constants})


def items(owner: int, *values: str, gone: bool = False) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "account": ["1"] * count,
            "id": pa.array([owner] * count, pa.int64()),
            "position": pa.array(range(count), pa.int64()),
            "value": list(values),
            "gone": pa.array([gone or None] * count, pa.bool_()),
        }
    )


LISTS = {"primary_key": ("account", "id", "position"), "merge_key": ("account", "id")}
LOADS: dict[str, tuple[dict[str, Any], list[list[pa.Table]]]] = {
    "changed": ({}, [[rows(0, 50, text="a")], [rows(40, 60, text="b")]]),
    "a column less": ({}, [[rows(0, 50, text="a", more=1)], [rows(40, 60, text="a")]]),
    "a column more": ({}, [[rows(0, 50, text="a")], [rows(40, 60, text="a", more=1)]]),
    "in two files": ({}, [[rows(0, 50, text="a"), rows(50, 90, text="a", more=1)]]),
    "no rows": ({}, [[rows(0, 50, text="a")], [rows(0, 0, text="a")]]),
    "a shorter list": (LISTS, [[items(1, "a", "b", "c"), items(2, "d")], [items(1, "a", "x")]]),
    "a list moved": (LISTS, [[items(1, "a", "b")], [items(1, "b", "a", "c")]]),
    "an empty list": (LISTS, [[items(1, "a", "b"), items(2, "d")], [items(1, "", gone=True)]]),
}


@pytest.mark.parametrize("name", LOADS)
def test_the_same_rows_are_loaded_as_by_dlt_alone(name: str, dataset: str) -> None:
    hints, packages = LOADS[name]
    found = []
    for kind in ("plain", "ours"):
        pipeline = open_pipeline(dataset, kind)
        for tables in packages:
            load(pipeline, tables, **hints)
        columns = ", ".join(sorted(pipeline.default_schema.tables["things"]["columns"]))
        found.append(sorted(query(pipeline, f"SELECT {columns} FROM things"), key=str))
    assert found[0] == found[1]


def test_odd_texts_stay_as_they_are(dataset: str) -> None:
    pipeline = open_pipeline(dataset)
    texts = pa.table({"account": ["1"] * len(ODD), "id": range(len(ODD)), "text": pa.array(ODD, pa.string())})
    load(pipeline, [texts])
    assert query(pipeline, "SELECT text FROM things ORDER BY id") == [(text,) for text in ODD]


def test_rows_that_did_not_change_are_not_written(dataset: str) -> None:
    pipeline = open_pipeline(dataset)
    load(pipeline, [rows(0, 50, text="a")])
    place = "SELECT id, ctid, xmin FROM things ORDER BY id"
    before = query(pipeline, place)
    load(
        pipeline, [pa.concat_tables([rows(10, 40, text="a"), rows(40, 45, text="b"), rows(50, 52, text="a")])]
    )
    after = query(pipeline, place)
    assert [row[0] for row in after if row not in before] == [40, 41, 42, 43, 44, 50, 51]
    assert len(after) == 52


def test_a_dataset_that_dlt_alone_has_loaded_goes_on(dataset: str) -> None:
    """Its empty texts are null; they come back where a row is read again."""
    plain = dlt.destinations.postgres(POSTGRES, create_indexes=False, loader_file_format="csv")
    pipeline = dlt.pipeline("ours", destination=plain, dataset_name=f"{dataset}_ours")
    tables = [rows(0, 5, text="", when=pa.scalar(0, pa.timestamp("us", "UTC")).as_py(), number=1.5, yes=True)]
    load(pipeline, tables)
    load(open_pipeline(dataset), [tables[0].slice(0, 2)])
    assert query(pipeline, "SELECT text FROM things ORDER BY id")[:2] == [("",), ("",)]
    assert len(query(pipeline, "SELECT * FROM things WHERE number = 1.5 AND yes")) == 5


def test_keys_and_start_get_indexes(dataset: str) -> None:
    pipeline = open_pipeline(dataset)
    start = pa.array([0, 1], pa.timestamp("us", "UTC"))
    load(pipeline, [rows(0, 2).append_column("start", start)])
    load(pipeline, [rows(1, 3).append_column("start", start)])
    found = query(
        pipeline,
        f"SELECT indexdef FROM pg_indexes WHERE schemaname = '{dataset}_ours' AND tablename = 'things'",
    )
    assert sorted(text.rpartition("(")[2] for (text,) in found) == ["account, id)", "start)"]


def test_without_the_right_to_an_index_rows_are_loaded(
    dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = open_pipeline(dataset)
    load(pipeline, [rows(0, 2)])
    schema = f"{dataset}_ours"
    with pipeline.sql_client() as client:
        client.execute_sql(f"DROP INDEX {schema}.vbc_things_account_id")
        client.execute_sql("DROP ROLE IF EXISTS vbc_test_owner")
        client.execute_sql("CREATE ROLE vbc_test_owner NOLOGIN")
        client.execute_sql("DROP ROLE IF EXISTS vbc_test_loader")
        client.execute_sql("CREATE ROLE vbc_test_loader LOGIN PASSWORD 'any'")
        for name in (schema, f"{schema}_staging"):
            client.execute_sql(f"GRANT ALL ON SCHEMA {name} TO vbc_test_loader")
            client.execute_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA {name} TO vbc_test_loader")
        client.execute_sql(f"ALTER TABLE {schema}_staging.things OWNER TO vbc_test_loader")
    try:
        other = VbcPostgres(POSTGRES.replace("postgres:any", "vbc_test_loader:any"), create_indexes=False)
        with caplog.at_level(logging.WARNING, "vbc_source"):
            load(dlt.pipeline("ours", destination=other, dataset_name=schema), [rows(0, 3)])
        assert f'CREATE INDEX IF NOT EXISTS "vbc_things_account_id" ON "{schema}"."things"' in caplog.text
        assert len(query(pipeline, "SELECT * FROM things")) == 3
    finally:
        with pipeline.sql_client() as client:
            client.execute_sql(f"ALTER TABLE {schema}_staging.things OWNER TO postgres")
            client.execute_sql("DROP OWNED BY vbc_test_loader")
            client.execute_sql("DROP ROLE vbc_test_loader")
            client.execute_sql("DROP ROLE vbc_test_owner")


def test_a_required_column_is_added_to_a_table_with_rows(
    dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As an upgrade does: rows that are there lack it, or have what they stand for."""
    pipeline = open_pipeline(dataset)
    load(pipeline, [rows(0, 2)])
    key = ("account", "id", "version")
    hints: Any = {"primary_key": key, "columns": {"version": {ADDED_VALUE: 1}}}
    newer = rows(1, 3, version=1, kind="new")
    required = pa.schema([field.with_nullable(False) for field in newer.schema])
    with caplog.at_level(logging.WARNING):
        load(pipeline, [newer.cast(required)], **hints)
    assert "will fail" not in caplog.text
    expected = [(0, 1, None), (1, 1, "new"), (2, 1, "new")]
    assert query(pipeline, "SELECT id, version, kind FROM things ORDER BY id") == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "default_transaction_read_only=on",
            "default_transaction_read_only of the database or its user to off",
        ),
        ("statement_timeout=1", "raise statement_timeout of the database or of the user"),
    ],
)
def test_a_setting_of_the_server_that_stops_a_load_is_named(setting: str, message: str, dataset: str) -> None:
    load(open_pipeline(dataset), [rows(0, 2)])
    address = f"{POSTGRES}?options=-c%20{setting}"
    other = dlt.pipeline("other", destination=VbcPostgres(address), dataset_name=f"{dataset}_ours")
    with pytest.raises(VbcError, match=message), explaining():
        load(other, [rows(0, 20_000)])


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_are_right_whatever_the_encoding_of_the_database(encoding: str) -> None:
    name = f"vbc_test_{encoding.lower()}"
    with closing(psycopg2.connect(POSTGRES)) as server:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            cursor.execute(
                f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
            )
            try:
                destination = VbcPostgres(POSTGRES.rpartition("/")[0] + f"/{name}", create_indexes=False)
                pipeline = dlt.pipeline("encoded", destination=destination, dataset_name="vbc_data")
                load(pipeline, [rows(0, 1, text="Zoë")])
                assert query(pipeline, "SELECT text FROM things") == [("Zoë",)]
                if encoding == "LATIN1":
                    with pytest.raises(SettingsError, match="one with ENCODING 'UTF8'"), explaining():
                        load(pipeline, [rows(1, 2, text="😀")])
            finally:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("password", ["two words", "p@ss:w/o#r%d?&='+ \\\""])
def test_the_driver_gets_a_password_as_it_is(password: str) -> None:
    """Each character: in an address, libpq refuses spaces that are not encoded, and repeats the password."""
    login = OpenPostgresCredentials()
    login.host, login.database, login.username, login.password = "h", "d", "u", password
    address = login.to_native_representation()
    assert psycopg2.extensions.parse_dsn(address)["password"] == password
    assert " " not in address


@pytest.mark.slow
def test_many_tables_are_loaded_with_few_connections(dataset: str) -> None:
    """A server has a hundred by default, for all the loads of many customers."""
    role, pipeline = "vbc_test_few", open_pipeline(dataset)
    with pipeline.sql_client() as client:
        client.execute_sql(f"DROP ROLE IF EXISTS {role}")
        client.execute_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'any' CONNECTION LIMIT 12")
        client.execute_sql(f"GRANT CREATE ON DATABASE test TO {role}")
    few = VbcPostgres(POSTGRES.replace("postgres:any", f"{role}:any"), create_indexes=False)
    name = f"{dataset}_ours"
    tables = [
        dlt.resource([rows(0, 2_000)], name=f"t{number}", write_disposition="merge", primary_key="id")
        for number in range(20)
    ]
    try:
        with explaining():
            dlt.pipeline("ours", destination=few, dataset_name=name).run(tables)
        assert query(pipeline, f"SELECT count(*) FROM {name}.t19") == [(2_000,)]
    finally:
        with pipeline.sql_client() as client:
            client.execute_sql(f"DROP OWNED BY {role} CASCADE")
            client.execute_sql(f"DROP ROLE {role}")


def test_without_its_driver_one_error_says_what_to_install(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISABLE_ADBC_DETECTION", "true")
    with pytest.raises(SettingsError, match=r"adbc-driver-postgresql.*extra `postgres`"):
        load(open_pipeline(dataset), [rows(0, 2)])


def test_a_destination_with_a_name_of_its_own_is_ours_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__WAREHOUSE__DESTINATION_TYPE", "postgres")
    monkeypatch.setenv("DESTINATION__WAREHOUSE__CREDENTIALS", POSTGRES)
    destination = open_destination(Target(destination="warehouse"))
    assert isinstance(destination, VbcPostgres)
    assert (destination.destination_name, destination.destination_type) == (
        "warehouse",
        "dlt.destinations.postgres",
    )


def test_a_parameter_of_the_address_may_have_spaces(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver that copies files reads the address as libpq does: a `+` is no space there."""
    address = "postgresql://postgres@127.0.0.1:5432/test?options=-c%20work_mem%3D8MB"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    destination = open_destination(Target(destination="postgres", dataset=dataset))
    pipeline = dlt.pipeline("spaces", destination=destination, dataset_name=dataset)
    load(pipeline, [rows(0, 2)])
    assert len(query(pipeline, "SELECT * FROM things")) == 2


@pytest.mark.parametrize(
    "address",
    ["postgresql://postgres@127.0.0.1:5432/test", "postgresql:///test?host=127.0.0.1&user=postgres"],
)
def test_an_address_needs_no_password(dataset: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with trust, peer and `.pgpass`; the server of the tests trusts this machine."""
    for name in ("PGHOST", "PGUSER", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", address)
    destination = open_destination(Target(destination="postgres", dataset=dataset))
    pipeline = dlt.pipeline("open", destination=destination, dataset_name=dataset)
    load(pipeline, [rows(0, 2)])
    assert len(query(pipeline, "SELECT * FROM things")) == 2
    assert find_database(Target(destination="postgres", dataset=dataset)).dbt_output()["dbname"] == "test"
