"""benchmarks/edge.py: that what it times is the edge app, and that its contestants agree."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import soundfile

from conftest import ROOT
from edge_app import Classifier
from ser_edge.markdown.documents import check_document


@pytest.fixture(scope="module")
def edge() -> ModuleType:
    """benchmarks/edge.py as a module."""
    spec = importlib.util.spec_from_file_location("edge", ROOT / "benchmarks" / "edge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["edge"] = module  # its dataclasses look there for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clips(edge, tmp_path_factory) -> list[Path]:
    return edge.make_clips(tmp_path_factory.mktemp("clips"), 9)


@pytest.fixture(scope="module")
def models(edge, tmp_path_factory) -> Any:
    return edge.make_models("compact", tmp_path_factory.mktemp("models"))


def test_the_clips_are_as_the_document_says(edge, clips, tmp_path):
    for clip in clips:
        info = soundfile.info(clip)
        assert (info.samplerate, info.channels, info.subtype) == (48_000, 1, "PCM_16")
        assert 2 <= info.duration <= 5
    assert len({clip.read_bytes() for clip in clips}) == 9
    again = edge.make_clips(tmp_path, 9)
    assert [a.read_bytes() for a in again] == [b.read_bytes() for b in clips]


def test_clips_of_ones_own_are_chosen_evenly(edge, clips, tmp_path):
    soundfile.write(clips[0].parent / "low.wav", [0.0] * 16_000, 16_000)
    soundfile.write(clips[0].parent / "long.wav", [0.0] * 48_000 * 6, 48_000)
    assert edge.find_clips(clips[0].parent, 3) == [clips[0], clips[3], clips[6]]
    assert edge.find_clips(clips[0].parent, 100) == clips  # too few: who asked sees it


@pytest.mark.component
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what librosa imports
def test_the_contestants_with_our_network_agree(edge, models, clips):
    heard = {f"edge app, {name}": edge._edge_app(xml, 1) for name, xml in models.irs.items()}
    heard["own net, PyTorch, librosa"] = edge._eager(models, 1)
    for front_end in (edge._librosa_image, edge._our_image):
        heard[f"own net, ONNX Runtime, {front_end}"] = edge._onnx(models, 1, front_end(models.spec))
    answers = {name: [hear(clip) for clip in clips] for name, hear in heard.items()}
    first = answers.pop("edge app, FP32")
    assert len(set(first)) > 1
    for name, found in answers.items():
        same = sum(a == b for a, b in zip(found, first, strict=True))
        assert same >= len(clips) - (2 if "INT8" in name else 1), name


@pytest.mark.component
def test_the_stages_are_those_of_the_edge_app(edge, models, clips):
    steps = dict(edge.stages(models, 1))
    assert list(steps) == [
        "decode", "resample", "mel image", "network, FP32", "network, FP16", "network, INT8",
        "decision",
    ]  # fmt: skip
    classifier = Classifier()
    for clip in clips[:3]:
        waveform = steps["resample"](steps["decode"](clip))
        logits = steps["network, FP16"](steps["mel image"](waveform))
        answer = classifier.predict(clip)
        assert steps["decision"]((waveform, logits)) == answer.emotion
        assert answer.duration == pytest.approx(waveform.size / 16_000)


@pytest.mark.component
def test_multiply_adds_are_counted_as_by_hand(edge, models):
    import torch
    from torch import nn

    from ser_edge.mel.spec import MelImageSpec

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped = nn.Conv2d(1, 4, 3, stride=2)
            self.depthwise = nn.Conv2d(4, 4, 3, groups=4, padding=1)
            self.last = nn.Linear(4, 8)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.last(self.depthwise(self.grouped(image)).mean(dim=(2, 3)))

    spec = MelImageSpec()
    small = edge.Models({}, Path(), Net(), spec, None, ())
    pixels = ((80 - 3) // 2 + 1) * ((395 - 3) // 2 + 1)
    assert edge.multiply_adds(small) == pixels * 4 * 9 + pixels * 4 * 9 + 32
    assert 1e7 < edge.multiply_adds(models) < 1e9


def test_the_tables_say_whether_the_machine_was_quiet(edge):
    times = {"median": 1.0, "tenth": 0.5, "ninetieth": 2.0}
    result = {
        "threads": 2, "clips": 60, "rounds": 3, "sounds": "made from samples/",
        "contestants": {edge.OURS: times}, "times_ours": {edge.OURS: 1.0},
        "after_rest": {edge.OURS: {**times, "median": 3.0}},
        "times_ours_after_rest": {edge.OURS: 1.0},
        "same_emotion_as_ours": {edge.OURS: 60}, "stages": {"decode": times, "mel image": times},
        "limit_ms": {"mel image": 0.25}, "multiply_adds": 146_000_000, "mel_operations": 42_000_000,
        "peak_gflops": 100.0, "int8_instructions": [], "quiet": True,
        "provenance": {"machine": "a box", "git_revision": "abc"},
    }  # fmt: skip
    text = edge.markdown(result)
    assert "| edge app, FP16 | 1.00 | 0.50 to 2.00 | 1.00 | 3.00 | 1.00 | 60 of 60 |" in text
    assert "| decode | 1.00 | - |" in text
    assert "| mel image | 1.00 | 0.25 |" in text
    assert "no VNNI" in text
    assert "busy" not in text
    assert "these figures mean nothing" in edge.markdown({**result, "quiet": False})
    vnni = edge.markdown({**result, "int8_instructions": ["avx512_vnni"]})
    assert "The processor has avx512_vnni for INT8." in vnni


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone keeps to cores")
def test_more_cores_than_there_are(edge):
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match="threads are 100000, allowed: 1 to"):
        edge.keep_to(100_000)
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("table", ["speed-1", "speed-2"])
def test_the_document_has_a_place_for_each_table(table):
    check_document(ROOT / "docs" / "results" / "speed.md", table)


def test_so_has_the_one_on_bad_days():
    check_document(ROOT / "docs" / "results" / "malformed.md", "malformed")


def test_whether_the_machine_is_quiet_is_asked_of_the_present(edge, monkeypatch):
    lines = iter(["cpu  100 0 50 800 50 0 0 0 0 0\n", "cpu  160 0 80 990 70 0 0 0 0 0\n"])
    monkeypatch.setattr(Path, "read_text", lambda _: next(lines) + "cpu0 1 2 3\n")
    assert edge.busy_share(0.0) == pytest.approx(90 / 300)
    monkeypatch.setattr(Path, "read_text", lambda _: "nothing")
    assert edge.busy_share(0.0) == 0.0
