"""Hostile inputs by family and name, each built by code: `CORPUS["npz"]["header-absurd"](path)` writes one."""

from collections.abc import Mapping

from tests.hostile.corpus import archives, pictures, sheets, texts, torch_files, trees
from tests.hostile.corpus.writing import Build

CORPUS: Mapping[str, Mapping[str, Build]] = {
    "picture": pictures.CASES,
    "npz": archives.NPZ,
    "npy": archives.NPY,
    "sheet": sheets.CASES,
    "yaml": texts.YAML,
    "json": texts.JSON,
    "table": texts.TABLES,
    "torch": torch_files.CASES,
    "tree": trees.CASES,
}
