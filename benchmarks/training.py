"""Compare the speed of training steps with PyTorch's on the same network, or with the speed of a whole training.

python -m benchmarks.training [VARIANT ...] [--rounds 3] [--experiment real] [--whole]

Times steps on random batches in processes of one thread each, in turns. PyTorch is not part of the environment: add it
with `pip install torch`. It runs with channels last, AdamW, and cross entropy (our step has its own loss and Lion).
With --whole, which needs no PyTorch, our step is compared with a whole epoch: batches drawn and augmented, weights
averaged.
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
_WARM_UP, _STEPS, _EPOCH = 4, 15, 60
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")


def main() -> None:
    """Measure, and print what was found as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=list(_VARIANTS))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (3)")
    parser.add_argument(
        "--experiment", type=Path, default=Path("real"), help="folder whose configurations count (real)"
    )
    parser.add_argument("--whole", action="store_true", help="beside a whole epoch, not beside PyTorch")
    parser.add_argument("--side", choices=list(_SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(_SIDES[arguments.side](arguments.experiment, arguments.variants[0])))
        return
    sides, titles = (("fit", "keras"), "epoch | step") if arguments.whole else (("keras", "torch"), "ours | PyTorch")
    print(f"| variant | batch | {titles.replace(' |', ', images/s |')}, images/s | ratio |\n|{' --- |' * 5}")
    for variant in arguments.variants:
        print(_row(arguments.experiment, variant, arguments.rounds, sides), flush=True)


def _row(experiment: Path, variant: str, rounds: int, sides: tuple[str, str]) -> str:
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
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
            # TensorFlow and PyTorch cannot run in one process
            environment = {**os.environ, **_ONE_THREAD, "KERAS_BACKEND": _BACKENDS[side]}
            said = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
            batch, speed = json.loads(said.stdout.splitlines()[-1])
            speeds[side].append(speed)
    first, second = (statistics.median(speeds[side]) for side in sides)
    return f"| {variant} | {batch} | {first:.1f} | {second:.1f} | {first / second:.2f} |"


def _images_per_second(batch: int, step: Callable[[], object]) -> tuple[int, float]:
    """Return the batch size, and the images per second of processor time.

    On idle cores processor time equals wall time; other work on the machine affects it less.
    """
    for _ in range(_WARM_UP):
        step()
    seconds = []
    for _ in range(_STEPS):
        start = time.process_time()
        step()
        seconds.append(time.process_time() - start)
    return batch, batch / statistics.median(seconds)


def _keras(experiment: Path, variant: str) -> tuple[int, float]:
    model, images, targets = _compiled(experiment, variant)
    return _images_per_second(len(images), lambda: model.train_on_batch(images, targets))


def _fit(experiment: Path, variant: str) -> tuple[int, float]:
    """Time an epoch as `terracyte.train.fit` trains it, without the progress bar, on random images and targets."""
    import numpy as np
    import pandas as pd

    from terracyte import params, tasks
    from terracyte.train.batches import Rows, TrainingBatches
    from terracyte.train.weight_averaging import WeightAverage

    settings = params.load(experiment)
    config, name = settings.config(variant), settings.variants[variant].task
    task = tasks.of(name, settings.tasks[name])
    model, _, one_hot = _compiled(experiment, variant)
    size = config.batch_size
    images = np.random.default_rng(0).integers(0, 256, (size, *task.image_shape), dtype=np.uint8)
    targets = one_hot.argmax(-1).astype(np.uint8 if task.dense else np.int64)
    callbacks = [WeightAverage(model, config.weight_averaging)] if config.weight_averaging else []

    def epoch(batches: int) -> float:
        manifest = pd.DataFrame({"id": np.arange(size).repeat(batches), "repeats": 1, "sample_weight": 1.0})
        rows = Rows(task, manifest, images, targets.repeat(batches, axis=0))
        start = time.process_time()
        model.fit(TrainingBatches(rows, config, 0, 1), shuffle=False, verbose=0, callbacks=callbacks)
        return time.process_time() - start

    epoch(_WARM_UP)
    return size, size * _EPOCH / epoch(_EPOCH)


def _torch(experiment: Path, variant: str) -> tuple[int, float]:
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

    return _images_per_second(len(images), step)


def _compiled(experiment: Path, variant: str) -> tuple[Any, Any, Any]:
    """Return the variant's compiled network, a batch of random images (b, h, w, c) and one-hot targets (b, ..., k)."""
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


_SIDES = {"keras": _keras, "fit": _fit, "torch": _torch}
_BACKENDS = {"keras": "tensorflow", "fit": "tensorflow", "torch": "torch"}


if __name__ == "__main__":
    guarded(main)
