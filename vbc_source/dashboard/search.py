"""Search for recordings by number, name, call id or recording id, over all times.

What VBC no longer has is in no model, but may be archived: it is searched for in the loaded tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from vbc_source.dashboard.figures import Figures, write_order
from vbc_source.dashboard.statements import LIST_EXPRESSIONS, ROW_COLUMNS
from vbc_source.errors import VbcError
from vbc_source.pii import PiiPolicy

LONGEST_TEXT = 200
FEWEST_CHARACTERS = 2
MOST_FOUND = 1000  # more than a person reads; the page asks for a longer text
_NUMBER = re.compile(r"[+(]?[0-9][0-9 ().\-/]*")
_LONGEST_EXTENSION = 6  # digits
_WHOLE = "{0} BETWEEN 0 AND 999999999999999"
_COLUMNS = {  # of a gone recording, from the loaded table: column, type, expression
    "recording_id": ("id", "bigint", "{}"),
    "call_id": ("call_id", "text", "{}"),
    "direction": ("call_direction", "text", "coalesce(nullif(upper(trim({})), ''), 'UNKNOWN')"),
    "caller_number": ("caller_id", "text", "{}"),
    "caller_name": ("cnam", "text", "{}"),
    "dialed_number": ("dnis", "text", "{}"),
    "started_at": (
        "start",
        "timestamp with time zone",
        # as `known_instant` of the models
        "CASE WHEN {0} >= '1900-01-01' AND {0} < '9000-01-01' THEN {0} END",
    ),
    # as `whole_number` of the models
    "duration_seconds": ("duration", "double precision", f"CASE WHEN {_WHOLE} THEN {{0}} / 1000.0 END"),
    "size_bytes": ("file_size_in_bytes", "bigint", f"CASE WHEN {_WHOLE} THEN {{0}} END"),
}
_FOUND = ("recording_key", "account_id", "recording_type", "user_id", *_COLUMNS, "archived")
_SHORTEST_NUMBER = 7  # digits of a number without its area code, which may be typed with one


def _write_digits(column: str) -> str:
    """Write a number without its punctuation, backwards, as Postgres' indexes of `recordings` have it."""
    return f"reverse(translate({column}, '+-() ./', ''))"


_NUMBER_COLUMNS = ("r.caller_number", "r.dialed_number")
_USER = (
    "r.recording_key IN (SELECT x.recording_key FROM {recording_extensions} x "
    "JOIN {recordings} m ON m.recording_key = x.recording_key "
    "JOIN {extensions} n ON n.extension = x.extension AND n.account_id = m.account_id "
    "WHERE strpos(lower(n.user_name), %(lower)s) > 0)"
)
_EXTENSION = (
    "r.recording_key IN (SELECT recording_key FROM {recording_extensions} WHERE extension = %(text)s)"
)


class InvalidSearch(VbcError):
    """A search has no usable text."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search, parsed.

    Attributes:
        text: The text as typed, without spaces around it.
        digits: Its digits if it can be a number, without zeros before it.
        hash: Its hash, where numbers and names are loaded hashed.
    """

    text: str = field(repr=False)
    digits: str = field(default="", repr=False)
    hash: str | None = field(default=None, repr=False)


def read_search(text: str, pii: PiiPolicy) -> Search:
    """Parse the text of a search.

    Raises:
        InvalidSearch: It is too short, too long, or not text; the message says so.
    """
    text = text.strip()
    if not text:
        raise InvalidSearch("Type a number, a name, a call id or a recording id.")
    if len(text) < FEWEST_CHARACTERS or len(text) > LONGEST_TEXT or not text.isprintable():
        raise InvalidSearch(f"Search for {FEWEST_CHARACTERS} to {LONGEST_TEXT} printable characters.")
    is_number = text.isascii() and _NUMBER.fullmatch(text)
    digits = re.sub(r"\D", "", text).lstrip("0") if is_number else ""
    hidden = pii.hide(text if not digits else re.sub(r"\D", "", text)) if pii.mode == "hash" else None
    return Search(text, digits, hidden)


