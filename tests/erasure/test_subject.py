"""Whom to forget: spellings of a number, and which columns may hold it."""

from __future__ import annotations

import hashlib
import hmac
import re

import duckdb
import pyarrow as pa
import pytest

from vbc_source.api.endpoints import CALL_LOGS, COMPANY, EXTENSIONS, JOBS, ON_DEMAND, USERS
from vbc_source.audio import ledger
from vbc_source.erasure.conditions import list_searched, read_kind
from vbc_source.erasure.subject import RecordingName, read_subject
from vbc_source.errors import UsageError
from vbc_source.extract import arrivals, tables
from vbc_source.pii import PiiPolicy
from vbc_source.retention import deletions
from vbc_source.schema import erased
from vbc_source.warehouse import call_gaps, tombstones

NOBODY = PiiPolicy()
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


def test_a_number_of_another_country_has_no_national_form() -> None:
    subject = read_subject("+49 30 12345678", None, (), NOBODY)
    assert all(map(subject.is_in, ("493012345678", "+49 30 12345678", "00493012345678")))
    assert not subject.is_in("3012345678")


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


NOT_SEARCHED = {  # of every table, what is known to hold no number of a caller
    *("account_id", "user_id", "recording_type", "recording_id", "job_id", "position", "leg"),
    *("resource", "access", "status", "class", "direction", "extension", "kind", "version", "row_id"),
    *("reading_id", "filters", "deletion_id", "erasure_id", "subject_hash", "uri", "sha256", "content_type"),
    *("_dlt_load_id",),
}


def _describe(columns: dict[str, pa.DataType]) -> dict[str, str]:
    return {name: read_kind(str(kind)) for name, kind in columns.items()}


def test_every_personal_column_of_every_table_is_searched() -> None:
    for endpoint in (COMPANY, ON_DEMAND, JOBS, USERS, EXTENSIONS, CALL_LOGS):
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


def test_a_new_text_column_of_a_ledger_is_searched_unless_it_is_declared() -> None:
    """Fails for a new column: add it to `_PLAIN` in conditions.py and here, or leave it to be searched."""
    ledgers = {
        "scan_windows": tables._PROOFS,
        "user_access": tables._ACCESS,
        arrivals.ARRIVALS: arrivals._SCHEMA,
        tombstones.TOMBSTONES: tombstones._SCHEMA,
        call_gaps.CALL_GAPS: call_gaps.SCHEMA,
        deletions.DELETIONS: deletions._SCHEMA,
        ledger.LEDGER: pa.schema(ledger.COLUMNS),
        erased.ERASURES: erased.ERASURE_SCHEMA,
        erased.ERASED: erased.ERASED_SCHEMA,
    }
    for table, schema in ledgers.items():
        kinds = _describe(dict(zip(schema.names, schema.types, strict=True)))
        texts = {name for name, kind in kinds.items() if kind == "text"}
        assert texts - set(list_searched(table, kinds)) <= NOT_SEARCHED, table  # type: ignore[arg-type]


def test_patterns_are_plain_enough_for_every_dialect() -> None:
    subject = read_subject("+1 (202) 555-0177", None, (), PiiPolicy("hash", KEY))
    for pattern in (subject.pattern, subject.compact):
        assert not re.search(r"[\\'%:;\"]", pattern)
