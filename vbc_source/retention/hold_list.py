"""Read the text of a hold list: bytes become rows of cells, with the place of each. Pure.

Lists come from people, spreadsheets and databases. What is not understood is refused: a list that is read
wrongly holds nothing, and what it names is deleted for good.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vbc_source.errors import UsageError

# the longer ones first: UTF-32 begins like UTF-16
_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_DASHES = dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-")
# braces alone are no JSON: a UUID may be written in them
_JSON = re.compile(r'\s*(?:\[|\{\s*["}])')
_RULE = re.compile(r"[\s|+=:-]*")  # a line between the rows of a table, or an empty one
# ="0042" is how spreadsheets keep the zeros of a text
_QUOTED = re.compile(r' *=?"((?:[^"]|"")*)" *')
# `#` before a space or a word starts a comment; before a digit, or a word with one, it is part of an id
_PLAIN = re.compile(r"(?:(?<!\S)#(?=\S*\d)|(?<=\S)#|[^,;\t|#])*")
_UNCLEAR_COMMENT = re.compile(r"\s*#\s+\d+\s*")
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a line, or one value in JSON; `place` is its name in messages."""

    place: str
    cells: tuple[str, ...]


class HoldListRefused(UsageError):
    """Raised when a hold list is not understood to its end."""

    def __init__(self, place: str, reason: str) -> None:
        where = f", {place}" if place else ""
        super().__init__(f"hold list{where}: {reason}; nothing is deleted")


def read_rows(content: str | bytes, is_id_name: Callable[[str], bool]) -> list[Row]:
    """Read the rows that are neither empty nor comments.

    `is_id_name` tells whether the name of a field in JSON is that of an id.

    Raises:
        HoldListRefused: It cannot be read to its end.
    """
    lines = [_simplify(line, number) for number, line in _split(content)]
    if _JSON.match("\n".join(lines)):
        return list(_read_json(lines, is_id_name))
    rows = (Row(f"line {number}", tuple(_read_cells(line, number))) for number, line in enumerate(lines, 1))
    return [row for row in rows if any(row.cells)]


def _split(content: str | bytes) -> Iterator[tuple[int, str]]:
    text = _decode(content) if isinstance(content, bytes) else content
    return enumerate(text.splitlines(), 1)


def _decode(content: bytes) -> str:
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), None)
    if encoding is None and b"\0" in content:  # UTF-16 without its mark: every other byte of a digit is zero
        encoding = "utf-16-le" if content[1::2].count(0) >= content[::2].count(0) else "utf-16-be"
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise HoldListRefused(f"line {line}", "it is not UTF-8 text; save the list as UTF-8") from None


def _simplify(line: str, number: int) -> str:
    """Return a line without invisible characters, and with ASCII digits, dashes and spaces."""
    return "".join(_simplify_char(char, number) for char in line)


def _simplify_char(char: str, number: int) -> str:
    kind = unicodedata.category(char)
    if kind == "Cf":  # such as byte order marks, zero-width spaces, soft hyphens
        return ""
    if char == "\t" or char.isspace():
        return "\t" if char == "\t" else " "
    if kind in ("Cc", "Cs", "Cn", "Co"):
        raise HoldListRefused(
            f"line {number}", "it contains a control character; save the list as UTF-8 text"
        )
    if "\uff01" <= char <= "\uff5e":  # full width
        char = chr(ord(char) - 0xFEE0)
    return str(unicodedata.decimal(char)) if char.isdecimal() else _DASHES.get(char, char)


def _read_cells(line: str, number: int) -> Iterator[str]:
    """Yield the cells of a line, which commas, semicolons, tabs or pipes separate, up to a comment."""
    position = 0
    if _RULE.fullmatch(line):
        return
    if _UNCLEAR_COMMENT.fullmatch(line):
        raise HoldListRefused(f"line {number}", "it may be a comment or an id; remove the space or the line")
    # also at the end: an empty cell is behind the last comma
    while position <= len(line):
        quoted = _QUOTED.match(line, position)
        match = quoted or _PLAIN.match(line, position)
        assert match  # noqa: S101 - the pattern of plain cells matches nothing, too
        position, end = match.end() + 1, line[match.end() : match.end() + 1]
        text = quoted[1].replace('""', '"') if quoted else match[0]
        if not quoted and text.lstrip().startswith('"'):
            raise HoldListRefused(f"line {number}", "a quotation mark is not closed on the same line")
        if quoted and end and end not in _DELIMITERS + "#":
            raise HoldListRefused(f"line {number}", "there is text behind a closing quotation mark")
        yield text.strip()
        if end == "#":
            return


def _read_json(lines: list[str], is_id_name: Callable[[str], bool]) -> Iterator[Row]:
    values = list(_find_values(_parse_json(lines), is_id_name))
    for number, value in enumerate(values, 1):
        # JSON's true is an int to Python
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise HoldListRefused(f"value {number} in JSON", "it is not an id")
        yield Row(f"value {number}", (str(value).strip(),))


def _parse_json(lines: list[str]) -> Any:
    # numbers with a fraction stay as they are written; names may occur twice in an object, and all count
    options: dict[str, Any] = {"parse_float": str, "object_pairs_hook": tuple}
    try:
        return json.loads("\n".join(lines), **options)
    except ValueError as error:
        place = f"line {getattr(error, 'lineno', 1)}"
    except RecursionError:
        place = ""
    try:  # JSON lines: a value a line
        return [json.loads(line, **options) for line in lines if line.strip()]
    except (ValueError, RecursionError):
        raise HoldListRefused(place, "it begins like JSON and is not JSON") from None


def _find_values(value: Any, is_id_name: Callable[[str], bool]) -> Iterator[Any]:
    """Yield the ids in a JSON value: an object is a tuple of pairs, of which those named like an id count."""
    if isinstance(value, list):
        for item in value:
            yield from _find_values(item, is_id_name)
    elif isinstance(value, tuple):
        named = [item for name, item in value if is_id_name(name)]
        # an object without such a field may hold others that have one
        nested = named or [item for _, item in value if isinstance(item, (list, tuple))]
        if not nested:
            raise HoldListRefused("", "an object in JSON has no field recording_id or call_id")
        for item in nested:
            yield from _find_values(item, is_id_name)
    else:
        yield value
