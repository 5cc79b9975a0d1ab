"""Reading response bodies: as UTF-8 whatever was declared, and as JSON. Pure."""

from __future__ import annotations

import codecs
import json
from email.message import Message
from typing import Any

from vbc_source.schema.pages import check_total

_UTF8 = codecs.BOM_UTF8
_MARKS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# bytes that are no UTF-8, as `surrogateescape` marks them, become what they are in Windows-1252 or Latin-1
_ESCAPED = {
    0xDC00 + byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)
}


def read_text(body: bytes, content_type: str = "") -> bytes:
    """Return a body as UTF-8, without a byte order mark.

    JSON is UTF-8 (RFC 8259, section 8.1), also where a server declares its own default. Only a body that is
    not UTF-8 is read by the declared charset, and by Windows-1252 where that does not fit either.
    """
    if body.isascii() and b"\0" not in body[:4]:
        return body
    if body.startswith(_UTF8):
        return read_text(body[len(_UTF8) :], content_type)
    declared = next((name for mark, name in _MARKS if body.startswith(mark)), _read_charset(content_type))
    if b"\0" not in body[:4]:  # UTF-16 of ASCII is valid UTF-8, with a NUL beside each letter
        try:
            body.decode()
        except UnicodeDecodeError:
            pass
        else:
            return body
    try:
        return body.decode(declared).encode()
    except (LookupError, ValueError):
        return body.decode("utf-8", "surrogateescape").translate(_ESCAPED).encode()


def may_be_text(head: bytes) -> bool:
    """Return whether a body may be JSON or markup, by its start; what is neither need not be decoded."""
    start = head.lstrip()[:1]
    # UTF-16 without a mark has a NUL beside its first letter
    return start in (b"", b"{", b"<") or head.startswith((_UTF8, *dict(_MARKS))) or b"\0" in head[:2]


def _read_charset(content_type: str) -> str:
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return message.get_content_charset("utf-8")


def read_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object; raises ValueError."""
    try:
        value = json.loads(body)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - readers report broken bodies as ValueError
    return value


def read_list(body: bytes, collection: str) -> tuple[list[dict[str, Any]], int]:
    """Parse the body of a list endpoint; returns its rows and the total number of rows. Raises ValueError."""
    value = read_object(body)
    embedded, total = value.get("_embedded") or {}, read_integer(value.get("total_items"))
    rows = (embedded.get(collection) or []) if isinstance(embedded, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or total is None:
        raise ValueError("not a list response")
    return rows, check_total(total)


def read_integer(value: Any) -> int | None:
    """Parse a whole number of at most 18 digits, such as a count or a code; None if it is none."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, int) and not isinstance(text, bool):
        return text if 0 <= text < 10**18 else None
    # `²` is a digit to Python, and int() refuses thousands of digits
    usable = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 18
    return int(text) if usable else None
