"""Texts of the API in messages: users and callers choose them, so control characters are shown escaped."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, and marks that reverse or hide what follows
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def escape_controls(text: str) -> str:
    """Return one line, with control characters as Python writes them escaped."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
