#!/usr/bin/env python3
"""What the networks of an experiments file cost: parameters, multiply-adds, time on one core.

Each is made with fresh weights, which cost as much as trained ones, exported to FP16 and INT8 and
run by the edge app. Run it on an idle machine; --seconds 0 times nothing.
Writes benchmarks/heads.json, which the table of docs/results/heads.md is filled from.

examples:
  python benchmarks/heads.py configs/heads.yaml
  python benchmarks/heads.py configs/heads.yaml --seconds 0
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edge_app import Classifier
from edge_app.benchmark import measure_network
from edge_app.inference.devices import runtime_version
from ser_edge.audio import decode
from ser_edge.config.recipe import Recipe
from ser_edge.decision import Calibration
from ser_edge.experiments.plan import read_experiments
from ser_edge.export.layers import layers
from ser_edge.export.onnx import to_onnx
from ser_edge.export.openvino import check_old_runtime, save_ir, to_openvino
from ser_edge.export.quantize import quantize
from ser_edge.files import write_whole
from ser_edge.manifest import FP16, INT8, Manifest
from ser_edge.mel.image import UInt8
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.streaming import mel_windows
from ser_edge.nets import build_net
from ser_edge.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="list of experiments, YAML")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="to time each for; 0: not at all (default: 5)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "heads.json",
        help="(default: %(default)s)",
    )
    options = parser.parse_args()
    if options.seconds < 0:
        parser.error(f"--seconds is {options.seconds}, allowed: 0 and more")
    try:
        recipes = {e.recipe.net: e.recipe for e in read_experiments(options.config)}
    except ValueError as error:
        parser.error(str(error))
    found = {net: measure(recipe, options.seconds) for net, recipe in recipes.items()}
    account = {
        "openvino": runtime_version(),
        "threads": 1,
        "nets": found,
        "provenance": provenance(),
    }
    write_whole(options.out, json.dumps(account, indent=2) + "\n")
    print(f"all of it: {options.out}")
    return 0


def measure(recipe: Recipe, seconds: float) -> Mapping[str, Any]:
    """A recipe -> parameters, multiply-adds and milliseconds of its network, timed for seconds."""
    torch.manual_seed(recipe.seed)
    net = build_net(recipe).eval()
    images = sample_images(recipe.image)
    ms: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "net.onnx"
        to_onnx(net, recipe.image.shape, onnx)
        plain = to_openvino(onnx)
        multiply_adds = sum(layer.multiply_adds for layer in layers(plain, plain))
        for precision, model in ((FP16, plain), (INT8, None)):
            ms[precision] = None
            if not seconds:
                continue
            manifest = Manifest(
                "net",
                recipe.image,
                Calibration(),
                corpora=("none",),
                weights_sha256="0" * 64,
                precision=precision,
            )
            xml = Path(folder) / precision / "net.xml"
            save_ir(model or quantize(plain, images), xml, manifest)
            check_old_runtime(xml)
            classifier = Classifier(str(xml), threads=1)
            ms[precision] = round(measure_network(classifier, images[0], seconds).median, 3)
    parameters = sum(p.numel() for p in net.parameters())
    times = ", ".join(f"{ms[p]} ms {p}" for p in ms if ms[p] is not None) or "not timed"
    print(f"{recipe.net}: {parameters:,} parameters, {multiply_adds:,} multiply-adds, {times}")
    return {"parameters": parameters, "multiply_adds": multiply_adds, "ms": ms}


def sample_images(spec: MelImageSpec) -> list[UInt8]:
    """Mel images of the samples."""
    sounds = sorted(path for path in (ROOT / "samples").iterdir() if path.is_file())
    return [
        window.image
        for sound in sounds
        for window in mel_windows([decode.load(str(sound), spec.sample_rate)], spec)
    ]


if __name__ == "__main__":
    sys.exit(main())
