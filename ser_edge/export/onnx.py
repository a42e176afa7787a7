"""PyTorch network to ONNX (opset 13, exporter by tracing), and ONNX Runtime's logits of it.

ONNX comes between PyTorch and OpenVINO on purpose: ``openvino.convert_model(torch_module)`` writes
opsets that OpenVINO 2022.3, the last release for the Neural Compute Stick, cannot read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ser_edge.metrics.classification import Float64

ONNX_OPSET: Final = 13
INPUT: Final = "image"
OUTPUT: Final = "logits"
"""Names of the network's input and output, in ONNX and IR."""


class ImageInput(nn.Module):
    """A network whose input is the bytes of mel images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(image.float())
        return logits


def to_onnx(net: nn.Module, shape: tuple[int, int], path: Path) -> None:
    """Write and check an ONNX model: ``u8 [N,1,n_mels,frames]`` -> ``f32 [N,classes]``."""
    import onnx

    images = torch.zeros(2, 1, *shape, dtype=torch.uint8)
    with warnings.catch_warnings():
        # The exporter by tracing writes this opset itself; the new one writes 18 and converts down.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Recurrent layers check the shapes that they get: as sure for one batch as for another.
        # Their states are zeros of the batch's size; every step is run with other sizes than 2.
        tracer = torch.jit.TracerWarning  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=tracer, module=r"torch\.nn\.modules\.rnn")
        warnings.filterwarnings(
            "ignore", "Exporting a model to ONNX with a batch_size other than 1"
        )
        torch.onnx.export(
            ImageInput(net).eval(),
            (images,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
            opset_version=ONNX_OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def run_onnx(path: Path, images: Iterable[npt.NDArray[np.uint8]]) -> Float64:
    """Logits of an ONNX model, image by image, ``float64 (images, classes)``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run([OUTPUT], {INPUT: image[None, None]})[0] for image in images]
    ).astype(np.float64)
