"""Token endpoint: logins, token renewal, and the check of tokens."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

TENANT = "@vbc.prod"
# The vendor documents seven days. The lock is known from public clients only.
REFRESH_TOKEN_SECONDS = 7 * 86_400
LOCK_SECONDS = 30 * 60
ALLOWED_FAILURES = 3

_UNKNOWN_REFRESH = "Persisted access token data not found"


@dataclass(frozen=True, slots=True)
class AcceptedCredentials:
    """Credentials of the only application and user that can log in.

    Attributes:
        client_id: Id of the application.
        client_secret: Secret of the application.
        username: Name of the user, with or without the tenant; a login requires the tenant.
        password: Password of the user.
    """

    client_id: str
    client_secret: str
    username: str
    password: str

    @property
    def full_name(self) -> str:
        """Name of the user with the tenant."""
        return self.username.removesuffix(TENANT) + TENANT


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """Response to a token request: a status and a JSON body."""

    status: int
    body: dict[str, Any]


def _refuse(error: str, description: str, status: int = 400) -> TokenResponse:
    return TokenResponse(status, {"error_description": description, "error": error})


def _read_client(form: Mapping[str, str], authorization: str | None) -> tuple[str, str]:
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        name, _, secret = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


class Tokens:
    """Issued tokens and failed logins. Thread-safe.

    Attributes:
        logins: Number of password grants, accepted or refused.
    """

    def __init__(
        self,
        credentials: AcceptedCredentials,
        expires_in: int,
        clock: Callable[[], float],
        lock: AbstractContextManager[Any],
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Start without tokens.

        Args:
            credentials: The only accepted credentials.
            expires_in: Lifetime of access tokens in seconds.
            clock: Returns epoch seconds.
            lock: Reentrant lock, held while tokens are read or changed.
            new_token: Generates a token.
        """
        self.logins = 0
        self._credentials = credentials
        self._expires_in = expires_in
        self._clock = clock
        self._lock = lock
        self._new_token = new_token
        self._access: dict[str, float] = {}
        self._refresh: dict[str, tuple[float, str]] = {}
        self._failures = 0
        self._last_attempt = float("-inf")

    @property
    def locked(self) -> bool:
        """Whether the user is locked out."""
        with self._lock:
            self._unlock_if_due()
            return self._failures >= ALLOWED_FAILURES

    def revoke_all(self) -> None:
        """Revoke every access and refresh token."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def expire_all(self) -> None:
        """Let every access token expire now; refresh tokens stay valid."""
        with self._lock:
            self._access = dict.fromkeys(self._access, float("-inf"))

    def check(self, authorization: str | None) -> str | None:
        """Check an Authorization header.

        Returns:
            Name of the fault to respond with, or None if the token is valid.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return "token-missing"
        with self._lock:
            # an expired token stays known, as the gateway has a code of its own for it
            expires = self._access.get(token)
            if expires is None:
                return "token-invalid"
            return "token-expired" if expires <= self._clock() else None

    def grant(
        self, form: Mapping[str, str], authorization: str | None, *, keep_old: bool = False
    ) -> TokenResponse:
        """Answer a token request.

        Args:
            form: Decoded form.
            authorization: Authorization header, for clients that use Basic.
            keep_old: Do not revoke the tokens issued before.
        """
        credentials = self._credentials
        with self._lock:
            kind = form.get("grant_type")
            self.logins += kind == "password"
            # the application first: a wrong secret is no attempt of the user, and brings the lock no nearer
            if _read_client(form, authorization) != (credentials.client_id, credentials.client_secret):
                return _refuse("invalid_client", "A valid OAuth client could not be found for client_id", 401)
            if kind == "password":
                return self._log_in(form, keep_old)
            if kind == "refresh_token":
                return self._renew(form, keep_old)
            return _refuse("unsupported_grant_type", "Unsupported grant_type value")

    def _log_in(self, form: Mapping[str, str], keep_old: bool) -> TokenResponse:
        username = form.get("username", "")
        # only the user that there is can be locked
        if username != self._credentials.full_name:
            return _refuse("invalid_grant", f"Authentication failed for {username}")
        locked = self.locked
        # The lock lasts from the last attempt, so every attempt prolongs it.
        self._last_attempt = self._clock()
        if locked:
            return _refuse(
                "invalid_grant", f"17003 Account is locked for user {username} in user store PRIMARY"
            )
        if form.get("password") != self._credentials.password:
            self._failures += 1
            return _refuse("invalid_grant", f"Authentication failed for {username}")
        self._failures = 0
        # without `scope=openid` a login succeeds, with a token that some APIs refuse
        return self._issue(form.get("scope") or "default", keep_old)

    def _renew(self, form: Mapping[str, str], keep_old: bool) -> TokenResponse:
        # Removed even if the renewal fails: a refresh token works once.
        expires, scope = self._refresh.pop(form.get("refresh_token", ""), (float("-inf"), ""))
        if expires <= self._clock():
            return _refuse("invalid_grant", _UNKNOWN_REFRESH)
        return self._issue(scope, keep_old)

    def _issue(self, scope: str, keep_old: bool) -> TokenResponse:
        # Whether a new token revokes the previous one is not documented, so a fault chooses.
        if not keep_old:
            self.revoke_all()
        access, refresh = self._new_token(), self._new_token()
        now = self._clock()
        self._access[access] = now + self._expires_in
        self._refresh[refresh] = (now + REFRESH_TOKEN_SECONDS, scope)
        body: dict[str, Any] = {"access_token": access, "refresh_token": refresh, "scope": scope}
        if "openid" in scope.split():
            body["id_token"] = f"{self._new_token()}.{self._new_token()}.{self._new_token()}"
        return TokenResponse(200, {**body, "token_type": "Bearer", "expires_in": self._expires_in})

    def _unlock_if_due(self) -> None:
        if self._clock() >= self._last_attempt + LOCK_SECONDS:
            self._failures = 0
