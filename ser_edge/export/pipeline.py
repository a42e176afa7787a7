"""A model folder to ``ir/<name>/FP16`` and ``INT8``: each step is compared with the one before."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import nn

from ser_edge.data.datasets import Clip, load_clips
from ser_edge.data.render import read_rows
from ser_edge.decision import Calibration
from ser_edge.export.layers import layers, layers_markdown, summary
from ser_edge.export.onnx import ONNX_OPSET, run_onnx, to_onnx
from ser_edge.export.openvino import check_old_runtime, run_ir, save_ir, to_openvino
from ser_edge.export.quantize import (
    ACCURACY_CONTROL,
    AUTO,
    CALIBRATION_IMAGES,
    INT8_MODES,
    loss,
    quantize,
    quantize_with_accuracy_control,
)
from ser_edge.export.verify import (
    UAR_LOSS,
    Comparison,
    ExportDriftError,
    Step,
    check_labels,
    check_uar,
    clip_uar,
    compare,
    score_step,
)
from ser_edge.files import write_whole
from ser_edge.manifest import FP16, INT8, Manifest
from ser_edge.mel.spec import MelImageSpec
from ser_edge.provenance import git_revision
from ser_edge.runs.inference import METRICS, WEIGHTS, load_net, window_logits
from ser_edge.runs.record import RunRecord

LAYERS: Final = "layers.md"
"""Beside the INT8 IR: which of its layers are INT8, and why the others are not."""

Images = list[npt.NDArray[np.uint8]]


class _SelectionClips:
    """The clips by which INT8 may be chosen: of training and validation, never of test speakers."""

    def __init__(self, clips: Sequence[Clip], speakers: Set[str], temperature: float) -> None:
        self.clips = [clip for clip in clips if clip.speaker in speakers]
        self.temperature = temperature
        self._index = [i for i, clip in enumerate(clips) if clip.speaker in speakers]

    def uar(self, step: Step) -> float:
        return clip_uar(step.logits[self._index], self.clips)

    def loss(self, before: Step, step: Step) -> float:
        truth = np.array([clip.emotion for clip in self.clips])
        return loss(before.logits[self._index], step.logits[self._index], truth, self.temperature)


@dataclass
class _Export:
    """An export under way: what it is made from, where it is written, what was compared."""

    net: nn.Module
    manifest: Manifest
    clips: Sequence[Clip]
    calibration: Images
    selection: _SelectionClips
    work: Path
    progress: Callable[[str], None]
    comparisons: list[Comparison] = field(default_factory=list)

    def xml(self, precision: str) -> Path:
        return self.work / "ir" / precision / f"{self.manifest.name}.xml"

    def images(self) -> Images:
        return [image for clip in self.clips for image in clip.images]

    def compared(self, before: Step, name: str, logits: npt.NDArray[np.float64]) -> Step:
        """Score a step, compare it with the one before, report."""
        step = score_step(name, logits, self.clips)
        self.comparisons.append(compare(before, step))
        self.progress(str(self.comparisons[-1]))
        return step


def export_model(
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
        speakers, decide whether ``auto`` needs accuracy control and which layers return to FP.
    ir : Path
        Folder of IRs; ``ir/<name>`` is replaced as a whole or not at all.
    int8 : {"auto", "plain", "accuracy-control"}
        ``plain`` quantises every layer that NNCF can; ``accuracy-control`` puts layers back to FP
        until INT8 loses no more than it may; ``auto`` does so only if plain loses more.
    max_drop : float
        UAR that INT8 may lose, 0 to 1; see :func:`ser_edge.export.quantize.loss` for what accuracy
        control measures.
    progress : callable
        Called with one line per step.

    Returns
    -------
    list of Comparison
        ONNX with PyTorch, FP16 with ONNX, INT8 with FP16; the last twice if accuracy control
        followed plain INT8.

    Raises
    ------
    ExportDriftError
        A step gives other answers than the one before.
    ValueError
        Model or mel images cannot be read or do not fit, or an option has no allowed value.
    """
    if int8 not in INT8_MODES:
        raise ValueError(f"int8 is {int8!r}, allowed: {', '.join(INT8_MODES)}")
    if not 0 <= max_drop <= 1:
        raise ValueError(f"max_drop is {max_drop}, allowed: 0 to 1")
    ir.mkdir(parents=True, exist_ok=True)
    with _temporary_folder(ir) as work:
        run = _load(model, images, work, progress)
        fp32, fp16 = _export_fp16(run)
        _export_int8(run, fp32, fp16, int8, max_drop)
        for precision in (FP16, INT8):
            check_old_runtime(run.xml(precision))
        _replace_folder(work / "ir", ir / run.manifest.name)
    return run.comparisons


