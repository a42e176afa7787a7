"""The fit: clips and a recipe -> weights and logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.utils.data import DataLoader

from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.config.tracking import Tracking
from ser_edge.data import nonspeech
from ser_edge.data.audio_augment import SoundPictures
from ser_edge.data.datasets import (
    AllWindows,
    Clip,
    EpochBatches,
    TrainingClips,
    TrainingSounds,
    babble_bank,
    changed_copies,
    load_sounds,
)
from ser_edge.data.image_augment import add_noise, through_line
from ser_edge.data.render import Picture, read_rows
from ser_edge.data.splits import RANDOM, Division, divide, unheard_speakers
from ser_edge.emotions import EMOTIONS
from ser_edge.files import write_whole
from ser_edge.mel.image import band_edges
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.nets import build_net
from ser_edge.nets.compact import GATE, CompactNet
from ser_edge.provenance import provenance
from ser_edge.runs.inference import (
    CONFIG,
    EVAL_BATCH,
    METRICS,
    PREDICTIONS,
    WEIGHTS,
    clip_predictions,
    load_net,
    window_logits,
)
from ser_edge.runs.lineage import HeldOut, Lineage, check_no_leakage, run_lineage
from ser_edge.runs.record import Epoch, RunRecord, read_run
from ser_edge.training.distill import load_teachers, soften
from ser_edge.training.epoch_callback import Watch, Watcher
from ser_edge.training.image_module import AuxiliaryTargets, ImageModule
from ser_edge.training.nonspeech_head import fit_gate
from ser_edge.training.setup import (
    class_weights,
    corpora_of,
    fingerprint,
    hear,
    saved_weights,
    speaker_record,
    unfinished,
)
from ser_edge.training.soft_targets import read_soft_targets
from ser_edge.training.trackers import Recorder
from ser_edge.training.trainer import build_trainer, last_checkpoint, quiet

_GATE_LINE: Final = 0.5
_GATE_NOISE: Final = 0.5
"""Shares of the pictures that the gate hears through another line, and with noise over them."""


@dataclass(frozen=True)
class Result:
    """What a run leaves in its folder: figures by part (``validation``, ``test``).

    Of several processes, only the ``leader`` has figures and writes.
    """

    folder: Path
    figures: dict[str, dict[str, Any]]
    leader: bool = True


@dataclass(frozen=True)
class Sources:
    """Where the sound of a run comes from.

    Parameters
    ----------
    images : Path
        What ``scripts/render.py`` wrote; its specification must be the recipe's.
    also : sequence of Path
        Further renderings to train on; their clips of speakers who are scored are left out.
    sounds : sequence of Path
        Folders with the recordings, needed where the recipe changes waveforms.
    gate_speech : sequence of Path
        Further renderings of speech that the recipe's gate opens for, without their labels; clips
        of speakers who are scored are left out.
    """

    images: Path
    also: Sequence[Path] = ()
    sounds: Sequence[Path] = ()
    gate_speech: Sequence[Path] = ()


@dataclass(frozen=True)
class Ancestry:
    """Earlier runs that a run builds on.

    Parameters
    ----------
    start : Path, optional
        A run or a model folder whose weights are started from, of the same network.
    teachers : sequence of Path
        Runs or model folders whose mean scores are taught, where the recipe has ``distill``.
    soft_targets : Path, optional
        File of ``scripts/teach.py`` to be taught in place of teachers.
    average : sequence of Path
        Runs or model folders of the same network whose weights are averaged with the run's own
        when it is trained ("model soup", Wortsman et al. 2022, arXiv 2203.05482): its own are one
        half, all others together the other half. It needs runs from the same start: others lie in
        other valleys.
    refit : Path, optional
        A finished run of the same recipe and fold. Once that has shown on the fold's validation
        speakers what the recipe is worth, this one is trained on them as well; the validation
        predictions kept are those of the earlier run.
    """

    start: Path | None = None
    teachers: Sequence[Path] = ()
    soft_targets: Path | None = None
    average: Sequence[Path] = ()
    refit: Path | None = None


def train(
    sources: Sources,
    out: Path,
    recipe: Recipe,
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

    The weights kept are those of the last epoch (averaged, if the recipe says so); the best epoch
    on the validation actors is kept as a checkpoint beside them. ``seconds`` in ``metrics.json`` is
    the wall clock of the fit: of all attempts, less what a break threw away.

    Parameters
    ----------
    sources : Sources
        What is heard.
    out : Path
        Folder of the run; must not hold a finished run.
    recipe : Recipe
    fold : str
        One of :data:`ser_edge.data.splits.FOLDS`; ``all`` has no validation and no test.
    ancestry : Ancestry, optional
        What it builds on; without it, nothing.
    hardware : Hardware, optional
    tracking : Tracking, optional
        What follows it; TensorBoard, if nothing is said.
    resume : bool
        Go on from the last finished epoch of a run that was broken off, if there is one.
    progress : bool
        Show bars.
    watch : callable, optional
        Gets the figures of every epoch when it is finished.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        Rendering and recipe do not fit, no clip to train on, no such accelerator, a teacher has
        heard who is scored, ``out`` is taken, what lies there cannot be gone on with, or ``refit``
        is of another recipe or fold.
    TrackingError
        A tracker cannot be reached: before the first epoch, within one (what is finished is kept,
        ``resume`` goes on), or when all else is done and written.
    """
    ancestry = ancestry or Ancestry()
    hardware = hardware or Hardware()
    rows = read_rows(sources.images, recipe.image)
    division = divide(rows, fold, recipe.seed, refit=ancestry.refit is not None)
    validated = () if ancestry.refit is None else _validated(ancestry.refit, recipe, fold)
    if sources.gate_speech and not recipe.gate:
        raise ValueError("gate is 0: there is none to open for further speech")
    clips = hear(
        sources.images,
        recipe,
        division,
        also=sources.also,
        gate_speech=sources.gate_speech,
    )
    held_out = _held_out(division, fold)
    lessons, taught_by = _lessons(recipe, clips.training, ancestry, held_out)
    averaged = [run_lineage(run) for run in ancestry.average]
    for run, past in zip(ancestry.average, averaged, strict=True):
        check_no_leakage(run, past, held_out)
    data = fingerprint(fold, clips.training, taught_by)
    checkpoint = unfinished(out, recipe, data, resume=resume)
    origin = provenance()  # of the start: the tree may be edited while a long run goes on

    quiet()
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    validation = clips.scored.get("validation", [])
    recorder = Recorder(tracking or Tracking(), out, recipe, fold)
    trainer = build_trainer(
        recipe, out, hardware, recorder, validated=bool(validation), progress=progress
    )
    if watch is not None:
        trainer.callbacks.append(Watcher(watch))  # type: ignore[attr-defined]
    on_gpu = isinstance(trainer.accelerator, CUDAAccelerator)
    dataset, sound = _inputs(clips.training, sources.sounds, recipe, progress=progress)
    net = build_net(recipe)
    others = [_alike(net, run) for run in ancestry.average]
    lineage = [*taught_by, *averaged]
    if ancestry.start is not None:
        _take_weights(net, ancestry.start)
        lineage.append(run_lineage(ancestry.start))
    if recipe.last_layer_only:
        _freeze(net)
    weights = class_weights(clips.training, recipe)
    module = ImageModule(recipe, net, validation, weights, data, sound, lessons)
    if trainer.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / CONFIG, recipe.to_yaml())
        recorder.begin()
    trainer.fit(
        module,
        DataLoader(
            dataset,
            batch_sampler=EpochBatches(
                len(clips.training),
                recipe.batch_size,
                recipe.seed,
                trainer.global_rank,
                trainer.world_size,
            ),
            num_workers=hardware.workers,
            persistent_workers=hardware.workers > 0,
            pin_memory=on_gpu,
            generator=torch.Generator(),  # the default one belongs to the augmentation
        ),
        DataLoader(AllWindows(validation), EVAL_BATCH, generator=torch.Generator())
        if validation
        else None,
        ckpt_path=checkpoint,
        weights_only=True,
    )
    if not trainer.is_global_zero:
        return Result(out, {}, leader=False)
    seconds = round(module.seconds, 1)
    # From the checkpoint, not from memory: a run broken off after its last epoch has only that.
    held = torch.load(last_checkpoint(out), weights_only=True, map_location="cpu")
    module.load_state_dict(held["state_dict"])
    _average(module.net, others)
    _adjust(module.net, clips.training, recipe.logit_adjustment)
    told_apart = _fit_gate(module.net, [*clips.training, *clips.voices], recipe)
    write_whole(out / WEIGHTS, save_safetensors(saved_weights(module.net)))
    predictions = [*validated, *_predictions(module.net, clips.scored, fold)]
    figures = {
        part: classification.figures([p for p in predictions if p.part == part])
        for part in dict.fromkeys(p.part for p in predictions)
    }
    write_whole(out / PREDICTIONS, classification.predictions_csv(predictions))
    record = RunRecord(
        fold=fold,
        refit_of=None if ancestry.refit is None else run_lineage(ancestry.refit).name,
        leaky=fold == RANDOM,
        figures=figures,
        weights="last epoch" + (", averaged" if recipe.ema else ""),
        started_from=lineage[-1].name if ancestry.start else None,
        teachers=tuple(teacher.name for teacher in taught_by),
        averaged_with=tuple(run.name for run in averaged),
        **speaker_record(clips, division, lineage),
        gate={
            "sounds": recipe.gate,
            "speech": corpora_of([*clips.training, *clips.voices]) if recipe.gate else [],
            "told_apart": told_apart,
        },
        parameters=sum(p.numel() for p in module.net.parameters()),
        hardware={
            **asdict(hardware),
            "processes": trainer.world_size,
            "precision": str(trainer.precision),
        },
        seconds=seconds,
        history=tuple(map(Epoch.from_dict, module.history)),
        provenance=origin,
    )
    record.write(out / METRICS)
    recorder.finish(figures, seconds, [out / n for n in (CONFIG, METRICS, PREDICTIONS, WEIGHTS)])
    return Result(out, figures)


