"""Finding a recording, its page, hearing it, and who heard it."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
import requests
from expected_models import expect_models
from model_tables import Credentials, write_models_duckdb, write_models_postgres
from raw_tables import MAIN, POSTGRES, at, invent, own_dataset, write_duckdb, write_postgres
from test_dashboard import ZONE, serving

from vbc_source.analytics.database import AnalyticsDatabase
from vbc_source.audio.bucket import Bucket
from vbc_source.dashboard import plays
from vbc_source.dashboard.details import read_details
from vbc_source.dashboard.figures import Figures
from vbc_source.dashboard.player import ByteRange, read_range
from vbc_source.dashboard.plays import PlaysHead, PlaysLedger, find_account
from vbc_source.dashboard.search import InvalidSearch, read_search, search_recordings
from vbc_source.load.ledgers.custody import Head
from vbc_source.pii import PiiPolicy

SOUND = bytes(range(256)) * 20_000  # 5 MB
KEY, GONE = f"{MAIN}/company/4242", f"{MAIN}/company/4343"
PLACE = f"account_id={MAIN}/recording_type=company/date=2025-03-08"
CALL = {
    "caller_id": "(212) 555-0199",
    "cnam": "Zoë O'Quill 100%",
    "dnis": "17325550188",
    "call_id": "Call-ZZ",
}


def make_tables() -> dict[str, list[dict[str, Any]]]:
    """Invented tables with a known recording, and one that VBC no longer has."""
    tables = invent(1)
    start = at("2025-03-08T12:00:00")
    row = {"account_id": MAIN, "call_direction": "INBOUND", "duration": 61_000, "start": start, **CALL}
    row |= {"end": start + timedelta(seconds=61), "file_size_in_bytes": 10**8}
    tables["company_recordings"] += [{**row, "id": 4242}, {**row, "id": 4343, "cnam": "LOST CALLER"}]
    extension = {"account_id": MAIN, "recording_id": 4242, "position": 0, "extension": "1016"}
    tables["company_recordings__extensions"].append(extension)
    key = {"account_id": MAIN, "recording_type": "company", "user_id": "", "recording_id": 4343}
    stone = {"detected_at": at("2025-11-20"), "evidence": "404", "returned_at": None}
    tables["recording_tombstones"].append({**key, **stone})
    return tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an archive of two files beside it."""
    folder, tables = tmp_path_factory.mktemp("listening"), make_tables()
    write_duckdb(folder / "vbc.duckdb", tables)
    write_models_duckdb(folder / "vbc.duckdb", expect_models(tables, ZONE))
    (folder / "archive" / PLACE).mkdir(parents=True)
    (folder / "archive" / PLACE / "4242.mp3").write_bytes(SOUND)
    (folder / "secret.mp3").write_bytes(b"a secret")
    with duckdb.connect(str(folder / "vbc.duckdb")) as connection:
        connection.execute("ALTER TABLE vbc_data.recording_audio ADD COLUMN uri text")
        connection.execute("ALTER TABLE vbc_data.recording_audio ADD COLUMN content_type text")
        for number, uri in ((4242, f"{folder}/archive/{PLACE}/4242.mp3"), (4343, f"{folder}/secret.mp3")):
            connection.execute(
                f"INSERT INTO vbc_data.recording_audio VALUES ('{MAIN}', 'company', '', {number}, 'stored', "
                f"'file://{uri}', 'audio/mpeg')"
            )
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """Serve the folder for all tests that only read or hear."""
    with serving(folder, plays=PlaysLedger(folder / "recording_plays.jsonl")) as url:
        yield url


