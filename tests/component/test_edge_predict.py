"""The edge app: on a small model made here, and end to end on the shipped one."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, SMALL, speechlike
from edge_app import AudioError, Classifier, ModelError, Prediction
from edge_app.cli import main
from edge_app.inference.runtime import DeviceError
from edge_app.inputs import expand
from faultydevices import Fault
from ser_edge.audio import decode
from ser_edge.data.render import png_bytes
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import mel_image

SCHEMA = [
    "file", "emotion", "confidence", "scores", "duration", "device", "model", "profile", "windows",
    "segments",
]  # fmt: skip
WINDOW_SCHEMA = ["start", "end", "emotion", "confidence", "scores"]


@pytest.fixture(scope="module")
def small(small_model) -> Classifier:
    return Classifier(small_model)


@pytest.fixture
def clip(tmp_path) -> Path:
    soundfile.write(tmp_path / "clip.wav", speechlike(2.0, 48_000), 48_000)
    return tmp_path / "clip.wav"


def run(*words: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from edge_app.cli import main; sys.exit(main())",
         *map(str, words)],
        input=stdin, capture_output=True, check=False, cwd=cwd, timeout=120,
    )  # fmt: skip


def check_answer(answer: dict) -> None:
    assert list(answer) == SCHEMA
    for part in (answer, *answer["windows"], *answer["segments"]):
        assert tuple(part["scores"]) == EMOTIONS
        assert sum(part["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert part["confidence"] == max(part["scores"].values())
        assert part["emotion"] in (*EMOTIONS, "unknown", "silence")
    assert "silence" not in {part["emotion"] for part in (answer, *answer["windows"])}
    for part in (*answer["windows"], *answer["segments"]):
        assert list(part) == WINDOW_SCHEMA
    ends = [0.0, *(segment["end"] for segment in answer["segments"])]
    assert [segment["start"] for segment in answer["segments"]] == ends[:-1]  # without a gap
    assert ends[-1] == answer["duration"]


# ------------------------------------------------------------------------------------- from Python


def test_a_path_an_object_and_a_waveform_give_the_same(small, clip):
    by_path = small.predict(str(clip))
    assert isinstance(by_path, Prediction)
    check_answer(by_path.to_dict())
    assert by_path.duration == pytest.approx(2.0)
    assert by_path.device == "CPU"
    assert by_path.model == "small"
    with open(clip, "rb") as file:
        assert small.predict(file).scores == by_path.scores
    assert small.predict(clip).scores == by_path.scores
    samples, rate = soundfile.read(clip, dtype="int16")
    by_array = small.predict(samples, rate=rate)
    assert by_array.file == "<waveform>"
    assert by_array.scores == pytest.approx(by_path.scores, abs=1e-5)
    stereo = np.stack([samples, samples], axis=1)
    assert small.predict(stereo, rate).scores == pytest.approx(by_path.scores, abs=1e-5)


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "MULTI:CPU", "HETERO:CPU"])
def test_devices_chosen_by_openvino_answer_as_the_cpu_does(small, small_model, clip, device):
    answer = Classifier(small_model, device=device).predict(clip)
    assert answer.device == "CPU"
    assert answer.scores == pytest.approx(small.predict(clip).scores, abs=1e-6)


def test_a_waveform_needs_its_rate_and_a_file_has_its_own(small, clip):
    with pytest.raises(ValueError, match="needs its rate"):
        small.predict(np.zeros(100))
    with pytest.raises(ValueError, match="a file says its own"):
        small.predict(clip, rate=16_000)


def test_long_sounds_have_windows_and_the_mean_of_their_logits(small, tmp_path):
    soundfile.write(tmp_path / "a.wav", speechlike(8.7, 16_000), 16_000)
    answer = small.predict(tmp_path / "a.wav")
    spans = [(window.start, window.end) for window in answer.windows]
    np.testing.assert_allclose(spans, [(0, 5), (2.5, 7.5), (3.7, 8.7)])
    for label in EMOTIONS:
        scores = [window.scores[label] for window in answer.windows]
        assert min(scores) * 0.9 <= answer.scores[label] <= max(scores) * 1.1
    check_answer(answer.to_dict())


def test_silence_is_unknown_with_even_scores(small, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(160_000), 16_000)
    answer = small.predict(tmp_path / "a.wav")
    assert answer.emotion == "unknown"
    assert set(answer.scores.values()) == {0.125}
    assert [(part.start, part.end, part.emotion) for part in answer.segments] == [
        (0.0, 10.0, "silence")
    ]
    assert {window.emotion for window in answer.windows} == {"unknown"}


@pytest.mark.unit
def test_segments_of_a_file_are_those_of_the_stream():
    """The shipped model on a recording with two pauses, as a file and as a microphone's sound."""
    from edge_app.live.session import Live

    classifier = Classifier()
    pause = np.zeros(3 * 16_000, dtype=np.float32)
    sound = np.concatenate([pause, decode.load(ROOT / "samples" / "man-long.ogg", 16_000), pause])
    found = classifier.predict(sound, rate=16_000).segments
    live = Live(classifier, 16_000)
    events = [*live.feed(sound), *live.finish()]
    heard = [event for event in events if event.kind == "segment"]
    silent = [(p.start, p.end) for p in found if p.emotion == "silence"]
    assert len(silent) >= 2
    np.testing.assert_allclose(
        silent, [(e.start, e.end) for e in heard if e.emotion == "silence"], atol=0.11
    )
    assert found[0].emotion == found[-1].emotion == "silence"
    assert found[0].end == pytest.approx(3.0, abs=0.5)


