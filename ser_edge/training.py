"""The fit: clips and a recipe -> weights and logits."""

from __future__ import annotations

import hashlib
import json
import time
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
from torch.nn import functional
from torch.utils.data import DataLoader

from ser_edge import evaluation, outliers
from ser_edge.adversary import Adversary, build_adversary, ramp, speaker_numbers
from ser_edge.augment import ImageAugment, mixup
from ser_edge.copypaste import copypaste
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
from ser_edge.draws import whole
from ser_edge.emotions import EMOTIONS
from ser_edge.exposure import Exposure
from ser_edge.files import write_whole
from ser_edge.folds import RANDOM, apart_from, divide, unheard_speakers
from ser_edge.hardware import Hardware
from ser_edge.heritage import Heritage, heritage_of_run, refuse_leak
from ser_edge.melimage import band_edges
from ser_edge.muon import Muon
from ser_edge.nets import build_net
from ser_edge.nets.compact import CompactNet
from ser_edge.nets.parallel import share_batch_norm, share_dropout
from ser_edge.provenance import provenance
from ser_edge.recipe import Recipe
from ser_edge.rendering import read_rows
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
from ser_edge.teaching import Teachers, distance, load_teachers, soften
from ser_edge.trainer import build_trainer, last_checkpoint, quiet

_BABBLE_CLIPS: Final = 128
_HISTORY: Final = (
    "train/loss",
    "train/teacher_loss",
    "train/speaker_loss",
    "train/speaker_accuracy",
    "validation/uar",
    "validation/nll",
)


@dataclass(frozen=True)
class Lessons:
    """What training clips teach beside their labels.

    ``teachers`` see the pictures that are trained on; ``soft`` are scores of the clips themselves,
    ``float32 (clips, classes)``, by their numbers; ``speakers`` are ``int64 (clips,)``.
    """

    teachers: Teachers | None = None
    soft: torch.Tensor | None = None
    speakers: torch.Tensor | None = None