def find(url: str, text: str, **more: str) -> list[str]:
    """Return the keys of the recordings on the page of results."""
    answer = requests.post(f"{url}/search", data={"q": text, **more}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.url == f"{url}/search"  # nothing of the text gets into an address
    return [part.split('"')[0] for part in answer.text.split('href="/recording/')[1:]]


@pytest.mark.parametrize(
    "text",
    [
        *("2125550199", "+1 (212) 555-0199", "1-212-555-0199", "0199", "7325550188", "017325550188"),
        *("zoë", "o'quill 100%", "Call-ZZ", "4242", KEY),
    ],
)
def test_a_recording_is_found_by_number_name_and_id(served: str, text: str) -> None:
    assert KEY in find(served, text)


def test_what_vbc_no_longer_has_is_found_too(served: str) -> None:
    assert find(served, "lost caller") == [GONE]
    assert "gone at VBC" in requests.post(f"{served}/search", data={"q": "4343"}, timeout=60).text
    assert requests.get(f"{served}/recording/{GONE}", timeout=60).status_code == 200


@pytest.mark.slow
def test_a_user_is_found_by_name_and_results_are_sorted_and_paged(served: str) -> None:
    found = find(served, "quillfeather", sort="start")
    assert len(found) == 50
    assert KEY in [key for page in range(1, 9) for key in find(served, "quillfeather", page=str(page))]
    assert find(served, "quillfeather", sort="-size", page="1")[0] == KEY


@pytest.mark.destinations
def test_postgres_finds_the_same_and_shows_the_same() -> None:
    tables = make_tables()
    with own_dataset() as dataset:
        write_postgres(dataset, tables)
        write_models_postgres(dataset, expect_models(tables, ZONE))
        database = AnalyticsDatabase("postgres", dataset, Credentials(POSTGRES))
        with closing(database.connect()) as connection:
            figures = Figures(connection, database, ZoneInfo(ZONE))
            for text, key in (("1-212-555-0199", KEY), ("o'quill 100%", KEY), ("lost caller", GONE)):
                rows, _ = search_recordings(figures, read_search(text, PiiPolicy()), "-size", 50)
                assert key in [row["recording_key"] for row in rows]
            details = read_details(figures, KEY)
            assert details
            assert details.facts["caller_name"] == CALL["cnam"]
            assert details.loaded["file_size_in_bytes"] == 10**8
            assert details.people == [("1016", "Emil Quillfeather")]
            assert read_details(figures, GONE).ledgers[0][0] == "Gone at VBC"
            assert figures.read_freshness() is None
            assert figures.count_outside(figures.read_options(date(2026, 1, 1))) == (0, 0)


def test_unusable_texts_are_answered_on_the_page(served: str) -> None:
    for text in ("%", "x" * 201, "a\0b"):
        assert requests.post(f"{served}/search", data={"q": text}, timeout=60).status_code == 400
    assert "Nothing found" in requests.post(f"{served}/search", data={"q": "' OR 1=1 --"}, timeout=60).text
    assert "Nothing found" in requests.post(f"{served}/search", data={"q": "100_%%"}, timeout=60).text
    assert requests.post(f"{served}/search", data={"q": "x" * 10_000}, timeout=60).status_code == 400
    assert "Find a recording" in requests.get(f"{served}/search", timeout=60).text


def test_hashed_numbers_are_searched_by_their_hash() -> None:
    policy = PiiPolicy("hash", b"key")
    assert read_search("+1 212 555 0199", policy).hash == policy.hide("12125550199")
    assert read_search("Ada Quill", policy).hash == policy.hide("Ada Quill")
    assert read_search("Ada Quill", PiiPolicy()).hash is None
    with pytest.raises(InvalidSearch):
        read_search(" ", policy)
    assert "0199" not in repr(read_search("2125550199", policy))


def test_the_page_of_a_recording_has_row_proof_ledger_and_player(served: str) -> None:
    page = requests.get(f"{served}/recording/{KEY}", timeout=60).text
    for text in ("(212) 555-0199", "1016 Emil Quillfeather", "1 min 01 s", "Audio archive", "61000", "Proof"):
        assert text in page, text
    assert f'<audio controls preload="none" src="/audio/{KEY}">' in page
    assert "media-src 'self'" in requests.get(served, timeout=60).headers["content-security-policy"]
    numbers = ("1", "x", "9" * 30, "1" * 5000)
    for key in ("nothing", "%00/company/1", *(f"{MAIN}/company/{number}" for number in numbers)):
        assert requests.get(f"{served}/recording/{key}", timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("header", "start", "stop", "status"),
    [
        *((None, 0, len(SOUND), 200), ("bytes=0-", 0, len(SOUND), 206), ("bytes=100-199", 100, 200, 206)),
        *(("bytes=-10", len(SOUND) - 10, len(SOUND), 206), ("bytes=0-99999999", 0, len(SOUND), 206)),
        *(("bytes=0-1,5-6", 0, len(SOUND), 200), ("lines=0-1", 0, len(SOUND), 200)),
        ("bytes=1048570-1048585", 1_048_570, 1_048_586, 206),
    ],
)
def test_audio_is_sent_in_the_range_that_was_asked_for(
    served: str, header: str | None, start: int, stop: int, status: int
) -> None:
    headers = {"range": header} if header else {}
    answer = requests.get(f"{served}/audio/{KEY}", headers=headers, timeout=60)
    assert (answer.status_code, answer.content) == (status, SOUND[start:stop])
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["content-length"] == str(stop - start)
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(SOUND)}"


