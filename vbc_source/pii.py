"""Hashing or dropping names and telephone numbers. Pure.

Row specs list which known columns are personal, and which hold codes (`schema.specs`). In unknown fields
every text counts as personal, every number as long as a telephone number, and every key that is not
written like the name of a field.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

SHORT = 1_000_000  # numbers below are extensions, counts and scores; telephone numbers are longer
HASH = re.compile(r"[0-9a-f]{64}")
# `agentName`, `agent_name`; neither `ERIKA`, `+1415…` nor `erika@example.com`
FIELD_NAME = re.compile(r"(?!(?:[^0-9]*[0-9]){7})_?[a-z][a-zA-Z0-9_]{0,63}")
LONG_ID = 10**9  # numbers below are ids; telephone numbers with their area have ten digits
SHORTEST_KEY = 16  # characters: all telephone numbers can be tried with all short keys
LONGEST_CODE = 128
CLEAR_URL = r"https?://[A-Za-z0-9.:-]+(?:/[A-Za-z0-9._:=-]*)*"
JOB_PARAMETERS = ("jobId", "job_id")


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

    def hide_texts(self, column: Any, hide: Callable[[str], str | None], clear: str | None = None) -> Any:
        """Hide the texts of a column by one of the rules below; each distinct one is hidden once.

        A column whose texts all match the pattern `clear` is left as it is; compiled code finds that out.
        """
        # RE2 runs the pattern here and Python's `re` runs it in `hide_code`: codes are written so that both
        # read them alike
        if self.keeps or (clear and pc.all(pc.match_substring_regex(column, f"^(?:{clear})$")).as_py()):
            return column
        # a number or a name comes in many rows, and an HMAC costs far more than a look into a dictionary
        coded = pc.dictionary_encode(column)
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        hidden = pa.array([hide(text) for text in coded.dictionary.to_pylist()], pa.string())
        return hidden.take(coded.indices)

    def hide_value(self, value: Any) -> Any:
        """Hash or drop the texts and long numbers in a value of an unknown field, at any depth."""
        if self.keeps or value is None or isinstance(value, bool):
            return value
        if isinstance(value, dict):
            named = ((self.hide_name(name), inner) for name, inner in value.items())
            return {name: self.hide_value(inner) for name, inner in named if name is not None}
        if isinstance(value, list):
            return [self.hide_value(inner) for inner in value]
        if isinstance(value, str):
            return self.hide(value)
        # as JSON writes it, so that a number has the same hash as the text of the same digits
        return value if abs(value) < SHORT else self.hide(msgspec.json.encode(value).decode())

    def hide_name(self, name: str) -> str | None:
        """Hash or drop the name of a field that may be data, as the keys of `{"+14155550100": …}` are."""
        return name if FIELD_NAME.fullmatch(name) else self.hide(name)

    def hide_code(self, text: str, codes: str) -> str | None:
        """Hash or drop a text that is no code."""
        # the length first: the pattern of an id may look at each character of a long text many times
        return text if len(text) <= LONGEST_CODE and re.fullmatch(codes, text) else self.hide(text)

    def hide_url(self, text: str) -> str | None:
        """Hash or drop what an address has beside its path and the id of a job, such as a login name."""
        if self.keeps or HASH.fullmatch(text) or re.fullmatch(CLEAR_URL, text):
            return text
        try:
            address = urlsplit(text)
            if address.scheme not in ("http", "https") or not all(map(_is_plain, address.path.split("/"))):
                return self.hide(text)
            # without a login that stands before the host
            host = address.netloc.rpartition("@")[2]
        except ValueError:
            return self.hide(text)
        query = [
            (self.hide_name(name), value if name in JOB_PARAMETERS and _is_plain(value) else self.hide(value))
            for name, value in parse_qsl(address.query, keep_blank_values=True)
        ]
        kept = urlencode([(name, value) for name, value in query if name is not None and value is not None])
        return f"{address.scheme}://{host}{address.path}" + (f"?{kept}" if kept else "")


def _is_plain(segment: str) -> bool:
    """Whether a part of an address is an id or a word: not a name, a mail address or a number with a plus."""
    # unquoted first: `%40` and `%20` hide a mail address and a name
    return re.fullmatch(r"[\w.:=-]*", unquote(segment), re.ASCII) is not None
