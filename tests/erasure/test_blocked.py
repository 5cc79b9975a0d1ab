"""What forbids an erasure, what VBC does not allow, and runs that are killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pytest
from archiving import Prepare, S3Bucket, key_of, make_gateway
from forgetting import NUMBER, list_planted, plant, search
from in_process import run_in_process
from kills import choose_moments, count_kills
from loading import environment, run_vbc, vbc

from vbc_source import forget, read_legal_hold
from vbc_source.emulator import Emulator
from vbc_source.errors import UsageError

KILLS = count_kills(2)


def add_caller(site: Any) -> None:
    """Give the first two recordings of a loaded database a caller, as VBC has it."""
    with duckdb.connect(str(site.folder / "vbc.duckdb")) as connection:
        connection.execute(
            "UPDATE vbc_data.company_recordings SET caller_id = '12025550177' WHERE id IN (1000, 1001)"
        )
    for id_ in (1000, 1001):
        site.gateway.company.change(id_, caller_id="12025550177")


def test_an_erasure_erases_all_but_what_is_held(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(3))
    site.load(shared=True)
    add_caller(site)
    assert site.archive().stored == 3
    keys = {row["id"]: key_of(row) for row in site.gateway.company.all()}
    done = forget(number=NUMBER, bucket_url=site.bucket, hold=read_legal_hold("call-1001"), apply=True)
    assert [(item.recording_id, item.reason) for item in done.blocked] == [(1001, "it is on the hold list")]
    assert (done.recordings, done.copies.vbc, done.copies.objects) == (1, 1, 2)  # and its sidecar
    assert set(site.files()) == {keys[1001], keys[1002]}
    certificate = json.loads(Path(done.certificate or "").read_text())
    assert not certificate["complete"]
    with duckdb.connect(str(own_folder / "vbc.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT id FROM vbc_data.company_recordings ORDER BY id").fetchall()
        assert rows == [(1001,), (1002,)]
        erased = connection.execute("SELECT resource, row_id FROM vbc_data.erased_recordings").fetchall()
        assert erased == [("company_recordings", "1000")]
        assert connection.execute("SELECT status, recordings FROM vbc_data.erasures").fetchall() == [
            ("left", 1)
        ]


@pytest.mark.slow
def test_other_recordings_of_a_call_go_with_it_or_stay_as_they_are(
    prepare: Prepare, own_folder: Path
) -> None:
    gateway = make_gateway(4)
    gateway.company.change(1002, call_id="call-1001")
    gateway.company.change(1003, call_id="call-1000")
    site = prepare(gateway)
    site.load(shared=True)
    add_caller(site)
    assert site.archive().stored == 4
    # the person is heard in 1002, whose own row does not have the number
    done = forget(number=NUMBER, bucket_url=site.bucket, hold=read_legal_hold("1000"), apply=True)
    assert ([item.recording_id for item in done.blocked], done.recordings) == ([1000], 3)
    assert [row["id"] for row in gateway.company.all()] == [1000]
    # a recording that is named by its id goes alone
    gateway.company.add(id=1004, start="2025-03-04T10:00:00Z", file_size_in_bytes=900, call_id="call-1000")
    site.load(shared=True)
    site.archive()
    done = forget(recordings=["1000"], bucket_url=site.bucket, apply=True)
    assert (done.ok, done.recordings) == (True, 1)
    with duckdb.connect(str(own_folder / "vbc.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT recording_id, status FROM vbc_data.recording_audio").fetchall()
    assert rows == [(1004, "stored")]


POLICY = """
[[rules]]
name = "orders"
longer_than_seconds = 600
actions = ["keep", "archive"]

