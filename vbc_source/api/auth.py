"""Logging in: one access token for all threads and processes, and no second try of a refused login."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import dlt

from vbc_source.api.login_responses import (
    IssuedToken,
    LoginFailure,
    explain_failure,
    is_user_locked,
    read_error,
    read_issued_token,
    read_token,
)
from vbc_source.api.token_cache import LOCK_SECONDS, Login, RefusedLogin, TokenCache
from vbc_source.api.turns import Turns
from vbc_source.config import CREDENTIALS_SECTION as SECTION
from vbc_source.config import VbcCredentials
from vbc_source.errors import LoginRefused, SettingsError, TokenRejected

Post = Callable[[Mapping[str, str]], tuple[int, bytes]]

log = logging.getLogger("vbc_source.api.client")  # users know the client, not this module

RENEWALS = 5  # renewed tokens in a row that no request accepted, until the login is given up
RECENT = 600.0  # seconds: a token that was accepted so recently has not expired but was revoked
PATIENCE = 60.0  # most seconds of the first wait after another login; a usual run needs less
DOUBT_PATIENCE = 2.0  # the same where another login is not certain: the gateway may just lose tokens
LONGEST_PATIENCE = 600.0
LONGEST_TURN = 3600.0  # seconds to wait for a turn at most


class Patience:
    """How long to wait for another process that logs in as the same user: a random time, longer each time.

    VBC may revoke a user's tokens when it issues the next ones. Where processes share no folder, each login
    interrupts the process that logged in before. If that one logged in again at once, neither would finish.
    So a process that lost its token waits for the other one to finish.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def draw(self) -> float:
        """Return the seconds to wait this time."""
        seconds = random.uniform(0, self._seconds)
        self._seconds = min(self._seconds * 2, LONGEST_PATIENCE)
        return seconds


