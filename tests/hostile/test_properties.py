"""Properties of the readers, for inputs that Hypothesis generates."""

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from terracyte import params
from terracyte.core import files, npy
from terracyte.core.errors import InputError, one_line
from terracyte.ingest.sources import columns, masks, npz
from terracyte.ingest.sources.arrays import to_pixels, whole_numbers
from terracyte.ingest.sources.pictures import UnreadableError, load_image
from terracyte.ingest.sources.resizing import resize_image
from terracyte.ingest.sources.tree import walk
from terracyte.params import yaml_files
from tests.conftest import ROOT
from tests.hostile.corpus.archives import npy as npy_file
from tests.hostile.corpus.archives import npz as npz_file
from tests.hostile.corpus.pictures import saved
from tests.pictures import BLOOD

pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\..*")

# A few characters of all kinds that matter: Hypothesis takes seconds to collect all of Unicode.
LETTERS = "abZ01.,;:/\\ \t\n\r\0\x1b\x7f\xa0\u00e9e\u0301\u202e\u2028\ud800\udfff\U0001f9ea\"'{}[]"
TEXTS = st.text(LETTERS, max_size=9)
CELLS = st.text(LETTERS.replace("\ud800", "").replace("\udfff", ""), max_size=8)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from([10**30, 1.0, "a.b"])
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
NUMBERS = arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes(sizes=(16, 32, 64))


def refusal(read: Callable[[], object]) -> str | None:
    """Return the line of a refusal, or None if the input is read."""
    try:
        read()
    except (InputError, UnreadableError) as error:
        return one_line(str(error))
    return None


@given(st.text(LETTERS) | st.text(LETTERS, min_size=1500))
def test_a_message_is_one_line_that_a_terminal_shows(text: str) -> None:
    line = one_line(text)
    assert line.isprintable()
    assert len(line) <= 2100
    if text.isprintable() and len(text) < 2000:
        assert line == " ".join(text.split())


def places(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths, of keys and indices, to all values within a nested value."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place for key, value in inner for place in ((*above, key), *places(value, (*above, key)))]


SETTINGS = {name: yaml_files.read_yaml(ROOT / name) for name in ("params.yaml", "experiment.yaml")}
PLACES = [(name, place) for name, content in SETTINGS.items() for place in places(content)]


@given(place=st.sampled_from(PLACES), value=ANYTHING, added=st.none() | TEXTS | st.integers())
def test_any_value_of_a_parameter_is_taken_or_refused(place: tuple[str, Any], value: object, added: object) -> None:
    name, way = place
    contents = copy.deepcopy(SETTINGS)
    node: Any = contents[name]
    for key in way[:-1]:
        node = node[key]
    node[way[-1] if added is None or not isinstance(node, dict) else added] = value

    def read() -> None:
        loaded = params.load(ROOT)
        for row in loaded.experiment.rows:
            loaded.config(row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params, "read_yaml", lambda path: contents[path.name])
        assert refusal(read) != ""


YAML = st.sampled_from([*"abc[]{}:,-?&*!|>'\"#%@`~ \n\t01.", "&a ", "*a ", "<<: ", "!!int ", "---\n", "- "])


@given(st.lists(YAML).map("".join))
def test_any_text_is_yaml_or_refused(text: str) -> None:
    assert (refusal(lambda: params.parse_yaml(text, Path("params.yaml"))) or "params.yaml").startswith("params.yaml")


WHOLE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text("abZ01. -\u00e9\U0001f9ea", max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abZ", max_size=5), inner, max_size=4),
)


@given(value=WHOLE)
def test_plain_values_survive_yaml(value: Any) -> None:
    assert params.parse_yaml(json.dumps(value, ensure_ascii=False), Path("params.yaml")) == value


SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 48, 2**31, 2**62, -1]), max_size=5).map(tuple)
DESCRIPTIONS = st.sampled_from(["<u1", "|u1", ">f8", "<f2", "|b1", "|O", "<U3", "|V8", "<c16", "?!", ""]) | st.text(
    max_size=4
)


@given(
    descr=DESCRIPTIONS | st.lists(st.tuples(TEXTS, DESCRIPTIONS), max_size=2),
    shape=SHAPES,
    data=st.binary(max_size=64),
)
def test_a_header_promises_what_can_be(descr: object, shape: tuple[int, ...], data: bytes) -> None:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode("latin1", "replace")
    try:
        header = npy.read_header(io.BytesIO(npy_file(text, data)))
    except ValueError:
        return
    assert header.shape == shape
    assert 0 <= header.size < 2**63


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_none(content: bytes) -> None:
    try:
        npy.read_header(io.BytesIO(npy_file(content)))
    except ValueError:
        return


