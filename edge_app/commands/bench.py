"""``edge-app bench``: how fast it is here."""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Final

from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import (
    add_model_options,
    make_classifier,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import working
from edge_app.commands.terminal import complain
from edge_app.inference.devices import DeviceError
from ser_edge.audio.decode import AudioError

_DESCRIPTION: Final = """\
Measure how fast a model is on a device: the network by itself, in the terms of OpenVINO's
benchmark_app, and from a sound file to an emotion, stage by stage.

examples:
  edge-app bench
  edge-app bench -d GPU --precision INT8 --hint latency
  edge-app bench --threads 2 --seconds 60 clip.wav
  edge-app bench --json > bench.json

Close other programs first: they take time from this one.

exit status: 0 success, 1 the sound or the device failed, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "path", nargs="?", metavar="SOUND", help="(default: five synthetic seconds at 48 kHz)"
    )
    add_model_options(command, hint="throughput")
    command.add_argument(
        "--seconds", type=float, default=10.0, help="of each of the two parts (default: 10)"
    )
    command.add_argument("--json", action="store_true", help="as JSON, times in milliseconds")


def run(options: argparse.Namespace) -> int:
    from edge_app.benchmark import Report, measure

    if not (0 < options.seconds < math.inf):
        wrong_usage(options, f"--seconds is {options.seconds:g}, allowed: above 0")
    begun = time.perf_counter()
    classifier = make_classifier(options)
    load = 1000 * (time.perf_counter() - begun)
    try:
        with working(progress_stream(options), f"measuring for {2 * options.seconds:g} s"):
            report: Report = measure(classifier, options.path, options.seconds, options.hint, load)
    except (AudioError, DeviceError) as error:
        complain(options, str(error))
        return EXIT_FAILED
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, allow_nan=False))
        return EXIT_OK
    network, sound = report.network, report.sound
    computing = f", computed in {report.computing}" if report.computing else ""
    plural = "" if sound.windows == 1 else "s"
    lines = [
        f"OpenVINO {report.openvino}, model {report.model} in {report.precision}{computing}, "
        f"image {report.image[0]} x {report.image[1]}",
        f"Load and compile: {report.load:.2f} ms",
        f"Hint: {report.hint}, requests at once: {report.streams}",
        f"Execution Devices: {report.device}",
        f"Count:            {network.count} iterations",
        f"Duration:         {network.duration:.2f} ms",
        "Latency:",
        f"   Median:        {network.median:.2f} ms",
        f"   Average:       {network.average:.2f} ms",
        f"   Min:           {network.minimum:.2f} ms",
        f"   Max:           {network.maximum:.2f} ms",
        f"Throughput:       {network.throughput:.2f} FPS",
        f"From a sound: {sound.file}, {sound.seconds:.2f} s at {sound.rate:g} Hz, "
        f"{sound.windows} window{plural}, median of {sound.repeats} runs",
        *(f"   {stage.capitalize() + ':':<14} {ms:.2f} ms" for stage, ms in sound.stages.items()),
        f"   In all:        {sound.total:.2f} ms, {sound.times_real_time:.0f}x real time",
    ]
    print(*(f"[ INFO ] {line}" for line in lines), sep="\n")
    return EXIT_OK
