"""ONNX to OpenVINO IR with the manifest inside, checked to be readable by OpenVINO 2022.3."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.export.verify import ExportDriftError
from ser_edge.files import write_whole
from ser_edge.manifest import RT_INFO_KEY, Manifest, with_xml_hash
from ser_edge.metrics.classification import Float64
from ser_edge.telemetry import without_telemetry

MAX_IR_OPSET: Final = 10
"""Newest opset that OpenVINO 2022.3 reads."""


def to_openvino(onnx: Path) -> Any:
    """ONNX -> OpenVINO model in FP32; only the batch is dynamic."""
    with without_telemetry():
        import openvino

    return openvino.convert_model(onnx)


def save_ir(model: Any, xml: Path, manifest: Manifest) -> Path:
    """Write an IR, weights compressed to FP16, the manifest and the hashes of both files inside."""
    with without_telemetry():
        import openvino

    xml.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, xml, compress_to_fp16=True)
    digest = hashlib.sha256(xml.with_suffix(".bin").read_bytes()).hexdigest()
    for key, value in replace(manifest, bin_sha256=digest).to_rt_info().items():
        model.set_rt_info(value, [RT_INFO_KEY, key])
    openvino.save_model(model, xml, compress_to_fp16=True)
    if hashlib.sha256(xml.with_suffix(".bin").read_bytes()).hexdigest() != digest:
        raise ExportDriftError(f"{xml}: its weights changed between two writings")
    write_whole(xml, with_xml_hash(xml.read_bytes()))
    return xml


def check_old_runtime(xml: Path) -> None:
    """Check that OpenVINO 2022.3 can read an IR.

    Raises
    ------
    ExportDriftError
        A layer's opset is above 10, or a dimension other than the batch is dynamic; every such
        layer is named.

    Notes
    -----
    Recurrent layers have the batch in the second place here and there. So one dimension of a tensor
    may be dynamic if nothing is once the batch is 1, as the edge app sets it.
    """
    import xml.etree.ElementTree as ElementTree

    faults = []
    for layer in ElementTree.parse(xml).getroot().iter("layer"):
        name, kind, version = (layer.get(key, "") for key in ("name", "type", "version"))
        if version.startswith("opset") and int(version[5:]) > MAX_IR_OPSET:
            faults.append(f"{name} ({kind}) is of {version}")
        data = layer.find("data")
        shapes = [[d.text for d in port.iter("dim")] for port in layer.iter("port")]
        if data is not None and data.get("shape") and kind == "Parameter":
            shapes.append([d.strip() for d in str(data.get("shape")).split(",")])
        for shape in shapes:
            if sum(str(d) in ("-1", "?") or ".." in str(d) for d in shape) > 1:
                faults.append(f"{name} ({kind}) has the shape [{','.join(map(str, shape))}]")
    faults = faults or [
        f"{node.get_friendly_name()} ({node.get_type_name()}) has the shape {shape} for one image"
        for node, shape in _dynamic(xml)
    ]
    if faults:
        raise ExportDriftError(
            f"{xml.name}: OpenVINO 2022.3 reads opsets up to {MAX_IR_OPSET}, and the batch "
            f"alone may be dynamic: {'; '.join(faults)}"
        )


def _dynamic(xml: Path) -> Iterator[tuple[Any, Any]]:
    """What of an IR is dynamic even when the batch is 1: nodes and shapes."""
    with without_telemetry():
        import openvino

    model = openvino.Core().read_model(xml)
    model.reshape([1, *list(model.input(0).get_partial_shape())[1:]])
    for node in model.get_ordered_ops():
        for output in node.outputs():
            if output.get_partial_shape().is_dynamic:
                yield node, output.get_partial_shape()


def run_ir(xml: Path, images: Iterable[npt.NDArray[np.uint8]]) -> Float64:
    """Logits of an IR on the CPU in float32, image by image, ``float64 (images, classes)``."""
    with without_telemetry():
        import openvino

    # f32 as the edge app sets it: CPUs with bf16 would use that unasked.
    compiled = openvino.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return infer(compiled, images)


def infer(compiled: Any, images: Iterable[npt.NDArray[np.uint8]]) -> Float64:
    """Logits of a compiled model, image by image, ``float64 (images, classes)``."""
    request = compiled.create_infer_request()
    return np.concatenate(
        [np.array(request.infer({0: image[None, None]})[0]) for image in images]
    ).astype(np.float64)
