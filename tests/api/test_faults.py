from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from xml.sax.saxutils import escape

import pytest

from vbc_source.api.faults import read_fault, redact
from vbc_source.errors import (
    BadRequest,
    Forbidden,
    GatewayFault,
    InvalidResponse,
    LoginRefused,
    NotFound,
    NotSubscribed,
    SettingsError,
    Throttled,
    TokenRejected,
    Unavailable,
    VbcError,
)

NOON = 1_568_808_000.0  # Wednesday, 18 September 2019, 12:00 UTC
PHONE = "+1 (555) 010-0199"
MAIL = "jane.doe@example.com"
HTML = b"<!DOCTYPE html><html><head><title>502</title></head><body><p>Please log in</p></body></html>"
PLAIN = b"User is not authorized to search CCR recordings for this account"

Write = Callable[..., bytes]


def write_xml(code: int | None, message: str = "", **parts: str) -> bytes:
    fields = {"code": str(code), "message": message, **parts} if code else {"message": message, **parts}
    inner = "".join(f"<ams:{name}>{escape(text)}</ams:{name}>" for name, text in fields.items())
    return f'<ams:fault xmlns:ams="http://wso2.org/apimanager/security">{inner}</ams:fault>'.encode()


def write_wrapped(code: int | None, message: str = "", **parts: str) -> bytes:
    return json.dumps({"fault": {"code": code, "message": message, **parts}}).encode()


def write_flat(code: int | None, message: str = "", **parts: str) -> bytes:
    return json.dumps({"code": str(code) if code else None, "message": message, **parts}).encode()


every_format = pytest.mark.parametrize("write", [write_xml, write_wrapped, write_flat])

THROTTLES = (900800, 900802, 900803, 900804, 900806, 900807)
BACKENDS = (303001, 101503, 101504)
TABLE = [
    *((401, code, TokenRejected) for code in (900901, 900902, 900904)),
    (403, 900908, NotSubscribed),
    (403, 900910, Forbidden),
    (403, None, Forbidden),
    *((429, code, Throttled) for code in THROTTLES),
    (503, 900801, Throttled),
    *((status, code, Unavailable) for status in (500, 502, 503, 504) for code in BACKENDS),
    (404, None, NotFound),
    (400, None, BadRequest),
]


@every_format
@pytest.mark.parametrize(("status", "code", "kind"), TABLE)
def test_faults_are_read_in_every_format(
    status: int, code: int | None, kind: type[GatewayFault], write: Write
) -> None:
    fault = read_fault(status, write(code, "Some message", description="Some description"), {}, NOON)

    assert type(fault) is kind
    assert (fault.status, fault.code) == (status, code)


@pytest.mark.parametrize("prefix", ["am", "ams", "amt"])
def test_xml_prefix_does_not_matter(prefix: str) -> None:
    body = write_xml(900801, "API Limit Reached").replace(b"ams", prefix.encode())

    assert type(read_fault(503, body, {}, NOON)) is Throttled


def test_xml_with_declaration_and_line_breaks_is_read() -> None:
    body = b'\n<?xml version="1.0"?>\n' + write_xml(900908).replace(b"><", b">\n  <").replace(
        b"900908", b"\n 900908 \n"
    )

    fault = read_fault(403, body, {}, NOON)

    assert type(fault) is NotSubscribed
    assert fault.code == 900908


@every_format
@pytest.mark.parametrize("code", THROTTLES)
def test_throttling_code_takes_precedence_over_the_status(code: int, write: Write) -> None:
    assert type(read_fault(403, write(code), {}, NOON)) is Throttled


@pytest.mark.parametrize("body", [b"", b"  \r\n", HTML, PLAIN, b"\xff\xfe\x00", b'{"half": '])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, InvalidResponse),
        (400, BadRequest),
        (401, TokenRejected),
        (403, Forbidden),
        (404, NotFound),
        (408, Unavailable),
        (422, BadRequest),
        (429, Throttled),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_status_decides_without_a_fault_body(status: int, kind: type[GatewayFault], body: bytes) -> None:
    fault = read_fault(status, body, {}, NOON)

    assert type(fault) is kind
    assert (fault.status, fault.code) == (status, None)


