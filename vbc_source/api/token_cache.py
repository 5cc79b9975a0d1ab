"""What a login gave, kept in a private file, so that several processes share one token."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login that was refused.

    Attributes:
        reason: why.
        retry_at: when the same credentials may be tried again, seconds since 1970; None for never.
    """

    reason: str
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What is known of a user's logins.

    Attributes:
        access_token: the last token, or None.
        refresh_token: the single-use token that renews it.
        expires_at: when the access token ends, seconds since 1970.
        refusals: refused logins, by the fingerprint of their credentials.
    """

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float = 0.0
    refusals: Mapping[str, Refusal] = field(default_factory=dict)


class TokenCache:
    """One file for one login at one gateway; mode 0600 in a folder of mode 0700.

    Args:
        path: the file; its folder is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes and threads out while one logs in."""
        self._make_folder()
        return FileLock(self.path.with_suffix(".lock"), mode=0o600)

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Login:
        """Read the file; an empty login where there is none or it is not readable as one."""
        try:
            found = json.loads(self.path.read_text())
            refusals = {key: Refusal(**refusal) for key, refusal in found["refusals"].items()}
            return Login(found["access_token"], found["refresh_token"], float(found["expires_at"]), refusals)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Login()

    def write(self, login: Login) -> None:
        """Replace the file as a whole, so that no reader sees half of it."""
        self._make_folder()
        draft = self.path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(login), file)
        draft.replace(self.path)
