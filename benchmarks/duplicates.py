"""Compare cleaning's search with cleanvision's, in time and in what it finds, on images with planted defects.

python3.11 -m venv FOLDER && FOLDER/bin/pip install cleanvision==0.3.7      # MIT licence; not part of the environment
python -m benchmarks.duplicates FOLDER/bin/python [--images 4000] [--task blood] [--experiment real]

Takes the task's raw images that cleaning keeps, plants copies and odd pictures among them, and runs both searches in
turns, each in a process of its own with one thread. Our side runs the statistics and hashes of `ingest`, all rules of
`clean`, and the bounds of `validate`; cleanvision's side finds its default issues. Processor time includes start-up and
reading: our side reads an array, cleanvision PNG files.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from terracyte.core.errors import InputError, guarded

_SHARE = 0.01  # number of planted images per defect, relative to the number of images
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_TURNS = 2
_ORIGINAL = "original"  # the original of a planted copy: not counted, whether it is named or not

Pixels = NDArray[np.uint8]


def main() -> None:
    """Measure, and print what was found as Markdown; with --search, run our side's search only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="that of an environment with cleanvision")
    parser.add_argument("--task", default="blood", help="a task with labels (blood)")
    parser.add_argument("--images", type=int, default=4000, help="before defects are planted (4000)")
    parser.add_argument("--experiment", type=Path, default=Path("real"), help="whose images (real)")
    parser.add_argument("--search", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        print(json.dumps(search(Path(arguments.search), arguments.task)))
        return
    with tempfile.TemporaryDirectory(prefix="terracyte-") as name:
        folder = Path(name)
        defects = plant(arguments.experiment, arguments.task, arguments.images, folder)
        ours = [sys.executable, "-m", "benchmarks.duplicates", arguments.python, "--task", arguments.task]
        sides = {
            "ours": [*ours, "--search", name],
            "cleanvision": [arguments.python, "-c", _CLEANVISION, name],
        }
        turns = [{side: _run(command) for side, command in sides.items()} for _ in range(_TURNS)]
        _show(defects, turns)


def plant(experiment: Path, task: str, count: int, folder: Path) -> list[str]:
    """Write images.npy and a PNG file per image; return each image's defect, "" for none."""
    from terracyte.core import files, paths

    with contextlib.chdir(experiment):
        cleaned = files.read_table(paths.clean_manifest(task))
        ids = cleaned.loc[cleaned["keep"], "id"].to_numpy()[:count]
        images: list[Pixels] = list(files.map_array(paths.images(task))[ids])
    random, defects = np.random.default_rng(0), [""] * len(images)
    for name, make in DEFECTS.items():
        for place in random.choice(len(ids), max(1, int(len(ids) * _SHARE)), replace=False):
            images.append(make(images[place], random))
            defects.append(name)
            if name.endswith("copy"):
                defects[place] = _ORIGINAL
    np.save(folder / "images.npy", np.stack(images))
    (folder / "png").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"png/{number:06}.png", compress_level=1)
    return defects


def _jpeg(image: Pixels, _: np.random.Generator) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "jpeg", quality=60)
    return np.asarray(Image.open(stream))


def _relit(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray((image * 0.9 + 12).clip(0, 255), np.uint8)


def _rescaled(image: Pixels, _: np.random.Generator) -> Pixels:
    picture = Image.fromarray(image)
    small = picture.resize((picture.width * 3 // 4, picture.height * 3 // 4), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC))


def _shifted(image: Pixels, _: np.random.Generator) -> Pixels:
    edge = max(1, image.shape[0] // 24)
    return np.pad(image, ((edge, 0), (edge, 0), (0, 0)), mode="edge")[: image.shape[0], : image.shape[1]]


def _blurred(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(image.shape[0] / 16)))


def _noise(image: Pixels, random: np.random.Generator) -> Pixels:
    return random.integers(0, 256, image.shape, np.uint8)


def _dark(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(image // 16)


def _bright(image: Pixels, _: np.random.Generator) -> Pixels:
    return np.asarray(255 - (255 - image) // 16)


def _constant(image: Pixels, random: np.random.Generator) -> Pixels:
    return np.full_like(image, random.integers(100, 200, 3))


DEFECTS: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "exact copy": lambda image, _: image.copy(),
    "JPEG copy": _jpeg,
    "relit copy": _relit,
    "rescaled copy": _rescaled,
    "shifted copy": _shifted,
    "blurred copy": _blurred,
    "dark": _dark,
    "bright": _bright,
    "one colour": _constant,
    "noise": _noise,
}


def search(folder: Path, task: str) -> dict[str, Any]:
    """Run our side: find the images that any rule drops, or that lie outside the declared bounds."""
    from terracyte import params, tasks
    from terracyte.clean import decide
    from terracyte.clean.rules import Raw
    from terracyte.core import files
    from terracyte.images.statistics import describe

    start = time.monotonic()
    settings, images = params.load(), files.map_array(folder / "images.npy")
    manifest = describe(images)
    manifest.insert(0, "id", np.arange(len(images)))
    manifest = manifest.assign(label=0)
    kind = tasks.make(task, settings)
    bounds = settings.validate[task]
    table = decide.decide(Raw(kind, images), manifest, settings.clean[task])
    low, high = bounds.brightness
    odd = ~manifest["brightness"].between(low, high) | (manifest["contrast"] < bounds.contrast_low)
    # either image of a pair of duplicates counts as found
    twins = table["id"].isin(table.loc[table["duplicate_of"] >= 0, "duplicate_of"])
    return _found(start, np.flatnonzero(odd | ~table["keep"] | twins).tolist())


_CLEANVISION = """
import json, resource, sys, time, warnings
warnings.filterwarnings("ignore")
start = time.monotonic()
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1] + "/png", verbose=False)
lab.find_issues(n_jobs=1, verbose=False)
flags = lab.issues[[name for name in lab.issues if name.startswith("is_")]].any(axis=1)
found = [int(path.rsplit("/", 1)[1][:-4]) for path in lab.issues.index[flags]]
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"seconds": time.monotonic() - start, "processor": used.ru_utime + used.ru_stime, "found": found}))
"""


def _found(start: float, found: list[int]) -> dict[str, Any]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": time.monotonic() - start, "processor": used.ru_utime + used.ru_stime, "found": found}


def _run(command: list[str]) -> dict[str, Any]:
    environment = {**os.environ, **_ONE_THREAD}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(defects: list[str], turns: list[dict[str, dict[str, Any]]]) -> None:
    used = {side: min(turn[side]["processor"] for turn in turns) for side in turns[0]}
    print(f"| of {len(defects)} images | ours | cleanvision |\n| --- | --- | --- |")
    print(f"| processor time, s | {used['ours']:.1f} | {used['cleanvision']:.1f} |")
    print(f"| ratio | 1 | {used['cleanvision'] / used['ours']:.1f} |")
    for name in [*DEFECTS, ""]:
        of_kind = {place for place, defect in enumerate(defects) if defect == name}
        shares = [len(of_kind & set(turns[0][side]["found"])) / len(of_kind) for side in used]
        label = f"{name}: found" if name else "not planted, but named"
        print(f"| {label} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    guarded(main)
