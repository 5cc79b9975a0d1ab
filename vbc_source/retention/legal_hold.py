"""Legal holds: recordings that must not be deleted, whatever their age. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from vbc_source.retention.hold_list import HoldListRefused, Row, read_rows

_WRAPPERS = "\"'`´\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u00ab\u00bb{}[]()<>"
_BULLETS = "-*+=#\u2022\u00b7"
_ID = re.compile(r"[a-z0-9._:@/+=~\\-]+")
_ADDRESS = re.compile(r"[a-z0-9]+://[!-~]+")
_DISTINCTIVE = re.compile(r"[0-9_@-]")  # no id consists of letters alone; words do
_GROUPED = re.compile(r"\d{1,3}(?:[,.' _]\d{3})+")  # a number with separators of thousands
_WHOLE = re.compile(r"0*(\d+)(?:\.0+)?")
_FILE = re.compile(r"(?:\.user_id=[^.]*)?(?:\.v\d+)?\.(?:mp3|wav)$")
_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
# what may be meant as several ids, or has lost digits
_UNCLEAR = {
    re.compile(r"\d+(?:[.,]\d+)?e[+-]?\d+"): "a spreadsheet has rounded a number; format the column as text",
    re.compile(r"\d+(?:-|\.\.+)\d+"): "it may be a range; name each id",
    re.compile(r"\d+\.\d*[1-9]\d*"): "it is a number with a fraction, and no id",
}
_ID_NAMES = frozenset(
    {"id", "ids", "recording", "recordings", "recordingids", "recordingno", "recordingnumber", "recid"}
    | {"call", "calls", "callids", "uuid", "key", "recordingkey"}
)
_FILE_NAMES = frozenset({"file", "filename", "uri", "url", "audio"})


@dataclass(frozen=True, slots=True)
class HoldEntry:
    """An entry of a hold list.

    Attributes:
        place: Where it is in the list, such as `line 3`.
        names: The ids that it may mean, in lower case.
    """

    place: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Ids of recordings and calls on hold.

    Attributes:
        names: The ids, in lower case.
        entries: The entries of the list that they were read from.
    """

    names: frozenset[str] = frozenset()
    entries: tuple[HoldEntry, ...] = ()

    def holds(self, recording_id: int, *call_ids: str | None) -> bool:
        """Return whether a recording is on hold. A recording without a call id is held if any id is."""
        if not self.names:
            return False
        if str(recording_id) in self.names:
            return True
        return any(not call_id or self.names & list_names(call_id) for call_id in call_ids)

    def find_unmatched(self, known: Collection[str]) -> list[HoldEntry]:
        """Return the entries of which no name is known."""
        return [entry for entry in self.entries if entry.names.isdisjoint(known)]


def read_legal_hold(content: str | bytes) -> LegalHold:
    """Read a hold list: ids of recordings or calls, as a plain list, CSV or JSON.

    Args:
        content: The list. Lines have ids separated by spaces, commas, semicolons, tabs or pipes, or an id and
            then remarks. Where the first line names columns (`recording_id`, `call_id`, …), their cells are
            read. `#` and a space start a comment.

    Returns:
        The ids that are held.

    Raises:
        HoldListRefused: A line is not understood, or the list is empty; the message names the line.
    """
    rows = read_rows(content, lambda name: _letters(name) in _ID_NAMES or _is_id_column(name))
    columns = _find_columns(rows[0].cells) if rows else ()
    # the names of the columns are no entry
    entries = [entry for row in rows[bool(columns) :] for entry in _read_row(row, columns)]
    if not entries:
        raise HoldListRefused("", "it names no recording; leave --hold out if none is on hold")
    return LegalHold(frozenset().union(*(entry.names for entry in entries)), tuple(entries))


