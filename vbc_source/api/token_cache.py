"""The login in a private file, by which several processes share one token."""

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
    """A refused login.

    Attributes:
        reason: Why it was refused.
        retry_at: When to try the same credentials again, seconds since 1970; None for never.
    """

    reason: str
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """The state of a user's login.

    Attributes:
        access_token: The last token, or None.
        refresh_token: The single-use token that renews it.
        expires_at: When the access token expires, seconds since 1970.
        refusals: Refused logins by the fingerprint of their credentials.
    """

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float = 0.0
    refusals: Mapping[str, Refusal] = field(default_factory=dict)


class TokenCache:
    """A file for one user at one gateway; mode 0600 in a folder of mode 0700."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lock(self) -> AbstractContextManager[Any]:
        """Return a lock that keeps out other processes and threads during a login."""
        self._make_folder()
        return FileLock(self.path.with_suffix(".lock"), mode=0o600)

    def _make_folder(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> Login:
        """Read the file; an empty login if it is missing or damaged."""
        try:
            data = json.loads(self.path.read_text())
            refusals = {key: Refusal(**refusal) for key, refusal in data["refusals"].items()}
            return Login(data["access_token"], data["refresh_token"], float(data["expires_at"]), refusals)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Login()

    def write(self, login: Login) -> None:
        """Replace the file atomically, so that no reader sees a part of it."""
        self._make_folder()
        draft = self.path.with_suffix(f".{os.getpid()}")
        # opened with its final mode: a chmod afterwards would leave a moment for others to read it
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(login), file)
        draft.replace(self.path)
