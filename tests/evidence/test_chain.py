"""What somebody changes in the chain of custody, the ledgers or the heads is found and named."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from archiving import Prepare, Site, make_gateway
from in_process import run_in_process

from vbc_source import CustodyResult, Target, verify_custody
from vbc_source.load.ledgers import load_rows
from vbc_source.load.pipelines import hold_pipeline

FILES = 8
MOVED = "was changed or moved: its hash is not that of its content"
REPLACED = "does not follow the one before it: that was replaced"
LOST = "the chain was cut off or replaced, or the database restored"


def event(number: int) -> str:
    return f"event {number} of chain vbc_audio"


def row(number: int) -> str:
    """The row that event `number` is about, in messages."""
    key = {"account_id": "549825", "recording_id": 999 + number, "recording_type": "company", "user_id": ""}
    return f"the row {json.dumps({**key, 'version': 1}, separators=(',', ':'))} of recording_audio"


def missing(number: int) -> str:
    return f"{row(number)} is missing, or is an older one than that of {event(number)}"


# what is run in the database; what is named, and nothing else
DAMAGE = (
    (
        """
        UPDATE custody SET actor_user = 'mallory' WHERE sequence = 2;
        DELETE FROM custody WHERE sequence = 4;
        UPDATE recording_audio SET sha256 = '0' WHERE recording_id = 1004;
        DELETE FROM recording_audio WHERE recording_id = 1005;
        INSERT INTO recording_audio SELECT * REPLACE (1022 AS recording_id)
            FROM recording_audio WHERE recording_id = 1000;
        DELETE FROM custody WHERE sequence = 8; DELETE FROM recording_audio WHERE recording_id = 1007""",
        [
            f"{event(2)} {MOVED}",
            f"{event(4)} is missing",
            f"{event(8)} is not as the bucket has it, in the head of DAY: {LOST}",
            f"{row(4)} has no event",
            f"{row(5)} was changed after {event(5)}",
            f"{row(23)} has no event",
            missing(6),
        ],
    ),
    (
        """
        UPDATE custody SET sequence = 5 - sequence WHERE sequence IN (2, 3);
        INSERT INTO custody SELECT * REPLACE (repeat('f', 64) AS hash) FROM custody WHERE sequence = 6;
        INSERT INTO custody SELECT * REPLACE ('check' AS action) FROM custody WHERE sequence = 7;
        INSERT INTO custody SELECT * FROM custody WHERE sequence = 5;
        UPDATE custody SET row_key = '{' WHERE sequence = 1;
        UPDATE custody SET recorded_at = NULL WHERE sequence = 8""",
        [
            "1 rows of custody were changed: they lack what every event has",
            f"{event(1)} {MOVED}",
            *(f"{event(number)} {MOVED}" for number in (2, 3)),
            f"{event(4)} {REPLACED}",
            f"{event(6)} is there more than once: the chain has a fork",
            f"{event(6)} {MOVED}",
            f"{event(8)} is not as the bucket has it, in the head of DAY: {LOST}",
            f"{event(7)} is there again, with another content",
            f"{row(1)} has no event",
            f"{row(8)} has no event",
            "the row { of recording_audio is missing, or is an older one than that of " + event(1),
        ],
    ),
)


def archive(prepare: Prepare) -> Site:
    """Archive files in the order of their ids, into a database that may be replaced."""
    site = prepare(make_gateway(FILES), SOURCES__VBC__MAX_CONCURRENCY="1")
    site.load(shared=True)
    assert site.archive().stored == FILES
    return site


def execute(sql: str) -> None:
    with closing(duckdb.connect("vbc.duckdb")) as connection:
        connection.execute(f"USE vbc_data; {sql}")


def verify(site: Site, since: datetime | None = None) -> CustodyResult:
    return verify_custody(bucket_url=site.bucket, since=since)


@pytest.mark.slow
def test_damage_is_named_and_nothing_else(prepare: Prepare) -> None:
    site = archive(prepare)
    (head,) = Path(site.bucket).glob("custody/heads/vbc_audio/*.json")
    before = head.read_bytes()
    assert json.loads(before)["sequence"] == FILES
    whole = verify(site)
    assert (whole.ok, whole.events, whole.rows, whole.heads, whole.problems) == (True, FILES, FILES, 1, ())
    shutil.copy("vbc.duckdb", "whole.duckdb")
    for sql, problems in DAMAGE:
        shutil.copy("whole.duckdb", "vbc.duckdb")
        execute(sql)
        assert list(verify(site).problems) == [text.replace("DAY", head.stem) for text in problems]
    # the day has its head, which stays; one that somebody has destroyed is named
    site.gateway.company.add(id=2000, start="2025-04-01T10:00:00+0000", file_size_in_bytes=2000)
    shutil.copy("whole.duckdb", "vbc.duckdb")
    site.load(shared=True)
    assert site.archive().stored == 1
    assert head.read_bytes() == before
    head.write_text("{")
    result = run_in_process("evidence", "--verify-chain", "--json", "--bucket-url", site.bucket)
    printed = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, printed["ok"], printed["events"]) == (1, False, FILES + 1)
    assert printed["problems"] == [f"the head {head.as_uri()} is not readable"]


@pytest.mark.slow
def test_known_breaks_are_left_out_and_rows_older_than_the_chain_counted(prepare: Prepare) -> None:
    site = archive(prepare)
    execute(
        "DELETE FROM custody WHERE sequence > 2; DELETE FROM recording_audio WHERE recording_id = 1000; "
        "UPDATE recording_audio SET actor_user = NULL, actor_host = NULL, actor_version = NULL "
        "WHERE recording_id > 1001"
    )
    found = verify(site, datetime.now(timezone.utc) + timedelta(days=1))
    assert (found.ok, found.problems) == (False, (missing(1),))
    assert (found.events, found.rows, found.unchained, found.heads) == (2, FILES - 1, FILES - 2, 0)
    erased = {"account_id": "549825", "resource": "company_recordings", "user_id": "", "row_id": "1000"}
    with hold_pipeline(Target().ledgers("audio")) as pipeline:
        load_rows(pipeline, "erased_recordings", pa.Table.from_pylist([erased]), "merge", tuple(erased))
    found = verify(site, datetime.now(timezone.utc) + timedelta(days=1))
    assert (found.ok, found.problems, found.erased, found.events) == (True, (), 1, 3)
    execute("DROP TABLE custody")
    removed = run_in_process("evidence", "--verify-chain", "--bucket-url", site.bucket)
    assert removed.exit_code == 1
    assert (
        "no table custody, although the bucket has heads of its chain: the table was removed"
        in removed.stderr
    )
    Path("empty").mkdir()
    nothing = run_in_process("evidence", "--verify-chain", "--bucket-url", "empty")
    assert nothing.exit_code == 1
    assert "there is no chain of custody in dataset vbc_data: vbc audio starts one" in nothing.stderr


def test_wrong_usage_is_reported() -> None:
    for arguments in (("call-1000",), ("--verify-chain", "call-1000"), ("--out", "bag")):
        assert run_in_process("evidence", *arguments).exit_code == 2