def search_recordings(
    figures: Figures, search: Search, sort: str, limit: int, offset: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Return a page of the recordings found, with the columns of `ROW_COLUMNS`, and how many there are.

    Each has `gone` too: whether VBC no longer has it. At most `MOST_FOUND` are counted.
    """
    conditions, values = _choose_conditions(search)
    columns = [name for name in ROW_COLUMNS if name != "extensions"]
    cells = ", ".join(LIST_EXPRESSIONS.get(name, f"r.{name}") for name in columns)
    sql = f"""
        SELECT {cells}, r.gone, count(*) OVER () FROM (
            SELECT * FROM ({_write_union(conditions, figures)}) f LIMIT {MOST_FOUND}
        ) r ORDER BY {write_order(sort)} LIMIT %(limit)s OFFSET %(offset)s"""
    found = figures.query(sql, zone=figures.zone.key, limit=limit, offset=offset, **values)
    rows = [dict(zip((*columns, "gone", "total"), row, strict=True)) for row in found]
    return figures.add_extensions(rows), rows[0]["total"] if rows else 0


def _write_union(conditions: list[str], figures: Figures) -> str:
    """Write a query for each condition: alone, each reads its own column only, or uses an index."""
    found = ", ".join(f"r.{name}" for name in _FOUND)
    parts = [
        # limited before the union: two letters may be in most names
        f"(SELECT {found}, false AS gone FROM {{recordings}} r WHERE {condition} LIMIT {MOST_FOUND})"
        for condition in conditions
    ]
    if gone := _write_gone(figures.list_columns()):
        parts.append(f"(SELECT * FROM ({' UNION ALL '.join(gone)}) r WHERE {' OR '.join(conditions)})")
    # not UNION ALL: what several conditions find is one recording
    return " UNION ".join(parts)


def _choose_conditions(search: Search) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions and their values; a number is not searched for in names."""
    text = search.text
    values: dict[str, Any] = {"text": text, "lower": text.lower(), "upper": text.upper()}
    spellings = {text: "text", text.lower(): "lower", text.upper(): "upper"}
    # not IN: only for one value does DuckDB skip what cannot have it
    conditions = [f"r.call_id = %({name})s" for name in spellings.values()]
    if "/" in text:
        conditions.append("r.recording_key = %(text)s")
    if search.digits:
        more, digits = _match_digits(search.digits)
        conditions += more
        values |= digits
        if len(search.digits) <= _LONGEST_EXTENSION:
            conditions.append(_EXTENSION)
        # ids are bigints: no larger number can be one
        if int(search.digits) < 2**63:
            conditions.append("r.recording_id = %(number)s")
            values["number"] = int(search.digits)
    else:
        conditions += ["strpos(lower(r.caller_name), %(lower)s) > 0", _USER]
    if search.hash:
        conditions += [f"{name} = %(hash)s" for name in ("r.caller_name", *_NUMBER_COLUMNS)]
        values["hash"] = search.hash
    return conditions, values


def _match_digits(digits: str) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions that a number ends with the digits, or they with it, whatever its punctuation."""
    shorter = {f"ending{size}": digits[-size:][::-1] for size in range(_SHORTEST_NUMBER, len(digits))}
    listed = ", ".join(f"%({name})s" for name in shorter)
    # the last two first: to remove the punctuation of every number would take ten times as long
    conditions = [
        f"{column} LIKE %(last)s AND ({_write_digits(column)} LIKE %(backwards)s"
        + (f" OR {_write_digits(column)} IN ({listed}))" if shorter else ")")
        for column in _NUMBER_COLUMNS
    ]
    return conditions, {"last": f"%{digits[-2:]}", "backwards": f"{digits[::-1]}%", **shorter}


def _write_gone(columns: dict[str, dict[str, str]]) -> list[str]:
    """Write queries of the loaded recordings that VBC no longer has, where there are any."""
    if "recording_tombstones" not in columns:
        return []
    parts = []
    for kind in ("company", "user"):
        present = columns.get(f"{kind}_recordings")
        if not present:
            continue
        user = "r.user_id" if kind == "user" else "CAST(NULL AS text)"
        cells = {
            "recording_key": f"concat_ws('/', r.account_id, '{kind}', {user}, CAST(r.id AS text))",
            "account_id": "r.account_id",
            "recording_type": f"'{kind}'",
            "user_id": user,
            **{name: _write_cell(present, *about) for name, about in _COLUMNS.items()},
            "archived": _write_archived("recording_audio" in columns),
        }
        listed = ", ".join(f"{cells[name]} AS {name}" for name in _FOUND)
        parts.append(
            f"SELECT {listed}, true AS gone FROM {{loaded}}.{kind}_recordings r "
            "JOIN {loaded}.recording_tombstones t "
            f"ON t.account_id = r.account_id AND t.recording_type = '{kind}' AND t.recording_id = r.id "
            f"AND t.user_id = coalesce({user}, '') WHERE t.returned_at IS NULL"
        )
    return parts


def _write_cell(present: dict[str, str], column: str, kind: str, expression: str) -> str:
    if column not in present:  # dlt creates a column with its first value
        return f"CAST(NULL AS {kind})"
    cell = f'r."{column}"'
    return f"CAST({expression.format(cell)} AS {kind})"


def _write_archived(has_ledger: bool) -> str:
    if not has_ledger:
        return "false"
    return (
        "EXISTS (SELECT 1 FROM {loaded}.recording_audio a WHERE a.account_id = t.account_id AND "
        "a.recording_type = t.recording_type AND a.user_id = t.user_id AND a.recording_id = t.recording_id "
        "AND a.status = 'stored')"
    )