def test_silence_around_speech_does_not_count(small, tmp_path):
    speech = speechlike(5.0, 16_000)
    soundfile.write(tmp_path / "a.wav", speech, 16_000, "FLOAT")
    padded = np.concatenate([speech, np.zeros(40 * 16_000, dtype=np.float32)])
    soundfile.write(tmp_path / "b.wav", padded, 16_000, "FLOAT")
    first, both = small.predict(tmp_path / "a.wav"), small.predict(tmp_path / "b.wav")
    assert [w.emotion for w in both.windows[2:]] == ["unknown"] * len(both.windows[2:])
    assert both.windows[0].scores == pytest.approx(first.scores, abs=1e-6)


def test_a_mel_image_gives_what_its_sound_gives(small, clip, tmp_path):
    from ser_edge.audio import decode

    image = mel_image(decode.load(clip, SMALL.sample_rate), SMALL)
    (tmp_path / "clip.png").write_bytes(png_bytes(image))
    answer = small.predict(tmp_path / "clip.png")
    assert answer.scores == pytest.approx(small.predict(clip).scores, abs=1e-6)
    check_answer(answer.to_dict())


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "there is no such file"),
        (b"no picture", "it is not a PNG picture"),
        (png_bytes(np.zeros((3, 5), np.uint8)), "5 x 3 in mode L, it should be"),
        (png_bytes(np.zeros((*SMALL.shape, 3), np.uint8)), "in mode RGB"),
        (png_bytes(np.ones(SMALL.shape, np.uint8))[:60], "the picture cannot be read"),
    ],
)
def test_other_pictures_are_refused(small, tmp_path, content, cause):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=cause):
        small.predict(path)


def test_the_repr_says_what_it_is(small):
    assert repr(small) == (
        "Classifier('small', device='CPU', precision='FP16', labels=['neutral', 'calm', 'happy', "
        "'sad', 'angry', 'fearful', 'disgust', 'surprised'], image=16x199 at 16000 Hz)"
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"model": "none"}, ModelError, "no model 'none' in FP16; models here: compact"),
        ({"model": "none.xml"}, ModelError, "none.xml: there is no such file"),
        ({"precision": "FP8"}, ModelError, "precision is 'FP8', allowed: FP16, INT8"),
        ({"device": "TOASTER"}, DeviceError, "device 'TOASTER' is none.*devices here: CPU"),
    ],
)
def test_models_and_devices_that_are_not_there(how, error, message):
    with pytest.raises(error, match=message):
        Classifier(**how)


def test_an_ir_whose_shape_is_not_its_manifests(small_model, tmp_path):
    path = tmp_path / "a.xml"
    text = re.sub("<xml_sha256 [^>]*/>", "", small_model.read_text())  # else it is damaged
    path.write_text(text.replace("&quot;n_mels&quot;: 16", "&quot;n_mels&quot;: 20"))
    path.with_suffix(".bin").write_bytes(small_model.with_suffix(".bin").read_bytes())
    with pytest.raises(ModelError, match=r"its input is u8 \[-1, 1, 16, 199\], its manifest says"):
        Classifier(path)


