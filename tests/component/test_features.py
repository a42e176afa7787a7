"""Classic features: what the numbers mean, and tables of them that survive a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, speechlike
from ser_edge.audio.decode import AudioError, load
from ser_edge.baseline import features as features_module
from ser_edge.baseline import table as featuretable
from ser_edge.baseline.features import STATISTICS, FeatureSpec, courses, features
from ser_edge.baseline.table import FeatureTable, extract, read_table, write_table
from ser_edge.corpora import CORPORA

SCRIPT = str(ROOT / "scripts" / "features.py")
SPEC = FeatureSpec()
RATE = SPEC.sample_rate
CLIP_COLUMNS = len(featuretable._CLIP_FIELDS)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, words), "--quiet", "--workers", "1"],
        capture_output=True,
        text=True,
        check=False,
    )


def sine(hz: float, amplitude: float = 1.0, seconds: float = 1.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def named(sound: np.ndarray, spec: FeatureSpec = SPEC) -> dict[str, float]:
    return dict(zip(spec.names, features(sound, spec).tolist(), strict=True))


@pytest.mark.parametrize(
    ("hz", "pitch_class"),
    [(440.0, 10), (523.25, 1), (1046.5, 1), (987.77, 12)],  # A, C, the C above, B
)
def test_what_the_features_of_a_tone_are(hz, pitch_class):
    found = named(sine(hz, amplitude=0.5))
    assert found["centroid_mean"] == pytest.approx(hz, rel=0.01)
    assert found["zero_crossings_mean"] == pytest.approx(2 * hz / RATE, rel=0.02)
    assert found["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert found["rms_std"] < 0.01
    chroma = [found[f"chroma_{n:02d}_mean"] for n in range(1, 13)]
    assert int(np.argmax(chroma)) + 1 == pitch_class
    mel = [found[f"mel_{n:03d}_max"] for n in range(1, 129)]
    assert max(mel) == pytest.approx(20 * np.log10(0.5), abs=2.5)  # of two bands beside the tone


def test_mfcc_are_those_that_librosa_makes_of_the_mel_bands():
    import librosa

    sound = speechlike(2.0, RATE)
    course = courses(sound, SPEC)
    mfcc, mel = course[:40], course[40:168]
    np.testing.assert_allclose(mfcc, librosa.feature.mfcc(S=mel, n_mfcc=40), rtol=1e-4, atol=1e-3)
    assert mel.min() >= SPEC.floor_db - 1e-3
    quieter = courses(0.1 * sound, SPEC)[40:168]
    loud = mel > SPEC.floor_db + 25
    np.testing.assert_allclose((mel - quieter)[loud], 20, atol=1e-3)


def test_statistics_are_of_the_whole_sound_however_long(monkeypatch):
    sound = speechlike(3.0, RATE)
    whole = features(sound, SPEC)
    course = courses(sound, SPEC).astype(np.float64)
    assert course.shape == (183, 1 + (sound.size - 1024) // 256)
    for number, statistic in enumerate(STATISTICS.values()):
        np.testing.assert_allclose(whole[number::4], statistic(course, axis=1), rtol=1e-5)
    monkeypatch.setattr(features_module, "_BLOCK_FRAMES", 7)
    np.testing.assert_allclose(features(sound, SPEC), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 1023, 1024, 1279, 1280])
def test_short_and_silent_sounds_have_finite_features(samples):
    for sound in (np.zeros(samples, np.float32), np.full(samples, 0.1, np.float32)):
        found = features(sound, SPEC)
        assert found.shape == (len(SPEC.names),)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


@pytest.mark.unit
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_mfcc": 0}, "n_mfcc is 0, allowed: 1 or more"),
        ({"hop_length": -1}, "hop_length is -1"),
        ({"n_mfcc": 20, "n_mels": 13}, "n_mfcc is 20, allowed: up to n_mels, 13"),
    ],
)
def test_specifications_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        FeatureSpec(**values)


@pytest.fixture(params=featuretable.SUFFIXES)
def suffix(request) -> str:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    return request.param


SMALL = FeatureSpec(n_mfcc=4, n_mels=16)


def made(corpus: Path, out: Path, spec: FeatureSpec = SMALL) -> featuretable.Report:
    scan = CORPORA["ravdess"].scan(corpus)
    return extract(scan.utterances, corpus, out, spec, workers=0, progress=False)


def test_a_table_says_of_every_clip_what_it_is(make_ravdess, tmp_path, suffix):
    corpus = make_ravdess(actors=(1, 2), emotions=(1, 5), seconds=1.2, rate=48_000)
    soundfile.write(corpus / "03-02-03-02-02-02-02.flac", speechlike(8.7, 16_000), 16_000)
    out = tmp_path / f"table{suffix}"
    report = made(corpus, out)
    assert (report.made, report.found, report.problems) == (5, 0, ())
    table = read_table(out)
    assert table.names == SMALL.names
    assert table.values.shape == (5, len(SMALL.names))
    assert table.values.dtype == np.float32
    song, *speech = table.clips
    assert (song.file, song.channel, song.seconds) == ("03-02-03-02-02-02-02.flac", "song", 8.7)
    assert [clip.file for clip in speech] == [
        f"Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.wav"
        for actor in ("01", "02")
        for emotion in ("01", "05")
    ]
    last = speech[-1]
    assert (last.speaker, last.sex, last.emotion, last.language) == (
        "ravdess-02", "female", "angry", "en",
    )  # fmt: skip
    np.testing.assert_array_equal(
        table.values[-1], features(load(corpus / last.file, SMALL.sample_rate), SMALL)
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corpus", out.name]


def test_any_corpus_will_do(tmp_path):
    for name in ("SM0_anger_1.wav", "KD0_sadness_2.wav"):
        soundfile.write(tmp_path / name, speechlike(0.5, RATE), RATE)
    scan = CORPORA["nemo"].scan(tmp_path)
    extract(scan.utterances, tmp_path, tmp_path / "t.csv", SMALL, workers=0, progress=False)
    clips = read_table(tmp_path / "t.csv").clips
    assert {(c.speaker, c.emotion, c.language) for c in clips} == {
        ("nemo-sm0", "angry", "pl"),
        ("nemo-kd0", "sad", "pl"),
    }


def test_twice_gives_the_same_bytes(make_ravdess, tmp_path, suffix):
    corpus = make_ravdess()
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    made(corpus, first)
    before = first.read_bytes()
    again = made(corpus, first)
    assert (again.made, again.found) == (0, 4)
    assert first.read_bytes() == before
    made(corpus, second)
    assert second.read_bytes() == before


def test_changed_sounds_and_other_settings_are_computed_anew(make_ravdess, tmp_path):
    corpus, out = make_ravdess(), tmp_path / "t.csv"
    made(corpus, out)
    before = read_table(out)
    changed = next(corpus.rglob("*-05-*-02.wav"))
    soundfile.write(changed, speechlike(1.2, 16_000, seed=9), 16_000)
    report = made(corpus, out)
    assert (report.made, report.found) == (1, 3)
    moved = [a != b for a, b in zip(before.clips, read_table(out).clips, strict=True)]
    assert moved == [False, False, False, True]
    assert made(corpus, out, FeatureSpec(n_mfcc=4, n_mels=16, hop_length=512)).made == 4
    assert made(corpus, out, FeatureSpec(n_mfcc=5, n_mels=16)).made == 4
    assert len(read_table(out).names) == (5 + 16 + 12 + 3) * 4


@pytest.mark.system
def test_a_killed_run_goes_on_where_it_was(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=tuple(range(1, 13)), emotions=tuple(range(1, 9)), seconds=2.0)
    out = tmp_path / "t.csv"
    journal = tmp_path / "t.csv.part"
    process = subprocess.Popen(
        [sys.executable, SCRIPT, corpus, out, "--quiet", "--workers", "1"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") > 10:
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = journal.read_bytes().count(b'"}\n')
    assert 10 <= done < 96
    assert not out.exists()
    with open(journal, "ab") as file:
        file.write(b'{"key": "0123456789abcdef", "seconds": 1.2, "values": "AAA')  # cut off
    again = run(corpus, out)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"{96 - done} clips computed, {done} were there already" in again.stdout
    assert not journal.exists()
    assert run(corpus, tmp_path / "fresh.csv").returncode == 0
    assert out.read_bytes() == (tmp_path / "fresh.csv").read_bytes()


@pytest.mark.system
def test_processes_end_when_the_program_is_killed(make_ravdess, tmp_path):
    corpus = make_ravdess(actors=(1, 2, 3), emotions=tuple(range(1, 9)), seconds=2.0)
    journal = tmp_path / "t.csv.part"
    process = subprocess.Popen(
        [sys.executable, SCRIPT, corpus, tmp_path / "t.csv", "--quiet", "--workers", "2"],
        start_new_session=True,
        stdout=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") > 3:
            break
        time.sleep(0.01)
    process.kill()  # it alone: the others are of the same group
    process.communicate()
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("its processes live on")


def test_bad_files_are_named_and_left_out(make_ravdess, tmp_path):
    corpus = make_ravdess()
    (corpus / "03-01-02-01-01-01-07.wav").write_text("no sound")
    (corpus / "strange.wav").write_text("no name")
    done = run(corpus, tmp_path / "t.csv")
    assert done.returncode == 1
    assert "unreadable: " in done.stderr
    assert "03-01-02-01-01-01-07.wav: it is not sound" in done.stderr
    assert "strange.wav: its name is not seven" in done.stderr
    assert "4 clips computed, 0 were there already, 1 unreadable, 1 left out" in done.stdout
    assert len(read_table(tmp_path / "t.csv").clips) == 4
    (corpus / "03-01-02-01-01-01-07.wav").unlink()
    again = run(corpus, tmp_path / "t.csv")
    assert (again.returncode, again.stdout.split(";")[0]) == (
        0, "0 clips computed, 4 were there already, 0 unreadable, 1 left out",
    )  # fmt: skip


@pytest.mark.unit
def test_features_that_are_not_finite_are_a_bad_file(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", speechlike(0.5, RATE), RATE)
    nothing = np.full(len(SMALL.names), np.nan, np.float32)
    monkeypatch.setattr(featuretable, "features", lambda *_: nothing)
    with pytest.raises(AudioError, match="not finite"):
        featuretable.compute(tmp_path / "a.wav", SMALL)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("missing", "out", "extra"),
    [("librosa", "t.csv", "features"), ("pyarrow", "t.parquet", "parquet")],
)
def test_what_is_not_installed_is_named_before_work_begins(
    here, make_ravdess, tmp_path, monkeypatch, missing, out, extra
):
    monkeypatch.setitem(sys.modules, missing, None)
    done = here("features.py", make_ravdess((1,), (1,)), tmp_path / out)
    assert done.returncode == 2
    assert f"needs {missing}" in done.stderr or f"need {missing}" in done.stderr
    assert f"pip install 'ser-edge[{extra}]'" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["corpus"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "a,b\n1,2\n", "its columns should begin with file"),
        (lambda text: text.splitlines()[0] + "\n", "it has no rows"),
        (lambda text: text + "one,cell\n", "line 6 has 2 cells"),
        (lambda text: text.replace("1.2,", "long,", 1), "could not convert"),
    ],
)
def test_broken_tables_are_named(make_ravdess, tmp_path, change, message):
    out = tmp_path / "t.csv"
    made(make_ravdess(), out)
    out.write_text(change(out.read_text()))
    with pytest.raises(ValueError, match=message) as caught:
        read_table(out)
    assert str(caught.value).startswith(f"{out}: ")


@pytest.mark.unit
def test_a_missing_table_and_a_broken_parquet(tmp_path, suffix):
    with pytest.raises(ValueError, match="No such file"):
        read_table(tmp_path / f"none{suffix}")
    (tmp_path / f"t{suffix}").write_bytes(b"no table")
    with pytest.raises(ValueError, match=f"t{suffix}: no table of features"):
        read_table(tmp_path / f"t{suffix}")


def test_numbers_come_back_as_they_were(make_ravdess, tmp_path, suffix):
    made(make_ravdess(), tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    odd = np.array([1e-38, -0.0, np.pi, 16777217.0], np.float32)
    values = table.values.copy()
    values[0, :4] = odd
    write_table(FeatureTable(table.clips, table.names, values), tmp_path / f"u{suffix}")
    again = read_table(tmp_path / f"u{suffix}")
    assert again.clips == table.clips
    np.testing.assert_array_equal(again.values, values)


def test_real_speech_is_louder_when_it_is_angry(ravdess):
    chosen = [
        u
        for u in CORPORA["ravdess"].scan(ravdess).utterances
        if u.speaker in {"ravdess-01", "ravdess-02"} and u.channel == "speech"
        and u.emotion in {"calm", "angry"}
    ]  # fmt: skip
    place = SPEC.names.index("rms_max")
    rms = {
        emotion: np.mean(
            [features(load(u.path, RATE), SPEC)[place] for u in chosen if u.emotion == emotion][::4]
        )
        for emotion in ("calm", "angry")
    }
    assert rms["angry"] > 3 * rms["calm"]
