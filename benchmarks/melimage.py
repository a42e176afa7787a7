#!/usr/bin/env python3
"""The mel image beside librosa's for the same specification, in one process, turn by turn.

Run it on a quiet machine. Prints a table and writes benchmarks/melimage.json.

example:
  make benchmark
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import librosa
import numpy as np

from ser_edge.files import write_whole
from ser_edge.mel.image import mel_image, quantize
from ser_edge.mel.spec import MelImageSpec
from ser_edge.provenance import provenance


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300, help="turns each (default: 300)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    spec = MelImageSpec()
    random = np.random.default_rng(0)
    sounds = [
        (0.05 * random.standard_normal(spec.window_samples)).astype(np.float32) for _ in range(20)
    ]

    def ours(sound: np.ndarray) -> np.ndarray:
        return mel_image(sound, spec)

    def librosas(sound: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=sound,
            sr=spec.sample_rate,
            n_fft=spec.n_fft,
            win_length=spec.win_length,
            hop_length=spec.hop_length,
            center=False,
            power=spec.power,
            n_mels=spec.n_mels,
            fmin=spec.f_min,
            fmax=spec.f_max,
            htk=spec.mel_scale == "htk",
        )
        return quantize(librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None), spec)

    gap = max(int(np.abs(ours(s).astype(int) - librosas(s)).max()) for s in sounds)
    times: dict[str, list[float]] = {"ser_edge.mel.image": [], "librosa": []}
    contestants: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [
        ("ser_edge.mel.image", ours),
        ("librosa", librosas),
    ]
    for turn in range(options.rounds + 20):
        for name, function in contestants:
            begin = time.perf_counter()
            function(sounds[turn % len(sounds)])
            if turn >= 20:  # the first are warm-up
                times[name].append(1e3 * (time.perf_counter() - begin))
    result = {
        "what": f"5 s of sound to an image of {spec.n_mels} x {spec.frames}, ms",
        "median_ms": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "min_ms": {name: round(min(values), 3) for name, values in times.items()},
        "rounds": options.rounds,
        "largest_difference_in_grey_levels": gap,
        "versions": {name: version(name) for name in ("numpy", "librosa")},
        "provenance": provenance(),
    }
    for name in times:
        print(
            f"{name:<20} median {result['median_ms'][name]:7.3f} ms   "
            f"least {result['min_ms'][name]:7.3f} ms"
        )
    ratio = result["median_ms"]["librosa"] / result["median_ms"]["ser_edge.mel.image"]
    print(f"librosa / ours: {ratio:.2f}; largest difference: {gap} grey level")
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