def test_no_more_of_a_file_is_read_than_was_asked_for(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # who plays is looked up in a list of all the machine's connections, which may be long
    monkeypatch.setattr(plays, "CONNECTIONS", Path("/dev/null"))

    def read_bytes() -> int:
        return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    headers = {"range": "bytes=2000000-2099999"}
    requests.get(f"{served}/audio/{KEY}", headers=headers, timeout=60)  # reads the place from the database
    before = read_bytes()
    assert len(requests.get(f"{served}/audio/{KEY}", headers=headers, timeout=60).content) == 100_000
    # once from the file, once from the connection, and a little for the ledger of plays
    assert read_bytes() - before < 400_000


def test_a_folder_is_not_read_ahead(own_folder: Path) -> None:
    (own_folder / "any").write_bytes(SOUND)
    bucket, counters = Bucket(str(own_folder)), Path("/proc/self/io")
    before = counters.read_text()
    assert b"".join(bucket.read_range("any", 1_000_000, 1_000_010)) == SOUND[1_000_000:1_000_010]
    first, last = (int(text.split("rchar: ")[1].split()[0]) for text in (before, counters.read_text()))
    assert last - first < 1000  # with the counters themselves


def test_ranges_beyond_the_file_are_refused() -> None:
    assert [read_range(text, 100) for text in ("bytes=100-", "bytes=-0", "bytes=500-600")] == [None] * 3
    assert read_range("bytes=99-5", 100) == ByteRange(0, 100, partial=False)
    assert read_range("bytes=-5", 0) is None


def test_download_and_head_and_foreign_pages(served: str) -> None:
    answer = requests.get(f"{served}/audio/{KEY}?download=1", timeout=60)
    assert answer.headers["content-disposition"] == 'attachment; filename="4242.mp3"'
    head = requests.head(f"{served}/audio/{KEY}", timeout=60)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(SOUND)))
    foreign = {"sec-fetch-site": "cross-site"}
    assert requests.get(f"{served}/audio/{KEY}", headers=foreign, timeout=60).status_code == 403
    assert requests.get(f"{served}/audio/{MAIN}/company/1", timeout=60).status_code == 404


def test_only_files_of_an_archive_are_sent(served: str) -> None:
    """The ledger of this recording has the address of another file."""
    answer = requests.get(f"{served}/audio/{GONE}", timeout=60)
    assert answer.status_code == 404
    assert b"a secret" not in answer.content


def test_audio_goes_on_while_the_database_is_loaded(folder: Path, own_folder: Path) -> None:
    shutil.copy(folder / "vbc.duckdb", own_folder)
    with serving(own_folder) as url:
        assert (
            requests.get(f"{url}/audio/{KEY}", headers={"range": "bytes=0-9"}, timeout=60).status_code == 206
        )
        (own_folder / "vbc.duckdb").unlink()
        assert (
            requests.get(f"{url}/audio/{KEY}", headers={"range": "bytes=9-19"}, timeout=60).status_code == 206
        )


def test_plays_are_on_the_page_each_once(folder: Path, own_folder: Path) -> None:
    ledger = PlaysLedger(own_folder / "recording_plays.jsonl")
    with serving(folder, plays=ledger) as url:
        for header in ("bytes=0-9", "bytes=10-19"):
            requests.get(f"{url}/audio/{KEY}", headers={"range": header}, timeout=60)
        requests.get(f"{url}/audio/{KEY}?download=1", timeout=60)
        assert list((folder / "archive" / "custody" / "heads" / ledger.chain).glob("*.json"))
        page = requests.get(f"{url}/recording/{KEY}", timeout=60).text
    assert (page.count("<td>play</td>"), page.count("<td>download</td>")) == (1, 1)
    assert find_account(None) in page  # this test runs as the account that runs the server


