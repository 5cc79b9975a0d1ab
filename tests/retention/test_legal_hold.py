"""A hold list is understood to its last line, in whatever form it was written, or it is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbc_source.errors import UsageError
from vbc_source.retention.legal_hold import LegalHold, read_legal_hold

UNDERSTOOD = {
    "plain": b"3\n",
    "lines of a Mac": b"# legal hold 2025\r3\r4\r",
    "quoted": b'"3";"Doe v. Roe"\n',
    "single quotes": b"'3'\n",
    "header": b'"recording_id","matter"\r\n"3","Doe, ""v."" Roe"\r\n',
    "header, other column": b"Matter;Owner;Recording ID\nDoe v. Roe 17;x y;3\n",
    "header, call": b"Call ID,Matter\ncall-3,x\n",
    "tabs": b"3\tDoe v. Roe\n",
    "pipes": b"| 3 | Doe v. Roe |\n",
    "table": b"| recording_id | matter |\n|---|---|\n| 3 | Doe |\n",
    "float": b"3.0\n",
    "three places": b"3.000\n",
    "zeros": b"0003\n",
    "file": b"3.mp3\n",
    "number sign": b"#3\n",
    "comment": b"# matter 17, Doe\n3 # Doe v. Roe\n",
    "key of the models": b"549825/company/3\n",
    "address": b"https://api.vonage.com/t/vbc.prod/call_recording/api/audio/recording/3\n",
    "key of the archive": b"recording_type=user/date=2025-01-01/3.user_id=7.v2.mp3",
    "name and value": b"recording_id=3",
    "formula": b'="3"\n',
    "text of a spreadsheet": b"'3\n",
    "comma behind": b"3,\n",
    "decimal comma": b"3,0\n",
    "bullets": b"- 3\n* 4\n",
    "braces": b"{CALL-3}\n",
    "mark in the middle": b"\xef\xbb\xbf1\r\n\xef\xbb\xbf3\r\n",
    "utf-16": "3\r\n".encode("utf-16"),
    "utf-16, no mark": "1\r\n3\r\n".encode("utf-16-le"),
    "utf-16, big, no mark": "3\r\n".encode("utf-16-be"),
    "utf-32": "3\r\n".encode("utf-32"),
    "zero width": "\u200b3\u2060\n".encode(),
    "no-break space": "3\u00a0\n".encode(),
    "full width": "\uff13".encode(),
    "JSON": b'["3", 4]\n',
    "JSON numbers": b"[1,\n 3.0]",
    "JSON objects": b'{"holds": [{"recording_id": 3, "matter": "Doe"}]}',
    "JSON lines": b'{"recording_id": 1}\n{"recording_id": 3}\n',
}
REFUSED = {
    "": (b"", ""),
    "comments alone": (b"# nothing\n", ""),
    "a sentence": (b"3\nkeep all before 2025\n", "line 2"),
    "a word": (b"all\n", "line 1"),
    "a wildcard": (b"3\n\n*\n", "line 3"),
    "a range": (b"3-7\n", "line 1"),
    "a rounded number": (b"4\n1.93E+05\n", "line 2"),
    "a fraction": (b"3.5\n", "line 1"),
    "an open quote": (b'3\n"4\n5\n', "line 2"),
    "no id in its column": (b"recording_id,matter\n3,a\n,b\n", "line 3"),
    "another encoding": ("3\nM\u00fcller\n".encode("latin-1"), "line 2"),
    "two encodings": (b"3\n" + "4\n".encode("utf-16"), "line 1"),
    "a footnote": ("3\u00b2\n".encode(), "line 1"),
    "cut off JSON": (b'["3",\n"4",', "line 2"),
    "deep JSON": (b"[" * 100_000, ""),
    "null in JSON": (b"[3, null]", "value 2"),
    "an unclear comment": (b"5\n# 3\n", "line 2"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00", ""),
}


@pytest.mark.parametrize("form", UNDERSTOOD)
def test_usual_forms_are_understood(form: str) -> None:
    hold = read_legal_hold(UNDERSTOOD[form])
    assert hold.holds(3, "call-3")
    assert not hold.holds(5, "call-5")


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_not_understood_is_refused_with_its_line(form: str) -> None:
    content, place = REFUSED[form]
    with pytest.raises(UsageError, match=rf"^hold list.*{place}.*nothing is deleted$") as caught:
        read_legal_hold(content)
    assert "\n" not in str(caught.value)


def test_ids_of_recordings_and_calls_are_held() -> None:
    hold = read_legal_hold("\ufeff# why\n 12, CALL-A\n\n34;call-b # and why\r\n")
    assert hold.names == {"12", "call-a", "34", "call-b"}
    assert hold.holds(12, "x")
    assert hold.holds(1, "Call-A ")
    assert not hold.holds(1, "x")
    assert hold.holds(1, None)  # its call is unknown
    assert hold.holds(1, "")
    assert hold.holds(1, "x", "call-b")  # when it was archived
    assert not LegalHold().holds(1, None)


def test_a_uuid_is_held_in_any_spelling() -> None:
    hold = read_legal_hold("{C91150A68CC44E739FEF17FD925C6448}")
    assert hold.holds(1, "c91150a6-8cc4-4e73-9fef-17fd925c6448")


def test_separators_of_thousands_hold_the_number_and_its_parts() -> None:
    for text in ("193,228", '"193,228"', "193 228", "193.228", "193'228"):
        hold = read_legal_hold(text)
        assert all(hold.holds(number, "x") for number in (193_228, *((193, 228) if "," in text else ())))


def test_leading_zeros_beside_separators_of_thousands_are_ignored() -> None:
    for text in ("001,001", '"001,001"', "1,001"):
        assert all(read_legal_hold(text).holds(number, "x") for number in (1, 1_001))


def test_unmatched_entries_are_found_by_their_line() -> None:
    hold = read_legal_hold("# kept\n3\n99, 4\ncall-x\n")
    assert [entry.place for entry in hold.find_unmatched({"3", "4"})] == ["line 3", "line 4"]


NUMBERS = st.integers(1, 10**9)
SPELLINGS = st.sampled_from(
    (
        "[{}",
        "{}",
        "00{}",
        "{}.0",
        "{}.mp3",
        "#{}",
        '"{}"',
        "'{}'",
        '="{}"',
        "\ufeff{}",
        "{}\u200b",
        " {}\u00a0",
    )
)
ENCODINGS = st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"))
BREAKS = st.sampled_from(("\n", "\r\n", "\r", "\u2028"))
FRAMES = st.sampled_from(("{}", "{};Doe v. Roe", "{}\tx 17", "| {} | Doe |", "{} # Doe", "{},{}"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBERS, SPELLINGS), min_size=1, max_size=8), ENCODINGS, BREAKS, FRAMES)
def test_each_id_is_held_or_the_list_is_refused(
    ids: list[tuple[int, str]], encoding: str, end: str, frame: str
) -> None:
    lines = [frame.replace("{}", spelling.format(number)) for number, spelling in ids]
    try:
        hold = read_legal_hold(end.join(lines).encode(encoding))
    except UsageError:
        assert any(spelling == "[{}" for _, spelling in ids)
        return
    assert all(hold.holds(number, "call-x") for number, _ in ids)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), NUMBERS)
def test_whatever_else_a_list_contains_its_ids_are_held_or_it_is_refused(text: str, number: int) -> None:
    for content in (f"{text}\n{number}\n", f"{number}\n{text}\n", f"{number}; {text}"):
        try:
            hold = read_legal_hold(content.encode("utf-8", "surrogatepass"))
        except UsageError:
            continue
        assert hold.holds(number, "call-x")


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | NUMBERS | st.text(max_size=5), st.lists))
def test_a_list_in_json_is_held_whole_or_refused(value: object) -> None:
    try:
        hold = read_legal_hold(json.dumps([7, value]))
    except UsageError:
        return
    assert hold.holds(7, "call-x")