class Training(lightning.LightningModule):
    """One network in training: input, loss, schedule, validation figure.

    Parameters
    ----------
    recipe : Recipe
    net : nn.Module
    validation : sequence of Clip
        Scored after every epoch.
    class_weights : Tensor
        ``float32 (classes,)``.
    data : str
        Fingerprint of the training clips; a run goes on only with the same.
    sound : SoundPictures, optional
        Makes pictures of waveforms; without it the batches are pictures.
    lessons : Lessons, optional
        What the training clips teach beside their labels.
    adversary : Adversary, optional
        Learns to tell the speakers; needs them in ``lessons``.
    exposure : Exposure, optional
        Puts sounds that are no speech among the clips.
    """

    def __init__(
        self,
        recipe: Recipe,
        net: nn.Module,
        validation: Sequence[Clip],
        class_weights: torch.Tensor,
        data: str,
        sound: nn.Module | None = None,
        lessons: Lessons | None = None,
        adversary: Adversary | None = None,
        exposure: Exposure | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = net
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.history: list[dict[str, float]] = []
        self._sound, self._exposure = sound, exposure
        self._lessons = lessons or Lessons()
        self._adversary = adversary
        self._steps = 1
        self._augment = ImageAugment(
            recipe.training_frames,
            recipe.time_stretch,
            recipe.freq_stretch,
            recipe.shift,
            recipe.line,
            recipe.noise,
            recipe.freq_mask,
            recipe.time_mask,
            tuple(band_edges(recipe.image)[1:-1].tolist()),
            recipe.image.range_db,
        )
        self._validation = validation
        self._logits: list[torch.Tensor] = []
        self._data = data
        self._lr = 0.0
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self.register_buffer("_class_weights", class_weights, persistent=False)

    @property
    def seconds(self) -> float:
        """Wall clock of the fit, earlier attempts up to the checkpoints gone on from included."""
        return self._seconds_before + time.monotonic() - self._started

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(images)
        return logits

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        # Every epoch has its own state of the generators: a run that goes on after a break draws
        # what an unbroken one draws, and so does each of several processes.
        seed = np.random.SeedSequence([self.recipe.seed, self.current_epoch])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        if self.recipe.last_layer_only:
            self.net.eval()  # the statistics of batch norm stay as they are

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        numbers, labels = batch[-2:]
        parts = [functional.one_hot(labels, len(EMOTIONS)).float()]
        if self._lessons.soft is not None:
            parts.append(self._lessons.soft.to(self.device)[numbers])
        said = len(parts)  # what follows tells who speaks, not what
        if self._adversary is not None and self._lessons.speakers is not None:
            speakers = self._lessons.speakers.to(self.device)[numbers]
            parts.append(self._adversary.targets(speakers))
        with torch.autocast(self.device.type, enabled=False):  # pictures are made in full precision
            images = self._sound(*batch[:2]) if self._sound else batch[0].float()
            if self.recipe.copypaste:
                pasted = copypaste(
                    images,
                    labels,
                    self.recipe.copypaste,
                    self.recipe.training_frames,
                    self.recipe.image.range_db,
                )
                images = pasted.images
                parts = [
                    (pasted.labels if number < said else pasted.voices) @ whole(part)
                    for number, part in enumerate(parts)
                ]
            alone = None
            if self._exposure:
                images, parts[0], alone = self._exposure(images, parts[0])
            targets = torch.cat(parts, dim=1)  # what is mixed is mixed in all of them alike
            images, targets = mixup(self._augment(images), targets, self.recipe.mixup, alone)
        parts = list(torch.split(targets, [part.shape[1] for part in parts], dim=1))
        pooled: torch.Tensor | None = None
        if self._adversary is None:
            logits = self(images)
        else:
            pooled = self._compact.pooled(images)
            logits = self._compact.judge(pooled)
        loss = functional.cross_entropy(
            logits,
            parts.pop(0),
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )
        if self.recipe.distill:
            teachers = self._lessons.teachers
            taught = parts.pop(0) if teachers is None else teachers(images)
            if alone is not None:  # a teacher may never have heard what is no speech
                taught = taught.masked_fill(alone[:, None], 1 / len(EMOTIONS))
            apart = distance(logits, taught, self.recipe.distill_temperature)
            loss = (1 - self.recipe.distill) * loss + self.recipe.distill * apart
            self._log_mean("train/teacher_loss", apart)
        if self._adversary is not None and pooled is not None:
            speakers = parts.pop(0)
            if alone is not None:  # nobody speaks there
                speakers = speakers.masked_fill(alone[:, None], 0.0)
            loss = loss + self._speaker_loss(self._adversary, pooled, speakers)
        self._log_mean("train/loss", loss, prog_bar=True)
        return loss

    def _speaker_loss(
        self, adversary: Adversary, pooled: torch.Tensor, speakers: torch.Tensor
    ) -> torch.Tensor:
        strength = self.recipe.adversarial * ramp(self.global_step / self._steps)
        told = adversary(pooled, strength)
        loss = functional.cross_entropy(told, speakers)
        right = (told.argmax(dim=1) == speakers.argmax(dim=1)).float().mean()
        self._log_mean("train/speaker_loss", loss)
        self._log_mean("train/speaker_accuracy", right)
        return loss

    @property
    def _compact(self) -> CompactNet:
        assert isinstance(self.net, CompactNet)  # build_adversary has seen to it
        return self.net

    def _log_mean(self, name: str, value: torch.Tensor, *, prog_bar: bool = False) -> None:
        self.log(name, value, on_epoch=True, on_step=False, prog_bar=prog_bar, sync_dist=True)

    def validation_step(self, pictures: torch.Tensor, _: int) -> None:
        self._logits.append(self(pictures.float()).float().cpu())

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat(self._logits).numpy()
        self._logits.clear()
        found = evaluation.figures(clip_predictions(logits, self._validation, "validation", ""))
        # Each process scores all of it and finds the same: nothing to gather.
        self.log("validation/uar", found["uar"], prog_bar=True)
        self.log("validation/nll", found["nll"])

    def on_train_epoch_end(self) -> None:
        found = self.trainer.callback_metrics
        self.history.append(
            {
                "epoch": self.current_epoch,
                "lr": self._lr,
                **{
                    name.replace("/", "_"): round(float(found[name]), 6)
                    for name in _HISTORY
                    if name in found
                },
            }
        )

    def configure_optimizers(self) -> Any:
        # Norms and biases are not decayed: that only moves the scale that batch norm undoes.
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        others = [p for p in trained if p.ndim <= 1]
        optimizer: torch.optim.Optimizer
        if self.recipe.optimizer == "muon":
            # The last layer's matrix says what each emotion is, not a change of features.
            last = [p for p in decayed if p.ndim == 2]
            optimizer = Muon(
                [
                    {"params": [p for p in decayed if p.ndim > 2], "orthogonal": True},
                    {"params": last},
                    {"params": others, "weight_decay": 0.0},
                ],
                self.recipe.lr,
                self.recipe.weight_decay,
            )
        else:
            optimizer = torch.optim.AdamW(
                [
                    {"params": decayed, "weight_decay": self.recipe.weight_decay},
                    {"params": others, "weight_decay": 0.0},
                ],
                lr=self.recipe.lr,
            )
        steps = self._steps = int(self.trainer.estimated_stepping_batches)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if self.recipe.schedule == "one-cycle":
            # Smith & Topin 2017, arXiv 1708.07120; momentum falls while the rate rises.
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.recipe.lr, steps, pct_start=max(self.recipe.warmup, 1 / steps)
            )
            return _each_step(optimizer, schedule)
        rise = max(1, round(self.recipe.warmup * steps))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return _each_step(optimizer, schedule)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.recipe.to_yaml()  # text: loads with weights_only=True
        checkpoint["data"] = self._data
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._seconds_before = checkpoint.get("seconds", 0.0)


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
    also: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    start: Path | None = None,
    teachers: Sequence[Path] = (),
    soft_targets: Path | None = None,
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
        heard who is scored, ``out`` is taken, or what lies there cannot be gone on with.
    """
    hardware = hardware or Hardware()
    rows = read_rows(images, recipe.image)
    wanted = set(recipe.channels.split("+"))
    division = divide(rows, fold, recipe.seed)
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
    class_weights = _class_weights(training, recipe)
    no_speech = outliers.pictures(_outliers_heard(recipe, len(batches)), recipe.image, recipe.seed)
    module = Training(
        recipe,
        net,
        scored.get("validation", ()),
        class_weights,
        data,
        sound,
        lessons,
        adversary,
        Exposure(no_speech, recipe.unknowns, class_weights) if len(no_speech) else None,
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
    write_whole(out / WEIGHTS, save_safetensors(_contiguous(module.net)))
    predictions = [
        prediction
        for part, clips in scored.items()
        for prediction in clip_predictions(window_logits(module.net, clips), clips, part, fold)
    ]
    heard = {clip.speaker for clip in training}
    found = {
        part: evaluation.figures([p for p in predictions if p.part == part]) for part in scored
    }
    write_whole(out / PREDICTIONS, evaluation.predictions_csv(predictions))
    write_whole(
        out / METRICS,
        json.dumps(
            {
                "fold": fold,
                "leaky": fold == RANDOM,
                "figures": found,
                "weights": "last epoch" + (", averaged" if recipe.ema else ""),
                "started_from": before[-1].name if start else None,
                "teachers": [teacher.name for teacher in taught_by],
                "inherited_speakers": sorted({s for b in before for s in b.speakers} - heard),
                "speakers": {
                    "train": sorted(heard),
                    "validation": sorted({row.speaker for row in division.validation}),
                    "test": sorted({row.speaker for row in division.test}),
                },
                "training_clips": len(training),
                "corpora": sorted(
                    {clip.rows[0].corpus for clip in training}.union(*(b.corpora for b in before))
                ),
                "unknowns": {"share": recipe.unknowns, "pictures": len(no_speech)},
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
            "targets; without them it should be 0"
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


def _each_step(optimizer: Any, schedule: Any) -> dict[str, Any]:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


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


def _outliers_heard(recipe: Recipe, steps: int) -> int:
    """Pictures of sounds that are no speech: no more than a run of so many steps an epoch hears."""
    drawn = recipe.unknowns * recipe.batch_size * steps * recipe.epochs
    return min(outliers.BANK, int(np.ceil(drawn)))


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
    """Start from the weights of a run or a model."""
    state = load_net(folder)[1].state_dict()
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{folder}: its network is not the recipe's: {error}") from None


def _contiguous(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
