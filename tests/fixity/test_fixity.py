"""What was stored is still there: every kind of damage is found and named, and repaired while VBC has it."""

from __future__ import annotations

from archiving import FolderBucket, Prepare, S3Bucket, key_of, make_gateway, sound_of
from checking import check, flip
from loading import query

CHECKS = "SELECT recording_id, outcome, count(*) FROM audio_checks GROUP BY 1, 2 ORDER BY 1, 2"


def test_damage_is_found_named_and_repaired(prepare: Prepare, bucket: FolderBucket | S3Bucket) -> None:
    site = prepare(make_gateway(8, size=2000), bucket=bucket.url)
    pipeline = site.load()
    site.archive()
    rows = {row["id"]: row for row in site.gateway.company.all()}
    keys = {id_: f"recordings/{key_of(row)}" for id_, row in rows.items()}
    stored = {id_: bucket.read(key) for id_, key in keys.items()}
    bucket.write(keys[1001], flip(stored[1001]))
    bucket.write(keys[1002], stored[1002][:-5])
    bucket.delete(keys[1003])
    bucket.write(keys[1004], stored[1005])
    bucket.write(keys[1005], stored[1004])
    with pipeline.sql_client() as sql:
        sql.execute_sql("UPDATE recording_audio SET sha256 = repeat('0', 64) WHERE recording_id = 1006")
        sql.execute_sql("DELETE FROM recording_audio WHERE recording_id = 1007")
    found = check(site)
    assert (found.ok, found.checked) == (False, 7)
    assert (found.damaged, found.missing) == ((1001, 1002, 1004, 1005, 1006), (1003,))
    assert (found.unknown, found.unknown_keys) == (1, (key_of(rows[1007]),))

    site.gateway.company.delete(1002)
    repaired = check(site, repair=True)
    assert (repaired.ok, repaired.damaged, repaired.missing) == (False, (1002,), ())
    assert repaired.repaired == (1001, 1003, 1004, 1005, 1006)
    assert "VBC no longer has it" in str(repaired.findings[0].error)
    for id_ in (1001, 1003, 1004, 1005, 1006):
        assert bucket.read(keys[id_]) == sound_of(site.gateway, rows[id_])
    beside = [name for name in bucket.list_keys() if ".damaged-" in name]
    assert sorted(name.split("/")[-1][:4] for name in beside) == ["1001", "1004", "1005"]
    assert flip(stored[1001]) in [bucket.read(name) for name in beside]

    bucket.write(keys[1002], stored[1002])  # as from a backup
    sound = check(site)
    assert (sound.ok, sound.checked, sound.damaged, sound.missing) == (True, 7, (), ())
    outcomes = query(pipeline, CHECKS)
    assert (1001, "damaged", 2) in outcomes
    assert (1001, "repaired", 1) in outcomes
    assert (1000, "ok", 3) in outcomes
