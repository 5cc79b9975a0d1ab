"""The ledger and the recordings come back from the bucket alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from archiving import Prepare, S3Bucket, Site, key_of, make_gateway
from in_process import run_in_process
from loading import load, open_target, query
from warehouses import NAMES, Warehouse, describe, digest, drop, set_up

from vbc_source import Target, archive_audio, check_fixity, rebuild_ledger, sync
from vbc_source.audio.sidecars.manifest import MANIFEST, parse_manifest, write_manifest
from vbc_source.audio.sidecars.sidecar import sidecar_key
from vbc_source.emulator import Gateway
from vbc_source.retention.retain import retain
from vbc_source.windows import parse_instant

RECORDINGS = ("company_recordings", "user_recordings")
TABLES = [f"{table}{part}" for table in RECORDINGS for part in ("", "__extensions", "__rule_ids")]
LEDGER = "SELECT recording_type, user_id, recording_id, version, status, sha256 FROM recording_audio"


def make_archived_gateway(count: int = 6) -> Gateway:
    """A gateway with company recordings and two users' own, some with fields that are not documented."""
    gateway = make_gateway(count, users=2)
    gateway.company.add(
        id=77,
        start="2025-03-01T10:00:00.5+0000",
        file_size_in_bytes=3000,
        extensions=["101", None, "103"],
        rule_ids=[7, "none", 9],
        score=0.5,
        vip=True,
        queue={"name": "sales"},
    )
    gateway.company.add(
        id=78, start="2025-03-01T11:00:00Z", file_size_in_bytes=900, duration="long", vip=None
    )
    for user in gateway.users.all():
        gateway.users.recordings(str(user["id"])).add(
            id=5, start="2025-03-02T09:00:00Z", file_size_in_bytes=700, extensions=[], score=2.0
        )
    return gateway


def load_all(site: Site, target: Target = Target()) -> None:  # noqa: B008 - a frozen value
    pipeline = open_target(target.pipeline, target.destination, target.dataset)
    load(pipeline, site.url, *RECORDINGS, start_date="2020-01-01")


def read_tables(site: Site) -> dict[str, Any]:
    """Read the recordings, with the types of their columns."""
    pipeline = open_target("vbc", "duckdb", "vbc_data")
    found: dict[str, Any] = {}
    for table in TABLES:
        columns = query(
            pipeline,
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = 'vbc_data' AND table_name = '{table}' ORDER BY 1",
        )
        names = ", ".join(f'"{name}"' for name, _ in columns)
        found[table] = (columns, sorted(map(repr, query(pipeline, f"SELECT {names} FROM {table}"))))
    return found


@pytest.mark.slow
def test_a_lost_database_comes_back_and_nothing_is_doubled(prepare: Prepare) -> None:
    site = prepare(make_archived_gateway())
    load_all(site)
    assert site.archive().stored == 10
    before, ledger = read_tables(site), sorted(query(open_target(), LEDGER))
    fetches = site.fetches()
    (site.folder / "vbc.duckdb").unlink()

    done = run_in_process("audio", "--rebuild-ledger", "--bucket-url", site.bucket, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout.splitlines()[-1])
    expected = {"folders": 7, "files": 10, "rows": 10, "known": 0, "recordings": 10, "ok": True}
    assert expected.items() <= result.items()
    assert read_tables(site) == before
    assert sorted(query(open_target(), LEDGER)) == ledger
    assert query(open_target(), "SELECT DISTINCT attempts FROM recording_audio") == [(0,)]

    again = rebuild_ledger(bucket_url=site.bucket)
    assert (again.rows, again.known, again.recordings, again.ok) == (0, 10, 0, True)
    load_all(site)
    assert read_tables(site) == before
    done = run_in_process("audio", "--rebuild-ledger", "--limit", "3", "--bucket-url", site.bucket)
    assert (done.exit_code, "leave the other options out" in done.stderr) == (2, True)
    archived = site.archive()
    assert (archived.stored, archived.found, archived.sidecars) == (0, 0, 0)
    assert site.fetches() == fetches


@pytest.mark.slow
def test_what_is_not_as_it_was_is_named_and_not_believed(prepare: Prepare) -> None:
    site = prepare(make_gateway(12))
    site.load()
    site.archive()
    root, keys = Path(site.bucket), sorted(map(key_of, site.gateway.company.all()))
    paths = [root / key for key in keys]
    flipped = bytearray(paths[0].read_bytes())
    flipped[700] ^= 1
    paths[0].write_bytes(flipped)
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    paths[2].unlink()
    beside = [root / sidecar_key(key) for key in keys]
    beside[3].unlink()
    beside[4].write_bytes(beside[4].read_bytes().replace(b"call-1004", b"call-9999"))
    manifest = paths[5].parent / MANIFEST
    lines = parse_manifest(manifest.read_bytes())
    manifest.write_bytes(write_manifest({**lines, paths[5].name: "0" * 64}))
    (paths[6].parent / MANIFEST).unlink()
    for one, other in ((paths[7], paths[8]), (beside[9], beside[10])):
        first, second = one.read_bytes(), other.read_bytes()
        one.write_bytes(second)
        other.write_bytes(first)
    (root / "account_id=549825" / "notes.txt").write_text("somebody's own")
    with open_target().sql_client() as client:
        client.execute_sql("DROP TABLE recording_audio")
        client.execute_sql("DELETE FROM company_recordings WHERE id IN (1000, 1004, 1006)")

    done = rebuild_ledger(bucket_url=site.bucket)
    damaged = {keys[0], keys[1], sidecar_key(keys[4]), keys[5], keys[7], keys[8]}
    swapped = {sidecar_key(keys[9]), sidecar_key(keys[10])}
    assert set(done.damaged) == damaged | swapped
    assert (done.missing, done.ok) == ((keys[2],), False)
    assert set(done.unknown) == {keys[3], keys[6].rpartition("/")[0] + f"/{MANIFEST}"}
    rows = query(open_target(), "SELECT recording_id FROM recording_audio ORDER BY 1")
    assert rows == [(1006,), (1011,)]
    # the sidecars of 1000 and 1006 are what they were
    assert done.recordings == 2
    assert query(open_target(), "SELECT count(*) FROM company_recordings WHERE id <> 1004") == [(11,)]
    retention = retain(older_than=timedelta(days=1), bucket_url=site.bucket)
    assert (retention.proven, retention.unproven) == (0, 2)
    # VBC still has them all: damaged files are stored again beside the old ones, which stay
    again = site.archive()
    assert (again.failed, again.found + again.stored) == (0, 9)
    assert {f"{root / key}" for key in keys if key != keys[2]} <= {str(path) for path in root.rglob("*")}
    assert paths[0].with_suffix(".v2.mp3").exists()
    assert paths[0].read_bytes() == bytes(flipped)


