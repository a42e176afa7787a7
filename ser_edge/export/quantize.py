"""FP32 model -> INT8: plain, or with accuracy control; and what of it stayed FP, layer by layer."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.data.datasets import Clip
from ser_edge.decision import softmax
from ser_edge.markdown import table
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

_CONVOLUTIONS: Final = ("Convolution", "GroupConvolution")
_TRANSPOSED: Final = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
_RECURRENT: Final = {"RNNSequence": 3, "GRUSequence": 3, "LSTMSequence": 4}
"""Layers that run over time, and the input that holds W; R is the next, B the one after."""

_MOVES: Final = (
    "Concat", "DepthToSpace", "Gather", "MaxPool", "Pad", "ReduceMax", "Reshape", "Slice", "Split",
    "Squeeze", "StridedSlice", "Transpose", "Unsqueeze", "VariadicSplit",
)  # fmt: skip
"""They pick or move values: what is INT8 before them is INT8 behind them."""

_UNPACKS: Final = ("Convert", "Subtract", "Multiply")
"""How weights stored as INT8 come to their layer: as floats, less zero point, times scale."""


@dataclass(frozen=True)
class Layer:
    """A layer of an INT8 model.

    Parameters
    ----------
    name : str
        As in the IR.
    kind : str
        OpenVINO's, such as ``Convolution``.
    shape : tuple of int
        Of what it gives for one picture, without the batch.
    parameters : int
        Of its weights, without bias; 0 for a layer without weights.
    multiply_adds : int
        For one picture; 0 for a layer without weights.
    int8 : bool
        All that it computes with is quantised.
    why : str
        Why it is not; empty where it is.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    int8: bool
    why: str = ""


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
    mends most, measures, and goes on until that holds.

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


def infer(compiled: Any, images: Iterable[npt.NDArray[np.uint8]]) -> Float64:
    """Logits of a compiled model, picture by picture, ``float64 (pictures, classes)``."""
    request = compiled.create_infer_request()
    return np.concatenate(
        [np.array(request.infer({0: image[None, None]})[0]) for image in images]
    ).astype(np.float64)


def layers(model: Any, plain: Any) -> list[Layer]:
    """Every layer of an INT8 model that has weights or that plain INT8 quantises, in order.

    Parameters
    ----------
    model : openvino.Model
        The INT8 model.
    plain : openvino.Model
        The same network in plain INT8: tells what NNCF leaves alone from what accuracy control
        put back.

    Returns
    -------
    list of Layer
    """
    quantised = {node.get_friendly_name() for node in plain.get_ordered_ops() if _is_int8(node)}
    single = model.clone()  # for one picture: then every shape is known
    picture = list(model.input(0).get_partial_shape())
    single.reshape([1, *picture[1:]])
    found = []
    for node in single.get_ordered_ops():
        name, kind = node.get_friendly_name(), node.get_type_name()
        if not (_has_weights(kind) or name in quantised):
            continue
        int8 = _is_int8(node)
        why = "put back by accuracy control" if name in quantised else "not quantised by NNCF"
        shape = tuple(node.output(0).get_shape())
        found.append(Layer(name, kind, shape[1:], *_cost(node, shape), int8, "" if int8 else why))
    return found


def summary(found: Sequence[Layer]) -> str:
    """One line: how much is INT8, and the names of what stayed FP."""
    left = [layer for layer in found if not layer.int8]
    work = sum(layer.multiply_adds for layer in found)
    done = sum(layer.multiply_adds for layer in found if layer.int8)
    line = (
        f"{len(found) - len(left)} of {len(found)} layers INT8, "
        f"{done / max(work, 1):.1%} of the multiply-adds"
    )
    for why in sorted({layer.why for layer in left}):
        names = [layer.name for layer in left if layer.why == why]
        line += f"; {len(names)} stayed FP, {why}: {', '.join(names)}"
    return line


