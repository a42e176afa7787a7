"""FP32 model to INT8 by NNCF: plain, or with accuracy control."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.data.datasets import Clip
from ser_edge.decision import softmax
from ser_edge.export.openvino import infer
from ser_edge.runs.inference import clip_logits
from ser_edge.telemetry import without_telemetry

AUTO: Final = "auto"
PLAIN: Final = "plain"
ACCURACY_CONTROL: Final = "accuracy-control"
INT8_MODES: Final = (AUTO, PLAIN, ACCURACY_CONTROL)
"""Ways to INT8; ``auto`` is plain, and accuracy control only where plain loses too much."""

CALIBRATION_IMAGES: Final = 300

Float64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


def quantize(model: Any, images: Sequence[npt.NDArray[np.uint8]]) -> Any:
    """FP32 model -> INT8 (NNCF, post-training, symmetric weights, mixed activations)."""
    with without_telemetry():
        import nncf

    with _quiet():
        return nncf.quantize(model, **_calibration(images))


def quantize_with_accuracy_control(
    model: Any,
    images: Sequence[npt.NDArray[np.uint8]],
    clips: Sequence[Clip],
    max_drop: float,
    temperature: float = 1.0,
) -> Any:
    """FP32 model -> INT8 that loses no more than it may: the layers that lose most stay FP.

    What may not exceed ``max_drop`` is :func:`loss` on the clips. NNCF puts the layer back that
    helps most, measures, and repeats that until the limit holds.

    Parameters
    ----------
    model : openvino.Model
        In FP32, not compressed.
    images : sequence of ndarray
        Calibrate the ranges, ``uint8 (n_mels, frames)``.
    clips : sequence of Clip
        INT8 is measured on them. Never those of test speakers: layers are chosen by them.
    max_drop : float
        0 to 1.
    temperature : float
        That turns logits into scores.

    Returns
    -------
    openvino.Model
        In the worst case with no INT8 layer at all; :func:`layers` tells.
    """
    with without_telemetry():
        import nncf
        import openvino

    truth = np.array([clip.emotion for clip in clips])

    def answers(compiled: Any, chosen: Sequence[int]) -> Float64:
        some = [clips[i] for i in chosen]
        return clip_logits(infer(compiled, (image for clip in some for image in clip.images)), some)

    reference = answers(
        openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}),
        range(len(clips)),
    )

    def validate(compiled: Any, items: Iterable[int]) -> tuple[float, list[float]]:
        chosen = list(items)
        logits = answers(compiled, chosen)
        # NNCF wants a figure that is better when higher and, for FP32, not 0; and one a clip, to
        # rank the layers on the clips that suffered most.
        return (
            1 - loss(reference[chosen], logits, truth[chosen], temperature),
            _score_of_truth(logits, truth[chosen], temperature).tolist(),
        )

    with _quiet():
        return nncf.quantize_with_accuracy_control(
            model,
            validation_dataset=nncf.Dataset(range(len(clips))),
            validation_fn=validate,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            **_calibration(images),
        )


def loss(before: Float64, after: Float64, truth: Int, temperature: float = 1.0) -> float:
    """What a network lost: UAR or mean score of the true emotion, whichever lost more.

    UAR on clips that a network was trained on is 1.00 and stays there however noisy INT8 makes the
    answers, so accuracy control by UAR alone would stop too soon. The score that a clip gives its
    true emotion, averaged within each emotion and then over them as UAR averages hits, is on the
    same scale from 0 to 1 and moves with every logit.

    Parameters
    ----------
    before, after : ndarray
        Logits, ``float64 (clips, classes)``.
    truth : ndarray
        ``int (clips,)``.
    temperature : float
        That turns logits into scores.

    Returns
    -------
    float
        -1 to 1; below 0 where nothing was lost.
    """

    def lost(hits: Float64) -> float:
        return float(np.mean([hits[truth == emotion].mean() for emotion in np.unique(truth)]))

    hits = (before.argmax(axis=1) == truth).astype(float) - (after.argmax(axis=1) == truth)
    scores = _score_of_truth(before, truth, temperature) - _score_of_truth(
        after, truth, temperature
    )
    return max(lost(hits), lost(scores))


def _calibration(images: Sequence[npt.NDArray[np.uint8]]) -> dict[str, Any]:
    """What both ways to INT8 have in common."""
    with without_telemetry():
        import nncf

    # Evenly over the clips, which are sorted by name and so by emotion and speaker.
    chosen = np.linspace(0, len(images) - 1, min(len(images), CALIBRATION_IMAGES)).astype(int)
    return {
        "calibration_dataset": nncf.Dataset([images[i][None, None] for i in chosen]),
        "preset": nncf.QuantizationPreset.MIXED,
        "subset_size": len(chosen),
        # OpenVINO 2022.3 computes an LSTM in INT8 otherwise than today's: scores moved by up to
        # 0.07 that agree to 0.01 without. It is a fiftieth of the work, so it stays FP, as a GRU
        # does by NNCF's own choice.
        "ignored_scope": nncf.IgnoredScope(types=["LSTMSequence"], validate=False),
    }


def _score_of_truth(logits: Float64, truth: Int, temperature: float) -> Float64:
    return softmax(logits, temperature)[np.arange(len(truth)), truth]


@contextmanager
def _quiet() -> Iterator[None]:
    """NNCF's log and bars are not for the user of a script; its warnings are."""
    logging.getLogger("nncf").setLevel(logging.WARNING)
    with redirect_stdout(io.StringIO()):
        yield
