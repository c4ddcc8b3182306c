"""Hostile inputs by family and name, each built by code: `CORPUS["npz"]["header-absurd-shape"](path)` writes one."""

from collections.abc import Mapping

from tests.hostile.corpus import archives, pictures, sheets, texts, torch_files, trees, weights
from tests.hostile.corpus.writing import Build

CORPUS: Mapping[str, dict[str, Build]] = {
    "picture": pictures.CASES,
    "npz": archives.NPZ,
    "npy": archives.NPY,
    "sheet": sheets.CASES,
    "yaml": texts.YAML,
    "json": texts.JSON,
    "table": texts.TABLES,
    "torch": torch_files.CASES,
    "tree": trees.CASES,
    "weights": weights.CASES,
}

SLOW: Mapping[str, dict[str, Build]] = {
    "picture": pictures.SLOW,
    "npz": archives.SLOW,
    "sheet": sheets.SLOW,
    "yaml": texts.SLOW,
    "json": texts.SLOW_JSON,
    "tree": trees.SLOW,
}
"""Further hostile files, which take a second or more to build or to read."""
