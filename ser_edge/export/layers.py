"""The layers of an INT8 model: what is INT8, what stayed FP and why, what each costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ser_edge.markdown import table

_CONVOLUTIONS: Final = ("Convolution", "GroupConvolution")
_TRANSPOSED: Final = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
_RECURRENT: Final = {"RNNSequence": 3, "GRUSequence": 3, "LSTMSequence": 4}
"""Layers that run over time, and the input that holds W; R is the next, B the one after."""

_MOVES: Final = (
    "Concat", "DepthToSpace", "Gather", "MaxPool", "Pad", "ReduceMax", "Reshape", "Slice", "Split",
    "Squeeze", "StridedSlice", "Transpose", "Unsqueeze", "VariadicSplit",
)  # fmt: skip
"""They select or move values: INT8 before them is INT8 after them."""

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
        Of what it gives for one image, without the batch.
    parameters : int
        Of its weights, without bias; 0 for a layer without weights.
    multiply_adds : int
        For one mel image; 0 for a layer without weights.
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
    single = model.clone()  # for one image: then every shape is known
    single.reshape([1, *list(model.input(0).get_partial_shape())[1:]])
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
    columns = ("layer", "kind", "gives", "parameters", "multiply-adds", "precision")
    return "\n".join(
        [
            f"# Layers of `{name}` in INT8",
            "",
            summary(found) + ".",
            "",
            "A layer is INT8 if all that it computes with, weights and inputs, is quantised in "
            "the IR; the device decides what it runs so. Names are the IR's; shapes and "
            "multiply-adds are those of one mel image. Written by `ser-edge export`.",
            "",
            table(columns, rows, "lllrrl"),
            "",
        ]
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


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
    """The constant that a node unpacks, or None if it depends on the image."""
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
    """Parameters and multiply-adds of a layer that gives ``shape`` for one image."""
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
