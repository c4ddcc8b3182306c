"""Draw docs/sample.png, the picture of the embedded sample: cells of each class, and terrain with its masks.

python -m benchmarks.sheet

Follows the recipes that experiment.yaml names; both sources must be `sample`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from terracyte import params, tasks
from terracyte.core import files
from terracyte.core.errors import guarded
from terracyte.ingest.sources import sample
from terracyte.params import Params
from terracyte.rendering.pictures import PALETTE, overlaid
from terracyte.tasks.task import Task

PATH = Path("docs/sample.png")

_CELLS, _STRIPS = 3, 4  # cells per class; pictures of terrain
_EDGE, _GAP, _LINE = 96, 3, 14  # pixels
_COLOURS = 112  # colours of the file's palette: it makes the file a third as large, without a visible change
_LIGHTER = 1.6  # NavCam strips are dark

Pixels = NDArray[np.uint8]


def write(settings: Params, path: Path = PATH) -> None:
    """Draw the sample and write the picture; both sources must be `sample`.

    Raises:
        InputError: a recipe cannot be followed.
    """
    cells, terrain = _cells(tasks.make("blood", settings), settings), _terrain(tasks.make("mars", settings), settings)
    sheet = Image.new("RGB", (cells.width, cells.height + 2 * _GAP + terrain.height), "white")
    sheet.paste(cells, (0, 0))
    sheet.paste(terrain, (0, cells.height + 2 * _GAP))
    with files.atomic(path) as temporary:
        sheet.quantize(_COLOURS, kmeans=3, dither=Image.Dither.NONE).save(temporary, optimize=True)


def _cells(task: Task, settings: Params) -> Image.Image:
    """Draw a column of cells per class, under the class's name."""
    found: dict[int, list[Pixels]] = {label: [] for label in range(len(task.classes))}
    for image, label in _genuine(task, settings):
        found[int(label)].append(image)
    sheet = Image.new("RGB", (len(found) * (_EDGE + _GAP) - _GAP, 2 * _LINE + _CELLS * (_EDGE + _GAP)), "white")
    for label, images in found.items():
        left = label * (_EDGE + _GAP)
        name = task.classes[label].replace(" ", "\n")
        _text(sheet, (left + _EDGE / 2, _LINE), name)
        for row, image in enumerate(images[:_CELLS]):
            sheet.paste(Image.fromarray(image), (left, 2 * _LINE + row * (_EDGE + _GAP)))
    return sheet


def _terrain(task: Task, settings: Params) -> Image.Image:
    """Draw the pictures with the most classes, below them the same with their masks laid over, and a legend."""
    ranked = sorted(_genuine(task, settings), key=lambda pair: -len(np.unique(pair[1])))[:_STRIPS]
    width, classes = 2 * _EDGE + _GAP, len(task.classes)
    sheet = Image.new("RGB", (_STRIPS * (width + _GAP) - _GAP, 2 * (_EDGE + _GAP) + 2 * _LINE), "white")
    for column, (image, mask) in enumerate(ranked):
        light = (image * _LIGHTER).clip(0, 255).astype(np.uint8)
        for row, share in enumerate((0.0, 0.5)):
            strip = overlaid(light, mask, share).resize((width, _EDGE), Image.Resampling.BICUBIC)
            sheet.paste(strip, (column * (width + _GAP), row * (_EDGE + _GAP)))
    for label, name in enumerate(task.classes):
        _text(sheet, (sheet.width * (label + 0.5) / classes, sheet.height - _LINE), name, PALETTE[label])
    return sheet


def _genuine(task: Task, settings: Params) -> Iterator[tuple[Pixels, Any]]:
    """Yield the images (h, w, c) without a planted defect, each with its label or mask (h, w)."""
    for batch in sample.read(task, settings.experiment.sources[task.name]):
        targets = batch.masks if task.dense else batch.labels
        assert targets is not None
        assert batch.defects is not None
        for image, target, defect in zip(batch.images, targets, batch.defects, strict=True):
            if not defect:
                yield image, target


def _text(sheet: Image.Image, centre: tuple[float, float], text: str, key: str | None = None) -> None:
    """Write centred text; if a colour `key` is given, draw a square in it on the left of the text."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    draw.multiline_text(centre, text, "black", font, anchor="mm", align="center", spacing=1)
    if key:
        left = centre[0] - draw.textlength(text, font) / 2 - 16
        draw.rectangle((left, centre[1] - 5, left + 10, centre[1] + 5), key)


def main() -> None:
    """Write the picture to where the docs show it."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write(params.load())
    print(f"{PATH} is written")


if __name__ == "__main__":
    guarded(main)
