"""The errors of this package.

VbcError                     whatever this package raises on purpose
├── SettingsError            stop: a setting is missing or malformed; the message names it
├── LoginRefused             stop: the credentials were refused; never tried again
├── ScanFailed               stop: a window could not be proven complete
├── ForeignAddress           skip: a link leads to another host, which must not see the token
├── NotStored                skip: bytes that came are not the recording they should be
└── GatewayFault             the gateway answered with a fault, or not at all
    ├── Unavailable          retry: back end down, suspended or slow; connection broken
    │   └── BrokenAnswer     retry: status 200, but the body is not what was asked for
    ├── Throttled            wait, all threads, then repeat
    ├── TokenRejected        renew the token once, then repeat
    ├── NotFound             skip: no such resource, or it is gone
    ├── BadRequest           stop: a parameter was refused
    ├── Uncertain            stop: no answer, and asking again could do it twice
    └── Forbidden            stop: the API user lacks a right
        └── NotSubscribed    stop: the application lacks a subscription
"""

from __future__ import annotations


class VbcError(Exception):
    """Whatever this package raises on purpose."""


class SettingsError(VbcError):
    """A setting is missing or malformed."""


class LoginRefused(VbcError):
    """The gateway refused the credentials; asking again could lock the user."""


class IncompleteWindow(VbcError):
    """A window of recordings kept changing, or never added up, while it was read."""


class ForeignAddress(VbcError):
    """A link of the gateway leads to another host, which must not see the token."""


class InvalidContent(VbcError):
    """The bytes that came are not the recording they should be."""


class GatewayFault(VbcError):
    """The gateway answered with a fault.

    Attributes:
        status: HTTP status, 0 where there was no answer.
        code: the gateway's own code, such as 900804, or None.
        retry_after: seconds until the gateway allows requests again, or None where it did not say.
    """

    meaning = "the gateway answered with a fault"

    def __init__(
        self, status: int, code: int | None = None, hint: str = "", retry_after: float | None = None
    ) -> None:
        self.status, self.code, self.retry_after = status, code, retry_after
        told = ", ".join(
            part
            for part in (f"HTTP {status}" if status else "", f"code {code}" if code else "", hint)
            if part
        )
        super().__init__(f"{self.meaning} ({told})" if told else self.meaning)


class Unavailable(GatewayFault):
    """The gateway or the back end behind it is down, suspended, slow or unreachable."""

    meaning = "the VBC gateway did not answer properly"


class InvalidResponse(Unavailable):
    """The status said success, but the body is empty, cut off, HTML or a fault."""

    meaning = "the VBC gateway answered with something that is not the data asked for"


class Throttled(GatewayFault):
    """A quota is used up; every thread has to wait."""

    meaning = "the VBC gateway throttles this application"


class TokenRejected(GatewayFault):
    """The access token is invalid, expired or was revoked."""

    meaning = "the VBC gateway rejects the access token"


class NotFound(GatewayFault):
    """No such resource, or it is gone."""

    meaning = "the VBC gateway knows no such resource"


class BadRequest(GatewayFault):
    """A parameter was refused."""

    meaning = "the VBC gateway refuses the request"


class OutcomeUnknown(GatewayFault):
    """What was asked for may have been begun; asking again could begin it twice."""

    meaning = "the VBC gateway did not say whether it has begun what it was asked for"


class Forbidden(GatewayFault):
    """The API user or the token lacks a right."""

    meaning = (
        "the API user is not authorized for this; give the user the right in the VBC admin portal "
        "(an account administrator sees the company's recordings), or use another user"
    )


class NotSubscribed(Forbidden):
    """The application is not subscribed to the API."""

    meaning = "the application is not subscribed to this API; subscribe it in the developer portal"


class UsageError(VbcError):
    """An argument of a command is wrong; the exit status is 2."""
