from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from ser_edge.decision import Calibration, decide
from ser_edge.emotions import EMOTIONS
from ser_edge.labels import GROUPINGS
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction


@pytest.fixture
def predictions() -> list[ClipPrediction]:
    random = np.random.default_rng(1)
    made = []
    for i in range(300):
        label = int(random.choice(8, p=[0.3, *[0.1] * 7]))
        logits = random.standard_normal(8)
        logits[label] += 1
        made.append(
            ClipPrediction(
                "test", "1", f"clip{i}", "made", f"s{i % 4}", ("male", "female")[i % 2],
                ("normal", "strong")[i % 3 == 0], EMOTIONS[label], tuple(logits.round(5).tolist()),
            )
        )  # fmt: skip
    return made


def test_figures_are_scikit_learns(predictions):
    found = classification.figures(predictions)
    truth = [p.emotion for p in predictions]
    guess = [p.predicted for p in predictions]
    assert found["clips"] == 300
    assert found["uar"] == pytest.approx(metrics.balanced_accuracy_score(truth, guess), abs=1e-4)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess), abs=1e-4)
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(truth, guess, average="macro"), abs=1e-4
    )
    np.testing.assert_array_equal(
        found["confusion"], metrics.confusion_matrix(truth, guess, labels=list(EMOTIONS))
    )
    scores = classification.softmax([p.logits for p in predictions])
    assert found["nll"] == pytest.approx(
        metrics.log_loss([EMOTIONS.index(t) for t in truth], scores, labels=range(8)), abs=1e-4
    )
    men = [p for p in predictions if p.sex == "male"]
    assert found["uar_by_sex"]["male"] == classification.figures(men)["uar"]


def test_ece_by_hand():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    truth = np.array([0, 1, 0, 0])
    # Bin of 0.9: half right, off by 0.4; bin of 0.6: all right, off by 0.4.
    assert classification.expected_calibration_error(scores, truth) == pytest.approx(0.4)


def test_csv_and_back(predictions, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text(classification.predictions_csv(predictions))
    assert classification.read_predictions(path) == predictions


@pytest.mark.parametrize("content", [None, "a,b\n1,2\n", "part,fold\nx"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=r"predictions\.csv"):
        classification.read_predictions(path)


def test_windows_are_pooled_as_on_the_edge():
    logits = np.array([[1.0, 0], [0, 1], [4, 0]])
    pooled = classification.pool_windows(logits, [1, 2], [1.0, 1.0, 3.0])
    np.testing.assert_allclose(pooled, [[1, 0], [3, 0.25]])


def test_no_predictions():
    with pytest.raises(ValueError, match="no prediction"):
        classification.figures([])


@pytest.mark.parametrize("name", GROUPINGS)
def test_figures_of_coarser_labels_are_scikit_learns(predictions, name):
    grouping, temperature = GROUPINGS[name], 0.7
    (found,) = classification.group_figures(predictions, temperature, [grouping])
    # Answered as the edge app answers, clip by clip.
    answers = [grouping.regroup(decide(p.logits, Calibration(temperature))) for p in predictions]
    guess = [answer.emotion for answer in answers]
    truth = [grouping.names[grouping.index(p.emotion)] for p in predictions]
    assert (found.labels, found.groups, found.clips) == (name, grouping.names, 300)
    assert found.uar == pytest.approx(metrics.balanced_accuracy_score(truth, guess), abs=1e-4)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, guess), abs=1e-4)
    assert found.chance == pytest.approx(1 / len(grouping.names), abs=1e-4)
    assert found.commonest == pytest.approx(max(map(truth.count, truth)) / 300, abs=1e-4)
    assert (found.uar_without_other is None) == ("other" not in grouping.names)
    if found.uar_without_other is not None:
        kept = [
            (label, max(named, key=lambda item: item[1])[0])
            for label, answer in zip(truth, answers, strict=True)
            for named in [list(zip(grouping.names[:-1], answer.scores, strict=False))]
            if label != "other"
        ]
        wanted = metrics.balanced_accuracy_score(*zip(*kept, strict=True))
        assert found.uar_without_other == pytest.approx(wanted, abs=1e-4)
        assert found.uar_without_other > found.uar


def test_groups_that_do_not_occur_are_no_chance(predictions):
    calm = [p for p in predictions if p.emotion in ("calm", "sad")]
    found = classification.by_labels(classification.group_figures(calm))
    assert found["4"]["groups"] == ["neutral", "sad"]
    assert found["valence"]["chance"] == 0.5
    surprised = [p for p in predictions if p.emotion == "surprised"]
    assert (
        classification.by_labels(classification.group_figures(surprised))["6"]["uar_without_other"]
        is None
    )
    with pytest.raises(ValueError, match="no prediction"):
        classification.group_figures([])
