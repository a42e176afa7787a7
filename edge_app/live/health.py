"""``GET /healthz`` for ``edge-app listen``: plain HTTP, since the base install has no framework."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from edge_app.live.sources import InputStatus
from edge_app.output.delivery import SinkHealth
from ser_edge import __version__

PATH: Final = "/healthz"

_LOOPBACK: Final = "127.0.0.1"
_POLL_SECONDS: Final = 0.1  # between checks whether the thread should end
_REQUEST_SECONDS: Final = 5.0  # time limit for receiving a request


@dataclass(frozen=True)
class HealthAddress:
    """Address of the health server.

    Parameters
    ----------
    host : str
    port : int
        0 to 65535; 0 selects a free port.

    Raises
    ------
    ValueError
        The port is out of range.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, allowed: 0 to 65535")

    @classmethod
    def parse(cls, text: str) -> HealthAddress:
        """Parse ``PORT`` (loopback) or ``HOST:PORT``, such as ``0.0.0.0:8001`` or ``[::]:8001``.

        Raises
        ------
        ValueError
            The text is neither.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit()) or (text.startswith(":")):
            raise ValueError(f"{text!r} is not an address, allowed: PORT or HOST:PORT")
        return cls(host.strip("[]") or _LOOPBACK, int(port))


@dataclass(frozen=True)
class Health:
    """State of a listening process.

    Parameters
    ----------
    source : InputStatus
    sinks : sequence of SinkHealth
    uptime : float
        In seconds.
    """

    source: InputStatus
    sinks: Sequence[SinkHealth]
    uptime: float

    @property
    def status(self) -> str:
        """``ok``; ``degraded`` if a sink fails; ``deaf`` if no audio arrives."""
        if not self.source.ok:
            return "deaf"
        return "ok" if all(sink.ok for sink in self.sinks) else "degraded"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "status": self.status,
            "version": __version__,
            "uptime": round(self.uptime, 1),
            "source": self.source.to_dict(),
            "sinks": [asdict(sink) for sink in self.sinks],
        }


class HealthServer:
    """Serves ``GET /healthz`` in a thread: 200 while audio arrives, 503 while it does not.

    A failing sink is reported, but does not cause a 503: its events are kept in memory, and a
    restart would lose them.

    Parameters
    ----------
    address : HealthAddress
    source : callable
        Returns the status of the source.
    sinks : callable
        Returns the states of the sinks.

    Raises
    ------
    OSError
        The address does not belong to this machine, or the port is in use.

    Examples
    --------
    >>> with HealthServer(HealthAddress.parse("8001"), input_status, delivery.health) as server:
    ...     print(server.url)  # doctest: +SKIP
    http://127.0.0.1:8001/healthz
    """

    def __init__(
        self,
        address: HealthAddress,
        source: Callable[[], InputStatus],
        sinks: Callable[[], Sequence[SinkHealth]],
    ) -> None:
        begun = time.monotonic()

        def health() -> Health:
            return Health(source(), sinks(), time.monotonic() - begun)

        family, _, _, _, sockaddr = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._server = _Server(family, sockaddr, health)
        port = self._server.server_address[1]
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.url = f"http://{host}:{port}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="health", daemon=True
        )

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """HTTP server with access to the health."""

    daemon_threads = True
    block_on_close = False  # a slow client must not delay the end

    def __init__(self, family: int, sockaddr: Any, health: Callable[[], Health]) -> None:
        self.address_family = family
        self.health = health
        super().__init__(sockaddr, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that disconnect or are slow."""


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    server: _Server
    timeout = _REQUEST_SECONDS
    server_version = "ser-edge"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"the only path is {PATH}"})
            return
        health = self.server.health()
        deaf = health.status == "deaf"
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE if deaf else HTTPStatus.OK, health.to_dict())

    do_HEAD = do_GET  # noqa: N815  # http.server's name

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: monitors ask every few seconds for months."""

    def _answer(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
