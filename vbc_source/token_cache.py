"""What a login gave, kept in a private file, so that several processes share one token."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock


@dataclass(frozen=True, slots=True)
class Login:
    """The outcome of the last login.

    Attributes:
        access_token: the token, or None after a refusal.
        refresh_token: the single-use token that renews it.
        expires_at: when the access token ends, seconds since 1970.
        refused: fingerprint of the credentials that were refused, or None.
        reason: why they were refused.
        retry_at: when the same credentials may be tried again, seconds since 1970; None for never.
    """

    access_token: str | None = None
    refresh_token: str | None = None
    expires_at: float = 0.0
    refused: str | None = None
    reason: str = ""
    retry_at: float | None = None


class TokenCache:
    """One file for one login at one gateway; mode 0600 in a folder of mode 0700.

    Args:
        path: the file; its folder is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lock(self) -> AbstractContextManager[Any]:
        """Keep other processes and threads out while one logs in."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(self.path.with_suffix(".lock"), mode=0o600)

    def read(self) -> Login:
        """Read the file; an empty login where there is none or it is not readable as one."""
        try:
            found = json.loads(self.path.read_text())
            return Login(**{field.name: found[field.name] for field in fields(Login)})
        except (OSError, ValueError, KeyError, TypeError):
            return Login()

    def write(self, login: Login) -> None:
        """Replace the file as a whole, so that no reader sees half of it."""
        draft = self.path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(login), file)
        draft.replace(self.path)
