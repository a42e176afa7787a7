"""File names of the corpora as they are published, and the odd ones among them."""

from __future__ import annotations

import inspect
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ser_edge import corpora
from ser_edge.corpora import CORPORA
from ser_edge.emotions import EMOTIONS

SAVEE_SPEAKERS = list(CORPORA["savee"].sexes)


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def causes(root: Path, corpus: str) -> dict[str, tuple[str, str]]:
    problems = CORPORA[corpus].scan(root).problems
    return {p.path.relative_to(root).as_posix(): (p.kind, p.cause) for p in problems}


@pytest.mark.parametrize(
    ("corpus", "path", "speaker", "sex", "emotion", "intensity", "statement", "language"),
    [
        ("nemo", "samples/EB0_anger_12.wav", "eb0", "female", "angry", "unknown",
         "sentence 12", "pl"),
        ("nemo", "MP0_surprised_1.wav", "mp0", "male", "surprised", "unknown", "sentence 1", "pl"),
        ("crema-d", "1001_IEO_ANG_HI.wav", "1001", "male", "angry", "strong",
         "It's eleven o'clock", "en"),
        ("crema-d", "1002_IEO_SAD_LO.wav", "1002", "female", "sad", "normal",
         "It's eleven o'clock", "en"),
        ("crema-d", "1091_IEO_FEA_MD.wav", "1091", "female", "fearful", "normal",
         "It's eleven o'clock", "en"),
        ("crema-d", "1047_TSI_DIS_XX.wav", "1047", "female", "disgust", "unknown",
         "The surface is slick", "en"),
        ("crema-d", "1040_ITH_SAD_X.wav", "1040", "male", "sad", "unknown",
         "I think I have a doctor's appointment", "en"),
        ("tess", "OAF_Fear/OAF_back_fear.wav", "oaf", "female", "fearful", "unknown",
         "Say the word back", "en"),
        ("tess", "OAF_Pleasant_surprise/OAF_dog_ps.wav", "oaf", "female", "surprised", "unknown",
         "Say the word dog", "en"),
        ("tess", "YAF_pleasant_surprised/YAF_dog_ps.wav", "yaf", "female", "surprised", "unknown",
         "Say the word dog", "en"),
        ("tess", "OAF_neutral/OA_bite_neutral.wav", "oaf", "female", "neutral", "unknown",
         "Say the word bite", "en"),
        ("tess", "flat/YAF_youth_happy.wav", "yaf", "female", "happy", "unknown",
         "Say the word youth", "en"),
        ("emodb", "wav/03a01Fa.wav", "03", "male", "happy", "unknown", "text a01", "de"),
        ("emodb", "wav/16b10Wb.wav", "16", "female", "angry", "unknown", "text b10", "de"),
        ("emodb", "wav/08a02Ac.wav", "08", "female", "fearful", "unknown", "text a02", "de"),
        ("savee", "AudioData/DC/sa03.wav", "dc", "male", "sad", "unknown", "sentence sa03", "en"),
        ("savee", "ALL/KL_n30.wav", "kl", "male", "neutral", "unknown", "sentence n30", "en"),
        ("savee", "JK/a15.wav", "jk", "male", "angry", "unknown", "sentence a15", "en"),
        ("esd", "0011/Angry/0011_000351.wav", "0011", "male", "angry", "unknown",
         "sentence 1", "en"),
        ("esd", "0010/Neutral/evaluation/0010_000350.wav", "0010", "male", "neutral", "unknown",
         "sentence 350", "zh"),
        ("esd", "2024/0001/Surprise/train/0001_001750.wav", "0001", "female", "surprised",
         "unknown", "sentence 350", "zh"),
        ("esd", "2024/0015_000701.wav", "0015", "female", "happy", "unknown", "sentence 1", "en"),
        ("esd", "0015_001051.wav", "0015", "female", "sad", "unknown", "sentence 1", "en"),
    ],
)  # fmt: skip
def test_names_become_utterances(
    corpus, path, speaker, sex, emotion, intensity, statement, language
):
    utterance = CORPORA[corpus].parse(Path(path))
    assert (utterance.corpus, utterance.speaker) == (corpus, f"{corpus}-{speaker}")
    assert (utterance.sex, utterance.emotion, utterance.intensity) == (sex, emotion, intensity)
    assert (utterance.statement, utterance.language) == (statement, language)
    assert utterance.channel == "speech"
    assert language in CORPORA[corpus].languages


