"""From a made-up corpus to weights: small, but the real scripts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import ROOT, SMALL
from edge_app.inference.model_store import ModelFiles
from edge_app.inference.runtime import Network
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data import image_augment
from ser_edge.data.audio_augment import SoundToImage
from ser_edge.data.datasets import (
    EpochBatches,
    TrainingClips,
    TrainingSounds,
    changed_copies,
    load_clips,
    load_sounds,
)
from ser_edge.data.render import read_index, render
from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.export.onnx import to_onnx
from ser_edge.export.openvino import check_old_runtime, save_ir, to_openvino
from ser_edge.manifest import Manifest
from ser_edge.mel.image import band_edges
from ser_edge.nets import NETS, build_net
from ser_edge.runs.inference import load_net
from ser_edge.runs.record import read_run
from ser_edge.training import fit as training
from ser_edge.training import image_module
from ser_edge.training.setup import class_weights
from ser_edge.training.weights import adjust_logits, averaging, last_layer

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip

CPU = Hardware("cpu")


def script(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / name, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def images(make_ravdess, tmp_path) -> Path:
    """Actors of fold 1's test (1), validation (9) and two others, in three emotions."""
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


@pytest.mark.system
def test_a_run_from_the_command_line(images, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    out = tmp_path / "run"
    done = script(
        "train.py", images, out, "--fold", 1, "--config", config, "--epochs", 3, "--lr", 0.01,
        "--accelerator", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test: UAR" in done.stdout
    assert "Epoch" in done.stderr + done.stdout  # the progress bar

    saved = Recipe.read(out / "config.yaml")
    assert (saved.epochs, saved.lr, saved.width) == (3, 0.01, 0.25)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["speakers"] == {
        "train": ["ravdess-02", "ravdess-04"],
        "validation": ["ravdess-09"],
        "test": ["ravdess-01"],
    }
    assert metrics["training_clips"] == 6
    assert str(tmp_path) not in json.dumps(metrics["provenance"])
    with open(out / "predictions.csv", newline="") as file:
        parts = [row["part"] for row in csv.DictReader(file)]
    assert parts == ["validation"] * 3 + ["test"] * 3
    assert list((out / "tensorboard").glob("events.*"))

    # Best and last checkpoint load without unpickling; the last holds the weights that were kept.
    kept = load_net(out)[1].state_dict()
    for name in ("best", "last"):
        checkpoint = torch.load(out / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert Recipe.from_dict(training_yaml(checkpoint["recipe"])) == saved
    for key, value in kept.items():
        torch.testing.assert_close(checkpoint["state_dict"][f"net.{key}"], value)

    again = script("train.py", images, out, "--fold", 1, "--config", config)
    assert again.returncode == 2
    assert "a finished run lies there" in again.stderr


def training_yaml(text: str):
    import yaml

    return yaml.safe_load(text)


def test_one_seed_gives_the_same_weights_twice_and_another_others(images, tmp_path):
    def weights(name: str, seed: int) -> bytes:
        recipe = Recipe.from_dict({**training_yaml(RECIPE.to_yaml()), "seed": seed})
        training.fit(
            training.Sources(images), tmp_path / name, recipe, "1", hardware=CPU, progress=False
        )
        return (tmp_path / name / "weights.safetensors").read_bytes()

    first = weights("a", 1)
    assert weights("b", 1) == first
    assert weights("c", 2) != first


@pytest.mark.system
def test_loader_processes_change_nothing(images, make_ravdess, tmp_path):
    """By the real script: loader processes are forks, which no process with OpenVINO should be."""
    sounds = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    config = tmp_path / "tiny.yaml"
    strengths = SoundStrengths(noise=0.5, speed=0.1, shift=1.0)
    config.write_text(replace(RECIPE, sound=strengths).to_yaml())
    for workers in (0, 2):
        done = script(
            "train.py", images, tmp_path / str(workers), "--fold", 1, "--config", config,
            "--sounds", sounds, "--accelerator", "cpu", "--workers", workers, "--quiet",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    weights = [(tmp_path / n / "weights.safetensors").read_bytes() for n in ("0", "2")]
    assert weights[0] == weights[1]


@pytest.mark.system
def test_killed_in_mid_epoch_and_resumed_is_as_never_killed(images, tmp_path):
    """The real script, killed with SIGKILL after its second and its fourth epoch."""
    config = tmp_path / "tiny.yaml"
    config.write_text(
        Recipe.from_dict(
            {
                **training_yaml(RECIPE.to_yaml()),
                "epochs": 25,
                "dropout": 0.3,
            }
        ).to_yaml()
    )
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu", "--quiet"]
    assert script("train.py", images, tmp_path / "whole", *words).returncode == 0

    broken = tmp_path / "broken"
    command = [sys.executable, ROOT / "scripts" / "train.py", images, broken, *words, "--resume"]
    for _ in range(2):
        run = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        last, seen = broken / "checkpoints" / "last.ckpt", set()
        while run.poll() is None and len(seen) < 2:
            if last.exists():
                seen.add(last.stat().st_mtime_ns)
            time.sleep(0.002)
        run.kill()
        run.wait()
    assert not (broken / "metrics.json").exists()  # it was killed before its end

    recipe = Recipe.read(config)
    for other, fold, resume, message in (
        (recipe, "1", False, "an unfinished run lies there; --resume resumes it"),
        (replace(recipe, lr=0.001), "1", True, "its unfinished run has other lr"),
        (recipe, "all", True, "trained on other clips or another fold"),
    ):
        with pytest.raises(ValueError, match=message):
            training.fit(
                training.Sources(images),
                broken,
                other,
                fold,
                hardware=CPU,
                resume=resume,
                progress=False,
            )

    done = script("train.py", images, broken, *words, "--resume")
    assert done.returncode == 0, done.stderr
    for name in ("weights.safetensors", "predictions.csv"):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    histories = [
        json.loads((tmp_path / name / "metrics.json").read_text())["history"]
        for name in ("whole", "broken")
    ]
    assert histories[0] == histories[1]
    assert [entry["epoch"] for entry in histories[0]] == list(range(25))


def test_killed_after_the_last_epoch_the_averaged_weights_are_kept(images, tmp_path):
    training.fit(
        training.Sources(images), tmp_path / "run", RECIPE, "1", hardware=CPU, progress=False
    )
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()
    for name in ("weights.safetensors", "metrics.json", "predictions.csv"):
        (tmp_path / "run" / name).unlink()
    training.fit(
        training.Sources(images),
        tmp_path / "run",
        RECIPE,
        "1",
        hardware=CPU,
        resume=True,
        progress=False,
    )
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == weights


def test_seconds_go_on_with_a_run():
    def module() -> image_module.ImageModule:
        return image_module.ImageModule(RECIPE, build_net(RECIPE), (), torch.ones(8), "")

    held: dict[str, Any] = {}
    module().on_save_checkpoint(held)
    assert 0 <= held["seconds"] < 60
    later = module()
    later.on_load_checkpoint({**held, "seconds": 1000.0})
    later.on_fit_start()
    assert 1000 <= later.seconds < 1060
    later.on_load_checkpoint({"history": []})  # of a run that did not count them
    assert later.seconds < 60


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_named(images, tmp_path, damage):
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=r"last\.ckpt: no checkpoint of this program"):
        training.fit(
            training.Sources(images),
            tmp_path / "run",
            RECIPE,
            "1",
            hardware=CPU,
            resume=True,
            progress=False,
        )


@pytest.mark.system
def test_two_processes_reach_what_one_reaches(images, tmp_path, monkeypatch):
    """``torchrun`` on a CPU: each draws by itself, both learn alike and score all clips."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums in another order are no fault
    config = tmp_path / "tiny.yaml"
    values = {"epochs": 8, "dropout": 0.3, "noise": 0.2, "line": 0.2, "crop": 4.0}
    config.write_text(Recipe.from_dict({**training_yaml(RECIPE.to_yaml()), **values}).to_yaml())
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu", "--quiet"]
    assert script("train.py", images, tmp_path / "one", *words).returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    done = subprocess.run(
        list(
            map(str, [*torchrun, ROOT / "scripts" / "train.py", images, tmp_path / "two", *words])
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test: UAR") == 1  # one of them speaks
    found = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two")]
    assert [entry["hardware"]["processes"] for entry in found] == [1, 2]
    losses = [[epoch["train_loss"] for epoch in entry["history"]] for entry in found]
    assert all(loss[-1] < loss[0] for loss in losses), losses
    # Batch norm is over the clips of a process alone.
    assert losses[0][-1] == pytest.approx(losses[1][-1], rel=0.5)
    for part, figures in found[0]["figures"].items():
        assert figures["clips"] == found[1]["figures"][part]["clips"]


@pytest.mark.parametrize(
    ("world", "batch_size", "message"),
    [(1, 4, None), (2, 8, None), (2, 6, "2 processes need a multiple of 4")],
)
def test_processes_share_every_batch(world, batch_size, message):
    def of(rank: int, world: int) -> list[list[tuple[int, int]]]:
        batches = EpochBatches(21, batch_size, seed=1, rank=rank, world=world)
        batches.set_epoch(3)
        return list(batches)

    if message:
        with pytest.raises(ValueError, match=message):
            of(0, world)
        return
    whole = of(0, 1)
    parts = [of(rank, world) for rank in range(world)]
    assert [list(chain(*together)) for together in zip(*parts, strict=True)] == whole
    drawn = [key[1] for batch in whole for key in batch]
    assert len(set(drawn)) == len(drawn) == 21 // batch_size * batch_size


def test_fewer_clips_than_a_batch_are_repeated():
    batches = EpochBatches(3, 8, seed=1)
    (batch,) = list(batches)
    assert len(batches) == 1
    assert len(batch) == 8
    assert {key[1] for key in batch} == {0, 1, 2}


def test_one_cycle_rises_and_falls(images, tmp_path):
    recipe = Recipe.from_dict(
        {**training_yaml(RECIPE.to_yaml()), "schedule": "one-cycle", "epochs": 5, "warmup": 0.4}
    )
    training.fit(
        training.Sources(images), tmp_path / "run", recipe, "1", hardware=CPU, progress=False
    )
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]
    rates = [entry["lr"] for entry in history]
    assert rates.index(max(rates)) in (1, 2)
    assert rates[-1] < 0.1 * recipe.lr


def test_rare_emotions_weigh_more(images):
    spec, rows = read_index(images)
    clips = load_clips(images, rows, spec)
    few = [clip for clip in clips if clip.rows[0].emotion == "sad"][:1]
    many = [clip for clip in clips if clip.rows[0].emotion == "angry"]
    balanced = Recipe(class_weights="balanced", freq_mask=2, image=SMALL)
    weights = class_weights(few + many, balanced)
    by_emotion = dict(zip(EMOTIONS, weights.tolist(), strict=True))
    assert by_emotion["sad"] == pytest.approx(4 * by_emotion["angry"])
    assert by_emotion["sad"] + 4 * by_emotion["angry"] == pytest.approx(5)  # mean 1 over the clips
    assert by_emotion["calm"] == 1.0  # nobody is calm here
    assert class_weights(few + many, Recipe()).tolist() == [1.0] * 8


def test_logits_are_adjusted_by_how_frequent_emotions_are_in_speech(images):
    spec, rows = read_index(images)
    clips = load_clips(images, rows, spec)
    sad = [clip for clip in clips if clip.rows[0].emotion == "sad"][:1]
    angry = [clip for clip in clips if clip.rows[0].emotion == "angry"][:4]
    sung = [replace(sad[0], rows=tuple(replace(row, channel="song") for row in sad[0].rows))] * 9
    net = build_net(RECIPE)
    before = net.classify.bias.detach().clone()
    adjust_logits(net, sad + angry + sung, 0.5)
    moved = dict(zip(EMOTIONS, (net.classify.bias - before).tolist(), strict=True))
    assert moved["sad"] - moved["angry"] == pytest.approx(0.5 * np.log(4), abs=1e-5)
    assert {moved[emotion] for emotion in EMOTIONS if emotion not in ("sad", "angry")} == {0.0}
    adjust_logits(net, sung, 1.0)  # nothing but song, of one emotion
    assert net.classify.bias.tolist() == (before + torch.tensor(list(moved.values()))).tolist()


@pytest.mark.parametrize("net", [*NETS, "resnet18", "densenet121", "squeezenet1_1"])
def test_the_last_layer_is_found(net):
    layer = last_layer(build_net(Recipe(net=net)))
    assert layer.weight.shape[0] == len(EMOTIONS)
    assert layer.bias is not None


def test_an_adjusted_run_is_the_same_but_for_its_last_bias(images, tmp_path):
    index = images / "index.csv"
    lines = index.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not ("angry" in line and "ravdess-04" in line)]
    assert 0 < len(kept) < len(lines)
    index.write_text("".join(kept))
    nets = []
    for name, strength in (("as-it-is", 0.0), ("adjusted", 1.0)):
        training.fit(
            training.Sources(images), tmp_path / name, replace(RECIPE, logit_adjustment=strength),
            "1", hardware=CPU, progress=False,
        )  # fmt: skip
        nets.append(load_net(tmp_path / name)[1].state_dict())
    differ = [name for name in nets[0] if not torch.equal(nets[0][name], nets[1][name])]
    assert differ == ["classify.bias"]


def test_the_last_layer_alone(images, tmp_path):
    training.fit(
        training.Sources(images), tmp_path / "first", RECIPE, "all", hardware=CPU, progress=False
    )
    recipe = Recipe.from_dict(
        {**training_yaml(RECIPE.to_yaml()), "last_layer_only": True, "seed": 2}
    )
    training.fit(
        training.Sources(images),
        tmp_path / "tuned",
        recipe,
        "1",
        training.Ancestry(start=tmp_path / "first"),
        hardware=CPU,
        progress=False,
    )
    first, tuned = (load_net(tmp_path / name)[1].state_dict() for name in ("first", "tuned"))
    # Averaging equal weights rounds them.
    changed = {key for key in first if not torch.allclose(first[key], tuned[key], rtol=1e-5)}
    changed = {key for key in changed if "num_batches" not in key}
    assert changed == {"classify.weight", "classify.bias"}
    metrics = json.loads((tmp_path / "tuned" / "metrics.json").read_text())
    assert metrics["started_from"].startswith("first ")


def test_a_start_of_another_network_is_refused(images, tmp_path, here):
    training.fit(
        training.Sources(images), tmp_path / "first", RECIPE, "all", hardware=CPU, progress=False
    )
    done = here(
        "train.py", images, tmp_path / "run", "--fold", 1, "--from", tmp_path / "first",
        "--width", 0.5, "--accelerator", "cpu",
    )  # fmt: skip
    assert done.returncode == 2
    assert "its network is not the recipe's" in done.stderr
    done = here("train.py", images, tmp_path / "run", "--fold", 1, "--from", tmp_path / "none")
    assert done.returncode == 2
    assert "config.yaml: No such file" in done.stderr


def test_weights_are_averaged_with_runs_from_the_same_start(images, tmp_path):
    def run(name: str, recipe: Recipe = RECIPE, fold: str = "1", **earlier) -> dict:
        training.fit(
            training.Sources(images), tmp_path / name, recipe, fold, training.Ancestry(**earlier),
            hardware=CPU, progress=False,
        )  # fmt: skip
        return load_net(tmp_path / name)[1].state_dict()

    run("start")
    start = tmp_path / "start"
    other = run("other", replace(RECIPE, lr=0.004), start=start)
    alone = run("alone", start=start)
    mean = run("mean", start=start, average=[tmp_path / "other"])
    for name, value in mean.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (alone[name] + other[name]) / 2)
    assert not torch.equal(alone["classify.weight"], other["classify.weight"])
    metrics = json.loads((tmp_path / "mean" / "metrics.json").read_text())
    assert [name.split()[0] for name in metrics["averaged_with"]] == ["other"]
    half = run("half", start=start, average=[tmp_path / "other", start])
    for name, value in half.items():
        if value.is_floating_point():
            theirs = (other[name] + load_net(start)[1].state_dict()[name]) / 2
            torch.testing.assert_close(value, (alone[name] + theirs) / 2)
    gated = run(
        "gated", replace(RECIPE, nonspeech_head=12), start=start, average=[tmp_path / "mean"]
    )
    assert gated["gate.weight"].any()  # fitted to the averaged features

    run("all", fold="all")
    with pytest.raises(ValueError, match="all: it would leak: it was trained on"):
        run("leak", average=[tmp_path / "all"])
    run("narrow", replace(RECIPE, width=0.5))
    with pytest.raises(ValueError, match="narrow: its network is not the recipe's"):
        run("odd", average=[tmp_path / "narrow"])


def test_a_gate_is_fitted_anew_after_a_start_without_or_with_one(images, tmp_path):
    training.fit(
        training.Sources(images), tmp_path / "open", RECIPE, "1", hardware=CPU, progress=False
    )
    gated = replace(RECIPE, nonspeech_head=12)
    for name, start in (("first", "open"), ("second", "first")):
        training.fit(
            training.Sources(images),
            tmp_path / name,
            gated,
            "1",
            training.Ancestry(start=tmp_path / start),
            hardware=CPU,
            progress=False,
        )
    first, second = (load_net(tmp_path / name)[1].state_dict() for name in ("first", "second"))
    assert not torch.equal(first["gate.weight"], second["gate.weight"])
    training.fit(
        training.Sources(images),
        tmp_path / "none",
        RECIPE,
        "1",
        training.Ancestry(start=tmp_path / "first"),
        hardware=CPU,
        progress=False,
    )
    assert "gate.weight" not in load_net(tmp_path / "none")[1].state_dict()


def test_a_refit_is_trained_on_who_it_was_chosen_by(images, tmp_path, here):
    training.fit(
        training.Sources(images), tmp_path / "chosen", RECIPE, "1", hardware=CPU, progress=False
    )
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu"]
    done = here("train.py", images, tmp_path / "refit", *words, "--refit", tmp_path / "chosen")
    assert done.returncode == 0, done.stderr
    chosen, refit = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("chosen", "refit")
    )
    assert refit["speakers"] == {
        "train": ["ravdess-02", "ravdess-04", "ravdess-09"],
        "validation": [],
        "test": ["ravdess-01"],
    }
    assert refit["training_clips"] == 9
    assert refit["refit_of"].startswith("chosen")
    assert chosen["refit_of"] is None
    # What was said of the validation clips before they were trained on is kept for calibration.
    before, after = (read_run(tmp_path / name, "1") for name in ("chosen", "refit"))
    assert after.part("validation") == before.part("validation")
    assert after.figures["validation"] == before.figures["validation"]
    assert [p.utterance for p in after.part("test")] == [p.utterance for p in before.part("test")]
    assert after.part("test") != before.part("test")


@pytest.mark.parametrize(
    ("fold", "changes", "message"),
    [
        ("1", {"lr": 0.5}, "chosen: its recipe has other lr than the refit"),
        ("2", {}, "chosen: a run of fold 1 lies there, not of fold 2"),
        ("all", {}, "fold all holds nobody back"),
    ],
)
def test_a_refit_of_something_else_is_refused(images, tmp_path, fold, changes, message):
    training.fit(
        training.Sources(images), tmp_path / "chosen", RECIPE, "1", hardware=CPU, progress=False
    )
    with pytest.raises(ValueError, match=message):
        training.fit(
            training.Sources(images),
            tmp_path / "run",
            replace(RECIPE, **changes),
            fold,
            training.Ancestry(refit=tmp_path / "chosen"),
            hardware=CPU,
            progress=False,
        )
    assert not (tmp_path / "run").exists()


def test_a_start_comes_with_its_recipe_but_without_its_teachers(images, tmp_path, here):
    training.fit(
        training.Sources(images), tmp_path / "first", RECIPE, "1", hardware=CPU, progress=False
    )
    taught = replace(RECIPE, distill=0.5, lr=0.003)
    training.fit(
        training.Sources(images),
        tmp_path / "pupil",
        taught,
        "1",
        training.Ancestry(teachers=[tmp_path / "first"]),
        hardware=CPU,
        progress=False,
    )
    words = ["--fold", 1, "--accelerator", "cpu", "--from", tmp_path / "pupil"]
    done = here("train.py", images, tmp_path / "on", *words)
    assert done.returncode == 0, done.stderr
    recipe = Recipe.read(tmp_path / "on" / "config.yaml")
    assert (recipe.distill, recipe.lr) == (0.0, 0.003)


def test_further_renderings_are_trained_on_but_nobody_who_is_scored(images, tmp_path):
    training.fit(
        training.Sources(images, also=[images]),
        tmp_path / "run",
        RECIPE,
        "1",
        hardware=CPU,
        progress=False,
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["training_clips"] == 12  # actors 2 and 4, twice; not 1 and 9
    assert metrics["speakers"]["train"] == ["ravdess-02", "ravdess-04"]


def test_a_random_split_says_that_it_leaks(tmp_path, make_ravdess, here):
    corpus = make_ravdess(actors=(1, 2, 3, 4), emotions=(1, 4))
    render(
        CORPORA["ravdess"].scan(corpus).utterances, tmp_path / "i", SMALL, workers=1, progress=False
    )
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    done = here(
        "train.py", tmp_path / "i", tmp_path / "run", "--fold", "random", "--config", config,
        "--epochs", 1, "--accelerator", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "LEAKY" in done.stdout
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["leaky"] is True


def test_waveforms_are_trained_on(images, make_ravdess, tmp_path, here):
    sounds = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu", "--epochs", "1"]
    words += [f"--sound-{name}" for name in ["noise=0.5", "babble=0.5", "gain=6", "speed=0.1"]]
    words += [f"--sound-{name}" for name in ["pitch=1", "reverb=0.3", "echo=0.3", "shift=1"]]
    done = here("train.py", images, tmp_path / "run", *words, "--sounds", sounds)
    assert done.returncode == 0, done.stderr
    saved = Recipe.read(tmp_path / "run" / "config.yaml")
    assert (saved.sound.noise, saved.sound.pitch) == (0.5, 1.0)
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]
    assert np.isfinite(history[0]["train_loss"])

    without = here("train.py", images, tmp_path / "other", *words)
    assert without.returncode == 2
    assert "no recording of 6 of 6 clips" in without.stderr


def test_changed_copies_are_made_once_and_drawn_beside_the_clip(images, make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(2, 4), emotions=(1, 4))
    clips = load_clips(images, [r for r in read_index(images)[1] if r.speaker[-1] in "24"], SMALL)
    clips = [clip for clip in clips if clip.emotion in (0, 3)]
    sounds = TrainingSounds(clips, load_sounds([corpus], clips, SMALL), SMALL, seed=1)
    strengths = SoundStrengths(noise=1.0, snr_db=0.0)
    pictures = SoundToImage(strengths, SMALL, torch.empty(0, 0))
    before = torch.get_rng_state()
    copies = changed_copies(sounds, pictures, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    again = changed_copies(sounds, pictures, 3, seed=1)
    assert [c.tobytes() for c in copies] == [c.tobytes() for c in again]
    assert [c.shape for c in copies] == [(3, 1, *SMALL.shape)] * len(clips)
    items = TrainingClips(clips, 1, copies)
    seen = {items[epoch, 1][0].numpy().tobytes() for epoch in range(60)}
    assert seen == {p.tobytes() for p in (*copies[1], clips[1].images[0])}
    assert len(seen) == 4
    assert {items[epoch, 1][1:] for epoch in range(9)} == {(1, clips[1].emotion)}

    paired = SoundToImage(strengths, SMALL, torch.empty(0, 0), paired=True)
    pairs = TrainingClips(clips, 1, changed_copies(sounds, paired, 3, seed=1))
    drawn = {picture.tobytes(): picture for e in range(60) for picture in [pairs[e, 1][0].numpy()]}
    assert {picture[:1].tobytes() for picture in drawn.values()} == seen
    alike = [np.array_equal(heard, clear) for heard, clear in drawn.values()]
    assert sorted(alike) == [False, False, False, True]  # the clip itself was never spoilt


def test_copies_in_a_run(images, make_ravdess, tmp_path, here):
    sounds = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu", "--epochs", "1"]
    words += ["--sound-noise", "0.5", "--copies", "2", "--crop", "2.5", "--line", "0.5"]
    done = here("train.py", images, tmp_path / "run", *words, "--sounds", sounds)
    assert done.returncode == 0, done.stderr
    assert Recipe.read(tmp_path / "run" / "config.yaml").copies == 2


def test_a_training_sound_is_cut_and_filled(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(1, 2), emotions=(1,), seconds=8.0)
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    spec, rows = read_index(tmp_path / "images")
    clips = load_clips(tmp_path / "images", rows, spec)
    sounds = load_sounds([corpus], clips, spec)
    assert [sound.size for sound in sounds] == [128_000, 128_000]
    sounds[1] = sounds[1][:16_000]
    items = TrainingSounds(clips, sounds, spec, seed=1)
    parts = {items[epoch, 0][0].numpy().tobytes() for epoch in range(5)}
    assert len(parts) == 5  # another place every epoch
    waveform, length, _, emotion = items[0, 1]
    assert (waveform.shape, length, emotion) == ((100_000,), 16_000, 0)
    assert not waveform[16_000:].any()
    np.testing.assert_allclose(waveform[:16_000], sounds[1] / 32767, atol=1e-7)


def test_averaged_weights_follow_a_short_run():
    average = averaging(0.99)
    mean, count = [torch.tensor([100.0])], [torch.tensor([0])]
    for n in range(1, 60):
        average(mean, [torch.tensor([1.0])], torch.tensor(n))
        average(count, [torch.tensor([n])], torch.tensor(n))
    assert float(mean[0]) == pytest.approx(1.0, abs=0.01)
    assert int(count[0]) == 59
    settled = [torch.tensor([0.0])]
    average(settled, [torch.tensor([1.0])], torch.tensor(10_000))
    assert float(settled[0]) == pytest.approx(0.01)


def test_it_learns(tmp_path):
    """Two kinds of sound that a child could tell apart are told apart on an unheard speaker."""
    import soundfile

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    t = np.arange(32_000) / 16_000
    for actor in (2, 3, 4, 5, 7):
        for emotion, frequency in (("02", 300), ("05", 3000)):
            for repetition in ("01", "02"):
                tone = 0.1 * np.sin(2 * np.pi * frequency * (1 + 0.1 * actor) * t)
                name = f"03-01-{emotion}-01-01-{repetition}-{actor:02d}.wav"
                soundfile.write(corpus / name, tone * (t % 0.5 < 0.3), 16_000)
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    recipe = Recipe.from_dict(
        {**training_yaml(RECIPE.to_yaml()), "epochs": 30, "ema": 0.8, "lr": 0.01}
    )
    result = training.fit(
        training.Sources(tmp_path / "images"),
        tmp_path / "run",
        recipe,
        "2",
        hardware=CPU,
        progress=False,
    )
    assert result.figures["test"]["uar"] == 1.0


def test_weights_of_another_network_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(RECIPE.to_yaml())
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        load_net(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"what")
    with pytest.raises(ValueError, match="not the weights of compact"):
        load_net(tmp_path)


def test_the_network_takes_bytes_and_is_small():
    net = build_net(Recipe()).eval()
    assert sum(p.numel() for p in net.parameters()) < 3_000_000
    assert net(torch.randint(0, 256, (2, 1, 80, 395)).float()).shape == (2, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": True},
        {"nonspeech_head": 5},
        {"attention": True, "nonspeech_head": 5},
    ],
)
def test_every_form_of_the_network_becomes_an_ir_that_the_old_runtime_reads(changes, tmp_path):
    recipe = Recipe(width=0.25, freq_mask=2, image=SMALL, **changes)
    net = build_net(recipe).eval()
    pictures = torch.randint(0, 256, (3, 1, *SMALL.shape)).float()
    pictures[2] = 0  # silence
    with torch.no_grad():
        logits = net(pictures)
    assert torch.isfinite(logits).all()
    to_onnx(net, SMALL.shape, tmp_path / "net.onnx")
    manifest = Manifest("net", SMALL, Calibration(), corpora=("none",), weights_sha256="0" * 64)
    model = to_openvino(tmp_path / "net.onnx")
    xml = save_ir(model, tmp_path / "net" / "FP16" / "net.xml", manifest)
    check_old_runtime(xml)
    network = Network(ModelFiles(xml, manifest), "CPU", None)
    for picture, expected in zip(pictures.byte().numpy(), logits.numpy(), strict=True):
        np.testing.assert_allclose(network.logits(picture), expected, atol=0.05)


def test_a_random_window_of_a_long_clip(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(1,), emotions=(1,), seconds=8.0)
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    spec, rows = read_index(tmp_path / "images")
    clips = load_clips(tmp_path / "images", rows, spec)
    assert len(clips) == 1
    torch.manual_seed(0)
    seen = {TrainingClips(clips, 1)[epoch, 0][0].numpy().tobytes() for epoch in range(40)}
    assert seen == {image.tobytes() for image in clips[0].images}


@pytest.fixture
def batch() -> torch.Tensor:
    torch.manual_seed(0)
    images = torch.zeros(6, 1, 16, 100)
    images[..., :40] = torch.rand(6, 1, 16, 40) * 200 + 20
    return images


def test_no_strength_changes_nothing(batch):
    torch.testing.assert_close(image_augment.warp(batch, 0, 0, 0), batch, atol=1e-3, rtol=0)
    assert torch.equal(image_augment.add_noise(batch, 0, 60.0), batch)
    assert torch.equal(image_augment.mask(batch, 0, 0), batch)


def test_shifted_sound_stays_whole(batch):
    moved = image_augment.warp(batch, 0, 0, 1.0)
    assert not torch.allclose(moved, batch)
    torch.testing.assert_close(
        moved.sum(dim=(1, 2, 3)), batch.sum(dim=(1, 2, 3)), rtol=0.02, atol=0
    )


def test_a_cut_keeps_the_sound():
    images = torch.zeros(40, 1, 16, 100)
    for row in range(40):
        images[row, :, :, 10 + row : 30 + row] = 100.0
    torch.manual_seed(0)
    cut = image_augment.crop(images, 50)
    assert cut.shape == (40, 1, 16, 50)
    kept = cut.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert kept.min() >= image_augment.HELD
    places = {int(row.amax(dim=(0, 1)).argmax()) for row in cut}
    assert len(places) > 10  # not always the same place
    assert image_augment.crop(images, 100) is images
    assert image_augment.crop(torch.zeros(2, 1, 16, 100), 50).shape == (2, 1, 16, 50)


def test_a_line_has_limits_and_keeps_the_loudest_and_black(batch):
    spec = SMALL
    hertz = band_edges(spec)[1:-1].tolist()
    torch.manual_seed(3)
    images = batch.repeat(50, 1, 1, 1)
    heard = image_augment.through_line(images, 1.0, hertz, 60.0)
    assert torch.equal(heard[..., 40:], images[..., 40:])  # black stays black
    torch.testing.assert_close(heard.amax(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3)))
    change = (heard - images)[..., :40].mean(dim=(1, 3)) * 60 / 255  # dB, by band
    speech = [row for row, centre in enumerate(hertz) if 500 <= centre <= 2500]
    beyond = [row for row, centre in enumerate(hertz) if centre >= 6000]
    loss = change[:, speech].mean(dim=1) - change[:, beyond].mean(dim=1)
    assert 0.15 < (loss > 15).float().mean() < 0.6  # about half have limits, some of them high
    assert torch.equal(image_augment.through_line(images, 0.0, hertz, 60.0), images)


def test_noise_fills_pauses_and_only_adds(batch):
    noisy = image_augment.add_noise(batch, 1.0, 60.0)
    assert (noisy >= batch - 1e-3).all()
    assert noisy.max() <= 255
    assert (noisy[..., 40:].mean(dim=(1, 2, 3)) > 0).all()


def test_masks_are_as_wide_as_they_may(batch):
    full = torch.full_like(batch, 9.0)
    masked = image_augment.mask(full, 4, 20)
    bands = (masked == 0).all(dim=3).sum(dim=2)
    frames = (masked == 0).all(dim=2).sum(dim=2)
    assert bands.max() <= 10
    assert bands.max() > 0
    assert frames.max() <= 42
    assert frames.max() > 0
