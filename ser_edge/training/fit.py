"""The training loop: split -> load -> check_no_leakage -> fit -> finalize -> record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from safetensors.torch import save as save_safetensors
from torch.utils.data import DataLoader

from ser_edge.config.base import BaseRecipe
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.config.ssl import SSLRecipe
from ser_edge.config.tracking import Tracking
from ser_edge.data.datasets import EpochBatches, TrainingData
from ser_edge.data.render import MelImageRow, read_rows
from ser_edge.data.splits import RANDOM, Division, divide
from ser_edge.files import write_whole
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.provenance import provenance
from ser_edge.runs.inference import (
    CONFIG,
    METRICS,
    PREDICTIONS,
    WEIGHTS,
    clip_predictions,
    dataset_logits,
)
from ser_edge.runs.lineage import (
    Lineage,
    check_no_leakage,
    held_out_by,
    run_lineage,
    speaker_record,
)
from ser_edge.runs.record import Epoch, RunRecord, read_run
from ser_edge.training.base_module import BaseModule
from ser_edge.training.distill import AuxiliaryTargets, auxiliary_targets
from ser_edge.training.image_module import ImageModule, build_image_module
from ser_edge.training.setup import (
    SplitClips,
    find_checkpoint,
    fingerprint,
    load_split,
)
from ser_edge.training.ssl_module import SSLModule, build_ssl_module
from ser_edge.training.trackers import EpochCallback, Recorder, Watch
from ser_edge.training.trainer import build_trainer, last_checkpoint, quiet
from ser_edge.training.weights import saved_weights


@dataclass(frozen=True)
class Result:
    """Folder of a run, figures by part (``validation``, ``test``).

    Of several processes, only the ``leader`` has figures and writes.
    """

    folder: Path
    figures: dict[str, dict[str, Any]]
    leader: bool = True


@dataclass(frozen=True)
class Sources:
    """What a run is trained on.

    Parameters
    ----------
    images : Path
        What ``scripts/render.py`` wrote; its specification must be the recipe's.
    also : sequence of Path
        Further renderings to train on; their clips of held-out speakers are left out.
    sounds : sequence of Path
        Folders with the recordings, for speech encoders and where waveforms are changed.
    gate_speech : sequence of Path
        Further renderings of speech for the non-speech head, without their labels; clips of
        held-out speakers are left out.
    without : frozenset of str
        Training speakers who are left out.
    """

    images: Path
    also: Sequence[Path] = ()
    sounds: Sequence[Path] = ()
    gate_speech: Sequence[Path] = ()
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ancestry:
    """Earlier runs that a run of an image network builds on.

    Parameters
    ----------
    start : Path, optional
        A run or a model folder of the same network whose weights are started from.
    teachers : sequence of Path
        Runs or model folders whose mean scores are taught, where the recipe has ``distill``.
    soft_targets : Path, optional
        File of ``scripts/teach.py`` to be taught in place of teachers.
    average : sequence of Path
        Runs or model folders of the same network whose weights are averaged with the run's own
        after training ("model soup", Wortsman et al. 2022, arXiv 2203.05482): its own are one
        half, all others together the other half. Best from the same start.
    refit : Path, optional
        A finished run of the same recipe and fold, whose validation figures have shown what the
        recipe is worth: its validation speakers are trained on as well, its predictions are kept.
    """

    start: Path | None = None
    teachers: Sequence[Path] = ()
    soft_targets: Path | None = None
    average: Sequence[Path] = ()
    refit: Path | None = None


def fit(
    sources: Sources,
    out: Path,
    recipe: BaseRecipe,
    fold: str,
    ancestry: Ancestry | None = None,
    *,
    hardware: Hardware | None = None,
    tracking: Tracking | None = None,
    resume: bool = False,
    progress: bool = True,
    watch: Watch | None = None,
) -> Result:
    """Train on a rendering, score, and write everything into ``out``.

    The weights kept are those of the last epoch, averaged if the recipe says so.

    Parameters
    ----------
    sources, ancestry
        What it is trained on, and what it builds on.
    out : Path
        Folder of the run; must not hold a finished run.
    recipe : Recipe or SSLRecipe
    fold : str
        One of :data:`ser_edge.data.splits.FOLDS`; ``all`` has no validation and no test.
    hardware, tracking
        All GPUs or one process, and TensorBoard, by default.
    resume : bool
        Resume an unfinished run from its last finished epoch, if there is one.
    progress : bool
        Show bars.
    watch : callable, optional
        Gets the figures of every finished epoch.

    Raises
    ------
    ValueError
        Rendering and recipe do not fit, no clip to train on, no such accelerator, a leak, ``out``
        is taken, its run cannot be resumed, or ``refit`` is of another recipe or fold.
    TrackingError
        A tracker cannot be reached: before the first epoch, within one (what is finished is kept
        for ``resume``), or when all else is done and written.
    """
    origin = provenance()  # of the start: the tree may be edited during a long run
    job = _prepare(sources, recipe, fold, ancestry or Ancestry(), hardware or Hardware(), progress)
    checkpoint = find_checkpoint(out, recipe, job.fingerprint, resume=resume)
    quiet()
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    recorder = Recorder(tracking or Tracking(), out, recipe, fold)
    trainer = _trainer(job, out, recorder, watch)
    module, data = _build(job, pretrained=checkpoint is None)
    if trainer.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / CONFIG, recipe.to_yaml())
        recorder.begin()
    training, validation = _loaders(job, data, trainer)
    trainer.fit(module, training, validation, ckpt_path=checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return Result(out, {}, leader=False)
    seconds = round(module.seconds, 1)
    weights_record = _finalize(module, job, out)
    predictions = [*job.validated, *_predictions(module, data, job)]
    write_whole(out / PREDICTIONS, classification.predictions_csv(predictions))
    record = replace(_record(module, job, predictions), seconds=seconds, provenance=origin)
    replace(record, **weights_record).write(out / METRICS)
    if job.kind.large:
        last_checkpoint(out).unlink()
    files = [out / name for name in (CONFIG, METRICS, PREDICTIONS, WEIGHTS)]
    recorder.finish(record.figures, seconds, files)
    return Result(out, dict(record.figures))


@dataclass(frozen=True)
class _Job:
    """A run that was prepared: its clips, and what it builds on."""

    sources: Sources
    recipe: BaseRecipe
    fold: str
    ancestry: Ancestry
    hardware: Hardware
    progress: bool
    division: Division[MelImageRow]
    clips: SplitClips
    auxiliary: AuxiliaryTargets
    averaged: tuple[Lineage, ...]
    started: tuple[Lineage, ...]
    refitted: tuple[Lineage, ...]
    validated: tuple[ClipPrediction, ...]

    @property
    def kind(self) -> type[BaseModule]:
        return SSLModule if isinstance(self.recipe, SSLRecipe) else ImageModule

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.fold, self.clips.training, self.auxiliary.lineages)


def _prepare(
    sources: Sources,
    recipe: BaseRecipe,
    fold: str,
    ancestry: Ancestry,
    hardware: Hardware,
    progress: bool,
) -> _Job:
    """Split, load, check that nothing leaks."""
    if isinstance(recipe, SSLRecipe) and any(vars(ancestry).values()):
        raise ValueError("a speech encoder starts from its bundle alone, not from earlier runs")
    if sources.gate_speech and not (isinstance(recipe, Recipe) and recipe.nonspeech_head):
        raise ValueError("no non-speech head to fit to further speech: nonspeech_head is 0")
    if isinstance(recipe, SSLRecipe) and hardware.devices == "auto":
        hardware = replace(hardware, devices="1")
    refit, rows = ancestry.refit, read_rows(sources.images, recipe.image)
    division = divide(rows, fold, recipe.seed, refit=refit is not None)
    validated = () if refit is None else _validated(refit, recipe, fold)
    clips = load_split(
        sources.images, recipe, division,
        also=sources.also, head_speech=sources.gate_speech, without=sources.without,
    )  # fmt: skip
    held_out, auxiliary = held_out_by(division, fold), AuxiliaryTargets()
    if isinstance(recipe, Recipe):
        auxiliary = auxiliary_targets(
            recipe, clips.training, ancestry.teachers, ancestry.soft_targets, held_out
        )
    averaged = tuple(run_lineage(run) for run in ancestry.average)
    for run, lineage in zip(ancestry.average, averaged, strict=True):
        check_no_leakage(run, lineage, held_out)
    started = tuple(run_lineage(run) for run in (ancestry.start,) if run is not None)
    refitted = tuple(run_lineage(run) for run in (refit,) if run is not None)
    return _Job(
        sources, recipe, fold, ancestry, hardware, progress, division, clips, auxiliary, averaged,
        started, refitted, validated,
    )  # fmt: skip


def _validated(chosen: Path, recipe: BaseRecipe, fold: str) -> tuple[ClipPrediction, ...]:
    """Validation predictions of the run that a recipe was chosen by."""
    run = read_run(chosen, fold)
    other = recipe.differences(type(recipe).read(chosen / CONFIG))
    if other:
        raise ValueError(f"{chosen}: its recipe has other {', '.join(other)} than the refit")
    if not run.part("validation"):
        raise ValueError(f"{chosen / PREDICTIONS}: no validation clip in it")
    return run.part("validation")


def _trainer(job: _Job, out: Path, recorder: Recorder, watch: Watch | None) -> lightning.Trainer:
    """Lightning's trainer; what is unfrozen in mid-run is trained on one device."""
    large = job.kind.large
    trainer = build_trainer(
        job.recipe, out, job.hardware,
        [recorder, *([] if watch is None else [EpochCallback(watch)])],
        recorder.loggers,
        keep_best="validation" in job.clips.scored and not large,
        progress=job.progress,
    )  # fmt: skip
    if large and trainer.world_size > 1:
        raise ValueError(
            f"devices is {job.hardware.devices!r}: a speech encoder is fine-tuned on one device; "
            "give each of several another fold"
        )
    return trainer


