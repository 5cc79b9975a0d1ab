"""Every fault the emulator can be told to have, by name."""

from __future__ import annotations

ANSWERS = {
    "throttled": "429, 900804, allowed again in 1-2 s: Retry-After and nextAccessTime",
    "throttled-header-only": "429, 900804, with Retry-After alone",
    "throttled-body": "429, 900804, with nextAccessTime alone",
    "throttled-description": "429, 900804, the time at the end of the description alone",
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
    "empty-body": "200 without a body",
    "html": "200 with an HTML page",
    "not-json": "200 with plain text",
    "fault-200": "200 with a fault as its body",
    "redirect": "302 to another host",
}
BREAKS = {
    "truncated": "200, the connection is closed after half of the body",
    "cut-json": "200, a complete answer whose body is half of the real one",
    "reset": "the connection is closed without an answer",
}
LOGINS = {
    "login-down": "503 from /token",
    "login-html": "200 with an HTML page from /token",
}
TOTALS = {
    "wrong-totals": "one list page states total_items one too high",
    "missing-totals": "one list page states no total_items",
}
AUDIO = {
    "audio-html": "audio: 200 with an HTML page",
    "audio-fault-200": "audio: 200 with a fault as its body",
    "audio-short": "audio: 200, fewer bytes than file_size_in_bytes, as content-length says",
    "audio-cut": "audio: 200, the connection is closed after half of the bytes",
    "audio-no-range": "audio: 200 and the whole, whatever range is asked for",
    "audio-redirect": "audio: 302 to another host",
    "audio-missing": "audio: 404",
    "audio-forbidden": "audio: 403 without a code",
    "audio-wav": "audio: a WAV of the same size, audio/wav",
}
HABITS = {
    "quota": "quota*N: at most N API requests a minute (10 when not given), then 429, 900803",
    "down": "503 from everything, /token too",
    "latency-N": "N milliseconds before every answer, say latency-50",
    "keep-old-tokens": "a new token does not revoke the previous one",
    "page-base-0": "the first page is page 0",
    "cap-7": "at most 7 rows a page, as the answer's page_size says; any number will do",
    "cap-100": "at most 100 rows a page, as the answer's page_size says",
    "cap-quiet-7": "at most 7 rows a page, but page_size repeats what was asked for; any number will do",
    "refuse-page-size": "400 when more than 100 rows a page are asked for",
    "ignore-order": "always newest first",
    "random-order": "a new order for every request",
    "no-embedded": "an empty list comes without _embedded",
    "no-total-pages": "lists come without total_pages",
    "empty-404": "a page beyond the end is 404, not an empty list",
    "churn": "before every page of recordings one of them goes, comes, or both",
    "arrivals": "before every page of recordings a new one comes",
    "churn-users": "before every Provisioning page a user leaves, comes, or both",
    "provisioning-no-self": "400 from Provisioning when it is asked for the account self",
    "jobs-partly": "export jobs end as partially_complete, with one file missing",
    "expired-listed": "export jobs stay, as expired, when their archive is no longer there",
    "ids-as-text": "ids are texts",
    "new-field": "rows have a new field, sentiment, of mixed types",
    "odd-times": "times are written with Z, +05:30 and fractions",
}

ONE_OFFS = {**ANSWERS, **BREAKS, **LOGINS, **TOTALS, **AUDIO}
FAULTS: dict[str, str] = {**ONE_OFFS, **HABITS}
"""What each fault does, by name, for ``Gateway.fault`` and the command line."""
