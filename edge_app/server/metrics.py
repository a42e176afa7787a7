"""Metrics of a server, in Prometheus' format."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from edge_app.server.errors import AsgiApp, Message, Receive, Scope, Send

CONTENT_TYPE: Final[str] = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Metrics of one server, in a registry of their own so that several servers do not mix."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "ser_edge_requests_total", "Requests by path and status", ["path", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "ser_edge_request_seconds", "Seconds from request to end of response",
            ["path"], buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.rejected = Counter(
            "ser_edge_refused_total", "Requests rejected, by reason", ["reason"], registry=registry
        )
        self.answers = Counter(
            "ser_edge_answers_total", "Files classified, by emotion", ["emotion"], registry=registry
        )
        self.sound = Counter(
            "ser_edge_sound_seconds_total", "Seconds of audio classified, of files and streams",
            registry=registry,
        )  # fmt: skip
        self.open_requests = Gauge(
            "ser_edge_requests_open", "Requests with a slot", registry=registry
        )
        self.held = Gauge("ser_edge_held_bytes", "Bytes of uploads in memory", registry=registry)
        self.streams = Gauge("ser_edge_streams_open", "Open WebSockets", registry=registry)
        self.windows = Counter(
            "ser_edge_stream_windows_total", "Windows classified for WebSockets", registry=registry
        )
        self.annotations = Counter(
            "ser_edge_words_total", "Annotations of answers, by outcome: there or missing",
            ["field", "outcome"], registry=registry,
        )  # fmt: skip
        self.failures = Counter(
            "ser_edge_device_failures_total", "Failures of the device", registry=registry
        )
        self.model = Gauge(
            "ser_edge_model_info", "The loaded model; always 1",
            ["model", "device", "precision"], registry=registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts and times every request. Unknown paths share one label, so labels cannot pile up.

    Parameters
    ----------
    app : ASGI application
    metrics : Metrics
    paths : set of str
        Paths with a label of their own.
    """

    def __init__(self, app: AsgiApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and measure it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        status = "none"  # the client disconnected before a response
        begun = time.perf_counter()

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"].endswith("response.start"):
                status = str(message["status"])
            elif message["type"] == "websocket.accept":
                status = "101"
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.requests.labels(path, status).inc()
            if scope["type"] == "http":
                self._metrics.seconds.labels(path).observe(time.perf_counter() - begun)