def test_a_damaged_model_cache_stops_nobody(small_model, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("SER_EDGE_CACHE", str(tmp_path / "cache"))
    first = Classifier(small_model).predict(clip)
    blobs = list((tmp_path / "cache").iterdir())
    assert blobs
    for blob in blobs:
        blob.chmod(0o600)
        blob.write_bytes(blob.read_bytes()[:200])
    assert Classifier(small_model).predict(clip).scores == pytest.approx(first.scores, abs=1e-6)


@pytest.mark.parametrize("value", ["", "/proc/nowhere/cache"])
def test_it_runs_without_a_cache(small_model, clip, monkeypatch, value):
    monkeypatch.setenv("SER_EDGE_CACHE", value)
    check_answer(Classifier(small_model).predict(clip).to_dict())


def test_scores_that_are_not_finite_never_leave(small_model, clip, faulty):
    faulty(CPU=Fault(how="nan"))
    with pytest.raises(DeviceError, match="CPU gave scores that are not finite"):
        Classifier(small_model).predict(clip)


# -------------------------------------------------------------------------------- the command line


def test_json_lines_for_files_folders_globs_and_errors(small_model, clip, tmp_path):
    folder = tmp_path / "folder" / "deep"
    folder.mkdir(parents=True)
    for name in ("b.flac", "a.wav", "c.OGG"):
        soundfile.write(folder / name, speechlike(1.0, 16_000), 16_000)
    (folder / "notes.txt").write_text("not looked at")
    (folder / "bad.wav").write_text("no sound")
    done = run(
        "predict", "-m", small_model, "--format", "jsonl",
        clip, tmp_path / "folder", tmp_path / "*.wav", tmp_path / "none.wav",
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1
    assert [Path(line["file"]).name for line in lines] == [
        "clip.wav", "a.wav", "b.flac", "bad.wav", "c.OGG", "clip.wav", "none.wav",
    ]  # fmt: skip
    for line in lines:
        if "error" in line:
            assert list(line) == ["file", "error"]
        else:
            check_answer(line)
    assert "no such file" in lines[-1]["error"]
    errors = [line["error"] for line in lines if "error" in line]
    assert done.stderr.decode().splitlines() == [f"edge-app predict: error: {e}" for e in errors]


def test_standard_input(small_model, clip):
    done = run("predict", "-m", small_model, "--format", "jsonl", "-", stdin=clip.read_bytes())
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    check_answer(answer)
    assert answer["file"] == "<stdin>"
    empty = run("predict", "-m", small_model, "--format", "jsonl", "-")
    assert empty.returncode == 1
    assert json.loads(empty.stdout)["error"] == "<stdin>: it is empty"


def test_csv(small_model, clip, tmp_path):
    done = run("predict", "-m", small_model, "--format", "csv", clip, tmp_path / "none.wav")
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode())))
    assert list(rows[0]) == [
        "file", "emotion", "confidence", *EMOTIONS, "duration", "device", "model",
        "profile", "error",
    ]  # fmt: skip
    assert sum(float(rows[0][emotion]) for emotion in EMOTIONS) == pytest.approx(1, abs=1e-5)
    assert rows[0]["error"] == ""
    assert "no such file" in rows[1]["error"]


def test_table(small_model, clip, tmp_path):
    done = run("predict", "-m", small_model, clip, tmp_path / "none.wav")
    head, answer, error = done.stdout.decode().splitlines()
    assert head.split() == ["emotion", "confidence", "length", "file"]
    assert str(clip) in answer
    assert error.startswith("error")
    assert done.returncode == 1