@pytest.mark.slow
def test_of_a_recording_that_changed_the_newest_version_is_loaded(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    site.load()
    site.archive()
    # it moved to an earlier day: its old sidecar is read after the new one
    site.gateway.company.change(1000, start="2025-02-27T10:00:00+0000", call_id="call-2")
    site.load()
    assert site.archive().sidecars == 1
    with open_target().sql_client() as client:
        client.execute_sql("DROP TABLE recording_audio")
        client.execute_sql("DELETE FROM company_recordings")
    done = rebuild_ledger(bucket_url=site.bucket)
    assert (done.rows, done.recordings, done.ok) == (2, 1, True)
    assert query(open_target(), "SELECT call_id FROM company_recordings") == [("call-2",)]
    assert site.archive().stored == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_archive_comes_back_in_every_destination(
    name: str,
    prepare: Prepare,
    s3: S3Bucket,
    s3_settings: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The files are on S3; with `s3`, the tables are in another bucket of the same server."""
    site = prepare(make_archived_gateway(40), bucket=s3.url)
    with set_up(name, monkeypatch, s3_settings) as warehouse:
        target = warehouse.target
        sync(target, start_date=parse_instant("2020-01-01"))
        assert archive_audio(target, bucket_url=site.bucket).sidecars == 44
        before, keys, fetches = warehouse.read(), s3.list_keys(), len(site.fetches())
        lose(warehouse, s3)
        done = rebuild_ledger(target, bucket_url=site.bucket)
        assert (done.rows, done.recordings, done.sidecars, done.ok) == (44, 44, 0, True)
        assert done.damaged == done.unknown == ()
        sync(target, start_date=parse_instant("2020-01-01"))
        after = warehouse.read()
        assert digest(after) == digest(before), describe(after, before)
        archived = archive_audio(target, bucket_url=site.bucket)
        assert (archived.stored, archived.found, archived.sidecars, archived.ok) == (0, 0, 0, True)
        assert s3.list_keys() >= keys
        assert len(site.fetches()) == fetches


def lose(warehouse: Warehouse, s3: S3Bucket) -> None:
    """Lose all tables; dlt's folders on this machine stay."""
    if warehouse.name == "duckdb":
        Path("vbc.duckdb").unlink()
    elif warehouse.name == "postgres":
        drop(warehouse)
    else:
        pipeline = warehouse.open()
        client: Any = pipeline.destination_client()
        client.fs_client.rm(client.dataset_path, recursive=True)
        client.fs_client.invalidate_cache()


@pytest.mark.slow
def test_sidecars_stay_where_database_and_manifests_are_lost(prepare: Prepare) -> None:
    """A sidecar says what proved its recording when it was archived; nobody else knows that then."""
    site = prepare(make_gateway(3))
    site.sync()
    site.archive()
    beside = sorted(Path(site.bucket).glob("account_id=*/**/*.json"))
    before = [path.read_bytes() for path in beside]
    assert all(json.loads(body)["proof"] for body in before)
    for path in [beside[2], *Path(site.bucket).glob(f"account_id=*/**/{MANIFEST}")]:
        path.unlink()
    (site.folder / "vbc.duckdb").unlink()
    assert not rebuild_ledger(bucket_url=site.bucket).ok
    assert [path.read_bytes() for path in beside[:2]] == before[:2]
    # of the third nothing is known but its audio: it is adopted once its recording is loaded
    site.sync()
    assert (site.archive().found, rebuild_ledger(bucket_url=site.bucket).ok) == (1, True)


@pytest.mark.slow
def test_a_ledger_that_somebody_has_dropped_is_created_again(prepare: Prepare) -> None:
    gateway = make_gateway(3)
    site = prepare(gateway)
    site.sync()
    site.archive()
    fetches = site.fetches()
    for ledger in ("recording_audio", "audio_checks"):
        check_fixity(bucket_url=site.bucket)
        with open_target().sql_client() as client:
            client.execute_sql(f"DROP TABLE {ledger}")
        archived = site.archive()
        assert (archived.ok, archived.found) == (True, 3 if ledger == "recording_audio" else 0)
        assert check_fixity(bucket_url=site.bucket).checked == 3
    assert site.fetches() == fetches
