"""A resolved row of the tables, which `configure` writes to `metrics/<task>/configs/<variant>.json` for the later
stages. A row's results depend only on that file, the data and the code."""

import dataclasses
from typing import Any

from terracyte.core import files, paths
from terracyte.core.hashing import digest, file_hash
from terracyte.params import schema
from terracyte.params.blocks import Evaluate, TaskSpec
from terracyte.params.variant import Config

# What weights start from, as shown in tables; for a user's own weights, tables show the file's name.
RANDOM = "random"
IMAGENET = "ImageNet"
NOT_TO_BE_HAD = "random (ImageNet not to be had)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """The configuration and the initial weights of a training.

    Attributes:
        config: the resolved configuration.
        initialisation: what the weights start from, as shown in tables.
        weights_hash: SHA-256 of the pretrained weights' file; "" for random weights.
    """

    config: Config
    initialisation: str
    weights_hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A variant on one experiment's data.

    Attributes:
        variant, task: names of the variant and of its task.
        spec: the task's declaration.
        starts: one entry per member, each of which is a network of its own; a single entry without members.
        seeds: one training each; the training of seed s starts from entry s of `starts`, modulo their number.
        data_hash: SHA-256 over the balanced manifest (which holds each image's and mask's hash) and the balance
            summary (which holds the class weights).
    """

    variant: str
    task: str
    spec: TaskSpec
    starts: tuple[Start, ...]
    seeds: tuple[int, ...]
    data_hash: str

    @property
    def initialisation(self) -> str:
        """What the weights of all members start from, as shown in tables."""
        return ", ".join(dict.fromkeys(start.initialisation for start in self.starts))

    @property
    def identities(self) -> tuple["Identity", ...]:
        """The trainings, one per seed."""
        return tuple(Identity(row=self, seed=seed) for seed in self.seeds)

    @property
    def fingerprints(self) -> dict[str, str]:
        """The trainings' fingerprints by seed; seeds are strings, as JSON requires."""
        return {str(each.seed): each.fingerprint for each in self.identities}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """One training: a row and a seed."""

    row: Row
    seed: int

    @property
    def task(self) -> str:
        """The row's task."""
        return self.row.task

    @property
    def variant(self) -> str:
        """The row's variant."""
        return self.row.variant

    @property
    def member(self) -> int:
        """The number of the row's member that this training trains, counted from 0."""
        return self.seed % len(self.row.starts)

    @property
    def start(self) -> Start:
        """The configuration and initial weights of the training."""
        return self.row.starts[self.member]

    @property
    def config(self) -> Config:
        """The training's configuration."""
        return self.start.config

    @property
    def fingerprint(self) -> str:
        """64 hex digits that depend on configuration, task, data, pretrained weights and seed, but not on the variant's
        name."""
        row = self.row
        parts: dict[str, Any] = {
            "task": row.task,
            "spec": dataclasses.asdict(row.spec),
            "seed": self.seed,
            "data": row.data_hash,
            "weights": self.start.weights_hash,
            "config": dataclasses.asdict(self.config),
        }
        return digest(parts)


def read(task: str, variant: str) -> Row:
    """Read a row that `configure` has written.

    Raises:
        InputError: the row has not been configured yet, or its file is damaged.
    """
    path = paths.config(task, variant)
    with files.advising(f"run `dvc repro configure@{task}`"):
        return schema.build(Row, files.read_json(path), "", str(path))


def evaluation(task: str) -> Evaluate:
    """Read how the task's rows are evaluated.

    Raises:
        InputError: see `read`.
    """
    path = paths.evaluation(task)
    with files.advising(f"run `dvc repro configure@{task}`"):
        return schema.build(Evaluate, files.read_json(path), "", str(path))


def data_hash(task: str) -> str:
    """Return the SHA-256 over a task's current balanced manifest and balance summary; see `Row.data_hash`."""
    return file_hash(paths.balance_manifest(task), paths.balance(task))
