"""The registry of architectures: a name in params.yaml → a builder.

Every model maps images (b, h, w, c), 0-255, to logits: (b, k), or (b, h, w, k) for tasks with masks. It
consists of Keras' own layers, so that `keras.saving.load_model(path, safe_mode=True)` reads it anywhere.
"""

from collections.abc import Callable

import keras

from terracyte.core.errors import InputError
from terracyte.models import cnn, convnext, efficientnet_lite, majority, mobilenet_v3, unet
from terracyte.models.problem import Problem
from terracyte.params.variant import Config

# A network is what its configuration says, whatever ~/.keras/keras.json has made of Keras on this machine.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_dtype_policy("float32")

Builder = Callable[[Config, Problem], keras.Model]

ARCHITECTURES: dict[str, Builder] = {
    "cnn": cnn.build,
    "convnext": convnext.build,
    "efficientnet_lite": efficientnet_lite.build,
    "majority": majority.build,
    "mobilenet_v3": mobilenet_v3.build,
    "unet": unet.build,
}


def build(config: Config, problem: Problem) -> keras.Model:
    """A fresh model of `config.architecture`; its weights depend on Keras' random seed.

    Raises:
        InputError: the architecture is unknown, or doesn't fit the problem.
    """
    if config.architecture not in ARCHITECTURES:
        allowed = ", ".join(ARCHITECTURES)
        raise InputError(f"params.yaml: 'architecture' is {config.architecture!r}; it must be one of {allowed}")
    return ARCHITECTURES[config.architecture](config, problem)
