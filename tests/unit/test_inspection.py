"""``ser-edge corpora``: the known corpora, and what is wrong with one on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from ser_edge.audio.decode import AudioError, load_stored
from ser_edge.corpora import CORPORA
from ser_edge.corpora.inspection import CLIPPED_SHARE, inspect, table, to_dict

RATE = 16_000


def write(path: Path, sound: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


@pytest.fixture
def crema(tmp_path: Path) -> Path:
    """A corpus with one of every trouble; what is sound is 1.0, 1.5 and 6 s long."""
    root = tmp_path / "crema"
    write(root / "1001_IEO_ANG_HI.wav", speechlike(1.0, RATE, 1))
    write(root / "1001_IEO_SAD_LO.wav", speechlike(1.5, 48_000, 2), 48_000)
    write(root / "1002_IEO_SAD_LO.wav", np.stack([speechlike(6.0, RATE, 3)] * 2, axis=1))
    write(root / "1002_TSI_NEU_XX.wav", np.full(RATE, 2e-5), subtype="PCM_24")  # silent
    loud = speechlike(1.0, RATE, 4)
    write(root / "1002_TSI_ANG_XX.wav", np.clip(20 * loud / np.abs(loud).max(), -1, 1))
    peak = speechlike(1.0, RATE, 5)
    write(root / "1002_TSI_FEA_XX.wav", peak / np.abs(peak).max())  # touches full scale once
    (root / "1002_TSI_HAP_XX.wav").write_text("no sound")
    same = write(root / "1003_IWW_HAP_XX.wav", speechlike(1.0, RATE, 6)).read_bytes()
    (root / "1003_IWW_DIS_XX.wav").write_bytes(same)
    (root / "1006_TIE_HAP_XX.wav").write_bytes(same)  # known to the adapter
    (root / "odd.wav").touch()
    return root


@pytest.fixture
def found(crema: Path):
    return inspect("crema-d", crema, CORPORA["crema-d"].scan(crema), workers=2, progress=False)


def stems(recordings) -> list[str]:
    return [recording.utterance.name for recording in recordings]


def test_everything_that_is_the_matter_is_found(found):
    assert stems(found.silent) == ["1002_TSI_NEU_XX"]
    assert stems(found.clipped) == ["1002_TSI_ANG_XX"]
    assert [problem.path.stem for problem in found.unreadable] == ["1002_TSI_HAP_XX"]
    assert [[u.name for u in twins.utterances] for twins in found.twins] == [
        ["1003_IWW_DIS_XX", "1003_IWW_HAP_XX"]
    ]
    assert found.twins[0].contradict
    assert not found.is_sound
    assert [(p.path.stem, p.kind) for p in found.scan.problems] == [
        ("1006_TIE_HAP_XX", "fault"),
        ("odd", "name"),
    ]


def test_counts_and_measures(found):
    assert found.speakers == ("crema-d-1001", "crema-d-1002", "crema-d-1003")
    assert found.emotions == ("neutral", "happy", "sad", "angry", "fearful", "disgust")
    assert found.counts["crema-d-1002", "sad"] == 1
    assert found.counts["crema-d-1003", "sad"] == 0
    assert sum(found.counts.values()) == 9
    assert found.rates == {16_000: 7, 48_000: 1}
    assert found.channels == {1: 7, 2: 1}
    durations = found.durations
    assert (durations.least, durations.median, durations.most) == (1.0, 1.0, 6.0)
    assert durations.total == pytest.approx(13.5)
    assert durations.long_share == 1 / 8


@pytest.mark.parametrize(("full", "is_clipped"), [(0, False), (15, False), (16, True)])
def test_clipped_is_a_share_of_the_samples(tmp_path, full, is_clipped):
    sound = 0.5 * np.ones(RATE)
    sound[:full] = -1.0
    write(tmp_path / "1001_IEO_ANG_HI.wav", sound)
    scan = CORPORA["crema-d"].scan(tmp_path)
    (recording,) = inspect("crema-d", tmp_path, scan, progress=False).recordings
    assert recording.clipped == full / RATE
    assert recording.is_clipped is is_clipped
    assert CLIPPED_SHARE == 0.001


def test_same_bytes_under_one_label_are_no_contradiction(tmp_path):
    for repetition in ("01", "02"):  # as RAVDESS has it, of actor 07
        write(tmp_path / f"03-01-03-01-02-{repetition}-07.wav", speechlike(1.0, RATE))
    found = inspect("ravdess", tmp_path, CORPORA["ravdess"].scan(tmp_path), progress=False)
    assert [twins.contradict for twins in found.twins] == [False]
    assert found.is_sound


def test_the_text_says_it_all(found):
    text = table(found)
    assert "9 clips, 3 speakers, 6 emotions" in text
    assert text.splitlines()[1].split() == ["speaker", *found.emotions, "all"]
    assert text.splitlines()[3].split() == ["crema-d-1002", "1", "1", "1", "1", "1", "0", "5"]
    assert text.splitlines()[5].split() == ["all", "1", "2", "2", "2", "1", "1", "9"]
    assert "1.00 s to 6.00 s, median 1.00 s, 12.5% longer than 5 s" in text
    assert "16000 Hz (7 clips), 48000 Hz (1 clips)" in text
    assert "CONTRADICTORY" in text
    assert "left out: 2" in text


def test_the_command_checks(here, crema):
    done = here("corpora", "check", crema, "--corpus", "crema-d", "--quiet")
    assert (done.returncode, done.stderr) == (1, "")
    assert "unreadable: 1" in done.stdout
    done = here("corpora", "check", crema, "--corpus", "crema-d", "--quiet", "--json")
    assert done.returncode == 1
    plain = json.loads(done.stdout)
    assert plain["clips"] == 9
    assert plain["speakers"]["crema-d-1002"]["sad"] == 1
    assert plain["unreadable"].keys() == {"1002_TSI_HAP_XX.wav"}
    assert plain["duplicates"] == [
        {
            "files": {"1003_IWW_DIS_XX.wav": "disgust", "1003_IWW_HAP_XX.wav": "happy"},
            "contradict": True,
        }
    ]
    (crema / "1002_TSI_HAP_XX.wav").unlink()
    assert here("corpora", "check", crema, "--corpus", "crema-d").returncode == 1  # contradictory
    (crema / "1003_IWW_DIS_XX.wav").unlink()
    done = here("corpora", "check", crema, "--corpus", "crema-d")
    assert done.returncode == 0
    assert "7/7" in done.stderr  # a bar


def test_the_list(here):
    text = here("corpora", "list").stdout
    for name, corpus in CORPORA.items():
        assert f"{name}\n" in text or f"{name};" in text
        assert corpus.licence in text
        assert corpus.citation in text
    assert "CC BY-NC-ND 4.0; no shipped weights" in text
    assert "left out  boredom" in text
    assert "left out  1076_MTI_SAD_XX: it is silent" in text
    plain = json.loads(here("corpora", "list", "--json").stdout)
    assert plain.keys() == CORPORA.keys()
    assert plain["esd"]["languages"] == ["zh", "en"]
    assert plain["emodb"]["emotions_left_out"] == ["boredom"]
    assert not plain["tess"]["weights_may_ship"]
    assert "calm" not in plain["tess"]["emotions"]


def test_boredom_is_counted(tmp_path):
    write(tmp_path / "03a01Fa.wav", speechlike(1.0, RATE))
    for name in ("03a01La", "08a02Lb"):
        (tmp_path / f"{name}.wav").touch()
    found = inspect("emodb", tmp_path, CORPORA["emodb"].scan(tmp_path), progress=False)
    assert "boredom, which is none of the eight: 2" in table(found)
    assert [entry["kind"] for entry in to_dict(found)["left_out"]] == ["emotion", "emotion"]


def test_a_sound_as_it_is_stored(tmp_path):
    stereo = np.stack([np.full(800, 0.25), np.full(800, -0.5)], axis=1)
    (stored,) = load_stored(write(tmp_path / "a.wav", stereo, 44_100))
    assert stored.rate == 44_100
    np.testing.assert_array_equal(stored.samples, stereo)
    (tmp_path / "b.wav").touch()
    with pytest.raises(AudioError, match="it is empty"):
        load_stored(tmp_path / "b.wav")


@pytest.mark.parametrize(("name", "rates"), [("ravdess48k", {48_000}), ("ravdess", {16_000})])
def test_one_real_actor(data, name, rates):
    folder = data / name / "Actor_03"
    found = inspect("ravdess", folder, CORPORA["ravdess"].scan(folder), progress=False)
    assert found.is_sound
    assert set(found.rates) == rates
    assert not found.silent
    assert 2.9 < found.durations.least <= found.durations.most < 6.5


def test_the_real_pair_of_the_same_bytes(data):
    folder = data / "ravdess" / "Actor_07"
    found = inspect("ravdess", folder, CORPORA["ravdess"].scan(folder), progress=False)
    (twins,) = found.twins
    assert [u.name for u in twins.utterances] == [f"03-01-03-01-02-{r}-07" for r in ("01", "02")]
    assert not twins.contradict
