"""Runs the application in uvicorn: socket, signals, and a shutdown within two seconds."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import uvicorn

from edge_app.server.app import ServerApp

_STREAM_SECONDS: Final = 0.8  # for streams to end
_REQUEST_SECONDS: Final = 1  # for open requests; uvicorn takes whole seconds
_HEADER_SECONDS: Final = 15.0
_MAX_MESSAGE: Final = 2**20  # bytes of a WebSocket message; 11 s of 48 kHz


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 selects a free port.

    Raises
    ------
    OSError
        The address does not belong to this machine, or the port is in use.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(256)
    except OSError:
        listening.close()
        raise
    return listening


class EdgeServer(uvicorn.Server):
    """uvicorn server that ends streams before connections, and closes silent connections.

    Parameters
    ----------
    app : ServerApp
    certificate, key : Path, optional
        PEM, for https.
    """

    def __init__(
        self, app: ServerApp, certificate: Path | None = None, key: Path | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                lifespan="on",
                log_config=None,
                access_log=False,  # its lines would contain tokens
                server_header=False,
                timeout_graceful_shutdown=_REQUEST_SECONDS,
                timeout_keep_alive=10,
                ws_max_size=_MAX_MESSAGE,
                ws_per_message_deflate=False,
                proxy_headers=False,
                ssl_certfile=None if certificate is None else str(certificate),
                ssl_keyfile=None if key is None else str(key),
            )
        )
        self.signal: int | None = None
        self._app = app
        self._silent: dict[Any, float] = {}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Remember the signal."""
        self.signal = sig
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a handled signal is not raised again: the exit status is a success."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; once a second closes connections without a request."""
        if counter % 10 == 0:
            self._drop_silent(time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first, so that their open segments are sent."""
        for listener in self.servers:
            listener.close()
        await self._app.service.stop(_STREAM_SECONDS)
        await super().shutdown(sockets)

    def _drop_silent(self, now: float) -> None:
        # uvicorn has no time limit for the headers of a request.
        silent = {
            connection
            for connection in self.server_state.connections
            if hasattr(connection, "cycle")
            and (connection.cycle is None or connection.cycle.response_complete)
        }
        self._silent = {each: self._silent.get(each, now) for each in silent}
        for connection, since in self._silent.items():
            if now - since > _HEADER_SECONDS:
                connection.transport.close()


def run(
    app: ServerApp,
    listening: socket.socket,
    certificate: Path | None = None,
    key: Path | None = None,
    started: Callable[[], None] | None = None,
) -> int | None:
    """Serve until a signal ends it.

    Parameters
    ----------
    app : ServerApp
    listening : socket
        From :func:`bind`.
    certificate, key : Path, optional
        PEM, for https.
    started : function, optional
        Called from a thread as soon as the server accepts requests.

    Returns
    -------
    int or None
        The signal that ended the server.
    """
    server = EdgeServer(app, certificate, key)
    if started is not None:
        threading.Thread(target=_when_started, args=(server, started), daemon=True).start()
    server.run(sockets=[listening])
    logging.shutdown()
    if app.service.busy:
        # A thread still works on a long file whose client is gone; Python would wait for it.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)
    return server.signal


def _when_started(server: EdgeServer, started: Callable[[], None]) -> None:
    while not server.started and not server.should_exit:
        time.sleep(0.02)
    if server.started:
        started()
