"""Distillation: from finished runs, and from soft targets of a network pretrained on speech."""

from __future__ import annotations

import copy
import csv
import json
import shutil
import urllib.error
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import SMALL
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation.finetune import fine_tuning_recipe
from ser_edge.nets.linear_head import cross_fitted, fit_head
from ser_edge.nets.ssl_bundles import clip_features, find_bundle, load_bundle
from ser_edge.runs.inference import load_net
from ser_edge.teachers.frozen import HeadOptions, frozen_targets
from ser_edge.training import fit as training
from ser_edge.training import image_module
from ser_edge.training.distill import (
    AuxiliaryTargets,
    Teachers,
    distance,
    read_soft_targets,
    soften,
)

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip
PUPIL = replace(RECIPE, distill=0.5, seed=2)
CPU = Hardware("cpu")
NO_TORCHAUDIO = "the extra speech-encoders is not installed"


@dataclass(frozen=True)
class TinyBundle:
    """Random weights behind a bundle's face."""

    sample_rate: float = 8000
    seed: int = 0

    def get_model(self) -> nn.Module:
        models = pytest.importorskip("torchaudio.models", reason=NO_TORCHAUDIO)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return models.wav2vec2_model(
                extractor_mode="group_norm",
                extractor_conv_layer_config=[(8, 10, 5), (8, 3, 2), (8, 3, 4)],
                extractor_conv_bias=False,
                encoder_embed_dim=16,
                encoder_projection_dropout=0.1,
                encoder_pos_conv_kernel=8,
                encoder_pos_conv_groups=2,
                encoder_num_layers=3,
                encoder_num_heads=2,
                encoder_attention_dropout=0.1,
                encoder_ff_interm_features=32,
                encoder_ff_interm_dropout=0.0,
                encoder_dropout=0.1,
                encoder_layer_norm_first=False,
                encoder_layer_drop=0.0,
                aux_num_out=None,
            )


class Offline(TinyBundle):
    _path = "tiny.pth"

    def get_model(self) -> nn.Module:
        raise urllib.error.URLError("no network")


@pytest.fixture
def sounds(make_ravdess) -> Path:
    """Actors of fold 1's test (1), validation (9) and two others, in three emotions."""
    return make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))


@pytest.fixture
def images(sounds, tmp_path) -> Path:
    scan = CORPORA["ravdess"].scan(sounds)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


def run(
    images: Path, out: Path, recipe: Recipe, fold: str = "1", *, resume: bool = False, **earlier
) -> dict:
    training.fit(
        training.Sources(images), out, recipe, fold, training.Ancestry(**earlier),
        hardware=CPU, resume=resume, progress=False,
    )  # fmt: skip
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture
def teacher(images, tmp_path) -> Path:
    run(images, tmp_path / "teacher", RECIPE)
    return tmp_path / "teacher"


def test_a_pupil_of_two_teachers(images, teacher, tmp_path):
    run(images, tmp_path / "other", replace(RECIPE, width=0.5, seed=5))
    both = [teacher, tmp_path / "other"]
    metrics = run(images, tmp_path / "pupil", PUPIL, teachers=both)
    assert [name.split()[0] for name in metrics["teachers"]] == ["teacher", "other"]
    assert {len(name.split()[1]) for name in metrics["teachers"]} == {64}
    assert metrics["inherited_speakers"] == []
    assert all(entry["train_teacher_loss"] > 0 for entry in metrics["history"])
    # Nothing of the teachers is kept or averaged: the files hold the pupil alone.
    pupil, checkpoint = (
        load_net(tmp_path / "pupil")[1].state_dict(),
        torch.load(tmp_path / "pupil" / "checkpoints" / "last.ckpt", weights_only=True),
    )
    assert set(checkpoint["state_dict"]) == {f"net.{key}" for key in pupil}

    run(images, tmp_path / "again", PUPIL, teachers=both)
    run(images, tmp_path / "one", PUPIL, teachers=[teacher])
    weights = [(tmp_path / n / "weights.safetensors").read_bytes() for n in ("pupil", "again")]
    assert weights[0] == weights[1]
    assert (tmp_path / "one" / "weights.safetensors").read_bytes() != weights[0]


