"""How fast a training step is, beside PyTorch's on the same network; and how much of it a whole training keeps.

python -m benchmarks.training [VARIANT ...] [--rounds 3] [--experiment real]

times steps on random batches in processes of one thread each, in turns. PyTorch is no part of the environment:
`pip install torch` beside it. It works with channels last, AdamW, and cross entropy (ours has its own loss and Lion).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from terracyte.core.errors import guarded

_VARIANTS = ("mars-unet_4", "mars-unet_final", "blood-cnn", "blood-mobilenet_v3_large", "blood-efficientnet_lite0")
_WARM_UP, _STEPS = 4, 15
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=list(_VARIANTS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (3)")
    parser.add_argument(
        "--experiment", type=Path, default=Path("real"), help="folder whose configurations count (real)"
    )
    parser.add_argument("--side", choices=list(_SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(_images_per_second(*_SIDES[arguments.side](arguments.experiment, arguments.variants[0]))))
        return
    print("| variant | batch | ours, images/s | PyTorch, images/s | ratio |\n| --- | --- | --- | --- | --- |")
    for variant in arguments.variants:
        print(_row(arguments.experiment, variant, arguments.rounds), flush=True)


def _row(experiment: Path, variant: str, rounds: int) -> str:
    speeds: dict[str, list[float]] = {side: [] for side in _SIDES}
    for _ in range(rounds):
        for side in _SIDES:
            command = [
                sys.executable,
                "-m",
                "benchmarks.training",
                variant,
                "--side",
                side,
                "--experiment",
                str(experiment),
            ]
            # TensorFlow and PyTorch cannot work in one process
            environment = {**os.environ, **_ONE_THREAD, "KERAS_BACKEND": _BACKENDS[side]}
            said = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
            batch, speed = json.loads(said.stdout.splitlines()[-1])
            speeds[side].append(speed)
    ours, theirs = statistics.median(speeds["keras"]), statistics.median(speeds["torch"])
    return f"| {variant} | {batch} | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} |"


def _images_per_second(batch: int, step: Callable[[], object]) -> tuple[int, float]:
    """Of processor time, which is that of the wall on idle cores, and knows less of other work beside it."""
    for _ in range(_WARM_UP):
        step()
    seconds = []
    for _ in range(_STEPS):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return batch, batch / statistics.median(seconds)


def _keras(experiment: Path, variant: str) -> tuple[int, Callable[[], object]]:
    model, images, targets = _compiled(experiment, variant)
    return len(images), lambda: model.train_on_batch(images, targets)


def _torch(experiment: Path, variant: str) -> tuple[int, Callable[[], object]]:
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.torch_network import TorchNetwork

    torch.set_num_threads(1)
    model, keras_images, one_hot = _compiled(experiment, variant)
    network = TorchNetwork(model).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    images = torch.from_numpy(keras_images).permute(0, 3, 1, 2)
    targets = torch.from_numpy(one_hot.argmax(-1))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = network(images)
        loss = cross_entropy(logits if targets.ndim > 1 else logits.flatten(1), targets)
        loss.backward()
        optimizer.step()

    return len(images), step


def _compiled(experiment: Path, variant: str) -> tuple[Any, Any, Any]:
    """The variant's compiled network with a batch of random images (b, h, w, c) and one-hot targets (b, ..., k)."""
    import numpy as np

    from terracyte import models, params, tasks
    from terracyte.models import transfer
    from terracyte.models.fused_normalisation import fusing
    from terracyte.models.inference import make_repeatable
    from terracyte.models.problem import Problem
    from terracyte.train import losses, optimizers

    settings = params.load(experiment)
    config = settings.config(variant)
    name = settings.variants[variant].task
    task = tasks.of(name, settings.tasks[name])
    classes = len(task.classes)
    make_repeatable(0)
    problem = Problem(
        image_shape=task.image_shape, dense=task.dense, class_shares=(1 / classes,) * classes, pretrained=None
    )
    with fusing():
        model = models.build(config, problem)
    if config.head_epochs:
        transfer.set_trainable_share(model, config.fine_tune_depth)
    model.compile(
        optimizers.make(config, 1e-3, 1000), losses.make(config, [1.0] * classes, task.dense), jit_compile=False
    )
    random = np.random.default_rng(0)
    shape = (config.batch_size, *task.image_shape[:2]) if task.dense else (config.batch_size,)
    images = random.integers(0, 256, (config.batch_size, *task.image_shape)).astype(np.float32)
    return model, images, np.eye(classes, dtype=np.float32)[random.integers(0, classes, shape)]


_SIDES = {"keras": _keras, "torch": _torch}
_BACKENDS = {"keras": "tensorflow", "torch": "torch"}


if __name__ == "__main__":
    guarded(main)
