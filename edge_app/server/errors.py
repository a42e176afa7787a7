"""Rejected requests: a status, and one sentence that says what is allowed."""

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
"""Key of a scope whose body was received completely."""

_LINGER_SECONDS: Final = 10.0  # for clients that read late
_LINGER_BYTES: Final = 64 * 2**20


class RejectedError(Exception):
    """A request that is rejected.

    Parameters
    ----------
    status : int
        HTTP status, 400 or higher.
    message : str
        One sentence that names what is wrong and what is allowed.
    reason : str
        Label for the metrics: ``size``, ``type``, ``busy``, ...
    retry_after : int, optional
        Seconds after which a retry may succeed.
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
        """Headers that belong to the status."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


class ClientGoneError(Exception):
    """The client has disconnected: no response is sent."""


class ErrorResponse:
    """``{"error": ...}``, also while the client is still sending its body.

    Closing a connection while data arrives makes the kernel reset it, and many clients then never
    read the response. So the response is sent at once, further data is discarded for up to 10
    seconds, and then the connection is closed.

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
    def of(cls, error: RejectedError) -> ErrorResponse:
        """The response to a rejected request."""
        return cls(error.status, error.message, error.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in self.headers.items()]
        kind = "http.response"
        if scope["type"] == "websocket":
            kind = "websocket.http.response"
            if kind not in scope.get("extensions", {}):  # the server then responds with 403
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
