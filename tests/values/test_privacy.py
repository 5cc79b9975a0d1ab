"""Names and telephone numbers are hashed or dropped everywhere, and joins still work."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from expected_rows import ago, only
from gateway_fixtures import PASSWORD
from in_process import run_in_process
from loading import load, open_pipeline, query, still_gateway

from vbc_source.emulator import Emulator, Gateway
from vbc_source.pii import PiiPolicy
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import RECORDING
from vbc_source.schema.tables import build_table, split_lists

Serve = Callable[[Gateway], str]

KEY = "a-long-random-text-for-tests"
MOBILE, DIRECT = "12025550177", "13035550188"
SETTINGS = {
    "hash": {"pii": "hash", "pii_key": KEY},
    "drop": {"pii": "drop"},
}


def hashed(text: str) -> str:
    return hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()


def person(number: int) -> dict[str, Any]:
    return {
        "first_name": f"Zebulonia{number}",
        "last_name": f"Quaxworth{number}",
        "email": f"zq{number}@quaxworth.example",
        "login_name": f"zquax{number}",
        "contact_numbers": [
            {"type": "Mobile", "value": MOBILE, "note": "Zebulonia at home", f"+{DIRECT}": 1}
        ],
        "extensions": [
            {
                "extension_number": str(2000 + number),
                "dids": [{"phone_number": DIRECT, "custom_tag": "Quaxworth"}],
            }
        ],
        "manager": {"name": "Quaxworth Senior", "phone": int(DIRECT), "level": 3},
        "forwards": {MOBILE: "busy", "ZEBULONIA QUAXWORTH": {f"+{DIRECT}": 1}},
        f"+{MOBILE}": "a field of its own",
    }


def private_gateway(**options: Any) -> Gateway:
    gateway = still_gateway(users=0, recordings=30, **options)
    for number in range(1, 5):
        gateway.users.add(id=number, recordings=8, **person(number))
        gateway.users.recordings(number).add(
            start=ago(hours=5),
            caller_id=int(MOBILE),
            dnis=DIRECT,
            cnam="ZEBULONIA QUAXWORTH",
            extensions=[2001, MOBILE],
        )
    gateway.company.add(
        start=ago(hours=2),
        caller_id=MOBILE,
        dnis=int(DIRECT),
        cnam="ZEBULONIA QUAXWORTH",
        duration="Quaxworth hung up",
        extensions=[2001, int(DIRECT)],
        rule_ids=[12345678, "Quaxworth"],
        agentName="Zebulonia Quaxworth",
        callback=int(MOBILE),
        notes=["ring +1 202 555 0177", {"by": "Zebulonia", "score": 4}],
        score=7,
        call_direction="Quaxworth to Zebulonia",
        call_id=f"{MOBILE}@quaxworth.example",
        participants={f"+{MOBILE}": {"role": "caller"}, "Zebulonia Quaxworth": 1, "zq1@quaxworth.example": 2},
    )
    gateway.company.add(start=ago(hours=3), rule_ids=[int(MOBILE), 7], **{f"tel {DIRECT}": {"ZEBULONIA": 5}})
    gateway.jobs.add(
        1,
        status="for Zebulonia",
        download_url=f"https://zquax1:x@vbc.example/retrieve?jobId=5&login_name=zquax1&to=%2B{MOBILE}",
    )
    gateway.users.forbid(3)
    gateway.users.vanish(4)
    return gateway


def secrets(gateway: Gateway) -> set[str]:
    rows = gateway.company.all() + [
        row for user in range(1, 5) for row in gateway.users.recordings(user).all()
    ]
    values = {
        str(row[name]) for row in rows for name in ("caller_id", "dnis", "cnam", "file_name") if row[name]
    }
    known = {
        "Zebulonia",
        "Quaxworth",
        "ZEBULONIA",
        "QUAXWORTH",
        "quaxworth",
        "zquax",
        "555 0177",
        MOBILE,
        DIRECT,
    }
    return known | {text for text in values if len(text) > 8}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The contents of all files: raw, decompressed, and as rows."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield str(path), data
            with suppress(OSError):
                yield f"{path} unpacked", gzip.decompress(data)
            if path.suffix == ".parquet":
                yield f"{path} as rows", repr(pq.read_table(path).to_pylist()).encode()


def search_files(folder: Path, words: set[str]) -> list[tuple[str, bytes]]:
    """The files that contain one of the words."""
    pattern = re.compile(b"|".join(re.escape(word.encode()) for word in words))
    return [(place, match[0]) for place, data in contents(folder) if (match := pattern.search(data))]


@dataclass
class Hidden:
    """A gateway with personal data, and what a load with a policy left behind."""

    gateway: Gateway
    pipeline: dlt.Pipeline
    words: set[str]
    leaks: list[tuple[str, bytes]]
    log: str


@pytest.fixture(scope="module")
def hidden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hidden]:
    """One load of all resources for many tests; its files are searched before and after loading."""
    folder, log = tmp_path_factory.mktemp(request.param), io.StringIO()
    gateway, handler = private_gateway(), logging.StreamHandler(log)
    words = secrets(gateway) | {KEY}
    logger = logging.getLogger("vbc_source")
    with pytest.MonkeyPatch.context() as patch, Emulator(gateway) as url:
        patch.chdir(folder)
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        patch.setattr(logger, "level", logging.DEBUG)
        logger.addHandler(handler)
        try:
            pipeline = open_pipeline()
            pipeline.extract(only(url, on_forbidden="skip", **SETTINGS[request.param]))
            pipeline.normalize()
            assert any(path.suffix == ".parquet" for path in folder.rglob("*"))
            leaks = search_files(folder, words)
            pipeline.load()
            leaks += search_files(folder, words)
        finally:
            logger.removeHandler(handler)
        yield Hidden(gateway, pipeline, words, leaks, log.getvalue())


both_modes = pytest.mark.parametrize(
    "hidden", ["hash", pytest.param("drop", marks=pytest.mark.slow)], indirect=True
)
hash_mode = pytest.mark.parametrize("hidden", ["hash"], indirect=True)


@both_modes
def test_working_files_and_database_file_contain_no_personal_data(hidden: Hidden) -> None:
    assert hidden.leaks == []


@both_modes
def test_log_contains_no_personal_data(hidden: Hidden) -> None:
    assert "user 3 of account" in hidden.log
    assert not [word for word in hidden.words if word in hidden.log]


@both_modes
def test_tables_and_state_contain_no_personal_data(hidden: Hidden) -> None:
    rows = [
        repr(query(hidden.pipeline, f'SELECT * FROM "{table}"'))
        for table in hidden.pipeline.default_schema.tables
        if not table.startswith("_dlt") or table in ("_dlt_pipeline_state", "_dlt_version")
    ]
    assert not [word for word in hidden.words if any(word in row for row in rows)]
    assert query(hidden.pipeline, "SELECT count(*), count(user_name) FROM user_access") == [(4, 0)]


@both_modes
def test_ids_and_extensions_stay_readable(hidden: Hidden) -> None:
    joined = "SELECT id, extension FROM users JOIN extensions ON user_id = id ORDER BY 1"
    assert query(hidden.pipeline, joined) == [(str(number), str(2000 + number)) for number in range(1, 5)]
    keys = "SELECT count(*), count(DISTINCT (account_id, user_id, id)) FROM user_recordings"
    expected = len([row for user in (1, 2) for row in hidden.gateway.users.recordings(user).all()])
    assert query(hidden.pipeline, keys) == [(expected, expected)]


@hash_mode
def test_equal_values_have_equal_hashes_in_every_table(hidden: Hidden) -> None:
    joined = query(
        hidden.pipeline,
        "SELECT count(*) FROM user_recordings JOIN company_recordings USING (caller_id) "
        "JOIN users__contact_numbers ON value = caller_id WHERE company_recordings.agent_name IS NOT NULL",
    )
    assert joined == [(2 * 4,)]
    users = query(
        hidden.pipeline, "SELECT email, login_name, first_name, last_name FROM users WHERE id = '1'"
    )
    assert users == [
        tuple(hashed(person(1)[name]) for name in ("email", "login_name", "first_name", "last_name"))
    ]


@hash_mode
def test_values_of_every_kind_are_hashed(hidden: Hidden) -> None:
    (dids,) = query(hidden.pipeline, "SELECT DISTINCT dids FROM users__extensions")
    assert json.loads(dids[0])[0]["phone_number"] == hashed(DIRECT)
    rows = query(
        hidden.pipeline,
        "SELECT caller_id, dnis, cnam, agent_name, callback, duration__v_text, score, notes "
        "FROM company_recordings WHERE agent_name IS NOT NULL",
    )
    assert rows[0][:7] == (
        hashed(MOBILE),
        hashed(DIRECT),
        hashed("ZEBULONIA QUAXWORTH"),
        hashed("Zebulonia Quaxworth"),
        hashed(MOBILE),
        hashed("Quaxworth hung up"),
        7,
    )
    assert json.loads(rows[0][7]) == [hashed("ring +1 202 555 0177"), {"by": hashed("Zebulonia"), "score": 4}]
    extensions = query(
        hidden.pipeline,
        "SELECT extension FROM company_recordings__extensions JOIN company_recordings "
        "ON id = recording_id WHERE agent_name IS NOT NULL ORDER BY position",
    )
    assert extensions == [("2001",), (hashed(DIRECT),)]


def test_log_and_files_of_a_command_contain_no_personal_data_and_no_key(
    serve: Serve, own_folder: Path
) -> None:
    gateway = private_gateway()
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in PASSWORD.items()}
    result = run_in_process(
        "sync",
        SOURCES__VBC__BASE_URL=serve(gateway),
        SOURCES__VBC__PII="hash",
        SOURCES__VBC__PII_KEY=KEY,
        SOURCES__VBC__FILTERS=json.dumps({"caller_id": MOBILE}),
        **login,
    )
    assert result.exit_code == 1  # a user is forbidden
    assert "user 3 of account" in result.stderr
    words = secrets(gateway) | {KEY}
    assert not [word for word in words if word in result.stderr + result.stdout]
    assert search_files(own_folder, words) == []


COMMANDS = [
    ["sync"],
    ["status"],
    ["verify", "--repair", "--json"],
    ["audio", "--limit", "3"],
    ["export", "create", "--json"],
    ["export", "download", "1"],
    ["audio", "--json"],
    ["retention", "--older-than", "1"],
    ["retention", "--older-than", "100", "--apply", "--json"],
    ["backfill", "--start-date", "2025-01-01", "--end-date", "2025-02-01", "--json"],
    ["models", "run"],
    ["doctor"],
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", SETTINGS)
def test_no_command_leaves_personal_data_or_a_secret(serve: Serve, own_folder: Path, mode: str) -> None:
    """Markers in every field and setting; then all files, tables and output are searched for them."""
    gateway = private_gateway()
    login = {f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in PASSWORD.items()}
    settings = {f"SOURCES__VBC__{name.upper()}": value for name, value in SETTINGS[mode].items()}
    place = {
        "SOURCES__VBC__BASE_URL": serve(gateway),
        "SOURCES__VBC__ON_FORBIDDEN": "skip",
        "SOURCES__VBC__AUDIO__BUCKET_URL": str(own_folder / "archive"),
    }
    secret = {PASSWORD["client_secret"], PASSWORD["password"], KEY}
    words = secrets(gateway) | secret
    for command in COMMANDS:
        done = run_in_process(*command, **login, **settings, **place)
        output = done.stdout + done.stderr
        assert done.exit_code in (0, 1), output
        assert not [word for word in words if word in output], command
    assert search_files(own_folder, words) == []
    shutil.copy("vbc.duckdb", "copy.duckdb")  # the commands ran in this process, which holds the file
    with duckdb.connect("copy.duckdb") as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
        ).fetchall()
        for schema, name in tables:
            rows = repr(connection.execute(f'SELECT * FROM "{schema}"."{name}"').fetchall())
            assert not [word for word in words if word in rows], name


@pytest.mark.slow
def test_former_users_are_hidden_after_a_change_of_the_policy(serve: Serve, own_folder: Path) -> None:
    gateway = private_gateway()
    url, pipeline = serve(gateway), open_pipeline()
    load(pipeline, url, "users")
    gateway.users.remove(2)
    load(pipeline, url, "users", **SETTINGS["hash"])
    columns = "first_name, last_name, email, login_name"
    gone = query(pipeline, f"SELECT {columns}, manager FROM users WHERE gone_at IS NOT NULL")
    assert gone[0][:4] == tuple(hashed(person(2)[name]) for name in columns.split(", "))
    assert json.loads(gone[0][4]) == {"name": hashed("Quaxworth Senior"), "phone": hashed(DIRECT), "level": 3}
    gateway.users.remove(1)
    load(pipeline, url, "users", **SETTINGS["hash"])
    again = query(pipeline, f"SELECT {columns} FROM users WHERE id = '1' AND gone_at IS NOT NULL")
    assert again == [tuple(hashed(person(1)[name]) for name in columns.split(", "))]


def page(**fields: Any) -> pa.Table:
    row = {"id": 1, "start": "2025-01-01T00:00:00Z", **fields}
    body = json.dumps({"total_items": 1, "_embedded": {"recordings": [row]}}).encode()
    return read_page(body, RECORDING).rows


@pytest.mark.parametrize(
    "privacy", [PiiPolicy("hash", b"key"), PiiPolicy("drop")], ids=lambda policy: policy.mode
)
def test_rule_ids_are_not_personal(privacy: PiiPolicy) -> None:
    table = build_table([page(rule_ids=[12345678, 7])], {"account_id": "1"}, lambda _: None, privacy=privacy)
    rules = split_lists(table, ["account_id"], RECORDING, privacy)["rule_ids"]
    assert rules["rule_id"].to_pylist() == [12345678, 7]
    assert rules.column_names.count("rule_id__v_text") == 0


@pytest.mark.parametrize(
    "value",
    [
        "+1 202 555 0177",
        12025550177,
        -12025550177,
        12025550177.0,
        ["12025550177"],
        {"a": {"b": ["12025550177"]}},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "name",
    [
        "somethingNew",
        "caller_id",
        "duration",
        "start",
        "call_direction",
        "call_id",
        "download_url",
        "user_id",
    ],
)
@pytest.mark.parametrize(
    "privacy", [PiiPolicy("hash", b"key"), PiiPolicy("drop")], ids=lambda policy: policy.mode
)
def test_number_is_hidden_in_every_field(privacy: PiiPolicy, name: str, value: Any) -> None:
    if name == "duration" and isinstance(value, (int, float)):
        pytest.skip("a number of milliseconds")
    table = build_table([page(**{name: value})], {"account_id": "1"}, lambda _: None, privacy=privacy)
    assert "2025550177" not in repr(table.to_pylist())
    assert "555 0177" not in repr(table.to_pylist())


@pytest.mark.parametrize(
    "privacy", [PiiPolicy("hash", b"key"), PiiPolicy("drop")], ids=lambda policy: policy.mode
)
def test_keys_that_are_data_are_hidden_and_names_of_fields_stay(privacy: PiiPolicy) -> None:
    value = {
        "agentName": 1,
        "agent_name_2": {"ERIKA MUSTERMANN": 2, f"n{MOBILE}": 3, "by": [{"a@b.example": 4}]},
    }
    hidden = privacy.hide_value(value)
    inner = hidden["agent_name_2"]
    assert hidden["agentName"] == 1
    if privacy.mode == "drop":
        assert inner == {"by": [{}]}
    else:
        assert sorted(map(repr, inner.values())) == ["2", "3", repr([{privacy.hide("a@b.example"): 4}])]
        assert inner[privacy.hide("ERIKA MUSTERMANN")] == 2


@pytest.mark.parametrize(
    ("field", "kept"),
    [
        ("call_direction", "INTRA_PBX"),
        ("call_id", "c91150a6-8cc4-4e73-9fef-17fd925c6448"),
        ("download_url", "https://api.vonage.com/t/vbc.prod/call_recording/api/audio/recording/193228"),
        ("download_url", "https://api.vonage.com/bulkDownload/retrieve?jobId=12025550177"),
    ],
)
def test_codes_and_addresses_stay_readable(field: str, kept: str) -> None:
    for hides in (PiiPolicy("hash", b"key"), PiiPolicy("drop")):
        values = [page(**{field: kept}), page(**{"id": 2, field: "Erika, ring +1 202 555 0177"})]
        table = build_table(values, {"account_id": "1"}, lambda _: None, privacy=hides)
        assert table[field].to_pylist() == [kept, hides.hide("Erika, ring +1 202 555 0177")]


def test_login_name_in_an_address_is_hidden_and_the_job_stays() -> None:
    address = "https://vbc.example/retrieve?jobId=5&login_name=erika"
    assert PiiPolicy("drop").hide_url(address) == "https://vbc.example/retrieve?jobId=5"
    hashes = PiiPolicy("hash", b"key")
    hidden = hashes.hide_url(address)
    assert hidden == f"https://vbc.example/retrieve?jobId=5&login_name={hashes.hide('erika')}"
    assert hashes.hide_url(hidden or "") == hidden


def test_hash_depends_on_the_key() -> None:
    first, second = PiiPolicy("hash", b"first"), PiiPolicy("hash", b"second")
    assert first.hide(MOBILE) == PiiPolicy("hash", b"first").hide(MOBILE) != second.hide(MOBILE)
    assert first.hide(first.hide(MOBILE) or "") == first.hide(MOBILE)
    assert first.hide_value(int(MOBILE)) == first.hide(MOBILE)