@given(
    arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)),
    st.booleans(),
    st.integers(1, 4),
)
def test_arrays_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray[Any, Any], fortran: bool, most: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "array.npz"
    stored = np.asfortranarray(values) if fortran else values
    path.write_bytes(npz_file({"images.npy": stored}))
    (member,) = npz.members(path, "images")
    parts = [rows for _, rows in member.chunks(most)]
    assert max(map(len, parts)) <= most
    np.testing.assert_array_equal(np.concatenate(parts), values)
    np.testing.assert_array_equal(files.read_arrays(path)["images"], values)
    np.save(path.with_suffix(".npy"), stored)
    np.testing.assert_array_equal(npy.mapped(path.with_suffix(".npy")), values)


@given(arrays.arrays(NUMBERS, (2, 3, 3, 1)))
def test_pixels_are_bytes_or_refused(values: np.ndarray[Any, Any]) -> None:
    member = npz.Member(path=Path("x.npz"), key="images", shape=values.shape, dtype=values.dtype, fortran=False)
    if ((values >= 0) & (values <= 255)).all():
        np.testing.assert_array_equal(to_pixels(member, values, 1.0, 0), np.rint(values))
    else:
        assert "pixel value" in str(refusal(lambda: to_pixels(member, values, 1.0, 0)))


@given(arrays.arrays(NUMBERS, 5))
def test_classes_are_whole_numbers_or_refused(values: np.ndarray[Any, Any]) -> None:
    numbers = values.tolist()
    if all(float(number).is_integer() and -(2**63) <= number < 2**63 for number in numbers):
        assert whole_numbers(values, "x.npz: 'labels'").tolist() == numbers
    else:
        assert "whole numbers" in str(refusal(lambda: whole_numbers(values, "x.npz: 'labels'")))


@given(
    values=arrays.arrays(np.int32, (3, 5), elements=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 9)),
    declared=st.sets(st.integers(-300, 300), min_size=1, max_size=6),
)
def test_the_class_of_a_value_is_that_of_the_nearest_declared_one(values: Any, declared: set[int]) -> None:
    known = np.array(sorted(declared), np.int64)
    coding = masks.Coding(
        values=known, labels=np.arange(len(known), dtype=np.uint8), in_colour=False, declared=True, snap=True
    )
    labels, unknown = masks.class_numbers(coding, values)
    np.testing.assert_array_equal(labels, np.abs(values[..., None].astype(np.int64) - known).argmin(axis=-1))
    np.testing.assert_array_equal(unknown, ~np.isin(values, known))


KINDS, MODES = ("PNG", "TIFF", "BMP", "JPEG", "WEBP"), ("L", "RGB", "P", "1")
IMPOSSIBLE = (("JPEG", "P"), ("WEBP", "P"), ("WEBP", "1"))
FORMS = st.sampled_from([(kind, mode) for kind in KINDS for mode in MODES if (kind, mode) not in IMPOSSIBLE])
EDGES = st.integers(1, 40)


@given(form=FORMS, width=EDGES, height=EDGES, share=st.floats(0, 1))
def test_half_a_picture_is_refused_or_has_its_size(
    form: tuple[str, str], width: int, height: int, share: float
) -> None:
    kind, mode = form
    content = saved(Image.new("RGB", (width, height), (9, 99, 199)).convert(mode), kind)
    photo = load_image(BLOOD, Path("x"), io.BytesIO(content)).picture
    assert photo.size == (width, height)
    assert resize_image(BLOOD, photo).shape == BLOOD.image_shape
    try:
        part = load_image(BLOOD, Path("x"), io.BytesIO(content[: int(share * len(content))])).picture
    except UnreadableError:
        return
    assert part.size == (width, height)


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6), mark=st.booleans())
def test_a_sheet_gives_its_cells_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], mark: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "sheets" / "sheet.csv"  # names are looked up below its folder
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as stream:
        csv.writer(stream).writerows([("label", "file"), *((label, file) for file, label in rows)])
    line = refusal(lambda: columns.read(path, path.parent, "label"))
    assert line is None or str(path) in line
    if line is None:
        told = [file.strip() for file, label in rows if file.strip() or label.strip()]  # others were cleared
        names = {PurePosixPath(columns.normal(file).replace("\\", "/")).as_posix() for file in told}
        assert set(columns.read(path, path.parent, "label")) == names


@given(links=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_links_between_folders_lead_to_each_file_once(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, int]]
) -> None:
    root = tmp_path_factory.mktemp("links")
    for number in range(6):
        (root / str(number)).mkdir()
        (root / str(number) / "file").touch()
    for count, (start, end) in enumerate(links):
        (root / str(start) / f"link{count}").symlink_to(root / str(end))
    found = [path.resolve() for path in walk(root)]
    assert sorted(found) == sorted(root / str(number) / "file" for number in range(6))
