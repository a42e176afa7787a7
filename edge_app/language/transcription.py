"""Speech to text: Whisper through openvino-genai, from a local folder.

Needs the extra ``transcribe``. Whisper is given chunks that are cut in pauses: it takes at most 30
seconds, and hallucinates text in silence. A chunk can be cancelled between two tokens, and memory
does not grow with the length of the recording.
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
from edge_app.results import SILENCE, Prediction
from edge_app.threads import Stopped
from ser_edge.audio.base import Float32
from ser_edge.audio.windows import LEVEL_SECONDS, levels
from ser_edge.files import cache_folder
from ser_edge.telemetry import without_telemetry

RATE: Final = 16_000
"""Sample rate of Whisper in Hz."""

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
_MAX_SECONDS: Final = 28.0  # of a chunk; Whisper's window is 30
_CUT_SECONDS: Final = 8.0  # without a pause, the cut is at the quietest point of the last seconds
_ENOUGH_SECONDS: Final = 12.0  # a chunk this long ends at the next pause
_MARGIN_SECONDS: Final = 0.3  # kept before and after speech
_MIN_SECONDS: Final = 0.2  # a shorter chunk holds no word
_MAX_TOKENS: Final = 224  # of a chunk: half of Whisper's context, as in its reference code


class TranscriptionError(RuntimeError):
    """Whisper failed on a recording."""


@dataclass(frozen=True)
class TranscriptPart:
    """The text of one chunk: ``start`` and ``end`` in seconds, ``text``."""

    start: float
    end: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"start": round(self.start, 3), "end": round(self.end, 3), "text": self.text}


@dataclass(frozen=True)
class Transcription:
    """What is said in a recording.

    Parameters
    ----------
    parts : tuple of TranscriptPart
        In order of time; empty where nobody speaks.
    language : str or None
        Code such as ``en`` that the model detected in the first chunk; None if it does not say.
    model : str
        Name of the model's folder.
    """

    parts: tuple[TranscriptPart, ...]
    language: str | None
    model: str

    @property
    def text(self) -> str:
        """The whole text; empty where nobody speaks."""
        return " ".join(part.text for part in self.parts)


class Transcriber:
    """A loaded Whisper model. Keep it: loading is slow. It transcribes one recording at a time.

    Parameters
    ----------
    folder : str or Path
        A Whisper model as optimum-intel exports it (``docs/how-to/words.md``).
    device : str
        OpenVINO's name of a device.
    language : str, optional
        Code such as ``en``. Without one, the model detects it in each chunk.
    fallback : str, optional
        Device that is used if ``device`` cannot run the model.
    threads : int, optional
        Maximum number of CPU threads.

    Attributes
    ----------
    name : str
        Name of the folder.
    device : str
        Device that runs the model.

    Raises
    ------
    ValueError
        The extra is missing or does not match OpenVINO's release, the folder holds no Whisper
        model, or the model does not support the language.
    DeviceError
        No device can run the model.
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
        """Transcribe the speech of a recording.

        Parameters
        ----------
        blocks : iterable of ndarray
            ``float32 (n,)`` at :data:`RATE`, as from :func:`ser_edge.audio.decode.read_blocks`.
        speech : iterable of (float, float)
            Start and end of speech in seconds, in order; see :func:`speech_spans`.
        stop : Event, optional
            Cancels the transcription after the next token.

        Raises
        ------
        TranscriptionError
            The device or the model failed.
        Stopped
            ``stop`` was set.
        """
        stop = threading.Event() if stop is None else stop
        parts = []
        language = None
        with self._lock:
            for start, samples in chunks(blocks, speech):
                if stop.is_set():
                    raise Stopped
                text, detected = self._generate(samples, stop)
                language = language or detected
                if text:
                    parts.append(TranscriptPart(start, start + samples.size / RATE, text))
        return Transcription(tuple(parts), language, self.name)

    def _generate(self, samples: Float32, stop: threading.Event) -> tuple[str, str | None]:
        with without_telemetry():
            from openvino_genai import StreamingStatus

        def check_stop(_: str) -> Any:
            return StreamingStatus.CANCEL if stop.is_set() else StreamingStatus.RUNNING

        try:
            # A list: openvino-genai converts an array item by item, while it holds the GIL.
            answer = self._pipeline.generate(
                samples.tolist(), max_new_tokens=_MAX_TOKENS, streamer=check_stop, **self._options
            )
        except RuntimeError as error:
            raise TranscriptionError(f"Whisper failed: {first_line(error)}") from None
        if stop.is_set():
            raise Stopped
        language = getattr(answer, "language", None)
        return " ".join(str(answer.texts[0]).split()), str(language) if language else None


def speech_spans(prediction: Prediction) -> list[tuple[float, float]]:
    """Start and end of speech in seconds, in order, from the segments of an answer."""
    return [(s.start, s.end) for s in prediction.segments if s.emotion != SILENCE]


