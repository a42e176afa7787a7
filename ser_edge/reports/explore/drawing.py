"""What was found -> pages: where things lie is computed here, the templates write it down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from ser_edge.corpora.base import Corpus, Utterance
from ser_edge.corpora.inspection import CLIPPED_SHARE, SHOWN, Inspection
from ser_edge.decision import SILENCE_DB
from ser_edge.mel.image import UInt8, hz_to_mel
from ser_edge.mel.spec import MelImageSpec
from ser_edge.reports import pages
from ser_edge.reports.explore.voice import (
    NOTES,
    PITCH_HZ,
    Part,
    Summary,
    Views,
    Voice,
    on_one_scale,
)
from ser_edge.reports.pages import Tick, ticks

if TYPE_CHECKING:  # both import what a page of a clip does not need
    from ser_edge.config.recipe import Recipe
    from ser_edge.reports.explore.augmentations import Augmentation, Draw, Tour

Float = npt.NDArray[np.floating]

_COLUMNS: Final = 480
"""Of a wave: more than a screen shows of a card."""

_HEARD_SECONDS: Final = 30.0  # of a long clip so much is played and drawn: pages stay small
_BINS: Final = 24  # of the histogram of durations
_FEW_SPEAKERS: Final = 30  # so many rows are open; more are there to be opened
_SCALE_HZ: Final = (200, 500, 1000, 2000, 4000, 8000)
_MARKS: Final = 4  # more run into each other in a third of a page
_LOUDNESS_DB: Final = 60
_SPREAD: Final = 2.2  # standard deviations to both ends of the colours of an MFCC


# ------------------------------------------------------------------------------------ what is drawn


@dataclass(frozen=True)
class Curve:
    """Points of a line or, ``filled``, of a shape in 0 to 1000 by 0 to 100; ``kind``: its style."""

    kind: str
    points: str
    filled: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture, curves or both over an axis; the places of its marks are percentages."""

    title: str
    what: str
    alt: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Curve, ...] = ()
    picture: str = ""
    sound: str = ""
    height: float = 9.0
    x_label: str = "s"


@dataclass(frozen=True)
class Card:
    """A draw with its picture and sound; ``wave`` is empty where the picture alone was changed."""

    label: str
    measured: str
    picture: str
    frames: int
    share: float
    wave: str
    sound: str
    own: bool


@dataclass(frozen=True)
class Section:
    """An augmentation."""

    augmentation: Augmentation
    anchor: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Range:
    """A bar from ``low`` to ``high`` with a dot, in percent of the axis."""

    emotion: str
    low: float
    middle: float
    high: float
    text: str


@dataclass(frozen=True)
class Ranges:
    """Ranges under each other, on one axis."""

    title: str
    what: str
    rows: tuple[Range, ...]
    ticks: tuple[Tick, ...]
    unit: str


@dataclass(frozen=True)
class Spoken:
    """One of the voices that are set side by side."""

    utterance: Utterance
    summary: Summary
    picture: str
    pitch: tuple[str, ...]
    sound: str


@dataclass(frozen=True)
class Strip:
    """A scale of pitch in Hz, even in semitones."""

    low: float
    high: float


@dataclass(frozen=True)
class Count:
    """Clips of an emotion; ``share`` of the commonest, in percent."""

    emotion: str
    clips: int
    share: float


# -------------------------------------------------------------------------------------------- pages


def tour_page(
    found: Tour, recipe: Recipe, name: str, seed: int, provenance: Mapping[str, str]
) -> str:
    """The page of the augmentations."""
    spec = recipe.image
    drawn = [*found.sounds, *found.pictures]
    everything = [found.original, found.again, *found.lessons]
    everything += [draw for augmentation in drawn for draw in augmentation.draws]
    peak = max(float(np.abs(draw.sound).max()) for draw in everything)
    loudness = 1 / max(1.0, peak)

    def card(draw: Draw, full: float = 0.0) -> Card:
        return Card(
            draw.label,
            draw.measured,
            pages.picture_uri(draw.picture),
            draw.picture.shape[1],
            100 * draw.picture.shape[1] / spec.frames,
            _wave(draw.sound / full) if full else "",
            pages.mp3_uri(draw.sound * loudness, spec.sample_rate),
            draw.own,
        )

    def cards(draws: Sequence[Draw], *, wave: bool = True) -> tuple[Card, ...]:
        full = max((float(np.abs(draw.sound).max()) for draw in draws), default=0.0)
        return tuple(card(draw, full if wave else 0.0) for draw in draws)

    def sections(augmentations: Sequence[Augmentation]) -> tuple[Section, ...]:
        return tuple(
            Section(
                a,
                a.entry.replace(".", "-").replace("_", "-"),
                cards(a.draws, wave=a.of_sound),
            )
            for a in augmentations
        )

    return pages.render(
        "augmentations.html.jinja",
        {
            "name": name,
            "recipe": recipe,
            "seed": seed,
            "draws": found.copies,
            "loudness": 20 * math.log10(loudness),
            "clip": cards([found.original, found.again]),
            "sounds": sections(found.sounds),
            "pictures": sections(found.pictures),
            "lessons": cards(found.lessons),
            "left_out": found.left_out,
            "cut": found.cut,
            "provenance": provenance,
        },
    )


