"""A hold list: recordings that must not be deleted, whatever their age. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMENT = re.compile(r"#.*")


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Ids of recordings and of calls.

    Attributes:
        names: the ids, in lower case.
    """

    names: frozenset[str] = frozenset()

    def holds(self, recording_id: int, call_id: str | None) -> bool:
        """Whether a recording is on the list; one whose call is unknown counts as if it were."""
        if not self.names:
            return False
        return call_id is None or str(recording_id) in self.names or call_id.strip().lower() in self.names


def read_legal_hold(text: str) -> LegalHold:
    """Read a hold list: ids separated by spaces, commas or lines; `#` begins a comment."""
    return LegalHold(
        frozenset(re.split(r"[\s,;]+", _COMMENT.sub("", text).lower().strip("\ufeff \n"))) - {""}
    )