def _inputs(
    training: Sequence[Clip], folders: Sequence[Path], recipe: Recipe, *, progress: bool
) -> tuple[TrainingClips | TrainingSounds, nn.Module | None]:
    """The training set, and what turns its waveforms into pictures where it has waveforms."""
    if not recipe.sound.any:
        return TrainingClips(training, recipe.seed), None
    waveforms = load_sounds(folders, training, recipe.image, progress=progress)
    dataset = TrainingSounds(training, waveforms, recipe.image, recipe.seed)
    sound = SoundPictures(
        recipe.sound,
        recipe.image,
        babble_bank(dataset, recipe.sound.babble, recipe.image),
        paired=bool(recipe.distill) and recipe.sound.spoilt,
    )
    if not recipe.copies:
        return dataset, sound
    copies = changed_copies(dataset, sound, recipe.copies, recipe.seed, progress=progress)
    return TrainingClips(training, recipe.seed, copies), None


def _predictions(
    net: nn.Module, scored: Mapping[str, Sequence[Clip]], fold: str
) -> list[ClipPrediction]:
    return [
        prediction
        for part, clips in scored.items()
        for prediction in clip_predictions(window_logits(net, clips), clips, part, fold)
    ]


def _held_out(division: Division[Picture], fold: str) -> HeldOut:
    """What the networks that are built on must not have heard."""
    speakers = unheard_speakers(division)
    if fold != RANDOM:
        return HeldOut(speakers)
    scored = (*division.validation, *division.test)
    return HeldOut(
        speakers - {row.speaker for row in scored}, frozenset(row.utterance for row in scored)
    )


