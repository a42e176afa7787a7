"""A server in a thread, and clients for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conftest import SAMPLES
from edge_app import Classifier, Event
from edge_app.language.interpretation import Interpreter
from edge_app.live.session import Live
from edge_app.server.app import ServerApp, create_app
from edge_app.server.lifecycle import EdgeServer, bind
from edge_app.server.settings import ServerSettings
from ser_edge.mel.image import UInt8

CLIP = next(path for path in SAMPLES if path.name == "man-even.wav")
LONG = next(path for path in SAMPLES if path.name == "man-long.ogg")


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A running server."""

    app: ServerApp
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    @property
    def ws(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; ``Content_Type`` becomes ``Content-Type``."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def send(
        self,
        path: str,
        content: bytes,
        name: str = "clip.wav",
        kind: str = "application/octet-stream",
        field: str = "file",
        **headers: str,
    ) -> Answer:
        """POST a form."""
        kind_header, body = form(content, name, kind, field)
        return self.ask("POST", path, body, Content_Type=kind_header, **headers)

    def until_free(self) -> None:
        """Wait until no request has a slot."""
        end = time.monotonic() + 30
        while self.get("/readyz").json["requests"]["open"]:
            assert time.monotonic() < end, "slots are not released"
            time.sleep(0.02)


def form(content: bytes, name: str, kind: str, field: str = "file") -> tuple[str, bytes]:
    """Content type and body of a form with one file."""
    head = (
        f'--xyz\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return "multipart/form-data; boundary=xyz", head.encode() + content + b"\r\n--xyz--\r\n"


class StandInLive:
    """Stand-in for a live session: the emotion depends on the last half second's loudness."""

    def __init__(self, classifier: Classifier, rate: int, source: str) -> None:
        self.classifier, self.rate, self.source = classifier, rate, source
        self.image: UInt8 | None = None
        self.samples: list[int] = []
        self._samples = np.empty(0, dtype=np.int16)
        self._done = 0.0
        self._state: str | None = None
        self._since = 0.0

    def feed(self, samples: np.ndarray) -> list[Event]:
        self.samples.append(samples.size)
        self._samples = np.concatenate([self._samples, samples])
        hop, events = self.rate // 2, []
        while self._samples.size >= hop:
            piece, self._samples = self._samples[:hop], self._samples[hop:]
            self._done += 0.5
            loud = float(np.abs(piece.astype(float)).mean()) / 32768
            emotion = "silence" if loud < 1e-3 else "happy" if loud < 0.05 else "angry"
            shape = self.classifier.manifest.spec.shape
            self.image = np.full(shape, min(255, round(1000 * loud)), dtype=np.uint8)
            events.append(self._event("window", max(0.0, self._done - 5), emotion))
            if emotion != self._state:
                events += self._close()
                self._state, self._since = emotion, self._done - 0.5
                events.append(self._event("change", self._since, emotion))
        return events

    def finish(self) -> list[Event]:
        return self._close()

    def _close(self) -> list[Event]:
        return [] if self._state is None else [self._event("segment", self._since, self._state)]

    def _event(self, kind: str, start: float, emotion: str) -> Event:
        labels = self.classifier.labels
        scores = {label: 0.5 if label == emotion else 0.5 / (len(labels) - 1) for label in labels}
        return Event(
            kind, start, self._done, "2026-01-01T00:00:00+00:00", emotion, 0.5, scores,
            self.source, self.classifier.device, self.classifier.manifest.name,
        )  # fmt: skip


@contextlib.contextmanager
def serving(
    classifier: Classifier,
    live: Callable[[Classifier, int, str], Live] = StandInLive,
    transcriber: Any = None,
    interpreter: Interpreter | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """A server on a free port of 127.0.0.1, stopped at the end."""
    app = create_app(classifier, ServerSettings(**settings), live, transcriber, interpreter)
    listening = bind("127.0.0.1", 0)
    with listening:
        port = listening.getsockname()[1]
        server = EdgeServer(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                time.sleep(0.01)
            yield Running(app, "127.0.0.1", port)
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not stop"
