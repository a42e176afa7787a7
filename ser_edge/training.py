"""The fit: clips and a recipe -> weights and logits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import torch
import yaml
from lightning.pytorch.accelerators import CUDAAccelerator
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.utils.data import DataLoader

from ser_edge import evaluation, outliers
from ser_edge.adversary import build_adversary, speaker_numbers
from ser_edge.augment import add_noise, through_line
from ser_edge.dataset import (
    AllWindows,
    Clip,
    EpochBatches,
    TrainingClips,
    TrainingSounds,
    changed_copies,
    load_clips,
    load_sounds,
)
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import ClipPrediction
from ser_edge.files import write_whole
from ser_edge.folds import RANDOM, apart_from, divide, unheard_speakers
from ser_edge.gate import fit_gate
from ser_edge.hardware import Hardware
from ser_edge.heritage import Heritage, heritage_of_run, refuse_leak
from ser_edge.learner import Learner, Lessons
from ser_edge.melimage import band_edges
from ser_edge.nets import build_net
from ser_edge.nets.compact import GATE, CompactNet
from ser_edge.nets.parallel import share_batch_norm, share_dropout
from ser_edge.provenance import provenance
from ser_edge.recipe import Recipe
from ser_edge.rendering import read_rows
from ser_edge.runs import read_run
from ser_edge.scoring import (
    CONFIG,
    EVAL_BATCH,
    METRICS,
    PREDICTIONS,
    WEIGHTS,
    clip_predictions,
    load_net,
    window_logits,
)
from ser_edge.softtargets import read_soft_targets
from ser_edge.teaching import load_teachers, soften
from ser_edge.trainer import build_trainer, last_checkpoint, quiet

_BABBLE_CLIPS: Final = 128
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


def train(
    images: Path,
    out: Path,
    recipe: Recipe,
    fold: str,
    *,
    refit: Path | None = None,
    also: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    start: Path | None = None,
    teachers: Sequence[Path] = (),
    soft_targets: Path | None = None,
    gate_speech: Sequence[Path] = (),
    hardware: Hardware | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Result:
    """Train on a rendering, score, and write everything into ``out``.

    The weights kept are those of the last epoch (averaged, if the recipe says so); the best epoch
    on the validation actors is kept as a checkpoint beside them. ``seconds`` in ``metrics.json`` is
    the wall clock of the fit: of all attempts, less what a break threw away.

    Parameters
    ----------
    images : Path
        What ``scripts/render.py`` wrote; its specification must be the recipe's.
    out : Path
        Folder of the run; must not hold a finished run.
    recipe : Recipe
    fold : str
        One of :data:`ser_edge.folds.FOLDS`; ``all`` has no validation and no test.
    refit : Path, optional
        A finished run of the same recipe and fold. Once that has shown on the fold's validation
        speakers what the recipe is worth, this one is trained on them as well; the validation
        predictions kept are those of the earlier run.
    also : sequence of Path
        Further renderings to train on; their clips of speakers who are scored are left out.
    sounds : sequence of Path
        Folders with the recordings, needed where the recipe changes waveforms.
    start : Path, optional
        A run or a model folder whose weights are started from, of the same network.
    teachers : sequence of Path
        Runs or model folders whose mean scores are taught, where the recipe has ``distill``.
    soft_targets : Path, optional
        File of ``scripts/teach.py`` to be taught in place of teachers.
    gate_speech : sequence of Path
        Further renderings of speech that the recipe's gate opens for, without their labels; clips
        of speakers who are scored are left out.
    hardware : Hardware, optional
    resume : bool
        Go on from the last finished epoch of a run that was broken off, if there is one.
    progress : bool
        Show bars.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        Rendering and recipe do not fit, no clip to train on, no such accelerator, a teacher has
        heard who is scored, ``out`` is taken, what lies there cannot be gone on with, or ``refit``
        is of another recipe or fold.
    """
    hardware = hardware or Hardware()
    rows = read_rows(images, recipe.image)
    wanted = set(recipe.channels.split("+"))
    division = divide(rows, fold, recipe.seed, refit=refit is not None)
    validated = () if refit is None else _validated(refit, recipe, fold)
    training = [
        clip
        for folder, heard in (
            (images, division.train),
            *((extra, apart_from(read_rows(extra, recipe.image), division)) for extra in also),
        )
        for clip in load_clips(folder, [r for r in heard if r.channel in wanted], recipe.image)
    ]
    scored = {
        part: load_clips(images, heard, recipe.image)
        for part, heard in (("validation", division.validation), ("test", division.test))
        if heard
    }
    if not training:
        raise ValueError(f"{images}: no clip of {recipe.channels} to train on")
    if gate_speech and not recipe.gate:
        raise ValueError("gate is 0: there is none to open for further speech")
    voices = [
        clip
        for folder in gate_speech
        for clip in load_clips(
            folder, apart_from(read_rows(folder, recipe.image), division), recipe.image
        )
    ]
    lessons, taught_by = _lessons(
        recipe, training, teachers, soft_targets, unheard_speakers(division)
    )
    lines = [f"{fold} {c.utterance} {c.emotion}" for c in training]
    lines += [teacher.name for teacher in taught_by]
    data = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    checkpoint = _unfinished(out, recipe, data, resume=resume)

    origin = provenance()  # of the start: the tree may be edited while a long run goes on
    quiet()
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    trainer = build_trainer(
        recipe, out, hardware, validated="validation" in scored, progress=progress
    )
    batches = EpochBatches(
        len(training), recipe.batch_size, recipe.seed, trainer.global_rank, trainer.world_size
    )
    dataset: TrainingClips | TrainingSounds = TrainingClips(training, recipe.seed)
    sound: nn.Module | None = None
    if recipe.sound.any:
        from ser_edge.soundaugment import SoundPictures  # torchaudio, only where it is used

        waveforms = load_sounds(sounds, training, recipe.image, progress=progress)
        dataset = TrainingSounds(training, waveforms, recipe.image, recipe.seed)
        sound = SoundPictures(recipe.sound, recipe.image, _babble(dataset, recipe))
        if recipe.copies:
            copies = changed_copies(dataset, sound, recipe.copies, recipe.seed, progress=progress)
            dataset, sound = TrainingClips(training, recipe.seed, copies), None
    net = build_net(recipe)
    before = list(taught_by)
    if start is not None:
        _take_weights(net, start)
        before.append(heritage_of_run(start))
    if recipe.last_layer_only:
        _freeze(net)
    share_dropout(net)
    if trainer.world_size > 1 and not isinstance(trainer.accelerator, CUDAAccelerator):
        share_batch_norm(net)
    adversary = build_adversary(recipe, net, training)
    if adversary is not None:
        lessons = replace(lessons, speakers=speaker_numbers(training))
    module = Learner(
        recipe,
        net,
        scored.get("validation", ()),
        _class_weights(training, recipe),
        data,
        sound,
        lessons,
        adversary,
    )
    if trainer.is_global_zero:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / CONFIG, recipe.to_yaml())
    trainer.fit(
        module,
        DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=hardware.workers,
            persistent_workers=hardware.workers > 0,
            pin_memory=isinstance(trainer.accelerator, CUDAAccelerator),
            generator=torch.Generator(),  # the default one belongs to the augmentation
        ),
        DataLoader(AllWindows(scored["validation"]), EVAL_BATCH, generator=torch.Generator())
        if "validation" in scored
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
    told_apart = _fit_gate(module.net, [*training, *voices], recipe)
    write_whole(out / WEIGHTS, save_safetensors(_contiguous(module.net)))
    predictions = [
        *validated,
        *(
            prediction
            for part, clips in scored.items()
            for prediction in clip_predictions(window_logits(module.net, clips), clips, part, fold)
        ),
    ]
    heard = {clip.speaker for clip in training}
    found = {
        part: evaluation.figures([p for p in predictions if p.part == part])
        for part in dict.fromkeys(p.part for p in predictions)
    }
    write_whole(out / PREDICTIONS, evaluation.predictions_csv(predictions))
    write_whole(
        out / METRICS,
        json.dumps(
            {
                "fold": fold,
                "refit_of": None if refit is None else heritage_of_run(refit).name,
                "leaky": fold == RANDOM,
                "figures": found,
                "weights": "last epoch" + (", averaged" if recipe.ema else ""),
                "started_from": before[-1].name if start else None,
                "teachers": [teacher.name for teacher in taught_by],
                "inherited_speakers": sorted(
                    {s for b in before for s in b.speakers}.union(v.speaker for v in voices) - heard
                ),
                "speakers": {
                    "train": sorted(heard),
                    "validation": sorted({row.speaker for row in division.validation}),
                    "test": sorted({row.speaker for row in division.test}),
                },
                "training_clips": len(training),
                "corpora": sorted(
                    {clip.rows[0].corpus for clip in training}.union(*(b.corpora for b in before))
                ),
                "gate": {
                    "sounds": recipe.gate,
                    "speech": sorted({clip.rows[0].corpus for clip in (*training, *voices)})
                    if recipe.gate
                    else [],
                    "told_apart": told_apart,
                },
                "parameters": sum(p.numel() for p in module.net.parameters()),
                "hardware": {
                    **asdict(hardware),
                    "processes": trainer.world_size,
                    "precision": str(trainer.precision),
                },
                "seconds": seconds,
                "history": module.history,
                "provenance": origin,
            },
            indent=2,
        )
        + "\n",
    )
    return Result(out, found)


def _lessons(
    recipe: Recipe,
    training: Sequence[Clip],
    teachers: Sequence[Path],
    soft_targets: Path | None,
    unheard: frozenset[str],
) -> tuple[Lessons, list[Heritage]]:
    """What is taught beside the labels, and who teaches it."""
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
        taught, heritages = load_teachers(
            teachers, recipe.image, recipe.training_frames, temperature, unheard
        )
        return Lessons(taught), heritages
    if soft_targets is None:
        return Lessons(), []
    targets = read_soft_targets(soft_targets)
    refuse_leak(soft_targets, targets.heritage, unheard)
    return Lessons(soft=soften(targets.of(training), temperature)), [targets.heritage]


def _validated(chosen: Path, recipe: Recipe, fold: str) -> tuple[ClipPrediction, ...]:
    """What the run that a recipe was chosen by said of the validation clips."""
    run = read_run(chosen, fold)
    other = recipe.differences(Recipe.read(chosen / CONFIG))
    if other:
        raise ValueError(f"{chosen}: as what is refitted it has other {', '.join(other)}")
    if not run.part("validation"):
        raise ValueError(f"{chosen / PREDICTIONS}: no validation clip in it")
    return run.part("validation")


def _unfinished(out: Path, recipe: Recipe, data: str, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, if that is wanted and there is one that fits."""
    if (out / METRICS).exists():
        raise ValueError(f"{out}: a finished run lies there; choose another folder or remove it")
    path = last_checkpoint(out)
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out}: an unfinished run lies there; --resume goes on with it")
    try:
        held = torch.load(path, weights_only=True, map_location="cpu")
        before, data_before = Recipe.from_dict(yaml.safe_load(held["recipe"])), held["data"]
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ValueError(f"{path}: no checkpoint of this program: {error}") from None
    other = recipe.differences(before) + (["seed"] if recipe.seed != before.seed else [])
    if other:
        raise ValueError(f"{out}: its unfinished run has other {', '.join(other)}")
    if data != data_before:
        raise ValueError(
            f"{out}: its unfinished run was trained on other clips or another fold, or by "
            "other teachers"
        )
    return path


