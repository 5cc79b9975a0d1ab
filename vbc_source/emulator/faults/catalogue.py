"""Every fault that can be switched on, with a description."""

from __future__ import annotations

ERROR_RESPONSES = {
    "throttled": "429, 900804, allowed again in 1-2 s: Retry-After and nextAccessTime",
    "throttled-header-only": "429, 900804, with Retry-After only",
    "throttled-body": "429, 900804, with nextAccessTime only",
    "throttled-description": "429, 900804, with the time at the end of the description only",
    "throttled-silent": "429, 900804, without any time",
    "hard-limit": "503, 900801, allowed again in 1-2 s",
    "token-invalid": "401, 900901",
    "token-missing": "401, 900902",
    "token-expired": "401, 900904",
    "unsubscribed": "403, 900908: the application is not subscribed to the API",
    "scope": "403, 900910: the token's scope is not allowed",
    "no-rights": "403 without a code: the user may not search recordings",
    "suspended": "503, 303001: the back end is suspended",
    "refused": "500, 101503: the back end refused the connection",
    "backend-timeout": "504, 101504: the back end timed out",
    "bad-gateway": "502 with an HTML page",
    "not-found": "404",
    "no-resource": "404 with a code: the gateway, not the API, knows no such path",
    "empty-body": "200 without a body",
    "html": "200 with an HTML page",
    "not-json": "200 with plain text",
    "fault-200": "200 with a fault as its body",
    "rejected-200": "200, 900901: the resource rejects a token that others accept",
    "bad-request": "400",
    "redirect": "302 to another host",
}
BROKEN_RESPONSES = {
    "truncated": "200, the connection is closed after half of the body",
    "cut-json": "200, complete, but the body is the first half of the correct one",
    "reset": "the connection is closed without a response",
}
TOKEN_FAULTS = {
    "login-down": "503 from /token",
    "login-html": "200 with an HTML page from /token",
}
TOTALS = {
    "wrong-totals": "one list page reports total_items one too high",
    "missing-totals": "one list page reports no total_items",
}
AUDIO = {
    "audio-html": "audio: 200 with an HTML page",
    "audio-fault-200": "audio: 200 with a fault as its body",
    "audio-short": "audio: 200, fewer bytes than file_size_in_bytes, with a matching content-length",
    "audio-cut": "audio: 200, the connection is closed after half of the bytes",
    "audio-no-range": "audio: 200 and the whole file, even if a range is requested",
    "audio-redirect": "audio: 302 to another host",
    "audio-missing": "audio: 404",
    "audio-forbidden": "audio: 403 without a code",
    "audio-wav": "audio: a WAV of the same size, audio/wav",
}
BEHAVIOURS = {
    "quota": "quota*N: at most N API requests a minute (10 by default), then 429, 900803",
    "down": "503 for every request, including /token",
    "latency-N": "N milliseconds before every response, for example latency-50",
    "keep-old-tokens": "a new token does not revoke the previous one",
    "revoked-expired": "a token that was revoked gets 900904, as one that has expired, not 900901",
    "page-base-0": "the first page is page 0",
    "cap-7": "at most 7 rows per page, reported as page_size; any number works",
    "cap-100": "at most 100 rows per page, reported as page_size",
    "cap-quiet-7": "at most 7 rows per page, but page_size reports the requested size; any number works",
    "refuse-page-size": "400 if more than 100 rows per page are requested",
    "ignore-order": "always newest first",
    "random-order": "a new random order for every request",
    "no-embedded": "an empty list has no _embedded",
    "no-total-pages": "lists have no total_pages",
    "empty-404": "a page after the last one is 404, not an empty list",
    "churn": "before every page of recordings or call logs one of them is removed, added, or both",
    "arrivals": "before every page of recordings or call logs one is added",
    "churn-users": "before every Provisioning page a user is removed, added, or both",
    "provisioning-no-self": "400 from Provisioning for the account self",
    "jobs-partly": "export jobs end as partially_complete, with one file missing",
    "expired-listed": "export jobs stay listed, as expired, after their archive has expired",
    "ids-as-text": "ids are strings",
    "lost-ids": "one row in twelve or so has null in place of its id",
    "lost-starts": "one row in twelve or so has null in place of its start",
    "new-field": "rows have a new field, sentiment, of mixed types",
    "odd-times": "times are written with Z, +05:30 and fractions",
}

ONE_TIME = {**ERROR_RESPONSES, **BROKEN_RESPONSES, **TOKEN_FAULTS, **TOTALS, **AUDIO}
"""Faults that affect one request, unless a number of times is given."""

FAULTS: dict[str, str] = {**ONE_TIME, **BEHAVIOURS}
"""Description of each fault by name, for `Gateway.fault` and the command line."""
