"""A backbone as the encoder of a U-Net."""

from typing import Any

import keras

from terracyte.core.errors import InputError
from terracyte.models import efficientnet_lite, mobilenet_v3
from terracyte.models.problem import Problem
from terracyte.models.transfer import BACKBONE, as_colours, backbone, rename
from terracyte.params.variant import Config

STRIDES = (2, 4, 8, 16, 32)


def features(x: Any, config: Config, problem: Problem) -> dict[int, Any]:
    """What `config.encoder` sees in the images, at each of its resolutions.

    Of each resolution this is the last output before the next one: in both families the expanded channels, which the
    strided depthwise convolution reads.

    Args:
        x: (b, h, w, c), as `blocks.rescaled_input` gives them.
        config: `encoder`, `enlarge`, `size`, `minimalistic` (mobilenet_v3) and `standardize` matter.
        problem: h and w times `enlarge` are multiples of 32.

    Returns:
        (b, enlarge h / stride, enlarge w / stride, any) by stride.

    Raises:
        InputError: the encoder doesn't come in this size, its weights cannot be loaded, or h or w is no such multiple.
    """
    height, width = (edge * config.enlarge for edge in problem.image_shape[:2])
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise InputError(
            f"params.yaml: 'encoder' asks for image edges that are multiples of {STRIDES[-1]}; with 'enlarge'"
            f" {config.enlarge} the images are {height}x{width} pixels: change 'enlarge' or the task's size"
        )
    edges = (height, width)
    if config.encoder == "mobilenet_v3":
        whole = backbone(config, edges, mobilenet_v3.SIZES, problem.pretrained, minimalistic=config.minimalistic)
    else:
        whole = backbone(config, edges, efficientnet_lite.SIZES, problem.pretrained)
    last = {layer.output.shape[1:3]: layer.output for layer in whole.layers}
    outputs = [last[height // stride, width // stride] for stride in STRIDES]
    network = keras.Model(whole.input, outputs, name=BACKBONE)
    rename(network)
    return dict(zip(STRIDES, network(as_colours(x, edges, config.standardize)), strict=True))
