"""The errors of this package. Other modules subclass VbcError for failures that only they can have.

The client retries Unavailable and Throttled, and renews the token on TokenRejected. NotFound,
ForeignAddress and InvalidContent concern one list or file, which is skipped; the others end the command.
"""

from __future__ import annotations

from vbc_source.printable import escape_controls


class VbcError(Exception):
    """The base class of all errors of this package; catch it to catch all of them.

    Attributes:
        permanent: Whether another attempt fails too, until a setting or a right is changed.
    """

    permanent = False

    def __str__(self) -> str:
        """Return the message as one line: it may name what callers and users chose."""
        return escape_controls(super().__str__())


class SettingsError(VbcError):
    """Raised when a setting is missing or malformed; the message names the setting."""

    permanent = True


class ExtraMissing(SettingsError):
    """Raised when packages of an extra are not installed; the message names the extra."""

    def __init__(self, missing: str, extra: str) -> None:
        super().__init__(f"{missing}: install the extra `{extra}` (pip install '.[{extra}]' in a checkout)")


class UsageError(VbcError):
    """Raised when an argument of a command is wrong; the exit status is 2."""

    permanent = True


class LoginRefused(VbcError):
    """Raised when the gateway refuses the credentials; never retried, which could lock the user."""

    permanent = True


class ForeignAddress(VbcError):
    """Raised when a link of the gateway points to another host, which must not get the token."""


class InvalidContent(VbcError):
    """Raised when downloaded bytes are not the recording that they should be."""


class GatewayFault(VbcError):
    """Raised when the gateway answers with a fault that no subclass describes.

    Attributes:
        status: HTTP status; 0 where there was no response.
        code: The gateway's own code, such as 900804, or None.
        retry_after: Seconds until the gateway allows requests again; None where it gives no time.
    """

    meaning = "the gateway answered with a fault"

    def __init__(
        self, status: int, code: int | None = None, hint: str = "", retry_after: float | None = None
    ) -> None:
        self.status, self.code, self.retry_after = status, code, retry_after
        details = [f"HTTP {status}" if status else "", f"code {code}" if code else "", hint]
        text = ", ".join(filter(None, details))
        super().__init__(f"{self.meaning} ({text})" if text else self.meaning)


class Unavailable(GatewayFault):
    """Raised when the gateway or the back end behind it is down, suspended, slow or unreachable."""

    meaning = "the VBC gateway did not answer properly"


class InvalidResponse(Unavailable):
    """Raised when the status is a success, but the body is empty, cut off, HTML or a fault."""

    meaning = "the VBC gateway returned something that is not the data asked for"


class Throttled(GatewayFault):
    """Raised when a request quota is used up; every thread has to wait."""

    meaning = "the VBC gateway throttles this application"


class TokenRejected(GatewayFault):
    """Raised when the access token is invalid, expired or revoked."""

    meaning = "the VBC gateway rejected the access token"


class ResourceRejected(TokenRejected):
    """Raised when a resource rejects access tokens that the gateway accepts for others."""

    meaning = "the VBC gateway rejects, for this alone, access tokens that it accepts elsewhere"


class NotFound(GatewayFault):
    """Raised when the resource does not exist, or no longer."""

    meaning = "the VBC gateway has no such resource"


class BadRequest(GatewayFault):
    """Raised when the gateway refuses a parameter."""

    meaning = "the VBC gateway refused the request"


class OutcomeUnknown(GatewayFault):
    """Raised when an action may have been started, so that a retry could start it twice."""

    meaning = "the VBC gateway did not confirm whether it started the requested action"


class Forbidden(GatewayFault):
    """Raised when the API user or the token lacks a right."""

    permanent = True
    meaning = (
        "the API user is not authorized for this; give the user the right in the VBC admin portal "
        "(an account administrator sees the company's recordings), or use another user"
    )


class NotSubscribed(Forbidden):
    """Raised when the application is not subscribed to the API."""

    meaning = "the application is not subscribed to this API; subscribe it in the developer portal"
