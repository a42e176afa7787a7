"""What may stand beside an emotion where it is asked for: what is said, and what it might mean.

Neither is part of a prediction, and none of it can fail one: what is missing has a reason.
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
    speech_of,
)
from edge_app.results import Prediction
from edge_app.threads import in_background
from ser_edge.audio import decode
from ser_edge.audio.base import AudioError, Float32, Source

A_PICTURE: Final = "a mel image holds no words"

_LAST_SECONDS: Final = 5.0  # for Whisper to see that it is to stop


@dataclass(frozen=True)
class Missing:
    """Why something is not there, in one sentence."""

    reason: str


@dataclass(frozen=True)
class Words:
    """What is said in a sound and what it might mean; None where that was not asked for."""

    transcription: Transcription | Missing | None = None
    interpretation: Interpretation | Missing | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: of what was asked for."""
        told: dict[str, Any] = {}
        if isinstance(self.transcription, Transcription):
            told["transcription"] = self.transcription.text
            told["transcription_parts"] = [part.to_dict() for part in self.transcription.parts]
            told["transcription_reason"] = None
        elif self.transcription is not None:
            told["transcription"] = told["transcription_parts"] = None
            told["transcription_reason"] = self.transcription.reason
        if isinstance(self.interpretation, Interpretation):
            plain = self.interpretation.source == FROM_SCORES
            told["interpretation"] = self.interpretation.text
            told["interpretation_source"] = self.interpretation.source
            told["interpretation_reason"] = NO_MODEL if plain else None
        elif self.interpretation is not None:
            told["interpretation"] = told["interpretation_source"] = None
            told["interpretation_reason"] = self.interpretation.reason
        return told


class Wording:
    """Makes the words of one sound after the other, for the command line.

    Parameters
    ----------
    transcriber : Transcriber or None
        None: what is said is not asked for.
    interpreter : Interpreter or None
        None: what it might mean is not asked for.
    """

    def __init__(self, transcriber: Transcriber | None, interpreter: Interpreter | None) -> None:
        self._transcriber = transcriber
        self._interpreter = interpreter

    @property
    def fields(self) -> tuple[str, ...]:
        """Keys that :meth:`Words.to_dict` has for each sound, and that are one text each."""
        nothing = Missing("")
        asked = Words(
            None if self._transcriber is None else nothing,
            None if self._interpreter is None else nothing,
        )
        return tuple(key for key in asked.to_dict() if key != "transcription_parts")

    def of(self, prediction: Prediction, source: Source, is_picture: bool) -> Words:
        """The words of a sound that was heard.

        Parameters
        ----------
        prediction : Prediction
        source : path or binary file object
            The sound, to be decoded once more; a file object from its start.
        is_picture : bool
            It is a mel image.
        """
        said = None if self._transcriber is None else self._said(prediction, source, is_picture)
        meant: Interpretation | Missing | None = None
        if self._interpreter is not None:
            words = said if isinstance(said, Transcription) else None
            try:
                meant = self._interpreter.interpret(prediction, words)
            except EndpointError as error:
                meant = Missing(str(error))
        return Words(said, meant)

    def _said(
        self, prediction: Prediction, source: Source, is_picture: bool
    ) -> Transcription | Missing:
        assert self._transcriber is not None
        if is_picture:
            return Missing(A_PICTURE)
        transcriber, stop = self._transcriber, threading.Event()
        # In a thread, since a signal (Ctrl-C) has to wait for Whisper where it runs.
        said = in_background(lambda: transcribe(transcriber, prediction, source, stop), "whisper")
        try:
            return said.result()
        except (TranscriptionError, AudioError) as error:
            return Missing(str(error))
        finally:
            stop.set()
            wait([said], _LAST_SECONDS)


def transcribe(
    transcriber: Transcriber,
    prediction: Prediction,
    source: Source,
    stop: threading.Event,
) -> Transcription:
    """What is said in a sound that was heard; it is decoded once more, as far as somebody speaks.

    Raises
    ------
    TranscriptionError, AudioError
        It cannot be had.
    Stopped
        ``stop`` was set.
    """
    blocks = cast("Generator[Float32, None, None]", decode.read_blocks(source, RATE))
    with closing(blocks):  # it may not be read to its end
        return transcriber.transcribe(blocks, speech_of(prediction), stop)
