"""Each step of an export compared with the one before: labels, logits and UAR on the same clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ser_edge.data.datasets import Clip
from ser_edge.emotions import EMOTIONS
from ser_edge.metrics.classification import Float64, confusion, uar
from ser_edge.runs.inference import clip_logits

SAME_LABEL_SHARE: Final = 0.995
"""FP16 must give the label of the step before on at least this share of the clips."""

UAR_LOSS: Final = 0.01
"""INT8 may lose at most this much UAR by default."""


class ExportDriftError(RuntimeError):
    """A step of the export gives other answers than the one before; the message names the clips."""


@dataclass(frozen=True)
class Step:
    """One artefact of the export, scored on all clips: ``logits (clips, classes)``."""

    name: str
    logits: Float64
    uar: float


@dataclass(frozen=True)
class Comparison:
    """A step compared with the one before."""

    step: str
    before: str
    same_label: float
    largest_difference: float
    uar: float
    uar_before: float

    def __str__(self) -> str:
        return (
            f"{self.step} beside {self.before}: same label on {self.same_label:.2%} of the clips, "
            f"largest difference of a logit {self.largest_difference:.4f}, "
            f"UAR {self.uar:.4f} ({self.uar - self.uar_before:+.4f})"
        )


def score_step(name: str, logits: Float64, clips: Sequence[Clip]) -> Step:
    """Logits of windows, ``(windows, classes)``, pooled to clips and scored."""
    pooled = clip_logits(logits, clips)
    return Step(name, pooled, clip_uar(pooled, clips))


def clip_uar(logits: Float64, clips: Sequence[Clip]) -> float:
    """UAR, 0 to 1, of clips' logits ``(clips, classes)``."""
    truth = np.array([clip.emotion for clip in clips])
    return uar(confusion(truth, logits.argmax(axis=1)))


def compare(before: Step, step: Step) -> Comparison:
    """A step compared with the one before, both on the same clips."""
    return Comparison(
        step.name,
        before.name,
        float(np.mean(step.logits.argmax(axis=1) == before.logits.argmax(axis=1))),
        float(np.abs(step.logits - before.logits).max()),
        step.uar,
        before.uar,
    )


def check_labels(comparison: Comparison, before: Step, step: Step, clips: Sequence[Clip]) -> None:
    """Raise where FP16 or ONNX gives other labels than the step before.

    Raises
    ------
    ExportDriftError
        Fewer than :data:`SAME_LABEL_SHARE` of the labels agree, or a logit is not finite.
    """
    if not np.isfinite(step.logits).all() or comparison.same_label < SAME_LABEL_SHARE:
        raise ExportDriftError(
            f"{comparison}; at least {SAME_LABEL_SHARE:.1%} should agree. "
            + _farthest(before, step, clips)
        )


def check_uar(
    comparison: Comparison,
    before: Step,
    step: Step,
    clips: Sequence[Clip],
    max_drop: float = UAR_LOSS,
) -> None:
    """Raise where INT8 loses more UAR than ``max_drop``.

    Raises
    ------
    ExportDriftError
        It does, or a logit is not finite.
    """
    if not np.isfinite(step.logits).all() or comparison.uar < comparison.uar_before - max_drop:
        raise ExportDriftError(
            f"{comparison}; at most {max_drop:.4f} may be lost. " + _farthest(before, step, clips)
        )


def _farthest(before: Step, step: Step, clips: Sequence[Clip]) -> str:
    """The clips whose logits differ most, as text."""
    moved = np.abs(step.logits - before.logits).max(axis=1)
    worst = [
        f"{clips[i].rows[0].utterance} ({EMOTIONS[int(before.logits[i].argmax())]} -> "
        f"{EMOTIONS[int(step.logits[i].argmax())]}, {moved[i]:.3f})"
        for i in np.argsort(-np.nan_to_num(moved, nan=np.inf))[:5]
    ]
    return "Farthest off: " + ", ".join(worst)