def _build(job: _Job, *, pretrained: bool) -> tuple[BaseModule, TrainingData]:
    """Network, module and tensors."""
    recipe, sounds, progress = job.recipe, job.sources.sounds, job.progress
    if isinstance(recipe, SSLRecipe):
        return build_ssl_module(
            recipe, job.clips, job.fingerprint,
            sounds=sounds, pretrained=pretrained, progress=progress,
        )  # fmt: skip
    assert isinstance(recipe, Recipe)
    return build_image_module(
        recipe, job.clips, job.fingerprint, auxiliary=job.auxiliary, start=job.ancestry.start,
        average_with=job.ancestry.average, sounds=sounds, progress=progress,
    )  # fmt: skip


def _loaders(
    job: _Job, data: TrainingData, trainer: lightning.Trainer
) -> tuple[DataLoader[Any], DataLoader[Any] | None]:
    """For training, and for validation where there is any."""
    recipe, workers = job.recipe, job.hardware.workers
    batches = EpochBatches(
        len(job.clips.training), recipe.batch_size, recipe.seed, trainer.global_rank,
        trainer.world_size, recipe.accumulation,
    )  # fmt: skip
    training = DataLoader(
        data.dataset,
        batch_sampler=batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=isinstance(trainer.accelerator, CUDAAccelerator),
        generator=torch.Generator(),  # the default one belongs to the augmentation
    )
    if "validation" not in data.windows:
        return training, None
    windows = data.windows["validation"]
    return training, DataLoader(windows, data.window_batch, generator=torch.Generator())