def merge_spans(speech: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Spans of speech -> longer spans with a margin, short pauses included.

    Parameters
    ----------
    speech : iterable of (float, float)
        Start and end in seconds, in order.

    Returns
    -------
    list of (float, float)
        In order, disjoint. A span without a pause may be longer than Whisper's window.
    """
    wide: list[tuple[float, float]] = []
    for start, end in speech:
        start, end = max(0.0, start - _MARGIN_SECONDS), end + _MARGIN_SECONDS
        if wide and start <= wide[-1][1]:
            wide[-1] = (wide[-1][0], max(end, wide[-1][1]))
        else:
            wide.append((start, end))
    merged: list[tuple[float, float]] = []
    for start, end in wide:
        if merged:
            first, last = merged[-1]
            if last - first < _ENOUGH_SECONDS and end - first <= _MAX_SECONDS:
                merged[-1] = (first, end)
                continue
        merged.append((start, end))
    return merged


def chunks(
    blocks: Iterable[Float32], speech: Iterable[tuple[float, float]]
) -> Iterator[tuple[float, Float32]]:
    """A recording -> chunks for Whisper: start in seconds, ``float32 (n,)`` of up to 28 s."""
    reader = _SpanReader(blocks)
    longest = round(_MAX_SECONDS * RATE)
    for first, last in merge_spans(speech):
        start, end = round(first * RATE), round(last * RATE)
        while start < end:
            samples = reader.read(start, min(end - start, longest))
            if samples.size == longest < end - start:
                samples = samples[: _quietest(samples)]
            if samples.size >= _MIN_SECONDS * RATE:
                yield start / RATE, samples
            if samples.size == 0:
                return
            start += samples.size


class _SpanReader:
    """Reads spans of samples from consecutive blocks; spans must be requested in order."""

    def __init__(self, blocks: Iterable[Float32]) -> None:
        self._blocks = iter(blocks)
        self._held = np.empty(0, dtype=np.float32)
        self._at = 0  # position of the first sample held

    def read(self, start: int, size: int) -> Float32:
        """Up to ``size`` samples from ``start`` on; fewer at the end of the recording."""
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


def _quietest(samples: Float32) -> int:
    """Sample at which to cut: the middle of the quietest 50 ms of the last 8 seconds."""
    first = samples.size - round(_CUT_SECONDS * RATE)
    step = round(LEVEL_SECONDS * RATE)
    return int(first + (np.argmin(levels(samples[first:], RATE)) + 0.5) * step)


# ------------------------------------------------------------------------------ opening a model


def _check_release() -> None:
    """Both packages must be of one release: otherwise openvino-genai crashes or does not load."""
    from importlib import metadata

    try:
        found = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:
        raise ValueError(
            "transcription needs the extra transcribe: pip install 'ser-edge[transcribe]'"
        ) from None
    release = ".".join(found.split(".")[:3])
    here = runtime_version()
    if release != here:
        raise ValueError(
            f"{_PACKAGE} {release} needs openvino {release}, but {here} is installed: "
            f"pip install {_PACKAGE}=={here}.*"
        )


def _options(folder: Path, language: str | None) -> dict[str, Any]:
    """Arguments of ``generate``, checked against the model in the folder."""
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{str(folder)!r} is not a Whisper model for OpenVINO: {', '.join(missing)} missing; "
            "see docs/how-to/words.md"
        )
    try:
        config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        languages = sorted(token.strip("<|>") for token in config.get("lang_to_id") or {})
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{str(folder)!r}: generation_config.json cannot be read: {error}"
        ) from None
    if not languages:  # an English-only model
        if language not in (None, "en"):
            raise ValueError(f"language is {language!r}, {folder.name} supports only English (en)")
        return {}
    if language is None:
        return {"task": "transcribe"}
    if language not in languages:
        raise ValueError(
            f"language is {language!r}, {folder.name} supports: {', '.join(languages)}"
        )
    return {"task": "transcribe", "language": f"<|{language}|>"}


def _load(folder: Path, device: str, fallback: str | None, threads: int | None) -> tuple[str, Any]:
    """Name of the device that runs the model, and the loaded pipeline."""
    with without_telemetry():
        from openvino_genai import WhisperPipeline

    here: Sequence[str] = tuple(new_core()[0].available_devices)
    name = check_device(device, here)
    settings: dict[str, Any] = {}
    cache = cache_folder()
    if cache is not None:
        settings["CACHE_DIR"] = str(cache)
    try:
        return name, WhisperPipeline(str(folder), name, **settings, **_cpu_settings(name, threads))
    except RuntimeError as error:
        failed = cannot_run(name, here, error)
        if fallback is None:
            raise failed from None
    other = check_device(fallback, here)
    try:
        pipeline = WhisperPipeline(str(folder), other, **settings, **_cpu_settings(other, threads))
    except RuntimeError as error:
        raise cannot_run(other, here, error) from None
    _LOG.warning("%s: %s; %s takes over", folder.name, failed, other)
    return other, pipeline


def _cpu_settings(device: str, threads: int | None) -> dict[str, Any]:
    return {"INFERENCE_NUM_THREADS": threads} if threads and kind(device) == "CPU" else {}
