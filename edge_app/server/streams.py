"""WebSocket streams: PCM in, events out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from edge_app.inference.runtime import DeviceError
from edge_app.live.session import Live
from edge_app.results import Event
from edge_app.server.errors import RejectedError
from edge_app.server.inference import Engine, stopping
from edge_app.server.metrics import Metrics
from edge_app.server.settings import ServerSettings
from ser_edge.audio.base import MAX_RATE, MIN_RATE, AudioError

SUBPROTOCOL: Final = "ser-edge"
END: Final = "end"
"""Text message that ends a stream: the open segment is sent, then the WebSocket is closed."""

_NORMAL, _GOING_AWAY, _WRONG_DATA, _POLICY, _FAILED = 1000, 1001, 1003, 1008, 1011
_LOG = logging.getLogger("edge_app.server")


class Streams:
    """The open WebSockets.

    Parameters
    ----------
    engine : Engine
    settings : ServerSettings
    metrics : Metrics
    """

    def __init__(self, engine: Engine, settings: ServerSettings, metrics: Metrics) -> None:
        self._engine = engine
        self._settings = settings
        self._metrics = metrics
        self._stopping = asyncio.Event()
        self._open: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        """Number of open WebSockets."""
        return len(self._open)

    async def serve(self, socket: WebSocket) -> None:
        """Serve a WebSocket until either side ends it.

        Raises
        ------
        RejectedError
            Before it is accepted: 422 for a wrong rate, 503 if all streams are in use or the server
            is stopping.
        """
        rate = _rate(socket.query_params.get("rate"))
        wants_image = socket.query_params.get("image") == "1"
        limit = self._settings.streams
        if self._stopping.is_set():
            raise stopping()
        if self.count >= limit:
            raise RejectedError(503, f"all {limit} streams are in use", "streams", retry_after=10)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            offered = socket.scope.get("subprotocols", [])
            await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
            client = socket.client.host if socket.client else "?"
            _LOG.info("stream from %s starts, %d Hz", client, rate)
            code, reason = await self._listen(socket, rate, wants_image)
            _LOG.info("stream from %s ends: %s", client, reason)
            await _close(socket, code, reason)
        finally:
            self._open.discard(task)

    async def stop(self, seconds: float) -> None:
        """End all streams: open segments are sent, then the sockets are closed."""
        self._stopping.set()
        if self._open:
            await asyncio.wait(set(self._open), timeout=seconds)

    async def _listen(self, socket: WebSocket, rate: int, wants_image: bool) -> tuple[int, str]:
        """Classify until the end; returns the close code and reason."""
        live: Live | None = None
        try:
            live = await self._engine.open_stream(rate, "stream")
            code, reason = await self._feed(socket, live, rate, wants_image)
            if code in (_NORMAL, _GOING_AWAY):
                await self._send(socket, await self._engine.finish(live))
        except WebSocketDisconnect:
            return _NORMAL, "the client disconnected"
        except (DeviceError, AudioError) as error:
            if isinstance(error, DeviceError):
                self._metrics.failures.inc()
            return await _send_error(socket, _FAILED, str(error))
        except RejectedError as error:
            return await _send_error(socket, _GOING_AWAY, error.message)
        if code not in (_NORMAL, _GOING_AWAY):
            return await _send_error(socket, code, reason)
        return code, reason

    async def _feed(
        self, socket: WebSocket, live: Live, rate: int, wants_image: bool
    ) -> tuple[int, str]:
        half = b""
        while True:
            message = await self._next(socket)
            if isinstance(message, tuple):
                return message
            text = message.get("text")
            if text == END:
                return _NORMAL, "the client ended the stream"
            if text is not None:
                return _WRONG_DATA, (
                    f"the text message is {text[:20]!r}, allowed: {END!r}; audio goes in binary "
                    "messages, signed 16-bit little-endian mono PCM"
                )
            pcm = half + message["bytes"]
            whole = len(pcm) - len(pcm) % 2  # a message may end within a sample
            half = pcm[whole:]
            for at in range(0, whole, 2 * rate):  # a second at a time, for other streams
                if self._stopping.is_set():
                    break
                piece = pcm[at : min(at + 2 * rate, whole)]
                events = await self._engine.feed(live, piece)
                self._metrics.sound.inc(len(piece) / 2 / rate)
                await self._send(socket, events)
                if wants_image and live.image is not None and _has_window(events):
                    await socket.send_bytes(live.image.tobytes())

    async def _next(self, socket: WebSocket) -> dict[str, Any] | tuple[int, str]:
        """The next message, or the close code and reason if there is none."""
        receive = asyncio.ensure_future(socket.receive())
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                {receive, stop},
                timeout=self._settings.idle_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if stop.done():
                return _GOING_AWAY, "the server is stopping"
            if not receive.done():
                return _POLICY, f"no message for {self._settings.idle_seconds:g} s"
            message = dict(receive.result())
        finally:
            stop.cancel()
            receive.cancel()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return message

    async def _send(self, socket: WebSocket, events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "window":
                self._metrics.windows.inc()
            await socket.send_text(json.dumps(event.to_dict(), allow_nan=False))


def _has_window(events: Sequence[Event]) -> bool:
    return any(event.kind == "window" for event in events)


def _rate(text: str | None) -> int:
    allowed = f"allowed: {MIN_RATE} to {MAX_RATE} (Hz)"
    if text is None:
        raise RejectedError(422, f"rate is missing: /v1/stream?rate=16000, {allowed}", "rate")
    rate = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise RejectedError(422, f"rate is {text[:20]!r}, {allowed}", "rate")
    return rate


async def _send_error(socket: WebSocket, code: int, message: str) -> tuple[int, str]:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(json.dumps({"error": message}))
    return code, message


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    gone = WebSocketState.DISCONNECTED
    if gone in (socket.client_state, socket.application_state):
        return
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        # The reason of a close frame has at most 123 bytes.
        await socket.close(code, reason.encode()[:120].decode(errors="ignore"))
