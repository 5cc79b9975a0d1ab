"""One archive that is filled, partly deleted, partly erased, and loses its ledger: all agree about it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from archiving import ERASE_SHORT, Prepare, Site, key_of, make_gateway

from vbc_source import (
    apply_retention,
    check_fixity,
    export_evidence,
    forget,
    plan_retention,
    rebuild_ledger,
    verify,
    verify_custody,
)
from vbc_source.audio.sidecars.manifest import MANIFEST
from vbc_source.audio.sidecars.sidecar import sidecar_key

CALLER = "12025550177"
KEPT, SHORT, FORGOTTEN = range(1000, 1004), range(1010, 1012), range(1020, 1022)

pytestmark = pytest.mark.slow


def check(site: Site, ids: set[int]) -> None:
    """Check that the archive has these recordings and nothing else, by every means there is."""
    names = {path.name for path in Path(site.bucket).rglob("date=*/*")} - {MANIFEST}
    assert names == {f"{id_}.{extension}" for id_ in ids for extension in ("mp3", "json")}
    for manifest in Path(site.bucket).rglob(MANIFEST):
        subprocess.run(["sha256sum", "--check", "--strict", MANIFEST], cwd=manifest.parent, check=True)
        assert len(manifest.read_text().splitlines()) == len(list(manifest.parent.iterdir())) - 1
    result = check_fixity(bucket_url=site.bucket)
    assert (result.ok, result.checked, result.flaws) == (True, len(ids), ())
    assert (result.unknown, result.without_sidecars) == (0, 0)
    custody = verify_custody(bucket_url=site.bucket)
    assert (custody.ok, custody.problems) == (True, ())


def test_what_is_deleted_and_erased_leaves_an_archive_that_agrees_with_itself(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway(0)
    for id_ in (*KEPT, *SHORT, *FORGOTTEN):
        gateway.company.add(
            id=id_,
            start=f"2025-03-0{1 + id_ % 3}T10:00:00+0000",
            duration=5_000 if id_ in SHORT else 60_000,
            file_size_in_bytes=1000 + id_,
            call_id=f"call-{id_}",
            caller_id=CALLER if id_ in FORGOTTEN else "13035550188",
        )
    site = prepare(gateway)
    monkeypatch.setenv("SOURCES__VBC__USER_IDS", "[]")
    site.sync()
    assert site.archive().stored == 8
    check(site, {*KEPT, *SHORT, *FORGOTTEN})

    Path("retention.toml").write_text(ERASE_SHORT)
    plan_retention(bucket_url=site.bucket, out=Path("plan.json"))
    assert apply_retention(bucket_url=site.bucket, plan=Path("plan.json")).erased == len(SHORT)
    check(site, {*KEPT, *FORGOTTEN})

    assert forget(number=CALLER, bucket_url=site.bucket, apply=True).ok
    check(site, set(KEPT))
    site.sync()
    verify(repair=True)  # marks what retention has deleted
    assert verify().ok
    assert site.archive().stored == 0

    evidence = export_evidence("call-1000", bucket_url=site.bucket, out=Path("evidence"))
    assert evidence.ok
    key = key_of(next(row for row in gateway.company.all() if row["id"] == 1000))
    sidecar = Path(site.bucket, sidecar_key(key)).read_bytes()
    assert sidecar in {path.read_bytes() for path in Path("evidence/data").rglob("*.json")}

    Path("vbc.duckdb").unlink()
    shutil.rmtree("dlt")
    site.sync()
    assert rebuild_ledger(bucket_url=site.bucket).ok
    downloads = len(site.fetches())
    assert site.archive().stored == 0
    assert len(site.fetches()) == downloads
    result = check_fixity(bucket_url=site.bucket, against_vbc=True)
    assert (result.ok, sorted(result.proven)) == (True, list(KEPT))
