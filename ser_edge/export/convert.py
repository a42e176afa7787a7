"""Checkpoint -> ONNX -> IR FP16 and INT8, each held against the one before.

ONNX is the hop on purpose: ``openvino.convert_model(torch_module)`` writes opsets that OpenVINO
2022.3, the last release for the Neural Compute Stick, cannot read.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ser_edge.data.datasets import Clip, load_clips
from ser_edge.data.render import read_rows
from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.export.quantize import (
    ACCURACY_CONTROL,
    AUTO,
    CALIBRATION_IMAGES,
    INT8_MODES,
    infer,
    layers,
    layers_markdown,
    loss,
    quantize_with_accuracy_control,
    summary,
)
from ser_edge.export.quantize import quantize as quantize  # whoever exports finds it here
from ser_edge.files import write_whole
from ser_edge.manifest import FP16, INT8, RT_INFO_KEY, Manifest, sealed
from ser_edge.metrics.classification import confusion, uar
from ser_edge.provenance import git_revision
from ser_edge.runs.inference import METRICS, WEIGHTS, clip_logits, load_net, window_logits
from ser_edge.runs.record import RunRecord
from ser_edge.telemetry import without_telemetry

ONNX_OPSET: Final = 13
MAX_IR_OPSET: Final = 10
"""Newest opset that OpenVINO 2022.3 reads."""

SAME_LABEL_SHARE: Final = 0.995
"""FP16 must give the label of the step before on at least this share of the clips."""

UAR_LOSS: Final = 0.01
"""INT8 may lose at most this much UAR, if nothing else is said."""

LAYERS: Final = "layers.md"
"""Beside the INT8 IR: which of its layers are INT8, and why the others are not."""

INPUT, OUTPUT = "image", "logits"

Float64 = npt.NDArray[np.float64]


class ExportDriftError(RuntimeError):
    """A step of the export answers otherwise than the one before; the message says where."""


class _BytesIn(nn.Module):
    """The network with the picture's bytes as its input."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(image.float())
        return logits


@dataclass(frozen=True)
class Step:
    """One artefact of the export, scored on all clips: ``logits (clips, classes)``."""

    name: str
    logits: Float64
    uar: float


@dataclass(frozen=True)
class Comparison:
    """A step beside the one before."""

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


class _Known:
    """The clips by which INT8 may be chosen: of training and validation, never of test speakers."""

    def __init__(self, clips: Sequence[Clip], speakers: Set[str], temperature: float) -> None:
        self.clips = [clip for clip in clips if clip.speaker in speakers]
        self.temperature = temperature
        self._where = [i for i, clip in enumerate(clips) if clip.speaker in speakers]

    def uar(self, step: Step) -> float:
        return _uar(step.logits[self._where], self.clips)

    def loss(self, before: Step, step: Step) -> float:
        truth = np.array([clip.emotion for clip in self.clips])
        return loss(before.logits[self._where], step.logits[self._where], truth, self.temperature)


