"""Files survive a crash of the machine: bytes and names are on the disk before a row tells of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archiving import Prepare, make_recording
from fsspec.implementations.local import LocalFileSystem

from vbc_source.audio import ledger
from vbc_source.audio.archive import Archive
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_head
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import make_ledger_row
from vbc_source.audio.sidecars import notes
from vbc_source.evidence.bag import Bag
from vbc_source.lakes.swap import Swap
from vbc_source.load.ledgers.custody import Head
from vbc_source.private_files import write_private_file
from vbc_source.retention.plan_file import PlanHeader, PlanWriter

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
DAY = "account_id=1/recording_type=company/date=2025-06-01"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX alone")
IsOnDisk = Callable[[Path], bool]


@pytest.fixture
def is_on_disk(monkeypatch: pytest.MonkeyPatch) -> IsOnDisk:
    """Tell whether a file or folder was synced, and has not changed since."""
    synced: set[tuple[int, int, int]] = set()

    def describe(status: os.stat_result) -> tuple[int, int, int]:
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def record(descriptor: int) -> None:
        before = describe(os.fstat(descriptor))  # what changes meanwhile may not be on the disk
        fsync(descriptor)
        synced.add(before)

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", record)
    return lambda path: describe(path.stat()) in synced


def list_all(folder: Path) -> list[Path]:
    """Return a folder with all that is in it, but for drafts."""
    return [path for path in (folder, *folder.rglob("*")) if ".incoming" not in path.parts]


def test_a_file_and_its_name_are_on_the_disk_before_its_row_is_loaded(
    prepare: Prepare, is_on_disk: IsOnDisk, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, seen = own_folder / "new" / "files", list[tuple[str, int]]()
    site = prepare(bucket=str(bucket))
    site.load()

    def look_then(load_rows: Callable[..., None]) -> Callable[..., None]:
        def look(pipeline: Any, name: str, *arguments: Any, **options: Any) -> None:
            paths = list_all(bucket)
            assert [path for path in paths if not is_on_disk(path)] == []
            assert is_on_disk(bucket.parent)
            seen.append((name, sum(path.suffix == ".mp3" for path in paths)))
            load_rows(pipeline, name, *arguments, **options)

        return look

    monkeypatch.setattr("vbc_source.audio.sidecars.missing_sidecars.NOTED_FOLDERS", 1)
    for module in (ledger, notes):
        monkeypatch.setattr(module, "load_rows", look_then(module.load_rows))
    assert site.archive().ok
    names = [name for name, files in seen if files]
    assert names == ["recording_audio", "audio_manifests"]


def test_a_row_whose_file_a_crash_has_undone_is_forgotten(own_folder: Path) -> None:
    bucket = Bucket(str(own_folder / "files"))
    rows = [
        make_ledger_row(
            make_recording(recording_id=number), status, NOW, uri=bucket.uri(f"{DAY}/{number}.mp3")
        )
        for number, status in enumerate(("stored", "stored", "erased", "erased"))
    ]
    failed = make_ledger_row(make_recording(recording_id=9), "failed", NOW)
    journal = Journal(own_folder / "journal")
    for row in (*rows, failed):
        journal.record(row)
    for number in (0, 2):
        bucket.put_bytes(b"", f"{DAY}/{number}.mp3", "audio/mpeg")
    Archive(bucket, own_folder / "spool", journal).recover()
    assert journal.rows == [rows[0], rows[3], failed]
    journal.close()


def write_journal(folder: Path) -> list[Path]:
    journal = Journal(folder / "new" / "journal.jsonl")
    journal.intend(make_ledger_row(make_recording(), "erased", NOW))
    journal.close()
    return [folder / "new" / "journal.jsonl"]


def write_text(folder: Path) -> list[Path]:
    write_private_file(folder / "certificate.json", "{}")
    return [folder / "certificate.json"]


def write_bag(folder: Path) -> list[Path]:
    bag = Bag(folder / "new" / "bag")
    bag.add("recordings/1/a.mp3", [b"a"])
    bag.close(NOW)
    return list_all(folder / "new" / "bag")


def write_plan(folder: Path) -> list[Path]:
    names = ("format", "policy", "policy_sha256", "destination", "dataset", "bucket_url")
    header = PlanHeader(made_at=NOW, hold=None, hold_sha256=None, **dict.fromkeys(names, "x"))
    PlanWriter(folder / "plan.json", header).close()
    return [folder / "plan.json"]


def swap_files(folder: Path) -> list[Path]:
    lake = SimpleNamespace(
        fs_client=LocalFileSystem(),
        pathlib=os.path,
        dataset_path=str(folder),
        config=SimpleNamespace(is_local_filesystem=True),
    )
    (folder / "old").write_bytes(b"rows")
    Swap(lake, "calls").run({"calls/new": lambda: b"rows"}, ["old"])
    assert not (folder / "old").exists()
    return [folder / "calls" / "new"]


def store_custody_head(folder: Path) -> list[Path]:
    store_head(Bucket(str(folder / "new" / "bucket")), "vbc_audio", Head(1, "ab", NOW), NOW)
    return [path for path in list_all(folder / "new") if path.is_file()]


@pytest.mark.parametrize(
    "write",
    [write_journal, write_text, write_bag, write_plan, swap_files, store_custody_head],
    ids=lambda f: f.__name__,
)
def test_what_is_written_is_on_the_disk(
    write: Callable[[Path], list[Path]], own_folder: Path, is_on_disk: IsOnDisk
) -> None:
    paths = write(own_folder)
    assert paths
    for path in paths:
        assert is_on_disk(path), path
        assert is_on_disk(path.parent), path


def test_a_folder_that_cannot_be_synced_is_no_fault(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network mounts; a file that cannot be is one."""

    def refuse(descriptor: int) -> None:
        raise OSError(22, "Invalid argument")

    bucket = Bucket(str(own_folder / "files"))
    bucket.put_bytes(b"", f"{DAY}/1.mp3", "audio/mpeg")
    monkeypatch.setattr(os, "fsync", refuse)
    bucket.sync([bucket.uri(f"{DAY}/1.mp3"), "s3://other/1.mp3"])
    with pytest.raises(OSError, match="Invalid argument"):
        write_private_file(own_folder / "receipt.json", hashlib.sha256().hexdigest())