def layers_markdown(name: str, found: Sequence[Layer]) -> str:
    """The layers as a table for people."""
    rows = [
        (
            f"`{layer.name}`",
            layer.kind,
            " x ".join(map(str, layer.shape)),
            _count(layer.parameters),
            _count(layer.multiply_adds),
            "INT8" if layer.int8 else f"**FP**, {layer.why}",
        )
        for layer in found
    ]
    return "\n".join(
        [
            f"# Layers of `{name}` in INT8",
            "",
            summary(found) + ".",
            "",
            "A layer is INT8 if all that it computes with, weights and inputs, is quantised in "
            "the IR; the device decides what it runs so. Names are the IR's; shapes and "
            "multiply-adds are one picture's. Written by `scripts/export_ir.sh`.",
            "",
            table(
                ("layer", "kind", "gives", "parameters", "multiply-adds", "precision"),
                rows,
                "lllrrl",
            ),
            "",
        ]
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


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


def _has_weights(kind: str) -> bool:
    return kind in (*_CONVOLUTIONS, *_TRANSPOSED, "MatMul", *_RECURRENT)


def _is_int8(node: Any) -> bool:
    """Whether a layer computes with nothing but quantised values."""
    if node.get_type_name() in ("FakeQuantize", "Result", *_MOVES) or _constant(node) is not None:
        return False
    if not node.get_output_element_type(0).is_real():  # it asks for a shape
        return False
    values = [source for source in _sources(node) if not _is_index(source)]
    return bool(values) and all(_quantised(value) for value in values)


def _quantised(node: Any) -> bool:
    """Whether a value is one of at most 256: of a FakeQuantize, or of weights stored so."""
    kind = node.get_type_name()
    if kind in _MOVES:
        return all(_quantised(source) for source in _sources(node))
    constant = _constant(node)
    return kind == "FakeQuantize" or (
        constant is not None and constant.get_element_type().get_type_name() in ("i8", "u8")
    )


def _sources(node: Any) -> list[Any]:
    """The nodes whose values a layer computes with: no biases, and of what is moved no places."""
    before = [value.get_node() for value in node.input_values()]
    kind = node.get_type_name()
    if kind in _RECURRENT:
        first = _RECURRENT[kind]
        return [before[0], *before[first : first + 2]]
    return before[:1] if kind in _MOVES and kind != "Concat" else before


def _constant(node: Any) -> Any:
    """The constant that a node unpacks, or None if it depends on the picture."""
    while node.get_type_name() in _UNPACKS:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


def _is_index(node: Any) -> bool:
    """Whether a value is axes or a shape."""
    return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in (
        "i32",
        "i64",
    )


def _cost(node: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters and multiply-adds of a layer that gives ``shape`` for one picture."""
    kind = node.get_type_name()
    inputs = [tuple(value.get_shape()) for value in node.input_values()]
    if kind in _RECURRENT:
        first = _RECURRENT[kind]
        size = sum(math.prod(weights) for weights in inputs[first : first + 2])
        return size, size * inputs[0][1]
    if kind == "MatMul":
        summed = inputs[0][-2 if node.get_attributes()["transpose_a"] else -1]
        learnt = _constant(_before_quantising(node.input_value(1).get_node())) is not None
        return math.prod(inputs[1]) if learnt else 0, math.prod(shape) * summed
    if _has_weights(kind):
        each = math.prod(inputs[1][2 if kind.startswith("Group") else 1 :])
        values = inputs[0] if kind in _TRANSPOSED else shape
        return math.prod(inputs[1]), math.prod(values) * each
    return 0, 0


def _before_quantising(node: Any) -> Any:
    return node.input_value(0).get_node() if node.get_type_name() == "FakeQuantize" else node


@contextmanager
def _quiet() -> Iterator[None]:
    """NNCF's log and bars are not for the user of a script; its warnings are."""
    logging.getLogger("nncf").setLevel(logging.WARNING)
    with redirect_stdout(io.StringIO()):
        yield
