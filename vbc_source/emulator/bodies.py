"""What the gateway answers when it will not or cannot do what was asked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from vbc_source.emulator.faults import Fault
from vbc_source.emulator.times import format_access_time, format_http_date

NO_RIGHTS = "User is not authorized to search CCR recordings for this account"
ELSEWHERE = "http://127.0.0.2:9/storage/elsewhere"

_PAGE = "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_NAMESPACES = {
    "am": "http://wso2.org/apimanager",
    "ams": "http://wso2.org/apimanager/security",
    "amt": "http://wso2.org/apimanager/throttling",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """A fault body in words.

    Attributes:
        status: Of the answer.
        code: The gateway's code.
        message: Short.
        description: Long.
        prefix: Of the XML namespace.
    """

    status: int
    code: int
    message: str
    description: str
    prefix: str = "am"


_THROTTLED = Complaint(429, 900804, "Message throttled out", "You have exceeded your quota", "amt")
_COMPLAINTS = {
    "throttled": _THROTTLED,
    "throttled-header-only": _THROTTLED,
    "throttled-body": _THROTTLED,
    "throttled-description": _THROTTLED,
    "throttled-silent": _THROTTLED,
    "quota": Complaint(429, 900803, "Message throttled out", "You have exceeded your quota", "amt"),
    "hard-limit": Complaint(503, 900801, "API Limit Reached", "Hard limit exceeded", "amt"),
    "token-invalid": Complaint(
        401, 900901, "Invalid Credentials", "Make sure you have given the correct access token", "ams"
    ),
    "token-missing": Complaint(
        401, 900902, "Missing Credentials", "Required OAuth credentials not provided", "ams"
    ),
    "token-expired": Complaint(
        401, 900904, "Access Token Inactive", "Generate a new access token and try again", "ams"
    ),
    "unsubscribed": Complaint(
        403, 900908, "Resource forbidden ",
        "User is NOT authorized to access the Resource. API Subscription validation failed.", "ams",
    ),
    "scope": Complaint(
        403, 900910, "The access token does not allow you to access the requested resource",
        "User is NOT authorized to access the Resource. Scope validation failed.", "ams",
    ),
    "suspended": Complaint(503, 303001, "Runtime Error", "Currently , Address endpoint is suspended"),
    "refused": Complaint(500, 101503, "Runtime Error", "Error connecting to the back end"),
    "backend-timeout": Complaint(504, 101504, "Runtime Error", "Send timeout"),
    "down": Complaint(503, 303001, "Runtime Error", "Currently , Address endpoint is suspended"),
    "login-down": Complaint(503, 101503, "Runtime Error", "Error connecting to the back end"),
    "fault-200": Complaint(200, 101504, "Runtime Error", "Send timeout"),
    "audio-fault-200": Complaint(200, 101504, "Runtime Error", "Send timeout"),
}  # fmt: skip
# Which of the three places tell when requests are allowed again.
_TIMED = {
    "throttled": ("header", "body"),
    "throttled-header-only": ("header",),
    "throttled-body": ("body",),
    "throttled-description": ("description",),
    "hard-limit": ("header", "body"),
    "quota": ("header", "body"),
}
_PLAIN: dict[str, tuple[type[Response], int, str]] = {
    "no-rights": (PlainTextResponse, 403, NO_RIGHTS),
    "audio-forbidden": (PlainTextResponse, 403, NO_RIGHTS),
    "audio-missing": (PlainTextResponse, 404, "Not Found"),
    "audio-html": (HTMLResponse, 200, _PAGE.format("Please log in")),
    "bad-gateway": (HTMLResponse, 502, _PAGE.format("502 Bad Gateway")),
    "not-found": (PlainTextResponse, 404, "Not Found"),
    "empty-body": (Response, 200, ""),
    "html": (HTMLResponse, 200, _PAGE.format("Please log in")),
    "login-html": (HTMLResponse, 200, _PAGE.format("Please log in")),
    "not-json": (PlainTextResponse, 200, "The service is starting, come back later."),
}


def answer_bad_request(message: str) -> Response:
    """Refuse parameters."""
    return JSONResponse({"status": 400, "message": message}, 400)


def answer_fault(fault: Fault, now: float, allowed_at: float | None = None) -> Response:
    """Answer with a fault.

    Args:
        fault: Which one, and in which form.
        now: Epoch seconds.
        allowed_at: When requests are allowed again; 1 to 2 seconds ahead when not given.
    """
    if fault.name == "redirect":
        return RedirectResponse(ELSEWHERE, 302)
    if fault.name in _PLAIN:
        kind, status, text = _PLAIN[fault.name]
        return kind(text, status)
    again = math.ceil(now) + 1 if allowed_at is None else math.ceil(allowed_at)
    return _write(_COMPLAINTS[fault.name], fault.form, again, _TIMED.get(fault.name, ()))


def _write(complaint: Complaint, form: str, again: int, places: tuple[str, ...]) -> Response:
    description = complaint.description
    if "description" in places:
        description += f" .You can access API after {format_access_time(again)}"
    parts = {"message": complaint.message, "description": description}
    if "body" in places:
        parts["nextAccessTime"] = format_access_time(again)
    headers = {"retry-after": format_http_date(again)} if "header" in places else {}
    if complaint.status == 401:
        headers["www-authenticate"] = 'OAuth2 realm="WSO2 API Manager"'
    if form == "xml":
        return Response(
            _write_xml(complaint, parts), complaint.status, headers, "application/xml; charset=UTF-8"
        )
    if form == "flat":
        body = json.dumps({"code": str(complaint.code), **parts})
    else:
        body = json.dumps({"fault": {"code": complaint.code, **parts}})
    return Response(body, complaint.status, headers, "application/json; charset=UTF-8")


def _write_xml(complaint: Complaint, parts: dict[str, str]) -> str:
    prefix = complaint.prefix
    inner = "".join(
        f"<{prefix}:{name}>{escape(text)}</{prefix}:{name}>"
        for name, text in {"code": str(complaint.code), **parts}.items()
    )
    return f'<{prefix}:fault xmlns:{prefix}="{_NAMESPACES[prefix]}">{inner}</{prefix}:fault>'
