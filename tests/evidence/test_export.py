"""A call is exported as a bag that a stranger checks with sha256sum and the script in the docs."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import Prepare, Site, key_of, make_gateway, sound_of
from in_process import run_in_process

import vbc_source
from vbc_source import Target
from vbc_source.analytics.database import find_database
from vbc_source.dashboard.plays import PlaysHead, open_ledger
from vbc_source.retention.apply import apply_retention
from vbc_source.retention.plan import plan_retention

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


def read_script() -> str:
    """Return the script of the page."""
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(script)


def check_chain(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script of the page as a stranger does: without this package, and without any other."""
    command = [sys.executable, "-I", "-S", "-c", read_script(), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def export(site: Site, out: str) -> tuple[int, dict[str, object]]:
    result = run_in_process("evidence", CALL, "--out", out, "--bucket-url", site.bucket, "--json")
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_call_is_exported_with_all_that_proves_it(prepare: Prepare, own_folder: Path) -> None:
    site = archive(prepare)
    plays = open_ledger(find_database(Target()))
    for number in (1000, 1001, 1003):
        plays.record(f"549825/company/{number}", "ada", "download")
    PlaysHead(plays).store(site.bucket)
    second, third = sorted(site.gateway.company.all(), key=lambda row: int(row["id"]))[1:3]
    sidecar = Path(site.bucket, key_of(third)).with_suffix(".json")
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
    assert [
        json.loads(link.get("event", "{}")).get("recording_id")
        for link in map(json.loads, chain.splitlines())
    ] == [*(1001, 1002, None)]
    assert "1003" not in (bag / "data/custody/plays.jsonl").read_text()
    done = check_chain(bag)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(path.parent.name for path in (bag / "data/custody/heads").rglob("*.json")) == [
        "plays",
        "vbc_audio",
    ]
    assert export(site, "bag")[0] == 2  # there are files already
    # what is missing or differs is named, and the rest exported
    Path(site.bucket, key_of(second)).write_bytes(b"other")
    Path(site.bucket, key_of(third)).unlink()
    sidecar.write_text(sidecar.read_text().replace(CALL, "another-call"))
    status, printed = export(site, "damaged")
    assert (status, printed["ok"], printed["recordings"]) == (1, False, 2)
    first, second_one, last = printed["problems"]  # type: ignore[misc]
    assert first.startswith("company recording 1001: ")
    assert "1001.mp3 differs from the ledger: 5 bytes" in first
    assert second_one.endswith("1002.mp3 is missing in the bucket")
    assert last.endswith("it is not the file that the manifest has the SHA-256 of")
    bag = own_folder / "damaged"
    assert (bag / "data/recordings/1/1001.mp3").read_bytes() == b"other"
    assert check_files(bag, "manifest-sha256.txt").returncode == 0
    assert check_chain(bag).returncode == 0
    unknown = run_in_process("evidence", "no-call", "--out", "new", "--bucket-url", site.bucket)
    assert (unknown.exit_code, "no recording of that call" in unknown.stderr) == (1, True)
    assert not (own_folder / "new").exists()


@pytest.mark.slow
def test_of_a_file_that_a_policy_deleted_the_rule_is_named(prepare: Prepare, own_folder: Path) -> None:
    site = archive(prepare)
    rule = 'name = "year"\nolder_than_days = 1\nactions = ["delete_at_vbc", "delete_archive"]\n'
    Path("retention.toml").write_text(f"[[rules]]\n{rule}")
    plan_retention(out=Path("plan.json"), bucket_url=site.bucket)
    assert apply_retention(plan=Path("plan.json"), bucket_url=site.bucket).erased == 4
    status, printed = export(site, "bag")
    assert (status, printed["recordings"]) == (1, 2)
    assert all(
        "has no archived file" in problem and "year" in problem
        for problem in printed["problems"]  # type: ignore[attr-defined]
    )
    assert check_chain(own_folder / "bag").returncode == 0


def damage_chain(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield kinds of damage to a chain, with its lines then: each event, and each two of them."""
    for place, line in enumerate(lines):
        before, after = lines[:place], lines[place + 1 :]
        link = json.loads(line)
        yield f"{place} removed", [*before, *after]
        yield f"{place} moved", [*after[:1], *before, line, *after[1:]] if after else [line, *before]
        yield f"hash of {place} changed", [*before, write(link, hash="0" * 64), *after]
        if "event" not in link:
            yield f"digest of {place} changed", [*before, write(link, event_sha256="0" * 64), *after]
            continue
        changed = link["event"].replace('"archive"', '"deletion"').replace('"download"', '"play"')
        assert changed != link["event"]
        yield f"{place} changed", [*before, write(link, event=changed), *after]
        digest = hashlib.sha256(link["event"].encode()).hexdigest()
        beside = write(link, event=changed, event_sha256=digest)
        yield f"{place} changed beside the digest of what it was", [*before, beside, *after]
        again = hashlib.sha256(changed.encode()).hexdigest()
        anew = hashlib.sha256(f"{link['previous_hash']}{again}".encode()).hexdigest()
        yield f"{place} changed with its hash", [*before, write(link, event=changed, hash=anew), *after]


def write(link: dict[str, str], **changes: str) -> str:
    return json.dumps({**link, **changes})


@pytest.mark.slow
def test_the_script_of_the_page_finds_each_damage_of_a_bag(prepare: Prepare, own_folder: Path) -> None:
    lines = [line for line in read_script().splitlines() if line]
    assert len(lines) <= 10
    assert max(map(len, lines)) <= 100
    site = archive(prepare)
    plays = open_ledger(find_database(Target()))
    for number in (1000, 1001, 1003, 1001):
        plays.record(f"549825/company/{number}", "ada", "download")
    PlaysHead(plays).store(site.bucket)
    assert export(site, "bag")[0] == 0
    custody = own_folder / "bag/data/custody"
    chains = sorted(custody.glob("*.jsonl"))
    assert [(path.name, len(path.read_text().splitlines())) for path in chains] == [
        ("plays.jsonl", 3),
        ("vbc_audio.jsonl", 3),
    ]
    assert check_chain(own_folder / "bag").returncode == 0
    for path in chains:
        whole = path.read_text()
        for kind, damaged in damage_chain(whole.splitlines()):
            path.write_text("".join(f"{line}\n" for line in damaged))
            done = check_chain(own_folder / "bag")
            assert done.returncode == 1, (path.name, kind)
            assert "does not fit what is before it" in done.stderr, (path.name, kind)
        path.unlink()
        assert check_chain(own_folder / "bag").returncode == 1  # by its head
        path.write_text(whole)
    for path in (*custody.glob("heads/*/*.json"), custody / "starts.json"):
        whole = path.read_text()
        path.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, whole))
        assert check_chain(own_folder / "bag").returncode == 1, path
        path.write_text(whole)
    assert check_chain(own_folder / "bag").returncode == 0
    assert check_chain(own_folder / "elsewhere").returncode == 1
