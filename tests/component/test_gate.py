"""The gate: sounds that are no speech say nothing, speech what it said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import SMALL, speechlike
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data import nonspeech
from ser_edge.data.render import render
from ser_edge.mel.image import UInt8, mel_image
from ser_edge.nets import build_net
from ser_edge.nets.compact import CompactNet
from ser_edge.runs.inference import load_net
from ser_edge.training import fit as training
from ser_edge.training import nonspeech_head
from ser_edge.training.nonspeech_head import fit_nonspeech_head

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=1, batch_size=4, dropout=0.0, freq_mask=2, time_mask=10,
    nonspeech_head=60, precision="32-true", image=SMALL,
)  # fmt: skip


def as_it_is(pictures: torch.Tensor) -> torch.Tensor:
    return pictures


def voices(first: int, count: int) -> UInt8:
    return np.stack(
        [mel_image(speechlike(1.5, 16_000, seed=first + i), SMALL) for i in range(count)]
    )


def net_with_gate() -> CompactNet:
    torch.manual_seed(0)
    net = build_net(RECIPE).eval()
    assert isinstance(net, CompactNet)
    return net


@torch.no_grad()
def logits(net: CompactNet, pictures: UInt8) -> torch.Tensor:
    return net(torch.from_numpy(pictures)[:, None].float())


def test_an_unfitted_gate_is_open():
    net = net_with_gate()
    shut = replace(RECIPE, nonspeech_head=0)
    torch.manual_seed(0)
    other = build_net(shut).eval()
    net_state = {k: v for k, v in net.state_dict().items() if not k.startswith("gate.")}
    other.load_state_dict(net_state)
    pictures = voices(0, 3)
    torch.testing.assert_close(logits(net, pictures), logits(other, pictures), rtol=1e-3, atol=1e-4)
    assert not any(p.requires_grad for p in net.gate.parameters())


def test_fitted_it_silences_what_is_no_speech_and_nothing_else():
    net = net_with_gate()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    heard, unheard = voices(0, 40), voices(1000, 20)
    others = nonspeech.mel_images(120, SMALL, seed=1)[:, 0]
    foreign = nonspeech.mel_images(60, SMALL, seed=2)[:, 0]
    open_logits = logits(net, unheard)
    told = fit_nonspeech_head(net, heard, others, as_it_is, seed=1)
    assert told > 0.9
    after = net.state_dict()
    assert all(torch.equal(after[n], v) for n, v in before.items() if not n.startswith("gate."))
    kept = logits(net, unheard).abs().sum(dim=1) / open_logits.abs().sum(dim=1)
    assert kept.median() > 0.9
    quiet = torch.softmax(logits(net, foreign), dim=1).amax(dim=1)
    loud = torch.softmax(logits(net, unheard), dim=1).amax(dim=1)
    assert quiet.median() < loud.median()
    silenced = torch.sigmoid(
        net.gate(net.pooled(torch.from_numpy(foreign)[:, None].float()))
    ).detach()
    assert (silenced < 0.5).float().mean() > 0.8


def test_the_fit_repeats_and_leaves_the_generator_alone():
    others = nonspeech.mel_images(30, SMALL, seed=1)[:, 0]
    found = []
    state = torch.get_rng_state()
    for _ in range(2):
        net = net_with_gate()
        torch.set_rng_state(state)
        fit_nonspeech_head(
            net, voices(0, 12), others, lambda x: x + 20 * torch.rand_like(x), seed=3
        )
        assert torch.equal(torch.get_rng_state(), state)
        found.append(net.gate.weight.clone())
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("clips", "others", "gate", "message"),
    [
        (0, 3, 60, "0 clips, 3 others"),
        (3, 0, 60, "3 clips, 0 others"),
        (3, 3, 0, "has no non-speech head"),
    ],
)
def test_what_cannot_be_fitted(clips, others, gate, message):
    pictures = np.zeros((3, *SMALL.shape), np.uint8)
    net = build_net(replace(RECIPE, nonspeech_head=gate))
    with pytest.raises(ValueError, match=message):
        fit_nonspeech_head(net, pictures[:clips], pictures[:others], as_it_is, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonspeech_head": -1}, "nonspeech_head is -1, allowed: 0 to 100000"),
        ({"net": "resnet18", "nonspeech_head": 5}, "nonspeech_head is 5, only net compact has one"),
    ],
)
def test_recipes_without_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        build_net(replace(RECIPE, **changes))


def test_a_run_fits_its_gate_last(make_ravdess, tmp_path: Path):
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 5))
    images = tmp_path / "images"
    render(CORPORA["ravdess"].scan(corpus).utterances, images, SMALL, workers=1, progress=False)
    made = {}
    for name, recipe in (("with", RECIPE), ("without", replace(RECIPE, nonspeech_head=0))):
        training.fit(
            training.Sources(images),
            tmp_path / name,
            recipe,
            "1",
            hardware=Hardware("cpu"),
            progress=False,
        )
        made[name] = load_net(tmp_path / name)[1].state_dict()
    found = json.loads((tmp_path / "with" / "metrics.json").read_text())["gate"]
    assert (found["sounds"], found["speech"]) == (60, ["ravdess"])
    assert 0.5 < found["told_apart"] <= 1
    assert made["with"]["gate.weight"].any()
    # The gate's own start draws random numbers, so the rest is alike, not equal; but learnt alone.
    assert {n for n in made["with"] if not n.startswith("gate.")} == set(made["without"])
    assert json.loads((tmp_path / "without" / "metrics.json").read_text())["gate"] == {
        "sounds": 0,
        "speech": [],
        "told_apart": None,
    }


def test_a_gate_opens_for_voices_of_another_corpus_too(make_ravdess, tmp_path: Path, monkeypatch):
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 5))
    images = tmp_path / "images"
    render(CORPORA["ravdess"].scan(corpus).utterances, images, SMALL, workers=1, progress=False)
    elsewhere = tmp_path / "nemo"
    shutil.copytree(images, elsewhere)
    index = elsewhere / "index.csv"
    index.write_text(index.read_text().replace(",ravdess,", ",nemo,"))
    heard = []

    def noted(net, clips, *rest):
        heard.append(len(clips))
        return fit_nonspeech_head(net, clips, *rest)

    monkeypatch.setattr(nonspeech_head, "fit_nonspeech_head", noted)
    for name, more in (("alone", []), ("both", [elsewhere])):
        training.fit(
            training.Sources(images, gate_speech=more),
            tmp_path / name,
            RECIPE,
            "1",
            hardware=Hardware("cpu"),
            progress=False,
        )
    alone, both = heard
    assert both == 2 * alone  # actors 2 and 4 again, never 1 and 9, who are scored
    metrics = json.loads((tmp_path / "both" / "metrics.json").read_text())
    assert metrics["gate"]["speech"] == ["nemo", "ravdess"]
    assert metrics["training_clips"] == alone
    nets = [load_net(tmp_path / name)[1].state_dict() for name in ("alone", "both")]
    assert not torch.equal(nets[0].pop("gate.weight"), nets[1].pop("gate.weight"))
    for state in nets:
        state.pop("gate.bias")
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())


def test_speech_for_a_gate_that_is_not_there(make_ravdess, tmp_path: Path):
    corpus = make_ravdess(actors=(1, 2, 9), emotions=(1,))
    images = tmp_path / "images"
    render(CORPORA["ravdess"].scan(corpus).utterances, images, SMALL, workers=1, progress=False)
    with pytest.raises(ValueError, match="no non-speech head to fit to further speech"):
        training.fit(
            training.Sources(images, gate_speech=[images]),
            tmp_path / "run",
            replace(RECIPE, nonspeech_head=0),
            "1",
        )


def test_a_voice_turned_away_weighs_more_than_a_fan_let_in():
    """Where the two cannot be told apart, the gate stays open."""
    net = net_with_gate()
    mixed = np.concatenate([voices(0, 20), nonspeech.mel_images(60, SMALL, seed=1)[:, 0]])
    fit_nonspeech_head(net, mixed, mixed, as_it_is, seed=1)
    with torch.no_grad():
        pooled = net.pooled(torch.from_numpy(mixed)[:, None].float())
        assert (torch.sigmoid(net.gate(pooled)) > 0.8).all()