def _lessons(
    recipe: Recipe, training: Sequence[Clip], ancestry: Ancestry, held_out: HeldOut
) -> tuple[AuxiliaryTargets, list[Lineage]]:
    """What is taught beside the labels, and who teaches it."""
    teachers, soft_targets = ancestry.teachers, ancestry.soft_targets
    if teachers and soft_targets is not None:
        raise ValueError("teachers and a file of soft targets: only one of the two can teach")
    if recipe.distill and not teachers and soft_targets is None:
        raise ValueError(
            f"distill is {recipe.distill}, but there is neither a teacher nor a file of soft "
            "targets; without them it should be 0 (configs/compact-stages.yaml with "
            "scripts/experiments.py trains the teachers first)"
        )
    if not recipe.distill and (teachers or soft_targets is not None):
        raise ValueError("distill is 0, with a teacher it should be above 0 to 1")
    temperature = recipe.distill_temperature
    if teachers:
        taught, lineages = load_teachers(
            teachers, recipe.image, recipe.training_frames, temperature, held_out
        )
        return AuxiliaryTargets(taught), lineages
    if soft_targets is None:
        return AuxiliaryTargets(), []
    targets = read_soft_targets(soft_targets)
    check_no_leakage(soft_targets, targets.lineage, held_out)
    return AuxiliaryTargets(soft=soften(targets.of(training), temperature)), [targets.lineage]


