"""A microphone through the real PortAudio: PulseAudio simulates one that is lost and comes back."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, SAMPLES
from ser_edge.audio import decode

RATE = 48_000
# Of libasound2-plugins: without it ALSA, and so PortAudio, has no access to PulseAudio.
PLUGIN = "libasound_module_pcm_pulse.so"


class SoundServer:
    """A PulseAudio server whose only microphone reads from a pipe."""

    def __init__(self, folder: Path) -> None:
        self.pipe = folder / "microphone"
        home, runtime = folder / "home", folder / "run"
        home.mkdir()
        runtime.mkdir(mode=0o700)
        (home / ".asoundrc").write_text(
            "pcm.!default { type pulse }\nctl.!default { type pulse }\n"
        )
        self.environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._over = threading.Event()
        self._speaking = threading.Thread(target=self._speak, daemon=True)

    def __enter__(self) -> SoundServer:
        self.open()
        self._speaking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._speaking.join(10)
        self.close()

    def open(self) -> None:
        module = f"module-pipe-source source_name=kitchen file={self.pipe} format=s16le "
        self._pulse(
            "--daemonize=yes", "--exit-idle-time=-1", "-n",
            "-L", "module-native-protocol-unix", "-L", f"{module} rate={RATE} channels=1",
        )  # fmt: skip

    def close(self) -> None:
        self._pulse("--kill")

    def _pulse(self, *options: str) -> None:
        subprocess.run(
            ["pulseaudio", *options], env=self.environment, check=True, capture_output=True
        )

    def _speak(self) -> None:
        """Write speech to the pipe in real time."""
        clip = next(path for path in SAMPLES if path.stem == "man-long")
        sound = np.round(decode.load(clip, RATE) * 32_767).astype("<i2").tobytes()
        block, at = RATE // 10 * 2, 0
        while not self._over.is_set():
            try:
                pipe = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # there is no reader or no pipe
                time.sleep(0.1)
                continue
            try:
                while not self._over.wait(0.1):
                    at = (at + os.write(pipe, sound[at : at + block])) % len(sound)
            except BlockingIOError:
                time.sleep(0.1)
            except BrokenPipeError:
                pass
            finally:
                os.close(pipe)


@pytest.fixture
def sound_server(tmp_path, portaudio):
    if shutil.which("pulseaudio") is None:
        pytest.skip("there is no PulseAudio (apt-get install pulseaudio)")
    if not any(Path("/usr/lib").glob(f"*/alsa-lib/{PLUGIN}")):
        pytest.skip("ALSA has no access to PulseAudio (apt-get install libasound2-plugins)")
    with SoundServer(tmp_path) as running:
        yield running


def start_listen(*options, environment):
    return subprocess.Popen(
        [sys.executable, "-m", "edge_app", "listen", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def health_of(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def wait_for(url, done, seconds=120):
    end = time.monotonic() + seconds
    while not done(*(got := health_of(url))):
        assert time.monotonic() < end, f"it took too long: {got}"
        time.sleep(0.1)
    return got[1]


def test_the_microphone_is_listed(sound_server):
    done = subprocess.run(
        [sys.executable, "-m", "edge_app", "listen", "--list-mics"],
        capture_output=True, text=True, env=sound_server.environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "pulse, 32 channels" in done.stdout


def test_a_lost_microphone_is_found_again(sound_server, tmp_path):
    out = tmp_path / "heard.jsonl"
    process = start_listen(
        "pulse", "--health", "0", "--sink", f"jsonl:{out}", environment=sound_server.environment
    )
    url = process.stderr.readline().split()[-1]
    wait_for(url, lambda code, health: code == 200 and health["source"]["heard"] > 4)

    sound_server.close()
    lost = wait_for(url, lambda code, health: code == 503 and health["source"]["state"] == "lost")
    assert (lost["status"], lost["source"]["lost"]) == ("deaf", 1)
    assert process.poll() is None

    sound_server.open()
    more = lost["source"]["heard"] + 3
    back = wait_for(url, lambda code, health: code == 200 and health["source"]["heard"] > more)
    assert (back["status"], back["source"]["state"], back["source"]["lost"]) == (
        "ok", "listening", 1,
    )  # fmt: skip

    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "microphone lost: pulse" in err
    assert "microphone found again: pulse" in err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["source"] for line in lines} == {"pulse"}
    assert any(line["emotion"] != "silence" for line in lines)
    # There are segments on both sides of the gap, and none across it.
    assert all(one["end"] <= two["start"] for one, two in itertools.pairwise(lines))
    assert any(line["end"] == pytest.approx(lost["source"]["heard"], abs=0.2) for line in lines)