def test_a_pupil_comes_to_say_what_its_teacher_says(images, tmp_path):
    """With nothing but the teacher to learn from, it gets much nearer than one that learns labels.

    The teacher's labels are shifted by one class, so that labels do not lead there.
    """
    plain = replace(
        RECIPE, epochs=25, ema=0.0, lr=0.01, noise=0.0, freq_mask=0, time_mask=0, label_smoothing=0
    )
    run(images, tmp_path / "teacher", plain)
    state = load_net(tmp_path / "teacher")[1]
    for name in ("weight", "bias"):
        value = getattr(state.classify, name)
        value.data = value.data.roll(1, dims=0)
    from safetensors.torch import save_file

    save_file(state.state_dict(), tmp_path / "teacher" / "weights.safetensors")

    run(images, tmp_path / "labels", replace(plain, seed=2))
    pupil = replace(plain, seed=2, distill=1.0)
    metrics = run(images, tmp_path / "pupil", pupil, teachers=[tmp_path / "teacher"])
    losses = [entry["train_teacher_loss"] for entry in metrics["history"]]
    assert losses[-1] < 0.3 * losses[0]
    from ser_edge.data.datasets import load_clips
    from ser_edge.data.render import read_index
    from ser_edge.runs.inference import window_logits

    spec, rows = read_index(images)
    clips = load_clips(images, [r for r in rows if r.speaker in ("ravdess-02", "ravdess-04")], spec)
    said = {
        name: torch.tensor(window_logits(load_net(tmp_path / name)[1], clips))
        for name in ("teacher", "labels", "pupil")
    }
    taught = soften(said["teacher"], 2.0)
    near, far = (float(distance(said[name], taught, 2.0)) for name in ("pupil", "labels"))
    assert near < 0.3 * far


