"""Long sounds and many sounds: work ahead, order, errors, memory, the bar."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, speechlike
from edge_app import AudioError, Classifier, Prediction, cli
from edge_app import classifier as classifier_module
from edge_app.commands import options
from edge_app.commands.progress import Bar
from edge_app.inference.runtime import Network
from edge_app.threads import Stopped, in_order, read_ahead
from ser_edge.audio import decode
from ser_edge.decision import decide, pool, speech_weights
from ser_edge.mel.image import mel_image


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(hint="throughput")


# ------------------------------------------------------------------------------------- work ahead


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_and_few_are_ahead(workers):
    given, done = 0, 0

    def items():
        nonlocal given
        for number in range(40):
            given += 1
            assert given - done <= 2 * workers
            yield number

    def work(number, stop):
        time.sleep(0.002 * (number % 3))
        return number * number

    for result in in_order(work, items(), workers):
        assert result == done * done
        done += 1
    assert done == 40


def test_work_overlaps():
    both = threading.Barrier(2, timeout=60)  # nobody passes it alone
    assert list(in_order(lambda item, stop: both.wait() >= 0, range(2), 2)) == [True, True]


def test_what_goes_wrong_is_raised_in_its_turn():
    def work(number, stop):
        if number == 2:
            raise KeyError(number)
        return number

    results = in_order(work, range(9), 3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError):
        next(results)


def test_who_stops_early_ends_the_threads():
    def work(number, stop):
        if number == 0:
            return 0
        assert stop.wait(60)
        raise Stopped

    results = in_order(work, range(100), 3)
    assert next(results) == 0
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_reading_ahead_gives_the_same_and_its_errors():
    closed = []

    def source(bad: bool):
        try:
            for number in range(20):
                yield number
                if bad and number == 9:
                    raise AudioError("a.wav", "it is damaged")
        finally:
            closed.append(True)

    assert list(read_ahead(source(False), 2)) == list(range(20))
    damaged = read_ahead(source(True), 2)
    assert [next(damaged) for _ in range(10)] == list(range(10))
    with pytest.raises(AudioError, match="it is damaged"):
        next(damaged)
    early = read_ahead(source(False), 2)
    for _ in range(6):
        next(early)
    early.close()
    assert len(closed) == 3
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


# ------------------------------------------------------------------------------------ long sounds


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_long_sound_is_heard_as_window_by_window(classifier, tmp_path, rate):
    """Against the plain way: each window cut, drawn and asked by itself."""
    soundfile.write(tmp_path / "a.flac", speechlike(41.3, rate), rate)
    answer = classifier.predict(tmp_path / "a.flac")
    manifest = classifier.manifest
    spec = manifest.spec
    windows = list(
        decode.windows(
            decode.read_blocks(tmp_path / "a.flac", 16_000), spec.window_samples, spec.hop_samples
        )
    )
    plain = Classifier().network  # latency: other kernels, the same to rounding
    logits = [plain.logits(mel_image(window.waveform, spec)) for window in windows]
    weights = speech_weights([decode.levels(window.waveform, 16_000) for window in windows])
    expected = decide(pool(logits, weights), manifest.calibration, manifest.labels)
    assert answer.scores == pytest.approx(
        dict(zip(manifest.labels, expected.scores, strict=True)), abs=1e-5
    )
    assert [w.start for w in answer.windows] == [w.start / 16_000 for w in windows]
    for window, values, weight in zip(answer.windows, logits, weights, strict=True):
        alone = decide(pool([values], [weight]), manifest.calibration, manifest.labels)
        assert tuple(window.scores.values()) == pytest.approx(alone.scores, abs=1e-5)


@pytest.mark.component
def test_memory_does_not_grow_with_length(tmp_path):
    """Ten minutes at 48 kHz, 115 MB as floats, after a half of one in a process of its own.

    Its growth is measured: how many pages of libraries count as the process's is the kernel's
    affair.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("needs Linux's /proc")
    sound = (speechlike(30.0, 48_000) * 32767).astype(np.int16)
    for name, times in (("short.wav", 1), ("long.wav", 20)):
        with soundfile.SoundFile(tmp_path / name, "w", 48_000, 1, "PCM_16") as file:
            for _ in range(times):
                file.write(sound)
    code = (
        "import re, sys; from edge_app.cli import main\n"
        "for path in sys.argv[1:]:\n"
        "    assert main(['predict', '--format', 'jsonl', '--threads', '2', path]) == 0\n"
        # Not ru_maxrss: that remembers the process which was forked.
        "    status_file = open('/proc/self/status').read()\n"
        "    print(re.search(r'VmHWM:\\s+(\\d+) kB', status_file)[1], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "short.wav", tmp_path / "long.wav"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=590,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[1])
    assert answer["duration"] == 600
    assert len(answer["windows"]) == 239
    first, then = map(int, done.stderr.split())
    assert then - first <= 30 * 1024


# ------------------------------------------------------------------------------------ many sounds


@pytest.mark.parametrize("workers", [None, 0, 1, 4])
def test_many_sounds_in_order_and_errors_alone(classifier, tmp_path, workers):
    (tmp_path / "bad.wav").write_text("no sound")
    names = [*SAMPLES[:3], tmp_path / "bad.wav", *SAMPLES[3:], tmp_path / "none.wav", SAMPLES[0]]
    heard: dict[object, float] = {}
    found = list(classifier.predict_all(names, workers=workers, progress=heard.__setitem__))
    assert [name for name, _ in found] == names
    for name, answer in found:
        if name.name in ("bad.wav", "none.wav"):
            assert isinstance(answer, AudioError)
            assert answer.file == str(name)
        else:
            assert isinstance(answer, Prediction)
            assert answer.scores == pytest.approx(classifier.predict(name).scores, abs=1e-6)
            assert heard[name] == pytest.approx(answer.duration)


def test_what_opening_says_is_an_answer_too(classifier):
    def opened(name: str):
        if name == "closed":
            raise AudioError(name, "standard input is closed")
        return io.BytesIO(SAMPLES[0].read_bytes())

    (_, first), (_, second) = classifier.predict_all(["closed", "open"], opened)
    assert str(first) == "closed: standard input is closed"
    assert isinstance(second, Prediction)
    with pytest.raises(ValueError, match="workers are -1"):
        classifier.predict_all([], workers=-1)


def test_stopping_early_ends_a_long_sound(classifier, tmp_path):
    soundfile.write(tmp_path / "a.wav", speechlike(20.0, 16_000), 16_000)
    noise = np.random.default_rng(1).normal(0, 0.01, 960_000).astype(np.float32)
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 16_000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(noise)
    answers = classifier.predict_all([tmp_path / "a.wav", tmp_path / "long.wav"])
    next(answers)
    answers.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"ahead", "read-ahead"}


