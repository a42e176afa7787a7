"""Voice activity detection: log-mel frames -> spans of speech, neither silence nor steady noise.

It works on the log-mel frames that the mel image is made of, so it costs no transform and no second
model. Two conditions must hold, each known from the literature:

- Sound stands out from its background. The background of a band is the least that its smoothed
  level was in the last three seconds: minimum statistics (Martin 2001, "Noise power spectral
  density estimation based on optimal smoothing and minimum statistics"), with the long-term
  spectral divergence of Ramirez et al. 2004 in mind.
- It goes up and down. Speech rises and falls some times a second in many bands at once; a fan, hum
  or rain does not, however loud it is. It is the idea of long-term signal variability (Ghosh,
  Tsiartas and Narayanan 2011). Here rises and falls are summed apart and the smaller sum counts, so
  that a fan that is switched on, which rises only, is not taken for a voice.

Then hysteresis, a minimum of speech, a minimum of silence and padding, as in silero-vad. Music,
clicks and other people's voices are taken for speech: the model's "unknown" is there for them.
Measured figures are in ``docs/how-to/live.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ser_edge.decision import SILENCE_DB
from ser_edge.mel.image import Float32, mel_filterbank
from ser_edge.mel.spec import MelImageSpec

STEP_SECONDS: Final = 0.05
"""Time from decision to decision."""

_BANDS: Final = 16
_SMOOTH_STEPS: Final = 3  # 150 ms: what a minimum is taken of
_CUT_SECONDS: Final = 0.2  # speech so shortly before the end was cut off by it
_STEADY_DB: Final = 2.5  # a band of steady Gaussian noise moves by less from step to step
_OUT_DB: Final = 6.0  # a band this far above its background stands out


@dataclass(frozen=True)
class SpeechSpan:
    """A stretch of speech, ``start`` and ``end`` in seconds."""

    start: float
    end: float


@dataclass(frozen=True)
class VADSettings:
    """What counts as speech. The defaults are those that ``docs/how-to/live.md`` measures.

    Parameters
    ----------
    movement : float
        dB that a band must have risen and have fallen within ``memory``, on average over the bands,
        for speech to begin; 0.5 to 10. Steady noise reaches 0.7.
    hold : float
        The same for speech to go on; at most ``movement``.
    breadth : float
        Share of the bands that must stand out; 0 to 1. A single tone is narrower.
    memory : float
        Seconds that rises and falls are summed over; 0.2 to 3.
    background : float
        Seconds that the least level is looked for in; 1 to 30. A noise that is switched on becomes
        background after so long.
    min_speech : float
        Seconds; less is a knock or a click, not speech; 0 to 5.
    min_silence : float
        Seconds; a shorter pause belongs to the speech around it; 0.1 to 10.
    pad : float
        Seconds put before and after, as speech begins and ends softly; 0 to 0.1.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    movement: float = 1.2
    hold: float = 0.8
    breadth: float = 0.125
    memory: float = 0.8
    background: float = 3.0
    min_speech: float = 0.2
    min_silence: float = 0.6
    pad: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("movement", 0.5, 10.0),
            ("hold", 0.0, self.movement),
            ("breadth", 0.0, 1.0),
            ("memory", 0.2, 3.0),
            ("background", 1.0, 30.0),
            ("min_speech", 0.0, 5.0),
            ("min_silence", 0.1, 10.0),
            ("pad", 0.0, 0.1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:g}, allowed: {low:g} to {high:g}")


@dataclass(frozen=True)
class _Bands:
    """Neighbouring rows of the frames that are averaged.

    Parameters
    ----------
    first : ndarray
        ``int (bands,)``, the first row of each.
    values : ndarray
        ``float32 (bands,)``, how many values of a step each is the mean of.
    least : ndarray
        ``float32 (bands,)``, power of each where white noise lies at the level below which there
        is nothing.
    """

    first: npt.NDArray[np.int_]
    values: Float32
    least: Float32


@dataclass(frozen=True)
class _Before:
    """Steps that the next ones are compared with, the latest last.

    Parameters
    ----------
    levels, smooth : ndarray
        ``float32 (n, bands)``, dB.
    moves : ndarray
        ``float32 (n, 2 * bands)``, dB: rises, then falls.
    """

    levels: Float32
    smooth: Float32
    moves: Float32


