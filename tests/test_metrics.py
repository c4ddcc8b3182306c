"""Closed forms, the edges, and equality with Keras and scikit-learn where those compute the same."""

import numpy as np
import pytest

from terracyte import metrics

# Truth 0 0 0 1 1 2, prediction 0 0 1 1 2 2.
SMALL = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_counts_pairs_with_truth_in_rows() -> None:
    truth, prediction = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, prediction, 3), SMALL)


def test_masks_count_as_their_pixels() -> None:
    truth = np.array([[[0, 1], [1, 2]]], np.uint8)
    matrix = metrics.confusion_matrix(truth, truth, 3)
    np.testing.assert_array_equal(matrix, np.diag([1, 2, 1]))
    assert matrix.dtype == np.int64


@pytest.mark.parametrize("label", [-1, 3])
def test_refuses_labels_out_of_range(label: int) -> None:
    with pytest.raises(ValueError, match=r"prediction holds .* 0 … 2"):
        metrics.confusion_matrix(np.array([0, 1]), np.array([0, label]), 3)


def test_refuses_shapes_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="must match"):
        metrics.confusion_matrix(np.zeros((2, 2), int), np.zeros(2, int), 3)


def test_groups_add_up_in_ascending_order() -> None:
    truth, prediction = np.array([0, 1, 2, 0]), np.array([0, 1, 1, 2])
    grouped = metrics.grouped_confusions(truth, prediction, np.array([7, 3, 7, 3]), 3)
    np.testing.assert_array_equal(grouped[0], metrics.confusion_matrix(truth[[1, 3]], prediction[[1, 3]], 3))
    np.testing.assert_array_equal(grouped.sum(axis=0), metrics.confusion_matrix(truth, prediction, 3))


def test_closed_forms() -> None:
    assert metrics.accuracy(SMALL) == pytest.approx(4 / 6)
    np.testing.assert_allclose(metrics.recall(SMALL), [2 / 3, 1 / 2, 1])
    np.testing.assert_allclose(metrics.precision(SMALL), [1, 1 / 2, 1 / 2])
    np.testing.assert_allclose(metrics.f1(SMALL), [4 / 5, 1 / 2, 2 / 3])
    np.testing.assert_allclose(metrics.iou(SMALL), [2 / 3, 1 / 3, 1 / 2])
    assert metrics.balanced_accuracy(SMALL) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert metrics.macro_f1(SMALL) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert metrics.mean_iou(SMALL, (0, 1, 2)) == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3)


def test_pixels_of_true_background_count_nowhere() -> None:
    # Background is predicted as sand a hundred times; sand's IoU must not notice.
    confusion = np.array([[5, 0, 100], [0, 3, 1], [0, 0, 4]])
    assert metrics.mean_iou(confusion, (1, 2)) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_predicting_background_on_labelled_ground() -> None:
    confusion = np.array([[9, 9, 9], [1, 3, 0], [0, 0, 4]])
    # A miss for the class itself; for the course a third class of IoU 0 on top.
    assert metrics.mean_iou(confusion, (1, 2)) == pytest.approx((3 / 4 + 1) / 2)
    assert metrics.course_mean_iou(confusion, 0) == pytest.approx((0 + 3 / 4 + 1) / 3)


def test_a_class_in_neither_is_left_out_of_means() -> None:
    confusion = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert metrics.iou(confusion)[2] == 0
    assert metrics.mean_iou(confusion, (0, 1, 2)) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.balanced_accuracy(confusion) == pytest.approx(3 / 4)
    assert metrics.macro_f1(confusion) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_a_class_predicted_but_never_true_counts_as_zero_iou() -> None:
    confusion = np.array([[1, 1], [0, 0]])
    assert metrics.mean_iou(confusion, (0, 1)) == pytest.approx((1 / 2 + 0) / 2)


def test_nothing_scores_zero_without_nan() -> None:
    nothing = np.zeros((3, 3), np.int64)
    values = [
        metrics.accuracy(nothing),
        metrics.balanced_accuracy(nothing),
        metrics.macro_f1(nothing),
        metrics.mean_iou(nothing, (1, 2)),
        metrics.course_mean_iou(nothing, 0),
        metrics.expected_calibration_error(np.zeros((0, 3)), np.zeros(0, np.int64)),
    ]
    assert values == [0] * 6


