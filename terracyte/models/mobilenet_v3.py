"""MobileNetV3 (arXiv 1905.02244), for transfer learning on a processor."""

import keras

from terracyte.models.problem import Problem
from terracyte.models.transfer import classifier
from terracyte.params.variant import Config

SIZES = {"small": keras.applications.MobileNetV3Small, "large": keras.applications.MobileNetV3Large}


def build(config: Config, problem: Problem) -> keras.Model:
    """MobileNetV3 of `config.size` (small, large), `config.minimalistic` or not; see `transfer.classifier`."""
    return classifier(config, problem, SIZES, minimalistic=config.minimalistic)
