"""One shared access token: one login at a time, and never a second try at a refused one."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import dlt

from vbc_source.api.token_cache import Login, Refusal, TokenCache
from vbc_source.config import CREDENTIALS_SECTION as SECTION
from vbc_source.config import VbcCredentials
from vbc_source.errors import LoginRefused, SettingsError, TokenRejected

Post = Callable[[Mapping[str, str]], tuple[int, bytes]]

LOCKED_SECONDS = 31 * 60  # a locked user is locked for about 30 minutes from the last attempt


class TokenProvider:
    """The token all threads and processes of one login share.

    Args:
        credentials: how to log in.
        base_url: the gateway, part of the shared file's name.
        post: sends a form to /token; returns status and body.
        clock: wall clock, seconds since 1970.
        folder: where the shared file lives; in dlt's data folder unless given.
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
        """Give a token that should work, logging in where there is none.

        Raises:
            LoginRefused: the credentials were refused, now or earlier.
            SettingsError: credentials are missing.
        """
        login = self._login
        if login.access_token and login.expires_at > self._clock():
            return login.access_token
        return self.renew(login.access_token)

    def renew(self, rejected: str | None) -> str:
        """Replace a token that was rejected or has expired, unless somebody already has.

        Raises:
            LoginRefused: the credentials were refused, now or earlier.
            SettingsError: credentials are missing.
            TokenRejected: there is only a ready token, and it no longer works.
        """
        with self._lock:
            if self._login.access_token not in (None, rejected):
                return str(self._login.access_token)
            if self._refusal:
                raise self._refusal
            self._check_settings()
            cache = TokenCache(self._path())
            with cache.lock():
                try:
                    self._login = self._renew_shared(cache, rejected)
                except LoginRefused as refusal:
                    self._refusal = refusal
                    raise
            return str(self._login.access_token)

    def _renew_shared(self, cache: TokenCache, rejected: str | None) -> Login:
        shared = cache.read()
        if shared.access_token not in (None, rejected) and shared.expires_at > self._clock():
            return shared
        self._check_refusal(shared)
        # a configured refresh token works once; what it was exchanged for comes first, and instead
        refresh_token = shared.refresh_token or self._credentials.refresh_token
        login = self._refresh(refresh_token) if refresh_token else None
        login = replace(login or self._log_in(cache, shared), refusals=shared.refusals)
        cache.write(login)
        return login

    def _check_settings(self) -> None:
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

    def _check_refusal(self, shared: Login) -> None:
        # what was refused for good concerns these credentials alone, a locked user all of them
        own, now = shared.refusals.get(self._credentials.fingerprint()), self._clock()
        standing = [own] if own and own.retry_at is None else []
        standing += [refusal for refusal in shared.refusals.values() if (refusal.retry_at or 0) > now]
        if standing:
            raise LoginRefused(
                f"{standing[0].reason} (said at an earlier try; not asked again with the same credentials. "
                f"Where they have become right since, remove {self._path()})"
            )

    def _refresh(self, refresh_token: str) -> Login | None:
        """Use a refresh token; None where it was used or has expired."""
        status, body = self._post(self._form("refresh_token", refresh_token=refresh_token))
        return self._read_login(body, refresh_token) if status == 200 else None

    def _log_in(self, cache: TokenCache, shared: Login) -> Login:
        credentials = self._credentials
        if not (credentials.username and credentials.password):
            reason = (
                f"VBC refused the refresh_token in {SECTION}; it lives 7 days and works once: set a new one"
            )
            raise self._refused(cache, shared, Refusal(reason))
        form = self._form(
            "password",
            username=credentials.full_username(),
            password=credentials.password,
            scope="openid",
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
        application = {
            "client_id": self._credentials.client_id or "",
            "client_secret": self._credentials.client_secret or "",
        }
        return {"grant_type": grant, **fields, **application}

    def _read_login(self, body: bytes, refresh_token: str | None) -> Login:
        try:
            answer = json.loads(body)
            token, renewal = answer["access_token"], answer.get("refresh_token")
            lifetime = float(answer.get("expires_in") or 3600)
        except (ValueError, KeyError, TypeError, AttributeError):
            token = None
        if not (token and isinstance(token, str)):
            raise LoginRefused("VBC answered the login without an access token")
        # renewed a little early: a token must not end while a request is on its way
        return Login(token, renewal or refresh_token, self._clock() + lifetime - min(60.0, lifetime / 10))

    def _path(self) -> Path:
        folder = self._folder or Path(dlt.current.run_context().data_dir) / "vbc_tokens"
        credentials = self._credentials
        identity = [self._base_url, credentials.client_id, credentials.full_username()]
        if not credentials.username:
            identity.append(credentials.refresh_token)
        return folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.json"


def _explain_refusal(status: int, body: bytes, now: float) -> Refusal:
    """Say why a login was refused, and when the same credentials may be tried again."""
    text = body.decode("utf-8", "replace").lower()
    if "17003" in text or "locked" in text:
        reason = (
            f"VBC has locked the user in {SECTION} after failed logins; wait 30 minutes without any "
            "attempt, or have an administrator unlock the user"
        )
        return Refusal(reason, now + LOCKED_SECONDS)
    if "invalid_client" in text:
        return Refusal(f"VBC refused the application: check client_id and client_secret in {SECTION}")
    reason = (
        f"VBC refused the login (HTTP {status}): check username and password in {SECTION}. It was tried "
        "once and is not repeated, since a few failed logins lock the user for about 30 minutes; a locked "
        "user is unlocked by waiting that long or by an administrator. Single sign-on users cannot log in so"
    )
    return Refusal(reason)