def test_the_ledger_keeps_plays_apart_and_private(own_folder: Path) -> None:
    moments = iter(datetime(2025, 3, 1, 12, minute, tzinfo=timezone.utc) for minute in (0, 10, 20, 21, 22))
    ledger = PlaysLedger(own_folder / "new" / "recording_plays.jsonl", lambda: next(moments))
    for account in ("ada", "ada", "ada", "emil"):
        ledger.record(KEY, account, "play")
    with ledger.path.open("a") as file:
        file.write('{"recording_key": "cut')
    assert [(play.played_by, play.played_at.minute) for play in ledger.list_plays(KEY)] == [
        *(("emil", 21), ("ada", 20), ("ada", 0)),
    ]
    assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600


def test_plays_are_chained_behind_those_of_earlier_versions(own_folder: Path) -> None:
    path = own_folder / "recording_plays.jsonl"
    old = {
        "recording_key": KEY,
        "played_at": "2025-01-01T10:00:00+00:00",
        "played_by": "eve",
        "action": "play",
    }
    path.write_text(json.dumps(old) + "\n" + '{"recording_key": "cut')
    for account in ("ada", "emil", "ada"):
        PlaysLedger(path).record(KEY, account, "download")  # each in a process of its own
    whole = PlaysLedger(path).verify()
    assert (whole.events, whole.problems, len(PlaysLedger(path).list_plays(KEY))) == (3, (), 4)
    lines = path.read_text().splitlines()
    for damaged, problem in (
        ([*lines[:2], lines[2].replace("ada", "eve"), *lines[3:]], "play 1 in"),
        ([*lines[:3], *lines[4:]], "play 2 in"),
        ([*lines[:3], lines[4], lines[3]], "play 2 in"),
        ([*lines, lines[0]], "a line after play 3 in"),
    ):
        path.write_text("\n".join(damaged) + "\n")
        found = PlaysLedger(path).verify().problems
        assert found[0].startswith(problem)