def _letters(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _is_id_column(name: str) -> bool:
    letters = _letters(name)
    return letters in _ID_NAMES or letters.endswith(("recordingid", "callid"))


def _find_columns(cells: Sequence[str]) -> tuple[int, ...]:
    """Return which columns have ids, if the cells are names of columns; else none."""
    ids = tuple(number for number, cell in enumerate(cells) if _is_id_column(cell))
    files = (number for number, cell in enumerate(cells) if _letters(cell) in _FILE_NAMES)
    return ids or tuple(files)


def _read_row(row: Row, columns: Sequence[int]) -> Iterator[HoldEntry]:
    cells = [row.cells[number] for number in columns if number < len(row.cells)] if columns else row.cells
    cells = [cell for cell in cells if cell]
    if not cells:
        raise HoldListRefused(row.place, "it has no id in the columns that the first line names")
    if len(cells) > 1 and _GROUPED.fullmatch(",".join(cells)):  # several ids, or separators of thousands
        whole = list_names("".join(cells))
        yield from (HoldEntry(row.place, list_names(cell) | whole) for cell in cells)
        return
    first, *others = cells
    ids = [_read_cell(row.place, first)]
    ids += [_read_cell(row.place, cell) if columns else _read_remark(cell) for cell in others]
    names = [name for cell in ids for name in cell]
    # beside a remark, other cells may be anything: one entry, which counts as known if one of its names is
    if all(ids):
        yield from (HoldEntry(row.place, name) for name in names)
    else:
        yield HoldEntry(row.place, frozenset().union(*names))


def _read_remark(cell: str) -> list[frozenset[str]]:
    """Read a cell after the first one of a list without names of columns: it may have ids as well."""
    try:
        return _read_cell("", cell)
    except HoldListRefused:
        return []


def _read_cell(place: str, cell: str) -> list[frozenset[str]]:
    """Return the names of each id in a cell."""
    text = cell.strip(_WRAPPERS + " ")
    if _GROUPED.fullmatch(text):
        # a number with separators of thousands, or several ids: both are held, as one too many does no harm
        parts = re.split(r"\D", text)
        return [frozenset({_simplify("".join(parts)), *map(_simplify, parts)})]
    tokens = text.lower().split()
    # the bullet of a list, and then the id
    if tokens and len(tokens) > 1 and all(char in _BULLETS for char in tokens[0]):
        del tokens[0]
    if not tokens:
        raise HoldListRefused(place, "it has no id")
    return [_read_id(place, token) for token in tokens]


def _read_id(place: str, token: str) -> frozenset[str]:
    """Return the names that an id may have in the tables: as it is written, as a number, as a file's id."""
    text = token.strip(_WRAPPERS).lstrip(_BULLETS).strip(_WRAPPERS).rstrip(".:!").strip(_WRAPPERS)
    address = _ADDRESS.fullmatch(text)
    if not (address or (_ID.fullmatch(text) and _DISTINCTIVE.search(text))):
        raise HoldListRefused(
            place,
            "it is not an id of a recording or call; name the column of the ids recording_id or call_id, or "
            "put '# ' before a comment",
        )
    path, _, query = text.partition("?")
    # of an address, the whole, its last part and each value of its query: any of them may be the id
    names = {text, *(re.split(r"[/\\=:]", _FILE.sub("", part))[-1] for part in (path, *query.split("&")))}
    for pattern, reason in _UNCLEAR.items():
        # `1.234` is no fraction: it may have a separator of thousands
        if any(pattern.fullmatch(name) and not _GROUPED.fullmatch(name) for name in names):
            raise HoldListRefused(place, reason)
    return frozenset().union(*map(list_names, names))


def list_names(text: str) -> frozenset[str]:
    """Return an id as it is written, and as a plain number or a UUID with dashes; nothing if it is empty."""
    name = text.strip().lower()
    return frozenset({name, _simplify(name)} - {""})


def _simplify(name: str) -> str:
    if number := _WHOLE.fullmatch(name):
        return number[1]
    uuid = _UUID.fullmatch(name)
    return "-".join(uuid.groups()) if uuid else name
