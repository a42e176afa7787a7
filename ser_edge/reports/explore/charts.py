"""What was measured of a sound or a corpus -> charts of a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap

from ser_edge.reports.explore.voice import NOTES, PITCH_HZ, Part, Views, Voice
from ser_edge.reports.figures import (
    ACCENT,
    COLOURS,
    INK,
    MEL_COLOURS,
    MUTED,
    WARM,
    Chart,
    band_of,
    bare,
    canvas,
    show_mel,
    svg,
)

Float = npt.NDArray[np.floating]

_WIDE: Final = 1000
_HALF: Final = 490
_COLUMNS: Final = 480  # of a wave: more than a screen shows of a card
_BINS: Final = 24  # of the histogram of durations
_LOUDNESS_DB: Final = 60
_SPREAD: Final = 2.2  # standard deviations to both ends of the colours of an MFCC
_SOFT: Final = "#92b4c5"
_BOTH_SIDES: Final = ("#78c4e8", "#265c80", "#101218", "#96421c", "#fab078")
"""Blue over black to orange, for values around zero."""


# ------------------------------------------------------------------------------------------- a clip


def clip_charts(views: Views) -> tuple[Chart, ...]:
    """All that is drawn of a clip, in the order of its page."""
    return (
        _waveform(views.voice),
        _mel_image(views),
        _pitch(views.voice),
        _loudness(views.voice),
        _mfcc(views),
        _chroma(views),
        _part("Harmonic part", "What lies still: vowels, hums. Ridges along time.", views,
              views.harmonic),
        _part("Percussive part", "What strikes: consonants, clicks, and the single pulses of a "
              "low, creaking voice. Ridges across all bands.", views, views.percussive),
        _autocorrelation(views),
        _moment(views),
    )  # fmt: skip


@contextmanager
def _over_time(voice: Voice, height: float, width: float = _WIDE) -> Iterator[tuple[Any, Any]]:
    with canvas(width, height + 32) as (figure, axis):
        # All of a page alike, so that what happens at one time lies at one place.
        figure.set_layout_engine(None)
        figure.subplots_adjust(
            62 / width, 26 / (height + 32), 1 - 22 / width, 1 - 6 / (height + 32)
        )
        axis.set(xlim=(0, voice.seconds))
        axis.locator_params(axis="x", nbins=8 if width == _WIDE else 5)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
        axis.spines["left"].set_visible(False)
        yield figure, axis


def _times(voice: Voice) -> npt.NDArray[np.float64]:
    return np.arange(len(voice.rms), dtype=np.float64) * (
        voice.spec.hop_length / voice.spec.sample_rate
    )


def _image(axis: Any, values: Float, voice: Voice, low: float = 0.0, **options: Any) -> None:
    rows = values.shape[0]
    extent = (0, voice.seconds, *options.pop("rows", (0, rows)))
    axis.imshow(
        values, origin="lower", aspect="auto", interpolation="none", extent=extent, vmin=low,
        **{"cmap": MEL_COLOURS, "vmax": 1, **options},
    )  # fmt: skip


def _waveform(voice: Voice) -> Chart:
    with _over_time(voice, 130) as (figure, axis):
        top, bottom = _outline(voice.waveform)
        x = np.linspace(0, voice.seconds, len(top))
        axis.fill_between(x, bottom, top, color=_SOFT, linewidth=0)
        rms = 10 ** (voice.rms / 20)
        axis.fill_between(_times(voice), -rms, rms, color=ACCENT, linewidth=0)
        peak = float(np.abs(voice.waveform).max())
        axis.set_yticks((-peak, 0, peak), (f"-{peak:.2g}", "0", f"{peak:.2g}"))
        axis.grid(axis="y")
        return Chart(
            "Waveform",
            svg(figure, "Waveform of the clip"),
            "Pressure over time, as the microphone measured it. The darker core is its RMS.",
        )


def _mel_image(views: Views) -> Chart:
    voice = views.voice
    with _over_time(voice, 208) as (figure, axis):
        show_mel(axis, views.mel, voice.spec, voice.seconds)
        axis.plot(_times(voice), band_of(voice.pitch, voice.spec), color="#e8fbff", linewidth=1.6)
        axis.set(ylabel="Hz", xlim=(0, voice.seconds))
        return Chart(
            "Mel image",
            svg(figure, "Mel image of the clip with the pitch drawn over it"),
            "Energy by band, in dB: low bands at the bottom, spaced as hearing spaces them. This "
            "is what the network looks at, five seconds at a time. The line is the pitch.",
        )


def _pitch(voice: Voice) -> Chart:
    found = voice.pitch[np.isfinite(voice.pitch)]
    low, high = PITCH_HZ
    if found.size:
        low = max(low, float(found.min()) / 1.25)
        high = min(high, float(found.max()) * 1.25)
    marks = [hz for hz in (60, 80, 100, 150, 200, 300, 400, 500, 600, 800) if low <= hz <= high]
    with _over_time(voice, 140) as (figure, axis):
        axis.plot(_times(voice), voice.pitch, color=ACCENT, linewidth=2)
        _notes(axis, low, high)
        axis.set_yticks(marks, [f"{hz} Hz" for hz in marks])
        axis.grid(axis="y")
        span = f", from {found.min():.0f} to {found.max():.0f} Hz" if found.size else ": no voice"
        return Chart(
            "Pitch",
            svg(figure, f"Pitch over time{span}"),
            "How fast the vocal folds open and close: pYIN's answer, on a scale of notes. Gaps "
            "are where there is no voice.",
        )


def _loudness(voice: Voice) -> Chart:
    high = math.ceil(float(voice.rms.max()) / 10) * 10
    low = high - _LOUDNESS_DB
    marks = range(low, high + 1, 20)
    with _over_time(voice, 100) as (figure, axis):
        axis.fill_between(_times(voice), low, voice.rms.clip(low, high), color=_SOFT, linewidth=0)
        axis.set_yticks(marks, [f"{mark} dB" for mark in marks])
        axis.set_ylim(low, high)
        axis.grid(axis="y")
        return Chart(
            "Loudness",
            svg(figure, f"RMS over time, from {low} to {high} dB"),
            "RMS of 64 ms, in dB re full scale: syllables are hills, pauses are valleys.",
        )


def _mfcc(views: Views) -> Chart:
    colours = LinearSegmentedColormap.from_list("both sides", _BOTH_SIDES)
    with _over_time(views.voice, 144) as (figure, axis):
        _image(axis, views.mfcc, views.voice, -_SPREAD, vmax=_SPREAD, cmap=colours)
        numbers = (1, 5, 10, 15, 20)
        axis.set_yticks([n - 0.5 for n in numbers], map(str, numbers))
        return Chart(
            "MFCC",
            svg(figure, "Twenty MFCCs over time"),
            "The shape of the spectrum in 20 numbers, from broad (bottom) to fine (top): where "
            "the mouth is, whatever the pitch. Orange is more than this clip's mean, blue is "
            "less. The usual features before deep networks.",
        )


def _chroma(views: Views) -> Chart:
    with _over_time(views.voice, 144) as (figure, axis):
        _image(axis, views.chroma, views.voice)
        axis.set_yticks(np.arange(0, 12, 2) + 0.5, NOTES[::2])
        return Chart(
            "Chroma",
            svg(figure, "Chroma over time"),
            "Which of the twelve notes sounds, in whatever octave. Made for music: of speech it "
            "tells little, a gliding pitch smears over all of it.",
        )


def _part(title: str, note: str, views: Views, part: Part) -> Chart:
    voice = views.voice
    with _over_time(voice, 144, _HALF) as (figure, axis):
        show_mel(axis, part.mel_image, voice.spec, voice.seconds)
        axis.set(ylabel="Hz", xlim=(0, voice.seconds))
        alt = f"Mel image of the {title.lower()}"
        return Chart(title, svg(figure, alt), f"{note} {part.share:.0%} of the energy.")


def _autocorrelation(views: Views) -> Chart:
    lags = views.lags
    with _over_time(views.voice, 176, _HALF) as (figure, axis):
        values = views.autocorrelation
        _image(axis, values, views.voice, rows=(float(lags[0]), float(lags[-1])))
        axis.set_yticks((2, 5, 10, 15), ("2 ms", "5 ms", "10 ms", "15 ms"))
        return Chart(
            "Autocorrelation",
            svg(figure, "Autocorrelation over time, lags from bottom to top"),
            "How alike the sound is to itself so many milliseconds later. The lowest bright band "
            "is one period of the voice, those above it are two, three and more. Up is slower, so "
            "a rising pitch falls here.",
        )


def _moment(views: Views) -> Chart:
    moment = views.moment
    note = f"The 64 ms around {moment.at:.2f} s, where the voice is clearest."
    with canvas(_HALF, 208) as (figure, axis):
        axis.axhline(0, color=MUTED, linewidth=1)
        axis.plot(moment.lags, moment.values, color=ACCENT, linewidth=2)
        if math.isfinite(moment.period):
            axis.axvline(moment.period, color=WARM, linewidth=1.5, linestyle="--")
            note += (
                f" The dashed line is one period of the pitch there: {moment.period:.1f} ms, "
                f"{1000 / moment.period:.0f} Hz."
            )
        axis.set(xlim=(moment.lags[0], moment.lags[-1]), ylim=(-1, 1), yticks=(-1, 0, 1))
        axis.set_xticks((2, 5, 10, 15), ("2", "5", "10", "15 ms"))
        axis.grid(axis="y")
        return Chart("One moment", svg(figure, "Autocorrelation of one moment by lag"), note)


# ----------------------------------------------------------------------------------------- a corpus


def counts(clips: Mapping[str, int]) -> Chart:
    """Clips of every emotion."""
    with canvas(360, 20 + 22 * len(clips)) as (figure, axis):
        drawn = axis.barh(
            range(len(clips)), list(clips.values()), 0.7, color=[COLOURS[e] for e in clips]
        )
        axis.bar_label(drawn, padding=4, size=11)
        _by_emotion(axis, clips)
        axis.set(xticks=())
        axis.spines["bottom"].set_visible(False)
        alt = ", ".join(f"{emotion} {number}" for emotion, number in clips.items())
        return Chart("Clips by emotion", svg(figure, f"Clips by emotion: {alt}"))


def histogram(seconds: Sequence[float]) -> Chart:
    """Clips by their length."""
    with canvas(360, 200) as (figure, axis):
        numbers, edges, _ = axis.hist(
            seconds, _BINS, range=(0.0, max(seconds)), color=_SOFT, rwidth=0.85
        )
        axis.set(xlim=(0, edges[-1]), ylim=(0, 1.05 * numbers.max()), ylabel="clips")
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g} s")
        axis.grid(axis="y")
        note = f"Clips by their length, in steps of {edges[1] - edges[0]:.2g} s."
        alt = f"Histogram of the durations of {len(seconds)} clips"
        return Chart("Durations", svg(figure, alt), note)


def ranges(
    title: str,
    note: str,
    spans: Mapping[str, tuple[float, float, float]],
    unit: str,
    *,
    lowest: float | None = None,
    digits: int = 1,
) -> Chart:
    """A line with a dot for each emotion.

    Parameters
    ----------
    title, note : str
    spans : mapping
        Emotion -> low end, dot, high end.
    unit : str
    lowest : float, optional
        Where the axis begins.
    digits : int
        Of the number beside a dot.
    """
    texts = {name: f"{span[1]:.{digits}f} {unit}" for name, span in spans.items()}
    with canvas(360, 46 + 22 * len(spans)) as (figure, axis):
        for at, (name, (low, middle, high)) in enumerate(spans.items()):
            axis.plot((low, high), (at, at), color=COLOURS[name], linewidth=5, alpha=0.6)
            axis.plot(middle, at, "o", color=COLOURS[name], markersize=9, markeredgecolor=INK,
                      markeredgewidth=0.6)  # fmt: skip
            axis.text(1.02, at, texts[name], transform=axis.get_yaxis_transform(), va="center",
                      size=11)  # fmt: skip
        ends = [end for span in spans.values() for end in span] or [0.0, 1.0]
        low, high = min(ends) if lowest is None else lowest, max(ends)
        room = 0.06 * (high - low or 1.0)
        axis.set_xlim(low - room if lowest is None else low, high + room)
        _by_emotion(axis, spans)
        axis.set_xlabel(unit)
        axis.locator_params(axis="x", nbins=5)
        axis.grid(axis="x")
        alt = ", ".join(f"{name} {text}" for name, text in texts.items())
        return Chart(title, svg(figure, f"{title}: {alt}"), note)


def percentiles(values: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float, float]]:
    """The 10th, 50th and 90th percentile of each."""
    found = {name: np.percentile(numbers, (10, 50, 90)) for name, numbers in values.items()}
    return {name: (float(a), float(b), float(c)) for name, (a, b, c) in found.items()}


def pitch_strip(voice: Voice, seconds: float, scale: tuple[float, float], alt: str) -> Markup:
    """The pitch over ``seconds``, on a scale of notes from and to so many Hz; without text."""
    with bare(240, 42) as (figure, axis):
        axis.plot(_times(voice), voice.pitch, color=ACCENT, linewidth=1.8)
        _notes(axis, *scale)
        axis.set_xlim(0, seconds)
        return svg(figure, alt, stretch=True)


def wave_strip(waveform: Float, full: float, alt: str) -> Markup:
    """The outline of a sound, whose full height is ``full``; without text."""
    top, bottom = _outline(waveform)
    with bare(480, 36) as (figure, axis):
        x = np.linspace(0, 1, len(top))
        axis.fill_between(x, bottom, top, color=ACCENT, linewidth=0)
        axis.set_ylim(-full, full)
        return svg(figure, alt, stretch=True)


def _outline(waveform: Float) -> tuple[Float, Float]:
    """The greatest and the least value in each of at most 480 columns."""
    cuts = np.linspace(0, len(waveform), min(_COLUMNS, len(waveform)) + 1).astype(int)[:-1]
    return np.maximum.reduceat(waveform, cuts), np.minimum.reduceat(waveform, cuts)


def _notes(axis: Any, low: float, high: float) -> None:
    axis.set_yscale("log", base=2)
    axis.minorticks_off()
    axis.set_ylim(low, high)


def _by_emotion(axis: Any, names: Mapping[str, object]) -> None:
    axis.set_yticks(range(len(names)), names, color=INK)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.spines["left"].set_visible(False)
