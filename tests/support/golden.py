#!/usr/bin/env python3
"""What must not change when code is moved: answers, mel images, a short training, an export.

It goes through the commands alone, as a user does, so it holds across any change of modules. The
record in tests/golden/record.json is compared with some tolerance (tests/system/test_golden.py),
since sums differ between processors. On one machine two revisions must give the same bytes:

examples:
  python tests/support/golden.py before.json
  python tests/support/golden.py after.json && cmp before.json after.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

ROOT: Final = Path(__file__).resolve().parent.parent.parent
RECORD: Final = ROOT / "tests" / "golden" / "record.json"
DECIDING: Final = ("torch", "torchvision", "lightning", "numpy", "openvino", "nncf", "onnx")
"""Packages whose releases may change figures."""

RECIPE: Final = """\
name: tiny
width: 0.25
epochs: 2
batch_size: 4
lr: 0.01
freq_mask: 2
time_mask: 10
dropout: 0.1
ema: 0.0
precision: 32-true
image: {n_fft: 512, win_length: 400, hop_length: 400, n_mels: 16}
sound: {noise: 0.5, speed: 0.1, pitch: 1.0, shift: 0.5, gain: 6.0, telephone: 0.3}
"""
_VOLATILE: Final = ("provenance", "seconds", "git_revision", "history_seconds")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help=f"file to write; the one in git is {RECORD.name}")
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as place:
        text = json.dumps(record(Path(place)), indent=1, sort_keys=True)
    out.write_text(text + "\n")
    return 0


def record(folder: Path) -> dict[str, Any]:
    """All of it; ``folder`` is written to."""
    sounds, images, config = folder / "corpus", folder / "images", folder / "tiny.yaml"
    corpus(sounds)
    config.write_text(RECIPE)
    script("render.py", sounds, images, "--config", config, "--quiet")
    how = ["--config", config, "--sounds", sounds, "--accelerator", "cpu", "--quiet"]
    script("evaluate.py", images, folder / "runs", "--folds", "1", *how)
    script("train.py", images, folder / "all", "--fold", "all", *how)
    run = folder / "runs" / "fold-1"
    tiny = folder / "models" / "tiny"
    script("package_model.py", tiny, "--final", folder / "all", "--folds", run)
    script("export_ir.py", "tiny", "--models", tiny.parent, "--images", images, "--ir",
           folder / "ir")  # fmt: skip
    irs = sorted((folder / "ir" / "tiny").glob("*/tiny.bin"))
    return {
        "packages": {name: version(name) for name in DECIDING},
        "answers": {precision: answers("--precision", precision) for precision in ("FP16", "INT8")},
        "images": {path.relative_to(folder / "images").as_posix(): sha256(path)
                   for path in sorted((folder / "images").rglob("*.png"))},
        "weights": weights(run / "weights.safetensors"),
        "evaluation": steady(json.loads((folder / "runs" / "metrics.json").read_text())),
        "run": steady(json.loads((run / "metrics.json").read_text())),
        "predictions": (run / "predictions.csv").read_text().splitlines(),
        "export": {path.parent.name: sha256(path) for path in irs},
        "exported": {path.parent.name: answers("-m", path.with_suffix(".xml")) for path in irs},
    }  # fmt: skip


def corpus(folder: Path) -> None:
    """Four actors of RAVDESS by name, in three emotions: voices of a kind."""
    import soundfile

    from conftest import speechlike

    folder.mkdir()
    for actor in (1, 2, 4, 9):
        for emotion in (1, 4, 5):
            sound = speechlike(1.2, 16_000, seed=10 * actor + emotion)
            path = folder / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(path, sound, 16_000)


def script(name: str, *words: object) -> str:
    """Run a script, and give what it printed."""
    return _run([sys.executable, ROOT / "scripts" / name, *words])


def answers(*words: object) -> list[dict[str, Any]]:
    """What the edge app says of the samples."""
    command = [sys.executable, "-m", "edge_app", "predict", "--format", "jsonl", *words, "samples"]
    return [json.loads(line) for line in _run(command).splitlines()]


def _run(command: list[object]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=environment,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command[1]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def weights(path: Path) -> dict[str, dict[str, Any]]:
    """Of each tensor its hash, and two figures that hold on other processors too."""
    from safetensors.numpy import load_file

    return {
        name: {
            "sha256": hashlib.sha256(np.ascontiguousarray(tensor).tobytes()).hexdigest(),
            "mean": float(tensor.mean(dtype=np.float64)),
            "rms": float(np.sqrt(np.mean(tensor.astype(np.float64) ** 2))),
        }
        for name, tensor in sorted(load_file(path).items())
    }


def steady(value: Any) -> Any:
    """Without times and revisions."""
    if isinstance(value, dict):
        return {key: steady(found) for key, found in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [steady(found) for found in value]
    return value


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    sys.exit(main())
