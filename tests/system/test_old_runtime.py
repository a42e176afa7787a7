"""OpenVINO 2022.3.2 under Python 3.10 gives the answers of today's runtime (make test-legacy)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import HEAD_IRS, ROOT, SAMPLES
from ser_edge.corpora import CORPORA

pytestmark = pytest.mark.legacy

PREDICT = "import sys; from edge_app.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def old_python() -> str:
    python = os.environ.get("SER_LEGACY_PYTHON")
    if not python:
        pytest.skip("SER_LEGACY_PYTHON is not set: make test-legacy makes that environment")
    return python


def ask(python: str, *words: object) -> str:
    # -P or a foreign working folder: the installed package must answer, not the checkout.
    done = subprocess.run(
        [python, *map(str, words)], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(python: str, paths: list[Path], *words: object) -> list[dict]:
    output = ask(python, "-c", PREDICT, "predict", "--format", "jsonl", *words, *paths)
    return [json.loads(line) for line in output.splitlines()]


def same(old: list[dict], new: list[dict]) -> None:
    """Scores within 0.01; and so the same emotion, but where two are nearer to each other than that
    allows: processors round INT8 differently.
    """
    assert [a["file"] for a in old] == [a["file"] for a in new]
    for a, b in zip(old, new, strict=True):
        differences = [abs(a["scores"][label] - b["scores"][label]) for label in a["scores"]]
        assert max(differences) <= 0.01, a["file"]
        first, second = sorted(b["scores"].values())[-1:-3:-1]
        if first - second > 2 * 0.01:
            assert a["emotion"] == b["emotion"], a["file"]


def test_it_is_the_old_runtime(old_python):
    output = ask(
        old_python, "-c",
        "import sys, numpy; from importlib.metadata import version; import edge_app; "
        "print(sys.version_info[:2], version('openvino'), edge_app.__file__)",
    )  # fmt: skip
    assert output.startswith("(3, 10) 2022.3.2")
    assert str(ROOT / "edge_app") not in output


def test_same_answers_on_the_samples(old_python):
    same(answers(old_python, SAMPLES), answers(sys.executable, SAMPLES))


def test_same_answers_on_fifty_real_clips(old_python, ravdess):
    speech = [u.path for u in CORPORA["ravdess"].scan(ravdess).utterances if u.channel == "speech"]
    chosen = speech[:: len(speech) // 50][:50]
    assert len(chosen) == 50
    same(answers(old_python, chosen), answers(sys.executable, chosen))


@pytest.mark.parametrize("xml", HEAD_IRS, ids=lambda xml: f"{xml.stem}-{xml.parent.name}")
def test_every_head_gives_the_same_answers(old_python, ravdess, xml):
    speech = [u.path for u in CORPORA["ravdess"].scan(ravdess).utterances if u.channel == "speech"]
    chosen = [*SAMPLES, *speech[:: len(speech) // 12]]
    same(answers(old_python, chosen, "-m", xml), answers(sys.executable, chosen, "-m", xml))


def test_coarser_labels_and_explanations(old_python, tmp_path):
    words = ("-c", PREDICT, "predict", "--labels", "valence", "--format", "jsonl", SAMPLES[0])
    assert list(json.loads(ask(old_python, *words))["scores"]) == [
        "negative",
        "neutral",
        "positive",
    ]
    pictures = []
    for python in (old_python, sys.executable):
        out = tmp_path / f"{len(pictures)}.png"
        said = ask(python, "-c", PREDICT, "explain", SAMPLES[0], "--out", out)
        with Image.open(out) as picture:
            pictures.append((picture.size, said.splitlines()[0]))
    assert pictures[0] == pictures[1]


def test_the_front_end_is_the_same_under_its_numpy(old_python):
    code = (
        "import sys, numpy as np; from PIL import Image\n"
        "from ser_edge.audio import decode\n"
        "from ser_edge.audio.windows import cut_windows\n"
        "from ser_edge.mel.image import mel_image\n"
        "from ser_edge.mel.spec import MelImageSpec\n"
        "spec = MelImageSpec()\n"
        "for sound, golden in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    window = next(cut_windows([decode.load(sound, 16000)], 80000, 40000))\n"
        "    gap = mel_image(window.waveform, spec) - np.asarray(Image.open(golden)).astype(int)\n"
        "    print(np.abs(gap).max())"
    )
    pairs = [p for s in SAMPLES for p in (s, ROOT / "tests" / "golden" / f"{s.stem}.png")]
    gaps = np.array(ask(old_python, "-c", code, *pairs).split(), dtype=int)
    assert len(gaps) == len(SAMPLES)
    assert gaps.max() <= 1


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_the_same_embeddings(old_python, precision):
    found = []
    for python in (old_python, sys.executable):
        words = ("embed", "--precision", precision, SAMPLES[1])
        found.append(json.loads(ask(python, "-c", PREDICT, *words))["embedding"])
    old, new = np.array(found)
    assert old.shape == (320,)
    assert np.dot(old, new) / np.linalg.norm(old) / np.linalg.norm(new) > 0.999


def test_devices_threads_and_a_fallback(old_python):
    listed = json.loads(ask(old_python, "-c", PREDICT, "devices", "--json"))
    assert listed["openvino"] == "2022.3.2"
    assert [device["name"] for device in listed["devices"]] == ["CPU", "GPU", "NPU", "MYRIAD"]
    words = ("predict", "-d", "MYRIAD", "--fallback", "CPU", "--format", "jsonl", SAMPLES[0])
    assert json.loads(ask(old_python, "-c", PREDICT, *words))["device"] == "CPU"
    bench = ("bench", "--threads", "2", "--seconds", "0.05", "--json")
    assert json.loads(ask(old_python, "-c", PREDICT, *bench))["streams"] == 2
