"""The losses: closed forms, gradient, edges, eager and compiled."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from terracyte.core.errors import InputError
from terracyte.params.variant import Config
from terracyte.train import losses
from terracyte.train.losses import OverlapLoss, WeightedCrossEntropy

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 2]]


def negative_log_likelihood(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    return np.asarray(np.log(np.exp(exact).sum(axis=-1, keepdims=True)) - exact)


def test_label_smoothing_equals_keras() -> None:
    expected = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)(TARGETS, LOGITS)
    loss = WeightedCrossEntropy([1, 1, 1], label_smoothing=0.2)
    assert float(loss(TARGETS, LOGITS)) == pytest.approx(float(expected))


def test_weights_closed_form() -> None:
    nll = negative_log_likelihood(LOGITS)
    expected = (1 * nll[0, 0] + 3 * nll[1, 2]) / 4
    assert float(WeightedCrossEntropy([1, 2, 3])(TARGETS, LOGITS)) == pytest.approx(expected)


def test_weights_and_smoothing_closed_form() -> None:
    nll = negative_log_likelihood(LOGITS)
    losses = [1 * (0.9 * nll[0, 0] + 0.1 * nll[0].mean()), 3 * (0.9 * nll[1, 2] + 0.1 * nll[1].mean())]
    loss = WeightedCrossEntropy([1, 2, 3], label_smoothing=0.1)
    assert float(loss(TARGETS, LOGITS)) == pytest.approx(sum(losses) / 4)


def test_mixed_targets_mix_losses() -> None:
    loss = WeightedCrossEntropy([1, 1, 1])
    first, second = (float(loss(np.eye(3, dtype=np.float32)[[k]], LOGITS[:1])) for k in (0, 1))
    mixed = float(loss(np.array([[0.3, 0.7, 0.0]], np.float32), LOGITS[:1]))
    assert mixed == pytest.approx(0.3 * first + 0.7 * second)


def test_only_ratios_of_weights_matter() -> None:
    few, many = WeightedCrossEntropy([1, 2, 3], 0.1), WeightedCrossEntropy([10, 20, 30], 0.1)
    assert float(few(TARGETS, LOGITS)) == pytest.approx(float(many(TARGETS, LOGITS)))


def test_ignored_class_counts_nowhere() -> None:
    masks = np.eye(3, dtype=np.float32)[[[0, 1], [1, 2]]][None]
    logits = np.random.default_rng(0).normal(size=(1, 2, 2, 3)).astype(np.float32)
    loss = WeightedCrossEntropy([0, 1, 1], label_smoothing=0.1)
    labelled = loss(masks[:, [0, 1, 1], [1, 0, 1]], logits[:, [0, 1, 1], [1, 0, 1]])
    assert float(loss(masks, logits)) == pytest.approx(float(labelled))


def test_smoothing_spares_the_ignored_class() -> None:
    nll = negative_log_likelihood(LOGITS)
    loss = WeightedCrossEntropy([0, 1, 1], label_smoothing=0.2)
    expected = 0.8 * nll[1, 2] + 0.2 * (nll[1, 1] + nll[1, 2]) / 2
    assert float(loss(TARGETS, LOGITS)) == pytest.approx(expected)


def test_nothing_but_ignored_is_zero() -> None:
    assert float(WeightedCrossEntropy([0, 1, 0])(TARGETS, LOGITS)) == 0.0


def test_edges() -> None:
    loss = WeightedCrossEntropy([1, 1, 1])
    assert float(loss(TARGETS, np.zeros_like(LOGITS))) == pytest.approx(np.log(3))
    assert float(loss(TARGETS, 1e4 * TARGETS)) == 0.0
    assert float(loss(TARGETS, -1e4 * TARGETS)) == pytest.approx(1e4 + np.log(2))


def test_sums_over_parts_make_the_whole() -> None:
    loss = WeightedCrossEntropy([1, 2, 3], 0.1)
    parts = [loss.sums(TARGETS[i : i + 1], ops.convert_to_tensor(LOGITS[i : i + 1])) for i in range(2)]
    total, weight = (sum(float(part[j]) for part in parts) for j in range(2))
    assert total / weight == pytest.approx(float(loss(TARGETS, LOGITS)))


def descended(compiled: bool, loss: WeightedCrossEntropy) -> NDArray[np.float32]:
    """Logits after one step of gradient descent on the loss, from LOGITS."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(6, use_bias=False)])
    model.add(keras.layers.Reshape((2, 3)))
    model.set_weights([LOGITS.reshape(1, 6)])
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=not compiled, jit_compile=False)
    model.train_on_batch(np.ones((1, 1), np.float32), TARGETS[None])
    return np.asarray(model.get_weights()[0].reshape(2, 3))


def test_gradient_closed_form() -> None:
    probabilities = np.exp(-negative_log_likelihood(LOGITS))
    gradient = np.array([[1], [3]]) / 4 * (probabilities - TARGETS)
    loss = WeightedCrossEntropy([1, 2, 3])
    np.testing.assert_allclose(descended(compiled=False, loss=loss), LOGITS - gradient, atol=1e-6)


