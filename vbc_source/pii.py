"""What becomes of names and numbers: kept, hashed with a key, or dropped. Pure.

Known columns say whether they are personal (`shapes`). Of what is not known, every text counts as
personal, and so does a number as long as a telephone number's.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

SHORT = 1_000_000  # numbers below are extensions, counts and scores; telephone numbers are longer
EXTENSION = r"^\d{1,6}$"
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PiiPolicy:
    """The `pii` setting.

    Attributes:
        mode: `keep`, `hash` or `drop`.
        key: of the hash, HMAC-SHA256; the same input gives the same hash in every table.
    """

    mode: str = "keep"
    key: bytes = field(default=b"", repr=False)

    @property
    def keeps(self) -> bool:
        """Whether personal data stays as it is."""
        return self.mode == "keep"

    def hide(self, text: str) -> str | None:
        """Hash or drop a text; the hash is 64 hexadecimal digits, and what is one already stays."""
        if self.mode == "drop":
            return None
        return (
            text
            if self.keeps or HASH.fullmatch(text)
            else hmac.digest(self.key, text.encode(), "sha256").hex()
        )

    def hide_column(self, column: Any) -> Any:
        """Hash or drop a column of text; each distinct value is hashed once."""
        if self.keeps:
            return column
        if self.mode == "drop":
            return pa.nulls(len(column), pa.string())
        coded = pc.dictionary_encode(column)
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        hidden = pa.array([self.hide(text) for text in coded.dictionary.to_pylist()], pa.string())
        return hidden.take(coded.indices)

    def hide_value(self, value: Any) -> Any:
        """Hash or drop what may be personal in a value of an unknown field, inside objects too."""
        if self.keeps or value is None or isinstance(value, bool):
            return value
        if isinstance(value, dict):
            return {name: self.hide_value(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.hide_value(inner) for inner in value]
        if isinstance(value, str):
            return self.hide(value)
        return value if abs(value) < SHORT else self.hide(msgspec.json.encode(value).decode())

    def hide_long(self, column: Any) -> Any:
        """Hide the texts of a column that are no extensions: those are at most six digits."""
        if self.keeps:
            return column
        return pc.if_else(pc.match_substring_regex(column, EXTENSION), column, self.hide_column(column))