def clip_page(views: Views, name: str, whole_seconds: float, provenance: Mapping[str, str]) -> str:
    """The page of one sound."""
    voice = views.voice
    sound = pages.mp3_uri(voice.waveform, voice.spec.sample_rate)
    return pages.render(
        "clip.html.jinja",
        {
            "name": name,
            "summary": voice.summary,
            "peak": 20 * math.log10(float(np.abs(voice.waveform).max())),
            "whole_seconds": whole_seconds,
            "plots": {plot.title: plot for plot in _plots(views, sound)},
            "moment": _moment(views),
            "harmonic": views.harmonic,
            "percussive": views.percussive,
            "pitch_hz": PITCH_HZ,
            "provenance": provenance,
        },
    )


def corpus_page(
    found: Inspection,
    corpus: Corpus,
    spoken: Sequence[tuple[Utterance, Voice]],
    provenance: Mapping[str, str],
) -> str:
    """The page of a corpus; ``spoken`` are the voices that are set side by side."""
    seconds = [r.seconds for r in found.recordings]
    by_emotion = {
        emotion: [r for r in found.recordings if r.utterance.emotion == emotion]
        for emotion in found.emotions
    }
    heard = {emotion: records for emotion, records in by_emotion.items() if records}
    clips = {e: sum(found.counts[s, e] for s in found.speakers) for e in found.emotions}
    cells = max(found.counts.values(), default=1)
    return pages.render(
        "corpus.html.jinja",
        {
            "found": found,
            "corpus": corpus,
            "durations": found.durations,
            "counts": [Count(e, n, 100 * n / max(clips.values())) for e, n in clips.items()],
            "heat": [
                (
                    s,
                    [
                        (found.counts[s, e], 100 * found.counts[s, e] / cells)
                        for e in found.emotions
                    ],
                )
                for s in found.speakers
            ],
            "few": len(found.speakers) <= _FEW_SPEAKERS,
            "histogram": _histogram(seconds) if seconds else None,
            "lengths": _ranges(
                "Length by emotion",
                "from the 10th to the 90th percentile, the dot is the median",
                {e: [r.seconds for r in records] for e, records in heard.items()},
                "s",
                lowest=0.0,
            ),
            "levels": _ranges(
                "Level by emotion",
                "RMS of the loudest 50 ms of every clip, in dB re full scale; 10th to 90th "
                "percentile and median",
                {e: [r.level for r in records] for e, records in heard.items()},
                "dB",
            ),
            "silence_db": SILENCE_DB,
            "clipped_share": CLIPPED_SHARE,
            "shown": SHOWN,
            "spoken": _spoken(spoken),
            "strip": _strip(spoken),
            "songs": sum(u.channel == "song" for u in found.scan.utterances),
            "unreadable": [f"{p.path.name}: {p.cause}" for p in found.unreadable],
            "left_out": [f"{p.path.name}: {p.cause}" for p in found.scan.problems],
            "longest": max((voice.seconds for _, voice in spoken), default=0.0),
            "spoken_ranges": _spoken_ranges(spoken),
            "provenance": provenance,
        },
    )


# ------------------------------------------------------------------------------------------- a clip


