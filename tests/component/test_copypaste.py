"""Clips that are lengthened by another one; and all levers at once, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import ROOT, SMALL
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.copypaste import copypaste, heard
from ser_edge.data.render import render
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.runs.inference import load_net
from ser_edge.training import fit as training
from ser_edge.training import image_module

NEUTRAL, HAPPY, SAD = (emotion_index(name) for name in ("neutral", "happy", "sad"))
RECIPE = Recipe(
    name="tiny", width=0.25, epochs=3, batch_size=8, dropout=0.3, mixup=0.2, freq_mask=2,
    time_mask=10, noise=0.5, copypaste=0.5, precision="32-true", image=SMALL,
)  # fmt: skip
CPU = Hardware("cpu")


def pictures(lengths: list[int], start: int = 10, wide: int = 100) -> torch.Tensor:
    """Clip i has the level 100 + i, in the first band 255, and silence of level 20 around."""
    images = torch.zeros(len(lengths), 1, 4, wide)
    for i, length in enumerate(lengths):
        images[i, :, :, : start + length + 5] = 20
        images[i, :, :, start : start + length] = 100 + i
        images[i, :, 0, start : start + length] = 255
    return images


def test_where_the_sound_is():
    images = torch.cat([pictures([30, 85]), torch.zeros(1, 1, 4, 100)])
    first, last = heard(images, 60.0)
    assert first.tolist() == [8, 8, 0]
    assert last.tolist() == [42, 97, 0]
    assert heard(pictures([30], start=0), 60.0)[0].tolist() == [0]


@pytest.mark.parametrize(
    ("emotions", "lengths", "partners"),
    [
        ([HAPPY, HAPPY, SAD], [20, 30, 20], [{1}, {0}, {}]),  # one's own emotion
        ([HAPPY, NEUTRAL, SAD], [20, 30, 20], [{1}, {}, {1}]),  # a neutral one, but not by it
        ([HAPPY, HAPPY, NEUTRAL], [60, 60, 20], [{2}, {2}, {}]),  # who fits
        ([HAPPY, HAPPY], [60, 60], [{}, {}]),
        ([SAD, SAD, SAD], [20, 20, 0], [{1}, {0}, {}]),  # a black picture is nobody
    ],
)
def test_who_is_pasted_to_whom(emotions, lengths, partners):
    images = pictures(lengths)
    images[torch.tensor(lengths) == 0] = 0
    torch.manual_seed(0)
    pasted = copypaste(images, torch.tensor(emotions), 1.0, 100, 60.0)
    for i, allowed in enumerate(partners):
        levels = {int(v) - 100 for v in pasted.images[i, 0, 1].unique() if v >= 100}
        if not allowed:
            assert torch.equal(pasted.images[i], images[i])
            assert pasted.voices[i].tolist() == pasted.labels[i].tolist()
            assert pasted.voices[i, i] == 1
            continue
        assert levels == {i, *allowed}
        # Both sounds are whole, and nothing but the margins lies beside them.
        frames = int((pasted.images[i, 0, 0] == 255).sum())
        assert frames == sum(lengths[k] for k in levels)
        assert (pasted.images[i, 0, 0] > 0).sum() == frames + 8
        (other,) = allowed
        part = (lengths[i] + 4) / (frames + 8)
        assert pasted.voices[i, [i, other]].tolist() == pytest.approx([part, 1 - part])
        kept = pasted.voices[i] if emotions[i] == emotions[other] else torch.eye(len(lengths))[i]
        torch.testing.assert_close(pasted.labels[i], kept)


def test_as_many_as_wanted_in_either_order_and_again_the_same():
    images, emotions = pictures([20] * 200), torch.full((200,), HAPPY)
    torch.manual_seed(0)
    pasted = copypaste(images, emotions, 0.3, 100, 60.0)
    changed = (pasted.voices.diagonal() < 1).nonzero()[:, 0]
    assert 40 <= len(changed) <= 80
    leading = sum(int(pasted.images[i, 0, 1, 2]) == 100 + int(i) for i in changed)
    assert 0.25 < leading / len(changed) < 0.75
    torch.testing.assert_close(pasted.labels.sum(dim=1), torch.ones(200))
    torch.manual_seed(0)
    assert torch.equal(copypaste(images, emotions, 0.3, 100, 60.0).images, pasted.images)


@pytest.fixture
def images(make_ravdess, tmp_path) -> Path:
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


def test_targets_follow_the_pictures(images, monkeypatch):
    """Labels stay, soft targets of like clips are averaged, speakers by their time."""
    seen = {}

    def mixup(pictures: torch.Tensor, targets: torch.Tensor, alpha: float) -> tuple:
        seen["targets"] = targets
        return pictures, targets

    monkeypatch.setattr(image_module, "mixup", mixup)
    from ser_edge.nets import build_net
    from ser_edge.training.speaker_adversary import Adversary

    wide = SMALL.shape[1]
    batch = torch.zeros(3, 1, *SMALL.shape, dtype=torch.uint8)
    batch[:, 0, :, : wide // 4] = 200
    recipe = replace(RECIPE, copypaste=1.0, distill=0.5, adversarial=0.1)
    net = build_net(recipe)
    soft = torch.rand(3, len(EMOTIONS))
    module = image_module.Learner(
        recipe, net, (), torch.ones(8), "",
        lessons=image_module.Lessons(soft=soft, speakers=torch.arange(3)),
        adversary=Adversary(net.classify.in_features, 3),
    )  # fmt: skip
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    steps = {"optimizers": [torch.optim.SGD(net.parameters(), 1.0)], "global_step": 0}
    module._trainer = type("T", (), steps)()
    labels = torch.tensor([HAPPY, HAPPY, NEUTRAL])
    torch.manual_seed(2)
    module.training_step((batch, torch.arange(3), labels), 0)
    emotions, taught, speakers = seen["targets"].split([8, 8, 3], dim=1)
    torch.testing.assert_close(emotions, torch.eye(8)[labels])
    for i in range(2):
        other = int(speakers[i].index_fill(0, torch.tensor(i), 0).argmax())
        assert speakers[i, [i, other]].tolist() == pytest.approx([0.5, 0.5])
        wanted = soft[i] if other == 2 else (soft[0] + soft[1]) / 2
        torch.testing.assert_close(taught[i], wanted)
    assert speakers[2].tolist() == [0, 0, 1]


def run(images: Path, out: Path, recipe: Recipe, **earlier) -> bytes:
    training.train(
        training.Sources(images), out, recipe, "1", training.Ancestry(**earlier),
        hardware=CPU, progress=False,
    )  # fmt: skip
    return (out / "weights.safetensors").read_bytes()


def test_a_run_repeats_and_differs_from_one_without(images, tmp_path):
    first = run(images, tmp_path / "a", RECIPE)
    assert run(images, tmp_path / "b", RECIPE) == first
    assert run(images, tmp_path / "c", replace(RECIPE, copypaste=0.0)) != first
    with pytest.raises(ValueError, match=r"copypaste is 1\.5, allowed: 0 to 1"):
        replace(RECIPE, copypaste=1.5)


@pytest.mark.system
def test_two_processes_reach_what_one_reaches_with_every_lever(images, tmp_path):
    """``torchrun`` on a CPU, with a teacher, an adversary and pasted clips."""
    run(images, tmp_path / "teacher", replace(RECIPE, copypaste=0.0, seed=3))
    config = tmp_path / "tiny.yaml"
    config.write_text(replace(RECIPE, copypaste=0.7, distill=0.5, adversarial=0.5).to_yaml())
    words = ["--fold", "1", "--config", config, "--accelerator", "cpu", "--quiet"]
    words += ["--teacher", tmp_path / "teacher"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    for name, start in (("one", []), ("two", torchrun)):
        script = ROOT / "scripts" / "train.py"
        done = subprocess.run(
            list(map(str, [sys.executable, *start, script, images, tmp_path / name, *words])),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
    found = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two")]
    assert [entry["hardware"]["processes"] for entry in found] == [1, 2]
    for one, two in zip(*(entry["history"] for entry in found), strict=True):
        for key in ("train_loss", "train_teacher_loss", "train_speaker_loss"):
            assert one[key] == pytest.approx(two[key], abs=1e-3)
    nets = [load_net(tmp_path / name)[1].state_dict() for name in ("one", "two")]
    for key, value in nets[0].items():
        torch.testing.assert_close(nets[1][key], value, atol=2e-3, rtol=2e-3)