class VoiceActivityDetector:
    """Log-mel frames of a stream -> spans of speech, as soon as they are certain.

    How the frames are cut into blocks changes nothing.

    Parameters
    ----------
    spec : MelImageSpec
        Of the frames.
    settings : VADSettings

    Attributes
    ----------
    until : float
        Seconds; up to here it is decided what is speech. Behind the frames by a fifth of a second,
        or by ``min_silence`` where speech may go on after a pause.
    speaking : bool
        Whether somebody speaks at the end of the frames so far, or may do so: too short a sound
        so far, or a pause that may end.

    Examples
    --------
    >>> import numpy as np
    >>> vad = VoiceActivityDetector(MelImageSpec())
    >>> vad.feed(np.full((80, 400), -30.0, dtype=np.float32))
    ()
    >>> vad.until > 4.7
    True
    """

    def __init__(self, spec: MelImageSpec, settings: VADSettings = VADSettings()) -> None:
        self.settings = settings
        self._frames = max(1, round(STEP_SECONDS * spec.sample_rate / spec.hop_length))
        self._seconds = self._frames * spec.hop_length / spec.sample_rate
        # A step is as long as its frames are apart; their middle is that of their transform.
        self._offset = max(0.0, (spec.n_fft - spec.hop_length) / 2 / spec.sample_rate)
        self._bands = _bands_of(spec, self._frames)
        # dB -> logarithm of the power; those of a magnitude are half as many
        self._energy = np.float32(np.log(10.0) / 10.0 * 2.0 / spec.power)
        self._memory = max(2, self._steps(settings.memory))
        self._background = max(1, self._steps(settings.background))
        self._pad = self._steps(settings.pad)
        self._min_speech = self._steps(settings.min_speech)
        self._min_silence = self._steps(settings.min_silence)
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the first of a stream."""
        self._rest: Float32 | None = None
        self._before: _Before | None = None
        self._done = 0  # steps
        self._out_since: int | None = None  # step since which something stands out
        self._moving = 0  # steps of what may become speech
        self._begun: int | None = None  # step at which speech began, or what may become speech
        self._last = 0  # step after the latest of it
        self._certain = False
        self._decided = 0  # steps
        self._found: list[tuple[int, int]] = []  # speech, from step to step, not returned yet

    @property
    def until(self) -> float:
        return self._time(self._decided)

    @property
    def speaking(self) -> bool:
        return self._begun is not None

    def feed(self, frames: Float32) -> tuple[SpeechSpan, ...]:
        """Take frames in; return the speech that is certain now and was not before.

        Parameters
        ----------
        frames : ndarray
            ``float32 (n_mels, n)`` in dB, from :func:`ser_edge.mel.image.log_mel`.

        Returns
        -------
        tuple of SpeechSpan
            In their order. Speech that continues comes in spans that touch.
        """
        rest = frames if self._rest is None else np.concatenate([self._rest, frames], axis=1)
        count = rest.shape[1] // self._frames
        self._rest = rest[:, count * self._frames :].copy()
        if not count:
            return ()
        out, movement = self._measure(rest[:, : count * self._frames])
        for stands_out, moved in zip(out.tolist(), movement.tolist(), strict=True):
            self._step(stands_out, moved)
        return self._taken()

    def finish(self, end: float | None = None) -> tuple[SpeechSpan, ...]:
        """The stream has ended: decide what was open.

        Parameters
        ----------
        end : float, optional
            Seconds of sound; the last frames end a little before it. Speech that is cut off goes
            up to it.

        Returns
        -------
        tuple of SpeechSpan
        """
        if self._certain:
            self._add(min(self._done, self._last + self._pad))
        found = list(self._taken())
        if (
            self._certain
            and end is not None
            and self._done - self._last <= self._steps(_CUT_SECONDS)
        ):
            last = found.pop() if found else SpeechSpan(self.until, self.until)
            found.append(SpeechSpan(last.start, max(last.end, end)))
        self._decided = self._done
        self._certain, self._begun, self._out_since = False, None, None
        return joined(found)

    # --------------------------------------------------------------------------- measurements

    def _measure(self, frames: Float32) -> tuple[npt.NDArray[np.bool_], Float32]:
        """For each new step: whether enough bands stand out, and how much they move, in dB."""
        power = np.exp(frames * self._energy)  # a quarter of the time of 10 to some power
        # Frame by frame of all steps: a mean along so short an axis takes twice as long.
        power = sum(power[:, n :: self._frames] for n in range(self._frames))
        steps = np.add.reduceat(power, self._bands.first, axis=0).T / self._bands.values
        levels = np.float32(10.0) * np.log10(np.maximum(steps, self._bands.least))
        new = len(levels)
        if self._before is None:  # before it began it was as at its beginning
            self._before = _Before(
                np.repeat(levels[:1], _SMOOTH_STEPS - 1, axis=0),
                np.repeat(levels[:1], self._background - 1, axis=0),
                np.zeros((self._memory - 2, 2 * levels.shape[1]), dtype=np.float32),
            )
        before = self._before
        levels = np.concatenate([before.levels, levels])
        power = np.power(np.float32(10.0), levels * np.float32(0.1))
        smooth = np.float32(10.0) * np.log10(
            _sums(power, _SMOOTH_STEPS) / np.float32(_SMOOTH_STEPS)
        )
        smooth = np.concatenate([before.smooth, smooth])
        bands = levels.shape[1]
        out = levels[-new:] - _minima(smooth, self._background) > _OUT_DB
        change = levels[-new:] - levels[-new - 1 : -1]
        moves: Float32 = np.concatenate([change, -change], axis=1) - np.float32(_STEADY_DB)
        moves = np.concatenate([before.moves, np.maximum(moves, 0)])
        moved = _sums(moves, self._memory - 1)
        moved = np.minimum(moved[:, :bands], moved[:, bands:])
        self._before = _Before(
            levels[1 - _SMOOTH_STEPS :].copy(),
            smooth[new:].copy(),
            moves[new:].copy(),
        )
        enough = out.sum(axis=1) >= self.settings.breadth * bands
        return enough, moved.sum(axis=1) / np.float32(bands)

    # ------------------------------------------------------------------------------ decisions

    def _step(self, stands_out: bool, moved: float) -> None:
        settings, now = self.settings, self._done
        self._done += 1
        if not stands_out:
            self._out_since = None
        elif self._out_since is None:
            self._out_since = now
        continues = self._begun is not None
        if stands_out and moved >= (settings.hold if continues else settings.movement):
            if self._begun is None:
                # The first fall comes late: what stood out before it was speech already.
                assert self._out_since is not None
                since = max(self._out_since, now - self._memory)
                self._begun, self._moving = max(since - self._pad, self._decided), 0
            self._moving += 1
            self._last = now + 1
            self._certain = self._certain or self._moving >= self._min_speech
        if self._begun is not None and self._done - self._last >= self._min_silence:
            if self._certain:
                self._add(self._last + self._pad)
            self._certain, self._begun = False, None
        if self._certain:
            self._add(self._last)
        elif self._begun is not None:
            self._decided = max(self._decided, self._begun)
        else:
            since = self._done if self._out_since is None else self._out_since
            self._decided = max(self._decided, max(since, self._done - self._memory) - self._pad)

    def _add(self, end: int) -> None:
        """There is speech up to a step, to be returned next."""
        assert self._begun is not None
        start, self._decided = max(self._begun, self._decided), max(self._decided, end)
        if end <= start:
            return
        if self._found and self._found[-1][1] == start:
            start, _ = self._found.pop()
        self._found.append((start, end))

    def _taken(self) -> tuple[SpeechSpan, ...]:
        """The speech that was found and not returned yet."""
        found, self._found = self._found, []
        return tuple(SpeechSpan(self._time(start), self._time(end)) for start, end in found)

    def _steps(self, seconds: float) -> int:
        return max(0, round(seconds / self._seconds))

    def _time(self, step: int) -> float:
        return 0.0 if step == 0 else step * self._seconds + self._offset


def speech_of(
    frames: Float32, spec: MelImageSpec, settings: VADSettings = VADSettings()
) -> tuple[SpeechSpan, ...]:
    """Log-mel frames of a whole sound -> its spans of speech.

    Parameters
    ----------
    frames : ndarray
        ``float32 (n_mels, n)`` in dB, from :func:`ser_edge.mel.image.log_mel`.
    spec : MelImageSpec
        Of the frames.
    settings : VADSettings

    Returns
    -------
    tuple of SpeechSpan
        In their order.
    """
    vad = VoiceActivityDetector(spec, settings)
    return joined([*vad.feed(frames), *vad.finish()])


def joined(spans: Iterable[SpeechSpan]) -> tuple[SpeechSpan, ...]:
    """Spans of speech in their order, those that touch merged."""
    found: list[SpeechSpan] = []
    for span in spans:
        if found and span.start <= found[-1].end:
            found[-1] = SpeechSpan(found[-1].start, max(span.end, found[-1].end))
        else:
            found.append(span)
    return tuple(found)


def _sums(values: Float32, length: int) -> Float32:
    """``(n, bands)`` -> ``(n - length + 1, bands)``: of every ``length`` steps on end.

    Of one step, of two, of four, ... on end: those that make up ``length`` are put together.
    """
    count = len(values) - length + 1
    found: Float32 | None = None
    some, wide, done = values, 1, 0
    while True:
        if length & wide:
            piece = some[done : done + count]
            found = piece if found is None else found + piece
            done += wide
        if done == length:
            assert found is not None
            return found
        some, wide = some[:-wide] + some[wide:], 2 * wide


def _minima(values: Float32, length: int) -> Float32:
    """As :func:`_sums`, the least: of two steps, of four, of eight, ... that overlap at the end."""
    found, wide = values, 1
    while wide < length:
        step = min(wide, length - wide)
        found = np.minimum(found[:-step], found[step:])
        wide += step
    return found


@lru_cache(maxsize=8)
def _bands_of(spec: MelImageSpec, frames: int) -> _Bands:
    """Bands of steps of so many frames."""
    edges = np.linspace(0, spec.n_mels, min(_BANDS, spec.n_mels) + 1).round().astype(int)
    first, rows = edges[:-1], np.diff(edges)
    density = 10.0 ** (SILENCE_DB / 10) * 0.375 * spec.win_length  # sum of a squared Hann window
    power = density * mel_filterbank(spec).sum(axis=0)
    least = (np.add.reduceat(power, first) / rows).astype(np.float32)
    return _Bands(first, (rows * frames).astype(np.float32), least)
