"""Names and telephone numbers are hashed or dropped everywhere, and joins still work."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gateway_fixtures import PASSWORD
from holdings import ago, only
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
        "contact_numbers": [{"type": "Mobile", "value": MOBILE, "note": "Zebulonia at home"}],
        "extensions": [
            {
                "extension_number": str(2000 + number),
                "dids": [{"phone_number": DIRECT, "custom_tag": "Quaxworth"}],
            }
        ],
        "manager": {"name": "Quaxworth Senior", "phone": int(DIRECT), "level": 3},
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
    )
    gateway.jobs.add(1, status="complete")
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
@pytest.mark.parametrize("name", ["somethingNew", "caller_id", "duration", "start", "call_direction_note"])
@pytest.mark.parametrize(
    "privacy", [PiiPolicy("hash", b"key"), PiiPolicy("drop")], ids=lambda policy: policy.mode
)
def test_number_is_hidden_in_every_field(privacy: PiiPolicy, name: str, value: Any) -> None:
    if name == "duration" and isinstance(value, (int, float)):
        pytest.skip("a number of milliseconds")
    table = build_table([page(**{name: value})], {"account_id": "1"}, lambda _: None, privacy=privacy)
    assert "2025550177" not in repr(table.to_pylist())
    assert "555 0177" not in repr(table.to_pylist())


def test_hash_depends_on_the_key() -> None:
    first, second = PiiPolicy("hash", b"first"), PiiPolicy("hash", b"second")
    assert first.hide(MOBILE) == PiiPolicy("hash", b"first").hide(MOBILE) != second.hide(MOBILE)
    assert first.hide(first.hide(MOBILE) or "") == first.hide(MOBILE)
    assert first.hide_value(int(MOBILE)) == first.hide(MOBILE)
