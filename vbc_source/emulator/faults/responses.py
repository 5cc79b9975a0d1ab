"""Responses that the gateway sends for a fault."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from vbc_source.emulator.data.dates import format_access_time, format_http_date
from vbc_source.emulator.faults.active import Fault

NO_RIGHTS = "User is not authorized to search CCR recordings for this account"
# Nothing listens there: a client that follows the redirect fails, and no token leaves the machine.
OTHER_HOST = "http://127.0.0.2:9/storage/elsewhere"

_HTML = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_NAMESPACES = {
    "am": "http://wso2.org/apimanager",
    "ams": "http://wso2.org/apimanager/security",
    "amt": "http://wso2.org/apimanager/throttling",
}


@dataclass(frozen=True, slots=True)
class FaultBody:
    """Content of a gateway fault.

    Attributes:
        status: Status of the response.
        code: Code of the gateway.
        message: Short text.
        description: Long text.
        prefix: Prefix of the XML namespace.
    """

    status: int
    code: int
    message: str
    description: str
    prefix: str = "am"


_THROTTLED = FaultBody(429, 900804, "Message throttled out", "You have exceeded your quota", "amt")
_SUSPENDED = FaultBody(503, 303001, "Runtime Error", "Currently , Address endpoint is suspended")
_TIMED_OUT = FaultBody(200, 101504, "Runtime Error", "Send timeout")
_BODIES = {
    "throttled": _THROTTLED,
    "throttled-header-only": _THROTTLED,
    "throttled-body": _THROTTLED,
    "throttled-description": _THROTTLED,
    "throttled-silent": _THROTTLED,
    "quota": FaultBody(429, 900803, "Message throttled out", "You have exceeded your quota", "amt"),
    "hard-limit": FaultBody(503, 900801, "API Limit Reached", "Hard limit exceeded", "amt"),
    "token-invalid": FaultBody(
        401, 900901, "Invalid Credentials", "Make sure you have given the correct access token", "ams"
    ),
    "token-missing": FaultBody(
        401, 900902, "Missing Credentials", "Required OAuth credentials not provided", "ams"
    ),
    "token-expired": FaultBody(
        401, 900904, "Access Token Inactive", "Generate a new access token and try again", "ams"
    ),
    "unsubscribed": FaultBody(
        403, 900908, "Resource forbidden ",
        "User is NOT authorized to access the Resource. API Subscription validation failed.", "ams",
    ),
    "scope": FaultBody(
        403, 900910, "The access token does not allow you to access the requested resource",
        "User is NOT authorized to access the Resource. Scope validation failed.", "ams",
    ),
    "suspended": _SUSPENDED,
    "refused": FaultBody(500, 101503, "Runtime Error", "Error connecting to the back end"),
    "backend-timeout": FaultBody(504, 101504, "Runtime Error", "Send timeout"),
    "no-resource": FaultBody(404, 404, "Not Found", "The requested resource is not available."),
    "down": _SUSPENDED,
    "login-down": FaultBody(503, 101503, "Runtime Error", "Error connecting to the back end"),
    "fault-200": _TIMED_OUT,
    "rejected-200": FaultBody(200, 900901, "Invalid Credentials", "Access failure for API", "ams"),
    "audio-fault-200": _TIMED_OUT,
}  # fmt: skip
# Where a fault states when requests are allowed again.
_TIME_PLACES = {
    "throttled": ("header", "body"),
    "throttled-header-only": ("header",),
    "throttled-body": ("body",),
    "throttled-description": ("description",),
    "hard-limit": ("header", "body"),
    "quota": ("header", "body"),
}
# Responses that are not gateway faults: class, status and text.
_OTHER_RESPONSES: dict[str, tuple[type[Response], int, str]] = {
    "no-rights": (PlainTextResponse, 403, NO_RIGHTS),
    "audio-forbidden": (PlainTextResponse, 403, NO_RIGHTS),
    "audio-missing": (PlainTextResponse, 404, "Not Found"),
    "audio-html": (HTMLResponse, 200, _HTML.format("Please log in")),
    "bad-gateway": (HTMLResponse, 502, _HTML.format("502 Bad Gateway")),
    "not-found": (PlainTextResponse, 404, "Not Found"),
    "bad-request": (PlainTextResponse, 400, "Bad Request"),
    "empty-body": (Response, 200, ""),
    "html": (HTMLResponse, 200, _HTML.format("Please log in")),
    "login-html": (HTMLResponse, 200, _HTML.format("Please log in")),
    "not-json": (PlainTextResponse, 200, "The service is starting, come back later."),
}


def answer_bad_request(message: str) -> Response:
    """Return a 400 response."""
    return JSONResponse({"status": 400, "message": message}, 400)


def answer_fault(fault: Fault, now: float, allowed_at: float | None = None) -> Response:
    """Return the response of a fault.

    Args:
        fault: Fault, with the format of its body.
        now: Epoch seconds.
        allowed_at: Epoch seconds when requests are allowed again; 1 to 2 seconds from now by default.
    """
    if fault.name == "redirect":
        return RedirectResponse(OTHER_HOST, 302)
    if fault.name in _OTHER_RESPONSES:
        response_class, status, text = _OTHER_RESPONSES[fault.name]
        return response_class(text, status)
    # Both formats of the time have whole seconds; rounding down would allow requests too early.
    retry_at = math.ceil(now) + 1 if allowed_at is None else math.ceil(allowed_at)
    return _build(_BODIES[fault.name], fault.format, retry_at, _TIME_PLACES.get(fault.name, ()))


def _build(body: FaultBody, form: str, retry_at: int, time_places: tuple[str, ...]) -> Response:
    description = body.description
    if "description" in time_places:
        # as the gateway writes it, with the blank before the stop
        description += f" .You can access API after {format_access_time(retry_at)}"
    parts = {"message": body.message, "description": description}
    if "body" in time_places:
        parts["nextAccessTime"] = format_access_time(retry_at)
    headers = {"retry-after": format_http_date(retry_at)} if "header" in time_places else {}
    # RFC 9110, section 11.6.1: a 401 names a scheme
    if body.status == 401:
        headers["www-authenticate"] = 'OAuth2 realm="WSO2 API Manager"'
    if form == "xml":
        return Response(_to_xml(body, parts), body.status, headers, "application/xml; charset=UTF-8")
    # The code is text in the flat format and a number in the wrapped one.
    if form == "flat":
        text = json.dumps({"code": str(body.code), **parts})
    else:
        text = json.dumps({"fault": {"code": body.code, **parts}})
    return Response(text, body.status, headers, "application/json; charset=UTF-8")


def _to_xml(body: FaultBody, parts: dict[str, str]) -> str:
    prefix = body.prefix
    elements = "".join(
        f"<{prefix}:{name}>{escape(text)}</{prefix}:{name}>"
        for name, text in {"code": str(body.code), **parts}.items()
    )
    return f'<{prefix}:fault xmlns:{prefix}="{_NAMESPACES[prefix]}">{elements}</{prefix}:fault>'
