"""Blood cells under Wright-Giemsa stain: one function draws all classes, which differ only in the data `ANATOMIES`.

Proportions and colours follow photographs of the PBC set (Acevedo et al. 2020, doi 10.1016/j.dib.2020.105474)
at 96 px; the ranges of the classes overlap as in these photographs.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from terracyte.ingest.sample import smear
from terracyte.ingest.sample.canvas import (
    Field,
    Point,
    Range,
    around,
    coverage,
    ellipse,
    noise,
    paint,
    pick,
    to_bytes,
    wobbly,
)
from terracyte.ingest.sample.nuclei import NUCLEI
from terracyte.ingest.sample.smear import CENTRE, SHAPE, Colour


@dataclasses.dataclass(frozen=True, kw_only=True)
class Granules:
    """Grains in the cytoplasm.

    Attributes:
        colour: colour of a grain, 0-255.
        grain: size of a grain in pixels.
        density: share of the cytoplasm that the grains cover.
        over_nucleus: opacity of the grains that lie over the nucleus.
    """

    colour: Colour
    grain: Range
    density: Range
    over_nucleus: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a class of cells looks like; each cell draws its own values from the ranges.

    Attributes:
        radius: radius of the cell, in pixels.
        wobble: waviness of the cell's outline, relative to the radius.
        ragged: amplitude of the fine roughness of the cell's outline, in pixels.
        cytoplasm: the palest and the darkest colour; a cell's colour lies between them.
        nuclei: shapes of the nucleus (names of `NUCLEI`) and their probabilities; empty for no nucleus.
        nucleus: radius of the nucleus, relative to the cell's radius.
        offset: distance of the nucleus from the cell's centre, relative to the largest that keeps it inside the cell.
        chromatin: colour of the nucleus.
        mottle: strength of the lighter mottles in the nucleus, 0-1.
        vacuoles: least and greatest number of pale bubbles.
        granules: kinds of granules, in the order in which they are drawn.
    """

    radius: Range
    wobble: float
    ragged: Range
    cytoplasm: tuple[Colour, Colour]
    nuclei: Mapping[str, float]
    nucleus: Range
    offset: Range
    chromatin: Colour
    mottle: Range
    vacuoles: tuple[int, int] = (0, 0)
    granules: tuple[Granules, ...] = ()


ANATOMIES: dict[str, Anatomy] = {
    "basophil": Anatomy(
        radius=(25, 34), wobble=0.07, ragged=(0.5, 1.6),
        cytoplasm=((188, 160, 190), (150, 112, 165)),
        nuclei={"bilobed": 0.5, "kidney": 0.25, "rounded": 0.25}, nucleus=(0.68, 0.86), offset=(0, 0.6),
        chromatin=(80, 42, 128), mottle=(0.1, 0.4),
        granules=(Granules(colour=(58, 26, 108), grain=(0.7, 1.1), density=(0.35, 0.75), over_nucleus=0.85),),
    ),
    "eosinophil": Anatomy(
        radius=(26, 36), wobble=0.05, ragged=(0.2, 0.7),
        cytoplasm=((216, 158, 156), (194, 134, 148)),
        nuclei={"bilobed": 0.85, "lobed": 0.15}, nucleus=(0.72, 0.88), offset=(0, 0.9),
        chromatin=(66, 38, 124), mottle=(0.2, 0.6), vacuoles=(0, 1),
        granules=(Granules(colour=(184, 98, 106), grain=(0.5, 0.8), density=(0.4, 0.65), over_nucleus=0.05),),
    ),
    "erythroblast": Anatomy(
        radius=(17, 27), wobble=0.08, ragged=(0.0, 0.5),
        cytoplasm=((196, 172, 188), (140, 122, 174)),
        nuclei={"rounded": 0.92, "kidney": 0.08}, nucleus=(0.5, 0.74), offset=(0, 0.9),
        chromatin=(52, 28, 106), mottle=(0.0, 0.3),
    ),
    "immature granulocyte": Anatomy(
        radius=(26, 42), wobble=0.08, ragged=(0.1, 0.8),
        cytoplasm=((208, 180, 202), (156, 136, 188)),
        nuclei={"rounded": 0.4, "kidney": 0.5, "band": 0.1}, nucleus=(0.62, 0.82), offset=(0.2, 1.0),
        chromatin=(76, 40, 126), mottle=(0.3, 0.8),
        granules=(Granules(colour=(104, 48, 138), grain=(0.5, 0.75), density=(0.12, 0.45), over_nucleus=0.3),),
    ),
    "lymphocyte": Anatomy(
        radius=(19, 30), wobble=0.07, ragged=(0.2, 1.0),
        cytoplasm=((166, 148, 196), (116, 104, 170)),
        nuclei={"rounded": 0.85, "kidney": 0.15}, nucleus=(0.8, 0.95), offset=(0, 1.0),
        chromatin=(76, 40, 126), mottle=(0.1, 0.5),
    ),
    "monocyte": Anatomy(
        radius=(30, 43), wobble=0.11, ragged=(0.1, 1.0),
        cytoplasm=((186, 170, 204), (140, 126, 182)),
        nuclei={"folded": 0.5, "kidney": 0.35, "band": 0.08, "rounded": 0.07}, nucleus=(0.6, 0.78),
        offset=(0.1, 0.9), chromatin=(86, 48, 134), mottle=(0.3, 0.8), vacuoles=(0, 9),
        granules=(Granules(colour=(118, 92, 160), grain=(0.5, 0.7), density=(0.05, 0.2), over_nucleus=0.1),),
    ),
    "neutrophil": Anatomy(
        radius=(25, 36), wobble=0.06, ragged=(0.0, 0.4),
        cytoplasm=((232, 202, 206), (204, 176, 200)),
        nuclei={"lobed": 0.55, "band": 0.35, "bilobed": 0.1}, nucleus=(0.68, 0.86), offset=(0, 0.8),
        chromatin=(62, 34, 120), mottle=(0.1, 0.5), vacuoles=(0, 1),
        granules=(Granules(colour=(158, 92, 152), grain=(0.5, 0.7), density=(0.05, 0.3)),),
    ),
    "platelet": Anatomy(
        radius=(9, 16), wobble=0.07, ragged=(0.3, 1.4),
        cytoplasm=((188, 166, 200), (146, 120, 178)),
        nuclei={}, nucleus=(0, 0), offset=(0, 0), chromatin=(0, 0, 0), mottle=(0, 0),
        granules=(Granules(colour=(88, 38, 128), grain=(0.6, 0.9), density=(0.35, 0.8)),),
    ),
}  # fmt: skip


