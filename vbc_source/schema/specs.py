"""The schemas of the API's lists, as data. Pure.

Columns have the API's names, except that `extension_number` is `extension` in every table, so that
tables join on it. A field that is not listed here becomes a column too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from vbc_source.schema.columns import INSTANT

TEXT = pa.string()
_NAMES = ("email", "login_name", "first_name", "last_name")
_EXTENSION = "[0-9]{1,6}"
# an id, such as a UUID: not a word, nor a telephone number or a mail address
_CALL = (
    "[A-Za-z0-9._:-]*(?:[A-Za-z_][A-Za-z0-9._:-]*[0-9]|[0-9][A-Za-z0-9._:-]*[A-Za-z_])[A-Za-z0-9._:-]*"
    "|[0-9]{1,6}|[0-9]{16,40}"
)
# words rather than a form: `complete` is the only documented status, and any other text may be a person's
_STATUS = (
    r"(?i)completed?|in[_ -]?progress|pending|queued|created|new|start(ed|ing)?|running|process(ing|ed)"
    r"|ready|done|success|fail(ed|ure)?|error|cancell?ed|aborted|expired|deleted"
)
_CONTACT = (
    "(?i)home|work|office|business|company|personal|mobile|cell|phone|main|fax|pager|assistant|emergency"
    "|other"
)
_OWNER = tuple(f"user_{name}" for name in _NAMES)  # the user of an extension


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PersonalColumns:
    """What is personal in the known columns; every unknown field is.

    Attributes:
        personal: Columns that are personal data.
        codes: Columns that hold codes, and their pattern; a text that does not match is personal.
        ids: Columns that hold numeric ids; one as long as a telephone number is personal.
        addresses: Columns that hold addresses; what stands beside path and job id is personal.
    """

    personal: frozenset[str] = frozenset()
    codes: Mapping[str, str] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListSpec(PersonalColumns):
    """A list inside a row; it becomes a child table.

    Attributes:
        columns: Its value columns; an item that is not an object goes to the first one.
        names: Column names by the API's field names, where they differ; for items that are objects.
        objects: Whether the items are objects; all their columns are personal but those of codes.
    """

    columns: Mapping[str, pa.DataType]
    names: Mapping[str, str] = field(default_factory=dict)
    objects: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RowSpec(PersonalColumns):
    """The rows of one list endpoint.

    Attributes:
        collection: Name of the list of rows below `_embedded`.
        child_key: Name of the id column in child tables.
        fields: Types of the known columns, by the API's names.
        id: The API's name of the id of a row.
        id_kind: Type of the id.
        id_column: Name of the id column.
        lists: Lists in a row, by the API's names.
        nested: Objects in a row; their fields become columns, prefixed with the object's name.
        ignored: Fields that become a column only where they have a value.
        legs: Columns that tell rows with the same id apart; the id column, a digest of them, is ours then.
            They are no personal data, and do not change, so that a row keeps its id.
    """

    collection: str
    child_key: str
    fields: Mapping[str, pa.DataType]
    id: str = "id"
    id_kind: pa.DataType = TEXT
    id_column: str = "id"
    lists: Mapping[str, ListSpec] = field(default_factory=dict)
    nested: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    legs: tuple[str, ...] = ()

    @property
    def own_columns(self) -> frozenset[str]:
        """Columns of the table that no unknown field may take."""
        return frozenset({*self.fields, self.id_column, *self.lists})


RECORDING = RowSpec(
    collection="recordings",
    id_kind=pa.int64(),
    child_key="recording_id",
    fields={
        **dict.fromkeys(("call_direction", "call_id", "caller_id", "cnam", "dnis", "download_url"), TEXT),
        "duration": pa.int64(),
        "start": INSTANT,
        "end": INSTANT,
        "file_name": TEXT,
        "file_size_in_bytes": pa.int64(),
    },
    lists={
        "extensions": ListSpec({"extension": TEXT}, codes={"extension": _EXTENSION}),
        "rule_ids": ListSpec({"rule_id": pa.int64()}, ids=frozenset({"rule_id"})),
    },
    # an empty `extension` comes beside `extensions`; as an unknown field it would slow down every page
    ignored=("extension",),
    # the vendor's own example of a file name contains the caller's number
    personal=frozenset({"caller_id", "cnam", "dnis", "file_name"}),
    codes={"call_direction": "(?i)inbound|outbound|intra_pbx|unknown", "call_id": _CALL},
    addresses=frozenset({"download_url"}),
)
"""A company recording or a user recording."""

_DEVICE = "[A-Za-z]{1,4}[0-9]{1,12}"
_PARTIES = ("destination", "source")
CALL_LOG = RowSpec(
    collection="call_logs",
    child_key="leg",
    id_column="leg",
    fields={
        "id": TEXT,
        "direction": TEXT,
        "start": INSTANT,
        "end": INSTANT,
        "length": pa.int64(),
        "result": TEXT,
        "recorded": pa.bool_(),
        **dict.fromkeys(("from", "to"), TEXT),
        **{
            f"{party}_{name}": TEXT
            for party in _PARTIES
            for name in ("user", "user_full_name", "device_name", "sip_id", "extension")
        },
        "custom_tag": TEXT,
        **dict.fromkeys(("in_network", "international"), pa.bool_()),
        **dict.fromkeys(("charge", "rate"), pa.float64()),
    },
    # `id` is the call's: nothing in the API names a leg
    legs=(
        "id",
        "start",
        "direction",
        *(f"{party}_{name}" for party in _PARTIES for name in ("extension", "sip_id")),
    ),
    personal=frozenset(
        {
            "from",
            "to",
            "custom_tag",
            *(f"{party}_{name}" for party in _PARTIES for name in ("user", "user_full_name", "device_name")),
        }
    ),
    codes={
        "id": _CALL,
        "direction": "(?i)inbound|outbound|internal|intra_pbx|unknown",
        "result": "[A-Za-z][A-Za-z _-]{0,40}",
        **{f"{party}_extension": _EXTENSION for party in _PARTIES},
        **{f"{party}_sip_id": _DEVICE for party in _PARTIES},
    },
)
"""A leg of a call, from the Reports API."""

USER = RowSpec(
    collection="data",
    child_key="user_id",
    fields=dict.fromkeys(_NAMES, TEXT),
    lists={
        "extensions": ListSpec(
            {"extension": TEXT, "dids": TEXT},
            names={"extension_number": "extension"},
            objects=True,
            codes={"extension": _EXTENSION},
        ),
        "contact_numbers": ListSpec({"type": TEXT, "value": TEXT}, objects=True, codes={"type": _CONTACT}),
    },
    personal=frozenset(_NAMES),
)
"""A user, from the Provisioning API."""

EXTENSION = RowSpec(
    collection="data",
    id="extension_number",
    id_column="extension",
    child_key="extension",
    fields={
        "user_id": TEXT,
        **dict.fromkeys(_OWNER, TEXT),
        "external_id": TEXT,
        "location_id": pa.int64(),
        **dict.fromkeys(("vtt_enabled", "dnd_enabled", "block_caller_id"), pa.bool_()),
        "caller_id": TEXT,
    },
    nested=("user",),
    personal=frozenset({*_OWNER, "caller_id"}),
    codes={"external_id": "[A-Za-z]{1,4}[0-9]+|[0-9]{1,6}"},
    ids=frozenset({"location_id"}),
)
"""An extension and its user, from the Provisioning API; its telephone numbers are kept as JSON."""

JOB = RowSpec(
    collection="jobs",
    child_key="job_id",
    fields={
        "status": TEXT,
        "files_completed": pa.int64(),
        "files_total": pa.int64(),
        "download_url": TEXT,
        "valid_until": INSTANT,
    },
    codes={"status": _STATUS},
    addresses=frozenset({"download_url"}),
)
"""An export job."""
