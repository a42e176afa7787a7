"""Fine-tuning of networks pretrained on speech, with tiny ones of random weights."""

from __future__ import annotations

import csv
import json
import urllib.error
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from conftest import ROOT, SMALL, speechlike
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.config.ssl import SSLRecipe, is_ssl_recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.datasets import AllSoundWindows, EpochBatches, load_clips, load_sounds
from ser_edge.data.render import read_index, render
from ser_edge.evaluation import crossval
from ser_edge.mel.image import mel_image
from ser_edge.nets.ssl import SpeechNet, build_speech_net
from ser_edge.nets.ssl_bundles import find_bundle, normalizes, untrained
from ser_edge.runs.inference import load_speech_net
from ser_edge.runs.record import read_run
from ser_edge.teachers.finetuned import finetuned_targets
from ser_edge.training import fit as training
from ser_edge.training.ssl_module import SSLModule

pytest.importorskip("torchaudio", reason="the extra speech-encoders is not installed")

BUNDLES = ("RANDOM_WAV2VEC2", "RANDOM_WAVLM")
CPU = Hardware("cpu")
RECIPE = SSLRecipe(
    name="tiny", bundle="RANDOM_WAV2VEC2", epochs=3, frozen_epochs=1, batch_size=4, lr=0.01,
    head_lr=0.01, encoder_lr=1e-3, precision="32-true", image=SMALL,
)  # fmt: skip


def speech_net(bundle: str, **changes) -> SpeechNet:
    recipe = replace(RECIPE, bundle=bundle, dropout=0.0, **changes)
    return build_speech_net(recipe, find_bundle(bundle), pretrained=True).eval()


def voices(*seconds: float) -> list[torch.Tensor]:
    return [torch.from_numpy(speechlike(s, 16_000, seed=n)) for n, s in enumerate(seconds)]


@pytest.fixture
def sounds(make_ravdess) -> Path:
    """Actors of fold 1's test (1), validation (9) and two others, in three emotions."""
    return make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))


@pytest.fixture
def images(sounds, tmp_path) -> Path:
    scan = CORPORA["ravdess"].scan(sounds)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


@pytest.fixture
def run(images, sounds, tmp_path):
    """``run(name, recipe, ...)`` -> folder of a run of fold 1."""

    def make(name: str, recipe: SSLRecipe = RECIPE, fold: str = "1", **more) -> Path:
        left_out = more.pop("without", frozenset())
        sources = training.Sources(images, sounds=[sounds], without=left_out)
        more = {"hardware": CPU, "progress": False, **more}
        return training.fit(sources, tmp_path / name, recipe, fold, **more).folder

    return make