def export(
    model: Path,
    images: Path,
    ir: Path,
    *,
    int8: str = AUTO,
    max_drop: float = UAR_LOSS,
    progress: Callable[[str], None] = print,
) -> list[Comparison]:
    """Export a model folder to ``ir/<name>/FP16`` and ``ir/<name>/INT8``.

    Parameters
    ----------
    model : Path
        Folder with config, weights and metrics, as ``scripts/package_model.py`` writes it.
    images : Path
        A rendering by the model's specification; its speech clips verify every step. Clips of
        training speakers calibrate INT8; those of training and validation speakers, never of test
        speakers, say whether ``auto`` needs accuracy control and which layers that puts back.
    ir : Path
        Folder of IRs; ``ir/<name>`` is replaced as a whole, or stays as it was.
    int8 : {"auto", "plain", "accuracy-control"}
        ``plain`` quantises every layer that NNCF can; ``accuracy-control`` puts layers back to FP
        until INT8 loses no more than it may; ``auto`` does so only if plain loses more.
    max_drop : float
        UAR that INT8 may lose, 0 to 1; see :func:`ser_edge.export.quantize.loss` for what accuracy
        control measures.
    progress : callable
        Gets a line a step.

    Returns
    -------
    list of Comparison
        ONNX beside PyTorch, FP16 beside ONNX, INT8 beside FP16; the last twice if accuracy control
        followed plain INT8.

    Raises
    ------
    ExportDriftError
        A step answers otherwise than the one before.
    ValueError
        Model or pictures cannot be read or do not fit, or an option is none of the allowed.
    """
    if int8 not in INT8_MODES:
        raise ValueError(f"int8 is {int8!r}, allowed: {', '.join(INT8_MODES)}")
    if not 0 <= max_drop <= 1:
        raise ValueError(f"max_drop is {max_drop}, allowed: 0 to 1")
    recipe, net = load_net(model)
    spec, rows = recipe.image, read_rows(images, recipe.image)
    clips = load_clips(images, [row for row in rows if row.channel == "speech"], spec)
    record = _read_record(model)
    training = set(record.speakers["train"])
    calibrating = [image for clip in clips if clip.speaker in training for image in clip.images]
    if not calibrating:
        raise ValueError(f"{images}: no clip of a training speaker to calibrate INT8 on")
    manifest = _manifest(recipe.name, recipe.image, model, record)
    chosen_by = training | set(record.speakers.get("validation", ()))
    known = _Known(clips, chosen_by, manifest.calibration.temperature)

    target = ir / recipe.name
    ir.mkdir(parents=True, exist_ok=True)
    with _unfinished(ir) as work:
        onnx = work / f"{recipe.name}.onnx"
        to_onnx(net, spec.shape, onnx)
        fp32 = to_openvino(onnx)
        fp16_xml = save_ir(fp32, work / "ir" / FP16 / f"{recipe.name}.xml", manifest)
        progress(f"wrote ONNX opset {ONNX_OPSET} and IR FP16")
        comparisons = []

        def compared(before: Step, name: str, logits: Float64) -> Step:
            step = _scored(name, logits, clips)
            comparisons.append(compare(before, step))
            progress(str(comparisons[-1]))
            return step

        step = _scored("PyTorch", window_logits(net, clips), clips)
        for name, logits in (
            ("ONNX", _run_onnx(onnx, clips)),
            ("IR FP16", _run_ir(fp16_xml, clips)),
        ):
            before, step = step, compared(step, name, logits)
            _check_labels(comparisons[-1], before, step, clips)

        int8_xml = work / "ir" / INT8 / f"{recipe.name}.xml"
        manifest = replace(manifest, precision=INT8)
        before, plain = step, quantize(fp32, calibrating)
        progress(f"quantised to INT8 on {min(len(calibrating), CALIBRATION_IMAGES)} pictures")
        save_ir(plain, int8_xml, manifest)
        step, model = compared(before, "IR INT8", _run_ir(int8_xml, clips)), plain
        loses_uar = known.uar(step) < known.uar(before) - max_drop
        if int8 == ACCURACY_CONTROL or (int8 == AUTO and loses_uar):
            progress(
                f"plain INT8 loses {known.loss(before, step):.4f} of UAR or score on "
                f"{len(known.clips)} clips of training and validation speakers, allowed: "
                f"{max_drop:.4f}; accuracy control takes minutes"
            )
            model = quantize_with_accuracy_control(
                fp32, calibrating, known.clips, max_drop, known.temperature
            )
            save_ir(model, int8_xml, manifest)
            name = "IR INT8 with accuracy control"
            step = compared(before, name, _run_ir(int8_xml, clips))
            progress(f"on the same clips it loses {known.loss(before, step):.4f}")
        found = layers(model, plain)
        progress(summary(found))
        _check_uar(comparisons[-1], before, step, clips, max_drop)
        if not any(layer.int8 for layer in found):
            raise ExportDriftError(
                f"no layer stays INT8 where at most {max_drop:.4f} may be lost: allow more"
            )
        write_whole(int8_xml.with_name(LAYERS), layers_markdown(recipe.name, found))
        for xml in (fp16_xml, int8_xml):
            check_old_runtime(xml)
        _replace_folder(work / "ir", target)
    return comparisons