# ------------------------------------------------------------------------------------------ a bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_shows_itself_after_a_while_and_is_wiped(tmp_path):
    (tmp_path / "a.wav").write_bytes(bytes(1000))
    name, now, out = str(tmp_path / "a.wav"), 0.0, Terminal()
    bar = Bar(out, 2, lambda: now)
    file = bar.open(name)
    assert not isinstance(file, str)
    assert bar.open(name) == name  # the same sound at the same time
    bar.update(name, 60.0)
    assert out.getvalue() == ""
    file.read(500)
    now = 10.0
    bar.update(name, 4000.0)
    line = out.getvalue().removeprefix("\r\x1b[K")
    parts = line.split("  ")
    assert parts[0] == " 25% ######.................."
    assert parts[1:] == ["1:06:40 processed, 400x real time", "0 of 2 sounds"]
    now = 10.1
    bar.update(name, 4100.0)  # too soon to draw again
    assert out.getvalue().endswith(line)
    bar.done(name)
    assert out.getvalue().endswith("\r\x1b[K")
    assert file.closed
    bar.close()


def test_no_bar_where_nobody_looks(tmp_path):
    for out in (io.StringIO(), None):
        bar = Bar(out, 1, iter(range(0, 10**6, 100)).__next__)
        assert bar.open(str(tmp_path)) == str(tmp_path)
        bar.update("a", 1.0)
        bar.done("a")
        bar.close()
        assert out is None or out.getvalue() == ""


@pytest.mark.parametrize(
    ("words", "processors", "hint", "threads"),
    [
        ([], 4, "latency", 3),
        ([], 2, "latency", None),
        (["-d", "cpu"], 4, "latency", 3),
        (["--threads", "4"], 4, "latency", 4),
        (["--hint", "throughput"], 4, "throughput", None),
        (["-d", "AUTO"], 4, "throughput", None),
        (["-d", "AUTO", "--hint", "latency"], 4, "latency", None),
    ],
)
def test_how_the_network_runs_for_many_windows(monkeypatch, words, processors, hint, threads):
    given: dict[str, object] = {}

    def refused(*_: object, **how: object) -> None:
        given.update(how)
        raise ValueError("as far as this")

    monkeypatch.setattr(options, "cores", lambda: processors)
    monkeypatch.setattr(options, "Classifier", refused)
    with pytest.raises(SystemExit):
        cli.main(["predict", str(SAMPLES), *words])
    assert (given["hint"], given["threads"]) == (hint, threads)


@pytest.mark.parametrize(
    ("processors", "streams", "wanted"), [(1, 1, 1), (4, 1, 2), (8, 2, 3), (8, 6, 4)]
)
def test_how_many_threads_hear(monkeypatch, processors, streams, wanted):
    asked: list[int] = []
    monkeypatch.setattr(classifier_module, "cores", lambda: processors)
    monkeypatch.setattr(Network, "streams", streams)
    monkeypatch.setattr(
        classifier_module, "in_order", lambda work, items, workers: asked.append(workers)
    )
    Classifier().predict_all([])
    assert asked == [wanted]


@pytest.mark.component
def test_the_benchmark_hears_its_file(tmp_path):
    out = tmp_path / "longfile.json"
    done = subprocess.run(
        [
            sys.executable, ROOT / "benchmarks" / "longfile.py", "--hours", "0.005", "--cores", "1",
            "--turns", "1", "--out", out,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert done.returncode == (0 if found["passed"] else 1), done.stderr  # start-up is most of it
    (turn,) = found["turns"]
    assert found["sound_seconds"] == pytest.approx(18.0)
    assert turn["speed"] == pytest.approx(18.0 / turn["wall_s"], rel=0.02)
    assert 50 < turn["peak_mb"] < 400
    assert done.stdout.startswith("18 s of sound in ")
