"""Transcription and interpretation for ``POST /process_audio``.

They have limits of their own, so that they take no slot, thread or time from requests for emotions.
One file is transcribed at a time and a few wait; the number of open requests to the language model
is limited as well. What does not arrive in time is missing, with a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from edge_app.language.annotations import IS_MEL_IMAGE, Missing, transcribe
from edge_app.language.interpretation import (
    FROM_SCORES,
    Interpretation,
    Interpreter,
    describe_scores,
)
from edge_app.language.llm_client import EndpointError
from edge_app.language.transcription import Transcriber, Transcription, TranscriptionError
from edge_app.results import Prediction
from edge_app.server.admission import AdmissionControl
from edge_app.server.errors import ClientGoneError, RejectedError
from edge_app.server.uploads import Upload
from edge_app.threads import Stopped, in_background
from ser_edge.audio.base import AudioError

T = TypeVar("T")

Gone = Callable[[], Awaitable[Any]]
"""Coroutine function that returns when the client has disconnected."""

NO_TRANSCRIBER: Final = "this server does not transcribe: it was started without --transcribe"

MAX_TRANSCRIPTIONS: Final = 8
"""Files that are being transcribed or wait for it."""

MAX_INTERPRETATIONS: Final = 8
"""Open requests to the language model."""

_STOPPING: Final = "the server is stopping"


class _TimeoutError(Exception):
    """The result did not arrive in time."""


class _StoppingError(Exception):
    """The server is stopping."""


class AnnotationService:
    """Transcriptions and interpretations for one event loop.

    Parameters
    ----------
    transcriber : Transcriber or None
    interpreter : Interpreter
    admission : AdmissionControl
        Counts the bytes of files that wait.
    seconds : float
        Time limit for one transcription, waiting included.
    """

    def __init__(
        self,
        transcriber: Transcriber | None,
        interpreter: Interpreter,
        admission: AdmissionControl,
        seconds: float,
    ) -> None:
        self._transcriber = transcriber
        self._interpreter = interpreter
        self._admission = admission
        self._seconds = seconds
        self._turn = asyncio.Semaphore(1)  # Whisper transcribes one file at a time
        self._transcriptions = 0
        self._interpretations = 0
        self._stopping = asyncio.Event()
        self._running: Future[Transcription] | None = None
        self._stop = threading.Event()  # cancels the running transcription

    @property
    def busy(self) -> bool:
        """Whether a transcription is running, which may not end at once."""
        return self._running is not None and not self._running.done()

    def describe(self) -> dict[str, str | None]:
        """Part of ``/v1/models``; contains no path and no URL."""
        transcriber = self._transcriber
        return {
            "transcription": None if transcriber is None else transcriber.name,
            "interpretation": self._interpreter.source,
        }

    def stop(self) -> None:
        """Cancel running work; requests that wait are answered without annotations at once."""
        self._stopping.set()
        self._stop.set()

    async def transcription(
        self, upload: Upload, prediction: Prediction, seconds: float, gone: Gone
    ) -> Transcription | Missing:
        """Transcribe an upload.

        Parameters
        ----------
        upload : Upload
        prediction : Prediction
            Answer for the upload, whose segments say where speech is.
        seconds : float
            Time left for the request.
        gone : coroutine function

        Raises
        ------
        ClientGoneError
            The client has disconnected.
        """
        if self._transcriber is None:
            return Missing(NO_TRANSCRIBER)
        if upload.is_mel_image:
            return Missing(IS_MEL_IMAGE)
        if self._transcriptions >= MAX_TRANSCRIPTIONS:
            return Missing(f"{MAX_TRANSCRIPTIONS} files wait for a transcription, the maximum")
        left = min(self._seconds, seconds)
        self._transcriptions += 1
        try:
            with self._admission.reserved(upload.getbuffer().nbytes):
                return await self._wait(
                    asyncio.ensure_future(self._transcribe(upload, prediction)), left, gone
                )
        except _TimeoutError:
            return Missing(f"it was not transcribed within {left:.3g} s")
        except (_StoppingError, Stopped):
            return Missing(_STOPPING)
        except (TranscriptionError, AudioError) as error:
            return Missing(str(error))
        except RejectedError as error:  # no memory left
            return Missing(error.message)
        finally:
            self._transcriptions -= 1

    async def interpretation(
        self,
        prediction: Prediction,
        transcription: Transcription | Missing,
        seconds: float,
        gone: Gone,
    ) -> Interpretation | Missing:
        """Interpret an answer; parameters and errors as in :meth:`transcription`."""
        endpoint = self._interpreter.endpoint
        if endpoint is None:
            return Interpretation(describe_scores(prediction), FROM_SCORES)
        if self._interpretations >= MAX_INTERPRETATIONS:
            return Missing(
                f"{MAX_INTERPRETATIONS} requests to the language model are open, the maximum"
            )
        text = transcription if isinstance(transcription, Transcription) else None
        try:
            exchange = self._interpreter.start(endpoint, prediction, text)
        except EndpointError as paused:  # nothing was sent, so there is no outcome to record
            return Missing(str(paused))
        self._interpretations += 1
        try:
            answer = await self._wait(
                asyncio.wrap_future(exchange.text), min(endpoint.seconds, seconds), gone
            )
        except _TimeoutError:
            error = endpoint.timeout_error()
            if seconds >= endpoint.seconds:  # otherwise the endpoint did not have its full time
                self._interpreter.record(error)
            return Missing(str(error))
        except _StoppingError:
            return Missing(_STOPPING)
        except EndpointError as error:
            self._interpreter.record(error)
            return Missing(str(error))
        finally:
            exchange.end()
            self._interpretations -= 1
        self._interpreter.record(None)
        return Interpretation(answer, self._interpreter.source)

    async def _transcribe(self, upload: Upload, prediction: Prediction) -> Transcription:
        assert self._transcriber is not None
        transcriber, stop = self._transcriber, threading.Event()
        await self._turn.acquire()
        if self._stopping.is_set():
            self._turn.release()
            raise _StoppingError
        self._stop = stop
        work = in_background(lambda: transcribe(transcriber, prediction, upload, stop), "whisper")
        self._running = work
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(self._turn.release)

        # The turn ends with Whisper, which may be after the request has ended.
        work.add_done_callback(done)
        try:
            return await asyncio.wrap_future(work)
        finally:
            stop.set()

    async def _wait(self, result: asyncio.Future[T], seconds: float, gone: Gone) -> T:
        """Wait for a result until the time is up, the server stops or the client disconnects."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        disconnected = asyncio.ensure_future(gone())
        tasks: set[asyncio.Future[Any]] = {result, stopping, disconnected}
        try:
            await asyncio.wait(
                tasks, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
            )
            if result.done() and not result.cancelled():
                return result.result()
            if stopping.done():
                raise _StoppingError
            if disconnected.done():
                raise ClientGoneError
            raise _TimeoutError
        finally:
            for task in tasks:
                task.cancel()