def to_onnx(net: nn.Module, shape: tuple[int, int], path: Path) -> None:
    """Write and check an ONNX model: ``u8 [N,1,n_mels,frames]`` -> ``f32 [N,classes]``."""
    import onnx

    picture = torch.zeros(2, 1, *shape, dtype=torch.uint8)
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
            _BytesIn(net).eval(),
            (picture,),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "N"}, OUTPUT: {0: "N"}},
            opset_version=ONNX_OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


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
    write_whole(xml, sealed(xml.read_bytes()))
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
        f"{node.get_friendly_name()} ({node.get_type_name()}) has the shape {shape} for one picture"
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


def compare(before: Step, step: Step) -> Comparison:
    """One step beside the one before."""
    return Comparison(
        step.name,
        before.name,
        float(np.mean(step.logits.argmax(axis=1) == before.logits.argmax(axis=1))),
        float(np.abs(step.logits - before.logits).max()),
        step.uar,
        before.uar,
    )


def _check_labels(comparison: Comparison, before: Step, step: Step, clips: Sequence[Clip]) -> None:
    if not np.isfinite(step.logits).all() or comparison.same_label < SAME_LABEL_SHARE:
        raise ExportDriftError(
            f"{comparison}; at least {SAME_LABEL_SHARE:.1%} should agree. "
            + _where(before, step, clips)
        )


def _check_uar(
    comparison: Comparison,
    before: Step,
    step: Step,
    clips: Sequence[Clip],
    max_drop: float = UAR_LOSS,
) -> None:
    if not np.isfinite(step.logits).all() or comparison.uar < comparison.uar_before - max_drop:
        raise ExportDriftError(
            f"{comparison}; at most {max_drop:.4f} may be lost. " + _where(before, step, clips)
        )


def _where(before: Step, step: Step, clips: Sequence[Clip]) -> str:
    """The clips that moved most, in words."""
    moved = np.abs(step.logits - before.logits).max(axis=1)
    worst = [
        f"{clips[i].rows[0].utterance} ({EMOTIONS[int(before.logits[i].argmax())]} -> "
        f"{EMOTIONS[int(step.logits[i].argmax())]}, {moved[i]:.3f})"
        for i in np.argsort(-np.nan_to_num(moved, nan=np.inf))[:5]
    ]
    return "Farthest off: " + ", ".join(worst)


def _scored(name: str, logits: Float64, clips: Sequence[Clip]) -> Step:
    pooled = clip_logits(logits, clips)
    return Step(name, pooled, _uar(pooled, clips))


def _uar(logits: Float64, clips: Sequence[Clip]) -> float:
    truth = np.array([clip.emotion for clip in clips])
    return uar(confusion(truth, logits.argmax(axis=1)))


def _run_onnx(path: Path, clips: Sequence[Clip]) -> Float64:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate(
        [session.run([OUTPUT], {INPUT: image[None, None]})[0] for image in _images(clips)]
    ).astype(np.float64)


def _run_ir(xml: Path, clips: Sequence[Clip]) -> Float64:
    with without_telemetry():
        import openvino

    # f32 as the edge app sets it: CPUs with bf16 would use that unasked.
    compiled = openvino.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return infer(compiled, _images(clips))


def _images(clips: Sequence[Clip]) -> Iterator[npt.NDArray[np.uint8]]:
    for clip in clips:
        yield from clip.images


def _read_record(model: Path) -> RunRecord:
    needs = ("speakers", "corpora", "calibration", "summary")
    return RunRecord.read(model / METRICS, needs, "scripts/package_model.py")


def _manifest(name: str, spec: Any, model: Path, record: RunRecord) -> Manifest:
    return Manifest(
        name=name,
        spec=spec,
        calibration=Calibration(**record.calibration),
        corpora=record.corpora,
        weights_sha256=hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest(),
        git_revision=git_revision(),
        metrics=dict(record.summary),
    )


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk, gone afterwards whatever happens."""
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _replace_folder(new: Path, target: Path) -> None:
    """Put ``new`` in the place of ``target``, or leave that as it was."""
    old = new.with_name("replaced")
    if target.exists():
        target.replace(old)
    try:
        new.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise
