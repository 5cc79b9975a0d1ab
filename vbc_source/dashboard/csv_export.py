"""The list of recordings as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

CHUNK = 1 << 18  # characters sent at once
IN_MEMORY = 1 << 22  # bytes; a longer export goes to a temporary file

# Where a spreadsheet sees a formula (OWASP, CSV injection): after spaces, controls and quotes too, with the
# full-width forms of the signs, and, where it separates by semicolon or tab, in the middle of a cell.
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\s\x00-\x20\ufeff\x22]*[=+\-@|\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
_PHONE = re.compile(r"\+?[0-9]+")


def write_csv(rows: Iterable[Iterable[Any]]) -> IO[str]:
    """Write rows into an anonymous temporary file, and return it at its start.

    So the database is closed before the first byte is sent: a browser that stops reading holds no lock.
    Every cell is quoted, and the file starts with a byte order mark: Excel reads it as its own code page
    otherwise.
    """
    file = tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8-sig", newline="")  # noqa: SIM115
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(map(format_cell, row) for row in rows)
    file.seek(0)
    return file


def read_chunks(file: IO[str]) -> Iterator[bytes]:
    """Yield the bytes of a file, and close it."""
    with file:
        # reading the file as text has removed the mark
        yield b"\xef\xbb\xbf"
        while chunk := file.read(CHUNK):
            yield chunk.encode()


def format_cell(value: Any) -> Any:
    """Return a cell of a CSV row; a text that a spreadsheet would take for a formula gets a `'` there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or _PHONE.fullmatch(value):
        return value  # phone numbers such as +12125550142 stay as they are
    return _FORMULA.sub(r"\1'", value)