@every_format
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (101504, Unavailable),
        (303001, Unavailable),
        (900804, Throttled),
        (900901, TokenRejected),
        (900908, NotSubscribed),
        (12345, InvalidResponse),
    ],
)
def test_fault_body_with_status_200_is_a_fault(code: int, kind: type[GatewayFault], write: Write) -> None:
    assert type(read_fault(200, write(code, "Send timeout"), {}, NOON)) is kind


@pytest.mark.parametrize("body", [b"", b" \n", HTML, b"  " + HTML])
def test_empty_body_and_html_with_status_200_are_invalid(body: bytes) -> None:
    assert type(read_fault(200, body, {}, NOON)) is InvalidResponse


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"_embedded": {"recordings": []}, "total_items": 0}',
        b'{"_embedded": {"recordings": [{"id": 1, "code": 900901, "message": "new fields"}]}}',
        b'{"code": 900901, "_embedded": {"recordings": []}}',
        b'{"_links": {}, "id": 1, "code": 900901, "message": "new fields", "fault": {"code": 5}}',
        b'{"code": "A7", "total_items": 0, "page": 1}',
        b'{"job_ids": ["a"], "code": 202}',
        b'{"id": 1, "cnam": "\\"fault\\" \\"code\\""}',
        b'"code"',
        b"ID3\x03\x00 silence",
    ],
)
def test_data_with_status_200_is_not_a_fault(body: bytes) -> None:
    assert read_fault(200, body, {}, NOON) is None


@pytest.mark.parametrize("status", [202, 204])
def test_empty_body_with_status_202_or_204_is_not_a_fault(status: int) -> None:
    assert read_fault(status, b"", {}, NOON) is None


@every_format
def test_unknown_path_is_not_a_rejected_token(write: Write) -> None:
    fault = read_fault(403, write(900906, "No matching resource found in the API"), {}, NOON)

    assert not isinstance(fault, TokenRejected)


def http_date(seconds: float) -> str:
    return formatdate(NOON + seconds, usegmt=True)


def access_time(minute: int, second: int = 0) -> str:
    return f"2019-Sep-18 12:{minute:02d}:{second:02d}+0000 UTC"


@every_format
@pytest.mark.parametrize(
    ("headers", "parts", "seconds"),
    [
        ({"Retry-After": http_date(90)}, {}, 90),
        ({"Retry-After": "120"}, {}, 120),
        ({"Retry-After": " 7 "}, {}, 7),
        ({}, {"nextAccessTime": access_time(1, 30)}, 90),
        ({}, {"description": f"Exceeded .You can access API after {access_time(2)}"}, 120),
        ({"Retry-After": http_date(30)}, {"nextAccessTime": access_time(2)}, 120),
        ({"Retry-After": http_date(180)}, {"nextAccessTime": access_time(2)}, 180),
        ({"Retry-After": "soon"}, {"nextAccessTime": access_time(2)}, 120),
        ({"Retry-After": "soon"}, {"nextAccessTime": "2019-Abc-99 00:00:00+0000 UTC"}, None),
        ({}, {"nextAccessTime": "2019-Sep-31 12:00:00+0000 UTC"}, None),
        ({}, {}, None),
    ],
)
def test_retry_time_is_read_from_header_or_body(
    headers: dict[str, str], parts: dict[str, str], seconds: float | None, write: Write
) -> None:
    fault = read_fault(429, write(900804, "Message throttled out", **parts), headers, NOON)

    assert type(fault) is Throttled
    assert fault.retry_after == seconds


@every_format
@pytest.mark.parametrize("skew", [-86_400, -90, 90, 86_400])
def test_retry_time_is_measured_by_the_clock_of_the_gateway(skew: int, write: Write) -> None:
    headers = {"Date": http_date(0), "Retry-After": http_date(60)}

    by_header = read_fault(429, write(900804), headers, NOON + skew)
    by_body = read_fault(
        429, write(900804, nextAccessTime=access_time(1)), {"Date": http_date(0)}, NOON + skew
    )

    assert by_header is not None
    assert by_body is not None
    assert (by_header.retry_after, by_body.retry_after) == (60, 60)


def test_retry_time_in_seconds_needs_no_clock() -> None:
    fault = read_fault(429, b"", {"Date": http_date(-5000), "Retry-After": "60"}, NOON)

    assert fault is not None
    assert fault.retry_after == 60


