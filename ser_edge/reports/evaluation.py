"""Figures -> pages to look at: one HTML file each, that needs nothing beside it.

Python computes where things lie, the templates in ``templates/`` write them down. Charts are inline
SVG, pictures and sounds are data URIs, and a page's own policy forbids it to load anything else.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.config.recipe import Recipe
from ser_edge.data.render import Picture, read_rows
from ser_edge.decision import softmax
from ser_edge.emotions import EMOTIONS, UNKNOWN, emotion_index
from ser_edge.evaluation.unlabelled import FileAnswer, FolderAnswers, percent
from ser_edge.metrics.bootstrap import CONFIDENCE, DRAWS, Difference, Interval, PairedRuns, verdict
from ser_edge.metrics.classification import ECE_BINS, ClipPrediction, answered, group_figures
from ser_edge.reports import pages
from ser_edge.reports.pages import Tick, ticks

if TYPE_CHECKING:  # study.py imports torch; the other two pages need none
    from ser_edge.evaluation.crossval import CrossValidation
    from ser_edge.runs.record import Run

Float64 = npt.NDArray[np.float64]

WORST_CLIPS: Final = 16
SOUND_SECONDS: Final = 15.0
"""Of a clip this much can be played: a page must stay small enough to be sent."""

SOUND_RATE: Final = 16_000
TIMELINES: Final = 200
"""Files whose timeline is drawn; all of them are in ``answers.jsonl``."""

TIMELINE_STEPS: Final = 160
RECALL_GROUPS: Final = ("all", "female", "male", "normal", "strong")

_CHANCE: Final = 1 / len(EMOTIONS)


# ---------------------------------------------------------------------------------- what is drawn


@dataclass(frozen=True)
class Anchor:
    """A published figure and how it was measured; no two of them share their split."""

    system: str
    protocol: str
    figure: str
    leaky: bool = False


ANCHORS: Final = (
    Anchor("people (Livingstone & Russo 2018)", "8 emotions or none", "0.58 normal, 0.67 strong"),
    Anchor("TCN from scratch (Rigoni)", "actors 21-24 as test", "0.688 accuracy"),
    Anchor("ResLSTM from scratch (Mak-Sim)", "Luna-Jimenez folds", "0.623 UAR"),
    Anchor("CNN-14 from scratch", "by actor", "0.600 accuracy"),
    Anchor("CNN-14 from AudioSet, 81 M parameters", "by actor", "0.766 accuracy"),
    Anchor("HuBERT-L, frozen (EmoBox)", "EmoBox folds", "0.700 UAR"),
    Anchor("WavLM-L, frozen (EmoBox)", "EmoBox folds", "0.720 UAR"),
    Anchor("Whisper-large-v3, frozen (EmoBox)", "EmoBox folds", "0.753 UAR"),
    Anchor("XLSR-wav2vec2, fine-tuned (Luna-Jimenez 2022)", "Luna-Jimenez folds", "0.818 accuracy"),
    Anchor("SpeechVINO DenseNet-121", "random split over images", "0.98 accuracy", leaky=True),
)


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: one value (0 to 1) a series, and its texts."""

    label: str
    values: tuple[float, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class BarChart:
    """Lying bars from 0 to 100 %; ``series`` names the bars of a row if there are several."""

    title: str
    axis: str
    bars: tuple[Bar, ...]
    series: tuple[str, ...] = ()
    chance: float = _CHANCE


@dataclass(frozen=True)
class Line:
    """A curve: its points as SVG wants them, and the height of its short name at the right."""

    name: str
    short: str
    points: str
    label_y: float


@dataclass(frozen=True)
class LineChart:
    """Curves over epochs."""

    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Bin:
    """Clips whose highest score lies from ``low`` to ``high``: how many, how sure, how right."""

    low: float
    high: float
    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Whisker:
    """A row of the interval chart: drawing units from the left."""

    label: str
    at: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class WhiskerChart:
    """Differences with their intervals around zero."""

    whiskers: tuple[Whisker, ...]
    zero: float
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class HeatCell:
    """A cell of the confusion matrix or of the table of recalls; ``share`` 0 to 1, None: empty."""

    share: float | None
    text: str
    small: str = ""

    @property
    def percentage(self) -> int:
        return 0 if self.share is None else round(100 * self.share)


@dataclass(frozen=True)
class HeatRow:
    """A row of cells with its heading."""

    label: str
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class Score:
    """One bar of a clip's scores."""

    emotion: str
    score: float
    role: str


@dataclass(frozen=True)
class WorstClip:
    """A confident mistake: ``picture`` and ``sound`` are data URIs, or ``""``."""

    utterance: str
    speaker: str
    sex: str
    intensity: str
    fold: str
    truth: str
    answer: str
    confidence: float
    scores: tuple[Score, ...]
    picture: str
    windows: int
    sound: str
    no_sound: str


@dataclass(frozen=True)
class Layer:
    """An emotion of a timeline: points of an SVG polygon in 0 to 1000 by 0 to 100."""

    emotion: str
    points: str


@dataclass(frozen=True)
class Piece:
    """A stretch with one answer, in 0 to 1000."""

    emotion: str
    start: float
    width: float


@dataclass(frozen=True)
class Timeline:
    """A file over time: scores stacked, answers as a strip; ``duration`` in seconds."""

    file: str
    emotion: str
    confidence: float
    duration: float
    windows: int
    layers: tuple[Layer, ...]
    pieces: tuple[Piece, ...]


# ------------------------------------------------------------------------------------------ pages


def study_page(study: CrossValidation) -> str:
    """The page of an evaluation.

    Raises
    ------
    ValueError
        The pictures of the worst clips cannot be read.
    """
    from ser_edge.evaluation import crossval as studies

    values: dict[str, Any] = {
        "study": study,
        "pictures": isinstance(study.recipe, Recipe),
        "warning": studies.LEAKY_WARNING,
        "anchors": ANCHORS,
        "ece_bins": ECE_BINS,
        "parameters": (study.folds or (study.leaky,))[0].parameters,  # type: ignore[union-attr]
    }
    if study.folds:
        calibration = study.calibration
        scores = softmax([p.logits for p in study.tested], calibration.temperature)
        truth = np.array([emotion_index(p.emotion) for p in study.tested])
        found = studies.metrics(study)["pooled_test"]
        values |= {
            "calibration": calibration,
            "pooled": found,
            "coarser": group_figures(study.tested, calibration.temperature),
            "answered": answered(study.tested, calibration),
            "confusion": confusion_rows(found["confusion"]),
            "recall_chart": recall_chart(found),
            "voice_chart": voice_chart(found),
            "recall_groups": RECALL_GROUPS,
            "recall_rows": recall_rows(study.tested, scores),
            "bins": reliability(scores, truth),
            "most_in_bin": max(b.clips for b in reliability(scores, truth)),
            "curves": training_curves(study.folds),
            "worst": worst_clips(study, calibration.temperature, WORST_CLIPS),
            "has_sounds": bool(study.sounds),
        }
    return _render("study.html.jinja", values)


def comparison_page(runs: PairedRuns, provenance: Mapping[str, str]) -> str:
    """The page of two runs side by side."""
    return _render(
        "comparison.html.jinja",
        {
            "runs": runs,
            "provenance": provenance,
            "verdict": verdict(runs.uar),
            "whiskers": whisker_chart(runs),
            "recall_chart": BarChart(
                "Recall by emotion",
                "recall",
                tuple(
                    Bar(r.emotion, (r.a, r.b), (f"{r.a:.0%}", f"{r.b:.0%}")) for r in runs.recalls
                ),
                ("A", "B"),
            ),
            "draws": DRAWS,
            "confidence": CONFIDENCE,
        },
    )


def unlabelled_page(listening: FolderAnswers) -> str:
    """The page of a folder of recordings without labels."""
    return _render(
        "unlabelled.html.jinja",
        {
            "listening": listening,
            "emotions": (*listening.manifest.labels, UNKNOWN),
            "timelines": [timeline(heard) for heard in listening.answers[:TIMELINES]],
            "not_drawn": max(0, len(listening.answers) - TIMELINES),
            "share_chart": BarChart(
                "What was heard",
                "share of the files, and of their time",
                tuple(
                    Bar(
                        share.emotion,
                        (share.of_clips, share.of_time),
                        (f"{share.of_clips:.0%}", f"{share.of_time:.0%}"),
                    )
                    for share in listening.shares
                ),
                ("of the files", "of the time"),
                chance=0.0,
            ),
        },
    )


def _render(template: str, values: Mapping[str, Any]) -> str:
    return pages.render(template, values, {"percent": percent})


# ----------------------------------------------------------------------------------------- charts


def confusion_rows(matrix: Sequence[Sequence[int]]) -> tuple[HeatRow, ...]:
    """Counts and shares of their row."""
    return tuple(
        HeatRow(
            emotion,
            tuple(
                HeatCell(count / max(1, sum(row)), str(count), f"{count / max(1, sum(row)):.0%}")
                for count in row
            ),
        )
        for emotion, row in zip(EMOTIONS, matrix, strict=True)
    )


def recall_chart(figures: Mapping[str, Any]) -> BarChart:
    """Recall of every emotion."""
    return BarChart(
        "Recall by emotion",
        "recall: share of its clips that were heard",
        tuple(Bar(name, (value,), (f"{value:.0%}",)) for name, value in figures["recall"].items()),
    )


def voice_chart(figures: Mapping[str, Any]) -> BarChart:
    """UAR by sex and by intensity."""
    named = [
        *((f"{sex} voices", value) for sex, value in figures["uar_by_sex"].items()),
        *((f"{name} intensity", value) for name, value in figures["uar_by_intensity"].items()),
    ]
    return BarChart(
        "UAR by sex and by intensity",
        "UAR: mean recall of the emotions",
        tuple(Bar(name, (value,), (f"{value:.1%}",)) for name, value in named),
    )


def recall_rows(predictions: Sequence[ClipPrediction], scores: Float64) -> tuple[HeatRow, ...]:
    """Recall by emotion: of all, of both sexes, of both intensities."""
    right = scores.argmax(axis=1)

    def cell(emotion: int, group: str) -> HeatCell:
        chosen = [
            right[i] == emotion
            for i, p in enumerate(predictions)
            if p.emotion == EMOTIONS[emotion] and group in ("all", p.sex, p.intensity)
        ]
        if not chosen:
            return HeatCell(None, "-", "no clip")
        return HeatCell(float(np.mean(chosen)), f"{np.mean(chosen):.0%}", f"of {len(chosen)}")

    return tuple(
        HeatRow(name, tuple(cell(i, group) for group in RECALL_GROUPS))
        for i, name in enumerate(EMOTIONS)
    )


def reliability(scores: Float64, truth: npt.NDArray[np.int64]) -> tuple[Bin, ...]:
    """The bins that the ECE is computed from; empty ones have confidence and accuracy 0."""
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == truth
    which = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    return tuple(
        Bin(
            b / ECE_BINS,
            (b + 1) / ECE_BINS,
            int(np.sum(which == b)),
            float(confidence[which == b].mean()) if (which == b).any() else 0.0,
            float(correct[which == b].mean()) if (which == b).any() else 0.0,
        )
        for b in range(ECE_BINS)
    )


# Left, right, top and bottom of a curve chart's plot; its drawing is 360 by 240.
_PLOT: Final = (46.0, 336.0, 14.0, 196.0)
_LETTERS: Final = 12.0  # height of a line's name


def training_curves(runs: Sequence[Run]) -> tuple[LineChart, ...]:
    """Training loss, validation UAR and NLL of every fold by epoch; empty without history."""
    charts = []
    for title, y_label, name, floor in (
        ("Training loss", "cross entropy", "train_loss", None),
        ("Validation UAR", "UAR", "validation_uar", 0.0),
        ("Validation NLL", "NLL", "validation_nll", None),
    ):
        curves = {
            run.fold: [
                (epoch.epoch, value)
                for epoch in run.history
                if (value := getattr(epoch, name)) is not None and np.isfinite(value)
            ]
            for run in runs
        }
        chart = _line_chart(title, y_label, curves, floor)
        if chart is not None:
            charts.append(chart)
    return tuple(charts)


def _line_chart(
    title: str,
    y_label: str,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    floor: float | None,
) -> LineChart | None:
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    xs, ys = [x for x, _ in points], [y for _, y in points]
    y_values = ticks(min(ys) if floor is None else floor, max(ys))
    x_values = ticks(min(xs), max(xs), whole=True)
    left, right, top, bottom = _PLOT
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_low, y_high = y_values[0], y_values[-1]

    def x_at(value: float) -> float:
        return round(left + (right - left) * (value - x_low) / (x_high - x_low), 1)

    def y_at(value: float) -> float:
        return round(bottom - (bottom - top) * (value - y_low) / (y_high - y_low), 1)

    apart = _apart({name: y_at(curve[-1][1]) for name, curve in curves.items() if curve}, bottom)

    return LineChart(
        title,
        "epoch",
        y_label,
        tuple(Tick(x_at(v), f"{v:g}") for v in x_values if x_low <= v <= x_high),
        tuple(Tick(y_at(v), f"{v:g}") for v in y_values),
        tuple(
            Line(
                f"fold {name}",
                name,
                " ".join(f"{x_at(x)},{y_at(y)}" for x, y in curve),
                apart[name],
            )
            for name, curve in curves.items()
            if curve
        ),
    )


def _apart(heights: Mapping[str, float], bottom: float) -> dict[str, float]:
    """Heights moved so that letters at them do not lie on each other."""
    result: dict[str, float] = {}
    last = -_LETTERS
    for name in sorted(heights, key=lambda name: heights[name]):
        result[name] = last = max(heights[name], last + _LETTERS)
    spare = max(0.0, last - bottom)
    return {name: round(height - spare, 1) for name, height in result.items()}


def whisker_chart(runs: PairedRuns) -> WhiskerChart:
    """UAR and accuracy, B less A, with both intervals; 124 to 340 in drawing units."""
    rows: list[tuple[str, Difference, Interval]] = []
    for name, difference in (("UAR", runs.uar), ("accuracy", runs.accuracy)):
        if difference.by_speaker is not None:
            rows.append((f"{name}, by speaker", difference, difference.by_speaker))
        rows.append((f"{name}, by clip", difference, difference.by_clip))
    reach = max(max(abs(i.low), abs(i.high), abs(d.difference), 0.005) for _, d, i in rows)
    reach = ticks(0, reach)[-1]

    def at(value: float) -> float:
        return round(232 + 108 * value / reach, 1)

    return WhiskerChart(
        tuple(
            Whisker(
                name,
                at(difference.difference),
                at(interval.low),
                at(interval.high),
                f"{difference.difference:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})",
            )
            for name, difference, interval in rows
        ),
        at(0),
        tuple(
            Tick(at(v), f"{v:+g}" if v else "0") for v in (-reach, -reach / 2, 0, reach / 2, reach)
        ),
    )


def timeline(heard: FileAnswer) -> Timeline:
    """Stacked scores and answers of a file's windows over time.

    Windows overlap: each stands for the time up to the middle of what it shares with the next.
    """
    windows, duration = heard.answer.windows, heard.answer.duration
    edges = [0.0]
    edges += [(a.end + b.start) / 2 for a, b in pairwise(windows)]
    edges.append(duration)
    at = [round(1000 * edge / duration, 2) for edge in edges]
    pieces: list[Piece] = []
    for window, (start, end) in zip(windows, pairwise(at), strict=True):
        if pieces and pieces[-1].emotion == window.emotion:
            before = pieces.pop()
            pieces.append(Piece(before.emotion, before.start, round(end - before.start, 2)))
        else:
            pieces.append(Piece(window.emotion, start, round(end - start, 2)))

    labels = list(heard.answer.scores)
    scores = np.array([[window.scores[label] for label in labels] for window in windows])
    # Long files: neighbours are averaged, a screen has no room for more.
    cuts = np.linspace(0, len(windows), min(len(windows), TIMELINE_STEPS) + 1).astype(int)
    means = np.stack([scores[a:b].mean(axis=0) for a, b in pairwise(cuts)])
    tops = np.round(100 * (1 - np.cumsum(means, axis=1)), 1)
    bottoms = np.concatenate([np.full((len(means), 1), 100.0), tops[:, :-1]], axis=1)
    spans = [(at[a], at[b]) for a, b in pairwise(cuts)]
    layers = []
    for i, label in enumerate(labels):
        there = [(x, y) for (a, b), y in zip(spans, tops[:, i], strict=True) for x in (a, b)]
        back = [(x, y) for (a, b), y in zip(spans, bottoms[:, i], strict=True) for x in (a, b)]
        outline = " ".join(f"{x:g},{y:g}" for x, y in [*there, *reversed(back)])
        layers.append(Layer(label, outline))
    return Timeline(
        heard.file,
        heard.answer.emotion,
        heard.answer.confidence,
        duration,
        len(windows),
        tuple(layers),
        tuple(pieces),
    )


# -------------------------------------------------------------------------------- the worst clips


def worst_clips(study: CrossValidation, temperature: float, count: int) -> tuple[WorstClip, ...]:
    """Test clips with the highest score on a wrong emotion, most confident first.

    Raises
    ------
    ValueError
        A picture is missing or cannot be read.
    """
    wrong = [p for p in study.tested if p.predicted != p.emotion]
    rated = [(softmax(p.logits, temperature), p) for p in wrong]
    rated.sort(key=lambda item: (-float(item[0].max()), item[1].utterance))
    chosen = rated[:count]
    names = {p.utterance for _, p in chosen}
    rows: dict[str, list[Picture]] = {}
    for row in read_rows(study.images, study.recipe.image):
        if row.utterance in names:
            rows.setdefault(row.utterance, []).append(row)
    result = []
    for scores, p in chosen:
        pictures = sorted(rows.get(p.utterance, []), key=lambda row: row.window)
        sound, no_sound = _sound(p.utterance, study.sounds)
        result.append(
            WorstClip(
                p.utterance,
                p.speaker,
                p.sex,
                p.intensity,
                p.fold,
                p.emotion,
                p.predicted,
                float(scores.max()),
                tuple(
                    Score(name, float(score), _role(name, p))
                    for name, score in zip(EMOTIONS, scores, strict=True)
                ),
                picture_uri(study.images / pictures[0].image) if pictures else "",
                len(pictures),
                sound,
                no_sound,
            )
        )
    return tuple(result)


def _role(emotion: str, prediction: ClipPrediction) -> str:
    if emotion == prediction.emotion:
        return "truth"
    return "answer" if emotion == prediction.predicted else ""


def picture_uri(path: Path) -> str:
    """A mel image as people look at it: low bands at the bottom, in colours; a data URI.

    Raises
    ------
    ValueError
        It cannot be read; the message names it.
    """
    try:
        with Image.open(path) as image:
            levels = np.asarray(image.convert("L"))
    except OSError as error:
        raise ValueError(f"{path}: {error}") from None
    return pages.picture_uri(levels)


def _sound(utterance: str, sounds: Mapping[str, Path]) -> tuple[str, str]:
    """A data URI, or why there is none."""
    if not sounds:
        return "", ""
    if utterance not in sounds:
        return "", "no sound file of this name below --sounds"
    try:
        return sound_uri(sounds[utterance]), ""
    except AudioError as error:
        return "", error.cause


def sound_uri(path: Path) -> str:
    """What the network hears of a recording, mono at 16 kHz, as FLAC; a data URI.

    Raises
    ------
    AudioError
        It cannot be read.
    """
    waveform = decode.load(path, SOUND_RATE)[: round(SOUND_SECONDS * SOUND_RATE)]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), SOUND_RATE, format="FLAC", subtype="PCM_16")
    return pages.data_uri("audio/flac", buffer.getvalue())
