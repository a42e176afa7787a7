"""Figures -> pages to look at: one HTML file each, that needs nothing beside it.

The templates in ``templates/`` hold the text and the tables. Charts are inline SVG
(:mod:`ser_edge.reports.charts`), mel images and sounds are data URIs, and a page's own policy
forbids it to load anything else.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.config.recipe import Recipe
from ser_edge.data.render import MelImageRow, read_rows
from ser_edge.decision import softmax
from ser_edge.emotions import EMOTIONS, UNKNOWN, emotion_index
from ser_edge.evaluation.unlabelled import FolderAnswers, percent
from ser_edge.metrics.bootstrap import CONFIDENCE, DRAWS, PairedRuns, verdict
from ser_edge.metrics.classification import ECE_BINS, ClipPrediction, answered, group_figures
from ser_edge.reports import charts, pages
from ser_edge.reports.figures import Chart

if TYPE_CHECKING:  # crossval imports torch; the other two pages need none
    from ser_edge.evaluation.crossval import CrossValidation

Float64 = npt.NDArray[np.float64]

WORST_CLIPS: Final = 16
SOUND_SECONDS: Final = 15.0
"""Of a clip this much can be played: a page must stay small enough to be sent."""

SOUND_RATE: Final = 16_000
TIMELINES: Final = 200
"""Files whose timeline is drawn; all of them are in ``answers.jsonl``."""

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
    """A confident mistake; ``confidence`` is the score of its answer.

    ``mel_image`` and ``sound`` are data URIs, or ``""``; ``windows`` is how many mel images it has.
    """

    prediction: ClipPrediction
    confidence: float
    scores: tuple[Score, ...]
    mel_image: str
    windows: int
    sound: str
    no_sound: str


# ------------------------------------------------------------------------------------------ pages


def study_page(study: CrossValidation) -> str:
    """The page of an evaluation.

    Raises
    ------
    ValueError
        The mel images of the worst clips cannot be read.
    """
    from ser_edge.evaluation import crossval as studies

    values: dict[str, Any] = {
        "study": study,
        "of_images": isinstance(study.recipe, Recipe),
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
            "reliability": charts.reliability_chart(charts.reliability(scores, truth)),
            "curves": charts.training_curves(study.folds),
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
            "drawn": (
                charts.interval_chart(runs),
                charts.bars(
                    "Recall by emotion",
                    "recall",
                    {r.emotion: (r.a, r.b) for r in runs.recalls},
                    series=("A", "B"),
                    chance=_CHANCE,
                ),
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
            "timelines": [(h, charts.timeline(h.answer)) for h in listening.answers[:TIMELINES]],
            "not_drawn": max(0, len(listening.answers) - TIMELINES),
            "share_chart": charts.bars(
                "Answers",
                "share of the files, and of their time",
                {share.emotion: (share.of_clips, share.of_time) for share in listening.shares},
                series=("of the files", "of the time"),
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


def recall_chart(figures: Mapping[str, Any]) -> Chart:
    """Recall of every emotion."""
    rows = {name: (value,) for name, value in figures["recall"].items()}
    return charts.bars(
        "Recall by emotion", "recall: share of its clips that were recognised", rows, chance=_CHANCE
    )


def voice_chart(figures: Mapping[str, Any]) -> Chart:
    """UAR by sex and by intensity."""
    rows = {
        **{f"{sex} voices": (value,) for sex, value in figures["uar_by_sex"].items()},
        **{f"{name} intensity": (value,) for name, value in figures["uar_by_intensity"].items()},
    }
    return charts.bars(
        "UAR by sex and by intensity",
        "UAR: mean recall of the emotions",
        rows,
        chance=_CHANCE,
        form="{:.1%}",
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


# -------------------------------------------------------------------------------- the worst clips


def worst_clips(study: CrossValidation, temperature: float, count: int) -> tuple[WorstClip, ...]:
    """Test clips with the highest score on a wrong emotion, most confident first.

    Raises
    ------
    ValueError
        A mel image is missing or cannot be read.
    """
    wrong = [p for p in study.tested if p.predicted != p.emotion]
    rated = [(softmax(p.logits, temperature), p) for p in wrong]
    rated.sort(key=lambda item: (-float(item[0].max()), item[1].utterance))
    chosen = rated[:count]
    names = {p.utterance for _, p in chosen}
    rows: dict[str, list[MelImageRow]] = {}
    for row in read_rows(study.images, study.recipe.image):
        if row.utterance in names:
            rows.setdefault(row.utterance, []).append(row)
    result = []
    for scores, p in chosen:
        windows = sorted(rows.get(p.utterance, []), key=lambda row: row.window)
        sound, no_sound = _sound(p.utterance, study.sounds)
        result.append(
            WorstClip(
                p,
                float(scores.max()),
                tuple(
                    Score(name, float(score), _role(name, p))
                    for name, score in zip(EMOTIONS, scores, strict=True)
                ),
                mel_image_uri(study.images / windows[0].image) if windows else "",
                len(windows),
                sound,
                no_sound,
            )
        )
    return tuple(result)


def _role(emotion: str, prediction: ClipPrediction) -> str:
    if emotion == prediction.emotion:
        return "truth"
    return "answer" if emotion == prediction.predicted else ""


def mel_image_uri(path: Path) -> str:
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
    return pages.image_uri(levels)


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
    """A recording as the network gets it, mono at 16 kHz, as FLAC; a data URI.

    Raises
    ------
    AudioError
        It cannot be read.
    """
    waveform = decode.load(path, SOUND_RATE)[: round(SOUND_SECONDS * SOUND_RATE)]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), SOUND_RATE, format="FLAC", subtype="PCM_16")
    return pages.data_uri("audio/flac", buffer.getvalue())
