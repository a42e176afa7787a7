"""INT8 on a network that plain INT8 ruins by design, and what is told of its layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import SMALL
from edge_app.inference.model_store import read_manifest
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.datasets import Clip, load_clips
from ser_edge.data.render import read_index, render
from ser_edge.export import convert, quantize
from ser_edge.export.convert import ExportDriftError
from ser_edge.export.quantize import Layer

ACTORS = (1, 2, 4, 9)
OUTLIER = "/net/second/Conv/WithoutBiases"
"""The layer whose input plain INT8 ruins."""


class Net(nn.Module):
    """Three convolutions and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, (1, 2))
        self.second = nn.Conv2d(8, 8, 3, (1, 2))
        self.third = nn.Conv2d(8, 8, 3, (1, 2))
        self.classify = nn.Linear(8 * (SMALL.n_mels - 6), 8)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.second(torch.relu(self.first(image / 255))))
        return torch.relu(self.third(x)).mean(dim=3).flatten(1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classify(self.features(image))


@torch.no_grad()
def make_net(clips: list[Clip], *, outlier: float | None, logit: float = 8) -> Net:
    """A network fitted to the clips; with ``outlier``, one channel of its first layer is that loud.

    The next layer does not listen to that channel, so the answers are the same. But the 256 steps
    of INT8 span the loudest channel: at 3000 all others fall into one step, at 30 into a few.
    ``logit`` is what it is fitted to give the right emotion; small ones leave room between scores.
    """
    torch.manual_seed(1)
    net = Net().eval()
    for layer in (net.first, net.second, net.third):
        nn.init.kaiming_normal_(layer.weight)
    net.second.weight[:, 0] = 0
    if outlier is not None:
        net.first.weight[0] *= outlier
        net.first.bias[0] = outlier
    features = net.features(torch.tensor(np.stack([c.images[0] for c in clips]))[:, None].float())
    middle = features.mean(dim=0)
    x = (features - middle).double()
    y = logit * nn.functional.one_hot(torch.tensor([c.emotion for c in clips]), 8).double()
    ridge = 1e-2 * x.square().sum() * torch.eye(x.shape[1])
    net.classify.weight[:] = torch.linalg.solve(x.T @ x + ridge, x.T @ (y - y.mean(dim=0))).T
    net.classify.bias[:] = y.mean(dim=0) - net.classify.weight @ middle
    return net


def tone(emotion: int, actor: int) -> np.ndarray:
    """Emotions that are told apart by pitch."""
    t = np.arange(19_200) / 16_000
    noise = np.random.default_rng(10 * actor + emotion).standard_normal(t.size)
    wave = np.sin(2 * np.pi * ({1: 300, 4: 1200, 5: 4000}[emotion] + 20 * actor) * t) + 0.01 * noise
    return (0.3 * wave).astype(np.float32)


@dataclass(frozen=True)
class Exported:
    """What an export said, left and raised."""

    lines: list[str]
    folder: Path
    error: Exception | None = None

    def layers(self) -> str:
        return (self.folder / "tiny" / "INT8" / "layers.md").read_text()

    def stayed_fp(self) -> set[str]:
        return {
            row.split("`")[1] for row in self.layers().splitlines() if row.startswith("| `/")
            and "**FP**" in row
        }  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of twelve clips, and a model folder that allows actors 1, 2 and 4."""
    import soundfile

    folder = tmp_path_factory.mktemp("quantization")
    (folder / "corpus").mkdir()
    for actor in ACTORS:
        for emotion in (1, 4, 5):
            path = folder / "corpus" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(path, tone(emotion, actor), 16_000)
    scan = CORPORA["ravdess"].scan(folder / "corpus")
    render(scan.utterances, folder / "images", SMALL, workers=1, progress=False)
    model = folder / "models" / "tiny"
    model.mkdir(parents=True)
    (model / "weights.safetensors").write_bytes(b"of the network that the test puts there")
    speakers = {"train": [1, 2], "validation": [4], "test": [9]}
    metrics = {
        "speakers": {part: [f"ravdess-{a:02d}" for a in found] for part, found in speakers.items()},
        "corpora": ["ravdess"],
        "calibration": {"temperature": 1.0, "threshold": 0.3},
        "summary": {"uar_mean": 0.5},
    }
    (model / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture(scope="module")
def clips(place: Path) -> list[Clip]:
    spec, rows = read_index(place / "images")
    return load_clips(place / "images", rows, spec)


def run(
    place: Path,
    clips: list[Clip],
    out: Path,
    *,
    outlier: float | None = None,
    logit: float = 8,
    **options: Any,
) -> Exported:
    """The export, of a network made for the clips."""
    recipe, net = Recipe(name="tiny", image=SMALL), make_net(clips, outlier=outlier, logit=logit)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "load_net", lambda folder: (recipe, net))
        try:
            convert.export(
                place / "models" / "tiny", place / "images", out, progress=lines.append, **options
            )
        except (ExportDriftError, ValueError) as error:
            return Exported(lines, out, error)
    return Exported(lines, out)


@pytest.fixture(scope="module")
def controlled(
    place: Path, clips: list[Clip], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    return run(place, clips, tmp_path_factory.mktemp("ir"), outlier=3000, max_drop=0.05)


def test_plain_int8_that_loses_more_is_refused(place, clips, tmp_path):
    done = run(place, clips, tmp_path, outlier=3000, int8="plain")
    assert isinstance(done.error, ExportDriftError)
    assert "IR INT8 beside IR FP16" in str(done.error)
    assert "at most 0.0100 may be lost. Farthest off: 03-01-" in str(done.error)
    assert list(tmp_path.iterdir()) == []


def test_auto_then_puts_the_guilty_layer_back_and_names_it(controlled):
    assert controlled.error is None
    assert controlled.stayed_fp() == {OUTLIER}
    assert f"1 stayed FP, put back by accuracy control: {OUTLIER}" in controlled.layers()
    text = "\n".join(controlled.lines)
    assert "plain INT8 loses 0.6667 of UAR or score on 9 clips" in text
    assert "IR INT8 with accuracy control beside IR FP16: same label on 100.00%" in text
    assert "4 of 5 layers INT8, 41.3% of the multiply-adds; 1 stayed FP" in text


def test_its_ir_is_what_the_edge_reads_and_the_table_tells(controlled):
    import openvino

    xml = controlled.folder / "tiny" / "INT8" / "tiny.xml"
    assert read_manifest(xml).precision == "INT8"
    convert.check_old_runtime(xml)
    model = openvino.Core().read_model(xml)
    found = quantize.layers(model, model)
    # Alone, the IR tells what is FP but no longer why.
    assert {(layer.name, layer.why) for layer in found if not layer.int8} == {
        (OUTLIER, "not quantised by NNCF")
    }
    assert all(f"| `{layer.name}` | {layer.kind} |" in controlled.layers() for layer in found)


@pytest.fixture(scope="module")
def healthy(place: Path, clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return run(place, clips, tmp_path_factory.mktemp("ir"))


def test_auto_leaves_it_at_plain_where_that_loses_nothing(healthy):
    assert healthy.error is None
    assert not any("accuracy control" in line for line in healthy.lines)
    assert "5 of 5 layers INT8, 100.0% of the multiply-adds" in healthy.lines
    assert healthy.stayed_fp() == set()


def test_accuracy_control_sees_scores_suffer_where_uar_is_saturated(place, clips, tmp_path):
    """By the network, not by the processor: without VNNI further layers may be put back."""
    done = run(place, clips, tmp_path, outlier=30, logit=3, int8="accuracy-control")
    assert done.error is None
    plain = next(line for line in done.lines if line.startswith("IR INT8 beside IR FP16"))
    assert plain.endswith("UAR 1.0000 (+0.0000)")
    assert OUTLIER in done.stayed_fp()


def test_an_int8_ir_without_int8_is_none_and_no_test_speaker_chooses(
    place, clips, tmp_path, monkeypatch
):
    calls = []

    def give_up(model, images, chosen_by, max_drop, temperature):
        calls.append((len(images), {clip.speaker for clip in chosen_by}, max_drop, temperature))
        return model

    monkeypatch.setattr(convert, "quantize_with_accuracy_control", give_up)
    done = run(place, clips, tmp_path, outlier=3000)
    assert calls == [(6, {"ravdess-01", "ravdess-02", "ravdess-04"}, 0.01, 1.0)]
    assert "5 stayed FP, put back by accuracy control" in done.lines[-1]
    assert "no layer stays INT8 where at most 0.0100 may be lost" in str(done.error)
    assert list(tmp_path.iterdir()) == []


def test_what_a_test_speaker_suffers_is_drift_but_no_reason_to_choose(
    place, clips, tmp_path, monkeypatch
):
    scored = convert._scored

    def spoilt(name, logits, clips):
        if name == "IR INT8":
            test = [clip.speaker == "ravdess-09" for clip in clips for _ in clip.rows]
            logits = np.where(np.array(test)[:, None], -logits, logits)
        return scored(name, logits, clips)

    monkeypatch.setattr(convert, "_scored", spoilt)
    done = run(place, clips, tmp_path)
    assert isinstance(done.error, ExportDriftError)
    assert not any("accuracy control" in line for line in done.lines)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"int8": "half"}, "int8 is 'half', allowed: auto, plain, accuracy-control"),
        ({"max_drop": 1.5}, "max_drop is 1.5, allowed: 0 to 1"),
        ({"max_drop": float("nan")}, "max_drop is nan, allowed: 0 to 1"),
    ],
)
def test_options_that_are_not_allowed(place, clips, tmp_path, options, message):
    assert str(run(place, clips, tmp_path, **options).error) == message


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {"int8": "auto", "max_drop": convert.UAR_LOSS}),
        (["--int8", "plain", "--max-drop", "0.02"], {"int8": "plain", "max_drop": 0.02}),
    ],
)
def test_the_command_passes_its_options_on(here, monkeypatch, words, options):
    passed = []
    monkeypatch.setattr(convert, "export", lambda *_, **found: passed.append(found))
    assert here("export", "tiny", *words).returncode == 0
    assert passed == [options]


def test_the_command_knows_every_way_to_int8(here):
    message = here("export", "tiny", "--int8", "half").stderr
    assert all(mode in message for mode in quantize.INT8_MODES)


SURE, LESS_SURE, WRONG = [4.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.1, 0.0]


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ([SURE, SURE], [SURE, SURE], 0.0),
        ([SURE, SURE], [LESS_SURE, LESS_SURE], 0.1778),  # same labels: the score tells
        ([LESS_SURE, SURE], [WRONG, SURE], 0.5),  # a label in two: more than the score lost
        ([LESS_SURE, LESS_SURE], [SURE, SURE], 0.0),  # hits are the same, scores better
        ([WRONG, WRONG], [SURE, SURE], -0.6422),
    ],
)
def test_the_loss_is_the_greater_of_uar_and_score(before, after, lost):
    truth = np.zeros(2, dtype=np.int64)
    found = quantize.loss(np.array(before), np.array(after), truth)
    assert found == pytest.approx(lost, abs=1e-3)


def test_the_loss_counts_every_emotion_alike():
    before = np.array([SURE, SURE, SURE, [0.0, 4.0, 0.0]])
    after = np.array([SURE, SURE, SURE, [4.0, 0.0, 0.0]])
    truth = np.array([0, 0, 0, 1])
    assert quantize.loss(before, after, truth) == pytest.approx(0.5, abs=0.02)


class Kinds(nn.Module):
    """One layer of each kind that costs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, 2, 1)  # 4 x 8 x 16
        self.depthwise = nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.up = nn.ConvTranspose2d(4, 2, 2, 2)  # 2 x 16 x 32
        self.recurrent = nn.GRU(32, 6, batch_first=True)
        self.classify = nn.Linear(6, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.up(self.depthwise(self.first(image)))
        x, _ = self.recurrent(x.flatten(1, 2).transpose(1, 2))
        return self.classify(x[:, -1])


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::torch.jit.TracerWarning")
def test_kinds_parameters_and_multiply_adds(tmp_path):
    convert.to_onnx(Kinds().eval(), (16, 32), tmp_path / "kinds.onnx")
    model = convert.to_openvino(tmp_path / "kinds.onnx")
    found = quantize.layers(model, model)
    assert [(layer.kind, layer.parameters, layer.multiply_adds) for layer in found] == [
        ("Convolution", 36, 9 * 4 * 8 * 16),
        ("GroupConvolution", 36, 9 * 4 * 8 * 16),
        ("ConvolutionBackpropData", 32, 4 * 4 * 2 * 8 * 16),
        ("GRUSequence", 3 * 6 * (32 + 6), 3 * 6 * (32 + 6) * 32),
        ("MatMul", 18, 18),
    ]
    assert {(layer.int8, layer.why) for layer in found} == {(False, "not quantised by NNCF")}
    images = list(np.random.default_rng(0).integers(0, 256, (4, 16, 32), dtype=np.uint8))
    plain = quantize.quantize(model, images)
    by_kind = {layer.kind: layer for layer in quantize.layers(plain, plain)}
    assert by_kind["Convolution"].int8
    assert by_kind["GroupConvolution"].int8
    assert by_kind["ConvolutionBackpropData"].parameters == 32
    assert by_kind["MatMul"].parameters == 18


def test_the_table_and_its_first_line():
    found = [
        Layer("/a", "Convolution", (4, 8, 16), 36, 3000, True),
        Layer("/b", "Convolution", (4, 8, 16), 36, 1000, False, "put back by accuracy control"),
        Layer("/c", "Add", (4, 8, 16), 0, 0, False, "put back by accuracy control"),
        Layer("/d", "MatMul", (8,), 32, 0, False, "not quantised by NNCF"),
    ]
    text = quantize.layers_markdown("tiny", found)
    assert text.startswith("# Layers of `tiny` in INT8\n")
    assert (
        "1 of 4 layers INT8, 75.0% of the multiply-adds; 1 stayed FP, not quantised by NNCF: /d; "
        "2 stayed FP, put back by accuracy control: /b, /c."
    ) in text
    assert "| `/a` | Convolution | 4 x 8 x 16 | 36 | 3,000 | INT8 |" in text
    assert "| `/c` | Add | 4 x 8 x 16 |  |  | **FP**, put back by accuracy control |" in text
