from __future__ import annotations

import pytest

from vbc_source.api.http.transport import resolve_own, resolve_redirect
from vbc_source.errors import ForeignAddress

BASE = "https://api.vonage.com"


@pytest.mark.parametrize(
    ("link", "own"),
    [
        (f"{BASE}/a/b?c=d", f"{BASE}/a/b?c=d"),
        ("https://API.VONAGE.COM/a", f"{BASE}/a"),
        (f"{BASE}:443/a", f"{BASE}/a"),
        (f"{BASE}", f"{BASE}/"),
        (f"{BASE}//evil.example/a", f"{BASE}/evil.example/a"),
        (f"{BASE}/a#fragment", f"{BASE}/a"),
    ],
)
def test_link_of_the_gateway_becomes_its_address(link: str, own: str) -> None:
    assert resolve_own(BASE, link) == own


@pytest.mark.parametrize(
    "link",
    [
        "http://api.vonage.com/a",
        "https://api.vonage.com:444/a",
        "https://api.vonage.com:0/a",
        "https://api.vonage.com:x/a",
        "https://api.vonage.com.evil.example/a",
        "https://api.vonage.com@evil.example/a",
        "https://evil.example@api.vonage.com/a",
        "https://evil.example\\@api.vonage.com/a",
        "https://api.vonage.com\\.evil.example/a",
        "https://evil.example/https://api.vonage.com/a",
        "https://[::1/a",
        "//api.vonage.com/a",
        "/a",
        "",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_other_links_are_foreign(link: str) -> None:
    assert resolve_own(BASE, link) is None


def test_redirect_must_stay_on_https() -> None:
    assert resolve_redirect(BASE, f"{BASE}/a/b", "c?d=e") == f"{BASE}/a/c?d=e"
    assert resolve_redirect(BASE, f"{BASE}/a/b", "https://storage.example/c") == "https://storage.example/c"
    for location in (
        "http://storage.example/c",
        "ftp://storage.example/c",
        "https://me@storage.example/c",
        "file:///c",
    ):
        with pytest.raises(ForeignAddress):
            resolve_redirect(BASE, f"{BASE}/a/b", location)
    assert (
        resolve_redirect("http://localhost:1", "http://localhost:1/a", "http://other/c") == "http://other/c"
    )
