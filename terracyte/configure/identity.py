"""Who a run is: the hash of its whole configuration and its data, never its name."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from terracyte.core import paths
from terracyte.params.variant import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Identity:
    """One training: a variant's resolved configuration, a seed, and the data.

    Attributes:
        task, variant, seed: its place in the tables.
        config: the resolved configuration.
        data_hash: of the balanced manifest (which holds each image's and mask's hash) and the class weights.
        weights_hash: of the pretrained weights' file, "" for random weights; see `terracyte.configure.initialisation`.
    """

    task: str
    variant: str
    seed: int
    config: Config
    data_hash: str
    weights_hash: str

    @property
    def fingerprint(self) -> str:
        """64 hex digits that change with configuration, data, pretrained weights and seed; the name is left out."""
        parts = {
            "task": self.task,
            "seed": self.seed,
            "data": self.data_hash,
            "weights": self.weights_hash,
            "config": dataclasses.asdict(self.config),
        }
        return digest(parts)


def digest(value: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def data_hash(task: str) -> str:
    """SHA-256 over the balanced manifest and the balance summary of a task."""
    return file_hash(paths.balance_manifest(task), paths.balance(task))


def file_hash(*files: Path) -> str:
    """SHA-256 over the bytes of files, in the given order."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()
