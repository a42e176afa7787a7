"""A person's profile: its statistics, enrolling, answers with it, and whether it helps."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, speechlike
from edge_app import AudioError, Classifier, Profile, ProfileError
from edge_app.cli import main
from edge_app.inference.profile_store import (
    find_profile,
    profiles_folder,
    read_profile,
    save_profile,
)
from ser_edge.decision import Calibration, softmax
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import profiles
from ser_edge.metrics.classification import ClipPrediction, predictions_csv, read_predictions
from ser_edge.profiles import BOUND, MIN_CLIPS, correction

SHIPPED_PREDICTIONS = ROOT / "models" / "compact" / "predictions.csv"


def of(logits: object, name: str = "anna", **changes: object) -> Profile:
    values = {
        "model": "small", "weights_sha256": "0" * 64, "labels": EMOTIONS, "temperature": 1.0
    }  # fmt: skip
    return Profile.of_clips(name, logits, **{**values, **changes})


SAD = np.eye(8)[3] * 2.0
PROFILE = of([SAD] * 24)


@pytest.fixture(autouse=True)
def _own_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def clips(tmp_path) -> list[str]:
    names = []
    for seed in range(MIN_CLIPS):
        path = tmp_path / f"clip-{seed}.wav"
        soundfile.write(path, speechlike(1.0, 16_000, seed), 16_000)
        names.append(str(path))
    return names


# --------------------------------------------------------------------------------- the statistics


def test_a_profile_takes_back_what_is_said_on_average():
    assert PROFILE.clips == 24
    assert PROFILE.correction[3] == -BOUND  # of 24 clips 0.75 of 1.75 nats, but no more than 1
    np.testing.assert_allclose(np.delete(PROFILE.correction, 3), 0.75 * 0.25)
    before, after = softmax(SAD), softmax(PROFILE.apply(SAD))
    assert after[3] < before[3]
    assert np.all(np.delete(after, 3) > np.delete(before, 3))


@pytest.mark.parametrize(("clips", "share"), [(1, 1 / 9), (8, 1 / 2), (24, 3 / 4)])
def test_few_clips_correct_little(clips, share):
    lean = np.linspace(-0.7, 0.7, 8)
    np.testing.assert_allclose(correction(lean + 5, clips, 1.0), -share * lean)


def test_the_correction_is_bounded_and_in_nats_of_the_scores():
    extreme = correction(1000 * np.eye(8)[2], 1000, 1.0)
    assert np.abs(extreme).max() == BOUND
    warm = of([SAD] * 24, temperature=2.0)
    added = warm.apply(np.zeros(8)) / 2.0
    np.testing.assert_allclose(added, warm.correction)
    np.testing.assert_allclose(warm.correction, correction(SAD / 2, 24, 1.0))


def test_many_rows_at_once_and_a_voice_without_lean():
    rows = np.random.default_rng(1).standard_normal((5, 8))
    np.testing.assert_allclose(PROFILE.apply(rows)[2], PROFILE.apply(rows[2]))
    np.testing.assert_allclose(of(np.ones((9, 8))).apply(rows), rows)


def test_json_and_back():
    assert Profile.from_json(PROFILE.to_json()) == PROFILE


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "-a", "a.json", "con", "NUL", "a b", "ä", "a\0", "a" * 41],
)
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(ValueError, match=r"a profile's name is .*allowed: up to 40 of A-Z a-z"):
        of([SAD], name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "x"}, "it is no profile"),
        ({"version": 2}, "version is 2, this program reads 1"),
        ({"name": 7}, "name is 7, it should be text"),
        ({"name": "../x"}, r"a profile's name is '\.\./x'"),
        ({"model": None}, "model is None"),
        ({"weights_sha256": 1}, "weights_sha256 is 1"),
        ({"labels": "sad"}, "labels is 'sad', it should be a list"),
        ({"labels": ["sad"] * 8}, "allowed: different names"),
        ({"temperature": "1"}, "temperature is '1', it should be a number"),
        ({"temperature": 0}, "temperature is 0.0, allowed: 0.01 to 100"),
        ({"clips": 1.5}, "clips is 1.5, it should be a whole number"),
        ({"clips": 0}, "clips are 0, allowed: 1 or more"),
        ({"mean_logits": [1.0]}, "there are 1 mean_logits for 8 labels"),
        ({"mean_logits": [float("nan")] * 8}, "it should be a list of numbers"),
        ({"mean_logits": [True] * 8}, "it should be a list of numbers"),
    ],
)
def test_files_that_are_no_profile_are_refused(tmp_path, changes, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**json.loads(PROFILE.to_json()), **changes}))
    with pytest.raises(ProfileError, match=message) as caught:
        read_profile(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"RIFF\xff\x80", b"[1]", b"{", b"[" * 90_000, b" " * 200_000])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ProfileError, match=r"x\.json: it is no"):
        read_profile(tmp_path / "x.json")


def test_logits_that_are_none():
    for logits in ([], SAD, np.zeros((0, 8))):
        with pytest.raises(ValueError, match=r"they should be \(clips, classes\)"):
            of(logits)
    with pytest.raises(ValueError, match="3 mean_logits for 8 labels"):
        of(np.zeros((9, 3)))


# ----------------------------------------------------------------------------------- on the disk


def test_where_profiles_are(monkeypatch, tmp_path):
    assert profiles_folder() == tmp_path / "config" / "ser-edge" / "profiles"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profiles_folder() == tmp_path / ".config" / "ser-edge" / "profiles"


def test_saved_found_and_replaced_only_when_asked():
    path = save_profile(PROFILE)
    assert [p.name for p in path.parent.iterdir()] == ["anna.json"]
    assert find_profile("anna") == find_profile(path) == PROFILE
    other = of([SAD] * 9)
    with pytest.raises(ProfileError, match="there is a profile anna already; --replace"):
        save_profile(other)
    assert find_profile("anna") == PROFILE
    save_profile(other, replace=True)
    assert find_profile("anna") == other
    with pytest.raises(ProfileError, match=r"no profile 'bo' in .*; profiles there: anna"):
        find_profile("bo")
    with pytest.raises(ProfileError, match=r"bo\.json: No such file"):
        find_profile("bo.json")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ProfileError, match=r"anna\.json: "):
        save_profile(PROFILE, tmp_path / "file")


# --------------------------------------------------------------------------------------- answers


@pytest.mark.component
def test_answers_with_a_profile(small_model):
    sound = speechlike(8.0, 16_000)
    plain = Classifier(small_model)
    changed = Classifier(small_model, profile=PROFILE)
    before, after = plain.predict(sound, 16_000), changed.predict(sound, 16_000)
    assert (before.profile, after.profile) == (None, "anna")
    assert list(before.to_dict()) == list(after.to_dict())
    logits = plain.logits(sound, 16_000)
    assert logits is not None
    wanted = softmax(PROFILE.apply(logits), plain.manifest.calibration.temperature)
    assert list(after.scores.values()) == pytest.approx(wanted.tolist())
    for one, other in zip(before.windows, after.windows, strict=True):
        assert other.scores["sad"] < one.scores["sad"]
        assert sum(other.scores.values()) == pytest.approx(1)
    grouped = Classifier(small_model, labels="valence", profile=PROFILE).predict(sound, 16_000)
    assert grouped.scores["neutral"] == pytest.approx(
        after.scores["neutral"] + after.scores["calm"]
    )
    assert grouped.profile == "anna"


@pytest.mark.component
def test_silence_stays_unknown(small_model):
    classifier = Classifier(small_model, profile=PROFILE)
    answer = classifier.predict(np.zeros(16_000), 16_000)
    assert answer.emotion == answer.windows[0].emotion == "unknown"
    assert set(answer.scores.values()) == {0.125}
    assert classifier.logits(np.zeros(16_000), 16_000) is None


@pytest.mark.component
def test_the_threshold_is_applied_to_the_corrected_scores(small_model):
    classifier = Classifier(small_model, profile=PROFILE)
    best = max(classifier.predict(speechlike(2.0, 16_000), 16_000).scores.values())
    classifier.manifest = replace(classifier.manifest, calibration=Calibration(1.0, best + 0.001))
    assert classifier.predict(speechlike(2.0, 16_000), 16_000).emotion == "unknown"


@pytest.mark.component
def test_another_models_profile_is_refused(small_model):
    with pytest.raises(ValueError, match=r"made with other .weights 0.* means nothing to small"):
        Classifier(small_model, profile=of([SAD], model="other", weights_sha256="01" * 32))
    with pytest.raises(ValueError, match="made with other weights of small"):
        Classifier(small_model, profile=of([SAD], weights_sha256="01" * 32))
    with pytest.raises(ValueError, match="enrol again with -m small"):
        Classifier(small_model, profile=of([SAD], labels=EMOTIONS[::-1]))


@pytest.mark.component
def test_an_explanation_knows_no_profile(small_model):
    with pytest.raises(ValueError, match="no profile"):
        Classifier(small_model, profile=PROFILE).explain(speechlike(1.0, 16_000), 16_000)


# ------------------------------------------------------------------------------- the command line


@pytest.mark.component
def test_enrol_list_and_predict(small_model, clips, capsys, tmp_path):
    model = ["-m", str(small_model)]
    assert main(["profiles"]) == 0
    assert "no profiles in" in capsys.readouterr().out
    assert main(["enroll", "--name", "anna", *model, *clips, clips[0]]) == 0
    said = capsys.readouterr().out
    path = tmp_path / "config" / "ser-edge" / "profiles" / "anna.json"
    assert said.startswith(f"kept: {path}\nanna: {MIN_CLIPS} clips, classified by small as: ")
    assert "all kinds of emotion" in said
    profile = read_profile(path)
    logits = [Classifier(small_model).logits(clip) for clip in clips]
    np.testing.assert_allclose(profile.mean_logits, np.mean(logits, axis=0))
    assert main(["profiles"]) == 0
    assert capsys.readouterr().out == f"anna: {MIN_CLIPS} clips, model small, {path}\n"

    words = ["predict", *model, "--format", "jsonl", "--labels", "valence", clips[0]]
    for given, name in (
        ([], None),
        (["--profile", "anna"], "anna"),
        (["--profile", str(path)], "anna"),
    ):
        assert main([*words, *given]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert answer["profile"] == name
        assert list(answer["scores"]) == ["negative", "neutral", "positive"]
    assert main(["predict", *model, "--format", "csv", "--profile", "anna", clips[0]]) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert (row["profile"], row["error"]) == ("anna", "")


@pytest.mark.component
def test_enrolling_again_needs_replace(small_model, clips, capsys, tmp_path):
    words = ["enroll", "--name", "bo", "-m", str(small_model), "--profiles", str(tmp_path / "p")]
    assert main([*words, *clips]) == 0
    with pytest.raises(SystemExit) as caught:
        main([*words, *clips])
    assert caught.value.code == 2
    assert "--replace makes it anew" in capsys.readouterr().err
    assert main([*words, "--replace", *clips]) == 0
    assert main(["profiles", "--profiles", str(tmp_path / "p")]) == 0
    (tmp_path / "p" / "bad.json").write_text("{}")
    assert main(["profiles", "--profiles", str(tmp_path / "p")]) == 1
    captured = capsys.readouterr()
    assert "bo: 8 clips" in captured.out
    assert "bad.json: it is no profile" in captured.err


@pytest.mark.component
def test_clips_that_fail_and_silent_ones(small_model, clips, capsys, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    soundfile.write(tmp_path / "still.wav", np.zeros(16_000), 16_000)
    words = ["enroll", "--name", "bo", "-m", str(small_model)]
    odd = [str(tmp_path / "bad.wav"), str(tmp_path / "still.wav")]
    assert main([*words, *clips, odd[1]]) == 0
    assert f"warning: {odd[1]}: it is silent and not counted" in capsys.readouterr().err
    assert main([*words, "--replace", *clips, *odd]) == 1
    captured = capsys.readouterr()
    assert f"error: {odd[0]}: " in captured.err
    assert "bo: 8 clips" in captured.out
    before = find_profile("bo")
    assert main([*words, "--replace", *clips[1:], *odd]) == 1
    captured = capsys.readouterr()
    assert (
        "error: 7 clips with speech could be read, 8 are needed, one for each emotion"
        in captured.err
    )
    assert captured.out == ""
    assert find_profile("bo") == before


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_the_shipped_model_and_its_samples(tmp_path, capsys, precision):
    for number in range(MIN_CLIPS - len(SAMPLES)):  # the samples are one too few
        soundfile.write(tmp_path / f"{number}.wav", speechlike(2.0, 16_000, number), 16_000)
    assert main(["enroll", "--name", "lot", str(ROOT / "samples"), str(tmp_path)]) == 0
    capsys.readouterr()
    words = ["predict", "--profile", "lot", "--precision", precision, "--format", "jsonl"]
    assert main([*words, str(SAMPLES[0])]) == 0
    assert json.loads(capsys.readouterr().out)["profile"] == "lot"


@pytest.mark.component
def test_a_clip_that_is_none_is_an_audio_error(small_model, tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        Classifier(small_model).logits(tmp_path / "none.wav")


# -------------------------------------------------------------------------------- does it help?


def made(lean: float, part: str, actors: range, seed: int = 0) -> list[ClipPrediction]:
    """Clips of actors of whom each leans towards an emotion of their own."""
    random = np.random.default_rng(seed)
    found = []
    for actor in actors:
        for code, emotion in enumerate(EMOTIONS):
            for statement in (1, 2):
                for repetition in (1, 2):
                    logits = 1.5 * np.eye(8)[code] + lean * np.eye(8)[actor % 8]
                    logits += 0.3 * random.standard_normal(8)
                    found.append(
                        ClipPrediction(
                            part, "1",
                            f"03-01-{code + 1:02d}-01-{statement:02d}-{repetition:02d}-{actor:02d}",
                            "ravdess", f"ravdess-{actor:02d}", "male", "normal", emotion,
                            tuple(logits.tolist()),
                        )
                    )  # fmt: skip
    return found


def written(path: Path, predictions: list[ClipPrediction]) -> Path:
    path.write_text(predictions_csv(predictions))
    return path


@pytest.mark.component
@pytest.mark.parametrize(("lean", "helps"), [(2.0, True), (0.0, False)])
def test_a_lean_is_found_and_taken_back(tmp_path, lean, helps):
    predictions = made(lean, "validation", range(1, 4), 1) + made(lean, "test", range(4, 12))
    found = profiles.measure(written(tmp_path / "p.csv", predictions), draws=200)
    row = found.rows[0]
    assert (found.voices, found.validation_voices, found.clips, row.clips) == (8, 3, 128, 16)
    assert row.better + row.same + row.worse == 8
    assert (row.uar.difference > 0.1) == helps
    assert ("It helps." in profiles.markdown(found)) == helps
    if helps:
        assert row.given.nll < row.without.nll
        assert row.uar.difference > found.rows[-1].uar.difference  # of another person


@pytest.mark.component
def test_seeds_are_networks_of_their_own_and_random_splits_are_left_out(tmp_path):
    predictions = made(1.0, "validation", range(1, 3)) + made(1.0, "test", range(4, 7))
    leaky = [replace(p, fold="random") for p in predictions]
    found = profiles.voices_of([*predictions, *predictions], "test", tmp_path)
    assert len(found) == 6
    path = written(tmp_path / "p.csv", [*predictions, *leaky])
    assert profiles.measure(path, draws=50).voices == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ps: [p for p in ps if p.part == "test"], "no validation predictions"),
        (lambda ps: [p for p in ps if p.part == "validation"], "no test clip of RAVDESS in it"),
        (lambda ps: [replace(p, corpus="nemo") for p in ps], "no validation clip of RAVDESS"),
        (lambda ps: [replace(p, utterance="x") for p in ps], "x: its name is not seven"),
        (lambda ps: [p for p in ps if p.utterance[15:17] == "01"],
         "has no validation clip of repetition 2"),
    ],
)  # fmt: skip
def test_predictions_that_will_not_do_exit_2(here, tmp_path, change, message):
    predictions = made(1.0, "validation", range(1, 3)) + made(1.0, "test", range(4, 6))
    done = here("enrolment.py", written(tmp_path / "p.csv", change(predictions)))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_writes_what_it_prints(here, tmp_path):
    predictions = made(1.0, "validation", range(1, 2)) + made(1.0, "test", range(4, 6))
    path = written(tmp_path / "p.csv", predictions)
    done = here("enrolment.py", path, "--markdown", tmp_path / "deep" / "x.md")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / "x.md").read_text() == done.stdout
    assert " - |" in done.stdout  # one validation actor: nobody else to enrol with


def test_the_shipped_figures_can_be_recomputed():
    """scripts/enrolment.py models/compact/predictions.csv --markdown models/compact/enrolment.md"""
    predictions = read_predictions(SHIPPED_PREDICTIONS)
    metrics = json.loads((SHIPPED_PREDICTIONS.parent / "metrics.json").read_text())
    calibration = Calibration(**metrics["calibration"])
    voices = profiles.voices_of(predictions, "test", SHIPPED_PREDICTIONS)
    row = profiles.score(voices, profiles.SETTINGS[0], profiles.SHIPPED, calibration, draws=50)
    assert row is not None
    tables = (SHIPPED_PREDICTIONS.parent / "enrolment.md").read_text()
    assert f"| nothing | 0 | {row.uar.a:.3f} |" in tables
    assert f"| {row.setting} | {row.clips:.0f} | {row.uar.b:.3f} |" in tables