@pytest.mark.parametrize("channels", [1, 2])
def test_the_teacher_sees_what_the_pupil_sees_before_it_was_spoilt(channels):
    seen = []

    class Spy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((images.clone(), self.training, torch.is_grad_enabled()))
            return images.mean(dim=(2, 3)) * torch.arange(8)

    class Pupil(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.images = images.detach().clone()
            return super().forward(images.mean(dim=(2, 3)))

    torch.manual_seed(0)
    pupil = Pupil(1, 8)
    auxiliary = AuxiliaryTargets(Teachers([Spy()], 2.0))
    module = image_module.ImageModule(PUPIL, pupil, (), torch.ones(8), "", auxiliary=auxiliary)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module._trainer = type("T", (), {"optimizers": [torch.optim.SGD(pupil.parameters(), 1.0)]})()
    batch = torch.randint(0, 256, (8, 1, *SMALL.shape), dtype=torch.uint8)
    spoilt = batch // 2
    pair = torch.cat([spoilt, batch], dim=1)[:, -channels:]
    module.training_step((pair, torch.arange(8), torch.arange(8)), 0)
    ((images, trained, graded),) = seen
    assert torch.equal(images, pupil.images) == (channels == 1)
    assert images.mean() > (1.5 if channels == 2 else 0.9) * pupil.images.mean()
    assert not torch.equal(images, batch.float())
    assert (trained, graded) == (False, False)


def test_teachers_are_not_copied_with_what_holds_them():
    teachers = Teachers([nn.Linear(1, 8)], 2.0)
    assert copy.deepcopy([teachers])[0] is teachers


def test_distance_is_none_from_oneself_and_its_gradient_keeps_its_size():
    torch.manual_seed(0)
    logits, other = torch.randn(5, 8), torch.randn(5, 8)
    assert float(distance(logits, soften(logits, 3.0), 3.0)) == pytest.approx(0, abs=1e-5)
    sizes = []
    for temperature in (10.0, 20.0):
        pupil = logits.clone().requires_grad_()
        distance(pupil, soften(other, temperature), temperature).backward()
        sizes.append(float(pupil.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_a_teacher_who_heard_who_is_scored_is_refused(images, teacher, tmp_path):
    run(images, tmp_path / "all", RECIPE, "all")
    with pytest.raises(
        ValueError, match="would leak: it was trained on ravdess-01, ravdess-09, who"
    ):
        run(images, tmp_path / "pupil", PUPIL, teachers=[teacher, tmp_path / "all"])
    # Nor may it have heard them through a teacher of its own, or through what it started from.
    metrics = run(images, tmp_path / "all2", PUPIL, "all", teachers=[tmp_path / "all"])
    assert metrics["inherited_speakers"] == []
    path = teacher / "metrics.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "inherited_speakers": ["ravdess-09"]}))
    with pytest.raises(ValueError, match=r"teacher: it would leak.* ravdess-09, who"):
        run(images, tmp_path / "pupil", PUPIL, teachers=[teacher])
    metrics = run(images, tmp_path / "started", replace(RECIPE, seed=4), start=tmp_path / "all")
    assert metrics["inherited_speakers"] == ["ravdess-01", "ravdess-09"]


def test_where_clips_are_divided_at_random_a_teacher_held_back_the_same(images, tmp_path):
    """Its speakers are those who are scored: that is what the leaky figure is there to show."""
    run(images, tmp_path / "teacher", RECIPE, "random")
    pupil = replace(PUPIL, seed=RECIPE.seed)
    metrics = run(
        images, tmp_path / "pupil", pupil, "random",
        teachers=[tmp_path / "teacher"], average=[tmp_path / "teacher"],
    )  # fmt: skip
    assert metrics["leaky"] is True
    assert metrics["teachers"] == metrics["averaged_with"] != []
    other = replace(PUPIL, seed=RECIPE.seed + 1)
    with pytest.raises(ValueError, match=r"teacher: it would leak: \d+ clips that this run is"):
        run(images, tmp_path / "other", other, "random", teachers=[tmp_path / "teacher"])


@pytest.mark.parametrize("fold", ["1", "all"])
def test_a_teacher_of_a_fold_is_none_for_clips_divided_at_random(images, tmp_path, fold):
    run(images, tmp_path / "teacher", RECIPE, fold)
    pupil = replace(PUPIL, seed=RECIPE.seed)
    with pytest.raises(ValueError, match="teacher: it would leak"):
        run(images, tmp_path / "pupil", pupil, "random", teachers=[tmp_path / "teacher"])


def test_a_teacher_of_clips_divided_at_random_is_none_for_a_fold(images, tmp_path):
    run(images, tmp_path / "teacher", RECIPE, "random")
    with pytest.raises(ValueError, match=r"teacher: it would leak: it was trained on .*ravdess-01"):
        run(images, tmp_path / "pupil", PUPIL, "1", teachers=[tmp_path / "teacher"])


def test_corpora_of_teachers_are_told(images, teacher, tmp_path):
    path = teacher / "metrics.json"
    values = json.loads(path.read_text())
    path.write_text(
        json.dumps(
            {
                **values,
                "corpora": ["crema-d", "ravdess"],
                "inherited_speakers": ["crema-d-1001"],
            }
        )
    )
    metrics = run(images, tmp_path / "pupil", PUPIL, teachers=[teacher])
    assert metrics["corpora"] == ["crema-d", "ravdess"]
    assert metrics["inherited_speakers"] == ["crema-d-1001"]
    assert metrics["speakers"]["train"] == ["ravdess-02", "ravdess-04"]


def test_wrong_combinations(images, teacher, tmp_path):
    def refused(message: str, recipe: Recipe = PUPIL, **more) -> None:
        with pytest.raises(ValueError, match=message):
            run(images, tmp_path / "pupil", recipe, **more)

    refused("distill is 0.5, but there is neither a teacher")
    refused("distill is 0, with a teacher it should be", RECIPE, teachers=[teacher])
    refused("only one of the two", teachers=[teacher], soft_targets=tmp_path / "t.csv")
    refused("config.yaml: No such file", teachers=[tmp_path / "none"])
    refused("t.csv: No such file", soft_targets=tmp_path / "t.csv")
    other = tmp_path / "wide"
    shutil.copytree(teacher, other)
    wide = replace(RECIPE, image=replace(SMALL, range_db=70.0))
    (other / "config.yaml").write_text(wide.to_yaml())
    refused("wide: as a teacher it reads mel images of", teachers=[other])
    (teacher / "metrics.json").write_text("{}")
    refused("as training writes it: corpora, speakers is missing", teachers=[teacher])
    assert fine_tuning_recipe(PUPIL, "mine").distill == 0
    for values in ({"distill": 1.5}, {"distill_temperature": 0.0}):
        with pytest.raises(ValueError, match="allowed: 0"):
            replace(RECIPE, **values)


def test_a_run_broken_off_goes_on_with_its_own_teachers_alone(images, teacher, tmp_path):
    out = tmp_path / "pupil"
    run(images, out, PUPIL, teachers=[teacher])
    weights = (out / "weights.safetensors").read_bytes()
    (out / "metrics.json").unlink()
    run(images, tmp_path / "other", replace(RECIPE, seed=5))
    with pytest.raises(ValueError, match="by other teachers"):
        run(images, out, PUPIL, teachers=[tmp_path / "other"], resume=True)
    run(images, out, PUPIL, teachers=[teacher], resume=True)
    assert (out / "weights.safetensors").read_bytes() == weights


def test_soft_targets_from_a_pretrained_network(images, sounds, tmp_path, here):
    out = tmp_path / "targets" / "fold1.csv"
    record = frozen_targets(TinyBundle(), "TINY", images, [sounds], out, "1", progress=False)
    assert record["speakers"]["train"] == ["ravdess-02", "ravdess-04"]
    assert record["teacher"]["parts"] == 2
    assert str(tmp_path) not in json.dumps(record["provenance"])
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == record["clips"] == 6
    assert {*EMOTIONS} < set(rows[0])

    config = tmp_path / "tiny.yaml"
    config.write_text(PUPIL.to_yaml())
    words = ["--config", config, "--accelerator", "cpu", "--quiet", "--targets", out]
    done = here("train.py", images, tmp_path / "pupil", "--fold", 1, *words)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "pupil" / "metrics.json").read_text())
    assert metrics["teachers"][0].startswith("fold1.csv ")
    assert metrics["history"][-1]["train_teacher_loss"] > 0

    done = here("train.py", images, tmp_path / "all", "--fold", "all", *words)
    assert done.returncode == 2
    assert "no targets for 6 of 12 training clips" in done.stderr
    frozen_targets(TinyBundle(), "TINY", images, [sounds], out, "all", progress=False)
    done = here("train.py", images, tmp_path / "leak", "--fold", 1, *words)
    assert done.returncode == 2
    assert "trained on ravdess-01, ravdess-09, who are held out" in done.stderr


def test_soft_targets_that_are_none(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match=r"t\.csv: its columns should be corpus, utterance, neut"):
        read_soft_targets(path)
    path.write_text(f"corpus,utterance,{','.join(EMOTIONS)}\nravdess,x,1,2\n")
    with pytest.raises(ValueError, match=r"t\.csv: line 2"):
        read_soft_targets(path)
    path.write_text(f"corpus,utterance,{','.join(EMOTIONS)}\n")
    with pytest.raises(ValueError, match=r"t\.json: No such file"):
        read_soft_targets(path)


def test_a_head_does_not_know_the_speaker_whose_clips_it_scores():
    """Features that tell the clip, not the emotion: by heart all is right, cross-fitted little."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(80, 100, generator=generator)
    labels = torch.arange(80) % 8
    speakers = [f"s{i // 8}" for i in range(80)]
    by_heart = fit_head(features, labels, 1e-3)(features)
    apart = cross_fitted(features, labels, speakers, 1e-3, 10)
    assert float((by_heart.argmax(1) == labels).float().mean()) == 1.0
    assert float((apart.argmax(1) == labels).float().mean()) < 0.35
    # And what all speakers share, it does learn.
    features = features[:, :20]
    features[:, :8] += 4 * torch.eye(8)[labels]
    apart = cross_fitted(features, labels, speakers, 1e-2, 10)
    assert float((apart.argmax(1) == labels).float().mean()) > 0.9
    with pytest.raises(ValueError, match="1 training speaker"):
        cross_fitted(features, labels, ["one"] * 80, 1e-2, 10)


def test_features_of_layers_and_lengths():
    bundle = TinyBundle()
    net = load_bundle(bundle, "TINY")
    sounds = [(torch.randn(n) * 3000).to(torch.int16).numpy() for n in (100, 16_000)]
    one, two, mean = (clip_features(net, 8000, sounds, 16_000, n) for n in ("1", "2", "mean"))
    assert one.shape == mean.shape == (2, 16)
    assert not torch.allclose(one, two)
    assert not torch.allclose(one, mean)
    assert torch.equal(one, clip_features(net, 8000, sounds, 16_000, "1"))
    for layer, message in (
        ("9", "layer is 9, the network has fewer"),
        ("0", "layer is '0', allowed: mean, or a number from 1 up"),
    ):
        with pytest.raises(ValueError, match=message):
            clip_features(net, 8000, sounds, 16_000, layer)


def test_bundles_that_cannot_be_had(images, sounds, tmp_path, here):
    pytest.importorskip("torchaudio", reason=NO_TORCHAUDIO)
    with pytest.raises(
        ValueError,
        match=r"TINY cannot be downloaded .*no network.* fetch https://"
        r"download.pytorch.org/torchaudio/models/tiny.pth, .* tiny.pth in .*check",
    ):
        load_bundle(Offline(), "TINY")  # fmt: skip
    assert find_bundle("HUBERT_BASE").sample_rate == 16_000
    done = here("teach.py", "HUGE", images, sounds, tmp_path / "t.csv", "--fold", 1)
    assert done.returncode == 2
    assert "bundle is 'HUGE', allowed: HUBERT_ASR_LARGE" in done.stderr
    with pytest.raises(ValueError, match=r"ends in \.csv"):
        frozen_targets(TinyBundle(), "TINY", images, [sounds], tmp_path / "t", "1", progress=False)
    with pytest.raises(ValueError, match="parts is 1, allowed: 2 or more"):
        HeadOptions(parts=1)
