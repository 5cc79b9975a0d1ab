"""Responses without an end, in size or in time, and connections that a setting breaks."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from gateway_fixtures import make_credentials, serve_bytes, write_answer, write_login

from vbc_source.api import client as client_module
from vbc_source.api.client import Client
from vbc_source.api.http.deadlines import Deadlines, Watch
from vbc_source.config import VbcCredentials
from vbc_source.errors import (
    ForeignAddress,
    GatewayFault,
    InvalidResponse,
    NotFound,
    SettingsError,
    Unavailable,
    VbcError,
)

READY = VbcCredentials(access_token="s3cret-ready")
PLENTY = 60.0  # seconds for a whole answer, where the deadline is not what is tested
SECONDS = 0.4
SOON = 0.1  # the deadline of what never ends
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextmanager
def drip(start: bytes, more: bytes = b" ") -> Iterator[str]:
    """Serve a start, and then a few bytes every fiftieth of a second, for as long as somebody reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def answer(connection: socket.socket) -> None:
            with connection:
                connection.recv(65536)
                connection.sendall(start)
                while not ended.wait(0.02):
                    try:
                        connection.sendall(more)
                    except OSError:
                        return

        def accept() -> None:
            while not ended.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


Connect = Callable[..., Client]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def connect(url: str, credentials: VbcCredentials = READY, seconds: float = PLENTY) -> Client:
            client = Client(url, credentials, retry_seconds=0, response_seconds=seconds)
            stack.callback(client.close)
            return client

        yield connect


def get(client: Client) -> object:
    return client.get("/x", None, json.loads, what="rows")


SLOW = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "status": (b"HTTP/1.1 ", b"2"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "fault": (b"HTTP/1.1 400 Bad\r\nContent-Length: 1000000\r\n\r\n", b" "),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 1000000\r\n\r\n", b" "),
}


@pytest.mark.parametrize(
    "where", [pytest.param(name, marks=[] if name == "chunks" else pytest.mark.slow) for name in SLOW]
)
def test_a_byte_at_a_time_does_not_outlast_the_deadline(connect: Connect, where: str) -> None:
    with drip(*SLOW[where]) as url, pytest.raises(Unavailable, match="no whole response within"):
        get(connect(url, seconds=SOON))


def test_a_socket_that_times_out_as_the_deadline_ends_is_named_by_the_deadline() -> None:
    watch = Watch(Deadlines(60))
    with suppress(TimeoutError), watch:
        watch.ends_at -= 60  # before the thread looks
        raise TimeoutError
    assert watch.expired


@pytest.mark.parametrize("send", [lambda c: c.log_in(), lambda c: c.delete("/x", what="x")])
def test_login_and_deletion_have_a_deadline(connect: Connect, send: Callable[[Client], object]) -> None:
    credentials = make_credentials()
    with drip(*SLOW["body"]) as url, pytest.raises(Unavailable, match="no whole response within"):
        send(connect(url, credentials, SOON))


def test_start_of_an_export_with_a_slow_answer_is_not_repeated(connect: Connect) -> None:
    with drip(*SLOW["body"]) as url, pytest.raises(GatewayFault, match="did not confirm"):
        connect(url, seconds=SOON).post("/x", {}, json.loads, what="export")


def test_proxy_that_answers_a_byte_at_a_time_does_not_outlast_the_deadline(
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with drip(b"HTTP/1.1 200 Connection", b"x") as proxy:
        set_proxy(monkeypatch, proxy)
        with pytest.raises(Unavailable, match="no whole response within"):
            get(connect("https://api.vonage.test", seconds=SOON))


@pytest.mark.parametrize("start", [b"", b"x" * 5000])
def test_a_stream_must_progress(connect: Connect, start: bytes) -> None:
    with drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + start, b"x") as url:
        client = connect(url, seconds=SOON)
        with pytest.raises(Unavailable, match="no whole response within"):
            get_stream(client)


@contextmanager
def read(client: Client, link: str) -> Iterator[Iterator[bytes]]:
    with client.stream(link, {}, what="file") as response:
        yield response.chunks


def get_stream(client: Client) -> object:
    with read(client, f"{client.base_url}/x") as chunks:
        return b"".join(chunks)


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(get, id="get"),
        pytest.param(lambda client: client.post("/x", {}, json.loads, what="x"), id="post"),
        pytest.param(get_stream, id="stream"),
    ],
)
def test_waiting_for_the_rate_limit_is_no_part_of_a_response(
    connect: Connect, send: Callable[[Client], object]
) -> None:
    with serve_bytes(lambda _: write_answer("200 OK", b"{}")) as gateway:
        client = connect(gateway.url, seconds=SOON)
        client.rate_limiter.pause(3 * SOON)
        send(client)

    assert client.requests_sent == 1


