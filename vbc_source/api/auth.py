"""Logging in: one access token for all threads and processes, and no second try of a refused login."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import dlt
from filelock import FileLock

from vbc_source.config import CREDENTIALS_SECTION as SECTION
from vbc_source.config import VbcCredentials
from vbc_source.errors import LoginRefused, SettingsError, TokenRejected
from vbc_source.private_files import make_private_folder, write_private_file

Post = Callable[[Mapping[str, str]], tuple[int, bytes]]

LOCKED_SECONDS = 31 * 60  # VBC locks a user for about 30 minutes, counted from the last attempt


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
        make_private_folder(path.parent, secrets=True)

    def lock(self) -> AbstractContextManager[Any]:
        """Return a lock that keeps out other processes and threads during a login."""
        return FileLock(self.path.with_suffix(".lock"), mode=0o600)

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
        write_private_file(self.path, json.dumps(asdict(login)))


class TokenProvider:
    """Provides the access token, and renews it; shared by all threads and processes of one login.

    `post` sends a form to /token, and returns status and body. The login is shared in a file of
    `folder`, by default below dlt's data folder; `base_url` and the user are part of its name.
    `clock` is the wall clock, seconds since 1970.
    """

    def __init__(
        self,
        credentials: VbcCredentials,
        base_url: str,
        post: Post,
        *,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        self._credentials, self._post, self._clock = credentials, post, clock
        self._base_url, self._folder = base_url, folder
        self._lock = threading.Lock()
        self._refusal: LoginRefused | None = None
        self._login = Login(access_token=credentials.access_token, expires_at=float("inf"))

    def current(self) -> str:
        """Return a token that should be valid; logs in if there is none. Raises as `renew` does."""
        login = self._login
        if login.access_token and login.expires_at > self._clock():
            return login.access_token
        return self.renew(login.access_token)

    def renew(self, rejected: str | None) -> str:
        """Replace a rejected or expired token, unless another thread or process already has.

        Raises LoginRefused, now and later, if the credentials are refused; SettingsError if some are
        missing; and TokenRejected if only an access token is configured.
        """
        with self._lock:
            if self._login.access_token not in (None, rejected):
                return str(self._login.access_token)
            if self._refusal:
                raise self._refusal
            self._check_credentials()
            cache = TokenCache(self._path())
            with cache.lock():
                try:
                    self._login = self._renew_shared(cache, rejected)
                except LoginRefused as refusal:
                    self._refusal = refusal
                    raise
            return str(self._login.access_token)

    def _renew_shared(self, cache: TokenCache, rejected: str | None) -> Login:
        # VBC may revoke a token when it issues the next one: look whether another process has done it
        shared = cache.read()
        if shared.access_token not in (None, rejected) and shared.expires_at > self._clock():
            return shared
        self._check_refusals(shared)
        # a refresh token works once, so the cached successor of a configured one comes first
        refresh_token = shared.refresh_token or self._credentials.refresh_token
        login = self._refresh(refresh_token) if refresh_token else None
        login = replace(login or self._log_in(cache, shared), refusals=shared.refusals)
        cache.write(login)
        return login

    def _check_credentials(self) -> None:
        missing = ", ".join(self._credentials.missing())
        if missing and self._credentials.access_token:
            rejected = TokenRejected(401)
            rejected.args = (
                f"the access_token in {SECTION} is no longer valid; set a new one, or set "
                f"{missing} too, so that it can be renewed",
            )
            raise rejected
        if missing:
            raise SettingsError(f"credentials are missing: set {missing} in {SECTION}")

    def _check_refusals(self, shared: Login) -> None:
        # a permanent refusal concerns these credentials alone; a locked user, all credentials
        own, now = shared.refusals.get(self._credentials.fingerprint()), self._clock()
        refusals = [own] if own and own.retry_at is None else []
        refusals += [refusal for refusal in shared.refusals.values() if (refusal.retry_at or 0) > now]
        if refusals:
            raise LoginRefused(
                f"{refusals[0].reason} (refused at an earlier attempt; not sent again with the same "
                f"credentials. If they have become valid since, remove {self._path()})"
            )

    def _refresh(self, refresh_token: str) -> Login | None:
        """Use a refresh token; None if it was used before or has expired."""
        status, body = self._post(self._form("refresh_token", refresh_token=refresh_token))
        return self._read_login(body, refresh_token) if status == 200 else None

    def _log_in(self, cache: TokenCache, shared: Login) -> Login:
        credentials = self._credentials
        if not (credentials.username and credentials.password):
            reason = (
                f"VBC refused the refresh_token in {SECTION}; it is valid for 7 days and can be used once: "
                "set a new one"
            )
            raise self._refused(cache, shared, Refusal(reason))
        form = self._form(
            "password",
            username=credentials.full_username(),
            password=credentials.password,
            scope="openid",  # some APIs refuse a token without this scope
        )
        status, body = self._post(form)
        if status == 200:
            return self._read_login(body, None)
        raise self._refused(cache, shared, _explain_refusal(status, body, self._clock()))

    def _refused(self, cache: TokenCache, shared: Login, refusal: Refusal) -> LoginRefused:
        refusals = {**shared.refusals, self._credentials.fingerprint(): refusal}
        cache.write(replace(shared, refusals=refusals))
        return LoginRefused(refusal.reason)

    def _form(self, grant: str, **fields: str) -> dict[str, str]:
        id_, secret = self._credentials.client_id or "", self._credentials.client_secret or ""
        return {"grant_type": grant, **fields, "client_id": id_, "client_secret": secret}

    def _read_login(self, body: bytes, refresh_token: str | None) -> Login:
        try:
            fields = json.loads(body)
            token, successor = fields["access_token"], fields.get("refresh_token")
            lifetime = float(fields.get("expires_in") or 3600)
        except (ValueError, KeyError, TypeError, AttributeError):
            token = None
        if not (token and isinstance(token, str)):
            raise LoginRefused("VBC answered the login without an access token")
        # renewed a little early, so that it does not expire while a request is on its way
        expires_at = self._clock() + lifetime - min(60.0, lifetime / 10)
        return Login(token, successor or refresh_token, expires_at)

    def _path(self) -> Path:
        folder = self._folder or Path(dlt.current.run_context().data_dir) / "vbc_tokens"
        credentials = self._credentials
        identity = [self._base_url, credentials.client_id, credentials.full_username()]
        if not credentials.username:
            identity.append(credentials.refresh_token)
        return folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.json"


def _explain_refusal(status: int, body: bytes, now: float) -> Refusal:
    """Return why a login was refused, and when to try the same credentials again."""
    text = body.decode("utf-8", "replace").lower()
    if "17003" in text or "locked" in text:  # 17003 is WSO2's code of a locked account
        reason = (
            f"VBC has locked the user in {SECTION} after failed logins; wait 30 minutes without any "
            "attempt, or have an administrator unlock the user"
        )
        return Refusal(reason, now + LOCKED_SECONDS)
    if "invalid_client" in text:
        return Refusal(f"VBC refused the application: check client_id and client_secret in {SECTION}")
    reason = (
        f"VBC refused the login (HTTP {status}): check username and password in {SECTION}. It was tried "
        "once and is not retried, because a few failed logins lock the user for about 30 minutes; to unlock "
        "a user, wait that long or ask an administrator. Single sign-on users cannot log in with a password"
    )
    return Refusal(reason)
