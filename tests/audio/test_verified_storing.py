"""Bytes become a verified file in the bucket, or nothing is stored."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import KEYS, make_recording

from vbc_source.audio.archive import Archive
from vbc_source.audio.bucket import Bucket, BucketFailed
from vbc_source.audio.bucket.local_files import DRAFTS
from vbc_source.audio.journal import Journal
from vbc_source.errors import InvalidContent, SettingsError

MP3 = b"\xff\xfb\x14\xc4" + bytes(92)


class Bytes:
    """Bytes in chunks, with a reported content type and size."""

    def __init__(self, *chunks: bytes, content_type: str | None = None, size: int | None = None) -> None:
        self.chunks, self.content_type, self.size = chunks, content_type, size
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.digest.update(chunk)
            yield chunk


@pytest.fixture
def journal(own_folder: Path) -> Iterator[Journal]:
    journal = Journal(own_folder / "journal")
    yield journal
    journal.close()


@pytest.fixture
def archive(own_folder: Path, journal: Journal) -> Archive:
    return Archive(Bucket(str(own_folder / "my files")), own_folder / "spool", journal)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "my files").rglob("*") if path.is_file()]


def test_member_of_a_zip_is_stored_like_a_download(
    archive: Archive, journal: Journal, own_folder: Path
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.writestr("../../evil.mp3", MP3 * 10_000)
    with zipfile.ZipFile(packed) as source, source.open("../../evil.mp3") as member:
        stream = Bytes(*iter(lambda: member.read(65_536), b""), size=source.infolist()[0].file_size)
    row = archive.store(make_recording(size_bytes=960_000), stream)
    assert (row.status, row.size_bytes, row.attempts) == ("stored", 960_000, 1)
    assert row.sha256 == hashlib.sha256(MP3 * 10_000).hexdigest()
    (path,) = files(own_folder)
    assert path.read_bytes() == MP3 * 10_000
    assert journal.rows == [row]
    assert not list((own_folder / "spool").iterdir())


@pytest.mark.parametrize(
    ("chunks", "reported", "listed"),
    [
        ((MP3,), 97, None),
        ((MP3,), None, 97),
        ((MP3,), 96, 95),
        ((MP3, MP3), None, 96),
        ((b"<html>",), 6, 6),
        ((), 0, None),
        ((), None, None),
    ],
)
def test_content_with_a_wrong_size_or_format_is_not_stored(
    archive: Archive,
    journal: Journal,
    own_folder: Path,
    chunks: tuple[bytes, ...],
    reported: int | None,
    listed: int | None,
) -> None:
    with pytest.raises(InvalidContent):
        archive.store(make_recording(size_bytes=listed), Bytes(*chunks, size=reported))
    assert (files(own_folder), journal.rows, journal.intents) == ([], [], [])
    assert not list((own_folder / "spool").iterdir())


def test_recovery_after_a_kill_keeps_only_files_that_were_stored(
    archive: Archive, journal: Journal, own_folder: Path
) -> None:
    rows = [archive.store(make_recording(recording_id=number), Bytes(MP3)) for number in (1, 2, 3)]
    journal.forget(rows)
    for row in rows:
        journal.intend(row)  # as if killed right before the row was recorded
    stored = sorted(files(own_folder))
    stored[1].write_bytes(MP3[:-1] + b"x")
    stored[2].unlink()
    (own_folder / "spool" / "left").write_bytes(b"half")
    Archive(archive.bucket, own_folder / "spool", journal).recover()
    assert (journal.rows, journal.intents) == (rows[:1], [])
    assert not list((own_folder / "spool").iterdir())


@pytest.mark.parametrize("where", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_unwritable_bucket_gives_a_clear_error(
    request: pytest.FixtureRequest, journal: Journal, own_folder: Path, where: str
) -> None:
    url = "s3://no-such-bucket/x"
    if where == "s3":
        request.getfixturevalue("s3")
    else:
        url = (own_folder / "file").as_uri()
        (own_folder / "file").touch()  # not a folder
    archive = Archive(Bucket(url), own_folder / "spool", journal)
    with pytest.raises(BucketFailed, match=f"{url} cannot be written"):
        archive.store(make_recording(), Bytes(MP3))
    assert journal.rows == []


@pytest.mark.parametrize("url", ["", "  ", "nonsense://x", "s3://"])
def test_unusable_bucket_url_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError):
        Bucket(url)


def test_stale_drafts_are_removed_after_a_day(own_folder: Path) -> None:
    bucket = Bucket((own_folder / "b").as_uri())
    for name, age in (("old", 90_000), ("new", 60)):
        draft = own_folder / "b" / DRAFTS / name
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(b"half")
        moment = draft.stat().st_mtime - age
        os.utime(draft, (moment, moment))
    bucket.remove_stale_drafts()
    assert [path.name for path in (own_folder / "b" / DRAFTS).iterdir()] == ["new"]


def test_address_outside_the_bucket_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(f"DESTINATION__FILESYSTEM__CREDENTIALS__{name.upper()}", value)
    bucket = Bucket("s3://bucket/prefix/")
    assert bucket.key_of(bucket.uri("a/b.mp3")) == "a/b.mp3"
    for outside in ("prefix2/a", "prefix/../a", "prefix//a", "prefix/", ""):
        assert bucket.key_of(f"s3://bucket/{outside}") in (None, "")
    assert bucket.key_of("s3://other/prefix/a") is None


def test_file_from_another_file_system_is_stored_completely(own_folder: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == own_folder.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.NamedTemporaryFile(dir=memory) as elsewhere:
        elsewhere.write(MP3 * 1000)
        elsewhere.flush()
        digest = hashlib.sha256(MP3 * 1000).hexdigest()
        Bucket(str(own_folder / "my files")).put(Path(elsewhere.name), "a/1.mp3", "audio/mpeg", digest)
    assert [path.read_bytes() for path in files(own_folder)] == [MP3 * 1000]
