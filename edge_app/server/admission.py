"""Admission control: how many requests and how many bytes the server handles at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

from edge_app.server.errors import RejectedError
from edge_app.server.settings import ServerSettings

_NAME_LENGTH: Final = 120
_NO_NAME: Final = "upload"


class Slot:
    """Permission for one request, with the bytes that it holds; a context manager releases it.

    If a thread continues with the upload, the slot is released when that thread is done, which may
    be after the client has disconnected.
    """

    def __init__(self, admission: AdmissionControl, client: str) -> None:
        self._admission = admission
        self._client = client
        self._bytes = 0
        self._handed_over = False

    def __enter__(self) -> Slot:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._handed_over:
            self._release()

    def reserve(self, size: int) -> None:
        """Count bytes that were received.

        Raises
        ------
        RejectedError
            All requests together hold too much (503).
        """
        self._admission.reserve(size)
        self._bytes += size

    def release_after(self, work: Future[Any]) -> None:
        """Release the slot when a thread is done, in place of the context manager."""
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(self._release)

        self._handed_over = True
        work.add_done_callback(done)

    def _release(self) -> None:
        self._admission.release(self._client, self._bytes)


class AdmissionControl:
    """Limits open requests, in total and per client, and bytes in memory.

    For one event loop; not thread-safe.

    Attributes
    ----------
    bytes : int
        Held by all requests together.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._clients: Counter[str] = Counter()
        self.bytes = 0

    @property
    def open_requests(self) -> int:
        """Requests that have a slot."""
        return sum(self._clients.values())

    def admit(self, client: str) -> Slot:
        """A slot for a request of a client (its address).

        Raises
        ------
        RejectedError
            All slots are taken (503), or this client has too many (429).
        """
        limit = self._settings.at_once
        if self.open_requests >= limit:
            raise RejectedError(
                503, f"all {limit} slots are taken, try again in a second", "busy", retry_after=1
            )
        if self._clients[client] >= self._settings.per_client:
            raise RejectedError(
                429,
                f"your address has {self._settings.per_client} requests open, the maximum; wait "
                "for an answer",
                "client",
                retry_after=1,
            )
        self._clients[client] += 1
        return Slot(self, client)

    def reserve(self, size: int) -> None:
        """Count bytes; for :meth:`Slot.reserve`."""
        if self.bytes + size > self._settings.held_bytes:
            raise RejectedError(
                503,
                f"all requests together hold {self._settings.held_bytes / 2**20:.0f} MB, the "
                "maximum; try again in a few seconds",
                "memory",
                retry_after=3,
            )
        self.bytes += size

    @contextlib.contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Count bytes that are held without a slot, for the duration of the block.

        Raises
        ------
        RejectedError
            As :meth:`Slot.reserve`.
        """
        self.reserve(size)
        try:
            yield
        finally:
            self.bytes -= size

    def release(self, client: str, size: int) -> None:
        """Undo an admission; for :class:`Slot`."""
        self.bytes -= size
        self._clients[client] -= 1
        if self._clients[client] <= 0:
            del self._clients[client]


def safe_name(name: str | None) -> str:
    """The file name that a client sends -> its last part, without control characters.

    It only appears in answers; no file is opened by it.
    """
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return shown[:_NAME_LENGTH] if shown.strip(".") else _NO_NAME
