"""Names that all tables share, and column names of fields that the specs do not know. Pure.

Our columns are ours by construction: no field of the API gets the name of a key, a ledger's or dlt's own
column, or of a known field. Normalized names have no double underscore, so `<name>__api` is free.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache, partial
from itertools import count
from typing import Any

Field = tuple[str, ...]  # an API's field, or a field in an object: ("user", "nickname")
Columns = dict[str, list[Any]]

OTHER = "__api"
LOAD_ID = "_dlt_load_id"  # dlt's own column: the load that brought a row
LOADS = "_dlt_loads"  # dlt's own table: the loads that are complete, or were rolled back
GONE = "gone_at"  # when a list was first read without the row; null while the list has it
# dlt schemas, each stored and versioned by itself
SOURCE_SCHEMA = "vbc"  # tables of the source
AUDIO_SCHEMA = "vbc_audio"  # ledgers of the archive, deletions and erasures
VERIFY_SCHEMA = "vbc_verify"  # ledgers of what was compared with VBC
# in every table, so that a field has one name everywhere
_KEYS = {"account_id", "user_id", "recording_type", "recording_id", "job_id"}
OWN = frozenset({*_KEYS, "position", "is_empty", GONE})
_SYSTEM = {"tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"}  # no table of Postgres may have these
_RESERVED_PREFIX = re.compile(r"_+(?=dlt|table_|file_|partition)")  # of dlt and BigQuery
_LONGEST = 48  # with two suffixes it fits Postgres' 63 bytes, so that every destination has the same name
_HASH_DIGITS = 10
_ALPHABET = str.maketrans("+-*@|", "x_xal")


@lru_cache(maxsize=10_000)
def normalize(name: str) -> str:
    """Return a name in snake case, as dlt's default naming convention has it, in any destination's bounds."""
    text = re.sub(r"[^a-zA-Z0-9_]+", "_", name.strip().translate(_ALPHABET))
    text = re.sub(r"([^_])([A-Z][a-z]+)", r"\1_\2", text)
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text).lower()
    text = re.sub(r"^(?=\d)", "_", text)
    # dlt writes each underscore at the end as `x`: a name that keeps them is another one in the destination
    stripped = text.rstrip("_")
    text = re.sub("__+", "_", stripped + "x" * (len(text) - len(stripped)))
    text = _RESERVED_PREFIX.sub("", text) or "unnamed"
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{text[: _LONGEST - _HASH_DIGITS - 1].rstrip('_')}_{digest}"


def name_fields(fields: Mapping[Field, list[Any]], known: Collection[str]) -> Columns:
    """Return the columns of unknown fields, none of them named like a known or an own column.

    Several fields may have the same name in snake case. Each row is decided alone, so that the same row looks
    the same in every load: its first value gets the first free name, further values the next ones.
    """
    groups: dict[str, list[Field]] = {}
    for field in fields:
        groups.setdefault(normalize("_".join(field)), []).append(field)
    columns: Columns = {}
    for name, group in groups.items():
        # the field that is written like the column comes first
        ordered = [fields[field] for field in sorted(group, key=partial(_order, (name,)))]
        columns |= zip(_free_names(name, known), _move_left(ordered), strict=False)
    return columns


def _order(name: Field, field: Field) -> tuple[bool, Field]:
    return field != name, field


def _move_left(lists: list[list[Any]]) -> list[list[Any]]:
    """Move the values of each row to the first lists: nulls come last."""
    if len(lists) == 1:
        return lists
    rows = (sorted(row, key=lambda value: value is None) for row in zip(*lists, strict=True))
    return list(map(list, zip(*rows, strict=True)))


def _free_names(name: str, known: Collection[str]) -> Iterator[str]:
    if name not in known and name not in OWN and name not in _SYSTEM:
        yield name
    yield name + OTHER
    yield from (f"{name}{OTHER}_{number}" for number in count(2))
