"""Hashing or dropping names and telephone numbers. Pure.

Row specs list which known columns are personal (`schema.specs`). In unknown fields every text counts
as personal, and so does every number as long as a telephone number.
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
        key: Key of the hash, HMAC-SHA256. Equal values get equal hashes in every table.
    """

    mode: str = "keep"
    key: bytes = field(default=b"", repr=False)

    @property
    def keeps(self) -> bool:
        """Whether personal data stays unchanged."""
        return self.mode == "keep"

    def hide(self, text: str) -> str | None:
        """Hash or drop a text; the hash has 64 hexadecimal digits."""
        if self.mode == "drop":
            return None
        # rows that were loaded before are hidden again, so hashes must stay unchanged
        if self.keeps or HASH.fullmatch(text):
            return text
        return hmac.digest(self.key, text.encode(), "sha256").hex()

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
        """Hash or drop the texts and long numbers in a value of an unknown field, at any depth."""
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
        """Hash or drop the texts of a column that are not extensions of at most six digits."""
        if self.keeps:
            return column
        return pc.if_else(pc.match_substring_regex(column, EXTENSION), column, self.hide_column(column))
