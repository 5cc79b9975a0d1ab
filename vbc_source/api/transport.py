"""What requests needs to be told: who is authorized, where links may lead, what is not to be logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from vbc_source.errors import ForeignAddress

_PORTS = {"http": 80, "https": 443}


class Response(NamedTuple):
    """What the gateway answered, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Bearer(AuthBase):
    """Sets the token on one request; as an auth object, so that no .netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on."""
        request.headers["Authorization"] = f"Bearer {self._token.strip()}"
        return request


class NoAuth(AuthBase):
    """Leaves a request as it is, so that no .netrc adds to it."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Leave it."""
        return request


class _DropQuery(logging.Filter):
    """Keeps query strings, which may hold phone numbers, out of urllib3's debug log."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.split("?", 1)[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


_drop_query = _DropQuery()


class StreamingResponse:
    """An answer whose body is still coming.

    Attributes:
        status: 200, or 206 where a range was asked for and given.
        headers: of the answer.
        chunks: the body, in pieces of some hundred KB; raises Unavailable where it breaks off.
    """

    def __init__(self, response: requests.Response, chunks: Iterator[bytes]) -> None:
        self.status, self.headers, self.chunks = response.status_code, response.headers, chunks
        self._response = response

    def close(self) -> None:
        """Drop the connection if the body was not read to its end."""
        self._response.close()


def open_session(connections: int, base_url: str = "", *, cookies: bool = True) -> requests.Session:
    """Open a session with so many connections to a host; without cookies where they could tell on us.

    Where all of its requests go to `base_url`, the proxy and the certificates that the environment names
    for it are looked up here, once; requests would do so for each, which takes a quarter of its time.
    """
    session = requests.Session()
    if base_url:
        with suppress(ValueError):  # it is no address; the first request says so
            found = session.merge_environment_settings(base_url, {}, None, None, None)
            session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = f"vbc-source/{version('vbc-source')}"
    session.headers["Accept"] = "application/json"
    if not cookies:
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(_drop_query)
    return session


def find_own(base_url: str, link: str) -> str | None:
    """Give a link as an address of the gateway; None where it leads elsewhere.

    The address is built from `base_url` itself, so that whatever two parsers make of a malformed
    link, the request goes to the configured host.
    """
    own, there = urlsplit(base_url), _split(link)
    if there is None or _origin(there) != _origin(own):
        return None
    return f"{own.scheme}://{own.netloc}/{there.path.lstrip('/')}" + (
        f"?{there.query}" if there.query else ""
    )


def follow(base_url: str, address: str, location: str) -> str:
    """Say where a redirect leads.

    Raises:
        ForeignAddress: to no web address, or from https to an unprotected one.
    """
    target = urljoin(address, location)
    there = _split(target)
    if there is None or (base_url.startswith("https://") and there.scheme != "https"):
        raise ForeignAddress("the VBC gateway redirects to an address that is not https; it is not followed")
    return target


def _split(link: str) -> SplitResult | None:
    """Split an address of the web; None where it is none, or hides a user name."""
    try:
        there = urlsplit(link)
        port = there.port
    except ValueError:
        return None
    usable = there.scheme in _PORTS and there.hostname and port != 0 and "@" not in there.netloc
    return there if usable and "\\" not in link else None


def _origin(there: SplitResult) -> tuple[str, str | None, int | None]:
    return there.scheme, there.hostname, there.port or _PORTS.get(there.scheme)


def check_object(body: bytes) -> bytes:
    """Have a body be a JSON object.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(json.loads(body), dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what a reader says of a broken body
    return body