def test_malformed_date_header_falls_back_to_the_local_clock() -> None:
    fault = read_fault(429, b"", {"Date": "yesterday", "Retry-After": http_date(60)}, NOON)

    assert fault is not None
    assert fault.retry_after == 60


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"called {PHONE} twice", "called … twice"),
        ("from +15550100199", "from …"),
        ("from 15550100199, to 555-0100", "from …, to …"),
        ("at 555.010.0199.", "at …."),
        ("+44 20 7946 0958", "…"),
        (f"Authentication failed for {MAIL}", "Authentication failed for …"),
        (f"<{MAIL}> is locked", "… is locked"),
        ("demo@vbc.prod and demo@vbc.prod", "… and …"),
        ("page_size must be at most 100", "page_size must be at most 100"),
        ("extension 1001 is unknown", "extension 1001 is unknown"),
    ],
)
def test_redact_removes_phone_numbers_and_mail_addresses(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("+49 30/901820", "901820"),
        ("+1\u00a0555\u00a0010\u00a00199", "0199"),
        ("555\u2013010\u20130199", "0199"),
        ("555\u2011010\u20110199", "0199"),
        ("jane.doe%40example.com", "jane.doe"),
    ],
)
def test_redact_removes_unusual_spellings(text: str, secret: str) -> None:
    assert secret not in redact(text)


def test_redact_shortens_long_texts() -> None:
    assert len(redact("far too long " * 1000)) == 200


@every_format
@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize("code", [None, 12345, 101503, 900804, 900901, 900908, 900910])
def test_message_contains_no_personal_data(status: int, code: int | None, write: Write) -> None:
    body = write(code, f"No rights for {MAIL}, {PHONE}", description=f"Jane Doe at {PHONE} has none")

    fault = read_fault(status, body, {}, NOON)

    assert isinstance(fault, GatewayFault)
    for text in (str(fault), repr(fault), str(vars(fault))):
        assert "0199" not in text
        assert "example.com" not in text
        assert "Jane" not in text


@pytest.mark.parametrize(
    "body", [HTML, b"Please log in, Jane Doe", b'{"status": 1, "error": "Please log in"}']
)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
def test_message_does_not_contain_the_body(status: int, body: bytes) -> None:
    message = str(read_fault(status, body, {}, NOON))

    assert f"HTTP {status}" in message
    assert "Please" not in message
    assert "<" not in message


@every_format
@pytest.mark.parametrize("code", [12345, 101503, 900804, 900901, 900908, 900910])
def test_gateway_message_is_used_for_bad_requests_only(code: int, write: Write) -> None:
    body = write(code, "Not for Jane Doe", description="Not for Jane Doe")

    assert [
        status
        for status in (200, 401, 403, 404, 429, 503)
        if "Jane" in str(read_fault(status, body, {}, NOON))
    ] == []


@every_format
def test_bad_request_contains_the_gateway_message(write: Write) -> None:
    fault = read_fault(400, write(4001, "start:gte is malformed at T25"), {}, NOON)

    assert type(fault) is BadRequest
    assert "start:gte is malformed at T25" in str(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Throttled(429, 900804), "the VBC gateway throttles this application (HTTP 429, code 900804)"),
        (Unavailable(0), "the VBC gateway did not answer properly"),
        (
            BadRequest(400, hint="page is no number"),
            "the VBC gateway refused the request (HTTP 400, page is no number)",
        ),
    ],
)
def test_message_contains_meaning_status_code_and_hint(fault: GatewayFault, message: str) -> None:
    assert str(fault) == message


def test_permission_faults_say_what_to_do() -> None:
    assert "subscribe it in the developer portal" in str(NotSubscribed(403, 900908))
    assert "give the user the right in the VBC admin portal" in str(Forbidden(403))


def test_error_classes_form_the_documented_tree() -> None:
    assert all(issubclass(kind, VbcError) for kind in (GatewayFault, SettingsError, LoginRefused))
    assert all(issubclass(kind, GatewayFault) for _, _, kind in TABLE)
    assert issubclass(InvalidResponse, Unavailable)
    assert issubclass(NotSubscribed, Forbidden)
    stops = (NotFound, BadRequest, Forbidden)
    assert not any(issubclass(kind, (Unavailable, Throttled, TokenRejected)) for kind in stops)
