"""What surrounds a request: sessions, authorization, and addresses that may be requested."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from urllib.parse import SplitResult, urljoin, urlsplit

import requests

from vbc_source.api.http.deadlines import DeadlineAdapter
from vbc_source.errors import ForeignAddress
from vbc_source.setting_values import is_this_machine

Auth = Callable[[requests.PreparedRequest], requests.PreparedRequest]

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Response:
    """A response of the gateway with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class StreamingResponse:
    """A response whose body is still being received.

    Attributes:
        status: 200, or 206 for the part of a file.
        headers: Headers of the response.
        chunks: The body in chunks of at most 64 KiB; raises Unavailable if the connection breaks.
        close: Closes the connection if the body was not read to its end.
    """

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]
    close: Callable[[], None]


def authorize(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add a token to a request."""
    request.headers["Authorization"] = f"Bearer {token.strip()}"
    return request


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request without authorization; without an auth function requests would look into .netrc."""
    return request


def _drop_query(record: logging.LogRecord) -> bool:
    """Remove query strings, which may contain telephone numbers, from urllib3's debug log."""
    if isinstance(record.args, tuple):
        record.args = tuple(arg.split("?", 1)[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


class _Session(requests.Session):
    """A session that leaves redirects to the client.

    requests works out the next request even where it does not follow: it would read the whole body of the
    redirect, and raise on a malformed `Location`.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find no redirect."""


def open_session(connections: int, base_url: str = "") -> requests.Session:
    """Open a session to `base_url`, or to any host, without cookies then; sends nothing."""
    session = _Session()
    if base_url:
        # requests would look up proxies and certificates in the environment for each request, which
        # takes a quarter of its time
        with suppress(ValueError):  # a malformed address: the first request reports it
            settings = session.merge_environment_settings(base_url, {}, None, None, None)
            session.proxies, session.verify = settings["proxies"], settings["verify"]
            session.trust_env = False
        if base_url.startswith("http://"):  # for this machine; a proxy elsewhere would read the password
            session.proxies = {name: url for name, url in session.proxies.items() if is_this_machine(url)}
    else:
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # a connection for each request in flight: urllib3 closes those beyond `pool_maxsize` after each response
    adapter = DeadlineAdapter(pool_connections=2, pool_maxsize=connections)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = _name_agent()
    session.headers["Accept"] = "application/json"
    for name in ("urllib3.connectionpool", "urllib3.connection"):
        logging.getLogger(name).addFilter(_drop_query)
    return session


@cache  # reading it takes longer than all else of a session
def _name_agent() -> str:
    return f"vbc-source/{version('vbc-source')}"


def resolve_own(base_url: str, link: str) -> str | None:
    """Return a link as an address of the gateway, or None if it points to another host.

    The address is built from `base_url`: however another parser reads a malformed link, the request
    goes to the configured host.
    """
    own, target = urlsplit(base_url), _split(link)
    if target is None or _origin(target) != _origin(own):
        return None
    query = f"?{target.query}" if target.query else ""
    return f"{own.scheme}://{own.netloc}/{target.path.lstrip('/')}{query}"


def resolve_redirect(base_url: str, address: str, location: str) -> str:
    """Return the address a redirect points to; raises ForeignAddress unless it stays on https."""
    try:
        link = urljoin(address, location)
    except ValueError:
        link = ""
    target = _split(link)
    if target is None or (base_url.startswith("https://") and target.scheme != "https"):
        raise ForeignAddress("the VBC gateway redirects to an address that is not https; it is not followed")
    return link


def _split(link: str) -> SplitResult | None:
    """Split a web address; None if it is malformed, or contains a user name or a backslash."""
    try:
        address = urlsplit(link)
        port = address.port
    except ValueError:
        return None
    # browsers and parsers disagree on the host behind "@" and "\"
    usable = address.scheme in _PORTS and address.hostname and port != 0 and "@" not in address.netloc
    return address if usable and "\\" not in link else None


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port or _PORTS.get(address.scheme)
