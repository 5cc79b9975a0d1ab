"""Answers that break off on their way."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

TRANSPORT = "emulator.transport"


class HalfSender:
    """Passes on half of an answer's body.

    Headers must state the length. With ``honest`` the length is changed to what is sent; without
    it the rest is missing, and the server closes the connection.
    """

    def __init__(self, send: Send, *, honest: bool) -> None:
        """Wrap a send callable."""
        self._send = send
        self._honest = honest
        self._left = 0

    async def __call__(self, message: Message) -> None:
        """Pass a message on, or the part of it that belongs to the first half."""
        if message["type"] == "http.response.start":
            await self._send({**message, "headers": [self._halve(*header) for header in message["headers"]]})
        elif self._left > 0 or self._honest:
            await self._send_part(message)

    def _halve(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        if name.lower() != b"content-length":
            return name, value
        self._left = int(value) // 2
        return name, str(self._left).encode() if self._honest else value

    async def _send_part(self, message: Message) -> None:
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        more = message.get("more_body", False) if self._honest else True
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})


class HalfResponse(Response):
    """An answer whose connection is closed after half of its body."""

    def __init__(self, whole: Response) -> None:
        """Wrap an answer whose headers state its length."""
        super().__init__()
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first half."""
        await self._whole(scope, receive, HalfSender(send, honest=False))


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer."""
    transport = scope["extensions"][TRANSPORT]
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)