def _load(model: Path, images: Path, work: Path, progress: Callable[[str], None]) -> _Export:
    """Network, speech clips and manifest of an export; raises ``ValueError`` as the export does."""
    recipe, net = load_net(model)
    rows = [row for row in read_rows(images, recipe.image) if row.channel == "speech"]
    clips = load_clips(images, rows, recipe.image)
    record = _read_record(model)
    training = set(record.speakers["train"])
    calibration = [image for clip in clips if clip.speaker in training for image in clip.images]
    if not calibration:
        raise ValueError(f"{images}: no clip of a training speaker to calibrate INT8 on")
    manifest = _manifest(recipe.name, recipe.image, model, record)
    speakers = training | set(record.speakers.get("validation", ()))
    selection = _SelectionClips(clips, speakers, manifest.calibration.temperature)
    return _Export(net, manifest, clips, calibration, selection, work, progress)


def _export_fp16(run: _Export) -> tuple[Any, Step]:
    """Write ONNX and IR FP16 and verify both; the model in FP32 and the IR's scores."""
    onnx = run.work / f"{run.manifest.name}.onnx"
    to_onnx(run.net, run.manifest.spec.shape, onnx)
    fp32 = to_openvino(onnx)
    save_ir(fp32, run.xml(FP16), run.manifest)
    run.progress(f"wrote ONNX opset {ONNX_OPSET} and IR FP16")
    step = score_step("PyTorch", window_logits(run.net, run.clips), run.clips)
    for name, logits in (
        ("ONNX", run_onnx(onnx, run.images())),
        ("IR FP16", run_ir(run.xml(FP16), run.images())),
    ):
        before, step = step, run.compared(step, name, logits)
        check_labels(run.comparisons[-1], before, step, run.clips)
    return fp32, step


def _export_int8(run: _Export, fp32: Any, fp16: Step, int8: str, max_drop: float) -> None:
    """Write IR INT8 and its table of layers; with accuracy control where that is asked for."""
    manifest = replace(run.manifest, precision=INT8)
    plain = quantize(fp32, run.calibration)
    images = min(len(run.calibration), CALIBRATION_IMAGES)
    run.progress(f"quantised to INT8 on {images} mel images")
    save_ir(plain, run.xml(INT8), manifest)
    step, model = run.compared(fp16, "IR INT8", run_ir(run.xml(INT8), run.images())), plain
    loses_uar = run.selection.uar(step) < run.selection.uar(fp16) - max_drop
    if int8 == ACCURACY_CONTROL or (int8 == AUTO and loses_uar):
        run.progress(
            f"plain INT8 loses {run.selection.loss(fp16, step):.4f} of UAR or score on "
            f"{len(run.selection.clips)} clips of training and validation speakers, allowed: "
            f"{max_drop:.4f}; accuracy control takes minutes"
        )
        model = quantize_with_accuracy_control(
            fp32, run.calibration, run.selection.clips, max_drop, run.selection.temperature
        )
        save_ir(model, run.xml(INT8), manifest)
        name = "IR INT8 with accuracy control"
        step = run.compared(fp16, name, run_ir(run.xml(INT8), run.images()))
        run.progress(f"on the same clips it loses {run.selection.loss(fp16, step):.4f}")
    found = layers(model, plain)
    run.progress(summary(found))
    check_uar(run.comparisons[-1], fp16, step, run.clips, max_drop)
    if not any(layer.int8 for layer in found):
        raise ExportDriftError(
            f"no layer stays INT8 where at most {max_drop:.4f} may be lost: allow more"
        )
    write_whole(run.xml(INT8).with_name(LAYERS), layers_markdown(manifest.name, found))


def _read_record(model: Path) -> RunRecord:
    needs = ("speakers", "corpora", "calibration", "summary")
    return RunRecord.read(model / METRICS, needs, "ser-edge package")


def _manifest(name: str, spec: MelImageSpec, model: Path, record: RunRecord) -> Manifest:
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
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder on the same disk, removed afterwards whatever happens."""
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
