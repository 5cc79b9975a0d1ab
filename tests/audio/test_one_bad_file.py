"""One bad file is recorded, and the rest is archived; what is stored stays; a 404 alone proves nothing."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from archiving import AUDIO, Prepare, make_gateway, make_recording
from in_process import run_in_process
from loading import query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from test_verified_storing import Bytes

from vbc_source import VbcError
from vbc_source.audio import archive as archives
from vbc_source.audio import spool
from vbc_source.audio.archive import Archive
from vbc_source.audio.bucket import Bucket, Content
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import AudioLedger
from vbc_source.audio.spool import NoRoom
from vbc_source.emulator import Gateway
from vbc_source.errors import InvalidContent, SettingsError

STATES = "SELECT recording_id, status FROM recording_audio ORDER BY ALL"
MP3 = b"\xff\xfb\x14\xc4" + bytes(92)
REJECTED = b'{"fault":{"code":900901,"message":"Invalid Credentials"}}'
UNKNOWN = b'{"fault":{"code":900906,"message":"No matching resource found"}}'

Answer = Callable[[], Response]


class Answers(Gateway):
    """A gateway with answers of its own for paths that end in some way."""

    answers: dict[str, Answer]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        make = next((make for end, make in self.answers.items() if scope["path"].endswith(end)), None)
        if make:
            await make()(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def make_answers(answers: dict[int, Answer], count: int = 3, **fields: Any) -> Answers:
    """Make a gateway with small files, whose audio it answers as given, and else properly."""
    gateway = Answers()
    numbers = range(1, count + 1)
    gateway.answers = {f"{AUDIO}/{number}": answers.get(number, answer()) for number in numbers}
    for number in numbers:
        start = f"2025-03-{number:02}T10:00:00+0000"
        gateway.company.add(id=number, start=start, **{"file_size_in_bytes": 96, **fields})
    return gateway


def answer(body: bytes = MP3, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: Response(body, status, {"content-type": "audio/mpeg", **named})


def stream_for_ever() -> Response:
    def chunks() -> Iterator[bytes]:
        yield MP3
        while True:
            yield bytes(1 << 16)

    return StreamingResponse(chunks(), media_type="audio/mpeg")


KINDS = ("audio/x-mp3", "audio/mpg", "audio/x-mpeg-3", "audio/MPEG, audio/mpeg", '"audio/mp3"', "video/mpeg")
CODINGS = ("identity, aws-chunked", "aws-chunked", "Identity", "")


@pytest.mark.slow
def test_harmless_headers_contradict_nothing(prepare: Prepare) -> None:
    headers = [{"content_type": kind} for kind in KINDS] + [{"content_encoding": name} for name in CODINGS]
    answers = {number: answer(**each) for number, each in enumerate(headers, 1)}
    site = prepare(make_answers(answers, len(headers)))
    site.load()
    assert site.archive().stored == len(headers)


@pytest.mark.parametrize(
    ("bad", "size"),
    [
        pytest.param(answer(REJECTED), 96, id="token rejected for ever"),
        pytest.param(stream_for_ever, 96, id="longer than listed", marks=pytest.mark.slow),
        pytest.param(stream_for_ever, None, id="without end", marks=pytest.mark.slow),
        pytest.param(answer(b"", 302, location="http://[::1/x"), 96, id="no host", marks=pytest.mark.slow),
        pytest.param(
            answer(b"", 302, location="http://127.0.0.1:port/x"), 96, id="no port", marks=pytest.mark.slow
        ),
    ],
)
def test_a_bad_file_fails_alone(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, own_folder: Path, bad: Answer, size: int | None
) -> None:
    monkeypatch.setattr(archives, "MAX_UNANNOUNCED_BYTES", 1 << 20)
    site = prepare(make_answers({2: bad}, file_size_in_bytes=size), SOURCES__VBC__RETRY_SECONDS="0")
    pipeline = site.load()
    assert (site.archive().stored, query(pipeline, STATES)[1]) == (2, (2, "failed"))
    assert not list((own_folder / "dlt" / "vbc_audio").rglob("spool/*"))


def test_a_404_for_audio_proves_nothing_while_the_recording_exists(prepare: Prepare) -> None:
    gateway = make_answers({2: answer(b"", 404)})
    site = prepare(gateway)
    pipeline = site.load()
    assert site.archive().failed == 1
    gateway.answers[f"{AUDIO}/2"] = answer()
    assert site.archive().stored == 1
    assert query(pipeline, STATES) == [(number, "stored") for number in (1, 2, 3)]


def test_a_recording_that_is_gone_is_missing(prepare: Prepare) -> None:
    gateway = make_answers({2: answer(b"", 404)})
    site = prepare(gateway)
    pipeline = site.load()
    gateway.company.delete(2)
    done = site.archive()
    assert (done.missing, done.ok) == (1, True)
    assert query(pipeline, STATES)[1] == (2, "missing")
    ((error,),) = query(pipeline, "SELECT error FROM recording_audio WHERE recording_id = 2")
    assert "answered HTTP 404 at" in error


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(UNKNOWN, id="gateway's own"),
        pytest.param(b"", id="to everything", marks=pytest.mark.slow),
    ],
)
def test_a_gateway_that_answers_404_to_everything_makes_nothing_missing(
    prepare: Prepare, body: bytes
) -> None:
    gateway = make_answers({number: answer(body, 404) for number in (1, 2, 3)})
    site = prepare(gateway)
    pipeline = site.load()
    gateway.answers |= {f"/{number}": answer(body, 404) for number in (1, 2, 3)}
    assert site.archive().missing == 0
    assert {status for _, status in query(pipeline, STATES)} == {"failed"}


@pytest.mark.slow
def test_a_changed_recording_is_archived_again_and_both_files_stay(prepare: Prepare) -> None:
    site = prepare(make_gateway(3))
    pipeline = site.load()
    site.archive()
    before = site.files()
    site.gateway.company.change(1001, file_size_in_bytes=5000)
    site.gateway.company.change(1002, call_id="another-call")
    site.load()
    assert site.archive().stored == 2
    assert site.archive().stored == 0
    after = site.files()
    assert {key: after[key] for key in before} == before
    assert sorted(key.rsplit("/", 1)[1] for key in after.keys() - before.keys()) == [
        "1001.v2.mp3",
        "1002.v2.mp3",
    ]
    rows = query(pipeline, "SELECT recording_id, version, size_bytes FROM recording_audio ORDER BY ALL")
    assert rows == [(1000, 1, 2000), (1001, 1, 2001), (1001, 2, 5000), (1002, 1, 2002), (1002, 2, 2002)]


@pytest.mark.slow
def test_the_old_file_stays_known_when_the_changed_one_cannot_be_had(prepare: Prepare) -> None:
    site = prepare(make_gateway(1))
    pipeline = site.load()
    site.archive()
    site.gateway.company.change(1000, call_id="another-call")
    site.load()
    site.gateway.company.delete(1000)
    assert site.archive().missing == 1
    rows = query(pipeline, "SELECT version, status FROM recording_audio ORDER BY ALL")
    assert rows == [(1, "stored"), (2, "missing")]


@pytest.fixture
def journal(own_folder: Path) -> Iterator[Journal]:
    journal = Journal(own_folder / "state" / "journal")
    yield journal
    journal.close()


class LyingBucket(Bucket):
    """A store that says yes, and keeps nothing or other bytes."""

    kept: Content | None = None
    stored: list[str]

    def put(
        self, path: Path, key: str, content_type: str, sha256: str | None = None, *, new: bool = False
    ) -> str | None:
        self.stored = [key]
        return None

    def read(self, key: str) -> Content | None:
        return self.kept if key in getattr(self, "stored", ()) else None


@pytest.mark.parametrize("kept", [None, Content(96, "0" * 64, MP3)])
def test_what_the_store_did_not_keep_is_not_stored(
    journal: Journal, own_folder: Path, kept: Content | None
) -> None:
    bucket = LyingBucket(str(own_folder / "files"))
    bucket.kept = kept
    archive = Archive(bucket, own_folder / "spool", journal)
    with pytest.raises(InvalidContent, match="did not keep the bytes"):
        archive.store(make_recording(), Bytes(MP3))
    assert (journal.rows, journal.intents) == ([], [])


def test_other_bytes_under_the_same_name_are_never_replaced(journal: Journal, own_folder: Path) -> None:
    archive = Archive(Bucket(str(own_folder / "files")), own_folder / "spool", journal)
    other = MP3[:-1] + b"x"
    rows = [archive.store(make_recording(), Bytes(body)) for body in (MP3, other, MP3)]
    assert [row.version for row in rows] == [1, 2, 1]
    assert sorted(path.read_bytes() for path in (own_folder / "files").rglob("*.mp3")) == sorted([MP3, other])


def test_spool_and_journal_are_private_whatever_the_umask(prepare: Prepare, own_folder: Path) -> None:
    modes: list[int] = []
    site = prepare(make_gateway(2))
    site.load()
    before = os.umask(0)
    try:
        (own_folder / "dlt" / "vbc_audio").mkdir(mode=0o755, parents=True)
        site.archive()
    finally:
        os.umask(before)
    for path in [own_folder / "dlt" / "vbc_audio", *(own_folder / "dlt" / "vbc_audio").rglob("*")]:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        assert modes[-1] == (0o700 if path.is_dir() else 0o600), path
    assert len(modes) >= 4
    for path in Path(site.bucket).rglob("*.mp3"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666  # the archive itself follows its folder


def test_room_stays_free_on_the_disk(
    journal: Journal, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(Bucket(str(own_folder / "files")), own_folder / "spool", journal)
    with pytest.raises(InvalidContent, match="has room for"):
        archive.store(make_recording(size_bytes=1 << 60), Bytes(MP3))
    monkeypatch.setattr(spool, "RESERVED_BYTES", 1 << 60)
    with pytest.raises(NoRoom, match="DLT_DATA_DIR"):
        archive.store(make_recording(), Bytes(MP3))


def test_mounts_of_one_volume_are_copied_between(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace

    def refuse_across(path: Path, target: Path) -> Path:
        if path.parent == own_folder:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", refuse_across)
    (own_folder / "received").write_bytes(MP3)
    bucket = Bucket(str(own_folder / "files"))
    bucket.put(own_folder / "received", "a/1.mp3", "audio/mpeg", hashlib.sha256(MP3).hexdigest())
    assert (own_folder / "files" / "a" / "1.mp3").read_bytes() == MP3
    assert not list((own_folder / "files" / ".incoming").iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:verysecret@bucket/x",
        "s3://verysecret@bucket/x",
        "az://container/x?sig=verysecret",
        "abfss://container:verysecret@account/x",
        "s3:/AKIAKEY:verysecret@bucket/x",
        "sftp://user:verysecret@host/x",
    ],
)
def test_keys_in_the_address_of_a_bucket_are_refused_and_not_repeated(prepare: Prepare, url: str) -> None:
    with pytest.raises(SettingsError, match="bucket_url") as caught:
        Bucket(url)
    assert "verysecret" not in str(caught.value)
    prepare()
    done = run_in_process("audio", "--bucket-url", url, "--json")
    assert (done.exit_code, "verysecret" in done.output + done.stderr) == (1, False)


@pytest.mark.parametrize("url", ["memory://files", "ftp://files.invalid/x", "https://files.invalid", "x://y"])
def test_an_archive_is_only_where_objects_are_whole_and_stay(url: str) -> None:
    with pytest.raises(SettingsError, match=f"begin with s3://, gs:// or az://, not with {url[:2]}"):
        Bucket(url)


@pytest.mark.parametrize(
    ("url", "place"), [("s3://", "bucket"), ("gs:///x", "bucket"), ("file://", "folder")]
)
def test_an_address_that_ends_before_the_bucket_is_named_in_one_clear_line(
    own_folder: Path, url: str, place: str
) -> None:
    reason = f"bucket_url names no {place} behind {url.split(':', maxsplit=1)[0]}://: add it"
    with pytest.raises(SettingsError, match=reason):
        Bucket(url)
    failed = run_in_process("status", "--destination", "filesystem", DESTINATION__FILESYSTEM__BUCKET_URL=url)
    assert failed.exit_code == 1
    assert failed.stderr == f"vbc status: [destination.filesystem] {reason}\n"


def test_the_first_error_is_reported_when_the_ledger_cannot_be_loaded_either(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(ledger: AudioLedger) -> None:
        if ledger.journal.rows:
            raise VbcError("the ledger cannot be loaded")

    gateway = make_gateway(40)
    site = prepare(gateway, SOURCES__VBC__RETRY_SECONDS="0")
    site.load()
    gateway.fault("html*always")
    monkeypatch.setattr(AudioLedger, "load", fail)
    with pytest.raises(VbcError, match="25 files in a row"):
        site.archive()