def test_a_stream_may_take_longer_than_one_answer_and_wait_for_its_reader(connect: Connect) -> None:
    length = 40 * 65536
    start = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with drip(start, b"x" * 131072) as url, read(connect(url, seconds=SECONDS), f"{url}/x") as chunks:
        received = len(next(chunks))
        threading.Event().wait(1.5 * SECONDS)
        received += sum(map(len, chunks))

    assert received == length


@pytest.mark.parametrize("zipped", [True, False])
def test_response_that_is_too_large_is_refused(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.setattr(client_module, "LARGEST_RESPONSE", 1 << 20)
    body = b" " * (3 << 20)
    answer = (
        write_answer("200 OK", gzip.compress(body), "Content-Encoding: gzip")
        if zipped
        else CHUNKED + (b"300000\r\n" + body + b"\r\n")
    )
    with serve_bytes(lambda seen: answer) as server, pytest.raises(InvalidResponse, match="more than 1 MB"):
        get(connect(server.url))


def test_response_of_the_largest_size_is_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LARGEST_RESPONSE", 1 << 20)
    body = b"[]".ljust(1 << 20)
    answer = write_answer("200 OK", gzip.compress(body), "Content-Encoding: gzip")
    with serve_bytes(lambda seen: answer) as server:
        assert get(connect(server.url)) == []


LOCATIONS = ["http://[::1/x", "http://host:port/x", "http://127.0.0.1:99999/x", "//[", "http://\udcff/"]


@pytest.mark.parametrize("location", LOCATIONS)
@pytest.mark.parametrize("streamed", [True, False])
def test_malformed_redirect_is_one_fault(connect: Connect, location: str, streamed: bool) -> None:
    header = f"Location: {location}".encode("latin-1", "replace").decode("latin-1")
    answer = write_answer("302 Found", b"elsewhere", header)
    with serve_bytes(lambda seen: answer) as server:
        client = connect(server.url)
        send = get_stream if streamed else get
        with pytest.raises((ForeignAddress, GatewayFault)):
            send(client)


def test_connection_is_used_again_after_a_whole_answer(connect: Connect) -> None:
    accepted = []

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        accepted.append(connection)
        with connection:
            for _ in range(3):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        client = connect(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert [get(client) for _ in range(3)] == [[]] * 3
        thread.join(5)
        client.close()

    assert len(accepted) == 1


# Settings that break connections


def set_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", url)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_unusable_certificates_name_their_setting(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes | None
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(name, str(file))
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SettingsError, match=name) as failed:
        get(connect(f"https://127.0.0.1:{server.getsockname()[1]}"))

    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    "proxy",
    [
        "http://",
        "http://:80",
        "foo://u:s3cret@proxy:1",
        "http://proxy:port",
        "http://[bad",
        "socks5://proxy:1",
    ],
)
def test_unusable_proxy_names_its_setting(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    set_proxy(monkeypatch, proxy)
    with pytest.raises(VbcError, match="HTTPS_PROXY") as failed:
        get(connect("https://api.vonage.test"))

    assert "\n" not in str(failed.value)
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway"])
def test_proxy_that_refuses_is_named(connect: Connect, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    with serve_bytes(lambda seen: write_answer(status)) as proxy:
        set_proxy(monkeypatch, proxy.url.replace("//", "//me:s3cret@"))
        with pytest.raises(VbcError, match="proxy of HTTPS_PROXY") as failed:
            get(connect("https://api.vonage.test"))

    assert "s3cret" not in str(failed.value)


def test_proxy_elsewhere_does_not_see_the_password_for_this_machine(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxy(monkeypatch, "")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    with serve_bytes(lambda seen: write_login()) as server:
        connect(server.url, make_credentials()).log_in()


def test_404_of_a_rejected_resource_is_no_rejected_token(connect: Connect) -> None:
    with serve_bytes(lambda seen: write_answer("404 Not Found")) as server, pytest.raises(NotFound):
        get(connect(server.url))


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key, and a certificate that it signed itself, of a host with another name."""
    if not shutil.which("openssl"):
        pytest.skip("makes a certificate with openssl")
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", "/CN=other.example", "-addext", "subjectAltName=DNS:other.example"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return key, certificate


@pytest.mark.parametrize(
    ("is_trusted", "message"),
    [
        (False, "cannot be verified: where a proxy inspects the traffic, set REQUESTS_CA_BUNDLE"),
        (True, "is that of another host: check base_url"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_one_line_that_names_the_setting(
    other_certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    connect: Connect,
    is_trusted: bool,
    message: str,
) -> None:
    key, certificate = other_certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if is_trusted:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            with pytest.raises(VbcError, match=message) as failed:
                get(connect(f"https://127.0.0.1:{server.server_address[1]}"))
            assert "\n" not in str(failed.value)
        finally:
            server.shutdown()
            thread.join()
