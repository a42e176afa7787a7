"""A sound or a mel image -> its windows, each through the network, with their shares of speech."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_app.inference.runtime import Network, Output
from edge_app.segmentation.vad import SpeechSpan, VoiceActivityDetector, joined
from edge_app.threads import Stopped, read_ahead
from ser_edge.audio.base import MAX_SECONDS, AudioError, Float32, SoundTooLongError
from ser_edge.audio.containers import is_png
from ser_edge.audio.decode import read_blocks
from ser_edge.audio.files import open_source, source_name
from ser_edge.audio.resample import as_mono
from ser_edge.decision import speech_weights
from ser_edge.mel.image import UInt8
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.streaming import mel_windows

Sound: TypeAlias = "str | os.PathLike[str] | BinaryIO | npt.NDArray[Any] | Sequence[float]"
"""A path or a binary file object, of a sound or of a mel image; or a waveform (with its rate)."""

_BLOCKS_AHEAD: Final = 2  # of 2 MB: decoded while the network scores those before


@dataclass(frozen=True)
class ScoredSound:
    """What the network gives for a sound.

    Parameters
    ----------
    name : str
    outputs : sequence of Output
        Of each window.
    weights : ndarray
        ``float64 (windows,)``: share of speech of each, 0 to 1.
    spans : sequence of tuple
        Start and end of each in seconds.
    images : sequence of ndarray
        ``uint8 (n_mels, frames)`` of each, where they are kept.
    speech : sequence of SpeechSpan
        Where somebody speaks, whatever the windows.
    """

    name: str
    outputs: Sequence[Output]
    weights: npt.NDArray[np.float64]
    spans: Sequence[tuple[float, float]]
    images: Sequence[UInt8]
    speech: Sequence[SpeechSpan]

    @property
    def logits(self) -> list[npt.NDArray[np.float32]]:
        return [output.logits for output in self.outputs]

    @property
    def duration(self) -> float:
        return self.spans[-1][1]

    @property
    def device(self) -> str:
        """All that ran a window of it, in their order: a fallback may have taken over midway."""
        names = (name for output in self.outputs for name in output.device.split(","))
        return ",".join(dict.fromkeys(names))


@dataclass(frozen=True)
class ScoringOptions:
    """How one sound is scored.

    Parameters
    ----------
    name : str, optional
        What answers and errors call it; by default its path or the file object's name.
    stop : Event, optional
        Once it is set, :class:`edge_app.threads.Stopped` is raised at the next block or window.
    max_seconds : float
        A longer sound is rejected as soon as that is known.
    keep_images : bool
    progress : callable, optional
        Called with the seconds that have been scored.
    """

    name: str | None = None
    stop: threading.Event | None = None
    max_seconds: float = MAX_SECONDS
    keep_images: bool = False
    progress: Callable[[float], None] | None = None

    def check(self) -> None:
        """Raise Stopped where nobody waits for the answer any more."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped


def score_sound(
    network: Network,
    spec: MelImageSpec,
    sound: Sound,
    rate: int | None,
    options: ScoringOptions = ScoringOptions(),
) -> ScoredSound:
    """Score a sound window by window, or a mel image (a PNG by its first bytes).

    Raises
    ------
    AudioError, SoundTooLongError
        The sound cannot be used.
    DeviceError
        The device failed.
    Stopped
        ``options.stop`` was set.
    ValueError
        A waveform without its rate, or a rate with something else.
    """
    if isinstance(sound, (str, os.PathLike)) or hasattr(sound, "read"):
        if rate is not None:
            raise ValueError("rate goes with a waveform; a file says its own")
        source: Any = sound
        name = options.name or source_name(source)
        with open_source(source, name) as file:
            if is_png(file.read(16)):
                return _score_image(network, _read_mel_image(file, name, spec.shape), spec, name)
            blocks = checked_blocks(file, spec.sample_rate, name, options)
            with closing(read_ahead(blocks, _BLOCKS_AHEAD)) as ahead:
                return _score_blocks(network, ahead, spec, name, options)
    if rate is None:
        raise ValueError("a waveform needs its rate: predict(waveform, rate=48000)")
    name = options.name or "<waveform>"
    try:
        waveform = as_mono(sound, rate, spec.sample_rate)
    except AudioError as error:
        raise AudioError(name, error.cause) from None
    if waveform.size > options.max_seconds * spec.sample_rate:
        raise SoundTooLongError(name, options.max_seconds)
    return _score_blocks(network, iter([waveform]), spec, name, options)


def checked_blocks(
    file: BinaryIO, rate: int, name: str, options: ScoringOptions
) -> Iterator[Float32]:
    """The decoded blocks of a sound, until it is too long or the scoring should stop."""
    for block in read_blocks(file, rate, name=name, max_seconds=options.max_seconds):
        options.check()
        yield block


def _score_blocks(
    network: Network,
    blocks: Iterator[Float32],
    spec: MelImageSpec,
    name: str,
    options: ScoringOptions,
) -> ScoredSound:
    levels: list[Float32] = []
    spans: list[tuple[float, float]] = []
    images: list[UInt8] = []
    speech: list[SpeechSpan] = []
    vad = VoiceActivityDetector(spec)

    def noted() -> Iterator[UInt8]:
        for window in mel_windows(blocks, spec):
            options.check()
            end = window.end / spec.sample_rate
            levels.append(window.levels)
            spans.append((window.start / spec.sample_rate, end))
            if options.keep_images:
                images.append(window.image)
            if options.progress is not None:
                options.progress(end)
            yield window.image
            # While the device works on some windows, the VAD runs on them, and the next are
            # decoded and their images made.
            speech.extend(vad.feed(window.frames))

    with closing(network.run(noted())) as running:
        outputs = list(running)
    speech.extend(vad.finish(spans[-1][1]))
    return ScoredSound(name, outputs, speech_weights(levels), spans, images, joined(speech))


def _score_image(network: Network, image: UInt8, spec: MelImageSpec, name: str) -> ScoredSound:
    weight = np.array([1.0 if image.any() else 0.0])
    span = (0.0, spec.seconds)
    speech = [SpeechSpan(*span)] if image.any() else []
    return ScoredSound(name, list(network.run([image])), weight, [span], [image], speech)


def _read_mel_image(file: BinaryIO, name: str, shape: tuple[int, int]) -> UInt8:
    from PIL import Image, UnidentifiedImageError

    try:
        file.seek(0)
        # PNG alone: Pillow would try every other format on it, some by way of other programs.
        with Image.open(file, formats=("PNG",)) as image:
            mode, size = image.mode, image.size
            pixels = np.asarray(image) if (mode, size) == ("L", shape[::-1]) else None
    except UnidentifiedImageError:
        raise AudioError(name, "it is a damaged PNG") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise AudioError(name, f"the mel image cannot be read: {error}") from None
    if pixels is None:
        raise AudioError(
            name,
            f"it is no mel image of this model: {size[0]} x {size[1]} in mode {mode}, it should "
            f"be {shape[1]} x {shape[0]} in mode L (8-bit grey)",
        )
    return pixels
