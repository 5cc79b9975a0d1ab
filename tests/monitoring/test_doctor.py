"""What `vbc doctor` finds: all that would stop a sync, and what to change; it leaves nothing behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg2
import pytest
from loading import run_vbc, still_gateway
from raw_tables import own_dataset
from warehouses import POSTGRES

from vbc_source.emulator import Gateway

Serve = Callable[[Gateway], str]

SETTING, FILES = "SOURCES__VBC__", "DESTINATION__FILESYSTEM__"
NOWHERE = "http://127.0.0.1:9"


def list_files(folder: Path) -> set[str]:
    """The files of a folder, without dlt's own data."""
    paths = {path.relative_to(folder) for path in folder.rglob("*")}
    return {str(path) for path in paths if path.parts[0] != "dlt"}


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("PAGE_SIZE", "0", "page_size must be a whole number of at least 1, not 0"),
        ("PII", "hash", "pii = hash needs a key of 16 characters or more: set pii_key"),
        ("LOOKBACK_HOURS", "abc", "lookback_hours must be of type float"),
        ("LOOKBACK_HOURS", "true", "lookback_hours must be"),
        ("START_DATE", "soon", "start_date must be an ISO date"),
        ("ON_FORBIDDEN", "ignore", "on_forbidden must be raise or skip"),
        ("VBC_TIMEZONE", "Mars/Olympus", "vbc_timezone must be a time zone"),
        ("BASE_URL", "http://vbc.example", "base_url must begin with https://"),
        ("ROWS_PER_RUN", "0", "rows_per_run must be a whole number"),
        ("FILTERS", '{"no_such": 1}', "no_such"),
        ("MODEL_VARIABLES", "{vbc_quiet_days", "model_variables must be a table of names and values"),
    ],
)
def test_a_setting_that_sync_refuses_fails(own_folder: Path, setting: str, value: str, message: str) -> None:
    done = run_vbc(own_folder, NOWHERE, "doctor", **{SETTING + setting: value})
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAIL  settings: ")
    assert message in lines[0]
    # what does not depend on them is still checked
    assert [line.split(":")[0] for line in lines[1:]] == ["ok    destination"]
    assert list_files(own_folder) == set()


def test_a_changed_password_is_tried_once_also_where_a_token_is_cached(
    serve: Serve, own_folder: Path
) -> None:
    gateway = still_gateway(recordings=5)
    url = serve(gateway)
    good = run_vbc(own_folder, url, "doctor")
    assert good.returncode == 0, good.stdout
    assert "a user of its own for an integration, without single sign-on" in good.stdout
    for _ in range(2):
        refused = run_vbc(own_folder, url, "doctor", SOURCES__VBC__CREDENTIALS__PASSWORD="mistyped")
        assert refused.returncode == 1
        assert "FAIL  login: VBC refused the login" in refused.stdout
    assert gateway.tokens.logins == 2
    assert run_vbc(own_folder, url, "doctor").returncode == 0
    assert gateway.tokens.logins == 2


def test_rights_and_subscriptions_are_reported_one_by_one(serve: Serve, own_folder: Path) -> None:
    gateway = still_gateway(recordings=5, users=2, user_recordings=4)
    gateway.users.forbid(gateway.users.all()[0]["id"])
    url = serve(gateway)
    done = run_vbc(own_folder, url, "doctor")
    assert done.returncode == 1
    user = gateway.users.all()[0]["id"]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert line.startswith(f"FAIL  recordings of user {user}: ")
    assert "give the user the right in the VBC admin portal" in line
    skipped = run_vbc(own_folder, url, "doctor", SOURCES__VBC__ON_FORBIDDEN="skip")
    assert skipped.returncode == 0
    assert f"note  recordings of user {user}: " in skipped.stdout


def test_a_database_is_not_changed(own_folder: Path) -> None:
    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
    done = run_vbc(own_folder, NOWHERE, "doctor", SOURCES__VBC__PAGE_SIZE="0")
    assert "ok    destination: duckdb answers and may be written" in done.stdout
    assert list_files(own_folder) == {"vbc.duckdb"}
    with duckdb.connect("vbc.duckdb", read_only=True) as connection:
        tables = connection.execute("SELECT schema_name FROM information_schema.schemata").fetchall()
        assert ("vbc_data",) not in tables