def test_the_seven_fields_become_an_utterance():
    utterance = CORPORA["ravdess"].parse(Path("x/03-02-06-02-01-02-12.wav"))
    assert utterance.corpus == "ravdess"
    assert utterance.speaker == "ravdess-12"
    assert utterance.sex == "female"
    assert utterance.emotion == "fearful"
    assert utterance.intensity == "strong"
    assert utterance.statement == "Kids are talking by the door"
    assert utterance.repetition == 2
    assert utterance.channel == "song"


@pytest.mark.parametrize(
    ("corpus", "path", "cause"),
    [
        ("ravdess", "hello.wav", "not seven two-digit fields"),
        ("ravdess", "03-01-06-01-02-01.wav", "not seven two-digit fields"),
        ("ravdess", "03-01-06-01-02-01-12-01.wav", "not seven two-digit fields"),
        ("ravdess", "03-01-6-01-02-01-12.wav", "not seven two-digit fields"),
        ("ravdess", "03-01-06-01-02-01-12 (1).wav", "not seven two-digit fields"),
        ("ravdess", "٠٣-01-06-01-02-01-12.wav", "not seven two-digit fields"),
        ("ravdess", "01-01-06-01-02-01-12.wav", "modality is 01, allowed: 03"),
        ("ravdess", "03-03-06-01-02-01-12.wav", "vocal channel is 03"),
        ("ravdess", "03-01-09-01-02-01-12.wav", "emotion is 09, allowed: 01 to 08"),
        ("ravdess", "03-02-07-01-02-01-12.wav", "emotion of a song is 07, allowed: 01 to 06"),
        ("ravdess", "03-01-06-03-02-01-12.wav", "intensity is 03"),
        ("ravdess", "03-01-01-02-02-01-12.wav", "intensity of a neutral clip is 02, allowed: 01"),
        ("ravdess", "03-01-06-01-03-01-12.wav", "statement is 03"),
        ("ravdess", "03-01-06-01-02-00-12.wav", "repetition is 00"),
        ("ravdess", "03-01-06-01-02-01-25.wav", "actor is 25, allowed: 01 to 24"),
        ("ravdess", "03-01-06-01-02-01-00.wav", "actor is 00"),
        ("nemo", "EB0_anger.wav", "not speaker, emotion and sentence"),
        ("nemo", "XX0_anger_1.wav", "speaker is XX0, allowed: EB0, IC0"),
        ("nemo", "EB0_angry_1.wav", "emotion is angry, allowed: anger, fear"),
        ("nemo", "EB0_anger_91.wav", "sentence is 91, allowed: 1 to 90"),
        ("nemo", "EB0_anger_0.wav", "sentence is 0"),
        ("crema-d", "1001_IEO_ANG.wav", "not actor, sentence, emotion and level"),
        ("crema-d", "\u0661001_IEO_ANG_HI.wav", "not actor, sentence, emotion and level"),
        ("crema-d", "1092_IEO_ANG_HI.wav", "actor is 1092, allowed: 1001 to 1091"),
        ("crema-d", "1001_ABC_ANG_HI.wav", "sentence is ABC, allowed: IEO, TIE"),
        ("crema-d", "1001_IEO_SUR_HI.wav", "emotion is SUR, allowed: ANG, DIS"),
        ("crema-d", "1001_IEO_ANG_ZZ.wav", "level is ZZ, allowed: LO, MD, HI, XX"),
        ("tess", "OAF_back.wav", "not speaker, word and emotion"),
        ("tess", "XAF_back_fear.wav", "speaker is XAF, allowed: OAF, YAF"),
        ("tess", "OA_back_fear.wav", "speaker is OA, allowed"),
        ("tess", "OAF_back_calm.wav", "emotion is calm, allowed: angry, disgust"),
        ("tess", "OAF_sad/OAF_back_fear.wav", "its name is OAF_back_fear, its folder OAF_sad"),
        ("tess", "YAF_fear/OAF_back_fear.wav", "its folder YAF_fear"),
        ("emodb", "03a01F1.wav", "not speaker, text, emotion and version"),
        ("emodb", "04a01Fa.wav", "speaker is 04, allowed: 03, 08"),
        ("emodb", "03a03Fa.wav", "text is a03, allowed: a01, a02"),
        ("emodb", "03a01Xa.wav", "emotion is X, allowed: W, E, A, F, N, T, L"),
        ("emodb", "03a01La.wav", "emotion is boredom, which is none of the eight"),
        ("savee", "DC/hello.wav", "not emotion and sentence"),
        ("savee", "somewhere/a01.wav", "folder is somewhere, allowed: DC, JE, JK, KL"),
        ("savee", "AB_a01.wav", "speaker is AB, allowed: DC"),
        ("savee", "DC/x01.wav", "emotion is x, allowed: a, d, f"),
        ("savee", "DC/a16.wav", "sentence of angry is 16, allowed: 01 to 15"),
        ("savee", "DC/n31.wav", "sentence of neutral is 31, allowed: 01 to 30"),
        ("savee", "DC/a00.wav", "sentence of angry is 00"),
        ("esd", "0011_351.wav", "not speaker and number"),
        ("esd", "0021_000351.wav", "speaker is 0021, allowed: 0001 to 0020"),
        ("esd", "0011_001751.wav", "number is 001751, allowed: 000001 to 001750"),
        ("esd", "0011_000000.wav", "number is 000000"),
        ("esd", "0011/Sad/0011_000351.wav", "number says angry, its folder Sad"),
        ("esd", "0012/Angry/train/0011_000351.wav", "speaker 0011, its folder 0012"),
        ("esd", "0012/0011_000351.wav", "speaker 0011, its folder 0012"),
    ],
)  # fmt: skip
def test_names_that_break_a_scheme(corpus, path, cause):
    with pytest.raises(ValueError, match=cause):
        CORPORA[corpus].parse(Path(path))


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