def shortened(waveform: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """As much of a sound as a page shows."""
    return waveform[: round(_HEARD_SECONDS * rate)]


def _plots(views: Views, sound: str) -> Iterable[Plot]:
    voice, spec = views.voice, views.voice.spec
    time = _time_ticks(voice.seconds)
    top = float(np.abs(voice.waveform).max())
    rms = 10 ** (voice.rms / 20) / top
    yield Plot(
        "Waveform",
        "Pressure over time, as the microphone felt it. The darker core is its RMS.",
        "Waveform of the clip",
        time,
        (Tick(100, f"{top:.2g}"), Tick(50, "0"), Tick(0, f"-{top:.2g}")),
        (
            Curve("wave", _wave(voice.waveform / top), filled=True),
            Curve("core", _band(50 - 50 * rms, 50 + 50 * rms), filled=True),
        ),
        sound=sound,
    )
    yield Plot(
        "Mel image",
        "Energy by band, in dB: low bands at the bottom, spaced as the ear spaces them. This is "
        "what the network looks at, five seconds at a time. The line is the pitch.",
        "Mel image of the clip with the pitch drawn over it",
        time,
        _band_ticks(spec),
        tuple(Curve("over", points) for points in _pitch_on_bands(voice, voice.seconds)),
        pages.picture_uri(views.mel),
        height=13.0,
    )
    yield _pitch_plot(voice, time)
    high = math.ceil(float(voice.rms.max()) / 10) * 10
    low = high - _LOUDNESS_DB
    level = 100 - 100 * (voice.rms.clip(low, high) - low) / (high - low)
    yield Plot(
        "Loudness",
        "RMS of 64 ms, in dB re full scale: syllables are hills, pauses are valleys.",
        f"RMS over time, from {low} to {high} dB",
        time,
        tuple(Tick(100 * (d - low) / (high - low), f"{d} dB") for d in range(low, high + 1, 20)),
        (Curve("wave", _band(np.full(len(level), 100.0), level), filled=True),),
        height=6.5,
    )
    yield Plot(
        "MFCC",
        "The shape of the spectrum in 20 numbers, from broad (bottom) to fine (top): where the "
        "mouth is, whatever the pitch. Orange is more than this clip's mean, blue is less. What "
        "most systems before deep networks listened to.",
        "Twenty MFCCs over time",
        time,
        tuple(Tick(100 * (n - 0.5) / len(views.mfcc), str(n)) for n in (1, 5, 10, 15, 20)),
        picture=pages.picture_uri(_signed(views.mfcc / _SPREAD), pages.BOTH_SIDES),
    )
    yield Plot(
        "Chroma",
        "Which of the twelve notes sounds, in whatever octave. Made for music: of speech it tells "
        "little, a gliding pitch smears over all of it.",
        "Chroma over time",
        time,
        tuple(Tick(100 * (n + 0.5) / 12, NOTES[n]) for n in range(0, 12, 2)),
        picture=pages.picture_uri(_grey(views.chroma)),
    )
    yield _part(
        "Harmonic part", "What lies still: vowels, hums. Ridges along time.", views.harmonic, voice
    )
    yield _part(
        "Percussive part",
        "What strikes: consonants, clicks, and the single pulses of a low, creaking voice. Ridges "
        "across all bands.",
        views.percussive,
        voice,
    )
    lags = views.lags
    yield Plot(
        "Autocorrelation",
        "How alike the sound is to itself so many milliseconds later. The lowest bright band is "
        "one period of the voice, those above it are two, three and more. Up is slower, so a "
        "rising pitch falls here.",
        "Autocorrelation over time, lags from bottom to top",
        time,
        tuple(
            Tick(100 * (ms - lags[0]) / (lags[-1] - lags[0]), f"{ms} ms") for ms in (2, 5, 10, 15)
        ),
        picture=pages.picture_uri(_grey(views.autocorrelation.clip(0, 1))),
        height=11.0,
    )


def _pitch_plot(voice: Voice, time: tuple[Tick, ...]) -> Plot:
    found = voice.pitch[np.isfinite(voice.pitch)]
    low, high = PITCH_HZ
    if found.size:
        low = max(low, float(found.min()) / 1.25)
        high = min(high, float(found.max()) * 1.25)

    def at(hertz: float) -> float:
        return 100 * math.log2(hertz / low) / math.log2(high / low)

    marks = [hz for hz in (60, 80, 100, 150, 200, 300, 400, 500, 600, 800) if low <= hz <= high]
    heights = _on_notes(voice.pitch, Strip(low, high))
    return Plot(
        "Pitch",
        "How fast the vocal folds open and close: pYIN's answer, on a scale of notes. Gaps are "
        "where there is no voice.",
        "Pitch over time"
        + (f", from {found.min():.0f} to {found.max():.0f} Hz" if found.size else ": no voice"),
        time,
        tuple(Tick(at(hz), f"{hz} Hz") for hz in marks),
        tuple(Curve("line", points) for points in _runs(heights, voice.seconds, voice)),
    )


def _part(title: str, what: str, part: Part, voice: Voice) -> Plot:
    return Plot(
        title,
        f"{what} {part.share:.0%} of the energy.",
        f"Mel image of the {title.lower()}",
        _time_ticks(voice.seconds),
        _band_ticks(voice.spec),
        picture=pages.picture_uri(part.picture),
        sound=pages.mp3_uri(part.waveform, voice.spec.sample_rate),
    )


def _moment(views: Views) -> Plot:
    moment = views.moment
    low, high = float(moment.lags[0]), float(moment.lags[-1])
    points = " ".join(
        f"{1000 * (lag - low) / (high - low):.1f},{50 - 50 * value:.1f}"
        for lag, value in zip(moment.lags, moment.values, strict=True)
    )
    curves = [Curve("zero", "0,50 1000,50"), Curve("line", points)]
    what = f"The 64 ms around {moment.at:.2f} s, where the voice is clearest."
    if math.isfinite(moment.period):
        x = 1000 * (moment.period - low) / (high - low)
        curves.append(Curve("mark", f"{x:.1f},0 {x:.1f},100"))
        what += (
            f" The dashed line is one period of the pitch there: {moment.period:.1f} ms, "
            f"{1000 / moment.period:.0f} Hz."
        )
    return Plot(
        "One moment",
        what,
        "Autocorrelation of one moment by lag",
        tuple(Tick(100 * (ms - low) / (high - low), str(ms)) for ms in (2, 5, 10, 15)),
        (Tick(100, "1"), Tick(50, "0"), Tick(0, "-1")),
        tuple(curves),
        x_label="ms",
    )


# ----------------------------------------------------------------------------------------- a corpus


def _histogram(seconds: Sequence[float]) -> Plot:
    low, high = 0.0, max(seconds)
    marks = ticks(low, high)
    high = marks[-1]
    clips, _ = np.histogram(seconds, _BINS, (low, high))
    most = ticks(0, float(clips.max()), whole=True)
    step = 1000 / _BINS
    curves = tuple(
        Curve(
            "wave",
            f"{i * step + 2:.1f},100 {i * step + 2:.1f},{y:.1f} "
            f"{(i + 1) * step - 2:.1f},{y:.1f} {(i + 1) * step - 2:.1f},100",
            filled=True,
        )
        for i, count in enumerate(clips.tolist())
        if count
        for y in [100 - 100 * count / most[-1]]
    )
    return Plot(
        "Durations",
        f"Clips by their length, in steps of {high / _BINS:.2g} s.",
        f"Histogram of the durations of {len(seconds)} clips",
        tuple(Tick(100 * mark / high, f"{mark:g}") for mark in marks),
        tuple(Tick(100 * mark / most[-1], f"{mark:g}") for mark in most),
        curves,
    )


def _ranges(
    title: str,
    what: str,
    values: Mapping[str, Sequence[float]],
    unit: str,
    lowest: float | None = None,
) -> Ranges:
    spans = {
        name: tuple(float(v) for v in np.percentile(found, (10, 50, 90)))
        for name, found in values.items()
    }
    return _on_axis(title, what, spans, unit, lowest)


def _on_axis(
    title: str,
    what: str,
    spans: Mapping[str, tuple[float, ...]],
    unit: str,
    lowest: float | None = None,
    digits: int = 1,
) -> Ranges:
    ends = [value for span in spans.values() for value in span] or [0.0, 1.0]
    marks = ticks(min(ends) if lowest is None else lowest, max(ends))
    low, high = marks[0], marks[-1]
    marks = marks[::2] if len(marks) > _MARKS else marks

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return Ranges(
        title,
        what,
        tuple(
            Range(name, at(span[0]), at(span[1]), at(span[2]), f"{span[1]:.{digits}f} {unit}")
            for name, span in spans.items()
        ),
        tuple(Tick(at(mark), f"{mark:g}") for mark in marks),
        unit,
    )


def _spoken(spoken: Sequence[tuple[Utterance, Voice]]) -> list[Spoken]:
    if not spoken:
        return []
    longest = max(voice.seconds for _, voice in spoken)
    scale = _strip(spoken)
    wide = max(voice.decibels.shape[1] for _, voice in spoken)
    pictures = on_one_scale([voice for _, voice in spoken])
    loudness = 1 / max(1.0, *(float(np.abs(voice.waveform).max()) for _, voice in spoken))
    return [
        Spoken(
            utterance,
            voice.summary,
            pages.picture_uri(np.pad(picture, ((0, 0), (0, wide - picture.shape[1])))),
            tuple(_runs(_on_notes(voice.pitch, scale), longest, voice)),
            pages.mp3_uri(voice.waveform * loudness, voice.spec.sample_rate),
        )
        for (utterance, voice), picture in zip(spoken, pictures, strict=True)
    ]


def _strip(spoken: Sequence[tuple[Utterance, Voice]]) -> Strip:
    found = np.concatenate([voice.pitch for _, voice in spoken] or [np.empty(0)])
    found = found[np.isfinite(found)]
    if not found.size:
        return Strip(*PITCH_HZ)
    # Outliers (an octave too high for a frame or two) must not flatten all the others.
    low, high = np.percentile(found, (1, 99))
    return Strip(float(low) / 1.1, float(high) * 1.1)


def _spoken_ranges(spoken: Sequence[tuple[Utterance, Voice]]) -> list[Ranges]:
    said = {utterance.emotion: voice.summary for utterance, voice in spoken}
    pitched = {e: s for e, s in said.items() if math.isfinite(s.pitch)}
    return [
        _on_axis(
            "Pitch",
            "from the 10th to the 90th percentile, the dot is the median",
            {e: (s.pitch_low, s.pitch, s.pitch_high) for e, s in pitched.items()},
            "Hz",
            digits=0,
        ),
        _on_axis(
            "Level",
            "of what is heard, pauses left out, in dB re full scale",
            {e: (s.level, s.level, s.level) for e, s in said.items()},
            "dB",
            digits=0,
        ),
        _on_axis(
            "Length",
            "of the clip, silence at its ends included",
            {e: (s.seconds, s.seconds, s.seconds) for e, s in said.items()},
            "s",
            lowest=0.0,
        ),
    ]


# ------------------------------------------------------------------------------------------- curves


def _wave(waveform: Float) -> str:
    """The outline of a sound of -1 to 1: its least and its greatest value in each column."""
    cuts = np.linspace(0, len(waveform), min(_COLUMNS, len(waveform)) + 1).astype(int)
    top = np.maximum.reduceat(waveform, cuts[:-1])
    bottom = np.minimum.reduceat(waveform, cuts[:-1])
    return _band(50 - 50 * top, 50 - 50 * bottom)


def _band(upper: Float, lower: Float) -> str:
    """A shape between two curves over the whole width."""
    x = np.linspace(0, 1000, len(upper))
    there = [f"{a:.1f},{b:.1f}" for a, b in zip(x, upper, strict=True)]
    back = [f"{a:.1f},{b:.1f}" for a, b in zip(x[::-1], lower[::-1], strict=True)]
    return " ".join([*there, *back])


def _runs(heights: Float, seconds: float, voice: Voice) -> Iterable[str]:
    """The stretches of a curve between its gaps."""
    step = 1000 * voice.spec.hop_length / voice.spec.sample_rate / seconds
    run: list[str] = []
    for i, height in enumerate([*heights.tolist(), math.nan]):
        if math.isfinite(height):
            run.append(f"{i * step:.1f},{height:.1f}")
            continue
        if len(run) > 1:
            yield " ".join(run)
        run = []


def _on_notes(pitch: npt.NDArray[np.float64], scale: Strip) -> npt.NDArray[np.float64]:
    heights: npt.NDArray[np.float64] = 100 - 100 * np.log2(pitch / scale.low) / math.log2(
        scale.high / scale.low
    )
    return heights


def _pitch_on_bands(voice: Voice, seconds: float) -> Iterable[str]:
    spec = voice.spec
    low, high = hz_to_mel([spec.f_min, spec.f_max], spec.mel_scale)
    place = (hz_to_mel(voice.pitch, spec.mel_scale) - low) / (high - low)
    return _runs(100 - 100 * place, seconds, voice)


def _band_ticks(spec: MelImageSpec) -> tuple[Tick, ...]:
    low, high = hz_to_mel([spec.f_min, spec.f_max], spec.mel_scale)
    return tuple(
        Tick(
            float(100 * (hz_to_mel(hertz, spec.mel_scale) - low) / (high - low)),
            f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz",
        )
        for hertz in _SCALE_HZ
        if spec.f_min <= hertz <= spec.f_max
    )


def _time_ticks(seconds: float) -> tuple[Tick, ...]:
    return tuple(
        Tick(100 * mark / seconds, f"{mark:g}")
        for mark in ticks(0, seconds)
        if mark <= seconds * 1.001
    )


def _grey(values: Float) -> UInt8:
    """0 to 1 -> 0 to 255."""
    levels: UInt8 = np.rint(255 * values.clip(0, 1)).astype(np.uint8)
    return levels


def _signed(values: Float) -> UInt8:
    """-1 to 1 -> 0 to 255."""
    return _grey((values + 1) / 2)
