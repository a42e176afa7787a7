"""Training against a head that tells the speakers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from conftest import SMALL
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.evaluation.finetune import fine_tuning_recipe
from ser_edge.nets import build_net
from ser_edge.training import fit as training
from ser_edge.training.speaker_adversary import Adversary, ramp, reverse

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.3, mixup=0.2, freq_mask=2,
    time_mask=10, adversarial=0.5, precision="32-true", image=SMALL,
)  # fmt: skip
CPU = Hardware("cpu")


@pytest.fixture
def images(make_ravdess, tmp_path) -> Path:
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


def run(images: Path, out: Path, recipe: Recipe, fold: str = "1", *, resume: bool = False) -> dict:
    training.train(
        training.Sources(images), out, recipe, fold, hardware=CPU, resume=resume, progress=False
    )
    return json.loads((out / "metrics.json").read_text())


def test_the_gradient_is_turned_round():
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    (reverse(values, 0.5) * torch.tensor([3.0, 4.0])).sum().backward()
    assert values.grad.tolist() == [-1.5, -2.0]
    head = Adversary(4, 3)
    pooled = torch.randn(5, 4, requires_grad=True)
    torch.nn.functional.cross_entropy(head(pooled, 0.0), torch.zeros(5).long()).backward()
    assert not pooled.grad.any()
    assert head.head[0].weight.grad.abs().sum() > 0  # the head learns whatever the strength


@pytest.mark.parametrize(("progress", "strength"), [(0, 0), (0.1, 0.462), (0.5, 0.987), (1, 1)])
def test_the_reversal_grows(progress, strength):
    assert ramp(progress) == pytest.approx(strength, abs=1e-3)


def test_the_head_is_not_kept_and_a_run_repeats_and_goes_on(images, tmp_path):
    metrics = run(images, tmp_path / "one", RECIPE)
    for entry in metrics["history"]:
        assert entry["train_speaker_loss"] > 0
        assert 0 <= entry["train_speaker_accuracy"] <= 1
    weights = tmp_path / "one" / "weights.safetensors"
    assert set(load_file(weights)) == set(build_net(RECIPE).state_dict())
    held = torch.load(tmp_path / "one" / "checkpoints" / "last.ckpt", weights_only=True)
    assert [key for key in held["state_dict"] if key.startswith("_adversary.")]
    run(images, tmp_path / "two", RECIPE)
    assert (tmp_path / "two" / "weights.safetensors").read_bytes() == weights.read_bytes()
    for name in ("metrics.json", "weights.safetensors"):
        (tmp_path / "two" / name).unlink()
    run(images, tmp_path / "two", RECIPE, resume=True)
    assert (tmp_path / "two" / "weights.safetensors").read_bytes() == weights.read_bytes()
    run(images, tmp_path / "off", replace(RECIPE, adversarial=0.0))
    assert (tmp_path / "off" / "weights.safetensors").read_bytes() != weights.read_bytes()


def test_the_head_is_kept_from_telling_the_speakers(tmp_path):
    """Speakers have tones of their own. The same head, with and without the reversed gradient."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    t = np.arange(24_000) / 16_000
    for actor in (3, 5, 7, 8):
        for emotion, syllable in (("02", 0.3), ("05", 0.08)):
            for repetition in ("01", "02"):
                tone = 0.1 * np.sin(2 * np.pi * 250 * (actor - 2) * t)
                sound = tone * (t % (2 * syllable) < syllable)
                name = f"03-01-{emotion}-01-01-{repetition}-{actor:02d}.wav"
                soundfile.write(corpus / name, sound, 16_000)
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    plain = replace(
        RECIPE, epochs=30, ema=0.0, lr=0.01, mixup=0.0, dropout=0.0, noise=0.0, freq_mask=0,
        time_mask=0,
    )  # fmt: skip
    losses, told = {}, {}
    for weight in (1e-9, 0.5):
        metrics = run(
            tmp_path / "images", tmp_path / str(weight), replace(plain, adversarial=weight), "all"
        )
        late = metrics["history"][20:]
        losses[weight] = np.mean([entry["train_speaker_loss"] for entry in late])
        told[weight] = np.mean([entry["train_speaker_accuracy"] for entry in late])
    assert told[1e-9] > 0.6
    assert told[0.5] < 0.45  # guessing among four: 0.25
    assert losses[1e-9] < 0.9
    assert losses[0.5] > 1.2  # guessing: 1.39


def test_pooling_and_judging_are_what_the_network_does():
    net = build_net(RECIPE).eval()
    pictures = torch.randint(0, 256, (2, 1, *SMALL.shape)).float()
    assert torch.equal(net(pictures), net.judge(net.pooled(pictures)))


@pytest.mark.parametrize(
    ("values", "fold", "message"),
    [
        ({"net": "mobilenet_v2", "width": 1.0}, "1", "only net compact has it, net is mobilenet"),
        ({"last_layer_only": True}, "1", "no feature is learnt"),
    ],
)
def test_where_it_cannot_be(images, tmp_path, values, fold, message):
    with pytest.raises(ValueError, match=rf"adversarial is 0\.5, .*{message}"):
        run(images, tmp_path / "run", replace(RECIPE, **values), fold)


def test_one_speaker_cannot_be_hidden(tmp_path, make_ravdess):
    corpus = make_ravdess(actors=(2,), emotions=(1, 4))
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    with pytest.raises(ValueError, match="needs 2 training speakers or more, not 1"):
        run(tmp_path / "images", tmp_path / "run", RECIPE, "all")
    assert fine_tuning_recipe(RECIPE, "mine").adversarial == 0
    with pytest.raises(ValueError, match=r"adversarial is -1\.0, allowed: 0 to 10"):
        replace(RECIPE, adversarial=-1.0)