def test_the_published_faults_of_crema_d_are_left_out(tmp_path):
    make(
        tmp_path,
        "AudioWAV/1001_IEO_ANG_HI.wav",
        *(f"AudioWAV/{name}.wav" for name in CORPORA["crema-d"].faults),
        "AudioMP3/1001_IEO_ANG_HI.mp3",  # the same again
    )
    scan = CORPORA["crema-d"].scan(tmp_path)
    assert [u.name for u in scan.utterances] == ["1001_IEO_ANG_HI"]
    assert scan.utterances[0].path.suffix == ".wav"
    found = {p.path.stem: p for p in scan.problems}
    assert found.keys() == CORPORA["crema-d"].faults.keys()
    assert len(found) == 7
    assert {p.kind for p in found.values()} == {"fault"}
    assert "silent" in found["1076_MTI_SAD_XX"].cause
    assert "as 1006_TIE_NEU_XX too" in found["1006_TIE_HAP_XX"].cause
    assert "as 1013_WSI_DIS_XX too" in found["1013_WSI_SAD_XX"].cause


def test_boredom_is_left_out_and_counted(tmp_path):
    make(tmp_path, "03a01Fa.wav", "03a02La.wav", "08b01Lb.wav", "odd.wav")
    scan = CORPORA["emodb"].scan(tmp_path)
    assert [u.name for u in scan.utterances] == ["03a01Fa"]
    assert scan.other_emotions == {"boredom": 2}
    assert Counter(p.kind for p in scan.problems) == {"emotion": 2, "name": 1}


@pytest.mark.parametrize("layout", ["AudioData/{}/{}.wav", "{}/{}.wav", "ALL/{}_{}.wav"])
def test_savee_by_speaker_or_flat_gives_the_same_names(tmp_path, layout):
    make(tmp_path, *(layout.format(s, c) for s in SAVEE_SPEAKERS for c in ("a01", "sa01")))
    scan = CORPORA["savee"].scan(tmp_path)
    assert scan.problems == ()
    assert {u.name for u in scan.utterances} == {
        f"{s}_{c}" for s in SAVEE_SPEAKERS for c in ("a01", "sa01")
    }


@pytest.mark.component
def test_sounds_of_savee_by_speaker_are_found_again(tmp_path):
    import numpy as np
    import soundfile

    from conftest import SMALL
    from ser_edge.data.datasets import load_clips, load_sounds
    from ser_edge.data.render import read_index, render

    for number, speaker in enumerate(SAVEE_SPEAKERS[:2], 1):
        make(tmp_path / "in", f"{speaker}/a01.wav")
        soundfile.write(tmp_path / "in" / speaker / "a01.wav", np.full(8000, number / 10), 16_000)
    scan = CORPORA["savee"].scan(tmp_path / "in")
    render(scan.utterances, tmp_path / "out", SMALL, workers=1, progress=False)
    spec, rows = read_index(tmp_path / "out")
    clips = load_clips(tmp_path / "out", rows, spec)
    sounds = load_sounds([tmp_path / "in"], clips, spec)
    assert [clip.utterance for clip in clips] == ["DC_a01", "JE_a01"]
    assert [round(sound.max() / 32767, 1) for sound in sounds] == [0.1, 0.2]


