"""Annotations beside an answer: what is said in a file (transcription), what it might mean.

They are optional and never make a prediction fail: an annotation that is missing has a reason.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, cast

from edge_app.language.interpretation import FROM_SCORES, NO_MODEL, Interpretation, Interpreter
from edge_app.language.llm_client import EndpointError
from edge_app.language.transcription import (
    RATE,
    Transcriber,
    Transcription,
    TranscriptionError,
    speech_spans,
)
from edge_app.results import Prediction
from edge_app.threads import in_background
from ser_edge.audio import decode
from ser_edge.audio.base import AudioError, Float32, Source

IS_MEL_IMAGE: Final = "a mel image cannot be transcribed"

_CANCEL_SECONDS: Final = 5.0  # for Whisper to stop after it was cancelled


@dataclass(frozen=True)
class Missing:
    """Why an annotation is missing, in one sentence."""

    reason: str


@dataclass(frozen=True)
class Annotations:
    """Transcription and interpretation of one file; None where not requested."""

    transcription: Transcription | Missing | None = None
    interpretation: Interpretation | Missing | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; only keys of what was requested."""
        values: dict[str, Any] = {}
        if isinstance(self.transcription, Transcription):
            values["transcription"] = self.transcription.text
            values["transcription_parts"] = [part.to_dict() for part in self.transcription.parts]
            values["transcription_reason"] = None
        elif self.transcription is not None:
            values["transcription"] = values["transcription_parts"] = None
            values["transcription_reason"] = self.transcription.reason
        if isinstance(self.interpretation, Interpretation):
            from_scores = self.interpretation.source == FROM_SCORES
            values["interpretation"] = self.interpretation.text
            values["interpretation_source"] = self.interpretation.source
            values["interpretation_reason"] = NO_MODEL if from_scores else None
        elif self.interpretation is not None:
            values["interpretation"] = values["interpretation_source"] = None
            values["interpretation_reason"] = self.interpretation.reason
        return values


class Annotator:
    """Annotates one file after the other, for the command line.

    Parameters
    ----------
    transcriber : Transcriber or None
        None: no transcription is requested.
    interpreter : Interpreter or None
        None: no interpretation is requested.
    """

    def __init__(self, transcriber: Transcriber | None, interpreter: Interpreter | None) -> None:
        self._transcriber = transcriber
        self._interpreter = interpreter

    @property
    def fields(self) -> tuple[str, ...]:
        """Keys of :meth:`Annotations.to_dict` whose value is a string or None."""
        requested = Annotations(
            None if self._transcriber is None else Missing(""),
            None if self._interpreter is None else Missing(""),
        )
        return tuple(key for key in requested.to_dict() if key != "transcription_parts")

    def annotate(self, prediction: Prediction, source: Source, is_image: bool) -> Annotations:
        """Annotations of a file that was classified.

        Parameters
        ----------
        prediction : Prediction
        source : path or binary file object
            The file, which is decoded again; a file object from its start.
        is_image : bool
            The file is a mel image.
        """
        transcription: Transcription | Missing | None = None
        if self._transcriber is not None:
            transcription = self._transcribe(self._transcriber, prediction, source, is_image)
        interpretation: Interpretation | Missing | None = None
        if self._interpreter is not None:
            text = transcription if isinstance(transcription, Transcription) else None
            try:
                interpretation = self._interpreter.interpret(prediction, text)
            except EndpointError as error:
                interpretation = Missing(str(error))
        return Annotations(transcription, interpretation)

    @staticmethod
    def _transcribe(
        transcriber: Transcriber, prediction: Prediction, source: Source, is_image: bool
    ) -> Transcription | Missing:
        if is_image:
            return Missing(IS_MEL_IMAGE)
        stop = threading.Event()
        # In a thread: the main thread must be free to handle Ctrl-C while Whisper runs.
        result = in_background(lambda: transcribe(transcriber, prediction, source, stop), "whisper")
        try:
            return result.result()
        except (TranscriptionError, AudioError) as error:
            return Missing(str(error))
        finally:
            stop.set()
            wait([result], _CANCEL_SECONDS)


def transcribe(
    transcriber: Transcriber,
    prediction: Prediction,
    source: Source,
    stop: threading.Event,
) -> Transcription:
    """Transcription of a file that was classified; it is decoded again, up to the last speech.

    Raises
    ------
    TranscriptionError, AudioError
        Whisper or the decoder failed.
    Stopped
        ``stop`` was set.
    """
    blocks = cast("Generator[Float32, None, None]", decode.read_blocks(source, RATE))
    with closing(blocks):  # it may not be read to its end
        return transcriber.transcribe(blocks, speech_spans(prediction), stop)