def test_a_reader_that_has_enough(small_model, clip):
    command = (
        f'"{sys.executable}" -c "import sys; from edge_app.cli import main; sys.exit(main())" '
        f'predict -m "{small_model}" --format jsonl {" ".join([str(clip)] * 40)} | head -n 1'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b""


def test_names_that_are_no_utf8(small_model, clip, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff\xfe.wav"
    try:
        with open(name, "wb") as file:
            file.write(clip.read_bytes())
    except OSError:
        pytest.xfail("this file system knows only UTF-8 names")
    for format in ("jsonl", "csv", "table"):
        done = run("predict", "-m", small_model, "--format", format, tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.unit
def test_names_with_magic_characters_are_taken_as_they_are(tmp_path):
    for name in ("a[1].wav", "b.wav"):
        (tmp_path / name).touch()
    assert list(expand([str(tmp_path / "a[1].wav")])) == [str(tmp_path / "a[1].wav")]
    assert list(expand([str(tmp_path / "none*.wav"), "-"])) == [str(tmp_path / "none*.wav"), "-"]
    assert len(list(expand([str(tmp_path / "*.wav")]))) == 2


def test_an_empty_folder_is_an_error_line(small_model, tmp_path):
    done = run("predict", "-m", small_model, "--format", "jsonl", tmp_path)
    assert done.returncode == 1
    assert "no sound in this folder" in json.loads(done.stdout)["error"]


# --------------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_the_shipped_model_hears_the_samples(precision):
    done = run("predict", "--precision", precision, "--format", "jsonl", ROOT / "samples")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(answer["file"]) for answer in answers] == SAMPLES
    for answer in answers:
        check_answer(answer)
        assert answer["model"] == "compact"


@pytest.mark.unit
def test_the_shipped_model_is_what_its_folder_says():
    import hashlib

    manifest = Classifier().manifest
    folder = ROOT / "models" / "compact"
    metrics = json.loads((folder / "metrics.json").read_text())
    weights = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert manifest.weights_sha256 == weights
    assert manifest.calibration.temperature == metrics["calibration"]["temperature"]
    assert manifest.calibration.threshold == metrics["calibration"]["threshold"]
    assert manifest.corpora == ("ravdess",)
    assert not {"ravdess-06", "ravdess-13", "ravdess-17", "ravdess-22"} & set(
        metrics["speakers"]["train"]
    )
    assert len(metrics["speakers"]["train"]) == 20


@pytest.mark.unit
def test_the_shipped_figures_can_be_recomputed():
    from ser_edge.metrics import classification

    folder = ROOT / "models" / "compact"
    metrics = json.loads((folder / "metrics.json").read_text())
    predictions = classification.read_predictions(folder / "predictions.csv")
    for key, entry in metrics["folds"].items():
        fold = key.split(",")[0].removeprefix("fold ")
        tested = [p for p in predictions if p.part == "test" and p.fold == fold]
        assert {p.speaker for p in tested} == set(entry["speakers"]["test"])
        assert classification.figures(tested)["uar"] == entry["figures"]["uar"]
    tested = [p for p in predictions if p.part == "test"]
    coarser = classification.group_figures(tested, metrics["calibration"]["temperature"])
    assert classification.by_labels(coarser) == metrics["pooled_test_by_labels"]
    tables = (folder / "figures.md").read_text()
    for found in coarser:
        row = next(line for line in tables.splitlines() if line.startswith(f"| `{found.labels}`"))
        assert f"| {found.uar:.3f} | {found.chance:.3f} | {found.accuracy:.3f} |" in row


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_shipped_answers_on_real_clips_are_plausible(ravdess, precision):
    """It was trained on these: far above chance, or the edge path is not the training path."""
    from ser_edge.corpora import CORPORA

    speech = [u for u in CORPORA["ravdess"].scan(ravdess).utterances if u.channel == "speech"]
    classifier = Classifier(precision=precision)
    chosen = speech[::20]
    answers = [classifier.predict(utterance.path) for utterance in chosen]
    right = [max(a.scores, key=a.scores.__getitem__) == u.emotion
             for a, u in zip(answers, chosen, strict=True)]  # fmt: skip
    assert np.mean(right) > 0.8


@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        (">/dev/full", 1, "the answers cannot be written: [Errno 28]"),
        (">&-", 1, ""),
        ("<&-", 0, ""),
    ],
)
@pytest.mark.parametrize("format", ["table", "jsonl", "csv"])
def test_standard_output_that_is_full_or_closed(
    small_model, clip, redirection, status, message, format
):
    command = (
        f'"{sys.executable}" -c "import sys; from edge_app.cli import main; sys.exit(main())" '
        f'predict -m "{small_model}" --format {format} "{clip}" {redirection}'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_standard_input_that_is_closed_fails_alone(small_model, clip):
    command = (
        f'"{sys.executable}" -c "import sys; from edge_app.cli import main; sys.exit(main())" '
        f'predict -m "{small_model}" --format jsonl - "{clip}" <&-'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {"file": "-", "error": "-: standard input is closed"}
    check_answer(second)


@pytest.mark.unit
def test_links_that_lead_nowhere_and_a_file_called_minus(tmp_path, monkeypatch):
    (tmp_path / "*.wav").symlink_to("nowhere")
    (tmp_path / "-").touch()
    monkeypatch.chdir(tmp_path)
    assert list(expand(["*.wav"])) == ["*.wav"]
    assert sorted(expand(["[-*]*"])) == ["*.wav", "./-"]


def test_pictures_are_png_and_regular_files(small, tmp_path):
    from PIL import Image

    Image.new("L", SMALL.shape[::-1]).save(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").rename(tmp_path / "a.png")
    with pytest.raises(AudioError, match="it is not a PNG picture"):
        small.predict(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(AudioError, match="it is not a regular file"):
        small.predict(tmp_path / "b.png")


def test_a_device_that_fails_costs_one_answer_not_the_run(small_model, clip, faulty, capsys):
    faulty(CPU=Fault(how="middle", until=1))
    status = main(["predict", "-m", str(small_model), "--format", "jsonl", str(clip), str(clip)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    # Both are heard at once: either may be the first that the device sees.
    failed, answered = sorted(lines, key=len)
    assert status == 1
    assert failed == {"file": str(clip), "error": "CPU failed: NC_ERROR: device lost"}
    check_answer(answered)


def test_a_network_whose_output_is_of_another_size(small_model, clip, faulty):
    faulty(CPU=Fault(how="size"))
    with pytest.raises(DeviceError, match="1280 logits for 8 labels"):
        Classifier(small_model).predict(clip)
