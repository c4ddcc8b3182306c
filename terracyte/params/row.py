"""A row of the tables, resolved: what `configure` writes to `metrics/<task>/configs/<variant>.json` and the later
stages read. A row's results depend on nothing that does not stand there, but on the data and the code."""

import dataclasses
from typing import Any

from terracyte.core import files, paths
from terracyte.core.hashing import digest, file_hash
from terracyte.params import schema
from terracyte.params.blocks import Evaluate, TaskSpec
from terracyte.params.variant import Config

# What weights start from, as tables show it; a user's own file has its name.
RANDOM = "random"
IMAGENET = "ImageNet"
NOT_TO_BE_HAD = "random (ImageNet not to be had)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """What a training starts from.

    Attributes:
        config: the resolved configuration.
        initialisation: what the weights start from, as tables show it.
        weights_hash: SHA-256 of the pretrained weights' file; "" for random weights.
    """

    config: Config
    initialisation: str
    weights_hash: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A variant on one experiment's data.

    Attributes:
        variant, task: their names.
        spec: what the task is.
        starts: of its members, each of which is a network of its own; mostly one.
        seeds: one training each; that of seed s starts from entry s of `starts`, modulo their number.
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
        """What the weights start from, as tables show it."""
        return ", ".join(dict.fromkeys(start.initialisation for start in self.starts))

    @property
    def identities(self) -> tuple["Identity", ...]:
        """The trainings, one per seed."""
        return tuple(Identity(row=self, seed=seed) for seed in self.seeds)

    @property
    def fingerprints(self) -> dict[str, str]:
        """By seed, as JSON has it."""
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
        """Which of the row's networks it trains, counted from 0."""
        return self.seed % len(self.row.starts)

    @property
    def start(self) -> Start:
        """What it starts from."""
        return self.row.starts[self.member]

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.start.config

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with configuration, task, data, pretrained weights and seed; the variant's name is
        left out."""
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
    """Read a row back.

    Raises:
        InputError: it was not configured yet, or the file is damaged.
    """
    path = paths.config(task, variant)
    with files.advising(f"run `dvc repro configure@{task}`"):
        return schema.build(Row, files.read_json(path), "", str(path))


def evaluation(task: str) -> Evaluate:
    """How the task's rows are evaluated.

    Raises:
        InputError: see `read`.
    """
    path = paths.evaluation(task)
    with files.advising(f"run `dvc repro configure@{task}`"):
        return schema.build(Evaluate, files.read_json(path), "", str(path))


def data_hash(task: str) -> str:
    """SHA-256 over the balanced manifest and the balance summary of a task, as they are now."""
    return file_hash(paths.balance_manifest(task), paths.balance(task))
