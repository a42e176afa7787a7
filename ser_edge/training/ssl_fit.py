"""The fine-tuning: recordings and a network pretrained on speech -> a run like any other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import lightning
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from safetensors.torch import load_file as load_safetensors
from safetensors.torch import save as save_safetensors
from torch.utils.data import DataLoader
from tqdm import tqdm

from ser_edge.config.hardware import Hardware
from ser_edge.config.ssl import SpeechRecipe
from ser_edge.config.tracking import Tracking
from ser_edge.data.audio_augment import SoundAugment
from ser_edge.data.datasets import (
    AllSoundWindows,
    Clip,
    EpochBatches,
    Int16,
    TrainingSounds,
    babble_bank,
    load_sounds,
)
from ser_edge.data.render import read_rows
from ser_edge.data.splits import RANDOM, divide
from ser_edge.files import write_whole
from ser_edge.metrics import classification
from ser_edge.nets.ssl import SpeechNet, build_speech_net
from ser_edge.nets.ssl_bundles import find_bundle
from ser_edge.provenance import provenance
from ser_edge.runs.inference import CONFIG, METRICS, PREDICTIONS, WEIGHTS, Ear, clip_predictions
from ser_edge.runs.record import Epoch, RunRecord
from ser_edge.training.fit import Result, Sources
from ser_edge.training.setup import (
    class_weights,
    fingerprint,
    hear,
    saved_weights,
    speaker_record,
    unfinished,
)
from ser_edge.training.ssl_module import Pieces, SSLModule
from ser_edge.training.trackers import Recorder
from ser_edge.training.trainer import build_trainer, last_checkpoint, quiet


def finetune(
    sources: Sources,
    out: Path,
    recipe: SpeechRecipe,
    fold: str,
    *,
    without: frozenset[str] = frozenset(),
    hardware: Hardware | None = None,
    tracking: Tracking | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Result:
    """Fine-tune on the recordings behind a rendering, score, and write everything into ``out``.

    The run has the files of :func:`ser_edge.training.fit.train`: its windows, clips and folds are
    the same, so the two can be compared clip by clip. The weights kept are those of the last epoch;
    the checkpoint that a broken run goes on from is removed at the end, since it holds three
    times as much.

    Parameters
    ----------
    sources : Sources
        ``images`` says which clips and windows there are, ``sounds`` holds their recordings.
    out : Path
        Folder of the run; must not hold a finished run.
    recipe : SpeechRecipe
    fold : str
        One of :data:`ser_edge.data.splits.FOLDS`; ``all`` has no validation and no test.
    without : frozenset of str
        Training speakers who are not heard: whom the run is to teach of.
    hardware : Hardware, optional
        One process on one device; ``auto`` is the first.
    tracking : Tracking, optional
        What follows it; TensorBoard, if nothing is said.
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
        Rendering, recordings and recipe do not fit, there are no weights, no clip to train on, no
        such accelerator or several devices, or ``out`` is taken.
    TrackingError
        As :func:`ser_edge.training.fit.train`.
    """
    hardware = hardware or Hardware()
    if hardware.devices == "auto":
        hardware = replace(hardware, devices="1")
    spec = recipe.image
    if sources.gate_speech:
        raise ValueError("a fine-tuned network has no gate to open for further speech")
    division = divide(read_rows(sources.images, spec), fold, recipe.seed)
    clips = hear(sources.images, recipe, division, also=sources.also)
    clips = replace(clips, training=[c for c in clips.training if c.speaker not in without])
    if not clips.training:
        raise ValueError(f"{sources.images}: no training speaker left of {len(without)}")
    scored = clips.scored
    data = fingerprint(fold, clips.training, ())
    checkpoint = unfinished(out, recipe, data, resume=resume)
    origin = provenance()  # of the start: the tree may be edited while a long run goes on

    quiet()
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    recorder = Recorder(tracking or Tracking(), out, recipe, fold)
    trainer = build_trainer(
        recipe,
        out,
        hardware,
        recorder,
        validated=False,  # no second checkpoint of gigabytes: the last epoch is what is kept
        progress=progress,
        pieces=recipe.pieces,
        clip=recipe.clip,
    )
    if trainer.world_size > 1:
        raise ValueError(
            f"devices is {hardware.devices!r}: what is unfrozen in mid-run is fine-tuned on one "
            "device; give each of several another fold"
        )
    on_gpu = isinstance(trainer.accelerator, CUDAAccelerator)
    net = build_speech_net(recipe, find_bundle(recipe.bundle), pretrained=checkpoint is None)
    sounds = dict(
        zip(
            ("training", *scored),
            _sounds(sources.sounds, [clips.training, *scored.values()], recipe, progress),
            strict=True,
        )
    )
    dataset = TrainingSounds(clips.training, sounds["training"], spec, recipe.seed)
    windows = {part: AllSoundWindows(scored[part], sounds[part], spec) for part in scored}
    augment = SoundAugment(recipe.sound, spec, babble_bank(dataset, recipe.sound.babble, spec))
    validation = scored.get("validation", [])
    weights = class_weights(clips.training, recipe)
    module = SSLModule(recipe, net, validation, weights, data, augment)
    batches = EpochBatches(len(clips.training), recipe.batch_size, recipe.seed)
    at_once = recipe.batch_size // recipe.pieces
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / CONFIG, recipe.to_yaml())
    recorder.begin()
    trainer.fit(
        module,
        DataLoader(
            dataset,
            batch_sampler=Pieces(batches, recipe.pieces),
            num_workers=hardware.workers,
            persistent_workers=hardware.workers > 0,
            pin_memory=on_gpu,
            generator=torch.Generator(),  # the default one belongs to the augmentation
        ),
        DataLoader(windows["validation"], at_once, generator=torch.Generator())
        if validation
        else None,
        ckpt_path=checkpoint,
        weights_only=True,
    )
    seconds = round(module.seconds, 1)
    # From the checkpoint, not from memory: a run broken off after its last epoch has only that.
    held = torch.load(last_checkpoint(out), weights_only=True, map_location="cpu", mmap=True)
    module.load_state_dict(held["state_dict"])
    del held
    write_whole(out / WEIGHTS, save_safetensors(saved_weights(net)))
    net.to(trainer.strategy.root_device)
    predictions = [
        prediction
        for part in scored
        for prediction in clip_predictions(
            speech_logits(net, windows[part], at_once, progress=progress), scored[part], part, fold
        )
    ]
    figures = {
        part: classification.figures([p for p in predictions if p.part == part]) for part in scored
    }
    write_whole(out / PREDICTIONS, classification.predictions_csv(predictions))
    record = RunRecord(
        fold=fold,
        leaky=fold == RANDOM,
        figures=figures,
        weights="last epoch" + (", averaged" if recipe.ema else ""),
        started_from=recipe.bundle,
        **speaker_record(clips, division, ()),
        layer_weights=tuple(round(weight, 5) for weight in net.layer_weights),
        parameters=sum(p.numel() for p in net.parameters()),
        hardware={**asdict(hardware), "processes": 1, "precision": str(trainer.precision)},
        seconds=seconds,
        history=tuple(map(Epoch.from_dict, module.history)),
        provenance=origin,
    )
    record.write(out / METRICS)
    last_checkpoint(out).unlink()
    recorder.finish(figures, seconds, [out / n for n in (CONFIG, METRICS, PREDICTIONS, WEIGHTS)])
    return Result(out, figures)


def load_speech_net(folder: Path) -> tuple[SpeechRecipe, SpeechNet]:
    """The network of a finished run, in evaluation mode; nothing is downloaded.

    Raises
    ------
    ValueError
        Recipe or weights are missing or do not fit; the message names the file.
    """
    recipe = SpeechRecipe.read(folder / CONFIG)
    net = build_speech_net(recipe, find_bundle(recipe.bundle), pretrained=False)
    path = folder / WEIGHTS
    try:
        net.load_state_dict(load_safetensors(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # safetensors raises its own type, torch a RuntimeError
        raise ValueError(f"{path}: these are not the weights of {recipe.bundle}: {error}") from None
    net.eval()
    return recipe, net


def speech_ear(folder: Path, sounds: Sequence[Path], *, progress: bool = False) -> Ear:
    """The network of a finished run, for :func:`ser_edge.evaluation.crosscorpus.cross`.

    Parameters
    ----------
    folder : Path
    sounds : sequence of Path
        Folders with the recordings of the clips that it will hear.
    progress : bool
        Show bars.

    Raises
    ------
    ValueError
        As :func:`load_speech_net`; when it hears, a recording is missing.
    """
    recipe, net = load_speech_net(folder)
    net.to("cuda" if torch.cuda.is_available() else "cpu")

    def logits(clips: Sequence[Clip]) -> classification.Float64:
        heard = load_sounds(sounds, clips, recipe.image, progress=progress)
        windows = AllSoundWindows(clips, heard, recipe.image)
        return speech_logits(net, windows, recipe.batch_size // recipe.pieces, progress=progress)

    return Ear(recipe.image, logits)


@torch.no_grad()
def speech_logits(
    net: SpeechNet, windows: AllSoundWindows, at_once: int, *, progress: bool = False
) -> classification.Float64:
    """Logits of windows in order, in full precision, ``float64 (windows, classes)``.

    Parameters
    ----------
    net : SpeechNet
    windows : AllSoundWindows
    at_once : int
        Windows a batch.
    progress : bool
        Show a bar.
    """
    device = net.classify.weight.device
    net.eval()
    loader = DataLoader(windows, at_once)
    result: classification.Float64 = torch.cat(
        [
            net(batch.to(device)).double().cpu()
            for batch in tqdm(loader, desc="scoring", unit="batch", disable=not progress)
        ]
    ).numpy()
    return result


def _sounds(
    folders: Sequence[Path], parts: Sequence[Sequence[Clip]], recipe: SpeechRecipe, progress: bool
) -> list[list[Int16]]:
    """Recordings of the clips of every part, read at one go."""
    together = load_sounds(
        folders, [clip for part in parts for clip in part], recipe.image, progress=progress
    )
    rest = iter(together)
    return [[next(rest) for _ in part] for part in parts]
