"""From a made-up corpus to weights: small, but the real scripts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ROOT, SMALL
from ser_edge import augment, training
from ser_edge.corpora import CORPORA
from ser_edge.dataset import TrainingClips, load_clips
from ser_edge.hardware import Hardware
from ser_edge.nets import build_net
from ser_edge.recipe import Recipe
from ser_edge.rendering import read_index, render

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    image=SMALL,
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
    kept = training.load_net(out)[1].state_dict()
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
        training.train(images, tmp_path / name, recipe, "1", hardware=CPU, progress=False)
        return (tmp_path / name / "weights.safetensors").read_bytes()

    first = weights("a", 1)
    assert weights("b", 1) == first
    assert weights("c", 2) != first


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
        {**training_yaml(RECIPE.to_yaml()), "epochs": 30, "ema": 0.8, "mixup": 0.0, "lr": 0.01}
    )
    result = training.train(
        tmp_path / "images", tmp_path / "run", recipe, "2", hardware=CPU, progress=False
    )
    assert result.figures["test"]["uar"] == 1.0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fold", "6"], "invalid choice: '6'"),
        (["--fold", "2", "--n-mels", "40"], "the recipe wants"),
        (["--fold", "1", "--lr", "7"], "lr is 7.0, allowed: above 0 to 1"),
        (["--fold", "1", "--net", "huge"], "net is 'huge', allowed: compact"),
        (["--fold", "5"], "no speaker to"),
        (["--fold", "1", "--accelerator", "gpu"], "accelerator 'gpu', devices 'auto': "),
        (["--fold", "1", "--channels", "song"], "no clip of song"),
        ([], "--fold"),
    ],
)
def test_wrong_usage(images, tmp_path, words, message):
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    done = script("train.py", images, tmp_path / "run", "--config", config, *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs: many", "epochs is 'many', it should be of type int"),
        ("epochs: 2.5", "epochs is 2.5"),
        ("colour: red", "unknown colour; known: name"),
        ("- a", "should be a mapping"),
        ("image: 3", "image should be a mapping"),
        ("image: {n_mels: -3}", "n_mels is -3"),
        ("a: [", "while parsing"),
    ],
)
def test_recipes_that_do_not_fit_name_the_file(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.yaml") as caught:
        Recipe.read(path)
    assert message in str(caught.value)


def test_shipped_recipes_are_complete():
    configs = sorted((ROOT / "configs").glob("*.yaml"))
    assert configs
    for path in configs:
        recipe = Recipe.read(path)
        assert set(training_yaml(path.read_text())) == set(training_yaml(recipe.to_yaml()))
        assert recipe.name == path.stem


def test_weights_of_another_network_are_refused(tmp_path):
    (tmp_path / "config.yaml").write_text(RECIPE.to_yaml())
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        training.load_net(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"what")
    with pytest.raises(ValueError, match="not the weights of compact"):
        training.load_net(tmp_path)


def test_the_network_takes_bytes_and_is_small():
    net = build_net(Recipe()).eval()
    assert sum(p.numel() for p in net.parameters()) < 3_000_000
    assert net(torch.randint(0, 256, (2, 1, 80, 395)).float()).shape == (2, 8)


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
    torch.testing.assert_close(augment.warp(batch, 0, 0, 0), batch, atol=1e-3, rtol=0)
    assert torch.equal(augment.add_noise(batch, 0, 60.0), batch)
    assert torch.equal(augment.mask(batch, 0, 0), batch)
    targets = torch.eye(8)[:6]
    assert augment.mixup(batch, targets, 0.0) == (batch, targets)


def test_shifted_sound_stays_whole(batch):
    moved = augment.warp(batch, 0, 0, 1.0)
    assert not torch.allclose(moved, batch)
    torch.testing.assert_close(
        moved.sum(dim=(1, 2, 3)), batch.sum(dim=(1, 2, 3)), rtol=0.02, atol=0
    )


def test_noise_fills_pauses_and_only_adds(batch):
    noisy = augment.add_noise(batch, 1.0, 60.0)
    assert (noisy >= batch - 1e-3).all()
    assert noisy.max() <= 255
    assert (noisy[..., 40:].mean(dim=(1, 2, 3)) > 0).all()


def test_masks_are_as_wide_as_they_may(batch):
    full = torch.full_like(batch, 9.0)
    masked = augment.mask(full, 4, 20)
    bands = (masked == 0).all(dim=3).sum(dim=2)
    frames = (masked == 0).all(dim=2).sum(dim=2)
    assert bands.max() <= 10
    assert bands.max() > 0
    assert frames.max() <= 42
    assert frames.max() > 0


def test_mixup_mixes_pictures_and_targets_alike():
    images = torch.arange(6).float().view(6, 1, 1, 1).expand(6, 1, 4, 4)
    targets = torch.eye(6)
    torch.manual_seed(0)
    mixed, mixed_targets = augment.mixup(images, targets, 0.4)
    torch.testing.assert_close(mixed_targets.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(mixed[:, 0, 0, 0], mixed_targets @ torch.arange(6).float())