# ------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize("bundle", BUNDLES)
def test_features_are_torchaudios(bundle):
    net = speech_net(bundle)
    (voice,) = voices(1.0)
    waveform = functional.layer_norm(voice, voice.shape) if net._normalize else voice
    layers = net.encoder.extract_features(waveform[None])[0]
    expected = torch.stack([functional.layer_norm(x.mean(dim=1), (32,)) for x in layers], dim=1)
    with torch.no_grad():
        pooled = net.pooled(voice[None])
    assert pooled.shape == (1, net.layers + 1, 32)
    torch.testing.assert_close(pooled[:, 1:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_neither_padding_nor_company_changes_what_is_heard(bundle):
    net = speech_net(bundle)
    first, second = voices(1.0, 0.4)
    rows = torch.zeros(4, 40_000)
    rows[0, : first.numel()] = first
    rows[1, 3200 : 3200 + first.numel()] = first  # a whole number of steps of the convolutions
    rows[2, : second.numel()] = 3 * second
    with torch.no_grad():
        alone = torch.cat([net(first[None]), net(3 * second[None])])
        together = net(rows)
    torch.testing.assert_close(together[[0, 1, 2]], alone[[0, 0, 1]], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-3)
    assert together.isfinite().all()  # the last is silence
    assert net.layer_weights == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize(("top", "trained"), [(None, ()), (1, (2,)), (2, (1, 2)), (0, (0, 1, 2))])
def test_what_learns_in_each_stage(bundle, top, trained):
    net = speech_net(bundle).train()
    if top is not None:
        net.unfreeze(top)
    functional.cross_entropy(net(torch.stack(voices(0.5, 0.5))), torch.tensor([1, 2])).backward()
    learnt = {name for name, p in net.named_parameters() if p.grad is not None}
    layers = net.encoder.encoder.transformer.layers
    assert {"weigh", "classify.weight", "classify.bias"} <= learnt
    assert not any("feature_extractor" in name for name in learnt)
    for number, layer in enumerate(layers):
        below = f"encoder.encoder.transformer.layers.{number}."
        assert any(name.startswith(below) for name in learnt) == (number in trained)
        assert layer.training == (number in trained)
    assert any("feature_projection" in name for name in learnt) == (top == 0)
    assert learnt - {"weigh", "classify.weight", "classify.bias"} <= {
        name for name, p in net.named_parameters() if any(p is q for q in net.top(top or 0))
    }
    net.freeze()
    assert [p.requires_grad for p in net.encoder.parameters()].count(True) == 0


@pytest.mark.parametrize("bundle", BUNDLES)
def test_checkpointing_changes_no_gradient(bundle):
    """Also with dropout, whose draws are made again, and with padding."""
    rows = torch.stack([functional.pad(v, (0, 8000 - v.numel())) for v in voices(0.5, 0.3)])
    gradients = []
    for again in (False, True):
        torch.manual_seed(3)
        net = speech_net(bundle, gradient_checkpointing=again).train()
        nn.init.ones_(net.classify.weight[:4])
        net.unfreeze(0)
        torch.manual_seed(5)
        functional.cross_entropy(net(rows), torch.tensor([0, 6])).backward()
        gradients.append([p.grad for p in net.top(0) if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 20
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)
    assert max(float(g.abs().max()) for g in gradients[0]) > 0


@pytest.mark.parametrize("name", ["WAV2VEC2_XLSR53", "WAVLM_LARGE", "WAVLM_BASE_PLUS"])
def test_the_real_networks_can_be_built_without_their_weights(name):
    bundle = find_bundle(name)
    with torch.device("meta"):  # their shapes alone
        net = SpeechNet(untrained(bundle), normalize=normalizes(bundle))
    large = "BASE" not in name
    assert net.layers == (24 if large else 12)
    assert net.classify.in_features == (1024 if large else 768)
    assert normalizes(bundle) == large
    assert sum(p.numel() for p in net.parameters()) > (300e6 if large else 90e6)


# --------------------------------------------------------------------------------------- the data


def test_windows_are_those_of_the_pictures(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(1,), emotions=(1,), seconds=8.3)
    make_ravdess(actors=(2,), emotions=(1,), seconds=2.0)
    render(CORPORA["ravdess"].scan(corpus).utterances, tmp_path / "i", SMALL, workers=1)
    clips = load_clips(tmp_path / "i", read_index(tmp_path / "i")[1], SMALL)
    heard = load_sounds([corpus], clips, SMALL)
    windows = AllSoundWindows(clips, heard, SMALL)
    assert len(windows) == 4
    for window, picture in zip(windows, (p for c in clips for p in c.images), strict=True):
        found = mel_image(window.numpy(), SMALL)
        assert np.mean(np.abs(found.astype(int) - picture) > 1) < 0.01  # 16 bits round silence
    with pytest.raises(ValueError, match="has 1 windows, its rendering 3: it was made of another"):
        AllSoundWindows(clips, heard[::-1], SMALL)


def test_pieces_are_the_batches():
    whole = EpochBatches(10, 4, seed=1)
    parts = EpochBatches(10, 4, seed=1, parts=2)
    for epoch in (0, 1):
        whole.set_epoch(epoch)
        parts.set_epoch(epoch)
        found = list(parts)
        assert [len(part) for part in found] == [2] * len(parts) == [2] * 4
        assert [a + b for a, b in zip(found[::2], found[1::2], strict=True)] == list(whole)


def test_pieces_change_nothing(run):
    """Where nothing is dropped; what is drawn for a whole batch is not what is for its parts."""
    recipe = replace(RECIPE, frozen_epochs=3, dropout=0.0, gradient_clip_val=0.5)
    weights = [
        load_file(
            run(f"p{pieces}", replace(recipe, accumulate_grad_batches=pieces))
            / "weights.safetensors"
        )
        for pieces in (1, 4)
    ]
    for name in ("weigh", "classify.weight"):
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------- the runs


def test_learning_rates_of_the_stages():
    net = speech_net("RANDOM_WAVLM")
    recipe = replace(
        RECIPE, epochs=10, frozen_epochs=4, lr=0.1, head_lr=0.02, encoder_lr=0.003, warmup=0.25
    )
    module = SSLModule(recipe, net, (), torch.ones(8), "", sound=None)  # type: ignore[arg-type]
    module._trainer = SimpleNamespace(estimated_stepping_batches=100)  # type: ignore[assignment]
    made = module.configure_optimizers()
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(100):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    head, _, encoder, _ = np.array(rates).T
    assert (encoder[:40] == 0).all()
    assert head[:40].max() == pytest.approx(0.1)
    assert head[40:].max() == pytest.approx(0.02)
    assert encoder[40:].max() == pytest.approx(0.003)
    for rate in (head[:40], head[40:], encoder[40:]):
        assert rate[0] < 0.2 * rate.max()
        assert rate[-1] < 0.02 * rate.max()
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(map(id, held))) == len([*net.head(), *net.top(0)])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_transformer_learns_in_the_second_stage_alone(run, bundle):
    start = find_bundle(bundle).get_model().state_dict()

    def changed(folder: Path) -> set[str]:
        weights = load_file(folder / "weights.safetensors")
        return {n for n, v in start.items() if not torch.equal(weights[f"encoder.{n}"], v)}

    recipe = replace(RECIPE, bundle=bundle)
    assert changed(run("frozen", replace(recipe, frozen_epochs=3))) == set()
    learnt = changed(run("both", recipe))
    assert any("layers.0." in name for name in learnt)
    assert not any("feature_extractor" in name for name in learnt)
    learnt = changed(run("top", replace(recipe, top_layers=1, frozen_epochs=0)))
    assert learnt
    assert all("layers.2." in name for name in learnt)


def test_it_learns_and_says_so_of_voices_that_it_never_heard(tmp_path):
    """Emotions that even random features tell: hisses, dull and sharp."""
    corpus = tmp_path / "corpus"
    for actor in (1, 2, 4, 5, 6, 9):
        (corpus / f"Actor_{actor:02d}").mkdir(parents=True)
        for emotion in (1, 5):
            random = np.random.default_rng([actor, emotion])
            hiss = random.standard_normal(16_000)
            hiss = np.convolve(hiss, np.ones(16) / 4, "same") if emotion == 1 else np.diff(hiss)
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(corpus / f"Actor_{actor:02d}" / name, 0.1 * hiss, 16_000)
    render(CORPORA["ravdess"].scan(corpus).utterances, tmp_path / "i", SMALL, workers=1)
    recipe = replace(RECIPE, epochs=12, frozen_epochs=8, lr=0.1)
    sources = training.Sources(tmp_path / "i", sounds=[corpus])
    result = training.fit(sources, tmp_path / "run", recipe, "1", hardware=CPU, progress=False)
    assert result.figures["test"]["uar"] == 1.0
    losses = [
        e["train_loss"] for e in json.loads((tmp_path / "run/metrics.json").read_text())["history"]
    ]
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_run_broken_off_in_either_stage_goes_on_as_never_broken(run, monkeypatch, epoch):
    recipe = replace(RECIPE, sound=SoundStrengths(noise=0.5, gain=6.0), ema=0.5)
    whole = (run("whole", recipe) / "weights.safetensors").read_bytes()
    real = SSLModule.loss

    def killed(self, batch):
        if self.current_epoch == epoch:
            raise KeyError("power cut")
        return real(self, batch)

    monkeypatch.setattr(SSLModule, "loss", killed)
    with pytest.raises(KeyError):
        run("broken", recipe)
    monkeypatch.setattr(SSLModule, "loss", real)
    if epoch:
        with pytest.raises(ValueError, match="--resume resumes it"):
            run("broken", recipe)
        with pytest.raises(ValueError, match="its unfinished run has other encoder_lr"):
            run("broken", replace(recipe, encoder_lr=1e-4), resume=True)
    folder = run("broken", recipe, resume=True)
    assert (folder / "weights.safetensors").read_bytes() == whole
    assert len(read_run(folder, "1").history) == 3
    assert not (folder / "checkpoints" / "last.ckpt").exists()
    with pytest.raises(ValueError, match="a finished run lies there"):
        run("broken", recipe, resume=True)


def test_one_seed_gives_the_same_and_mixed_precision_other_weights(run):
    recipe = replace(RECIPE, gradient_checkpointing=True, accumulate_grad_batches=2)
    found = [
        (run(name, changed) / "weights.safetensors").read_bytes()
        for name, changed in (
            ("a", recipe),
            ("b", recipe),
            ("c", replace(recipe, seed=2)),
            ("d", replace(recipe, precision="bf16-mixed")),
        )
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_run_is_as_any_other(run, images, tmp_path):
    """The same clips and speakers as a network of pictures has, its weights give its logits."""
    folder = run("speech")
    small = Recipe(
        width=0.25, epochs=1, batch_size=4, freq_mask=2, time_mask=10, precision="32-true",
        image=SMALL,
    )  # fmt: skip
    training.fit(
        training.Sources(images), tmp_path / "cnn", small, "1", hardware=CPU, progress=False
    )
    speech, pictures = read_run(folder, "1"), read_run(tmp_path / "cnn", "1")
    assert speech.speakers == pictures.speakers
    assert speech.training_clips == pictures.training_clips
    assert [(p.part, p.utterance, p.emotion) for p in speech.predictions] == [
        (p.part, p.utterance, p.emotion) for p in pictures.predictions
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["started_from"] == "RANDOM_WAV2VEC2"
    assert sum(metrics["layer_weights"]) == pytest.approx(1, abs=1e-3)
    assert all(np.isfinite(e["validation_nll"]) for e in metrics["history"])

    recipe, net = load_speech_net(folder)
    assert recipe == RECIPE
    clips = load_clips(
        images, [r for r in read_index(images)[1] if r.speaker == "ravdess-01"], SMALL
    )
    windows = AllSoundWindows(clips, load_sounds([tmp_path / "corpus"], clips, SMALL), SMALL)
    (batch,) = DataLoader(windows, len(windows))
    with torch.no_grad():
        said = net(batch).numpy()
    np.testing.assert_allclose(said, [p.logits for p in speech.part("test")], atol=1e-4)


def test_an_evaluation_from_the_command_line(images, sounds, run, tmp_path, here):
    config = tmp_path / "tiny.yaml"
    config.write_text(RECIPE.to_yaml())
    words = (images, tmp_path / "runs", "--sounds", sounds, "--config", config)
    words = (*words, "--accelerator", "cpu", "--quiet", "--folds", 1)
    done = here("finetune_speech.py", *words, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert "mean UAR" in done.stdout
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "RANDOM_WAV2VEC2" in page
    assert "the network was given the waveform" in page
    assert SSLRecipe.read(tmp_path / "runs" / "fold-1" / "config.yaml") == replace(RECIPE, epochs=2)
    weights = tmp_path / "runs" / "fold-1" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    done = here("finetune_speech.py", *words, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert weights.stat().st_mtime_ns == before  # finished, not run again
    done = here("finetune_speech.py", *words)
    assert done.returncode == 2
    assert "its recipe has epochs 2 (asked for: 3)" in done.stderr

    nemo = tmp_path / "nemo"
    for number, name in enumerate(("EB0_anger_1", "EB0_sadness_1", "WR0_anger_2")):
        nemo.mkdir(exist_ok=True)
        soundfile.write(nemo / f"{name}.wav", speechlike(1.0, 16_000, number), 16_000)
    render(CORPORA["nemo"].scan(nemo).utterances, tmp_path / "others", SMALL, workers=1)
    words = ("--corpus", tmp_path / "others", "-m", tmp_path / "runs", "--quiet")
    done = here("evaluate.py", *words, "--sounds", nemo)
    assert done.returncode == 0, done.stderr
    assert "nemo" in done.stdout
    done = here("evaluate.py", *words)
    assert done.returncode == 2
    assert "no folder of sounds: no recording of 3 of 3 clips" in done.stderr

    done = here("evaluate.py", "--compare", tmp_path / "runs", run("other"))
    assert done.returncode == 0, done.stderr
    assert "UAR" in done.stdout


def test_one_run_from_the_command_line(images, sounds, tmp_path, here):
    words = ["--bundle", "RANDOM_WAVLM", "--epochs", 1, "--frozen-epochs", 0, "--batch-size", 4]
    words += ["--n-fft", 512, "--win-length", 400, "--hop-length", 400, "--n-mels", 16, "--quiet"]
    words += ["--sounds", sounds, "--accelerator", "cpu"]
    done = here("finetune_speech.py", images, tmp_path / "all", "--fold", "all", *words)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "all" / "metrics.json").read_text())
    assert metrics["fold"] == "all"
    assert len(metrics["speakers"]["train"]) == 4
    assert metrics["figures"] == {}


# ---------------------------------------------------------------------------------------- teaching


def test_a_run_teaches_a_network_of_pictures(run, images, sounds, tmp_path, here):
    folder = run("speech")
    out = tmp_path / "targets" / "fold1.csv"
    done = here("teach.py", folder, images, sounds, out, "--fold", 1, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "targets of 6 clips" in done.stdout
    assert "on training speakers that it was trained on" in done.stdout
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["speakers"]["train"] == ["ravdess-02", "ravdess-04"]
    assert record["teacher"]["run"].startswith("speech ")

    small = Recipe(
        width=0.25, epochs=1, batch_size=4, freq_mask=2, time_mask=10, distill=0.5,
        precision="32-true", image=SMALL,
    )  # fmt: skip
    (tmp_path / "pupil.yaml").write_text(small.to_yaml())
    words = ["--config", tmp_path / "pupil.yaml", "--accelerator", "cpu", "--quiet"]
    pupil = tmp_path / "pupil"
    done = here("train.py", images, pupil, "--fold", 1, "--targets", out, *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((pupil / "metrics.json").read_text())["teachers"][0].startswith("fold1.csv ")

    finetuned_targets(
        run("all", fold="all"), images, [sounds], out, "all", hardware=CPU, progress=False
    )
    done = here("train.py", images, tmp_path / "leak", "--fold", 1, "--targets", out, *words)
    assert done.returncode == 2
    assert "trained on ravdess-01, ravdess-09, who are held out" in done.stderr


def test_parts_speak_of_whom_they_have_not_heard(run, images, sounds, tmp_path):
    folder = run("speech")

    def teach(name: str, parts: int) -> dict:
        return finetuned_targets(
            folder,
            images,
            [sounds],
            tmp_path / name,
            "1",
            parts=parts,
            hardware=CPU,
            progress=False,
        )

    record = teach("t.csv", 2)
    assert record["speakers"]["train"] == ["ravdess-02", "ravdess-04"]
    assert len(record["teacher"]["networks"]) == 2
    by_part = {
        path.parent.name: json.loads(path.read_text())["speakers"]["train"]
        for path in folder.glob("parts-2/*/metrics.json")
    }
    assert by_part == {"part-1": ["ravdess-04"], "part-2": ["ravdess-02"]}
    with open(tmp_path / "t.csv", newline="") as file:
        rows = {row["utterance"]: row for row in csv.DictReader(file)}
    part = load_speech_net(folder / "parts-2" / "part-2")[1]
    waveform = torch.from_numpy(
        soundfile.read(sounds / "Actor_04/03-01-05-01-01-01-04.wav", dtype="float32")[0]
    )
    with torch.no_grad():
        said = part(waveform[None])[0]
    assert float(rows["03-01-05-01-01-01-04"]["angry"]) == pytest.approx(float(said[4]), abs=1e-3)

    # Finished parts are not made again, and one that heard whom it is to speak of is refused.
    mine = folder / "parts-2" / "part-1" / "metrics.json"
    mine.write_text(mine.read_text().replace("ravdess-04", "ravdess-02"))
    with pytest.raises(ValueError, match="part-1: it was trained on ravdess-02, whom"):
        teach("t.csv", 2)
    with pytest.raises(ValueError, match="parts is 3, there are 2 training speakers"):
        teach("t.csv", 3)
    with pytest.raises(ValueError, match="parts is 0, allowed: 1 or more"):
        teach("t.csv", 0)
    with pytest.raises(ValueError, match=r"ends in \.csv"):
        teach("t.txt", 1)


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen_epochs": 4}, "frozen_epochs is 4, allowed: 0 to epochs"),
        (
            {"accumulate_grad_batches": 3},
            "allowed: 1 or more, and a divisor of batch_size",
        ),
        ({"batch_size": 5}, "batch_size is 5, allowed: an even number"),
        ({"encoder_lr": 0.0}, "encoder_lr is 0.0, allowed: above 0"),
        ({"gradient_clip_val": 0.0}, "gradient_clip_val is 0.0, allowed: above 0"),
        ({"precision": "half"}, "precision is 'half', allowed: auto, 32-true"),
        ({"name": "a b"}, "name is 'a b', allowed: letters"),
    ],
)
def test_values_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPE, **changes)


def test_what_does_not_fit_is_named(run, images, sounds, tmp_path, monkeypatch, here):
    with pytest.raises(
        ValueError, match=r"bundle is 'HUGE', allowed: HUBERT_ASR_LARGE.*RANDOM_WAV"
    ):
        run("a", replace(RECIPE, bundle="HUGE"))
    with pytest.raises(ValueError, match="top_layers is 9, RANDOM_WAV2VEC2 has 3 layers"):
        run("a", replace(RECIPE, top_layers=9))
    with pytest.raises(ValueError, match="is fine-tuned on one device"):
        run("a", hardware=Hardware("cpu", "2"))
    other = replace(RECIPE, image=replace(SMALL, range_db=70.0))
    with pytest.raises(ValueError, match=r"rendered as .* the recipe wants"):
        run("a", other)
    with pytest.raises(ValueError, match="takes 16000 Hz, the recipe's windows have 8000 Hz"):
        build_speech_net(
            replace(RECIPE, image=replace(SMALL, sample_rate=8000, f_max=4000.0)),
            find_bundle("RANDOM_WAVLM"),
            pretrained=False,
        )
    with pytest.raises(ValueError, match=r"no clip of speech to train on \(left out: 2 speakers\)"):
        run("a", without=frozenset({"ravdess-02", "ravdess-04"}))
    with pytest.raises(ValueError, match="the edge app runs image networks"):
        crossval.gather(images, tmp_path / "g", RECIPE, lambda *_: None, classifier=lambda *_: None)  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    done = here("finetune_speech.py", images, tmp_path / "x", "--sounds", tmp_path / "empty")
    assert done.returncode == 2
    assert "rendered as" in done.stderr

    def offline(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchaudio.pipelines._wav2vec2.utils._get_model", lambda *_: nn.Identity())
    with pytest.raises(ValueError, match=r"XLSR53 cannot be downloaded .*large_xlsr53\.pth"):
        run("b", replace(RECIPE, bundle="WAV2VEC2_XLSR53"))
    assert not (tmp_path / "b" / "config.yaml").exists()


def test_a_damaged_run_is_named(run):
    folder = run("speech", replace(RECIPE, epochs=1))
    (folder / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="these are not the weights of RANDOM_WAV2VEC2"):
        load_speech_net(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"weights\.safetensors: No such file"):
        load_speech_net(folder)


@pytest.mark.parametrize("name", ["xlsr53", "wavlm"])
def test_the_recipes_of_the_house_name_bundles_that_there_are(name):
    path = ROOT / "configs" / f"{name}.yaml"
    assert is_ssl_recipe(path)
    recipe = SSLRecipe.read(path)
    assert recipe.image == Recipe().image
    assert find_bundle(recipe.bundle).sample_rate == recipe.image.sample_rate
    assert not is_ssl_recipe(ROOT / "configs" / "plain.yaml")