def _babble(dataset: TrainingSounds, recipe: Recipe) -> torch.Tensor:
    """Voices to make babble of: the same few training clips in every process."""
    chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), _BABBLE_CLIPS)).astype(int)
    if not recipe.sound.babble:
        chosen = chosen[:0]
    samples = recipe.image.window_samples
    bank = torch.zeros(len(chosen), samples)
    for row, number in zip(bank, chosen, strict=True):
        row[:] = dataset[0, int(number)][0][:samples]
    return bank


def _fit_gate(net: nn.Module, speech: Sequence[Clip], recipe: Recipe) -> float | None:
    """Fit the gate that the recipe wants; the share that it tells rightly, None without one."""
    if not recipe.gate:
        return None
    assert isinstance(net, CompactNet)  # build_net has seen to it
    hertz = band_edges(recipe.image)[1:-1].tolist()

    def change(pictures: torch.Tensor) -> torch.Tensor:
        heard = through_line(pictures, _GATE_LINE, hertz, recipe.image.range_db)
        return add_noise(heard, _GATE_NOISE, recipe.image.range_db)

    others = outliers.pictures(recipe.gate, recipe.image, recipe.seed)
    clips = np.concatenate([clip.images for clip in speech])
    return fit_gate(net, clips, others[:, 0], change, recipe.seed)


def _class_weights(training: Sequence[Clip], recipe: Recipe) -> torch.Tensor:
    """Weights of the loss; ``balanced`` makes every emotion count the same, mean 1 over clips."""
    counts = np.bincount([clip.emotion for clip in training], minlength=len(EMOTIONS))
    if recipe.class_weights == "none":
        return torch.ones(len(EMOTIONS))
    weights = len(training) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)


def _freeze(net: nn.Module) -> None:
    """Leave only the last layer to be trained."""
    net.requires_grad_(False)
    [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1].requires_grad_(True)


def _take_weights(net: nn.Module, folder: Path) -> None:
    """Start from the weights of a run or a model; a gate is fitted anew after every training."""
    state = {n: v for n, v in load_net(folder)[1].state_dict().items() if not n.startswith(GATE)}
    gate = {n: v for n, v in net.state_dict().items() if n.startswith(GATE)}
    try:
        net.load_state_dict(state | gate)
    except RuntimeError as error:
        raise ValueError(f"{folder}: its network is not the recipe's: {error}") from None


def _contiguous(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
