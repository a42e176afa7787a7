"""What was measured -> pages: their charts, images and sounds; the templates hold the text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ser_edge.corpora.base import Corpus, Utterance
from ser_edge.corpora.inspection import CLIPPED_SHARE, SHOWN, Inspection
from ser_edge.decision import SILENCE_DB
from ser_edge.reports import pages
from ser_edge.reports.explore import charts
from ser_edge.reports.explore.voice import PITCH_HZ, Summary, Views, Voice, on_one_scale
from ser_edge.reports.figures import Chart

if TYPE_CHECKING:  # both import what a page of a clip does not need
    from ser_edge.config.recipe import Recipe
    from ser_edge.reports.explore.augmentations import Augmentation, Draw, Tour

_SHOWN_SECONDS: Final = 30.0  # of a long clip so much is played and drawn: pages stay small
_FEW_SPEAKERS: Final = 30  # so many rows are open; more are there to be opened


@dataclass(frozen=True)
class Card:
    """A draw with its mel image and sound; ``wave`` is empty where the image alone was changed."""

    label: str
    measured: str
    mel_image: str
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
class Spoken:
    """One of the voices that are set side by side."""

    utterance: Utterance
    summary: Summary
    mel_image: str
    pitch: Markup
    sound: str


def tour_page(
    found: Tour, recipe: Recipe, name: str, seed: int, provenance: Mapping[str, str]
) -> str:
    """The page of the augmentations."""
    spec = recipe.image
    drawn = [*found.sounds, *found.images]
    everything = [found.original, found.again, *found.samples]
    everything += [draw for augmentation in drawn for draw in augmentation.draws]
    peak = max(float(np.abs(draw.sound).max()) for draw in everything)
    loudness = 1 / max(1.0, peak)

    def card(of: str, draw: Draw, full: float) -> Card:
        return Card(
            draw.label,
            draw.measured,
            pages.image_uri(draw.mel_image),
            100 * draw.mel_image.shape[1] / spec.frames,
            charts.wave_strip(draw.sound, full, f"Waveform: {of}, {draw.label}") if full else "",
            pages.mp3_uri(draw.sound * loudness, spec.sample_rate),
            draw.own,
        )

    def cards(of: str, draws: Sequence[Draw], *, wave: bool = True) -> tuple[Card, ...]:
        full = max((float(np.abs(draw.sound).max()) for draw in draws), default=0.0)
        return tuple(card(of, draw, full if wave else 0.0) for draw in draws)

    def sections(augmentations: Sequence[Augmentation]) -> tuple[Section, ...]:
        return tuple(
            Section(
                a,
                a.entry.replace(".", "-").replace("_", "-"),
                cards(a.title, a.draws, wave=a.of_sound),
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
            "clip": cards("the clip", [found.original, found.again]),
            "sounds": sections(found.sounds),
            "images": sections(found.images),
            "samples": cards("the whole recipe", found.samples),
            "left_out": found.left_out,
            "cut": found.cut,
            "provenance": provenance,
        },
    )


def clip_page(views: Views, name: str, whole_seconds: float, provenance: Mapping[str, str]) -> str:
    """The page of one sound."""
    voice = views.voice
    rate = voice.spec.sample_rate
    return pages.render(
        "clip.html.jinja",
        {
            "name": name,
            "summary": voice.summary,
            "peak": 20 * math.log10(float(np.abs(voice.waveform).max())),
            "whole_seconds": whole_seconds,
            "plots": {chart.title: chart for chart in charts.clip_charts(views)},
            "sounds": {
                "Waveform": pages.mp3_uri(voice.waveform, rate),
                "Harmonic part": pages.mp3_uri(views.harmonic.waveform, rate),
                "Percussive part": pages.mp3_uri(views.percussive.waveform, rate),
            },
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
    read = {emotion: records for emotion, records in by_emotion.items() if records}
    clips = {e: sum(found.counts[s, e] for s in found.speakers) for e in found.emotions}
    cells = max(found.counts.values(), default=1)
    return pages.render(
        "corpus.html.jinja",
        {
            "found": found,
            "corpus": corpus,
            "durations": found.durations,
            "counts": charts.counts(clips),
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
            "histogram": charts.histogram(seconds) if seconds else None,
            "lengths": charts.ranges(
                "Length by emotion",
                "from the 10th to the 90th percentile, the dot is the median",
                charts.percentiles({e: [r.seconds for r in rs] for e, rs in read.items()}),
                "s",
                lowest=0.0,
            ),
            "levels": charts.ranges(
                "Level by emotion",
                "RMS of the loudest 50 ms of every clip, in dB re full scale; 10th to 90th "
                "percentile and median",
                charts.percentiles({e: [r.level for r in rs] for e, rs in read.items()}),
                "dB",
            ),
            "silence_db": SILENCE_DB,
            "clipped_share": CLIPPED_SHARE,
            "shown": SHOWN,
            "spoken": _spoken(spoken),
            "scale": _pitch_scale(spoken),
            "songs": sum(u.channel == "song" for u in found.scan.utterances),
            "unreadable": [f"{p.path.name}: {p.cause}" for p in found.unreadable],
            "left_out": [f"{p.path.name}: {p.cause}" for p in found.scan.problems],
            "longest": max((voice.seconds for _, voice in spoken), default=0.0),
            "spoken_ranges": _spoken_ranges(spoken),
            "provenance": provenance,
        },
    )


def shortened(waveform: npt.NDArray[np.float32], rate: int) -> npt.NDArray[np.float32]:
    """As much of a sound as a page shows."""
    return waveform[: round(_SHOWN_SECONDS * rate)]


def _spoken(spoken: Sequence[tuple[Utterance, Voice]]) -> list[Spoken]:
    if not spoken:
        return []
    longest = max(voice.seconds for _, voice in spoken)
    scale = _pitch_scale(spoken)
    wide = max(voice.decibels.shape[1] for _, voice in spoken)
    images = on_one_scale([voice for _, voice in spoken])
    loudness = 1 / max(1.0, *(float(np.abs(voice.waveform).max()) for _, voice in spoken))
    return [
        Spoken(
            utterance,
            voice.summary,
            pages.image_uri(np.pad(image, ((0, 0), (0, wide - image.shape[1])))),
            charts.pitch_strip(voice, longest, scale, f"Pitch over time, {utterance.emotion}"),
            pages.mp3_uri(voice.waveform * loudness, voice.spec.sample_rate),
        )
        for (utterance, voice), image in zip(spoken, images, strict=True)
    ]


def _pitch_scale(spoken: Sequence[tuple[Utterance, Voice]]) -> tuple[float, float]:
    """The lowest and highest pitch in Hz that are drawn of several voices."""
    found = np.concatenate([voice.pitch for _, voice in spoken] or [np.empty(0)])
    found = found[np.isfinite(found)]
    if not found.size:
        return PITCH_HZ
    # Outliers (an octave too high for a frame or two) must not flatten all the others.
    low, high = np.percentile(found, (1, 99))
    return float(low) / 1.1, float(high) * 1.1


def _spoken_ranges(spoken: Sequence[tuple[Utterance, Voice]]) -> list[Chart]:
    said = {utterance.emotion: voice.summary for utterance, voice in spoken}
    pitched = {e: s for e, s in said.items() if math.isfinite(s.pitch)}
    if not spoken:
        return []
    return [
        charts.ranges(
            "Pitch",
            "from the 10th to the 90th percentile, the dot is the median",
            {e: (s.pitch_low, s.pitch, s.pitch_high) for e, s in pitched.items()},
            "Hz",
            digits=0,
        ),
        charts.ranges(
            "Level",
            "of the speech, pauses left out, in dB re full scale",
            {e: (s.level,) * 3 for e, s in said.items()},
            "dB",
            digits=0,
        ),
        charts.ranges(
            "Length",
            "of the clip, silence at its ends included",
            {e: (s.seconds,) * 3 for e, s in said.items()},
            "s",
            lowest=0.0,
        ),
    ]
