"""What is said: Whisper through openvino-genai, from a folder on this machine.

Needs the extra ``transcribe``. A sound goes to Whisper in pieces, cut where nobody speaks: it was
made for 30 seconds and invents words where there is only silence. Every piece can be given up
between two words, and memory does not grow with the length of the sound.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_app.inference.devices import (
    cannot_run,
    check_device,
    first_line,
    kind,
    new_core,
    runtime_version,
)
from edge_app.inference.runtime import cache_folder
from edge_app.results import SILENCE, Prediction
from edge_app.threads import Stopped
from ser_edge.audio.decode import LEVEL_SECONDS, Float32, levels
from ser_edge.telemetry import without_telemetry

RATE: Final = 16_000
"""Hz that Whisper hears."""

_LOG: Final = logging.getLogger("edge_app")

_PACKAGE: Final = "openvino-genai"
_FILES: Final = (
    "openvino_encoder_model.xml",
    "openvino_decoder_model.xml",
    "openvino_detokenizer.xml",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
)
_MOST_SECONDS: Final = 28.0  # of a piece; Whisper's window is 30
_CUT_SECONDS: Final = 8.0  # without a pause it is cut where these last are quietest
_ENOUGH_SECONDS: Final = 12.0  # a piece this long ends at the next pause
_MARGIN_SECONDS: Final = 0.3  # kept before and after speech
_LEAST_SECONDS: Final = 0.2  # what is shorter is no word
_MOST_TOKENS: Final = 224  # of a piece: half of Whisper's context, which its own code allows, too


class TranscriptionError(RuntimeError):
    """Whisper failed on a sound."""


@dataclass(frozen=True)
class Said:
    """A piece of what is said: ``start`` and ``end`` in seconds, ``text``."""

    start: float
    end: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"start": round(self.start, 3), "end": round(self.end, 3), "text": self.text}


@dataclass(frozen=True)
class Transcription:
    """What is said in a sound.

    Parameters
    ----------
    parts : tuple of Said
        In their order; none where nobody speaks.
    language : str or None
        Code such as ``en``, as the model took it for the first piece; None where it does not say.
    model : str
        Name of its folder.
    """

    parts: tuple[Said, ...]
    language: str | None
    model: str

    @property
    def text(self) -> str:
        """All of it; empty where nobody speaks."""
        return " ".join(part.text for part in self.parts)


class Transcriber:
    """Writes down what is said. Make one and keep it; it hears one sound at a time.

    Parameters
    ----------
    folder : str or Path
        A Whisper model as optimum-intel exports it (``docs/how-to/words.md``).
    device : str
        OpenVINO's name of a device.
    language : str, optional
        Code such as ``en``. Without one, the model finds out for each piece.
    fallback : str, optional
        Device that is taken where ``device`` cannot run it.
    threads : int, optional
        Of the CPU, at most.

    Attributes
    ----------
    name : str
        Of the folder.
    device : str
        That runs it.

    Raises
    ------
    ValueError
        The extra is missing or of another release than OpenVINO, the folder is no such model, it
        does not know the language.
    DeviceError
        No device runs it.
    """

    def __init__(
        self,
        folder: str | Path,
        device: str = "CPU",
        language: str | None = None,
        *,
        fallback: str | None = None,
        threads: int | None = None,
    ) -> None:
        _check_release()
        path = Path(folder)
        self.name = path.resolve().name
        self._options = _options(path, language)
        self.device, self._pipeline = _load(path, device, fallback, threads)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Transcriber({self.name!r}, device={self.device!r})"

    def transcribe(
        self,
        blocks: Iterable[Float32],
        speech: Iterable[tuple[float, float]],
        stop: threading.Event | None = None,
    ) -> Transcription:
        """What is said in a sound.

        Parameters
        ----------
        blocks : iterable of ndarray
            ``float32 (n,)`` at :data:`RATE`: :func:`ser_edge.audio.decode.read_blocks` gives them.
        speech : iterable of (float, float)
            From when to when somebody speaks, in seconds, in order; :func:`speech_of` knows.
        stop : Event, optional
            Once it is set, it ends after the next word.

        Raises
        ------
        TranscriptionError
            The device or the model failed.
        Stopped
            It was told to stop.
        """
        stop = threading.Event() if stop is None else stop
        parts = []
        language = None
        with self._lock:
            for start, sound in pieces(blocks, speech):
                if stop.is_set():
                    raise Stopped
                text, spoken = self._hear(sound, stop)
                language = language or spoken
                if text:
                    parts.append(Said(start, start + sound.size / RATE, text))
        return Transcription(tuple(parts), language, self.name)

    def _hear(self, sound: Float32, stop: threading.Event) -> tuple[str, str | None]:
        with without_telemetry():
            from openvino_genai import StreamingStatus

        def go_on(_: str) -> Any:
            return StreamingStatus.CANCEL if stop.is_set() else StreamingStatus.RUNNING

        try:
            # A list: openvino-genai takes an array number by number, and nothing else runs.
            answer = self._pipeline.generate(
                sound.tolist(), max_new_tokens=_MOST_TOKENS, streamer=go_on, **self._options
            )
        except RuntimeError as error:
            raise TranscriptionError(f"Whisper failed: {first_line(error)}") from None
        if stop.is_set():
            raise Stopped
        language = getattr(answer, "language", None)
        return " ".join(str(answer.texts[0]).split()), str(language) if language else None


def speech_of(prediction: Prediction) -> list[tuple[float, float]]:
    """From when to when somebody speaks in a sound, in seconds, by its segments."""
    return [(s.start, s.end) for s in prediction.segments if s.emotion != SILENCE]


def stretches(speech: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Speech -> what is heard at once: sentences together, pauses left out where they may be.

    Parameters
    ----------
    speech : iterable of (float, float)
        Seconds, in order.

    Returns
    -------
    list of (float, float)
        In order, none within another. One without a pause may be longer than Whisper's window.
    """
    wide: list[tuple[float, float]] = []
    for start, end in speech:
        start, end = max(0.0, start - _MARGIN_SECONDS), end + _MARGIN_SECONDS
        if wide and start <= wide[-1][1]:
            wide[-1] = (wide[-1][0], max(end, wide[-1][1]))
        else:
            wide.append((start, end))
    together: list[tuple[float, float]] = []
    for start, end in wide:
        if together:
            begun, until = together[-1]
            if until - begun < _ENOUGH_SECONDS and end - begun <= _MOST_SECONDS:
                together[-1] = (begun, end)
                continue
        together.append((start, end))
    return together


