"""Which tensor of an IR is the embedding: what the layer that gives the logits looks at."""

from __future__ import annotations

from typing import Any, Final

_BEHIND: Final = frozenset(
    {"Add", "Subtract", "Multiply", "Divide", "Sigmoid", "FakeQuantize", "Convert", "Result"}
)
"""Kinds of node between the last layer and the logits, those of the nonspeech head among them."""


def embedding_of(model: Any) -> Any:
    """The output of a node of an ``ov.Model`` that the last matrix product takes.

    The shipped network multiplies its logits by its nonspeech head, itself a matrix product of the
    same features: both are found and agree. What is before that head does not depend on it.

    Parameters
    ----------
    model : ov.Model
        With one output, the logits.

    Returns
    -------
    ov.Output
        ``(N, features)``.

    Raises
    ------
    ValueError
        The last layer is no matrix product of one tensor of features.
    """
    found: dict[tuple[str, int], Any] = {}
    waiting, seen = [model.outputs[0].get_node()], set()
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        sources = [each.get_source_output() for each in node.inputs()]
        if node.get_type_name() == "MatMul":
            for source in sources:
                if not _constant(source.get_node()):
                    found[source.get_node().get_friendly_name(), source.get_index()] = source
        elif node.get_type_name() in _BEHIND:
            nodes = [source.get_node() for source in sources]
            waiting += [each for each in nodes if not _constant(each)]
        else:
            raise ValueError(f"its logits come from a {node.get_type_name()}")
    if len(found) != 1:
        raise ValueError(f"its logits come from {len(found)} tensors, it should be one")
    (source,) = found.values()
    if len(source.get_partial_shape()) != 2:
        raise ValueError(f"its last layer takes {source.get_partial_shape()}")
    return source


def _constant(node: Any, depth: int = 8) -> bool:
    """Whether nothing but constants is below a node: weights, compressed or quantised ones too."""
    if node.get_type_name() == "Constant":
        return True
    sources = [each.get_source_output().get_node() for each in node.inputs()]
    return bool(sources) and depth > 0 and all(_constant(each, depth - 1) for each in sources)
