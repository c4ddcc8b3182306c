"""The loss: closed forms, gradient, edges, eager and compiled."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.typing import NDArray

from terracyte.losses import WeightedCrossEntropy

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], np.float32)
TARGETS = np.eye(3, dtype=np.float32)[[0, 2]]


def negative_log_likelihood(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    return np.asarray(np.log(np.exp(exact).sum(axis=-1, keepdims=True)) - exact)


def test_equals_keras_without_weights() -> None:
    expected = keras.losses.CategoricalCrossentropy(from_logits=True)(TARGETS, LOGITS)
    assert float(WeightedCrossEntropy([1, 1, 1])(TARGETS, LOGITS)) == pytest.approx(float(expected))


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


def descended(compiled: bool) -> NDArray[np.float32]:
    """Logits after one step of gradient descent on the loss, from LOGITS."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(6, use_bias=False)])
    model.add(keras.layers.Reshape((2, 3)))
    model.set_weights([LOGITS.reshape(1, 6)])
    loss = WeightedCrossEntropy([1, 2, 3])
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=not compiled, jit_compile=False)
    model.train_on_batch(np.ones((1, 1), np.float32), TARGETS[None])
    return np.asarray(model.get_weights()[0].reshape(2, 3))


def test_gradient_closed_form() -> None:
    probabilities = np.exp(-negative_log_likelihood(LOGITS))
    gradient = np.array([[1], [3]]) / 4 * (probabilities - TARGETS)
    np.testing.assert_allclose(descended(compiled=False), LOGITS - gradient, atol=1e-6)


def test_eager_equals_compiled() -> None:
    np.testing.assert_allclose(descended(compiled=False), descended(compiled=True), atol=1e-7)


def test_serialises() -> None:
    loss = WeightedCrossEntropy([0, 1, 2], 0.1)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(TARGETS, LOGITS)) == float(loss(TARGETS, LOGITS))
