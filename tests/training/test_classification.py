"""Figures of confusion matrices, calibration of probabilities, and the task of a training."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from galcli.predict.classes import confusion, scores
from galcli.training.classification import BINS, balanced_weights, bin_confidence, calibration_error, fit_temperature


def drawn(n: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    truth = draw.integers(0, classes, n)
    return truth, np.where(draw.random(n) < 0.6, truth, draw.integers(0, classes, n))


def test_figures_are_those_of_sklearn() -> None:
    truth, said = drawn()
    matrix = confusion(truth, said, 4)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, said))
    one = scores(matrix)
    each = metrics.precision_recall_fscore_support(truth, said)
    for ours, theirs in zip((one.precision, one.recall, one.f1, one.support), each, strict=True):
        np.testing.assert_allclose(ours, theirs)
    for average, ours in (("macro", one.macro), ("weighted", one.weighted)):
        np.testing.assert_allclose(ours, metrics.precision_recall_fscore_support(truth, said, average=average)[:3])
    assert one.accuracy == pytest.approx(metrics.accuracy_score(truth, said))


def test_classes_that_do_not_occur_do_not_count() -> None:
    one = scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    assert one.f1[2] == one.precision[2] == one.recall[2] == 0
    assert one.macro[2] == pytest.approx((6 / 7 + 8 / 9) / 2)
    assert scores(np.zeros((3, 3), np.int64)).accuracy == 0


def test_calibration_error_of_known_confidences() -> None:
    # half of those said with 0.9 are right, all of those said with 0.6
    prob = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    truth = np.array([0] * 5 + [1] * 15)
    assert calibration_error(prob, truth) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0


def test_bins_of_confidence() -> None:
    largest = np.array([0.4, 0.41, 0.999, 1.0, 6 / 15])
    prob = np.stack([largest, 1 - largest, np.zeros(5)], 1)
    prob[[0, 1, 4]] = [[p, (1 - p) / 2, (1 - p) / 2] for p in largest[[0, 1, 4]]]
    bins = bin_confidence(prob, np.array([0, 1, 0, 0, 2]))
    assert np.flatnonzero(bins.objects).tolist() == [6, 14], "the sure one is in the last bin"
    assert bins.objects[[6, 14]].tolist() == [3, 2]
    assert bins.right[[6, 14]].tolist() == [1, 2]
    assert bins.confidence[[6, 14]] == pytest.approx([(0.4 + 0.41 + 0.4) / 3, 0.9995])
    assert len(bins.objects) == len(bins.right) == len(bins.confidence) == BINS
    assert bins.right.sum() == 3
    assert not bins.confidence[bins.objects == 0].any()


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    draw = np.random.default_rng(2)
    prob = draw.dirichlet(np.full(5, 0.3), 500).astype(np.float32)
    truth = draw.integers(0, 5, 500)
    gap = 0.0
    for low in range(BINS):
        largest = prob.max(1).astype(float) * BINS
        mine = (largest >= low) & ((largest < low + 1) | (low == BINS - 1))
        if mine.any():
            gap += mine.mean() * abs((prob.argmax(1) == truth)[mine].mean() - prob.max(1)[mine].mean(dtype=float))
    assert calibration_error(prob, truth) == pytest.approx(gap, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_is_found(temperature: float) -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(0, 2, (20_000, 5))
    prob = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = np.array([draw.choice(5, p=row) for row in prob])
    found = fit_temperature(logits * temperature, truth)
    assert found == pytest.approx(temperature, rel=0.05)
    scaled = np.exp(logits * temperature / found)
    assert calibration_error(scaled / scaled.sum(1, keepdims=True), truth) < 0.015


def test_balanced_weights_make_classes_count_the_same() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [3] * 3)
    weight = balanced_weights(labels, 4)
    assert weight[2] == 0
    assert weight[0] * 6 == pytest.approx(weight[1] * 3) == pytest.approx(weight[3] * 3)
    assert math.fsum(weight[label] for label in labels) == pytest.approx(len(labels))