def test_an_archive_that_holds_tess_twice(tmp_path):
    make(tmp_path, "a/OAF_Fear/OAF_back_fear.wav", "a/a/OAF_Fear/OAF_back_fear.wav")
    assert len(CORPORA["tess"].scan(tmp_path).utterances) == 1
    assert {kind for kind, _ in causes(tmp_path, "tess").values()} == {"copy"}


def test_every_emotion_of_every_corpus_has_its_place_or_none():
    for name, corpus in CORPORA.items():
        assert corpus.name == name
        assert set(corpus.emotions.values()) <= set(EMOTIONS)
        assert not set(corpus.other_emotions) & set(corpus.emotions)
        assert not set(corpus.other_emotions.values()) & set(EMOTIONS)


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_every_corpus_says_what_it_is(name):
    corpus = CORPORA[name]
    assert corpus.licence
    assert corpus.citation
    assert all(len(language) == 2 for language in corpus.languages)
    assert corpus.languages or name == "own"
    assert all(cause.startswith("it is ") for cause in corpus.faults.values())


def test_whose_weights_may_not_be_given_away():
    assert {n for n, c in CORPORA.items() if not c.ships_weights} == {"tess", "savee", "esd"}


def test_speakers_of_the_tables():
    for name, women, men in (
        ("crema-d", 43, 48),  # Cao et al. 2014
        ("nemo", 4, 5),
        ("emodb", 5, 5),
        ("esd", 10, 10),
        ("ravdess", 12, 12),
        ("savee", 0, 4),
        ("tess", 2, 0),
    ):
        assert Counter(CORPORA[name].sexes.values()) == Counter(female=women, male=men)
        assert CORPORA[name].speakers == women + men


@pytest.mark.parametrize(
    ("name", "folder", "clips", "speakers", "counts"),
    [
        (
            "nemo", "nemo", 4481, 9,
            {"neutral": 809, "sad": 769, "angry": 749, "happy": 749, "fearful": 736,
             "surprised": 669},
        ),
        (
            "tess", "tess", 2800, 2,
            dict.fromkeys([e for e in EMOTIONS if e != "calm"], 400),
        ),
        (
            "crema-d", "crema-d", 2014, 78,
            {"happy": 999, "sad": 998, "disgust": 6, "angry": 5, "fearful": 3, "neutral": 3},
        ),
    ],
)  # fmt: skip
def test_the_real_corpora(data, name, folder, clips, speakers, counts):
    scan = CORPORA[name].scan(data / folder)
    assert scan.problems == ()
    assert len(scan.utterances) == clips
    assert len({u.speaker for u in scan.utterances}) == speakers
    assert Counter(u.emotion for u in scan.utterances) == counts


def test_the_real_corpus(ravdess):
    scan = CORPORA["ravdess"].scan(ravdess)
    assert scan.problems == ()
    assert len(scan.utterances) == 2036
    assert sum(u.channel == "speech" for u in scan.utterances) == 1200
    assert len({u.speaker for u in scan.utterances}) == 20


def test_one_corpus_is_not_taken_for_another(data):
    for name, folder in (("nemo", "tess"), ("tess", "nemo"), ("emodb", "crema-d")):
        scan = CORPORA[name].scan(data / folder)
        assert scan.utterances == ()
        assert {p.kind for p in scan.problems} == {"name"}


def test_a_new_corpus_in_ten_lines(tmp_path):
    """The lines that the package's docstring shows, which CONTRIBUTING quotes."""
    text = inspect.cleandoc(corpora.__doc__)
    shown = text.split("::\n")[1].split("\nIt imports")[0]
    names: dict[str, Any] = {}
    exec(textwrap.dedent(shown), names)
    make(tmp_path, "a-ang-01.wav", "b-hap-15.wav", "b-hap-16.wav")
    scan = names["CORPUS"].scan(tmp_path)
    assert [(u.speaker, u.sex, u.emotion, u.statement) for u in scan.utterances] == [
        ("mine-a", "female", "angry", "sentence 01"),
        ("mine-b", "male", "happy", "sentence 15"),
    ]
    assert [p.cause for p in scan.problems] == ["its sentence is 16, allowed: 01 to 15"]
