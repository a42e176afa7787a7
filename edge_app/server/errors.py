"""A request that is refused: its status, and one sentence that says what is allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_READ: Final = "ser_edge.body_read"
"""Key of a scope whose body has come to its end: nothing is left to wait for."""

_LINGER_SECONDS: Final = 10.0  # who is slow to send is slow to look
_LINGER_BYTES: Final = 64 * 2**20


class RefusedError(Exception):
    """A request that is not served.

    Parameters
    ----------
    status : int
        400 and up.
    message : str
        One sentence that names what is wrong and what is allowed.
    reason : str
        One word for the metrics: ``size``, ``type``, ``busy``, ...
    retry_after : int, optional
        Seconds, where trying again helps.
    """

    def __init__(
        self, status: int, message: str, reason: str, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with the status."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


class ClientGoneError(Exception):
    """The client has hung up: nobody reads an answer."""


class ErrorResponse:
    """``{"error": ...}``, sent though the client may still be sending its body.

    Closing while bytes come in makes the kernel reset the connection, and many a client then never
    sees the answer. So the answer goes out at once, what still comes in is thrown away for up to
    10 seconds, then the connection is closed.

    Parameters
    ----------
    status : int
    message : str
    headers : mapping, optional
        Further headers.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = json.dumps({"error": message}).encode()
        self.headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
            "Connection": "close",
            **(headers or {}),
        }

    @classmethod
    def of(cls, refused: RefusedError) -> ErrorResponse:
        """The answer to a request that is refused."""
        return cls(refused.status, refused.message, refused.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in self.headers.items()]
        kind = "http.response"
        if scope["type"] == "websocket":
            kind = "websocket.http.response"
            if kind not in scope.get("extensions", {}):  # then the server answers 403
                await send({"type": "websocket.close"})
                return
        await send({"type": f"{kind}.start", "status": self.status, "headers": headers})
        if scope["type"] == "http" and not scope.get(BODY_READ):
            await send({"type": f"{kind}.body", "body": self.body, "more_body": True})
            await _drain(receive)
            await send({"type": f"{kind}.body", "body": b""})
        else:
            await send({"type": f"{kind}.body", "body": self.body})


async def _drain(receive: Receive) -> None:
    async def drain() -> None:
        read = 0
        while read < _LINGER_BYTES:
            message = await receive()
            read += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body"):
                return

    try:
        await asyncio.wait_for(drain(), _LINGER_SECONDS)
    except asyncio.TimeoutError:
        return
