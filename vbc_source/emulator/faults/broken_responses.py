"""Responses that break off before their end, and connections closed without a response."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

TRANSPORT = "emulator.transport"
"""Key of the connection's transport in the extensions of an ASGI scope."""


class HalfBodySender:
    """ASGI `send` that sends the first half of a body.

    The headers must state a content length. With `fix_length` it is changed to what is sent;
    otherwise the body is incomplete and the server closes the connection.
    """

    def __init__(self, send: Send, *, fix_length: bool) -> None:
        """Wrap a `send` callable."""
        self._send = send
        self._fix_length = fix_length
        self._remaining = 0

    async def __call__(self, message: Message) -> None:
        """Send a message, or the part of it that belongs to the first half."""
        if message["type"] == "http.response.start":
            headers = [self._halve_length(*header) for header in message["headers"]]
            await self._send({**message, "headers": headers})
        elif self._remaining > 0 or self._fix_length:
            await self._send_part(message)

    def _halve_length(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        if name.lower() != b"content-length":
            return name, value
        # headers come before the body: this is how much of it will be sent
        self._remaining = int(value) // 2
        return name, str(self._remaining).encode() if self._fix_length else value

    async def _send_part(self, message: Message) -> None:
        body = message.get("body", b"")[: self._remaining]
        self._remaining -= len(body)
        # Without a last message uvicorn considers the response incomplete and closes the connection.
        more = message.get("more_body", False) if self._fix_length else True
        if body or not more:
            await self._send({"type": "http.response.body", "body": body, "more_body": more})


class HalfResponse(Response):
    """Response whose connection is closed after half of the body."""

    def __init__(self, response: Response) -> None:
        """Wrap a response with a content length."""
        super().__init__()
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the first half."""
        await self._response(scope, receive, HalfBodySender(send, fix_length=False))


async def close_connection(scope: Scope, receive: Receive) -> None:
    """Close the connection without a response."""
    scope["extensions"][TRANSPORT].close()
    # Returning earlier would make uvicorn send a 500 for the missing response.
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)
