"""Embeddings: the right tensor, only when asked, weighted as the scores are."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SAMPLES, speechlike
from edge_app import AudioError, Classifier
from edge_app.cli import main
from edge_app.inference.devices import new_core
from edge_app.inference.embedding import embedding_of
from ser_edge.decision import pool

LONG = next(path for path in SAMPLES if path.stem == "man-long")


@pytest.fixture(scope="module", params=["FP16", "INT8"])
def classifier(request) -> Classifier:
    return Classifier(precision=request.param)


def test_what_the_last_layer_takes_is_found_behind_the_gate(classifier):
    precision = classifier.manifest.precision
    model = new_core()[0].read_model(str(ROOT / f"ir/compact/{precision}/compact.xml"))
    source = embedding_of(model)
    assert source.get_node().get_friendly_name() == "/net/Concat"
    assert source.get_partial_shape()[1].get_length() == 320
    assert len(model.outputs) == 1  # looking changes nothing


def test_it_is_not_computed_unless_asked(classifier):
    assert next(classifier.network.run([np.zeros((80, 395), np.uint8)])).embedding is None
    assert len(classifier.network._engine.compiled.outputs) == 1
    assert len(classifier.embed(SAMPLES[0]).vector) == 320
    assert len(classifier.network._engine.compiled.outputs) == 1


def test_the_last_layer_makes_the_logits_of_it():
    """Weights of the shipped model on the embedding: its logits, with the gate."""
    safetensors = pytest.importorskip("safetensors.numpy")
    weights = safetensors.load_file(ROOT / "models" / "compact" / "weights.safetensors")
    weights = {name.split("net.")[-1]: values for name, values in weights.items()}
    classifier = Classifier()
    for sound in SAMPLES[:3]:
        (window, *_) = classifier.embed(sound).windows
        image = next(iter(_images(classifier, sound)))
        scores = weights["classify.weight"] @ window.vector + weights["classify.bias"]
        gate = weights["gate.weight"] @ window.vector + weights["gate.bias"]
        logits = scores / (1 + np.exp(-gate))
        np.testing.assert_allclose(classifier.network.logits(image), logits, atol=0.02)


def _images(classifier, sound):
    from edge_app.inference.file_windows import pictures
    from ser_edge.audio import decode

    spec = classifier.manifest.spec
    return [p.image for p in pictures(decode.read_blocks(sound, spec.sample_rate), spec)]


def test_a_long_sound_has_the_weighted_mean_of_its_windows(classifier, tmp_path):
    sound = np.concatenate([speechlike(6.0, 16_000), np.zeros(6 * 16_000, np.float32)])
    soundfile.write(tmp_path / "a.wav", sound, 16_000)
    found = classifier.embed(tmp_path / "a.wav")
    assert [(w.start, w.end) for w in found.windows] == [(0, 5), (2.5, 7.5), (5, 10), (7, 12)]
    shares = [w.speech for w in found.windows]
    assert shares[0] > shares[1] > shares[2] > shares[3] == 0
    mean = pool([w.vector for w in found.windows], shares)
    np.testing.assert_allclose(found.vector, mean, rtol=1e-6)
    assert found.vector.dtype == np.float32
    assert found.duration == 12
    assert (found.device, found.model) == ("CPU", "compact")


def test_silence_has_none(classifier):
    with pytest.raises(AudioError, match="it is silent: there is nothing to embed"):
        classifier.embed(np.zeros(16_000), rate=16_000)


@pytest.mark.component
def test_json_lines(capsys, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    status = main(["embed", str(LONG), str(tmp_path / "silent.wav")])
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert status == 1
    assert list(first) == ["file", "start", "end", "device", "model", "embedding"]
    expected = Classifier().embed(LONG)
    np.testing.assert_allclose(first["embedding"], expected.vector, rtol=1e-4, atol=1e-5)
    assert "it is silent" in second["error"]
    assert main(["embed", str(LONG), "--windows"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["start"], line["end"]) for line in lines[:2]] == [(0.0, 5.0), (2.5, 7.5)]
    assert len(lines) == len(expected.windows)
    for line, window in zip(lines, expected.windows, strict=True):
        assert line["speech"] == pytest.approx(window.speech, abs=1e-6)
        np.testing.assert_allclose(line["embedding"], window.vector, rtol=1e-4, atol=1e-5)


def test_an_array_and_its_rows(capsys, tmp_path):
    out = tmp_path / "vectors.npy"
    words = ["embed", str(SAMPLES[0]), str(tmp_path / "none.wav"), str(LONG), "--out", str(out)]
    assert main(words) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("row") for line in lines] == [0, None, 1]
    assert "no such file" in lines[1]["error"]
    array = np.load(out)
    assert (array.shape, array.dtype) == ((2, 320), np.float32)
    np.testing.assert_allclose(array[1], Classifier().embed(LONG).vector, atol=1e-4)


def test_no_vector_no_array(capsys, tmp_path):
    out = tmp_path / "a.npy"
    assert main(["embed", str(tmp_path / "none.wav"), "--out", str(out)]) == 1
    assert "no vector" in capsys.readouterr().err
    assert not out.exists()
