"""The threads that decode and classify, so that the event loop never waits for either."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np

from edge_app.classifier import Classifier
from edge_app.inference.devices import DeviceError
from edge_app.live.session import Live
from edge_app.results import SILENCE, Event, Prediction
from edge_app.scoring import ScoringOptions, checked_blocks
from edge_app.server.admission import Slot
from edge_app.server.errors import ClientGoneError, RejectedError
from edge_app.server.settings import ServerSettings
from edge_app.server.uploads import Upload
from edge_app.threads import Stopped
from ser_edge.audio.base import SoundTooLongError
from ser_edge.mel.streaming import mel_windows

T = TypeVar("T")

_CHECK_SECONDS: Final = 5.0  # between attempts on a device that failed
_LAST_SECONDS: Final = 0.5  # for answers that are almost there when the server stops


MakeLive = Callable[[Classifier, int, str], Live]
"""A classifier, a rate in Hz, the name of a source -> something that listens."""


def make_live(classifier: Classifier, rate: int, source: str) -> Live:
    """The real one, with its own settings."""
    return Live(classifier, rate, source)


class Engine:
    """A classifier and the threads that ask it.

    Parameters
    ----------
    classifier : Classifier
    settings : ServerSettings
    live : function
        Makes what listens to a stream.

    Attributes
    ----------
    device_error : str or None
        What the device said when it failed last; None once it has worked again.
    """

    def __init__(
        self, classifier: Classifier, settings: ServerSettings, live: MakeLive = make_live
    ) -> None:
        self.device_error: str | None = None
        self._tried = 0.0
        self.classifier = classifier
        self._settings = settings
        self._live = live
        self._files = ThreadPoolExecutor(settings.workers, "file")
        # Streams have threads of their own: a hop must not wait behind files that are decoded.
        self._hops = ThreadPoolExecutor(min(4, max(1, settings.streams)), "stream")
        self._jobs: set[threading.Event] = set()  # each stops the work on a file
        self._stopping = asyncio.Event()

    async def predict(
        self, upload: Upload, slot: Slot, gone: Callable[[], Any] | None = None
    ) -> Prediction:
        """Answer a sound or a mel image.

        Parameters
        ----------
        upload : Upload
        slot : Slot
            Given back when the thread is done.
        gone : coroutine function, optional
            Returns when the client has hung up.

        Raises
        ------
        AudioError, DeviceError
            As :meth:`edge_app.Classifier.predict`.
        RejectedError
            413 too long, 503 took too long.
        ClientGoneError
            It hung up; the work is dropped.
        """
        with self._device():
            answer = await self._run(lambda stop: self._predict(upload, stop), slot, gone)
        self.device_error = None
        return answer

    async def image(
        self, upload: Upload, start: float, slot: Slot, gone: Callable[[], Any] | None = None
    ) -> bytes:
        """The mel image of the window that begins nearest to ``start`` seconds, as PNG."""
        return await self._run(lambda stop: self._image(upload, start, stop), slot, gone)

    async def open_stream(self, rate: int, source: str) -> Live:
        """Something that listens to a stream."""
        return await self._hop(lambda: self._live(self.classifier, rate, source))

    async def feed(self, live: Live, pcm: bytes) -> list[Event]:
        """Signed 16-bit little-endian mono PCM -> events."""
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
        with self._device():
            events = await self._hop(lambda: live.feed(samples))
        if any(event.emotion != SILENCE for event in events):  # else it did not run
            self.device_error = None
        return events

    async def finish(self, live: Live) -> list[Event]:
        """Close the open segment of a stream."""
        with self._device():
            return await self._hop(live.finish)

    async def check(self) -> None:
        """Try a device that failed once more: where nobody is sent here, nobody else would."""
        now = time.monotonic()
        if self.device_error is None or now - self._tried < _CHECK_SECONDS:
            return
        self._tried = now
        black = np.zeros(self.classifier.manifest.spec.shape, dtype=np.uint8)
        try:
            with self._device():
                await self._hop(lambda: self.classifier.network.logits(black))
        except (DeviceError, RejectedError):
            return
        self.device_error = None

    def begin_to_stop(self) -> None:
        """Whoever waits for a file's answer gets it within half a second, or status 503."""
        self._stopping.set()

    def stop(self) -> None:
        """Take nothing on any more; what is being decoded stops within a block."""
        self._stopping.set()
        for stop in list(self._jobs):
            stop.set()
        self._files.shutdown(wait=False, cancel_futures=True)
        self._hops.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> bool:
        """Whether a thread is still at work on a file."""
        return bool(self._jobs)

    @contextmanager
    def _device(self) -> Iterator[None]:
        """Note whether the device fails in the block."""
        try:
            yield
        except DeviceError as error:
            self.device_error, self._tried = str(error), time.monotonic()
            raise

    async def _run(
        self, work: Callable[[threading.Event], T], slot: Slot, gone: Callable[[], Any] | None
    ) -> T:
        stop = threading.Event()
        try:
            future: Future[T] = self._files.submit(work, stop)
        except RuntimeError:  # shut down meanwhile
            raise stopping() from None
        self._jobs.add(stop)
        future.add_done_callback(lambda _: self._jobs.discard(stop))
        slot.release_after(future)
        answer = asyncio.wrap_future(future)
        end = asyncio.ensure_future(self._stopping.wait())
        waits: set[asyncio.Future[Any]] = {answer, end}
        if gone is not None:
            waits.add(asyncio.ensure_future(gone()))
        try:
            await asyncio.wait(
                waits, timeout=self._settings.answer_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if end.done():
                await asyncio.wait({answer}, timeout=_LAST_SECONDS)
            if answer.done() and not answer.cancelled():
                return answer.result()
            if end.done():
                raise stopping()
            if any(wait.done() for wait in waits):
                raise ClientGoneError
            raise _too_slow(self._settings)
        finally:
            stop.set()
            for wait in waits:
                wait.cancel()

    async def _hop(self, work: Callable[[], T]) -> T:
        try:
            future = self._hops.submit(work)
        except RuntimeError:  # shut down meanwhile
            raise stopping() from None
        return await asyncio.wrap_future(future)

    def _predict(self, upload: Upload, stop: threading.Event) -> Prediction:
        with _as_rejections():
            return self.classifier.predict(
                upload, name=upload.name, stop=stop, max_seconds=self._settings.sound_seconds
            )

    def _image(self, upload: Upload, start: float, stop: threading.Event) -> bytes:
        from PIL import Image

        spec = self.classifier.manifest.spec
        options = ScoringOptions(stop=stop, max_seconds=self._settings.sound_seconds)
        with _as_rejections():
            blocks = checked_blocks(upload, spec.sample_rate, upload.name, options)
            windows = mel_windows(blocks, spec)
            window = min(windows, key=lambda w: abs(w.start / spec.sample_rate - start))
        file = io.BytesIO()
        Image.fromarray(window.image).save(file, "PNG")
        return file.getvalue()


@contextmanager
def _as_rejections() -> Iterator[None]:
    """A sound that is too long, or that nobody waits for, as what the request answers."""
    try:
        yield
    except SoundTooLongError as error:
        raise RejectedError(413, str(error), "length") from None
    except Stopped:
        raise ClientGoneError from None


def _too_slow(settings: ServerSettings) -> RejectedError:
    return RejectedError(
        503,
        f"it took longer than {settings.answer_seconds:g} s, which is the most that is allowed; "
        "try a shorter sound, or later",
        "time",
        retry_after=5,
    )


def stopping() -> RejectedError:
    """The server is about to end."""
    return RejectedError(503, "the server is stopping", "stopping", retry_after=10)
