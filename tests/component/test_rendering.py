from __future__ import annotations

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from conftest import ROOT, speechlike
from ser_edge.audio import decode
from ser_edge.corpora import CORPORA
from ser_edge.data.render import read_index, render, render_utterance
from ser_edge.mel.image import MelImageSpec, mel_image

SCRIPT = str(ROOT / "scripts" / "render.py")
SPEC = MelImageSpec()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False
    )


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_pictures_index_and_specification(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(1, 2), emotions=(1, 5), seconds=1.2, rate=48_000)
    soundfile.write(corpus / "03-02-03-02-02-02-02.flac", speechlike(8.7, 16_000), 16_000)
    done = run(corpus, tmp_path / "out", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "5 clips rendered, 0 were there already, 0 unreadable" in done.stdout

    spec, rows = read_index(tmp_path / "out")
    assert spec == SPEC
    assert len(rows) == 4 + 3
    assert sorted({row.emotion for row in rows}) == ["angry", "happy", "neutral"]
    song = [row for row in rows if row.channel == "song"]
    assert [(row.window, row.start) for row in song] == [(0, 0.0), (1, 2.5), (2, 3.7)]
    assert all(0 < row.speech <= 1 for row in rows)
    for row in rows:
        assert row.image == f"{row.emotion}/{row.utterance}_w{row.window}.png"
        with Image.open(tmp_path / "out" / row.image) as picture:
            assert (picture.mode, picture.size) == ("L", SPEC.shape[::-1])

    clip = next(row for row in rows if row.utterance == "03-01-05-01-01-01-02")
    with Image.open(tmp_path / "out" / clip.image) as picture:
        path = next(corpus.rglob(f"{clip.utterance}.wav"))
        np.testing.assert_array_equal(
            np.asarray(picture), mel_image(decode.load(path, SPEC.sample_rate), SPEC)
        )


def test_twice_gives_the_same_bytes(make_ravdess, tmp_path):
    corpus = make_ravdess()
    run(corpus, tmp_path / "a", "--quiet")
    first = content(tmp_path / "a")
    again = run(corpus, tmp_path / "a", "--quiet")
    assert "0 clips rendered, 4 were there already" in again.stdout
    assert content(tmp_path / "a") == first
    run(corpus, tmp_path / "b", "--quiet", "--workers", 1)
    assert content(tmp_path / "b") == first


def test_changed_sounds_and_other_specifications_are_rendered_anew(make_ravdess, tmp_path):
    corpus = make_ravdess()
    run(corpus, tmp_path / "a", "--quiet")
    first = content(tmp_path / "a")
    changed = next(corpus.rglob("*.wav"))
    soundfile.write(changed, speechlike(1.2, 16_000, seed=9), 16_000)
    assert "1 clips rendered, 3 were there" in run(corpus, tmp_path / "a", "--quiet").stdout
    second = content(tmp_path / "a")
    assert [k for k in first if first[k] != second[k]] == [
        k for k in first if changed.stem in k or (k == "index.csv" and first[k] != second[k])
    ]
    other = run(corpus, tmp_path / "a", "--quiet", "--n-mels", 40)
    assert "4 clips rendered" in other.stdout
    assert read_index(tmp_path / "a")[0].n_mels == 40


@pytest.mark.system
def test_a_killed_run_goes_on_where_it_was(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=tuple(range(1, 25)), emotions=tuple(range(1, 9)), seconds=4.0)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, SCRIPT, corpus, out, "--quiet"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while len(list(out.rglob("*.png"))) < 15 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = len(list(out.rglob("[!.]*.png")))
    assert 15 <= done < 192
    assert not (out / "index.csv").exists()
    (out / "angry" / ".03-01-05-01-01-01-01_w0.png.1.unfinished").write_bytes(b"half")
    again = run(corpus, out, "--quiet")
    assert again.returncode == 0
    assert f"{192 - done} clips rendered, {done} were there already" in again.stdout
    assert not list(out.rglob("*.unfinished"))
    run(corpus, tmp_path / "fresh", "--quiet")
    assert content(out) == content(tmp_path / "fresh")


def test_damaged_pictures_are_made_again(make_ravdess, tmp_path):
    corpus = make_ravdess()
    run(corpus, tmp_path / "out", "--quiet")
    before = content(tmp_path / "out")
    first, second, third, _ = sorted((tmp_path / "out").rglob("*.png"))
    first.write_bytes(first.read_bytes()[:50])
    second.unlink()
    Image.new("L", (10, 10)).save(third)
    assert "3 clips rendered, 1 were there" in run(corpus, tmp_path / "out", "--quiet").stdout
    assert content(tmp_path / "out") == before


def test_unreadable_files_are_listed_at_the_end_and_set_the_exit_code(make_ravdess, tmp_path):
    corpus = make_ravdess()
    (corpus / "03-01-02-01-01-01-07.wav").write_text("no sound")
    (corpus / "strange.wav").write_text("no name")
    done = run(corpus, tmp_path / "out", "--quiet")
    assert done.returncode == 1
    assert "unreadable" in done.stderr
    assert "03-01-02-01-01-01-07.wav: it is not sound" in done.stderr
    assert "strange.wav: its name is not seven" in done.stderr
    assert len(read_index(tmp_path / "out")[1]) == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("index.csv", None, r"there is no index\.csv"),
        ("spec.json", None, r"there is no spec\.json"),
        ("spec.json", "{}", r"spec\.json: .*version"),
        ("index.csv", "a,b\n", r"index\.csv: its columns"),
    ],
)
def test_broken_renderings_are_named(make_ravdess, tmp_path, name, text, message):
    scan = CORPORA["ravdess"].scan(make_ravdess())
    render(scan.utterances, tmp_path / "out", SPEC, workers=1, progress=False)
    if text is None:
        (tmp_path / "out" / name).unlink()
    else:
        (tmp_path / "out" / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_index(tmp_path / "out")


def test_the_index_opens_with_the_csv_module(make_ravdess, tmp_path):
    scan = CORPORA["ravdess"].scan(make_ravdess())
    render(scan.utterances, tmp_path / "out", SPEC, workers=1, progress=False)
    with open(tmp_path / "out" / "index.csv", newline="") as file:
        assert [row["speaker"] for row in csv.DictReader(file)] == [
            "ravdess-01", "ravdess-02", "ravdess-01", "ravdess-02",
        ]  # fmt: skip
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert spec["n_mels"] == 80


@pytest.mark.unit
def test_real_speech_and_song(ravdess, tmp_path):
    chosen = [u for u in CORPORA["ravdess"].scan(ravdess).utterances if u.speaker == "ravdess-07"]
    rows = [row for u in chosen[::10] for row in render_utterance(u, tmp_path, SPEC)[0]]
    assert {row.channel for row in rows} == {"speech", "song"}
    assert all(row.speech > 0.1 for row in rows if row.window == 0)
