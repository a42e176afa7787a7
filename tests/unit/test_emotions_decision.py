from __future__ import annotations

import numpy as np
import pytest

from ser_edge.corpora import CORPORA
from ser_edge.decision import Calibration, decide, pool, softmax, speech_weights
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import ClipPrediction


def test_the_eight_in_ravdess_order():
    assert EMOTIONS == (
        "neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised",
    )  # fmt: skip
    assert CORPORA["ravdess"].emotions["05"] == "angry"
    assert [emotion_index(emotion) for emotion in EMOTIONS] == list(range(8))


def test_an_unknown_emotion_is_refused():
    with pytest.raises(ValueError, match="'boredom' is none of neutral"):
        emotion_index("boredom")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_softmax(temperature):
    scores = softmax([[1000.0, 1001.0], [-5.0, -5.0]], temperature)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    np.testing.assert_allclose(scores[0, 1], 1 / (1 + np.exp(-1 / temperature)))
    np.testing.assert_allclose(scores[1], 0.5)


def test_weights_are_the_share_of_speech():
    loud, pause = np.full(50, -30.0), np.full(50, -70.0)
    windows = [loud, np.concatenate([loud, pause]), np.concatenate([pause, pause])]
    np.testing.assert_allclose(speech_weights(windows), [1, 0.5, 0])


def test_silence_has_no_weight_however_even_it_is():
    assert not speech_weights([np.full(100, -200.0), np.full(100, -90.0)]).any()
    assert speech_weights([]).size == 0


def test_pool_is_the_weighted_mean():
    np.testing.assert_allclose(pool([[1, 0], [0, 3]], [3, 1]), [0.75, 0.75])
    np.testing.assert_array_equal(pool([[1, 0], [0, 3]], [0, 0]), [0, 0])


def test_the_highest_score_is_the_answer():
    answer = decide([0, 0, 0, 0, 5, 0, 0, 0], Calibration(1.0, 0.5))
    assert answer.emotion == "angry"
    assert answer.confidence == max(answer.scores)
    assert sum(answer.scores) == pytest.approx(1)


def test_below_the_threshold_it_is_unknown_and_the_scores_stay():
    answer = decide([0, 0, 0, 0, 1, 0, 0, 0], Calibration(1.0, 0.5))
    assert answer.emotion == "unknown"
    assert len(answer.scores) == 8
    assert sum(answer.scores) == pytest.approx(1)


def test_no_evidence_is_unknown_even_without_a_threshold():
    assert decide(np.zeros(8), Calibration(1.0, 0.0)).emotion == "unknown"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0.0, 0.1), "temperature"),
        ((np.nan, 0.1), "temperature"),
        ((1e-320, 0.1), "temperature"),
        ((1.0, 1.5), "threshold"),
    ],
)
def test_impossible_calibrations(values, name):
    with pytest.raises(ValueError, match=name):
        Calibration(*values)


def made_predictions(sharpness: float, n: int = 4000) -> list[ClipPrediction]:
    """Labels drawn from softmax(logits), then logits made ``sharpness`` times too sharp."""
    random = np.random.default_rng(0)
    logits = random.standard_normal((n, 8)) * 2
    labels = [random.choice(8, p=row) for row in softmax(logits)]
    return [
        ClipPrediction("validation", "1", "u", "c", "s", "male", "normal", EMOTIONS[label],
                       tuple(row * sharpness))
        for label, row in zip(labels, logits, strict=True)
    ]  # fmt: skip


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_what_made_logits_too_sharp(sharpness):
    predictions = made_predictions(sharpness)
    calibration = fit_calibration(predictions, unknown_share=0.1)
    assert calibration.temperature == pytest.approx(sharpness, rel=0.05)
    logits = np.array([p.logits for p in predictions])
    confidence = softmax(logits, calibration.temperature).max(axis=1)
    assert np.mean(confidence < calibration.threshold) == pytest.approx(0.1, abs=0.01)


def test_calibration_needs_predictions():
    with pytest.raises(ValueError, match="no validation predictions"):
        fit_calibration([])
