"""What is said and what it might mean, beside the answers of ``POST /process_audio``.

They have limits of their own, so that neither takes a place, a thread or a second from those who
ask for emotions: one sound is written down at a time, some wait, the rest goes without; so do
questions to the language model. What does not come in time is left out, with a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from edge_app.language.annotations import A_PICTURE, Missing, transcribe
from edge_app.language.interpretation import (
    FROM_SCORES,
    Interpretation,
    Interpreter,
    plain_sentence,
)
from edge_app.language.llm_client import EndpointError
from edge_app.language.transcription import Transcriber, Transcription, TranscriptionError
from edge_app.results import Prediction
from edge_app.server.admission import Gate
from edge_app.server.errors import ClientGoneError, RefusedError
from edge_app.server.uploads import Upload
from edge_app.threads import Stopped, in_background
from ser_edge.audio.base import AudioError

T = TypeVar("T")

Gone = Callable[[], Awaitable[Any]]
"""Coroutine function that returns when the client has hung up."""

NO_TRANSCRIBER: Final = "this server writes nothing down: it was started without --transcribe"

WAITING: Final = 8
"""Sounds that may wait to be written down, or be."""

ASKING: Final = 8
"""Questions to the language model at the same time."""

_STOPPING: Final = "the server is stopping"


class _LateError(Exception):
    """Not within the time."""


class _StoppingError(Exception):
    """The server stops."""


class WordService:
    """Transcriptions and interpretations for one event loop.

    Parameters
    ----------
    transcriber : Transcriber or None
    interpreter : Interpreter
    gate : Gate
        Counts the bytes of sounds that wait.
    seconds : float
        For one transcription, the waiting included.
    """

    def __init__(
        self, transcriber: Transcriber | None, interpreter: Interpreter, gate: Gate, seconds: float
    ) -> None:
        self._transcriber = transcriber
        self._interpreter = interpreter
        self._gate = gate
        self._seconds = seconds
        self._turn = asyncio.Semaphore(1)  # Whisper hears one sound at a time
        self._waiting = 0
        self._asking = 0
        self._stopping = asyncio.Event()
        self._whisper: Future[Transcription] | None = None
        self._stop = threading.Event()  # of the sound that is being written down

    @property
    def busy(self) -> bool:
        """Whether Whisper is at work, which may not end at once."""
        return self._whisper is not None and not self._whisper.done()

    def describe(self) -> dict[str, str | None]:
        """What ``/v1/models`` says: no path, no address."""
        transcriber = self._transcriber
        return {
            "transcription": None if transcriber is None else transcriber.name,
            "interpretation": self._interpreter.source,
        }

    def stop(self) -> None:
        """Whoever waits goes without, at once."""
        self._stopping.set()
        self._stop.set()

    async def transcription(
        self, upload: Upload, prediction: Prediction, seconds: float, gone: Gone
    ) -> Transcription | Missing:
        """What is said in a sound.

        Parameters
        ----------
        upload : Upload
        prediction : Prediction
            Of that sound: where somebody speaks.
        seconds : float
            That are left for the request.
        gone : coroutine function

        Raises
        ------
        ClientGoneError
            It hung up.
        """
        if self._transcriber is None:
            return Missing(NO_TRANSCRIBER)
        if upload.is_mel_image:
            return Missing(A_PICTURE)
        if self._waiting >= WAITING:
            return Missing(f"{WAITING} sounds are being written down or wait for it, the most")
        left = min(self._seconds, seconds)
        self._waiting += 1
        try:
            with self._gate.keeping(upload.getbuffer().nbytes):
                return await self._first(
                    asyncio.ensure_future(self._write_down(upload, prediction)), left, gone
                )
        except _LateError:
            return Missing(f"it was not written down within {left:.3g} s")
        except (_StoppingError, Stopped):
            return Missing(_STOPPING)
        except (TranscriptionError, AudioError) as error:
            return Missing(str(error))
        except RefusedError as refused:  # no memory left
            return Missing(refused.message)
        finally:
            self._waiting -= 1

    async def interpretation(
        self,
        prediction: Prediction,
        said: Transcription | Missing,
        seconds: float,
        gone: Gone,
    ) -> Interpretation | Missing:
        """What it might mean; parameters and errors as :meth:`transcription` has them."""
        endpoint = self._interpreter.endpoint
        if endpoint is None:
            return Interpretation(plain_sentence(prediction), FROM_SCORES)
        if self._asking >= ASKING:
            return Missing(f"the language model is asked {ASKING} questions already, the most")
        words = said if isinstance(said, Transcription) else None
        try:
            exchange = self._interpreter.start(endpoint, prediction, words)
        except EndpointError as resting:  # it was not asked, so nothing came of it
            return Missing(str(resting))
        self._asking += 1
        try:
            text = await self._first(
                asyncio.wrap_future(exchange.text), min(endpoint.seconds, seconds), gone
            )
        except _LateError:
            error = endpoint.too_slow()
            if seconds >= endpoint.seconds:  # else it was not given its time
                self._interpreter.note(error)
            return Missing(str(error))
        except _StoppingError:
            return Missing(_STOPPING)
        except EndpointError as error:
            self._interpreter.note(error)
            return Missing(str(error))
        finally:
            exchange.end()
            self._asking -= 1
        self._interpreter.note(None)
        return Interpretation(text, self._interpreter.source)

    async def _write_down(self, upload: Upload, prediction: Prediction) -> Transcription:
        assert self._transcriber is not None
        transcriber, stop = self._transcriber, threading.Event()
        await self._turn.acquire()
        if self._stopping.is_set():
            self._turn.release()
            raise _StoppingError
        self._stop = stop
        said = in_background(lambda: transcribe(transcriber, prediction, upload, stop), "whisper")
        self._whisper = said
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
                loop.call_soon_threadsafe(self._turn.release)

        # Its turn ends when Whisper has ended, which may be after nobody waits any more.
        said.add_done_callback(done)
        try:
            return await asyncio.wrap_future(said)
        finally:
            stop.set()

    async def _first(self, answer: asyncio.Future[T], seconds: float, gone: Gone) -> T:
        """The answer, unless time is up, the server stops or the client goes before."""
        end = asyncio.ensure_future(self._stopping.wait())
        left = asyncio.ensure_future(gone())
        waits: set[asyncio.Future[Any]] = {answer, end, left}
        try:
            await asyncio.wait(
                waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED
            )
            if answer.done() and not answer.cancelled():
                return answer.result()
            if end.done():
                raise _StoppingError
            if left.done():
                raise ClientGoneError
            raise _LateError
        finally:
            for wait in waits:
                wait.cancel()