def _finalize(module: BaseModule, job: _Job, out: Path) -> dict[str, Any]:
    """Take the last epoch's weights, finish and write them; their fields of the record."""
    # From the checkpoint, not from memory: a run killed after its last epoch has only that.
    held = torch.load(last_checkpoint(out), weights_only=True, map_location="cpu", mmap=True)
    module.load_state_dict(held["state_dict"])
    fields = module.finish(job.clips)
    write_whole(out / WEIGHTS, save_safetensors(saved_weights(module.net)))
    return fields


def _predictions(module: BaseModule, data: TrainingData, job: _Job) -> Iterator[ClipPrediction]:
    """Of the held-out clips."""
    for part, clips in job.clips.scored.items():
        windows, progress = data.windows[part], job.progress and module.large
        logits = dataset_logits(module.net, windows, data.window_batch, progress=progress)
        yield from clip_predictions(logits, clips, part, job.fold)


def _record(module: BaseModule, job: _Job, predictions: Sequence[ClipPrediction]) -> RunRecord:
    """Figures by part, and what led to them."""
    trainer, clips, teachers = module.trainer, job.clips, job.auxiliary.lineages
    return RunRecord(
        fold=job.fold,
        refit_of=job.refitted[0].name if job.refitted else None,
        leaky=job.fold == RANDOM,
        figures={
            part: classification.figures([p for p in predictions if p.part == part])
            for part in dict.fromkeys(p.part for p in predictions)
        },
        weights="last epoch" + (", averaged" if job.recipe.ema else ""),
        started_from=job.started[0].name if job.started else job.recipe.start,
        teachers=tuple(teacher.name for teacher in teachers),
        averaged_with=tuple(run.name for run in job.averaged),
        parameters=sum(p.numel() for p in module.net.parameters()),
        hardware={
            **asdict(job.hardware),
            "processes": trainer.world_size,
            "precision": str(trainer.precision),
        },
        history=tuple(map(Epoch.from_dict, module.history)),
        **speaker_record(
            job.division, clips.training, clips.nonspeech_head,
            [*teachers, *job.averaged, *job.started],
        ),
    )  # fmt: skip
