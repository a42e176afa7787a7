"""The fit: clips and a recipe -> weights and logits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from ser_edge.augment import ImageAugment, mixup
from ser_edge.dataset import (
    AllWindows,
    Clip,
    EpochBatches,
    TrainingClips,
    TrainingSounds,
    load_clips,
    load_sounds,
)
from ser_edge.emotions import EMOTIONS
from ser_edge.exposure import Exposure
from ser_edge.files import write_whole
from ser_edge.folds import RANDOM, apart_from, divide
from ser_edge.hardware import Hardware
from ser_edge.nets import build_net
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
from ser_edge.trainer import build_trainer, last_checkpoint, quiet

_BABBLE_CLIPS: Final = 128


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
        exposure: Exposure | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = net
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.history: list[dict[str, float]] = []
        self._sound, self._exposure = sound, exposure
        self._augment = ImageAugment(
            recipe.training_frames,
            recipe.time_stretch,
            recipe.freq_stretch,
            recipe.shift,
            recipe.noise,
            recipe.freq_mask,
            recipe.time_mask,
            recipe.image.range_db,
        )
        self._validation = validation
        self._logits: list[torch.Tensor] = []
        self._data = data
        self._lr = 0.0
        self.register_buffer("_class_weights", class_weights, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(images)
        return logits

    def on_train_epoch_start(self) -> None:
        # Every epoch has its own state of the generators: a run that goes on after a break draws
        # what an unbroken one draws, and so does each of several processes.
        seed = np.random.SeedSequence([self.recipe.seed, self.current_epoch])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        if self.recipe.last_layer_only:
            self.net.eval()  # the statistics of batch norm stay as they are

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        labels = batch[-1]
        targets = functional.one_hot(labels, len(EMOTIONS)).float()
        with torch.autocast(self.device.type, enabled=False):  # pictures are made in full precision
            images = self._sound(*batch[:2]) if self._sound else batch[0].float()
            alone = None
            if self._exposure:
                images, targets, alone = self._exposure(images, targets)
            images, targets = mixup(self._augment(images), targets, self.recipe.mixup, alone)
        loss = functional.cross_entropy(
            self(images),
            targets,
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )
        self.log("train/loss", loss, on_epoch=True, on_step=False, prog_bar=True, sync_dist=True)
        return loss

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
                    for name in ("train/loss", "validation/uar", "validation/nll")
                    if name in found
                },
            }
        )

    def configure_optimizers(self) -> Any:
        # Norms and biases are not decayed: that only moves the scale that batch norm undoes.
        trained = [p for p in self.net.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        others = [p for p in trained if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.recipe.lr,
        )
        steps = int(self.trainer.estimated_stepping_batches)
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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]


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
    hardware: Hardware | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Result:
    """Train on a rendering, score, and write everything into ``out``.

    The weights kept are those of the last epoch (averaged, if the recipe says so); the best epoch
    on the validation actors is kept as a checkpoint beside them.

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
        Rendering and recipe do not fit, no clip to train on, no such accelerator, ``out`` is
        taken, or what lies there cannot be gone on with.
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
    data = hashlib.sha256(
        "\n".join(f"{fold} {c.utterance} {c.emotion}" for c in training).encode()
    ).hexdigest()
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
    net = build_net(recipe)
    before: set[str] = set()
    if start is not None:
        before = _take_weights(net, start)
    if recipe.last_layer_only:
        _freeze(net)
    share_dropout(net)
    if trainer.world_size > 1 and not isinstance(trainer.accelerator, CUDAAccelerator):
        share_batch_norm(net)
    class_weights = _class_weights(training, recipe)
    no_speech = outliers.pictures(_outliers_heard(recipe, len(batches)), recipe.image, recipe.seed)
    module = Training(
        recipe,
        net,
        scored.get("validation", ()),
        class_weights,
        data,
        sound,
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
    # From the checkpoint, not from memory: a run broken off after its last epoch has only that.
    held = torch.load(last_checkpoint(out), weights_only=True, map_location="cpu")
    module.load_state_dict(held["state_dict"])
    write_whole(out / WEIGHTS, save_safetensors(_contiguous(module.net)))
    predictions = [
        prediction
        for part, clips in scored.items()
        for prediction in clip_predictions(window_logits(module.net, clips), clips, part, fold)
    ]
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
                "started_from": _weights_hash(start) if start else None,
                "speakers": {
                    "train": sorted({clip.speaker for clip in training}),
                    "validation": sorted({row.speaker for row in division.validation}),
                    "test": sorted({row.speaker for row in division.test}),
                },
                "training_clips": len(training),
                "unknowns": {"share": recipe.unknowns, "pictures": len(no_speech)},
                "corpora": sorted({clip.rows[0].corpus for clip in training} | before),
                "parameters": sum(p.numel() for p in module.net.parameters()),
                "hardware": {
                    **asdict(hardware),
                    "processes": trainer.world_size,
                    "precision": str(trainer.precision),
                },
                "history": module.history,
                "provenance": origin,
            },
            indent=2,
        )
        + "\n",
    )
    return Result(out, found)


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
        raise ValueError(f"{out}: its unfinished run was trained on other clips or another fold")
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


def _take_weights(net: nn.Module, folder: Path) -> set[str]:
    """Start from the weights of a run or a model; gives the corpora that are in them."""
    state = load_net(folder)[1].state_dict()
    try:
        net.load_state_dict(state)
        return set(json.loads((folder / METRICS).read_text())["corpora"])
    except RuntimeError as error:
        raise ValueError(f"{folder}: its network is not the recipe's: {error}") from None
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder / METRICS}: {error}") from None


def _weights_hash(folder: Path) -> str:
    return f"{folder.name} {hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()}"


def _contiguous(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
