"""``edge-app listen`` as people run it: real processes, real pipes, real signals."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES
from edge_app.live.sources import InputStatus, Lost, PcmFormat, StandardInput, wav_format
from edge_app.live.view import LiveView, clock_of
from edge_app.results import Event
from ser_edge.audio import decode
from ser_edge.audio.decode import AudioError

RATE = 16_000
LISTEN = (sys.executable, "-m", "edge_app", "listen")


@pytest.fixture(scope="module")
def talk():
    """2 s of silence, 8.7 s of speech, 2 s of silence, as 16-bit samples at 16 kHz."""
    voice = decode.load(next(path for path in SAMPLES if path.stem == "man-long"), RATE)
    quiet = np.zeros(2 * RATE, np.float32)
    return np.round(np.concatenate([quiet, voice, quiet]) * 32_767).astype("<i2")


def start(*options, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*LISTEN, *map(str, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **more,
    )


def run(data, *options):
    process = start(*options)
    out, err = process.communicate(data, timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


def wav(samples, rate=RATE, size=None, subtype=None, extra=b""):
    """A WAV as a pipe gives it: with a length in its header that is not true."""
    data = samples.tobytes()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    width = samples.dtype.itemsize
    tag = subtype or (3 if samples.dtype.kind == "f" else 1)
    head = struct.pack("<HHIIHH", tag, channels, rate, rate * channels * width, channels * width,
                       8 * width)  # fmt: skip
    told = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + extra
    riff = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVE"
    return riff + chunks + b"data" + struct.pack("<I", told) + data


# ------------------------------------------------------------------------------- standard input


def close(reader):
    """Close a pipe that a thread may still read: else it would read the next one of that number."""
    for thread in threading.enumerate():
        if thread.name == "standard-input":
            thread.join(30)
    os.close(reader)


def heard(data, rate=None, channels=1, pieces=(1_000,)):
    """All sound that standard input gives for these bytes."""
    reader, writer = os.pipe()

    def write():
        at, turn = 0, 0
        with open(writer, "wb", buffering=0) as file:
            while at < len(data):
                at += file.write(data[at : at + pieces[turn % len(pieces)]])
                turn += 1

    threading.Thread(target=write, daemon=True).start()
    source = StandardInput(reader, rate, channels)
    try:
        items = list(source.items(threading.Event()))
    finally:
        close(reader)
    assert not any(isinstance(item, Lost) for item in items)
    sound = np.concatenate([item.samples for item in items]) if items else np.empty(0)
    return sound, {item.rate for item in items}, source.status


@pytest.mark.parametrize("pieces", [(1,), (7, 1, 4_096), (100_000,)])
def test_raw_sound_in_pieces_of_any_size(pieces):
    samples = np.arange(-500, 500, dtype="<i2")
    sound, rates, status = heard(samples.tobytes(), 8_000, pieces=pieces)
    assert np.array_equal(sound, samples)
    assert rates == {8_000}
    assert status.state == "ended"
    assert status.heard == 1_000 / 8_000


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("kind", ["u1", "<i2", "<i4", "<f4", "<f8"])
def test_a_wav_says_itself_what_it_is(size, kind):
    values = np.linspace(-0.9, 0.9, 3_000)
    if kind == "u1":
        samples = np.round(values * 127 + 128).astype(kind)
    else:
        scale = 1 if "f" in kind else 2.0 ** (8 * np.dtype(kind).itemsize - 1)
        samples = (values * scale).astype(kind)
    sound, rates, _ = heard(wav(samples, 44_100, size), pieces=(11, 3_000))
    if sound.dtype == np.int16:
        sound = sound / 32_768
    assert np.abs(sound - values).max() < 0.02
    assert rates == {44_100}


def test_24_bits_two_channels_and_other_chunks(tmp_path):
    values = np.stack([np.linspace(-0.5, 0.5, 2_000), np.full(2_000, 0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", values, 48_000, subtype="PCM_24")
    sound, rates, _ = heard((tmp_path / "a.wav").read_bytes(), pieces=(13,))
    assert np.abs(sound - values.mean(axis=1)).max() < 1e-5
    assert rates == {48_000}
    samples = np.arange(100, dtype="<i2")
    listed = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    sound, _, _ = heard(wav(samples, extra=listed))
    assert np.array_equal(sound, samples)


def test_what_follows_the_sound_in_a_wav_is_not_heard():
    samples = np.arange(1_000, dtype="<i2")
    sound, _, _ = heard(wav(samples) + b"LIST" + b"\x7f" * 500, pieces=(600, 5_000))
    assert np.array_equal(sound, samples)


def test_raw_sound_of_two_channels():
    sound, _, _ = heard(np.array([100, 300, -200, 0], "<i2").tobytes(), RATE, channels=2)
    assert np.allclose(sound * 32_768, [200, -100])


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"\0" * 400, "say so with --rate"),
        (b"fLaC" + b"\0" * 400, "it is FLAC"),
        (b"RIFF\0\0\0\0WAVEfmt ", "cut off inside its WAV header"),
        (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff" + b"a" * 99, "begins nowhere"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + b"a" * 99, "does not say how"),
        (wav(np.zeros(9, "<i2"), subtype=85), "of 16 bits and type 85"),
        (wav(np.zeros(9, "<i2"), rate=100), "rate is 100, allowed"),
    ],
)
def test_what_is_no_sound_is_refused(data, cause):
    with pytest.raises(AudioError, match=f"^standard input: .*{cause}"):
        heard(data)


def test_a_stop_ends_it_though_nothing_comes():
    reader, writer = os.pipe()
    stop = threading.Event()
    source = StandardInput(reader, RATE)
    threading.Timer(0.1, stop.set).start()
    assert list(source.items(stop)) == []
    os.close(writer)
    close(reader)


@pytest.mark.parametrize("options", [{"rate": 7_000}, {"rate": 16_000, "channels": 9}])
def test_a_format_that_is_not_allowed(options):
    with pytest.raises(ValueError, match="allowed"):
        PcmFormat(**options)


def test_a_header_may_come_byte_by_byte():
    data = wav(np.arange(50, dtype="<i2"))
    form, rest, left = wav_format(data[:12], (bytes([b]) for b in data[12:]), "x")
    assert (form.rate, form.channels, left) == (RATE, 1, 100)
    assert len(rest) == 0


# ------------------------------------------------------------------------------------ processes


@pytest.mark.component
def test_raw_and_wav_say_the_same(talk):
    status, raw, err = run(talk.tobytes(), "-", "--rate", RATE, "--sink", "jsonl")
    assert (status, err) == (0, "")
    other = run(wav(talk, size=0), "-", "--sink", "jsonl")[1]
    assert [dict(e, time="") for e in raw] == [dict(e, time="") for e in other]
    segments = raw
    assert {s["kind"] for s in segments} == {"segment"}
    assert segments[0]["emotion"] == segments[-1]["emotion"] == "silence"
    assert segments[-1]["end"] == pytest.approx(talk.size / RATE, abs=0.001)
    assert {s["source"] for s in segments} == {"standard input"}


@pytest.mark.component
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_open_segment_closed(talk, tmp_path, number):
    out = tmp_path / "heard.jsonl"
    process = start("-", "--rate", RATE, "--sink", f"jsonl:{out}", "--name", "hall", "--health", 0)
    url = process.stderr.readline().decode().split()[-1]
    process.stdin.write(talk[: 9 * RATE].tobytes())  # it ends amid speech
    process.stdin.flush()
    wait_for(lambda: asked(url)["source"]["heard"] >= 9.0)
    begun = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    # On an idle machine it is a fifth of a second; the bound is the promise.
    assert time.monotonic() - begun < 2.0 or os.getloadavg()[0] > os.cpu_count()
    process.stdin.close()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"segment"}
    assert lines[-1]["emotion"] != "silence"
    assert lines[-1]["end"] == pytest.approx(9.0, abs=0.6)
    assert process.stderr.read() == b""
    process.stdout.close()
    process.stderr.close()


@pytest.mark.component
def test_kill_9_loses_the_open_segment_alone(talk, tmp_path):
    out = tmp_path / "heard.jsonl"
    process = start("-", "--rate", RATE, "--sink", f"jsonl:{out}")
    process.stdin.write(np.concatenate([talk, talk[: 7 * RATE]]).tobytes())
    process.stdin.flush()
    whole = run(talk.tobytes(), "-", "--rate", RATE, "--sink", "jsonl")[1]
    closed = whole[:-1]  # the last ran to the end
    wait_for(lambda: out.exists() and out.read_text().count("\n") > len(closed))
    process.kill()
    process.wait(timeout=10)
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    lines = [json.loads(line) for line in out.read_text().splitlines()]  # each line is whole
    for one, other in zip(lines, closed, strict=False):
        assert (one["start"], one["end"], one["emotion"]) == (
            other["start"], other["end"], other["emotion"],
        )  # fmt: skip
    assert len(lines) > len(closed)


def asked(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def wait_for(done, seconds=90.0):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


@pytest.mark.component
def test_an_address_of_another_machine():
    ended, _, err = run(b"", "-", "--rate", "16000", "--health", "192.0.2.1:0")
    assert (ended, "--health 192.0.2.1:0" in err, "Traceback" in err) == (1, True, False)


# ------------------------------------------------------------------------------------- the view


def event(kind, start, end, emotion, score=0.7):
    scores = {"calm": 1 - score, "angry": score}
    return Event(kind, start, end, "", emotion, score, scores, "mic", "CPU", "compact")


def test_the_view_draws_over_itself_and_gives_the_cursor_back():
    out = io.StringIO()
    status = InputStatus("USB mic", "listening", RATE, overruns=2)
    view = LiveView(out, ("calm", "angry"), "compact on CPU", lambda: status, {})
    view.event(event("window", 0, 5, "angry"))
    view.event(event("segment", 0, 4.5, "angry"))
    view.event(event("segment", 4.5, 9, "silence"))
    view.say("microphone lost")
    view.close()
    text = out.getvalue()
    assert text.startswith("\x1b[?25l")
    assert text.endswith("\x1b[?25h")
    assert text.count("microphone lost\n") == 1
    lines = view.lines(60)
    assert all(len(line) <= 60 + len("\x1b[1m\x1b[0m") for line in lines)
    shown = "\n".join(lines)
    assert "USB mic, listening, 2 overruns" in shown
    assert "angry    ####################" in shown
    assert "0:00:00.0 - 0:00:04.5  angry" in shown
    assert "segments so far: 1" in shown  # silence is none


def test_no_colour_where_none_is_wanted():
    view = LiveView(io.StringIO(), ("a",), "t", lambda: InputStatus("m"), {"NO_COLOR": "1"})
    assert "\x1b" not in "".join(view.lines(80))


@pytest.mark.component
def test_in_a_terminal_the_view_and_elsewhere_lines(talk):
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [*LISTEN, "-", "--rate", str(RATE)],
        stdin=subprocess.PIPE,
        stdout=follower,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        os.close(follower)
        shown = bytearray()
        reader = threading.Thread(target=lambda: drain(leader, shown), daemon=True)
        reader.start()
        process.stdin.write(talk.tobytes())
        process.stdin.close()
        assert process.wait(timeout=120) == 0, process.stderr.read()
        reader.join(10)
    text = shown.decode()
    assert text.rstrip().endswith("\x1b[?25h")
    for words in ("neutral", "surprised", "level", "compact on CPU", "segments so far"):
        assert words in text


def drain(descriptor, into):
    try:
        while data := os.read(descriptor, 4_096):
            into += data
    except OSError:  # Linux says so when the other end is closed
        return


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00:00.0"), (59.96, "0:01:00.0"), (3_723.45, "1:02:03.4")]
)
def test_a_clock(seconds, shown):
    assert clock_of(seconds) == shown
