"""What somebody changes in the chain of custody, the ledgers or the heads is found and named."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from archiving import Prepare, Site, make_gateway
from in_process import run_in_process

from vbc_source import CustodyResult, verify_custody

EVENT = "of chain vbc_audio"
ROW = '{"account_id":"549825","recording_id":1001,"recording_type":"company","user_id":"","version":1}'
MOVED = "was changed or moved: its hash is not that of its content"
HEAD = (
    "is not as the bucket has it, in the head of DAY: the chain was cut off or replaced, or the database "
    "restored"
)
MISSING = f"the row {ROW} of recording_audio is missing, or is an older one than that of event 2 {EVENT}"
FORK = """
    INSERT INTO custody SELECT * REPLACE (repeat('f', 64) AS hash, 'mallory' AS actor_user)
    FROM custody WHERE sequence = 2"""
UNDO = "UPDATE recording_audio SET sha256 = '0' WHERE recording_id = 1001"

# what is run in the database, and what is named
DAMAGE = {
    "event changed": ("UPDATE custody SET actor_user = 'x' WHERE sequence = 2", [f"event 2 {EVENT} {MOVED}"]),
    "event removed": (
        "DELETE FROM custody WHERE sequence = 2",
        [f"event 2 {EVENT} is missing", f"the row {ROW} of recording_audio has no event"],
    ),
    "events exchanged": (
        "UPDATE custody SET sequence = 5 - sequence WHERE sequence IN (2, 3)",
        [
            *(f"event {number} {EVENT} {MOVED}" for number in (2, 3)),
            f"event 4 {EVENT} does not follow the one before it: that was replaced",
        ],
    ),
    "end cut off": (
        "DELETE FROM custody WHERE sequence = 4; DELETE FROM recording_audio WHERE recording_id = 1003",
        [f"event 4 {EVENT} {HEAD}"],
    ),
    "fork": (
        FORK,
        [f"event 2 {EVENT} is there more than once: the chain has a fork", f"event 2 {EVENT} {MOVED}"],
    ),
    "event doubled": (
        "INSERT INTO custody SELECT * REPLACE ('x' AS action) FROM custody WHERE sequence = 2",
        [f"event 2 {EVENT} is there again, with another content"],
    ),
    "row changed": (UNDO, [f"the row {ROW} of recording_audio was changed after event 2 {EVENT}"]),
    "row removed": ("DELETE FROM recording_audio WHERE recording_id = 1001", [MISSING]),
    "row added": (
        "INSERT INTO recording_audio SELECT * REPLACE (7 AS recording_id) "
        "FROM recording_audio WHERE recording_id = 1001",
        [f"the row {ROW.replace('1001', '7')} of recording_audio has no event"],
    ),
    "row copied once more": ("INSERT INTO custody SELECT * FROM custody WHERE sequence = 2", []),
}


@pytest.fixture
def site(prepare: Prepare) -> Site:
    """An archive of four files, whose database may be replaced."""
    site = prepare(make_gateway(4), SOURCES__VBC__MAX_CONCURRENCY="1")  # in the order of the recordings
    site.load(shared=True)
    assert site.archive().stored == 4
    return site


def execute(sql: str) -> None:
    with closing(duckdb.connect("vbc.duckdb")) as connection:
        connection.execute(f"USE vbc_data; {sql}")


def verify(site: Site, since: datetime | None = None) -> CustodyResult:
    return verify_custody(bucket_url=site.bucket, since=since)


def test_damage_is_named_and_nothing_else(site: Site) -> None:
    whole = verify(site)
    assert (whole.ok, whole.events, whole.rows, whole.heads, whole.problems) == (True, 4, 4, 1, ())
    (head,) = Path(site.bucket).glob("custody/heads/vbc_audio/*.json")
    assert json.loads(head.read_text())["sequence"] == 4
    shutil.copy("vbc.duckdb", "whole.duckdb")
    for name, (sql, problems) in DAMAGE.items():
        shutil.copy("whole.duckdb", "vbc.duckdb")
        execute(sql)
        found = verify(site)
        assert (name, list(found.problems)) == (name, [text.replace("DAY", head.stem) for text in problems])
        assert found.ok == (not problems)


def test_known_breaks_can_be_left_out_and_old_rows_are_counted(site: Site) -> None:
    execute(
        "DELETE FROM custody WHERE sequence > 2; UPDATE recording_audio SET actor_user = NULL, "
        "actor_host = NULL, actor_version = NULL WHERE recording_id > 1001"
    )
    assert not verify(site).ok
    known = verify(site, datetime.now(timezone.utc) + timedelta(days=1))
    assert (known.ok, known.events, known.rows, known.unchained, known.heads) == (True, 2, 4, 2, 0)
    execute("DELETE FROM recording_audio WHERE recording_id = 1001")
    assert verify(site, datetime.now(timezone.utc) + timedelta(days=1)).problems == (MISSING,)
    execute(
        "CREATE TABLE erased_recordings (account_id TEXT, resource TEXT, user_id TEXT, row_id TEXT); "
        "INSERT INTO erased_recordings VALUES ('549825', 'company_recordings', '', '1001')"
    )
    assert not verify(site).ok  # a table that no ledger has made says nothing


def test_a_head_is_never_replaced(site: Site) -> None:
    (head,) = Path(site.bucket).glob("custody/heads/vbc_audio/*.json")
    before = head.read_bytes()
    site.gateway.company.add(id=2000, start="2025-04-01T10:00:00+0000", file_size_in_bytes=2000)
    site.load(shared=True)
    assert site.archive().stored == 1
    assert head.read_bytes() == before
    head.write_text("{")
    result = run_in_process("evidence", "--verify-chain", "--json", "--bucket-url", site.bucket)
    assert result.exit_code == 1
    printed = json.loads(result.stdout.splitlines()[-1])
    assert (printed["ok"], printed["events"]) == (False, 5)
    assert printed["problems"] == [f"the head {head.as_uri()} is not readable"]


def test_wrong_usage_and_nothing_chained_are_told_apart(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    site.load(shared=True)
    nothing = run_in_process("evidence", "--verify-chain", "--bucket-url", site.bucket)
    assert (nothing.exit_code, "there is no chain of custody in dataset vbc_data" in nothing.stderr) == (
        1,
        True,
    )
    for arguments in (
        ("call-1000",),
        ("--verify-chain", "call-1000"),
        ("--out", "bag", "--since", "2025-01-01"),
    ):
        assert run_in_process("evidence", *arguments).exit_code == 2
