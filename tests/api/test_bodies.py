"""Bodies and faults that are spelled in unexpected ways: read, or one clear error."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vbc_source.api.endpoints import keep_own_links, read_owner
from vbc_source.api.faults import read_fault, redact
from vbc_source.api.http.bodies import may_be_text, read_integer, read_list, read_object, read_text
from vbc_source.errors import BadRequest, GatewayFault, Throttled
from vbc_source.schema.pages import read_page

NAMES = ["ZOË MÜLLER", "Łukasz", "渡辺", "plain", "€uro", ""]
LATIN = "application/json;charset=ISO-8859-1"


def write_list(name: str) -> str:
    rows = [{"id": 1, "cnam": name}]
    return json.dumps({"total_items": 1, "_embedded": {"recordings": rows}}, ensure_ascii=False)


def read_name(body: bytes, content_type: str = "") -> str:
    (row,) = read_page(read_text(body, content_type)).rows.table.to_pylist()
    return str(row["cnam"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", ["", "utf-16-le", "iso-8859-1"])
def test_names_arrive_in_any_unicode(name: str, encoding: str, declared: str) -> None:
    if encoding.startswith("utf-16-"):
        declared = encoding  # without a byte order mark it must be declared
    assert read_name(write_list(name).encode(encoding), f'application/json; charset="{declared}"') == name


@pytest.mark.parametrize(
    "content_type", [LATIN, "text/plain; charset=latin1", "", "x; charset=no-such", "\r\n"]
)
def test_a_body_that_is_not_utf_8_is_read_as_declared_or_as_latin_1(content_type: str) -> None:
    assert read_name(write_list("ZOË MÜLLER").encode("latin-1"), content_type) == "ZOË MÜLLER"


def test_utf_8_comes_before_what_is_declared() -> None:
    assert read_name(write_list("ZOË").encode(), LATIN) == "ZOË"


def test_one_broken_letter_leaves_the_others() -> None:
    assert read_name(write_list("Ł Zoë!").encode().replace(b"!", b"\xc3")) == "Ł ZoëÃ"


@given(
    st.binary(max_size=60),
    st.sampled_from(["", LATIN, "a; charset=utf-16", "a; charset=ascii", "a; charset=zlib"]),
)
@example(codecs.BOM_UTF16_LE + b"\x00", "")
@example(b"\x81\x8d", "")
def test_any_bytes_become_utf_8_without_replacements(body: bytes, content_type: str) -> None:
    text = read_text(body, content_type).decode()

    assert "\ufffd" not in text or "\ufffd".encode() in body or b"\xfd\xff" in body or b"\xff\xfd" in body


FAULT = '{"fault": {"code": 900804, "message": "throttled"}}'


@given(st.binary(max_size=60), st.sampled_from(["", LATIN, "a; charset=utf-16-le", "a; charset=ascii"]))
@example(b" \r\n<html>", "")
@example(b"", "")
@example(b"ID3\x04\0\0", "audio/mpeg")
@example(b"\xff\xfb\x90\0", "audio/mpeg")
@example(FAULT.encode("utf-16"), "")
@example(FAULT.encode("utf-16-le"), "a; charset=utf-16-le")
@example(FAULT.encode("utf-8-sig"), "")
def test_what_may_not_be_text_is_no_fault(body: bytes, content_type: str) -> None:
    if read_fault(200, read_text(body, content_type), {}, 0):
        assert may_be_text(body)


def test_audio_is_not_decoded() -> None:
    for head in (b"ID3\x04\0\0", b"\xff\xfb\x90\0", b"RIFF\0\0\0\0WAVE", b"PK\x03\x04"):
        assert not may_be_text(head + bytes(range(256)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["fault", "code", "message", "total_items", "_embedded", "recordings", "id"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
CODES = st.sampled_from(["900901", "9" * 5000, "²", "-1", "1e5", "", " 900804 "])
BODIES = (
    JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(lambda code: f'{{"fault":{{"code":"{code}","message":"m"}}}}'.encode(), CODES)
    | st.builds(lambda code: f"<a:fault><a:code>{code}</a:code><a:message>m".encode(), CODES)
    | st.binary(max_size=40)
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date"]),
    st.text(max_size=12) | st.sampled_from(["²", "9" * 5000, "-5", "Mon, 01 Jan 99999 00:00:00 GMT", "NaN"]),
)


@given(st.sampled_from([200, 400, 401, 403, 404, 429, 500, 503]), BODIES, HEADERS)
def test_any_body_is_a_fault_or_none(status: int, body: bytes, headers: dict[str, str]) -> None:
    fault = read_fault(status, body, headers, 1_750_000_000.0)

    assert isinstance(fault, GatewayFault) or (fault is None and status == 200)


@settings(max_examples=50)
@given(BODIES)
def test_any_list_answer_is_read_or_one_value_error(body: bytes) -> None:
    for read in (read_page, read_object, lambda text: read_list(text, "recordings")):
        try:
            read(read_text(body))
        except ValueError:
            continue


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"fault":' * 100_000,
        b'{"fault": {"code": ' + b"9" * 5000 + b"}}",
        b'{"fault": {"code": "' + b"9" * 5000 + b'"}}',
        b"<x><code>" * 20_000,
    ],
)
def test_malformed_fault_is_still_a_fault(body: bytes) -> None:
    assert isinstance(read_fault(400, body, {"Retry-After": "²"}, 0.0), BadRequest)
    assert isinstance(read_fault(429, body, {"Retry-After": "²"}, 0.0), Throttled)


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 100_000, b"\xef\xbb\xbf[]", b"9" * 5000])
def test_body_that_is_no_object_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON|not a|digits|Extra"):
        read_object(body)


@pytest.mark.parametrize("total", [10**18, -1, "²", None, True, 1.5, "9" * 5000])
def test_impossible_number_of_rows_is_refused(total: Any) -> None:
    with pytest.raises(ValueError, match=r"total_items|list response"):
        read_list(json.dumps({"total_items": total}).encode(), "jobs")


@pytest.mark.parametrize(
    ("value", "whole"), [("007", 7), (5, 5), (-5, None), ("²", None), ("٣", None), (True, None)]
)
def test_whole_numbers(value: Any, whole: int | None) -> None:
    assert read_integer(value) == whole


OWN, BASE = "https://api.vonage.com/t/vbc.prod/x/accounts/549825/users/7/rows", "https://api.vonage.com"


@pytest.mark.parametrize(
    ("links", "owner"),
    [
        ([OWN], ("549825", "7")),
        ([OWN.replace("https", "http"), OWN[len(BASE) :]], ("549825", "7")),
        ([OWN.replace("vonage.com/", "vonage.com:8243/")], ("549825", "7")),
        (["https://evil.example/accounts/666/rows"], (None, None)),
        (["//evil.example/accounts/666/rows", OWN], ("549825", "7")),
        (["https://api.vonage.com\\@evil.example/accounts/666/rows"], (None, None)),
        (["https://[/accounts/666/rows"], (None, None)),
        ([OWN, OWN.replace("549825", "666")], (None, "7")),
    ],
)
def test_self_is_the_one_account_that_links_of_the_gateway_name(
    links: list[str], owner: tuple[str | None, str | None]
) -> None:
    assert read_owner(keep_own_links(tuple(links), BASE)) == owner


@pytest.mark.parametrize("text", ["Bearer s3cret", "token s3cret" + "x" * 40, "a\ns3cret" + "-._" * 20])
def test_redact_removes_tokens(text: str) -> None:
    assert "s3cret" not in redact(text)
