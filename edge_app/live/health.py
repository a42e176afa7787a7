"""``GET /healthz`` of a program that listens: plain HTTP, no framework.

It is there where FastAPI is not: ``edge-app listen`` is part of the base install.
"""

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
_LOOK_SECONDS: Final = 0.1  # so soon the thread sees that it should end
_SLOW_SECONDS: Final = 5.0  # in which a request must have come


@dataclass(frozen=True)
class HealthAddress:
    """Where it is asked for.

    Parameters
    ----------
    host : str
    port : int
        0 to 65535; 0 takes a free one.

    Raises
    ------
    ValueError
        A port that is not allowed.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, allowed: 0 to 65535")

    @classmethod
    def parse(cls, text: str) -> HealthAddress:
        """``8001`` is this machine's alone; ``0.0.0.0:8001`` and ``[::]:8001`` are anybody's.

        Raises
        ------
        ValueError
            It is neither a port nor a host and a port.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit()) or (text.startswith(":")):
            raise ValueError(f"{text!r} is no address, allowed: PORT or HOST:PORT")
        return cls(host.strip("[]") or _LOOPBACK, int(port))


@dataclass(frozen=True)
class Health:
    """How a program that listens does.

    Parameters
    ----------
    source : InputStatus
    sinks : sequence of SinkHealth
    uptime : float
        Seconds.
    """

    source: InputStatus
    sinks: Sequence[SinkHealth]
    uptime: float

    @property
    def status(self) -> str:
        """``ok``; ``degraded`` where a sink fails; ``deaf`` where no sound comes."""
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
    """Answers ``GET /healthz`` in a thread of its own: 200 while it hears, 503 while it does not.

    A sink that fails is told in the answer and makes it no 503: the sound is heard, its events are
    kept, and a restart would lose them.

    Parameters
    ----------
    address : HealthAddress
    source : callable
        Gives the state of the source.
    sinks : callable
        Gives that of the sinks.

    Raises
    ------
    OSError
        No such address here, or the port is taken.

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

        family, _, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        self._server = _Server(family, place, health)
        port = self._server.server_address[1]
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.url = f"http://{host}:{port}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="health", daemon=True
        )

    def __enter__(self) -> HealthServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Knows whom to ask."""

    daemon_threads = True
    block_on_close = False  # a slow client must not hold up the end

    def __init__(self, family: int, place: Any, health: Callable[[], Health]) -> None:
        self.address_family = family
        self.health = health
        super().__init__(place, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that hangs up or is slow is no news."""


class _Handler(BaseHTTPRequestHandler):
    """One request, one answer."""

    server: _Server
    timeout = _SLOW_SECONDS
    server_version = "ser-edge"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"there is only {PATH}"})
            return
        health = self.server.health()
        hears = health.status != "deaf"
        self._answer(HTTPStatus.OK if hears else HTTPStatus.SERVICE_UNAVAILABLE, health.to_dict())

    do_HEAD = do_GET  # noqa: N815  # http.server's name

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: one line each ten seconds for months would be all that the log holds."""

    def _answer(self, status: HTTPStatus, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
