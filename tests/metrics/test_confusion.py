"""Closed forms, edge cases, and equality with Keras and scikit-learn where these compute the same scores."""

import numpy as np
import pytest
from numpy.typing import NDArray

from terracyte.metrics import confusion as metrics

# Truth 0 0 0 1 1 2, prediction 0 0 1 1 2 2.
SMALL = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 1]])


@pytest.mark.parametrize("at_once", [1, 7, 24, 100])
def test_however_many_are_counted_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    truth, prediction = np.random.default_rng(0).integers(0, 3, (2, 4, 3, 2), np.uint8)
    monkeypatch.setattr(metrics, "_PIXELS", at_once)
    expected = [[((truth == i) & (prediction == j)).sum() for j in range(3)] for i in range(3)]
    matrix = metrics.confusion_matrix(truth, prediction, 3)
    np.testing.assert_array_equal(matrix, expected)
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
    # 100 background pixels are predicted as sand, which must not change sand's IoU.
    confusion = np.array([[5, 0, 100], [0, 3, 1], [0, 0, 4]])
    assert metrics.mean_iou(confusion, (1, 2)) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_predicting_background_on_labelled_ground() -> None:
    confusion = np.array([[9, 9, 9], [1, 3, 0], [0, 0, 4]])
    # Counts as a miss of the class; the course's score also counts background, as a third class with IoU 0.
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
    # The headline equals the course's score of a model that never predicts background.
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
    # Half the images have confidence 0.9, all of them right; half have 0.6, half of these right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    expected = (abs(1 - 0.9) + abs(0.5 - 0.6)) / 2
    assert metrics.expected_calibration_error(probabilities, truth) == pytest.approx(expected)


def test_errors_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    # A right image with confidence 0.6 (underconfident by 0.4), a wrong one with 0.9 (overconfident by 0.9).
    probabilities, truth = np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([0, 1])
    assert metrics.expected_calibration_error(probabilities, truth, bins=1) == pytest.approx(0.5 / 2)
    assert metrics.expected_calibration_error(probabilities, truth, bins=5) == pytest.approx((0.4 + 0.9) / 2)


def halves(edge: int, height: int = 64, width: int = 128) -> NDArray[np.uint8]:
    """Return one mask (1, h, w): class 1 left of the column `edge`, class 2 from this column on."""
    return np.where(np.arange(width) < edge, 1, 2).astype(np.uint8)[None, None].repeat(height, axis=1)


def test_boundary_iou_closed_forms() -> None:
    truth = halves(64)
    assert metrics.boundary_iou(truth, truth, (1, 2)) == 1
    # Each class has a strip of 3 columns (2 % of the diagonal of 143); moved by 1, strips share 2 of 4 columns.
    for moved, common in ((1, 2), (2, 1), (3, 0), (9, 0)):
        expected = common / (6 - common)
        assert metrics.boundary_iou(truth, halves(64 + moved), (1, 2)) == pytest.approx(expected)
    # The ordinary IoU hardly changes.
    confusion = metrics.confusion_matrix(truth, halves(67), 3)
    assert metrics.mean_iou(confusion, (1, 2)) > 0.95


def test_boundary_strips_have_corners_and_grow_with_the_image() -> None:
    # A single pixel of class 2: class 1's strip is the square around it without the pixel itself.
    truth = np.ones((1, 256, 256), np.uint8)
    truth[0, 100, 100] = 2
    moved = np.roll(truth, 1, axis=2)
    square = 2 * 7 + 1
    common = square * (square - 1) - 2
    of_class_1 = common / (2 * (square**2 - 1) - common)
    assert metrics.boundary_iou(truth, moved, (1, 2)) == pytest.approx((of_class_1 + 0) / 2)


def test_boundary_iou_is_of_the_data_set() -> None:
    truth = np.concatenate([halves(64), halves(64, 32).repeat(2, axis=1), halves(20)])
    prediction = np.concatenate([halves(64), halves(65), halves(80)])
    # In the three images, strips of 3 columns share 3, 2 and 0 columns; their unions have 3, 4 and 6.
    assert metrics.boundary_iou(truth, prediction, (1, 2)) == pytest.approx(5 / 13)
    many = [masks.repeat(50, axis=0) for masks in (truth, prediction)]
    assert metrics.boundary_iou(many[0], many[1], (1, 2)) == pytest.approx(5 / 13)


def test_background_and_edges_make_no_contour() -> None:
    truth, prediction = halves(64), halves(65)
    score = metrics.boundary_iou(truth, prediction, (1, 2))
    truth[:, :, 100:] = 0
    assert metrics.boundary_iou(truth, prediction, (1, 2)) == score
    # Predictions there do not matter.
    prediction[:, ::2, 100:] = 1
    assert metrics.boundary_iou(truth, prediction, (1, 2)) == score
    # Without a second class there is no contour to score.
    assert metrics.boundary_iou(np.ones_like(truth), np.ones_like(truth), (1, 2)) == 0


def test_boundary_iou_leaves_absent_classes_out() -> None:
    assert metrics.boundary_iou(halves(64), halves(64), (1, 2, 3, 4)) == 1
    # A class that is predicted but never true counts with 0.
    wrong = halves(64)
    wrong[wrong == 2] = 3
    assert metrics.boundary_iou(halves(64), wrong, (1, 2, 3)) == pytest.approx(1 / 3)


def test_calibration_error_has_fifteen_bins() -> None:
    # 0.61 and 0.66 share a bin; the border 10/15 separates them from 0.67
    truth = np.array([0, 1])
    for sure, expected in ((0.66, (0.39 - 0.66) / 2), (0.67, (0.39 + 0.67) / 2)):
        probabilities = np.array([[0.61, 0.39], [sure, 1 - sure]])
        assert metrics.expected_calibration_error(probabilities, truth) == pytest.approx(abs(expected))


def test_a_confidence_on_a_border_is_of_the_lower_bin() -> None:
    # Bins split (0, 1]: 0.5 shares the lower of two bins with 0.4, and 0.75 has the upper one alone.
    probabilities = np.array([[0.5, 0.25, 0.25], [0.4, 0.3, 0.3], [0.75, 0.25, 0]])
    found = metrics.expected_calibration_error(probabilities, np.array([0, 1, 0]), bins=2)
    assert found == pytest.approx((abs(0.5 - 0.4) + 0.25) / 3)


def test_strips_of_small_images_are_a_pixel_wide() -> None:
    assert metrics.boundary_iou(halves(8, 16, 16), halves(8, 16, 16), (1, 2)) == 1


def test_means_run_over_the_classes_of_their_definition() -> None:
    predicted_only = np.array([[1, 1], [0, 0]])
    assert metrics.balanced_accuracy(predicted_only) == 1 / 2  # over the classes of the truth
    assert metrics.macro_f1(predicted_only) == pytest.approx((2 / 3 + 0) / 2)  # of the truth or the prediction


def test_any_class_that_is_not_scored_makes_no_contour() -> None:
    truth = halves(64)
    truth[:, :, 100:] = 3
    assert metrics.boundary_iou(truth, halves(65), (1, 2)) == metrics.boundary_iou(halves(64), halves(65), (1, 2))
