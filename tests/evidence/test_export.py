"""A call is exported as a bag that a stranger checks with sha256sum and the script in the docs."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

from archiving import Prepare, Site, key_of, make_gateway, sound_of
from in_process import run_in_process

import vbc_source
from vbc_source import Target
from vbc_source.analytics.database import find_database
from vbc_source.dashboard.plays import open_ledger
from vbc_source.dashboard.plays_head import PlaysHead
from vbc_source.load.ledgers.custody import hash_fields

PAGE = Path(vbc_source.__file__).parents[1] / "docs" / "custody.md"
CALL = "call-1001"


def archive(prepare: Prepare) -> Site:
    """Archive four files; the second and the third are of one call."""
    gateway = make_gateway(4)
    gateway.company.change(1002, call_id=CALL)
    site = prepare(gateway, SOURCES__VBC__MAX_CONCURRENCY="1")
    site.load()
    assert site.archive().stored == 4
    return site


def check_files(folder: Path, manifest: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sha256sum", "--strict", "-c", manifest], cwd=folder, capture_output=True, text=True, check=False
    )


def check_chain(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of the page."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    command = [sys.executable, "-c", found[1], str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def export(site: Site, out: str) -> tuple[int, dict[str, object]]:
    result = run_in_process("evidence", CALL, "--out", out, "--bucket-url", site.bucket, "--json")
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


def test_a_call_is_exported_with_all_that_proves_it(prepare: Prepare, own_folder: Path) -> None:
    site = archive(prepare)
    plays = open_ledger(find_database(Target()))
    for number in (1000, 1001, 1003):
        plays.record(f"549825/company/{number}", "ada", "download")
    PlaysHead(plays).store(site.bucket)
    second, third = sorted(site.gateway.company.all(), key=lambda row: int(row["id"]))[1:3]
    sidecar = Path(site.bucket, key_of(third)).with_suffix(".json")
    sidecar.write_text('{"by": "the archive"}\n')
    Path(site.bucket, key_of(second)).with_suffix(".json").unlink()
    status, printed = export(site, "bag")
    bag = own_folder / "bag"
    files = [path for path in (bag / "data").rglob("*") if path.is_file()]
    assert (status, printed) == (0, {"ok": True, "recordings": 2, "files": len(files), "problems": []})
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        assert check_files(bag, manifest).returncode == 0
    assert (bag / "bagit.txt").read_text().startswith("BagIt-Version: 1.0\n")
    assert f"External-Identifier: {CALL}\n" in (bag / "bag-info.txt").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [bag / "data/recordings/1", bag / "data/recordings/2"]
    assert (folders[0] / "1001.mp3").read_bytes() == sound_of(site.gateway, second)
    assert (folders[1] / "1002.json").read_text() == sidecar.read_text()
    made = json.loads((folders[0] / "1001.json").read_text())
    assert (made["recording"]["call_id"], made["archive"]["recording_id"]) == (CALL, 1001)
    ledgers = json.loads((folders[0] / "ledgers.json").read_text())
    assert (ledgers["recording_audio"][0]["status"], len(ledgers["recording_plays"])) == ("stored", 1)
    assert json.loads((folders[0] / "proofs.json").read_text())["scan_windows"][0]["is_proven"] is True
    # the chain from the call's first event on, without what is not of the call
    chain = (bag / "data/custody/vbc_audio.jsonl").read_text()
    assert [link.get("event", {}).get("recording_id") for link in map(json.loads, chain.splitlines())] == [
        *(1001, 1002, None)
    ]
    assert "1003" not in (bag / "data/custody/plays.jsonl").read_text()
    done = check_chain(bag)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["plays.jsonl", "2"],
        ["vbc_audio.jsonl", "3"],
    ]
    assert sorted(path.parent.name for path in (bag / "data/custody/heads").rglob("*.json")) == [
        "plays",
        "vbc_audio",
    ]
    # an event that was changed, also beside the digest of what it was, and an end that was cut off
    changed = chain.replace('"archive"', '"deletion"', 1)
    digest = hash_fields(json.loads(chain.splitlines()[0])["event"])
    beside = changed.replace('{"event"', f'{{"event_sha256":"{digest}","event"', 1)
    assert beside != changed
    for damaged in (changed, beside, chain.rsplit("\n", 2)[0]):
        (bag / "data/custody/vbc_audio.jsonl").write_text(damaged)
        assert (check_files(bag, "manifest-sha256.txt").returncode, check_chain(bag).returncode) == (1, 1)
    assert export(site, "bag")[0] == 2  # there are files already
    # what is missing or differs is named, and the rest exported
    Path(site.bucket, key_of(second)).write_bytes(b"other")
    Path(site.bucket, key_of(third)).unlink()
    status, printed = export(site, "damaged")
    assert (status, printed["ok"], printed["recordings"]) == (1, False, 2)
    first, last = printed["problems"]  # type: ignore[misc]
    assert first.startswith("company recording 1001: ")
    assert "1001.mp3 differs from the ledger: 5 bytes" in first
    assert last.endswith("1002.mp3 is missing in the bucket")
    bag = own_folder / "damaged"
    assert (bag / "data/recordings/1/1001.mp3").read_bytes() == b"other"
    assert check_files(bag, "manifest-sha256.txt").returncode == 0
    assert check_chain(bag).returncode == 0
    unknown = run_in_process("evidence", "no-call", "--out", "new", "--bucket-url", site.bucket)
    assert (unknown.exit_code, "no recording of that call" in unknown.stderr) == (1, True)
    assert not (own_folder / "new").exists()