def _validated(chosen: Path, recipe: Recipe, fold: str) -> tuple[ClipPrediction, ...]:
    """What the run that a recipe was chosen by said of the validation clips."""
    run = read_run(chosen, fold)
    other = recipe.differences(Recipe.read(chosen / CONFIG))
    if other:
        raise ValueError(f"{chosen}: as what is refitted it has other {', '.join(other)}")
    if not run.part("validation"):
        raise ValueError(f"{chosen / PREDICTIONS}: no validation clip in it")
    return run.part("validation")


def _fit_gate(net: nn.Module, speech: Sequence[Clip], recipe: Recipe) -> float | None:
    """Fit the gate that the recipe wants; the share that it tells rightly, None without one."""
    if not recipe.gate:
        return None
    assert isinstance(net, CompactNet)  # build_net has seen to it
    hertz = band_edges(recipe.image)[1:-1].tolist()

    def change(pictures: torch.Tensor) -> torch.Tensor:
        heard = through_line(pictures, _GATE_LINE, hertz, recipe.image.range_db)
        return add_noise(heard, _GATE_NOISE, recipe.image.range_db)

    others = nonspeech.pictures(recipe.gate, recipe.image, recipe.seed)
    clips = np.concatenate([clip.images for clip in speech])
    return fit_gate(net, clips, others[:, 0], change, recipe.seed)


def _freeze(net: nn.Module) -> None:
    """Leave only the last layer to be trained."""
    net.requires_grad_(False)
    _last_layer(net).requires_grad_(True)


def _last_layer(net: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer that gives the logits."""
    return [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]


def _take_weights(net: nn.Module, folder: Path) -> None:
    """Start from the weights of a run or a model; a gate is fitted anew after every training."""
    gate = {n: v for n, v in net.state_dict().items() if n.startswith(GATE)}
    try:
        net.load_state_dict(_weights(folder) | gate)
    except RuntimeError as error:
        raise ValueError(f"{folder}: its network is not the recipe's: {error}") from None


def _alike(net: nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run or a model that is the same network."""
    found = _weights(folder)
    shapes = {n: v.shape for n, v in net.state_dict().items() if not n.startswith(GATE)}
    if {name: value.shape for name, value in found.items()} != shapes:
        raise ValueError(f"{folder}: its network is not the recipe's")
    return found


def _average(net: nn.Module, others: Sequence[Mapping[str, torch.Tensor]]) -> None:
    """Half of a network's weights and half of the others' mean; its gate is fitted afterwards."""
    for name, value in net.state_dict().items():
        if others and not name.startswith(GATE) and value.is_floating_point():
            mean = torch.stack([other[name] for other in others]).mean(dim=0)
            value.copy_((value + mean) / 2)


@torch.no_grad()
def _adjust(net: nn.Module, training: Sequence[Clip], strength: float) -> None:
    """Take off the logits how frequent the emotions are in the speech trained on.

    Logit adjustment after training (Menon et al. 2021, arXiv 2007.07314, equation 9): RAVDESS has
    half as many neutral clips as of any other emotion, and nobody who uses the model does. Song
    is left out: it has other emotions than speech, and speech is what is scored.
    """
    spoken = [clip for clip in training if clip.rows[0].channel == "speech"] or training
    counts = np.bincount([clip.emotion for clip in spoken], minlength=len(EMOTIONS))
    there = counts > 0  # of an emotion that was never heard nothing is known
    shift = np.zeros(len(EMOTIONS), dtype=np.float32)
    shift[there] = strength * np.log(counts[there] / counts[there].mean())
    bias = _last_layer(net).bias
    assert bias is not None
    bias -= torch.from_numpy(shift)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """Of a run or a model, its gate apart."""
    state = load_net(folder)[1].state_dict()
    return {name: value for name, value in state.items() if not name.startswith(GATE)}
