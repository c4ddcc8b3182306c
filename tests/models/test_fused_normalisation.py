"""The fused kernel computes what Keras' own batch normalisation computes."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from terracyte.models.fused_normalisation import fusing, normalisation

FEATURES = np.random.default_rng(0).normal(2.0, 3.0, (8, 16, 16, 5)).astype(np.float32)


def network() -> keras.Model:
    inputs = keras.Input(FEATURES.shape[1:])
    model = keras.Model(inputs, normalisation(momentum=0.9, name="normalisation")(inputs))
    model.layers[-1].set_weights([np.linspace(0.5, 2.0, 5), np.linspace(-1.0, 1.0, 5), np.zeros(5), np.ones(5)])
    return model


@pytest.fixture(scope="module")
def pair() -> tuple[keras.Model, keras.Model]:
    with fusing():
        fused = network()
    return network(), fused


def step(model: keras.Model) -> Any:
    model.compile(keras.optimizers.SGD(1.0), "mean_squared_error", jit_compile=False)
    loss = model.train_on_batch(FEATURES, FEATURES**2)
    return np.concatenate([[loss], *model.get_weights()])


def test_a_step_is_the_same(pair: tuple[keras.Model, keras.Model]) -> None:
    own, fused = (step(model) for model in pair)
    # the last values, the running variance, estimate the population's: n / (n - 1) times the batch's
    own[-5:] += 0.1 * FEATURES.var(axis=(0, 1, 2)) / (FEATURES[..., 0].size - 1)
    np.testing.assert_allclose(fused, own, rtol=2e-5)


def test_predictions_are_the_same(pair: tuple[keras.Model, keras.Model]) -> None:
    own, fused = pair
    fused.set_weights(own.get_weights())
    np.testing.assert_array_equal(own.predict(FEATURES, verbose=0), fused.predict(FEATURES, verbose=0))


def test_networks_for_use_have_keras_own_layers(pair: tuple[keras.Model, keras.Model]) -> None:
    assert type(network().layers[-1]) is layers.BatchNormalization
    assert type(pair[1].layers[-1]) is not layers.BatchNormalization
