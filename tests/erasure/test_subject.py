"""Whom to forget: spellings of a number, and which columns may hold it."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import re
import runpy
import zipfile
from pathlib import Path

import dlt
import duckdb
import pyarrow as pa
import pytest

from vbc_source.api.endpoints import ENDPOINTS
from vbc_source.erasure.conditions import KEPT, list_searched, read_kind
from vbc_source.erasure.local_files import LocalCopies
from vbc_source.erasure.subject import RecordingName, read_subject
from vbc_source.errors import UsageError
from vbc_source.pii import PiiPolicy

NOBODY = PiiPolicy()
APIS = {one.name for one in ENDPOINTS}
KEY = b"a-long-random-text-for-tests"
SAME = (
    *("12025550177", "+12025550177", "2025550177", "0012025550177", "01112025550177", "(202) 555-0177"),
    *("1-202-555-0177", "202.555.0177", "+1 202 555 0177", "sip:+12025550177@example.com", "%2B12025550177"),
    '{"ring": "202-555-0177"}',
)
OTHERS = (
    "912025550177",
    "120255501771",
    "+442025550177",
    "+2025550177",
    "2025550178",
    "2001",
    "202,555,0177",
)


@pytest.mark.parametrize("given", ["+1 (202) 555-0177", "2025550177", "001 202 555 0177", "1-202-555-0177"])
def test_a_number_is_found_in_every_spelling_and_no_other_number_is(given: str) -> None:
    subject = read_subject(given, None, (), NOBODY)
    assert [text for text in SAME if not subject.is_in(text)] == []
    assert [text for text in OTHERS if subject.is_in(text)] == []
    with duckdb.connect() as connection:  # the same by the database's own patterns
        for text in (*SAME, *OTHERS):
            found = connection.execute("SELECT regexp_matches(?, ?)", [text, subject.pattern]).fetchall()
            assert found == [(text in SAME,)]


@pytest.mark.parametrize("given", ["+44 20 7946 0958", "0044 20-7946-0958", "011 44 (20) 79460958"])
def test_a_number_of_another_country_is_found_with_the_zero_that_is_dialed_there(given: str) -> None:
    subject = read_subject(given, None, (), PiiPolicy("hash", KEY))
    same = (
        *("442079460958", "+442079460958", "02079460958", "call 020 7946 0958 later", "+44 (0)20 7946 0958"),
        *("+44\u00a020\u00a07946\u00a00958", "020\u20117946\u20110958", "+4402079460958", "(020) 7946.0958"),
        hmac.new(KEY, b"02079460958", hashlib.sha256).hexdigest(),
    )
    others = ("2079460958", "12079460958", "+492079460958", "9442079460958", "020794609581", "+02079460958")
    assert [text for text in same if not subject.is_in(text)] == []
    assert [text for text in others if subject.is_in(text)] == []
    assert [text for text in same if not subject.is_in_bytes(text.encode())] == []
    with duckdb.connect() as connection:
        for text in (*same, *others):
            found = connection.execute("SELECT regexp_matches(?, ?)", [text, subject.pattern]).fetchall()
            assert found == [(text in same,)]
    assert "02079460958" in subject.api_spellings


@pytest.mark.parametrize(
    ("given", "same", "others"),
    [
        ("+39 06 1234 5678", ("0612345678", "+390612345678"), ("00612345678x", "612345678")),
        ("+290 4567", ("2904567",), ("04567",)),
        ("+1 202 555 0177", ("2025550177",), ("02025550177", "102025550177")),
    ],
)
def test_what_is_written_within_a_country_may_be_no_other_number(
    given: str, same: tuple[str, ...], others: tuple[str, ...]
) -> None:
    subject = read_subject(given, None, (), NOBODY)
    assert [text for text in same if not subject.is_in(text)] == []
    assert [text for text in others if subject.is_in(text)] == []


@pytest.mark.parametrize(
    ("given", "digits"),
    [
        ("+44 (0)20 7946 0958", "442079460958"),
        ("0044 (0)20-7946-0958", "442079460958"),
        ("+44 020 7946 0958", "442079460958"),
        ("+353 (0)1 496 0123", "35314960123"),
        ("+353 01 496 0123", "35314960123"),
        ("+39 06 1234 5678", "39612345678"),  # in Italy the zero belongs to the number: it is searched too
    ],
)
def test_a_zero_behind_the_country_code_is_not_part_of_the_number(given: str, digits: str) -> None:
    assert read_subject(given, None, (), NOBODY).digits == digits


@pytest.mark.parametrize("given", ["020 7946 0958", "(0)20 7946 0958", "0114 496 0123", "+0207946095"])
def test_a_number_without_its_country_is_refused(given: str) -> None:
    """As it is written in Britain: what is loaded with the country code would not be found."""
    with pytest.raises(UsageError, match=r"^NUMBER has no country code: give it with one, such as \+44"):
        read_subject(given, None, (), NOBODY)


def test_a_hash_is_found_as_it_stands_in_tables() -> None:
    def hashed(text: str) -> str:
        return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()

    subject = read_subject("+12025550177", None, (), PiiPolicy("hash", KEY))
    assert all(subject.is_in(hashed(text)) for text in ("12025550177", "+12025550177", "(202) 555-0177"))
    assert not subject.is_in(hashed("12025550178"))
    by_hash = read_subject(None, hashed("12025550177").upper(), (), NOBODY)
    assert by_hash.is_in(hashed("12025550177"))
    assert not by_hash.is_in("12025550177")


def test_what_is_kept_names_the_person_by_a_keyed_hash() -> None:
    subject = read_subject("+1 (202) 555-0177", None, (), NOBODY)
    again = read_subject("2025550177", None, (), PiiPolicy("hash", KEY))
    assert subject.identify(KEY) == again.identify(KEY)
    assert subject.identify(KEY) != subject.identify(b"another key")
    assert "2025550177" not in repr(subject)


def test_an_extension_and_nonsense_are_refused_without_repeating_them() -> None:
    for number in ("2001", "20255501771234567", "Zebulonia 555", "", "202+5550177"):
        with pytest.raises(UsageError) as error:
            read_subject(number, None, (), NOBODY)
        assert not number or number not in str(error.value)
    for arguments in (
        (None, None, ()),
        ("2025550177", "0" * 64, ()),
        (None, "1234", ()),
        (None, None, ("x/1",)),
    ):
        with pytest.raises(UsageError):
            read_subject(*arguments, NOBODY)


def test_recordings_are_named_by_id_or_by_the_key_of_the_models() -> None:
    names = read_subject(
        None, None, ("17", "user/77/17", "549825/company/17", "549825/user/77/17"), NOBODY
    ).names
    assert names == (
        RecordingName(17),
        RecordingName(17, "user", "77"),
        RecordingName(17, "company", "", "549825"),
        RecordingName(17, "user", "77", "549825"),
    )


# what is known to hold no number of a caller: columns that are not searched, those of tables whose rows are
# kept, and numbers; the reference of tables is made of the same list
ACTOR = {"actor_user", "actor_host", "actor_version"}  # accounts of your own staff
NOT_SEARCHED = {
    *("account_id", "user_id", "recording_type", "recording_id", "job_id", "position", "leg"),
    *("resource", "access", "status", "class", "direction", "extension", "kind", "version", "row_id"),
    *("reading_id", "filters", "deletion_id", "erasure_id", "subject_hash", "uri", "sha256", "content_type"),
    "_dlt_load_id",
}
KEPT_TEXTS = {
    *("account_id", "user_id", "recording_type", "resource", "row_id", "status", "uri", "sha256", "place"),
    *("check_id", "method", "outcome", "deletion_id", "erasure_id", "subject_hash", "kind", "version"),
    *("chain", "action", "ledger", "row_key", "row_sha256", "previous_hash", "hash", *ACTOR),
    "error",  # of a check: sizes, hashes, HTTP status; of a deletion: HTTP status, or what has changed
}
NUMBERS = {
    *("recording_id", "version", "attempts", "size_bytes", "audio_duration", "sequence", "files"),
    *(
        "total_items",
        "readings",
        "requests",
        "rows_loaded",
        "rows_read",
        "recordings",
        "vbc",
        "objects",
        "rows",
        "local_files",
        "blocked",
    ),
}
READ_TABLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "make_reference.py"))["read_tables"]


def _describe(columns: dict[str, pa.DataType]) -> dict[str, str]:
    return {name: read_kind(str(kind)) for name, kind in columns.items()}


def test_every_personal_column_of_every_table_is_searched() -> None:
    for endpoint in ENDPOINTS:
        shape = endpoint.shape
        kinds = _describe({**shape.fields, shape.id_column: shape.id_kind})
        searched = set(list_searched(endpoint.name, kinds))  # type: ignore[arg-type]
        assert {*shape.personal, *shape.codes, *shape.addresses} <= searched
        # a field that nobody has declared, and a value that does not fit its column
        unknown = {"agent_phone": "text", "callback": "number", "duration__v_text": "text"}
        assert list_searched(endpoint.name, unknown) == list(unknown)  # type: ignore[arg-type]
        for name, items in shape.lists.items():
            child = f"{endpoint.name}__{name}"
            searched = set(list_searched(child, _describe(dict(items.columns))))  # type: ignore[arg-type]
            assert items.columns.keys() - items.ids <= searched


def _list_ledgers() -> dict[str, dict[str, str]]:
    """Return the columns of all tables that are ours, not the API's, as the reference of tables has them."""
    return {
        name: _describe(table.columns)
        for name, table in READ_TABLES().items()
        if name.partition("__")[0] not in APIS
    }