@pytest.mark.parametrize(
    ("options", "changed", "message"),
    [
        pytest.param(
            ["--destination", "filesystem"],
            {f"{FILES}BUCKET_URL": "/dev/full/lake"},
            "/dev/full",
            id="a lake that cannot be written",
        ),
        pytest.param(
            ["--destination", "filesystem"],
            {f"{FILES}BUCKET_URL": "lake", f"{FILES}TABLE_FORMAT": "delta"},
            "deltalake is not installed: install the extra `delta`",
            id="no deltalake",
        ),
        pytest.param(
            ["--destination", "filesystem"],
            {f"{FILES}BUCKET_URL": "lake", f"{FILES}TABLE_FORMAT": "hudi"},
            "table_format must be delta or iceberg",
            id="an unknown format",
        ),
        pytest.param(
            ["--destination", "postgres"],
            {"DESTINATION__POSTGRES__CREDENTIALS": "postgresql://vbc:any@127.0.0.1:9/calls"},
            "onnection refused",
            id="no Postgres",
        ),
        pytest.param(["--destination", "nowhere"], {}, "there is no destination nowhere", id="unknown"),
    ],
)
def test_a_destination_that_cannot_be_loaded_fails(
    own_folder: Path,
    options: list[str],
    changed: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)  # type: ignore[arg-type]  # importing it fails
    done = run_vbc(own_folder, NOWHERE, "doctor", *options, SOURCES__VBC__PAGE_SIZE="0", **changed)
    (line,) = [line for line in done.stdout.splitlines() if "destination: " in line]
    assert line.startswith("FAIL  destination: ")
    assert message in line
    assert list_files(own_folder) == set()


@pytest.mark.parametrize(("bucket", "mark"), [("audio", "ok  "), ("/dev/full/audio", "note")])
def test_the_audio_bucket_is_written(serve: Serve, own_folder: Path, bucket: str, mark: str) -> None:
    url = serve(still_gateway(recordings=1))
    done = run_vbc(own_folder, url, "doctor", SOURCES__VBC__AUDIO__BUCKET_URL=bucket)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{mark}  audio bucket: file://")
    assert list_files(own_folder) == set()


@pytest.mark.destinations
def test_buckets_of_s3_are_written_and_left_as_they_were(
    serve: Serve, own_folder: Path, s3_settings: Callable[[], dict[str, str]]
) -> None:
    settings = s3_settings()
    url, bucket = serve(still_gateway(recordings=1)), settings[f"{FILES}BUCKET_URL"]
    options = {**settings, "SOURCES__VBC__AUDIO__BUCKET_URL": f"{bucket}/audio"}
    done = run_vbc(own_folder, url, "doctor", "--destination", "filesystem", **options)
    assert done.returncode == 0, done.stdout
    assert "ok    audio bucket: s3://" in done.stdout
    listed = run_vbc(own_folder, url, "doctor", "--destination", "filesystem", **options)
    assert listed.returncode == 0
    missing = {**options, f"{FILES}BUCKET_URL": "s3://there-is-none/lake"}
    failed = run_vbc(own_folder, url, "doctor", "--destination", "filesystem", **missing)
    assert "FAIL  destination: " in failed.stdout


@pytest.fixture
def reader() -> Iterator[str]:
    """The address of a Postgres user who may read and not create."""
    with closing(psycopg2.connect(POSTGRES)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("DROP ROLE IF EXISTS vbc_doctor_reader")
        cursor.execute("CREATE ROLE vbc_doctor_reader LOGIN PASSWORD 'any'")
        yield POSTGRES.replace("postgres:any", "vbc_doctor_reader:any")
        cursor.execute("DROP OWNED BY vbc_doctor_reader")
        cursor.execute("DROP ROLE vbc_doctor_reader")


@pytest.mark.destinations
def test_a_postgres_user_has_to_be_allowed_to_create(own_folder: Path, reader: str) -> None:
    def diagnose(address: str) -> str:
        options = ("--destination", "postgres", "--dataset", dataset)
        return run_vbc(
            own_folder,
            NOWHERE,
            "doctor",
            *options,
            SOURCES__VBC__PAGE_SIZE="0",
            DESTINATION__POSTGRES__CREDENTIALS=address,
        ).stdout.splitlines()[-1]

    with own_dataset() as dataset, closing(psycopg2.connect(POSTGRES)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        refused = diagnose(reader)
        assert refused.startswith(
            f"FAIL  destination: the database user may not create in dataset {dataset}: "
        )
        # a merge needs its own schema too
        cursor.execute(f"CREATE SCHEMA {dataset}")
        cursor.execute(f"GRANT USAGE, CREATE ON SCHEMA {dataset} TO vbc_doctor_reader")
        assert f"in dataset {dataset}_staging: grant it CREATE" in diagnose(reader)
        cursor.execute(f"CREATE SCHEMA {dataset}_staging")
        cursor.execute(f"GRANT USAGE, CREATE ON SCHEMA {dataset}_staging TO vbc_doctor_reader")
        assert diagnose(reader).startswith("ok    destination: postgres answers and may be written")
        cursor.execute(f"DROP SCHEMA {dataset}, {dataset}_staging")  # fails unless they are empty
        assert diagnose(POSTGRES).startswith("ok    destination: ")
        cursor.execute(
            "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE %s", [f"{dataset}%"]
        )
        assert cursor.fetchall() == [(0,)]