class TokenProvider:
    """Provides the access token, and renews it; shared by all threads and processes of one login.

    `post` sends a form to /token, and returns status and body. The login is shared in a file of
    `folder`, by default below dlt's data folder; `base_url` and the user are part of its name.
    `clock` is the wall clock, seconds since 1970; `sleep` waits before a renewal that competes with
    another process; `lock_seconds` is how long to wait while another process logs in.

    Attributes:
        turns: Keeps processes apart that share no file; None where they share nothing.
    """

    def __init__(
        self,
        credentials: VbcCredentials,
        base_url: str,
        post: Post,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        folder: Path | None = None,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._credentials, self._post, self._clock, self._sleep = credentials, post, clock, sleep
        self._base_url, self._folder, self._lock_seconds = base_url, folder, lock_seconds
        self.turns: Turns | None = None
        self._lock = threading.Lock()
        self._refusal: LoginRefused | None = None
        self._login = Login(access_token=_read_configured(credentials), expires_at=float("inf"))
        self._patience, self._doubt = Patience(PATIENCE), Patience(DOUBT_PATIENCE)
        self._unaccepted = 0  # renewals since the last accepted request
        self._alive_at = float("-inf")  # when the token was issued to us, or accepted

    @property
    def is_renewable(self) -> bool:
        """Whether the credentials can get another token."""
        return not self._credentials.missing()

    def current(self) -> str:
        """Return a token that should be valid; logs in if there is none. Raises as `renew` does."""
        login = self._login
        if login.access_token and login.expires_at > self._clock():
            return login.access_token
        return self.renew(login.access_token)

    def accept(self, token: str) -> None:
        """Record that the gateway accepted a token."""
        if token == self._login.access_token:
            self._unaccepted, self._alive_at = 0, self._clock()

    def renew(self, rejected: str | None) -> str:
        """Replace a token that was rejected or has expired, unless another thread or process already has.

        Whether it was revoked is judged by times alone: the gateway's codes of a 401 do not tell.

        Raises LoginRefused, now and later, if the credentials are refused; SettingsError if some are
        missing; TokenRejected if only an access token is configured, or if no renewed token was accepted
        a few times in a row; Unavailable if another process does not end its login.
        """
        with self._lock:
            # another thread has renewed it while this one waited for the lock
            if self._login.access_token not in (None, rejected):
                return str(self._login.access_token)
            # no thread tries again what was refused: a few failed logins lock the user for half an hour
            if self._refusal:
                raise self._refusal
            self._check_credentials()
            cache = TokenCache(self._path(), "token_folder" if self._folder else "DLT_DATA_DIR")
            try:
                self._login = self._find_shared(cache, rejected) or self._replace(cache, rejected)
            except LoginRefused as refusal:
                self._refusal = refusal
                raise
            return str(self._login.access_token)

    def _find_shared(self, cache: TokenCache, rejected: str | None) -> Login | None:
        # VBC may revoke a token when it issues the next one: look whether another process has done it
        shared = self._read(cache)
        usable = shared.access_token not in (None, rejected) and shared.expires_at > self._clock()
        return shared if usable else None

    def _replace(self, cache: TokenCache, rejected: str | None) -> Login:
        # each renewal may revoke the token of another program, so that two could renew for ever
        if self._unaccepted >= RENEWALS:
            raise _reject(
                f"the VBC gateway rejected {RENEWALS} new access tokens in a row: see which other programs "
                "log in with the same user, and whether the application is subscribed to this API"
            )
        # rejected before its time: somebody has revoked it, or the gateway has lost it. A token that has
        # merely expired says nothing about other processes
        lost = bool(rejected) and self._login.expires_at > self._clock()
        waited = self._take_turn(cache, rejected, alone=lost)
        revoked = lost and not waited and self._clock() - self._alive_at < RECENT
        # our last renewal was never accepted: another process may renew as well
        if revoked and self._unaccepted:
            self._pause(self._doubt)
        with cache.lock(self._lock_seconds):
            # once more, with the lock: of all processes that lost the token one logs in, and
            # the others find its token
            if shared := self._find_shared(cache, rejected):
                return shared
            login, was_refused = self._refresh_shared(cache)
        if not login:
            # wait without the lock, so that other processes of this machine can log in meanwhile
            if revoked:
                self._pause(self._patience if was_refused else self._doubt)
            with cache.lock(self._lock_seconds):
                # another process may have logged in while this one waited without the lock
                if shared := self._find_shared(cache, rejected):
                    return shared
                login = self._save(cache, self._log_in(cache, self._read_unrefused(cache)))
        # a first login is no renewal: no token of this process was rejected before
        self._unaccepted += rejected is not None
        self._alive_at = self._clock()
        return login

    def _take_turn(self, cache: TokenCache, rejected: str | None, *, alone: bool) -> bool:
        """Wait for a turn; returns whether it waited, and has the turn now or found another one's token."""
        if not self.turns or self.turns.is_held(alone=alone):
            return False
        until = self._clock() + LONGEST_TURN
        while self.turns.hold(cache.path.stem, alone=alone):
            if self._find_shared(cache, rejected):
                return True
            if self._clock() > until:
                log.warning(
                    "others have used this login for %.0f min; not waiting any more", LONGEST_TURN / 60
                )
                return False
            self._sleep(0)  # raises once the client is closed
        return self.turns.is_held(alone=alone)

    def _pause(self, patience: Patience) -> None:
        seconds = patience.draw()
        log.warning("the access token was revoked, perhaps by another login; renewing it in %.1f s", seconds)
        self._sleep(seconds)

    def _refresh_shared(self, cache: TokenCache) -> tuple[Login | None, bool]:
        """Use the refresh token; returns the login, or None, and whether the token was refused."""
        shared = self._read_unrefused(cache)
        # a refresh token works once, so the cached successor of a configured one comes first
        refresh_token = shared.refresh_token or self._credentials.refresh_token
        if not refresh_token:
            return None, False
        if login := self._refresh(cache, shared, refresh_token):
            return self._save(cache, login), False
        if shared.refresh_token:
            cache.write(replace(shared, refresh_token=None))  # it was used up: no process should try it again
        return None, True

    def _read_unrefused(self, cache: TokenCache) -> Login:
        """Read the file; raises LoginRefused if these credentials were refused before."""
        shared = self._read(cache)
        self._check_refusals(shared)
        return shared

    def _read(self, cache: TokenCache) -> Login:
        """Read the file, without tokens of other credentials: a mistyped password must not go unnoticed."""
        shared = cache.read()
        if shared.fingerprint in ("", self._credentials.fingerprint()):
            return shared
        return Login(refusals=shared.refusals)

    def _save(self, cache: TokenCache, login: Login) -> Login:
        # refusals are read again and kept: other credentials of this user have theirs in the same file
        own = self._credentials.fingerprint()
        login = replace(login, refusals=cache.read().refusals, fingerprint=own)
        cache.write(login)
        return login

    def _check_credentials(self) -> None:
        missing = ", ".join(self._credentials.missing())
        if missing and self._credentials.access_token:
            raise _reject(
                f"the access_token in {SECTION} is no longer valid; set a new one, or set "
                f"{missing} too, so that it can be renewed"
            )
        if missing:
            raise SettingsError(f"credentials are missing: set {missing} in {SECTION}")

    def _check_refusals(self, shared: Login) -> None:
        # a permanent refusal concerns these credentials alone; a lock concerns all credentials of the user
        own, now = shared.refusals.get(self._credentials.fingerprint()), self._clock()
        refusals = [own] if own and own.retry_at is None else []
        refusals += [refusal for refusal in shared.refusals.values() if (refusal.retry_at or 0) > now]
        if refusals:
            raise LoginRefused(
                f"{refusals[0].reason} (refused at an earlier attempt; not sent again with the same "
                f"credentials. If they have become valid since, remove {self._path()})"
            )

    def _refresh(self, cache: TokenCache, shared: Login, refresh_token: str) -> Login | None:
        """Use a refresh token; None if it was used before, has expired or was revoked."""
        status, body = self._post(self._form("refresh_token", refresh_token=refresh_token))
        if status == 200 and (issued := read_issued_token(body)):
            return self._keep(issued, refresh_token)
        if read_error(body) == "invalid_grant" and not is_user_locked(body):
            return None
        raise self._refused(cache, shared, explain_failure(status, body))

    def _log_in(self, cache: TokenCache, shared: Login) -> Login:
        credentials = self._credentials
        if not (credentials.username and credentials.password):
            reason = (
                f"VBC refused the refresh_token in {SECTION}; it is valid for 7 days and can be used once: "
                "set a new one"
            )
            raise self._refused(cache, shared, LoginFailure(reason, is_verdict=True))
        form = self._form(
            "password",
            username=credentials.full_username(),
            password=credentials.password,
            scope="openid",  # some APIs refuse a token without this scope
        )
        status, body = self._post(form)
        if status == 200 and (issued := read_issued_token(body)):
            return self._keep(issued, None)
        raise self._refused(cache, shared, explain_failure(status, body))

    def _refused(self, cache: TokenCache, shared: Login, failure: LoginFailure) -> LoginRefused:
        """Return the error of a failed login; if it is about the credentials, keep it for later runs."""
        if failure.is_verdict:
            seconds = failure.retry_after
            refusal = RefusedLogin(failure.reason, None if seconds is None else self._clock() + seconds)
            # the file as it is, with tokens that other credentials of this user have got
            refusals = {**shared.refusals, self._credentials.fingerprint(): refusal}
            cache.write(replace(cache.read(), refusals=refusals))
        return LoginRefused(failure.reason)

    def _form(self, grant: str, **fields: str) -> dict[str, str]:
        id_, secret = self._credentials.client_id or "", self._credentials.client_secret or ""
        return {"grant_type": grant, **fields, "client_id": id_, "client_secret": secret}

    def _keep(self, issued: IssuedToken, refresh_token: str | None) -> Login:
        # renewed a little early, so that it does not expire while a request is on its way
        expires_at = self._clock() + issued.lifetime - min(60.0, issued.lifetime / 10)
        return Login(issued.access_token, issued.refresh_token or refresh_token, expires_at)

    def _path(self) -> Path:
        folder = self._folder or Path(dlt.current.run_context().data_dir) / "vbc_tokens"
        credentials = self._credentials
        # no password in it: after a change of the password, a lock of the user must still be found
        identity = [self._base_url, credentials.client_id, credentials.full_username()]
        # without a user, the refresh token of the settings alone tells one login from another
        if not credentials.username:
            identity.append(credentials.refresh_token)
        return folder / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]}.json"


def _read_configured(credentials: VbcCredentials) -> str | None:
    if not credentials.access_token:
        return None
    if token := read_token(credentials.access_token):
        return token
    raise SettingsError(
        f"the access_token in {SECTION} contains a space, a line break or a letter beyond ASCII: set it as "
        "one line"
    )


def _reject(text: str) -> TokenRejected:
    rejected = TokenRejected(401)
    rejected.args = (text,)
    return rejected
