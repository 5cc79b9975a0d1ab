"""Fixture server that is much faster than its clients, so that the benchmark measures the clients.

It implements just enough HTTP, and serves one account's company recordings with the filters on `start`,
`order`, `page` and `page_size`. `/control` sets the largest page, the latency and the quota;
`/stats` returns the counters.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from urllib.parse import parse_qsl, unquote

from benchmarks.recordings import ACCOUNT, PREFIX, Recordings, invent

Body = Sequence[bytes | memoryview]
_REASONS = {200: "OK", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
_EMPTY_LIST = json.dumps(
    {"_embedded": {"data": []}, "page": 1, "page_size": 100, "total_items": 0, "total_pages": 0}
).encode()
_TOKEN = json.dumps(
    {"access_token": "bench", "refresh_token": "bench", "token_type": "Bearer", "expires_in": 86400}
).encode()
MINUTE = 60.0


@dataclass(slots=True)
class Stats:
    """Counters of requests.

    Attributes:
        pages: List requests answered with a page.
        refused: List requests beyond the quota.
        other: All other requests, logins included.
        in_flight: List requests in progress.
        most_in_flight: Most list requests at once.
    """

    pages: int = 0
    refused: int = 0
    other: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


@dataclass(slots=True)
class Gateway:
    """State shared by all connections.

    Attributes:
        recordings: The recordings to serve.
        base_url: Prefix of the links.
        cap: Most rows in a page.
        delay: Seconds before a list request is answered.
        per_minute: List requests in a minute that starts with the first one; 0 for no quota.
        stats: The counters.
        window: Start of the quota's minute, and the requests in it.
    """

    recordings: Recordings
    base_url: str
    cap: int = 1000
    delay: float = 0.0
    per_minute: int = 0
    stats: Stats = field(default_factory=Stats)
    window: tuple[float, int] = (0.0, 0)

    def answer(self, target: str, authorized: bool) -> tuple[int, Body, str]:
        """Return status, body and further headers for a request."""
        path, _, query = target.partition("?")
        params = dict(parse_qsl(query))
        if path == "/stats":
            return 200, [json.dumps(asdict(self.take_stats())).encode()], ""
        if path == "/control":
            self.cap, self.delay = int(params["cap"]), float(params["delay"])
            self.per_minute, self.window = int(params["per_minute"]), (0.0, 0)
            self.take_stats()
            return 200, [b"{}"], ""
        self.stats.other += 1
        if path == "/token":
            return 200, [_TOKEN], ""
        if not authorized:
            return 401, [b'{"code":"900902","message":"Missing Credentials"}'], ""
        if path.endswith(("/users", "/extensions", "/call_recordings", "/jobs")):
            return 200, [_EMPTY_LIST], ""
        return 404, [b"{}"], ""

    def send_audio(self, target: str) -> tuple[int, Body, str]:
        """Return a response with an audio file."""
        number = target.partition("?")[0].rpartition("/")[2]
        audio = self.recordings.read_audio(int(number)) if number.isdigit() else None
        self.stats.other += 1
        return (404, [b"{}"], "") if audio is None else (200, [audio], "")

    def list_page(self, target: str) -> tuple[int, Body, str]:
        """Return a page, or 429 if the quota is used up."""
        began, count = self.window
        now = time.time()
        if now - began >= MINUTE:
            began, count = now, 0
        self.window = began, count + 1
        if self.per_minute and count >= self.per_minute:
            self.stats.refused += 1
            return _refuse(began + MINUTE)
        self.stats.pages += 1
        return 200, self._make_page(dict(parse_qsl(target.partition("?")[2]))), ""

    def _make_page(self, params: dict[str, str]) -> Body:
        low, high = self.recordings.select(
            _read_seconds(params.get("start:gte")), _read_seconds(params.get("start:lte"))
        )
        total, size = high - low, min(self.cap, int(params.get("page_size", 10)))
        page = max(1, int(params.get("page", 1)))
        pages = -(-total // size)
        first, last = min(total, (page - 1) * size), min(total, page * size)
        if params.get("order", "start:DESC") == "start:ASC":
            rows: bytes | memoryview = self.recordings.rows(low + first, low + last)
        else:
            rows = self.recordings.rows_backwards(high - last, high - first)
        root = f"{self.base_url}{PREFIX}/accounts/{ACCOUNT}/company_call_recordings"
        links = {
            "first": 1,
            "prev": max(1, page - 1),
            "self": page,
            "next": min(pages, page + 1),
            "last": pages,
        }
        tail = {
            "_links": {name: {"href": f"{root}?page={number}"} for name, number in links.items()},
            "page": page,
            "page_size": size,
            "total_items": total,
            "total_pages": pages,
        }
        return b'{"_embedded":{"recordings":[', rows, b"]}," + json.dumps(tail).encode()[1:]

    def take_stats(self) -> Stats:
        """Return the counters and reset them."""
        taken, self.stats = self.stats, Stats(in_flight=self.stats.in_flight)
        return taken


def _refuse(allowed: float) -> tuple[int, Body, str]:
    next_access = datetime.fromtimestamp(allowed, timezone.utc)
    fault = {
        "code": 900803,
        "message": "Message throttled out",
        "description": "You have exceeded your quota",
        "nextAccessTime": f"{next_access:%Y-%b-%d %H:%M:%S}+0000 UTC",
    }
    header = f"Retry-After: {formatdate(allowed + 1, usegmt=True)}\r\n"
    return 429, [json.dumps({"fault": fault}).encode()], header


def _read_seconds(text: str | None) -> int | None:
    if not text:
        return None
    text = text.replace(" ", "+").replace("Z", "+00:00")
    return int(datetime.fromisoformat(text).timestamp())


class Connection(asyncio.Protocol):
    """A client's connection, one request at a time."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        transport.set_write_buffer_limits(high=1 << 24)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Answer every complete request in the buffer."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            length = end + 4 + int(headers.get("content-length", 0))
            if len(self._buffer) < length:
                return
            self._buffer = self._buffer[length:]
            self._handle(unquote(lines[0].split(" ")[1].partition("?")[0]), lines[0].split(" ")[1], headers)

    def _handle(self, path: str, target: str, headers: dict[str, str]) -> None:
        gateway, authorized = self._gateway, headers.get("authorization", "").startswith("Bearer ")
        listed = path.endswith("/company_call_recordings")
        if not (authorized and (listed or "/audio/recording/" in path)):
            self._send(*gateway.answer(target, authorized))
            return
        if listed:
            gateway.stats.in_flight += 1
            gateway.stats.most_in_flight = max(gateway.stats.most_in_flight, gateway.stats.in_flight)
        send = self._send_page if listed else self._send_audio
        if gateway.delay:
            asyncio.get_running_loop().call_later(gateway.delay, send, target)
        else:
            send(target)

    def _send_page(self, target: str) -> None:
        self._send(*self._gateway.list_page(target))
        self._gateway.stats.in_flight -= 1

    def _send_audio(self, target: str) -> None:
        self._send(*self._gateway.send_audio(target), kind="audio/mpeg")

    def _send(self, status: int, body: Body, further: str, kind: str = "application/json") -> None:
        size = sum(map(len, body))
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {size}\r\n{further}\r\n"
        )
        with suppress(OSError):  # the client closed the connection
            self._transport.writelines([head.encode(), *body])


async def serve(port: int, make: Callable[[str], Gateway]) -> None:
    """Serve until stopped; print the base URL when ready."""
    loop = asyncio.get_running_loop()
    gateways: list[Gateway] = []
    listener = await loop.create_server(lambda: Connection(gateways[0]), "127.0.0.1", port)
    base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    gateways.append(make(base_url))
    print(base_url, flush=True)
    await listener.serve_forever()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--quiet-hours", type=int, default=0, help="age of the newest recording, hours")
    parser.add_argument("--cap", type=int, default=1000, help="most rows in a page")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before a list request is answered")
    options = parser.parse_args()
    until = int(time.time()) - options.quiet_hours * 3600

    def make(base_url: str) -> Gateway:
        return Gateway(invent(options.rows, base_url, until), base_url, options.cap, options.delay)

    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, make))


if __name__ == "__main__":
    main()