def test_the_first_play_of_a_day_stores_the_head_by_which_a_cut_is_found(
    own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    days = iter((1, 1, 2))
    ledger = PlaysLedger(own_folder / "name" / "recording_plays.jsonl")
    head = PlaysHead(ledger, lambda: datetime(2025, 3, next(days), tzinfo=timezone.utc))
    for account in ("ada", "emil", "eve"):
        ledger.record(KEY, account, "play")
        head.store(str(own_folder / "archive"))
    (folder,) = (own_folder / "archive" / "custody" / "heads").glob("recording_plays-name-*")
    stored = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    assert [(one["chain"], one["sequence"]) for one in stored] == [(ledger.chain, 1), (ledger.chain, 3)]
    heads = [Head(one["sequence"], one["hash"]) for one in stored]
    assert ledger.verify(heads).problems == ()
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text("".join(lines[:2]))
    (cut,) = PlaysLedger(ledger.path).verify(heads).problems
    assert cut.startswith("play 3 in")
    ledger.path.unlink()
    assert len(PlaysLedger(ledger.path).verify(heads).problems) == 2
    PlaysHead(ledger).store(
        str(own_folder / "archive" / "custody" / "heads" / folder.name / "2025-03-01.json")
    )
    assert "the head of the chain of plays is not stored" in caplog.text


def test_nothing_is_played_that_cannot_be_recorded(folder: Path, own_folder: Path) -> None:
    (own_folder / "file").write_text("")
    plays = PlaysLedger(own_folder / "file" / "recording_plays.jsonl")
    with serving(folder, plays=plays) as url:
        answer = requests.get(f"{url}/audio/{KEY}", timeout=60)
    assert (answer.status_code, SOUND[:100] in answer.content) == (503, False)


def test_audio_streams_from_s3(
    folder: Path, own_folder: Path, s3_settings: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vbc_source.audio.bucket import Bucket

    settings = s3_settings()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(settings["DESTINATION__FILESYSTEM__BUCKET_URL"])
    shutil.copy(folder / "archive" / PLACE / "4242.mp3", own_folder / "draft")
    digest = hashlib.sha256((own_folder / "draft").read_bytes()).hexdigest()
    bucket.put(own_folder / "draft", f"{PLACE}/4242.mp3", "audio/mpeg", digest)
    shutil.copy(folder / "vbc.duckdb", own_folder)
    with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
        uri = bucket.uri(f"{PLACE}/4242.mp3")
        connection.execute("UPDATE vbc_data.recording_audio SET uri = ? WHERE recording_id = 4242", [uri])
    with serving(own_folder) as url:
        answer = requests.get(f"{url}/audio/{KEY}", headers={"range": "bytes=1000-1999"}, timeout=60)
    assert (answer.status_code, answer.content) == (206, SOUND[1000:2000])


def test_lists_are_sorted_and_have_a_page_and_a_day_to_jump_to(served: str) -> None:
    longest = requests.get(f"{served}/recordings?days=all&sort=-size", timeout=60).text
    assert longest.split('href="/recording/')[1].startswith(KEY)
    assert 'aria-sort="descending"' in longest
    page = requests.get(f"{served}/recordings?days=all&at=2025-03-08", timeout=60).text
    assert KEY in page
    assert "Page" in page


def test_what_a_form_leaves_empty_is_removed_from_the_address(served: str) -> None:
    query = "from=2025-03-01&to=2025-03-09&direction=&account=&x=1&page=2"
    answer = requests.get(f"{served}/recordings?{query}", allow_redirects=False, timeout=60)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/recordings?from=2025-03-01&to=2025-03-09&page=2"


@pytest.mark.slow
def test_one_recording_of_next_year_does_not_empty_the_page(own_folder: Path) -> None:
    tables = make_tables()
    later = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=365)
    for number, start in ((1, later), (2, at("1970-01-01T00:00:00"))):
        tables["company_recordings"].append(
            {**tables["company_recordings"][-1], "id": number, "start": start, "end": start}
        )
    write_models_duckdb(own_folder / "vbc.duckdb", expect_models(tables, ZONE))
    with serving(own_folder) as url:
        for path in ("/", "/?days=all"):
            page = requests.get(url + path, timeout=60).text
            assert "Recordings over time" in page
            assert "1 recording</a> dated in the future is in no period" in page
            assert "1 recording dated before 1 Jan 1990 is in no period" in page
        future = page.split("dated in the future")[0].rsplit('href="', 1)[1].split('"')[0]
        listed = requests.get(url + future.replace("&amp;", "&"), timeout=60).text
    assert "1 recording</h1>" in listed


def test_the_page_says_of_when_its_figures_are_and_what_to_do_where_newer_is_loaded(
    folder: Path, own_folder: Path
) -> None:
    shutil.copy(folder / "vbc.duckdb", own_folder)
    with serving(own_folder) as url:
        assert "Figures of an unknown time" in requests.get(url, timeout=60).text
        with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
            ((loaded,),) = connection.execute(
                "SELECT (SELECT count(*) FROM vbc_data.company_recordings) + "
                "(SELECT count(*) FROM vbc_data.user_recordings)"
            ).fetchall()
            connection.execute(
                "CREATE OR REPLACE TABLE vbc_data._dlt_loads AS SELECT '1' AS load_id, 'vbc' AS schema_name, "
                "0::bigint AS status, '2025-07-01 02:06:00+00'::timestamptz AS inserted_at; "
                "CREATE TABLE vbc_models.freshness AS SELECT inserted_at AS built_at, "
                f"inserted_at AS loaded_at, 1::bigint AS loads, {loaded}::bigint AS recordings "
                "FROM vbc_data._dlt_loads"
            )
        page = requests.get(url, timeout=60).text
        assert "Figures as of 22:06, 30 Jun 2025<" in page  # in New York
        assert "vbc dashboard --refresh" not in page
        with duckdb.connect(str(own_folder / "vbc.duckdb")) as connection:
            connection.execute(
                "INSERT INTO vbc_data._dlt_loads VALUES ('2', 'vbc', 0, '2025-07-01 03:06:00+00')"
            )
            connection.execute(
                "INSERT INTO vbc_data.company_recordings (account_id, id) SELECT '1', range FROM range(40)"
            )
        page = requests.get(url, timeout=60).text
    assert "Figures as of 22:06, 30 Jun 2025; 40 newer recordings are loaded" in page
    assert "vbc dashboard --refresh" in page
