from __future__ import annotations

from pathlib import Path

import pytest

from ser_edge.corpora import CORPORA, ravdess


def test_the_seven_fields_become_an_utterance():
    utterance = ravdess.parse(Path("x/03-02-06-02-01-02-12.wav"))
    assert utterance.corpus == "ravdess"
    assert utterance.speaker == "ravdess-12"
    assert utterance.sex == "female"
    assert utterance.emotion == "fearful"
    assert utterance.intensity == "strong"
    assert utterance.statement == "Kids are talking by the door"
    assert utterance.repetition == 2
    assert utterance.channel == "song"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("hello", "not seven two-digit fields"),
        ("03-01-06-01-02-01", "not seven two-digit fields"),
        ("03-01-06-01-02-01-12-01", "not seven two-digit fields"),
        ("03-01-6-01-02-01-12", "not seven two-digit fields"),
        ("03-01-06-01-02-01-12 (1)", "not seven two-digit fields"),
        ("٠٣-01-06-01-02-01-12", "not seven two-digit fields"),
        ("01-01-06-01-02-01-12", "modality is 01, allowed: 03"),
        ("03-03-06-01-02-01-12", "vocal channel is 03"),
        ("03-01-09-01-02-01-12", "emotion is 09, allowed: 01 to 08"),
        ("03-02-07-01-02-01-12", "emotion of a song is 07, allowed: 01 to 06"),
        ("03-01-06-03-02-01-12", "intensity is 03"),
        ("03-01-01-02-02-01-12", "intensity of a neutral clip is 02, allowed: 01"),
        ("03-01-06-01-03-01-12", "statement is 03"),
        ("03-01-06-01-02-00-12", "repetition is 00"),
        ("03-01-06-01-02-01-25", "actor is 25, allowed: 01 to 24"),
        ("03-01-06-01-02-01-00", "actor is 00"),
    ],
)
def test_names_that_break_the_scheme(name, cause):
    with pytest.raises(ValueError, match=cause):
        ravdess.parse(Path(f"{name}.wav"))


@pytest.mark.parametrize("layout", ["Actor_03/{}", "{}", "speech/a/b/Actor_03/{}"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_any_layout(tmp_path, layout, suffix):
    path = tmp_path / layout.format(f"03-01-05-01-02-01-03{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (tmp_path / "._03-01-05-01-02-01-03.wav").touch()  # macOS leaves such files
    (tmp_path / "notes.txt").touch()
    scan = CORPORA["ravdess"].scan(tmp_path)
    assert [u.path for u in scan.utterances] == [path]
    assert scan.problems == ()


def test_odd_names_and_copies_are_listed(tmp_path):
    for name in ("Actor_01/03-01-05-01-02-01-01.wav", "copy/03-01-05-01-02-01-01.wav", "odd.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    scan = CORPORA["ravdess"].scan(tmp_path)
    assert len(scan.utterances) == 1
    causes = {str(p.path.relative_to(tmp_path)): p.cause for p in scan.problems}
    assert causes.keys() == {"copy/03-01-05-01-02-01-01.wav", "odd.wav"}
    assert causes["copy/03-01-05-01-02-01-01.wav"].startswith("its name is that of")


def test_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        CORPORA["ravdess"].scan(tmp_path / "none")


def test_the_real_corpus(ravdess):
    scan = CORPORA["ravdess"].scan(ravdess)
    assert scan.problems == ()
    assert len(scan.utterances) == 2036
    assert sum(u.channel == "speech" for u in scan.utterances) == 1200
    assert len({u.speaker for u in scan.utterances}) == 20
