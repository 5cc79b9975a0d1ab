"""Reading the responses of /token: a token, a refusal, or something that judges no credentials. Pure.

Errors have the form of RFC 6749, section 5.2: a JSON object with `error` and `error_description`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from vbc_source.config import CREDENTIALS_SECTION as SECTION

LOCKED_SECONDS = 31 * 60  # VBC locks a user for about 30 minutes, counted from the last attempt
LIFETIME = 3600.0  # seconds that a token lives whose lifetime is missing or impossible
TEMPORARY = ("server_error", "temporarily_unavailable")

_TOKEN = re.compile(r"[\x21-\x7e]+")
# 17003 is WSO2's code of a locked account; the word must not be part of "blocked" or "unlocked"
_LOCKED = re.compile(r"(?<!\d)17003(?!\d)|(?<!b)(?<!c)(?<!un)locked")
_APPLICATION = ("invalid_client", "unauthorized_client")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as /token gave it; `lifetime` in seconds."""

    access_token: str
    refresh_token: str | None
    lifetime: float


@dataclass(frozen=True, slots=True)
class LoginFailure:
    """Why a login failed.

    Attributes:
        reason: For the user.
        is_verdict: Whether it judges the credentials, so that they must not be sent again.
        retry_after: Seconds until they may be sent again after all; None for never.
    """

    reason: str
    is_verdict: bool = False
    retry_after: float | None = None


def read_token(text: str | None) -> str | None:
    """Return a token that a header can carry; None if it is missing, empty or contains anything else."""
    token = text.strip() if isinstance(text, str) else ""
    return token if _TOKEN.fullmatch(token) else None


def read_issued_token(body: bytes) -> IssuedToken | None:
    """Parse a response with status 200; None if there is no usable token in it."""
    fields = _read_fields(body)
    token = read_token(fields.get("access_token"))
    if token is None:
        return None
    return IssuedToken(
        token, read_token(fields.get("refresh_token")), _read_lifetime(fields.get("expires_in"))
    )


def _read_lifetime(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return LIFETIME
    # `true` is 1.0 to Python, and json reads NaN and Infinity
    return seconds if math.isfinite(seconds) and seconds > 0 and value is not True else LIFETIME


def read_error(body: bytes) -> str:
    """Return the `error` of a response; empty if it has none."""
    error = _read_fields(body).get("error")
    return error.strip().lower() if isinstance(error, str) else ""


def is_user_locked(body: bytes) -> bool:
    """Return whether a response says that the user is locked; a page of HTML, of whatever proxy, does not."""
    return not body.lstrip().startswith(b"<") and bool(
        _LOCKED.search(body.decode("utf-8", "replace").lower())
    )


def explain_failure(status: int, body: bytes) -> LoginFailure:
    """Return why a login failed, and whether that judges the credentials."""
    error = read_error(body)
    # before `invalid_grant`, which the same response may have as well: a lock passes, and
    # must not be kept for good
    if is_user_locked(body):
        return LoginFailure(
            f"VBC has locked the user in {SECTION} after failed logins; wait 30 minutes without any "
            "attempt, or have an administrator unlock the user",
            is_verdict=True,
            retry_after=LOCKED_SECONDS,
        )
    if error == "invalid_grant":
        return LoginFailure(
            f"VBC refused the login (HTTP {status}): check username and password in {SECTION}. It was tried "
            "once and is not retried, because a few failed logins lock the user for about 30 minutes; to "
            "unlock a user, wait that long or ask an administrator. Single sign-on users cannot log in with "
            "a password",
            is_verdict=True,
        )
    if error in _APPLICATION:
        # no verdict: it does not lock the user, and is what a restarting database of the gateway answers too
        return LoginFailure(f"VBC refused the application: check client_id and client_secret in {SECTION}")
    if status == 200:
        return LoginFailure("VBC answered the login without an access token")
    return LoginFailure(
        f"the login was answered with HTTP {status}, by something that did not check the credentials. It "
        "is not repeated now; the next run tries again. If this lasts, check base_url in [sources.vbc], a "
        f"proxy or filter before it (HTTPS_PROXY), and {SECTION}"
    )


def _read_fields(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
