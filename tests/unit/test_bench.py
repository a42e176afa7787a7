"""``edge-app bench``: the report that people know, and its JSON."""

from __future__ import annotations

import json
import re

import pytest

from conftest import SAMPLES
from edge_app.benchmark import STAGES
from edge_app.cli import main
from faultydevices import Fault

LONG = next(path for path in SAMPLES if path.stem == "man-long")


def test_the_report(capsys):
    assert main(["bench", "--seconds", "0.05", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[ INFO ] ") for line in lines)
    said = [line.removeprefix("[ INFO ] ") for line in lines]
    assert re.match(
        r"OpenVINO 20[\d.]+, model compact in FP16, computed in f32, image 80 x 395", said[0]
    )
    assert "Hint: throughput, requests at once: 1" in said
    assert "Execution Devices: CPU" in said
    for pattern in (
        r"Count:            [1-9]\d* iterations",
        r"   Median:        \d+\.\d\d ms",
        r"   Max:           \d+\.\d\d ms",
        r"Throughput:       \d+\.\d\d FPS",
        r"From a sound: 5 s made here, 5\.00 s at 48000 Hz, 1 window, median of [1-9]\d* runs",
        r"   In all:        \d+\.\d\d ms, \d+x real time",
    ):
        assert any(re.fullmatch(pattern, line) for line in said), pattern


def test_json_of_a_long_sound(capsys):
    words = ["bench", str(LONG), "--json", "--seconds", "0.05", "--precision", "INT8"]
    assert main([*words, "--hint", "latency"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["device"], report["precision"], report["hint"]) == ("CPU", "INT8", "latency")
    network, sound = report["network"], report["sound"]
    assert network["minimum"] <= network["median"] <= network["maximum"]
    assert network["minimum"] <= network["average"] <= network["maximum"]
    # So many requests at once cannot give more answers than this.
    most = 1000 * report["streams"] / network["average"]
    assert 0 < network["throughput"] <= most * 1.01
    assert tuple(sound["stages"]) == STAGES
    assert all(ms > 0 for ms in sound["stages"].values())
    assert sound["windows"] == 3
    assert sound["times_real_time"] == pytest.approx(1000 * sound["seconds"] / sound["total"])


def test_a_device_that_fails(capsys, faulty):
    faulty(GPU=Fault(how="middle", after=3))
    assert main(["bench", "-d", "GPU", "--seconds", "0.2"]) == 1
    assert "GPU failed: NC_ERROR: device lost" in capsys.readouterr().err