[[rules]]
name = "all-others"
actions = ["archive"]
"""


@pytest.mark.slow
def test_a_rule_that_keeps_blocks_until_the_policy_is_changed(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(3))
    site.load(shared=True)
    add_caller(site)
    with duckdb.connect("vbc.duckdb") as connection:
        connection.execute("UPDATE vbc_data.company_recordings SET duration = 700000 WHERE id = 1000")
    assert site.archive().stored == 3
    site.gateway.company.add(
        id=1005, start="2025-04-01T10:00:00Z", file_size_in_bytes=9, caller_id="12025550177"
    )
    Path("retention.toml").write_text(POLICY)
    arguments = ("forget", NUMBER, "--json", "--bucket-url", site.bucket)
    dry = run_in_process(*arguments)  # takes the policy that is there
    printed = json.loads(dry.stdout.splitlines()[-1])
    kept = "rule orders of retention.toml keeps it; who may decide that it goes changes the policy"
    reasons = {item["recording_id"]: item["reason"] for item in printed["blocked"]}
    assert (dry.exit_code, reasons) == (
        1,
        {1000: kept, 1005: "it is not loaded, so the policy cannot be asked: run vbc sync"},
    )
    done = forget(number=NUMBER, bucket_url=site.bucket, apply=True, policy=Path("retention.toml"))
    assert {item.recording_id for item in done.blocked} == {1000, 1005}
    assert (done.copies.vbc, len(site.files())) == (1, 2)
    assert site.gateway.company.find("1000")
    Path("retention.toml").write_text(POLICY.replace('"keep", ', ""))
    done = forget(number=NUMBER, bucket_url=site.bucket, apply=True, policy=Path("retention.toml"))
    assert (done.ok, len(site.files())) == (True, 1)
    assert any("SHA-256" in note for note in json.loads(Path(done.certificate or "").read_text())["notes"])


@pytest.mark.slow
def test_what_vbc_does_not_delete_all_other_copies_wait_for(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(3))
    site.load(shared=True)
    add_caller(site)
    assert site.archive().stored == 3
    site.gateway.company.change(1000, caller_id="13035550188", call_id="another")
    left = forget(number=NUMBER, bucket_url=site.bucket, apply=True)
    assert [item.recording_id for item in left.blocked] == [1000]
    assert len(site.files()) == 2
    site.gateway.company.change(1000, caller_id="12025550177", call_id="call-1000")
    done = forget(number=NUMBER, bucket_url=site.bucket, apply=True)
    assert done.ok, done
    assert len(site.files()) == 1
    assert search(own_folder) == []


@pytest.mark.slow
def test_a_table_of_somebody_else_and_a_missing_bucket_are_named(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(1))
    site.load(shared=True)
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
        connection.execute("CREATE TABLE vbc_data.my_list AS SELECT '+1 202-555-0177' AS phone")
    found = forget(number=NUMBER)
    assert not found.ok
    assert "vbc_data.my_list" in found.blocked[0].reason
    site.archive()
    with pytest.raises(UsageError, match="bucket"):
        forget(number=NUMBER)


@pytest.mark.slow
def test_a_number_of_the_account_itself_is_refused(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = plant()
    gateway.users.change(1, contact_numbers=[{"type": "Mobile", "value": "12025550177"}])
    with Emulator(gateway) as url:
        assert run_vbc(own_folder, url, "sync").returncode == 0
        planted = list_planted(gateway)
        done = run_vbc(own_folder, url, "forget", NUMBER, "--apply")
        assert done.returncode == 1
        assert "number of the account itself" in done.stdout
        assert list_planted(gateway) == planted


@pytest.mark.slow
def test_versions_go_and_a_locked_object_stays(
    prepare: Prepare, s3_server: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = S3Bucket(s3_server)
    name = f"locked-{bucket.name}"
    bucket.client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)  # and versioned
    bucket.name, bucket.url = name, f"s3://{name}/recordings"
    for setting, value in bucket.settings().items():
        monkeypatch.setenv(setting, value)
    site = prepare(make_gateway(3), bucket=bucket.url)
    site.load(shared=True)
    add_caller(site)
    assert site.archive().stored == 3
    keys = {row["id"]: f"recordings/{key_of(row)}" for row in site.gateway.company.all()}
    first, second, third = (keys[id_] for id_ in (1000, 1001, 1002))
    bucket.write(first, b"another version of it")
    sidecar, folder = first.replace(".mp3", ".json"), first.rpartition("/")[0]
    bucket.write(sidecar, b'{"caller_id": "12025550177"}')
    lines = ["a" * 64 + "  1000.mp3\n", "b" * 64 + "  9.mp3\n"]
    bucket.write(f"{folder}/manifest-sha256.txt", "".join(lines).encode())
    until = datetime.now(timezone.utc) + timedelta(days=30)
    bucket.client.put_object_retention(
        Bucket=name, Key=second, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
    )
    dry = forget(number=NUMBER, bucket_url=site.bucket)
    assert [(item.recording_id, item.reason.split(" until")[0]) for item in dry.blocked] == [
        (1001, "its object is locked")
    ]
    done = forget(number=NUMBER, bucket_url=site.bucket, apply=True)
    assert [item.recording_id for item in done.blocked] == [1001]
    assert done.copies.objects == 2
    assert bucket.read(f"{folder}/manifest-sha256.txt").decode() == lines[1]
    listed = bucket.client.list_object_versions(Bucket=name)
    left = {entry["Key"] for kind in ("Versions", "DeleteMarkers") for entry in listed.get(kind, ())}
    assert {second, third, f"{folder}/manifest-sha256.txt"} < left
    assert not [key for key in left if PurePosixPath(key).stem == "1000"]
    assert site.gateway.company.find("1001")
    assert not site.gateway.company.find("1000")


@pytest.mark.slow
def test_free_blocks_of_the_file_are_gone(own_folder: Path) -> None:
    """Planted uncompressed: a deleted row stays readable in the file, until it is rewritten."""
    from vbc_source.erasure.database import rewrite_file

    path = own_folder / "calls.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("PRAGMA force_compression='uncompressed'")
        connection.execute(
            "CREATE SCHEMA s; CREATE TABLE s.t AS "
            "SELECT 'NUM' || (12025500000 + i) AS n FROM range(100000) AS r(i)"
        )
        connection.execute("COMMENT ON TABLE s.t IS 'kept'; CREATE VIEW s.v AS SELECT * FROM calls.s.t")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM s.t WHERE n = 'NUM12025550177'")
        connection.execute("CHECKPOINT")
    assert b"NUM12025550177" in path.read_bytes()
    spilled = Path(f"{path}.tmp")  # where DuckDB puts what does not fit into memory
    spilled.mkdir()
    (spilled / "duckdb_temp_storage_32K-0.tmp").write_bytes(b"NUM12025550177")
    assert rewrite_file(path) == []
    assert b"NUM12025550177" not in path.read_bytes()
    assert not spilled.exists()
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM s.v").fetchall() == [(99_999,)]
        assert connection.execute("SELECT comment FROM duckdb_tables()").fetchall() == [("kept",)]


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(
    own_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, backup = own_folder / "site", tmp_path_factory.mktemp("backup") / "site"
    folder.mkdir()
    bucket = {"SOURCES__VBC__AUDIO__BUCKET_URL": str(folder / "bucket"), "SOURCES__VBC__CALL_LOGS": "true"}
    with Emulator(plant()) as url:
        for command in ("sync", "audio"):
            done = run_vbc(folder, url, command, **bucket)
            assert done.returncode == 0, done.stderr
        shutil.copytree(folder, backup)
    random, killed, whole = choose_moments(21), 0, 6.0
    for _ in range(KILLS):
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
        gateway = plant()
        with Emulator(gateway) as url:
            arguments = vbc("forget", NUMBER, "--apply", "--json")
            environ = environment(url, folder, **bucket)
            with subprocess.Popen(
                arguments, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                # from its first request on: before that nothing is done
                while not gateway.requests and process.poll() is None:
                    time.sleep(0.005)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(random.random() * whole)
                process.kill()
            killed += process.returncode == -9
            started = time.monotonic()
            done = run_vbc(folder, url, "forget", NUMBER, "--apply", **bucket)
            whole = time.monotonic() - started  # the next one is killed at any moment of it
            assert done.returncode == 0, done.stdout + done.stderr
            assert list_planted(gateway) == []
            assert search(folder) == []
            assert not list((folder / "dlt" / "vbc_erasure").glob("*/*.json"))
    print(f"{killed} of {KILLS} killed")
    assert killed
