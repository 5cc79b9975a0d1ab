"""What the API's lists hold: schemas as data. Pure.

Names are the API's own, but for what design gives another name: an `extension_number` is an `extension`
in every table, so that tables join on it. A field that is not named here becomes a column as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from vbc_source.schema.columns import INSTANT

TEXT = pa.string()


@dataclass(frozen=True, slots=True)
class ListSpec:
    """A list inside a row; it becomes a table of its own.

    Attributes:
        columns: its value columns; an item that is no object goes to the first.
        names: for items that are objects, the API's names of the columns, where they differ.
        objects: whether items are objects.
        clear: the columns that are no personal data.
    """

    columns: Mapping[str, pa.DataType]
    names: Mapping[str, str] = field(default_factory=dict)
    objects: bool = False
    clear: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class RowSpec:
    """The rows of one list endpoint.

    Attributes:
        collection: where the answer has them, below `_embedded`.
        id: the API's name of what tells them apart.
        id_kind: its type.
        id_column: its name as a column.
        child_key: what the tables of its lists call it.
        fields: the known columns, by the API's names.
        lists: the lists in a row, by the API's names.
        nested: objects in a row; their fields become columns, prefixed with the object's name.
        ignored: fields that say nothing.
        personal: known fields that are personal data; every field that is not known counts as such.
    """

    collection: str
    id: str
    id_kind: pa.DataType
    id_column: str
    child_key: str
    fields: Mapping[str, pa.DataType]
    lists: Mapping[str, ListSpec] = field(default_factory=dict)
    nested: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    personal: frozenset[str] = frozenset()


RECORDING = RowSpec(
    collection="recordings",
    id="id",
    id_kind=pa.int64(),
    id_column="id",
    child_key="recording_id",
    fields={
        "call_direction": TEXT,
        "call_id": TEXT,
        "caller_id": TEXT,
        "cnam": TEXT,
        "dnis": TEXT,
        "download_url": TEXT,
        "duration": pa.int64(),
        "start": INSTANT,
        "end": INSTANT,
        "file_name": TEXT,
        "file_size_in_bytes": pa.int64(),
    },
    lists={
        "extensions": ListSpec({"extension": TEXT}, clear=frozenset({"extension"})),
        "rule_ids": ListSpec({"rule_id": pa.int64()}, clear=frozenset({"rule_id"})),
    },
    ignored=("extension",),  # seen beside `extensions`, empty: named here, it costs no second decoding
    # the vendor's own example of a file name holds the caller's number
    personal=frozenset({"caller_id", "cnam", "dnis", "file_name"}),
)
"""A company recording, or a user's own."""

USER = RowSpec(
    collection="data",
    id="id",
    id_kind=TEXT,
    id_column="id",
    child_key="user_id",
    fields={"email": TEXT, "login_name": TEXT, "first_name": TEXT, "last_name": TEXT},
    lists={
        "extensions": ListSpec(
            {"extension": TEXT, "dids": TEXT},
            names={"extension_number": "extension"},
            objects=True,
            clear=frozenset({"extension"}),
        ),
        "contact_numbers": ListSpec({"type": TEXT, "value": TEXT}, objects=True, clear=frozenset({"type"})),
    },
    personal=frozenset({"email", "login_name", "first_name", "last_name"}),
)
"""A user, from the Provisioning API."""

EXTENSION = RowSpec(
    collection="data",
    id="extension_number",
    id_kind=TEXT,
    id_column="extension",
    child_key="extension",
    fields={
        "user_id": TEXT,
        "user_email": TEXT,
        "user_login_name": TEXT,
        "user_first_name": TEXT,
        "user_last_name": TEXT,
        "external_id": TEXT,
        "location_id": pa.int64(),
        "vtt_enabled": pa.bool_(),
        "dnd_enabled": pa.bool_(),
        "block_caller_id": pa.bool_(),
        "caller_id": TEXT,
    },
    nested=("user",),
    personal=frozenset({"user_email", "user_login_name", "user_first_name", "user_last_name", "caller_id"}),
)
"""An extension and the user behind it, from the Provisioning API; its numbers are kept as JSON."""

JOB = RowSpec(
    collection="jobs",
    id="id",
    id_kind=TEXT,
    id_column="id",
    child_key="job_id",
    fields={
        "status": TEXT,
        "files_completed": pa.int64(),
        "files_total": pa.int64(),
        "download_url": TEXT,
        "valid_until": INSTANT,
    },
)
"""An export job."""
