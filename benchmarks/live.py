#!/usr/bin/env python3
"""What a hop of half a second costs: rate conversion, new frames, gate, image, network, timeline.

Run it on a quiet machine. Speech goes through edge_app.live.session hop by hop; each feed is
timed, and the network apart. Prints a table and writes benchmarks/live.json.

example:
  benchmarks/live.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge_app import Classifier
from edge_app.live.session import Live
from ser_edge.audio import decode
from ser_edge.files import write_whole
from ser_edge.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MS = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hops", type=int, default=600, help="(default: 600, 5 min of sound)")
    parser.add_argument("--rate", type=int, default=48_000, help="of the sound (default: 48000)")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--precision", default="FP16")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    classifier = Classifier(device=options.device, precision=options.precision)
    ask, network = classifier.predict_images, [0.0]

    def timed(*images: Any) -> Any:
        begin = time.perf_counter()
        answers = ask(*images)
        network[0] += time.perf_counter() - begin
        return answers

    classifier.predict_images = timed  # type: ignore[method-assign]
    paths = sorted(path for path in (ROOT / "samples").iterdir() if path.is_file())
    speech = np.concatenate([decode.load(path, options.rate) for path in paths])
    live = Live(classifier, options.rate)
    hop = round(live.settings.hop * options.rate)
    whole: list[float] = []
    rest: list[float] = []
    for turn in range(options.hops + 20):
        part = np.take(speech, range(turn * hop, (turn + 1) * hop), mode="wrap")
        network[0] = 0.0
        begin = time.perf_counter()
        live.feed(part)
        spent = time.perf_counter() - begin
        if turn >= 20:  # the first are warm-up
            whole.append(1e3 * spent)
            rest.append(1e3 * (spent - network[0]))
    result = {
        "what": "one hop of 0.5 s of speech, ms",
        "median_ms": round(statistics.median(whole), 3),
        "without_network_median_ms": round(statistics.median(rest), 3),
        "p99_ms": round(float(np.percentile(whole, 99)), 3),
        "limit_ms": LIMIT_MS,
        "passed": statistics.median(whole) <= LIMIT_MS,
        "hops": options.hops,
        "rate": options.rate,
        "device": classifier.device,
        "precision": options.precision,
        "provenance": provenance(),
    }
    print(
        f"a hop: median {result['median_ms']} ms (without the network "
        f"{result['without_network_median_ms']} ms), 99 of 100 below {result['p99_ms']} ms"
    )
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
