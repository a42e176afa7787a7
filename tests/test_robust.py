"""Three hundred malformed sounds, made by mutating good ones: each an answer or an error line."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import speechlike

COUNT = 300
FORMATS = (
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAVEX", "PCM_24"),
    ("wav", "WAV", "FLOAT"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
)


def truncated(good: bytes, random: np.random.Generator) -> bytes:
    return good[: int(random.integers(0, len(good)))]


def cut_in_header(good: bytes, random: np.random.Generator) -> bytes:
    return good[: int(random.integers(1, 60))]


def flipped(good: bytes, random: np.random.Generator) -> bytes:
    raw = np.frombuffer(good, np.uint8).copy()
    where = random.integers(0, len(raw), int(random.integers(1, 200)))
    raw[where] ^= (1 << random.integers(0, 8, len(where))).astype(np.uint8)
    return raw.tobytes()


def header_flipped(good: bytes, random: np.random.Generator) -> bytes:
    return flipped(good[:64], random) + good[64:]


def lying(good: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, 60))
    lie = struct.pack("<I", int(random.choice([0, 1, 2**16, 2**31, 2**32 - 1, 48_000, 96])))
    return good[:at] + lie + good[at + 4 :]


def doubled(good: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(good)))
    return good[:at] + good[: int(random.integers(0, len(good)))]


def overwritten(good: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(0, len(good)))
    return good[:at] + random.bytes(int(random.integers(1, 2000))) + good[at + 500 :]


MUTATIONS = (truncated, cut_in_header, flipped, header_flipped, lying, doubled, overwritten)


@pytest.fixture(scope="module")
def malformed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("malformed")
    good = {}
    for suffix, format, subtype in FORMATS:
        path = folder / "good"
        soundfile.write(path, speechlike(1.5, 16_000), 16_000, subtype, format=format)
        good[(suffix, format, subtype)] = path.read_bytes()
        path.unlink()
    random = np.random.default_rng(20261120)
    for number in range(COUNT):
        key = FORMATS[number % len(FORMATS)]
        mutate = MUTATIONS[number // len(FORMATS) % len(MUTATIONS)]
        # One in five under a wrong suffix as well.
        suffix = str(random.choice(["wav", "mp3", "flac", "ogg"])) if number % 5 == 0 else key[0]
        name = f"{number:03d}-{mutate.__name__}.{suffix}"
        (folder / name).write_bytes(mutate(good[key], random))
    return folder


def test_each_is_an_answer_or_an_error_line(malformed, small_model):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c",
         "import sys; from edge_app.cli import main; sys.exit(main())",
         "predict", "-m", str(small_model), "--format", "jsonl", str(malformed)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == COUNT
    assert [Path(line["file"]).name for line in lines] == sorted(
        path.name for path in malformed.iterdir()
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Fatal" not in done.stderr
    errors = [line for line in lines if "error" in line]
    answers = [line for line in lines if "error" not in line]
    assert len(errors) > 50
    assert len(answers) > 50
    for line in errors:
        assert line["error"].startswith(f"{line['file']}: ")
        assert "\n" not in line["error"]
    for line in answers:
        assert sum(line["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert all(np.isfinite(list(line["scores"].values())))


def test_python_sees_only_the_one_error_type(malformed):
    from ser_edge import audio

    for path in sorted(malformed.iterdir()):
        try:
            waveform = audio.load(path, 16_000)
        except audio.AudioError:
            continue
        assert waveform.size
        assert np.isfinite(waveform).all()
