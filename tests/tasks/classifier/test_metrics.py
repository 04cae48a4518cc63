import numpy as np
import pytest

from tasks.classifier.metrics import auc, measure_binary, measure_classes, reliability


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    draw = np.random.default_rng(0)
    scores, positive = draw.integers(0, 20, 200) / 20, draw.random(200) < 0.3
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(pairs))


def test_auc_of_perfect_reversed_and_constant_scores() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([0.9, 0.8, 0.2, 0.1]), positive) == 1.0
    assert auc(np.array([0.1, 0.2, 0.8, 0.9]), positive) == 0.0
    assert auc(np.full(4, 0.3), positive) == 0.5
    assert auc(np.array([0.1, 0.2]), np.array([True, True])) == 0.5  # not defined


def test_the_calibration_error_weighs_each_bin_by_its_documents() -> None:
    confidence = np.array([0.95] * 3 + [0.15, 1.0])
    correct = np.array([True, True, False, False, True])
    table, error = reliability(confidence, correct)
    assert [(row["from"], row["n"], row["observed"]) for row in table] == [(0.1, 1, 0.0), (0.9, 4, 0.75)]
    assert error == pytest.approx((1 * 0.15 + 4 * abs((3 * 0.95 + 1.0) / 4 - 0.75)) / 5, abs=1e-4)


def test_a_binary_measure_counts_both_sides() -> None:
    found = measure_binary(np.array([0.9, 0.4, 0.2]), np.array([True, True, False]))
    assert (found["accuracy"], found["auc"]) == (0.6667, 1.0)
    assert (found["heldout_positives"], found["heldout_negatives"]) == (2, 1)


def test_the_confusion_of_classes_is_by_true_and_predicted_label() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    found = measure_classes(scores, ["a", "b", "b"], ["a", "b", "c"])
    assert found["confusion"] == {"a": {"a": 1}, "b": {"a": 1, "b": 1}, "c": {}}
    assert (found["classes"]["a"]["precision"], found["classes"]["b"]["recall"]) == (0.5, 0.5)
    assert (found["classes"]["c"]["precision"], found["classes"]["c"]["recall"]) == (None, None)
    assert found["accuracy"] == 0.6667
