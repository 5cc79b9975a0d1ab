"""What stops a command is one line that names the setting, the file or the extra."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import duckdb
import psycopg2
import pytest
from botocore.exceptions import ClientError, ParamValidationError
from dlt.common.configuration.exceptions import ValueNotSecretException
from dlt.common.exceptions import MissingDependencyException
from loading import run_vbc, start_vbc, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.errors import LoginRefused, SettingsError, VbcError
from vbc_source.load.failures import EXTRAS, explain

Serve = Callable[[Gateway], str]
NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["sync", "--destination", "postgress"], {}, "no destination postgress: correct --destination"),
        (["status", "--destination", "postgress"], {}, "no destination postgress: correct --destination"),
        (["sync", "--destination", "postgres"], {}, "set DESTINATION__POSTGRES__CREDENTIALS__DATABASE"),
        (
            ["verify", "--destination", "postgres"],
            {"DESTINATION__POSTGRES__CREDENTIALS__HOST": "127.0.0.1"},
            "set DESTINATION__POSTGRES__CREDENTIALS__DATABASE",
        ),
        (
            ["status", "--destination", "postgres"],
            {"DESTINATION__POSTGRES__CREDENTIALS": "nonsense"},
            r"credentials in \[destination.postgres\] cannot be read: write postgresql://user:password@host",
        ),
        (
            ["status", "--destination", "filesystem"],
            {
                "DESTINATION__FILESYSTEM__BUCKET_URL": "s3://x/y",
                "DESTINATION__FILESYSTEM__CREDENTIALS": "nonsense",
            },
            "must be a table, and are a text that cannot be read: set aws_access_key_id",
        ),
        (
            ["status", "--destination", "filesystem"],
            {"DESTINATION__FILESYSTEM__BUCKET_URL": ""},
            "Field `bucket_url` of .* must contain valid url",
        ),
        (
            ["status", "--destination", "filesystem"],
            {"DESTINATION__FILESYSTEM__BUCKET_URL": "s3:/bucket/lake"},
            r"\[destination.filesystem\] bucket_url must begin with s3://",
        ),
        (
            ["status", "--destination", "filesystem"],
            {"DESTINATION__FILESYSTEM__BUCKET_URL": "x", "DESTINATION__FILESYSTEM__LAYOUT": "{tabel_name}"},
            "layout in .* has unknown placeholders, tabel_name: remove it",
        ),
        (["sync"], {"DLT_DATA_DIR": os.devnull}, "DLT_DATA_DIR"),
        (["audio", "--bucket-url", "files"], {"DLT_DATA_DIR": os.devnull}, "DLT_DATA_DIR"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    own_folder: Path, arguments: list[str], settings: dict[str, str], message: str
) -> None:
    done = run_vbc(own_folder, NOWHERE, *arguments, **settings)
    output = done.stdout + done.stderr
    lines = [line for line in output.splitlines() if line.startswith(f"vbc {arguments[0]}: ")]
    assert done.returncode == 1
    assert re.search(message, output)
    assert len(lines) == 1
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["a = 1\na = 'hunter2'", pytest.param("[x\nhunter2", marks=pytest.mark.slow)]
)
def test_a_broken_file_of_settings_is_one_line_that_names_it_and_repeats_nothing(
    own_folder: Path, text: str
) -> None:
    (own_folder / ".dlt").mkdir()
    (own_folder / ".dlt" / "config.toml").write_text(text)
    done = start_vbc(own_folder, NOWHERE, "sync")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "config.toml is not valid TOML" in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full.*DLT_DATA_DIR"),
        (OSError(errno.ENOSPC, "No space left on device", "/a", None, "/lake/b"), "^/lake/b: the disk is"),
        (
            OSError(errno.EROFS, "Read-only file system", "/data/state.json"),
            "/data/state.json: Read-only.*DLT",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied.*DLT_DATA_DIR"),
        (
            ModuleNotFoundError("No module named 's3fs'", name="s3fs"),
            r"extra `s3` \(pip install '\.\[s3\]'",
        ),
        (ModuleNotFoundError("No module", name="psycopg2.extensions"), "extra `postgres`"),
        (ModuleNotFoundError("No module", name="sqlalchemy"), "extra `iceberg`"),
        (MissingDependencyException("dlt", ["dlt[gs]"]), "extra `gs`"),
        (MissingDependencyException("lakes", ["deltalake>=1"]), "extra `delta`"),
        (MissingDependencyException("dlt", ["dlt[snowflake]"]), r"pip install 'dlt\[snowflake\]'"),
        (duckdb.IOException('Cannot open file "/x": Read-only'), r'file "/x".*\[destination.duckdb\]'),
        (
            duckdb.TransactionException(
                'Failed to commit: Could not write "/x.wal": No space left on device'
            ),
            r'disk of the DuckDB file is full: .*"/x.wal".*free some space',
        ),
        (socket.gaierror(-2, "Name or service not known"), "name of a host is not known.*check the address"),
        (
            psycopg2.OperationalError('connection to server at "x", port 1 failed: Connection refused'),
            r'server at "x", port 1 failed.*\[destination.postgres\] credentials',
        ),
        (
            psycopg2.errors.InsufficientPrivilege("permission denied for database calls\nLINE 1"),
            "permission denied for database calls: grant it to the user of .*CREATE on the database",
        ),
        (
            psycopg2.errors.InsufficientPrivilege("permission denied for schema calls"),
            "^permission denied for schema calls: grant USAGE and CREATE on it, .*with _staging",
        ),
        (
            psycopg2.OperationalError('unexpected spaces found in "hunter2 ", use percent-encoded spaces'),
            r"^credentials in \[destination.postgres\] cannot be read: write postgresql://[^']*$",
        ),
        (
            psycopg2.errors.InsufficientPrivilege("must be owner of table calls"),
            "^must be owner of table calls: there is a new column for it; let the role that owns it load",
        ),
        (
            psycopg2.ProgrammingError('invalid dsn: invalid connection option "mysql://u:hunter2@h/d?x"'),
            r"^credentials in \[destination.postgres\] cannot be read: write postgresql://[^']*$",
        ),
        (
            psycopg2.OperationalError('could not translate host name "ss" to address: not known'),
            'name "ss".*write @, / and : of a password as %40',
        ),
        (
            psycopg2.OperationalError('could not translate host name "ter2@db" to address: not known'),
            'name "…@db".*write @, / and : of a password as %40',
        ),
        (
            ValueNotSecretException("config.toml", "destination.postgres.credentials"),
            r"credentials in \[destination.postgres\] may hold a secret: move it from config.toml to .dlt",
        ),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject"),
            r"\(AccessDenied\) when calling the PutObject operation: no: grant s3:PutObject to its login "
            r"\(place and login are set by",
        ),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2"),
            r"no: grant s3:ListBucket to its login \(place and login",
        ),
        (
            ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadObject"),
            r"grant s3:GetObject to its login; is the key right, and the clock of this machine\?",
        ),
        (
            ClientError({"Error": {"Code": "ExpiredToken", "Message": "It expired."}}, "PutObject"),
            r"It expired: the login has expired, or is malformed: renew aws_session_token",
        ),
        (
            ClientError({"Error": {"Code": "RequestTimeTooSkewed"}}, "PutObject"),
            "set the clock of this machine",
        ),
        (
            ClientError({"Error": {"Code": "SlowDown"}}, "PutObject"),
            "the store fails, or is overloaded; the next run continues",
        ),
        (
            ClientError({"Error": {"Code": "BucketAlreadyExists"}}, "CreateBucket"),
            r"^there is no such bucket, and it could not be made: .*\(BucketAlreadyExists\)",
        ),
        (
            ParamValidationError(report='Invalid bucket name "A!": must match'),
            r'^Invalid bucket name "A!": must match \(place and login',
        ),
        (
            OSError(
                "Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing PUT http://h/b/x?y=1 in 1s - Server "
                "returned non-2xx status code\n \x1b[31m↳\x1b[0m 403 Forbidden\n \x1b[31m↳\x1b[0m "
                '<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>\n'
            ),
            r"^PUT http://h/b/x failed: AccessDenied: grant s3:PutObject to its login \(place and login",
        ),
        (
            Exception(
                "Failed to parse parquet: S3 error: Error performing PUT http://h/b/x in 1ms - Server "
                "returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code></Error>"
            ),
            "^PUT http://h/b/x failed: ExpiredToken: the login has expired, or is malformed: renew",
        ),
        (
            Exception(
                "Generic S3 error: Error performing PUT http://h/b/x in 1s, after 10 retries - HTTP error"
            ),
            r"^PUT http://h/b/x failed: HTTP error \(place and login",
        ),
        (
            OSError("Generic S3 error\n ↳ Error performing GET http://h/b in 1s\n ↳ tcp error\n ↳ refused\n"),
            r"^GET http://h/b failed: refused \(place and login",
        ),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "WRONG_VERSION_NUMBER.*: check endpoint_url"),
        (ValueError("Protocol not known: foo"), r"foo: bucket_url in \[destination.filesystem\]"),
        (ValueError("Invalid endpoint: nonsense"), r"endpoint_url in \[destination.filesystem.credentials\]"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "nothing answers there.*endpoint_url"),
        (psycopg2.OperationalError("canceling statement"), "^OperationalError: canceling statement$"),
        (ValueError("first\nsecond: 14155550100"), "^ValueError: first$"),
    ],
)
def test_an_exception_of_others_is_explained_in_one_line(error: Exception, message: str) -> None:
    wrapped = RuntimeError("dlt's own words\nof several lines")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        text = str(explain(each))
        assert len(text.splitlines()) == 1
        with pytest.raises(VbcError, match=message):
            raise explain(each)


def test_an_error_of_ours_stays_the_same_below_whatever_wraps_it() -> None:
    ours = LoginRefused("refused")
    wrapped = RuntimeError("a step failed")
    wrapped.__cause__ = ours
    assert explain(wrapped) is ours
    assert not isinstance(explain(ConnectionResetError(errno.ECONNRESET, "reset")), SettingsError)


@pytest.mark.parametrize(
    ("reason", "permanent"),
    [
        ("Connection refused", False),
        ("FATAL:  sorry, too many clients already", False),
        ("FATAL:  the database system is starting up", False),
        ('FATAL:  password authentication failed for user "loader"', True),
        ('FATAL:  database "calls" does not exist', True),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', True),
        ("server does not support SSL, but SSL was required", True),
        ("SSL error: certificate verify failed", True),
    ],
)
def test_a_server_that_may_answer_at_another_attempt_is_no_wrong_setting(
    reason: str, permanent: bool
) -> None:
    error = psycopg2.OperationalError(f'connection to server at "db", port 5432 failed: {reason}')
    assert explain(error).permanent is permanent


@pytest.mark.parametrize(
    "error", [socket.gaierror(-3, "Temporary failure"), ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
)
def test_a_host_that_cannot_be_reached_is_no_wrong_setting(error: Exception) -> None:
    assert not explain(error).permanent


def test_every_extra_is_one_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in text for extra in EXTRAS)


@pytest.mark.slow
def test_any_name_of_a_folder_or_a_database_will_do(
    serve: Serve, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `=` is of partitions to DuckDB, a dot ends the name of its database, and a quote a text."""
    folder = own_folder / "day=1 it's"
    folder.mkdir()
    settings = {
        "DLT_DATA_DIR": str(folder / "dlt"),
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{folder}/calls.prod.duckdb",
        "SOURCES__VBC__USER_IDS": "[]",
    }
    url = serve(still_gateway(recordings=5))
    for arguments in (["sync"], ["status"], ["verify", "--repair"], ["sync"]):
        done = run_vbc(own_folder, url, *arguments, **settings)
        assert done.returncode == 0, done.stderr
    with duckdb.connect(str(folder / "calls.prod.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM vbc_data.company_recordings").fetchall() == [(5,)]


def test_what_was_loaded_does_not_stay_in_the_folder_of_the_pipeline(serve: Serve, own_folder: Path) -> None:
    url = serve(still_gateway(recordings=5))
    kept = own_folder / "dlt" / "pipelines" / "vbc"
    only = ("sync", "--resources", "company_recordings")
    assert run_vbc(own_folder, url, *only).returncode == 0
    assert list((kept / "load" / "loaded").glob("*/completed_jobs/*")) == []
    assert kept.stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_what_was_loaded_stays_in_the_folder_of_the_pipeline_where_its_user_wants_it(
    serve: Serve, own_folder: Path
) -> None:
    url = serve(still_gateway(recordings=5))
    kept = own_folder / "dlt" / "pipelines" / "vbc"
    only = ("sync", "--resources", "company_recordings")
    changed = {"LOAD__DELETE_COMPLETED_JOBS": "false", "SOURCES__VBC__START_DATE": "2024-01-01"}
    assert run_vbc(own_folder, url, *only, **changed).returncode == 0
    assert list((kept / "load" / "loaded").glob("*/completed_jobs/*"))