LOSSES = [WeightedCrossEntropy([0, 1, 2], 0.1), OverlapLoss([0, 1, 2], 0.1), OverlapLoss([0, 1, 2], 0.1, "lovasz", 2.0)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=["none", "dice", "lovasz"])


@each_loss
def test_eager_equals_compiled(loss: WeightedCrossEntropy) -> None:
    stepped = descended(compiled=False, loss=loss)
    assert (stepped[1] != LOGITS[1]).any()
    np.testing.assert_allclose(stepped, descended(compiled=True, loss=loss), atol=1e-6)


@each_loss
def test_serialises(loss: WeightedCrossEntropy) -> None:
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(TARGETS, LOGITS)) == float(loss(TARGETS, LOGITS))


# Six pixels: background, which is ignored, and three classes of which the last occurs nowhere.
MASK = np.array([0, 1, 1, 1, 2, 2])
OVERLAPS = [losses.soft_dice, losses.lovasz_softmax]
each_overlap = pytest.mark.parametrize("overlap", OVERLAPS)
each_name = pytest.mark.parametrize("name", ["dice", "lovasz"])


def one_hot(mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return one-hot vectors (n, 4), all zeros where the mask is 0."""
    return np.eye(4, dtype=np.float32)[mask] * (mask > 0)[:, None].astype(np.float32)


@each_overlap
def test_overlap_edges(overlap: losses.Overlap) -> None:
    truth = one_hot(MASK)
    assert float(overlap(truth, truth)) == 0
    assert float(overlap(truth, one_hot(np.array([3, 2, 2, 2, 1, 1])))) == pytest.approx(1)
    assert float(overlap(0 * truth, one_hot(MASK))) == 0


def test_dice_closed_form() -> None:
    probabilities = np.array([[0, 1, 0, 0], [0, 0.8, 0.2, 0], [0, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 0.3, 0.6, 0.1]])
    truth = one_hot(np.array([0, 1, 1, 2, 2]))
    expected = [1 - 2 * 1.3 / (2 + 0.8 + 0.5 + 1 + 0.3), 1 - 2 * 0.6 / (2 + 0.2 + 0.5 + 0.6)]
    assert float(losses.soft_dice(truth, probabilities.astype(np.float32))) == pytest.approx(np.mean(expected))


def test_lovasz_of_hard_predictions_is_one_minus_iou() -> None:
    # Class 1: 2 of 3 found, 1 false. Class 2: 1 of 2 found, 1 false.
    predicted = one_hot(np.array([1, 1, 1, 2, 2, 1]))
    expected = [1 - 2 / 4, 1 - 1 / 3]
    assert float(losses.lovasz_softmax(one_hot(MASK), predicted)) == pytest.approx(np.mean(expected))


def test_lovasz_closed_form() -> None:
    # Class 1, errors 0.7 (false), 0.6 and 0.1 (missed): Jaccard losses 1 - 2/3, 1 - 1/3, 1 - 0/3.
    # Class 2, errors 0.7 (missed), 0.6 and 0.1 (false): 1 - 0/1, 1 - 0/2, 1 - 0/3.
    truth = one_hot(np.array([1, 1, 2]))
    probabilities = np.array([[0, 0.4, 0.6, 0], [0, 0.9, 0.1, 0], [0, 0.7, 0.3, 0]], np.float32)
    expected = [(0.7 + 0.6 + 0.1) / 3, 0.7]
    assert float(losses.lovasz_softmax(truth, probabilities)) == pytest.approx(np.mean(expected))


def jaccard_extension(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> float:
    """The Lovász extension of one class, as the paper's algorithm 1 has it, in double precision."""
    errors = np.abs(truth - probability)
    order = np.argsort(-errors)
    hits = truth.sum() - truth[order].cumsum()
    jaccard = 1 - hits / (truth.sum() + (~truth[order]).cumsum())
    return float((errors[order] * np.diff(jaccard, prepend=0)).sum())


def test_lovasz_equals_the_paper_over_many_pixels() -> None:
    random = np.random.default_rng(0)
    truth = random.random(100_000) < 0.1
    probability = np.clip(random.normal(np.where(truth, 0.6, 0.3), 0.2), 0, 1)
    both = np.stack([truth, ~truth], axis=-1).astype(np.float32)
    probabilities = np.stack([probability, 1 - probability], axis=-1).astype(np.float32)
    expected = (jaccard_extension(truth, probability) + jaccard_extension(~truth, 1 - probability)) / 2
    assert float(losses.lovasz_softmax(both, probabilities)) == pytest.approx(expected, rel=1e-5)


def config(name: Any, weight: float = 1.0) -> Config:
    plain = Config(architecture="unet", width=4, depth=2, dropout=0.0, l1=0.0, l2=0.0)
    return dataclasses.replace(plain, overlap_loss=name, overlap_weight=weight)


def batch(size: int = 2) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One-hot masks (size, 4, 4, 4), all four classes in them, and logits."""
    random = np.random.default_rng(0)
    masks = random.integers(0, 4, (size, 4, 4))
    return np.eye(4, dtype=np.float32)[masks], random.normal(size=(*masks.shape, 4)).astype(np.float32)


@each_name
def test_the_overlap_term_is_added(name: str) -> None:
    targets, logits = batch()
    weights = [0.0, 1.0, 2.0, 3.0]
    plain, once, thrice = (
        losses.make(chosen, weights, dense=True) for chosen in (config("none"), config(name), config(name, 3.0))
    )
    cross_entropy = float(plain(targets, logits))
    term = float(once(targets, logits)) - cross_entropy
    assert 0 < term < 1
    assert float(thrice(targets, logits)) == pytest.approx(cross_entropy + 3 * term, abs=1e-6)
    # the validation loss stays the cross entropy
    parts = once.sums(targets, ops.convert_to_tensor(logits))
    assert float(parts[0]) / float(parts[1]) == pytest.approx(cross_entropy)


def test_lovasz_looks_at_one_pixel_of_each_square_of_four() -> None:
    targets, logits = batch(4)
    loss = OverlapLoss([1, 1, 1, 1], overlap="lovasz")
    seen = np.zeros((4, 4, 4), np.int64)
    for image, row, column in np.ndindex(seen.shape):
        changed = logits.copy()
        changed[image, row, column, 0] += 1.0
        change = float(loss._overlap(targets, changed)) - float(loss._overlap(targets, logits))
        seen[image, row, column] = abs(change) > 1e-6
    # the same position in all squares of an image, another one in each image
    squares = seen.reshape(4, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4)
    assert (squares.sum(axis=(3, 4)) == 1).all()
    assert (squares[:, 0, 0] == squares[:, 1, 1]).all()
    assert (squares[:, 0, 0].sum(axis=0) == 1).all()


@each_name
def test_class_weights_leave_the_term_alone(name: str) -> None:
    targets, logits = batch()
    terms = [
        float(OverlapLoss(w, 0.1, name)(targets, logits)) - float(WeightedCrossEntropy(w, 0.1)(targets, logits))
        for w in ([0, 1, 1, 1], [0, 1, 5, 9], [1, 1, 1, 1])
    ]
    assert terms[0] == pytest.approx(terms[1], abs=1e-6)
    # a background with a positive weight counts as a class like the others
    assert abs(terms[2] - terms[0]) > 1e-3


@each_name
def test_ignored_pixels_and_classes_do_not_matter(name: str) -> None:
    targets, logits = batch()
    loss = losses.make(config(name), [0, 1, 1, 1], dense=True)
    changed = logits.copy()
    changed[targets[..., 0] == 1] = 9.0
    assert float(loss(targets, changed)) == pytest.approx(float(loss(targets, logits)))
    # the ignored class's logit matters to the cross entropy, but not to the term
    plain = losses.make(config("none"), [0, 1, 1, 1], dense=True)
    raised = logits + np.array([2, 0, 0, 0], np.float32)
    terms = [float(loss(targets, z)) - float(plain(targets, z)) for z in (logits, raised)]
    assert terms[0] == pytest.approx(terms[1], abs=1e-6)


@each_name
def test_a_batch_without_labels_costs_nothing(name: str) -> None:
    targets, logits = batch()
    targets[:] = [1, 0, 0, 0]
    assert float(losses.make(config(name), [0, 1, 1, 1], dense=True)(targets, logits)) == 0


@each_name
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("ignored", [False, True])
def test_gradients_are_finite(name: str, scale: float, ignored: bool) -> None:
    targets, logits = batch(1)
    if ignored:
        targets[:] = [1, 0, 0, 0]
    kernel = scale * logits.reshape(1, -1)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(64, use_bias=False)])
    model.add(keras.layers.Reshape((4, 4, 4)))
    model.set_weights([kernel])
    loss = losses.make(config(name), [0, 1, 1, 1], dense=True)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    model.train_on_batch(np.ones((1, 1), np.float32), targets)
    stepped = model.get_weights()[0]
    assert np.isfinite(stepped).all()
    assert ignored == (stepped == kernel).all()


def test_overlap_needs_masks() -> None:
    with pytest.raises(InputError, match="'overlap_loss' is dice, which needs a task with masks"):
        losses.make(config("dice"), [1, 1], dense=False)
    assert type(losses.make(config("none"), [1, 1], dense=False)) is WeightedCrossEntropy


@pytest.mark.parametrize("overlap", ["none", "dice"])
def test_the_loss_smooths_as_configured(overlap: Any) -> None:
    chosen = losses.make(dataclasses.replace(config(overlap), label_smoothing=0.1), [1, 2], dense=True)
    assert chosen.label_smoothing == 0.1
    assert chosen.class_weights == [1, 2]