def pieces(
    blocks: Iterable[Float32], speech: Iterable[tuple[float, float]]
) -> Iterator[tuple[float, Float32]]:
    """A sound -> what Whisper is given: when it begins, in seconds, and up to 28 s of sound."""
    reader = _Reader(blocks)
    most = round(_MOST_SECONDS * RATE)
    for begin, until in stretches(speech):
        start, end = round(begin * RATE), round(until * RATE)
        while start < end:
            sound = reader.read(start, min(end - start, most))
            if sound.size == most < end - start:
                sound = sound[: _quietest(sound)]
            if sound.size >= _LEAST_SECONDS * RATE:
                yield start / RATE, sound
            if sound.size == 0:
                return
            start += sound.size


class _Reader:
    """Blocks one after the other -> any stretch of them, if those are asked for in order."""

    def __init__(self, blocks: Iterable[Float32]) -> None:
        self._blocks = iter(blocks)
        self._held = np.empty(0, dtype=np.float32)
        self._at = 0  # where what is held begins, in samples

    def read(self, start: int, size: int) -> Float32:
        """Up to ``size`` samples from ``start`` on; fewer at the end of the sound."""
        while self._at + self._held.size < start + size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._drop(start)
            self._held = np.concatenate([self._held, block])
        self._drop(start)
        return self._held[:size]

    def _drop(self, start: int) -> None:
        gone = min(max(0, start - self._at), self._held.size)
        self._held = self._held[gone:]
        self._at += gone


def _quietest(sound: Float32) -> int:
    """Where to cut a sound that goes on: amid the quietest 50 ms of its last seconds."""
    first = sound.size - round(_CUT_SECONDS * RATE)
    step = round(LEVEL_SECONDS * RATE)
    return int(first + (np.argmin(levels(sound[first:], RATE)) + 0.5) * step)


# ------------------------------------------------------------------------------ opening a model


def _check_release() -> None:
    """openvino-genai crashes, or does not load, beside another release of openvino."""
    from importlib import metadata

    try:
        found = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise ValueError(
            "writing down what is said needs the extra transcribe: "
            "pip install 'ser-edge[transcribe]'"
        ) from None
    release = ".".join(found.split(".")[:3])
    here = runtime_version()
    if release != here:
        raise ValueError(
            f"{_PACKAGE} {release} needs openvino {release}, here is {here}: "
            f"pip install {_PACKAGE}=={here}.*"
        )


def _options(folder: Path, language: str | None) -> dict[str, Any]:
    """What ``generate`` is told, from what the folder says of its model."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{str(folder)!r} is no Whisper model for OpenVINO: it has no {', '.join(missing)}; "
            "docs/how-to/words.md says how one is made"
        )
    try:
        said = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        languages = sorted(token.strip("<|>") for token in said.get("lang_to_id") or {})
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{str(folder)!r}: generation_config.json cannot be read: {error}"
        ) from None
    if not languages:  # Whisper's models for English alone
        if language not in (None, "en"):
            raise ValueError(f"language is {language!r}, {folder.name} knows English (en) alone")
        return {}
    if language is None:
        return {"task": "transcribe"}
    if language not in languages:
        raise ValueError(f"language is {language!r}, {folder.name} knows: {', '.join(languages)}")
    return {"task": "transcribe", "language": f"<|{language}|>"}


def _load(folder: Path, device: str, fallback: str | None, threads: int | None) -> tuple[str, Any]:
    """The device that runs the model, and the model."""
    with without_telemetry():
        from openvino_genai import WhisperPipeline

    here: Sequence[str] = tuple(new_core()[0].available_devices)
    name = check_device(device, here)
    settings: dict[str, Any] = {}
    cache = cache_folder()
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    try:
        return name, WhisperPipeline(str(folder), name, **settings, **_of_cpu(name, threads))
    except RuntimeError as error:
        failed = cannot_run(name, here, error)
        if fallback is None:
            raise failed from None
    other = check_device(fallback, here)
    try:
        pipeline = WhisperPipeline(str(folder), other, **settings, **_of_cpu(other, threads))
    except RuntimeError as error:
        raise cannot_run(other, here, error) from None
    _LOG.warning("%s: %s; %s takes over", folder.name, failed, other)
    return other, pipeline


def _of_cpu(device: str, threads: int | None) -> dict[str, Any]:
    return {"INFERENCE_NUM_THREADS": threads} if threads and kind(device) == "CPU" else {}