def test_stacks_give_what_each_matrix_gives() -> None:
    stack = np.random.default_rng(0).integers(0, 9, (4, 2, 3, 3))
    together = metrics.mean_iou(stack, (1, 2))
    alone = [[metrics.mean_iou(matrix, (1, 2)) for matrix in row] for row in stack]
    np.testing.assert_allclose(together, alone)


def test_equals_keras_and_scikit_learn() -> None:
    import keras
    from sklearn.metrics import balanced_accuracy_score, f1_score

    random = np.random.default_rng(1)
    truth, prediction = random.integers(0, 5, (6, 8, 8)), random.integers(0, 5, (6, 8, 8))
    confusion = metrics.confusion_matrix(truth, prediction, 5)
    course = keras.metrics.MeanIoU(num_classes=5, ignore_class=0)
    course.update_state(truth, prediction)
    assert metrics.course_mean_iou(confusion, 0) == pytest.approx(float(course.result()), abs=1e-6)
    # The headline is the course's score of a model that never predicts background.
    course.reset_state()
    course.update_state(truth, np.maximum(prediction, 1))
    restricted = metrics.confusion_matrix(truth, np.maximum(prediction, 1), 5)
    assert metrics.mean_iou(restricted, (1, 2, 3, 4)) == pytest.approx(float(course.result()), abs=1e-6)
    flat = truth.ravel(), prediction.ravel()
    assert metrics.balanced_accuracy(confusion) == pytest.approx(balanced_accuracy_score(*flat))
    assert metrics.macro_f1(confusion) == pytest.approx(f1_score(*flat, average="macro"))


def test_calibration_error_closed_forms() -> None:
    truth = np.array([0, 0, 1, 1])
    sure_and_right = np.eye(2)[truth]
    assert metrics.expected_calibration_error(sure_and_right, truth) == 0
    assert metrics.expected_calibration_error(1 - sure_and_right, truth) == 1
    # Half the images at 0.9, all right; half at 0.6, half of them right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    expected = (abs(1 - 0.9) + abs(0.5 - 0.6)) / 2
    assert metrics.expected_calibration_error(probabilities, truth) == pytest.approx(expected)


def test_errors_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    # A right image at 0.6 (too modest by 0.4), a wrong one at 0.9 (too sure by 0.9).
    probabilities, truth = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([0, 1])
    assert metrics.expected_calibration_error(probabilities, truth, bins=1) == pytest.approx(0.5 / 2)
    assert metrics.expected_calibration_error(probabilities, truth, bins=5) == pytest.approx((0.4 + 0.9) / 2)


def test_bootstrap_is_seeded_and_brackets_the_score() -> None:
    random = np.random.default_rng(2)
    confusions = random.integers(0, 9, (2, 40, 3, 3)) + 9 * np.eye(3, dtype=np.int64)
    drawn = metrics.bootstrap(confusions, metrics.accuracy, 700, seed=5)
    np.testing.assert_array_equal(drawn, metrics.bootstrap(confusions, metrics.accuracy, 700, seed=5))
    assert (drawn != metrics.bootstrap(confusions, metrics.accuracy, 700, seed=6)).any()
    low, high = metrics.interval(drawn, 0.95)
    assert low < float(metrics.accuracy(confusions.sum(axis=(0, 1)))) < high
    assert metrics.interval(drawn, 0.5)[0] > low


def test_bootstrap_draws_groups_and_seeds() -> None:
    right, wrong = np.diag([4, 4]), np.array([[0, 4], [4, 0]])
    # Two groups, one all right and one all wrong: the resamples are 0, 1/2 and 1 at odds 1 : 2 : 1.
    of_groups = metrics.bootstrap(np.array([[right, wrong]]), metrics.accuracy, 2000, seed=0)
    values, counts = np.unique(of_groups, return_counts=True)
    np.testing.assert_array_equal(values, [0, 0.5, 1])
    np.testing.assert_allclose(counts / 2000, [0.25, 0.5, 0.25], atol=0.05)
    # The same with two training seeds and one group each.
    of_seeds = metrics.bootstrap(np.array([[right], [wrong]]), metrics.accuracy, 2000, seed=0)
    np.testing.assert_array_equal(np.unique(of_seeds), [0, 0.5, 1])


def test_equal_draws_make_paired_differences() -> None:
    confusions = np.random.default_rng(3).integers(0, 9, (1, 30, 2, 2))
    one, other = (metrics.bootstrap(confusions, metrics.accuracy, 50, seed=1) for _ in range(2))
    assert metrics.interval(one - other, 0.95) == (0, 0)