def draw(rng: Generator, name: str, bluish: bool) -> NDArray[np.uint8]:
    """Draw a photograph (96, 96, 3) with a cell of class `name` in its middle, on a cream or a bluish slide."""
    anatomy = ANATOMIES[name]
    colours = smear.stain(rng, bluish)
    radius = pick(rng, anatomy.radius)
    image = smear.slide(rng, colours, clearance=radius)
    centre = (CENTRE + rng.normal(0, 1.5), CENTRE + rng.normal(0, 1.5))
    _draw_cell(rng, image, anatomy, colours, centre, radius)
    return to_bytes(smear.photograph(rng, image, colours))


def _draw_cell(
    rng: Generator, image: NDArray[np.float32], anatomy: Anatomy, colours: smear.Stain, centre: Point, radius: float
) -> None:
    outline = wobbly(rng, SHAPE, centre, radius, anatomy.wobble, stretch=pick(rng, (1.0, 1.25)))
    outline += noise(rng, SHAPE, 1.2) * pick(rng, anatomy.ragged)
    pale, dark = np.array(anatomy.cytoplasm, np.float64)
    body = np.empty_like(image)
    body[:] = pale + rng.random() * (dark - pale)
    body -= (noise(rng, SHAPE, 1.0) * 5 + noise(rng, SHAPE, 5) * 5)[..., None]
    body -= 22 * np.exp(-(((outline + 1) / 1.3) ** 2))[..., None]  # the membrane, seen edge-on
    _draw_vacuoles(rng, body, anatomy, centre, radius)
    nucleus = _draw_nucleus(rng, body, anatomy, centre, radius)
    for granules in anatomy.granules:
        _draw_granules(rng, body, granules, nucleus)
    paint(image, coverage(outline, 1.4), body * np.asarray(colours.gain, np.float32))


def _draw_vacuoles(rng: Generator, body: NDArray[np.float32], anatomy: Anatomy, centre: Point, radius: float) -> None:
    for _ in range(rng.integers(anatomy.vacuoles[0], anatomy.vacuoles[1] + 1)):
        at = around(centre, rng.uniform(0, 2 * np.pi), radius * pick(rng, (0.6, 0.95)))
        size = pick(rng, (1.2, 3.2))
        paint(body, coverage(ellipse(SHAPE, at, (size, size)), 2) * 0.8, (236, 222, 226))


def _draw_nucleus(rng: Generator, body: NDArray[np.float32], anatomy: Anatomy, centre: Point, radius: float) -> Field:
    """Paint the nucleus, if there is one, and return its coverage."""
    if not anatomy.nuclei:
        return np.zeros(SHAPE, np.float32)
    size = pick(rng, anatomy.nucleus)
    at = around(centre, rng.uniform(0, 2 * np.pi), radius * (1 - size) * pick(rng, anatomy.offset))
    kind = str(rng.choice(list(anatomy.nuclei), p=list(anatomy.nuclei.values())))
    distance = NUCLEI[kind](rng, SHAPE, at, radius * size)
    covered = coverage(distance, 1.4)
    chromatin = np.empty_like(body)
    chromatin[:] = np.asarray(anatomy.chromatin) + rng.normal(0, 4, 3)
    light = np.clip(noise(rng, SHAPE, 0.75), 0, 2) * pick(rng, anatomy.mottle)
    chromatin += light[..., None] * (64, 50, 34)
    chromatin -= 14 * np.exp(-(((distance + 1) / 1.2) ** 2))[..., None]  # denser towards its envelope
    paint(body, covered, chromatin)
    return covered


def _draw_granules(rng: Generator, body: NDArray[np.float32], granules: Granules, nucleus: Field) -> None:
    field = noise(rng, SHAPE, pick(rng, granules.grain))
    threshold = np.quantile(field, 1 - pick(rng, granules.density))
    opacity = np.clip((field - threshold) * 1.6, 0, 1)
    paint(body, opacity * (1 - nucleus * (1 - granules.over_nucleus)), granules.colour)
