"""Legal holds: recordings that must not be deleted, whatever their age. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMENT = re.compile(r"#.*")


@dataclass(frozen=True, slots=True)
class LegalHold:
    """Ids of recordings and calls on hold.

    Attributes:
        names: The ids, in lower case.
    """

    names: frozenset[str] = frozenset()

    def holds(self, recording_id: int, call_id: str | None) -> bool:
        """Return whether a recording is on hold. A recording without a call id is held if any id is."""
        if not self.names:
            return False
        return call_id is None or str(recording_id) in self.names or call_id.strip().lower() in self.names


def read_legal_hold(text: str) -> LegalHold:
    """Read a hold list.

    Args:
        text: Ids separated by spaces, commas, semicolons or newlines; `#` starts a comment.
    """
    content = _COMMENT.sub("", text).lower().strip("\ufeff \n")
    return LegalHold(frozenset(re.split(r"[\s,;]+", content)) - {""})
