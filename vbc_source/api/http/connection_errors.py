"""Finds the setting that causes an error of a connection, and names it for the user."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping

import requests
from requests.exceptions import ProxyError, RequestException, SSLError
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError, LocationValueError

# what requests, urllib3 and http.client raise while they send and receive; ValueError: a header or an address
# that they refuse, with its whole value in the text
CONNECTION_ERRORS = (RequestException, HTTPError, OSError, ValueError)

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_REASONS = {
    socket.gaierror: "the name of the host is not known",
    ConnectionRefusedError: "nothing listens there",
}
_MALFORMED = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    LocationValueError,
    ValueError,
)


def explain_connection_error(error: Exception, address: str, proxies: Mapping[str, str]) -> str | None:
    """Return which setting is wrong, without user name and password; None if the error may pass."""
    if isinstance(error, SSLError):
        return _explain_certificate(str(error), address)
    # these very classes: requests raises a plain OSError where the file of certificates is missing, and its
    # other errors are OSErrors, too
    if type(error) in (OSError, FileNotFoundError, PermissionError, IsADirectoryError):
        return f"{_find_variable(*_BUNDLES)} names no readable file of certificates: correct it, or unset it"
    proxy = select_proxy(address, dict(proxies))
    if proxy and isinstance(error, ProxyError) and " 407 " in f" {error} ":
        return f"the proxy of {_name_proxy(address)} asks for a user and a password: set them in its address"
    if proxy and isinstance(error, _MALFORMED) and is_usable(address):
        if "SOCKS" in str(error):
            return (
                f"{_name_proxy(address)} is a SOCKS proxy, for which a package is missing: "
                "pip install 'requests[socks]'"
            )
        return f"{_name_proxy(address)} is not a usable address of a proxy, such as http://proxy.example:8080"
    return None


def _explain_certificate(text: str, address: str) -> str | None:
    bundle = _find_variable(*_BUNDLES)
    # OpenSSL reports another name as a failed verification too
    if any(reason in text for reason in ("doesn't match", "CertificateError", "mismatch", "not valid for")):
        return f"the certificate of {address} is that of another host: check base_url"
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return (
            f"the certificate of {address} cannot be verified: where a proxy inspects the traffic, set "
            f"{bundle} to a file with its certificate; otherwise check base_url"
        )
    if any(reason in text for reason in ("NO_CERTIFICATE", "no certificate or crl", "PEM", "Errno")):
        return f"{bundle} names no readable file of certificates: correct it, or unset it"
    return None


def is_usable(address: str) -> bool:
    """Return whether requests can send to an address."""
    try:
        requests.Request("GET", address).prepare()
    except CONNECTION_ERRORS:
        return False
    return True


def describe_connection_error(error: Exception, address: str) -> str:
    """Return the kind of an error, and its reason; its text contains the address with its query."""
    if isinstance(error, ProxyError):
        return f"{type(error).__name__} at the proxy of {_name_proxy(address)}"
    reasons = (
        reason for cause in _causes(error) for kind, reason in _REASONS.items() if isinstance(cause, kind)
    )
    return ": ".join([type(error).__name__, *list(reasons)[:1]])


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it: urllib3 keeps that as an argument or as `reason`."""
    seen: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            yield one
            todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _name_proxy(address: str) -> str:
    scheme = address.split(":", 1)[0]
    names = (f"{scheme}_proxy", "all_proxy")
    return _find_variable(*(name.upper() for name in names), *names)


def _find_variable(*names: str) -> str:
    return next((name for name in names if os.environ.get(name)), names[0])