def test_a_new_column_of_a_ledger_is_searched_unless_it_is_declared() -> None:
    """Fails for a new column: add it to `_PLAIN` in conditions.py and here, or leave it to be searched."""
    for table, kinds in _list_ledgers().items():
        unsearched = kinds.keys() - set(list_searched(table, kinds))  # type: ignore[arg-type]
        texts = {name for name in unsearched if kinds[name] == "text"}
        assert table in KEPT or texts <= NOT_SEARCHED | ACTOR, table
        numbers = {name for name in unsearched if kinds[name] == "number"}
        assert numbers <= NUMBERS, (table, numbers - NUMBERS)


def test_a_new_column_of_a_table_that_an_erasure_keeps_is_declared() -> None:
    """Fails for a new column: nobody erases it there, so it must hold no number and no name."""
    ledgers = _list_ledgers()
    assert ledgers.keys() >= KEPT
    for table in KEPT:
        texts = {name for name, kind in ledgers[table].items() if kind == "text"}
        assert texts <= KEPT_TEXTS, (table, texts - KEPT_TEXTS)


def test_any_file_in_the_data_folder_is_searched(own_folder: Path) -> None:
    """A new kind of file needs no code: one that is not known to be removable is named."""
    data = Path(dlt.current.run_context().data_dir)
    own, other = (data / "pipelines" / name for name in ("vbc", "other"))
    for folder, dataset in ((own, "vbc_data"), (other, "another")):
        (folder / "load" / "loaded").mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"dataset_name": dataset}))
        (folder / "load" / "loaded" / "rows.jsonl").write_text('{"caller_id": "(202) 555-0177"}')
    (data / "vbc_new").mkdir()
    (data / "vbc_new" / "cache.gz").write_bytes(gzip.compress(b"12025550177"))
    (data / "vbc_new" / "other").write_bytes(b"12025550178")
    encrypted = io.BytesIO()
    with zipfile.ZipFile(encrypted, "w") as archive:
        archive.writestr("a", "12025550178")
    flags = b"PK\x01\x02\x14\x03\x14\x00"
    locked = encrypted.getvalue().replace(flags + b"\x00", flags + b"\x01")
    assert locked != encrypted.getvalue()
    halves = (gzip.compress(b"12025550178")[:-9], b"PAR1\x15\x04", locked)
    for number, half in enumerate(halves):  # as a killed run leaves them
        (data / "vbc_new" / f"half{number}").write_bytes(half)
    files = LocalCopies("vbc_data", read_subject("2025550177", None, (), NOBODY))
    names = ("cache.gz", "half0", "half1", "half2")
    removed, left = files.erase()
    assert removed == 1
    assert [text.split("; ")[0].split("/")[-1] for text in left] == list(names)
    assert (other / "load" / "loaded" / "rows.jsonl").exists()
    assert not (own / "load" / "loaded" / "rows.jsonl").exists()


def test_patterns_are_plain_enough_for_every_dialect() -> None:
    subject = read_subject("+1 (202) 555-0177", None, (), PiiPolicy("hash", KEY))
    for pattern in (subject.pattern, subject.compact):
        assert not re.search(r"[\\'%:;\"]", pattern)
