"""How much is taken on at once: places for requests, bytes in memory."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

from edge_app.server.errors import RefusedError
from edge_app.server.settings import ServerSettings

_NAME_LENGTH: Final = 120
_NO_NAME: Final = "upload"


class Place:
    """A request's place, and the bytes that it holds; ``with`` gives it back.

    Where a thread goes on with the request's sound, it is given back when that thread is done,
    which may be after the client has gone.
    """

    def __init__(self, gate: Gate, client: str) -> None:
        self._gate = gate
        self._client = client
        self._bytes = 0
        self._handed_over = False

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._handed_over:
            self._leave()

    def hold(self, size: int) -> None:
        """Count bytes that have come in.

        Raises
        ------
        RefusedError
            All requests together hold too much (503).
        """
        self._gate.take(size)
        self._bytes += size

    def leave_after(self, work: Future[Any]) -> None:
        """Give it back when a thread is done."""
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(self._leave)

        self._handed_over = True
        work.add_done_callback(done)

    def _leave(self) -> None:
        self._gate.give_back(self._client, self._bytes)


class Gate:
    """Lets in so many requests at once, and so many bytes. For one event loop, no threads."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._clients: Counter[str] = Counter()
        self.bytes = 0

    @property
    def inside(self) -> int:
        """Requests that have a place."""
        return sum(self._clients.values())

    def enter(self, client: str) -> Place:
        """A place for a request.

        Raises
        ------
        RefusedError
            There is none left (503), or this client has its share (429).
        """
        most = self._settings.at_once
        if self.inside >= most:
            raise RefusedError(
                503, f"all {most} places are taken, try again in a second", "busy", retry_after=1
            )
        if self._clients[client] >= self._settings.per_client:
            raise RefusedError(
                429,
                f"your address has {self._settings.per_client} requests open, which is the most "
                "that is allowed; wait for one to be answered",
                "client",
                retry_after=1,
            )
        self._clients[client] += 1
        return Place(self, client)

    def take(self, size: int) -> None:
        """Count bytes; :meth:`Place.hold` does."""
        if self.bytes + size > self._settings.held_bytes:
            raise RefusedError(
                503,
                f"all requests together hold {self._settings.held_bytes / 2**20:.0f} MB, which is "
                "the most that is allowed; try again in a few seconds",
                "memory",
                retry_after=3,
            )
        self.bytes += size

    @contextlib.contextmanager
    def keeping(self, size: int) -> Iterator[None]:
        """Count bytes that are kept without a place, as long as the block runs.

        Raises
        ------
        RefusedError
            As :meth:`Place.hold`.
        """
        self.take(size)
        try:
            yield
        finally:
            self.bytes -= size

    def give_back(self, client: str, size: int) -> None:
        """Undo an entry; :meth:`Place.leave` does."""
        self.bytes -= size
        self._clients[client] -= 1
        if self._clients[client] <= 0:
            del self._clients[client]


def harmless_name(name: str | None) -> str:
    """What a client calls its file -> the last part of it, without control characters.

    It is only ever said back; nothing is opened by it.
    """
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return shown[:_NAME_LENGTH] if shown.strip(".") else _NO_NAME
