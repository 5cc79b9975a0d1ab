"""Planted damage is all found, none invented, in a folder and on S3. Kills at random moments cost nothing."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from archiving import FolderBucket, Prepare, S3Bucket, configure, key_of, make_gateway
from checking import check, flip
from kills import choose_moments, count_kills
from loading import environment, read_database, run_vbc, vbc

from vbc_source import rebuild_ledger
from vbc_source.audio.sidecars.manifest import manifest_key
from vbc_source.audio.sidecars.sidecar import sidecar_key

KILLS = count_kills(4)
REASONS = {  # what is said of the kinds of damage, by their numbers below
    **dict.fromkeys((0, 1, 2), "SHA-256"),  # flipped bits
    **dict.fromkeys((3, 4, 12), "bytes"),  # cut files, and a row with another size
    **dict.fromkeys((5, 6), "bytes"),  # exchanged files: no two have the same size
    7: "there is no object",
    11: "SHA-256",  # a row with another hash
    15: "the file of another recording",  # a row with another file
}


@pytest.mark.slow
def test_all_planted_damage_is_named_and_none_is_invented(
    prepare: Prepare, bucket: FolderBucket | S3Bucket
) -> None:
    count = 1000 if isinstance(bucket, FolderBucket) else 100
    site = prepare(make_gateway(count, size=2000), bucket=bucket.url)
    pipeline = site.load()
    site.archive()
    sound = check(site)
    assert (sound.ok, sound.checked, sound.unknown, sound.without_sidecars) == (True, count, 0, 0)

    ids = Random(1).sample(range(1000, 1000 + count), 17)
    rows = {row["id"]: key_of(row) for row in site.gateway.company.all()}
    keys = [f"recordings/{rows[id_]}" for id_ in ids]
    stored = [bucket.read(key) for key in keys]
    for number in range(3):
        bucket.write(keys[number], flip(stored[number]))
    for number in (3, 4):
        bucket.write(keys[number], stored[number][:-1])
    bucket.write(keys[5], stored[6])
    bucket.write(keys[6], stored[5])
    bucket.delete(keys[7])
    bucket.delete(sidecar_key(keys[8]))
    bucket.write(sidecar_key(keys[9]), bucket.read(sidecar_key(keys[9])) + b" ")
    manifest = manifest_key(keys[10].rpartition("/")[0])
    digest = hashlib.sha256(stored[10]).hexdigest().encode()
    assert digest in bucket.read(manifest)
    bucket.write(manifest, bucket.read(manifest).replace(digest, b"0" * 64))
    with pipeline.sql_client() as sql:
        sql.execute_sql(f"UPDATE recording_audio SET sha256 = repeat('a', 64) WHERE recording_id = {ids[11]}")
        sql.execute_sql(f"UPDATE recording_audio SET size_bytes = 5 WHERE recording_id = {ids[12]}")
        sql.execute_sql(f"DELETE FROM recording_audio WHERE recording_id IN ({ids[13]}, {ids[14]})")
        sql.execute_sql(
            "UPDATE recording_audio AS a SET uri = b.uri, sha256 = b.sha256, size_bytes = b.size_bytes FROM "
            f"recording_audio AS b WHERE a.recording_id = {ids[15]} AND b.recording_id = {ids[16]}"
        )
    found = check(site)
    assert set(found.damaged) == {*ids[:7], ids[11], ids[12], ids[15]}
    assert len(found.damaged) == 10
    assert found.missing == (ids[7],)
    assert (found.unreadable, found.repaired, found.checked) == ((), (), count - 2)
    # lost rows, and the file of the row that names another one's
    assert set(found.unknown_keys) == {rows[ids[13]], rows[ids[14]], rows[ids[15]]}
    sidecars = {sidecar_key(rows[id_]) for id_ in ids[8:10]}
    assert sidecars <= set(found.sidecars)
    # of an edited row, ledger, sidecar and manifest disagree as well
    sidecars.add(sidecar_key(rows[ids[11]]))
    assert set(found.sidecars) == sidecars
    # a manifest names the sidecar that is missing
    folders = {rows[ids[number]].rpartition("/")[0] for number in (8, 10, 11)}
    assert set(found.manifests) == set(map(manifest_key, folders))
    reasons = {item.recording_id: str(item.error) for item in found.findings}
    assert len(found.findings) == len(reasons) == 11
    for number, words in REASONS.items():
        assert words in reasons[ids[number]], (number, reasons[ids[number]])
    assert not found.ok

    # the whole ledger is lost: what is not as sidecar and manifest say is named, and the rest comes back
    with pipeline.sql_client() as sql:
        sql.execute_sql("DROP TABLE recording_audio")
    rebuilt = rebuild_ledger(bucket_url=site.bucket)
    damaged = {*(rows[id_] for id_ in (*ids[:7], ids[10])), sidecar_key(rows[ids[9]])}
    assert (set(rebuilt.damaged), len(rebuilt.damaged)) == (damaged, 9)
    assert (rebuilt.missing, rebuilt.unknown) == ((rows[ids[7]],), (rows[ids[8]],))
    assert (rebuilt.files, rebuilt.rows, rebuilt.known, rebuilt.erased) == (count, count - 11, 0, ())
    assert not rebuilt.ok


@pytest.mark.slow
def test_kills_at_random_moments_of_a_repair_cost_nothing(prepare: Prepare, own_folder: Path) -> None:
    site = prepare(make_gateway(200, size=20_000))
    site.load(shared=True)
    site.archive()
    whole = {name: body for name, body in site.files().items() if name.endswith(".mp3")}
    random = choose_moments(7)
    names = sorted(whole)
    arguments = ("fixity", "--repair", "--bucket-url", site.bucket)
    settings = environment(site.url, own_folder, **configure(site.url))
    damaged = dict[str, bytes]()
    for kill in range(KILLS):
        for name in random.sample(names, 10):
            body = flip(whole[name]) if kill % 2 else whole[name][: 10_000 + kill]
            damaged[hashlib.sha256(body).hexdigest()[:16]] = body
            path = Path(site.bucket) / name
            path.unlink()  # as other programs write: never into the file that another name shares
            path.write_bytes(body)
        lines = random.randrange(250)
        command = vbc(*arguments)
        with subprocess.Popen(command, cwd=own_folder, env=settings, stderr=subprocess.PIPE) as process:
            while process.returncode is None and count_lines(own_folder) < lines:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            with suppress(subprocess.TimeoutExpired):
                process.wait(random.random())
            process.kill()
        assert process.returncode in (0, -9), process.stderr
        print("killed" if process.returncode else "had ended")
    # the first one may continue a run that had checked files before they were damaged again
    for _ in range(2):
        done = run_vbc(own_folder, site.url, *arguments, "--json", **configure(site.url))
        assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout.splitlines()[-1])["checked"] == 200
    assert count_lines(own_folder) == 0
    found = site.files()
    assert {name: body for name, body in found.items() if name.endswith(".mp3")} == whole
    kept = Path(site.bucket).rglob("*.damaged-*")
    beside = {path.name.rpartition("-")[2]: path.read_bytes() for path in kept}
    assert all(damaged[digest] == body for digest, body in beside.items())
    sql = "SELECT check_id, recording_id, outcome FROM vbc_data.audio_checks"
    checks = read_database(own_folder, sql)
    assert len({id_ for id_, _, _ in checks}) == len(checks)
    outcomes = Counter(outcome for _, _, outcome in checks)
    assert outcomes["repaired"] <= outcomes["damaged"]
    assert read_database(own_folder, "SELECT count(*) FROM vbc_data.recording_audio") == [(200,)]


def count_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "dlt").glob("vbc_audio/*/checks.jsonl"))
