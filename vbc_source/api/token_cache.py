"""The file in which all processes that log in as one user keep tokens and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from vbc_source.api.login_responses import read_token
from vbc_source.errors import SettingsError, Unavailable
from vbc_source.private_files import make_private_folder, write_private_file

LOCK_SECONDS = 180.0  # how long to wait for the login of another process


@dataclass(frozen=True, slots=True)
class RefusedLogin:
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
        fingerprint: That of the credentials which got the tokens; empty in files of earlier versions.
    """

    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: float = 0.0
    refusals: Mapping[str, RefusedLogin] = field(default_factory=dict)
    fingerprint: str = ""


class TokenCache:
    """A file for one user at one gateway; mode 0600 in a folder of mode 0700.

    `setting` is what chooses the folder, for messages.
    """

    def __init__(self, path: Path, setting: str = "DLT_DATA_DIR") -> None:
        self.path, self._setting = path, setting
        make_private_folder(path.parent, secrets=True, setting=setting)

    @contextmanager
    def lock(self, seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Keep out other processes and threads during a login.

        Raises:
            Unavailable: Another one takes longer.
            SettingsError: The lock cannot be made.
        """
        # a file of its own, since `write` replaces the other one: a lock on that would stay with the file
        # before. The operating system frees it when a process is killed while it logs in
        lock = FileLock(self.path.with_suffix(".lock"), seconds, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise Unavailable(
                0,
                hint=f"another process has been logging in for {seconds:.0f} s; its lock is {lock.lock_file}",
            ) from None
        except OSError as error:
            raise self._refuse(lock.lock_file, error) from error
        try:
            yield
        finally:
            lock.release()

    def read(self) -> Login:
        """Read the file; an empty login if it is missing or damaged."""
        try:
            data = json.loads(self.path.read_text())
            refusals = {key: RefusedLogin(**refusal) for key, refusal in data["refusals"].items()}
            tokens = read_token(data["access_token"]), read_token(data["refresh_token"])
            return Login(*tokens, float(data["expires_at"]), refusals, str(data.get("fingerprint", "")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # a damaged file, or one of another version, costs a login and stops no run
            return Login()

    def write(self, login: Login) -> None:
        """Replace the file atomically, so that no reader sees a part of it; raises SettingsError."""
        try:
            write_private_file(self.path, json.dumps(asdict(login)))
        except OSError as error:
            raise self._refuse(self.path, error) from error

    def _refuse(self, path: str | Path, error: OSError) -> SettingsError:
        return SettingsError(
            f"{path}: {error.strerror}: a login is kept there; free some space, or set {self._setting} to a "
            "folder that this user may write"
        )
