"""Pretrained weights are found or downloaded, and checked; any failure is one line."""

import contextlib
import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import pytest

from terracyte import params
from terracyte.core import download, paths
from terracyte.core.errors import InputError
from terracyte.fetch import initialisation, pretrained
from terracyte.fetch.initialisation import Initialisation
from terracyte.params.row import IMAGENET, RANDOM, Identity, Row, Start
from tests.conftest import ROOT, Edit

NAME = "blood-cnn"
PLACED = Path("data/weights/mobilenet_v3_small_minimalistic_imagenet_notop.weights.h5")
PUBLISHED = PLACED.with_name("mobilenet_v3_small_minimalistic_imagenet_notop.h5")
BACKBONE: dict[str, Any] = {"architecture": "mobilenet_v3", "size": "small", "minimalistic": True}


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The content of a weights file that fits the backbone."""
    keras = pytest.importorskip("keras")
    file = tmp_path_factory.mktemp("weights") / "any.weights.h5"
    keras.applications.MobileNetV3Small(minimalistic=True, include_top=False, weights=None).save_weights(file)
    return file.read_bytes()


@pytest.fixture(autouse=True)
def offline(project: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Declare two rows, and a download address at whose port nothing answers."""
    edit("rows", {NAME: "blood", "mars-unet_1": "mars"})
    edit("override", {})
    monkeypatch.setattr(pretrained, "_SERVER", "http://127.0.0.1:9")
    PLACED.parent.mkdir(parents=True)


def fetch(edit: Edit, **change: Any) -> Initialisation:
    edit(f"variants.{NAME}.change", {**BACKBONE, **change})
    pretrained.fetch(params.load())
    return initialisation.read(NAME)


def test_a_placed_file_becomes_the_input_of_training(edit: Edit, real: bytes) -> None:
    PLACED.write_bytes(real)
    found = fetch(edit, weights="imagenet")
    assert found == Initialisation(name="ImageNet", sha256=hashlib.sha256(real).hexdigest())
    copy = paths.backbone(NAME)
    assert copy is not None
    assert (copy.name, copy.read_bytes()) == ("backbone.weights.h5", real)


def test_a_placed_file_may_be_one_that_keras_has_published(edit: Edit) -> None:
    """Those are of an older format, which Keras no longer writes."""
    keras = pytest.importorskip("keras")
    from keras.src.legacy.saving import legacy_h5_format

    model = keras.applications.MobileNetV3Small(minimalistic=True, include_top=False, weights=None)
    with h5py.File(PUBLISHED, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    assert fetch(edit, weights="imagenet").name == "ImageNet"
    copy = paths.backbone(NAME)
    assert copy is not None
    assert copy.name == "backbone.h5"  # Keras chooses its reader by the name
    PUBLISHED.rename(PLACED)
    with pytest.raises(InputError, match=f"{PLACED} holds no weights of this backbone"):
        fetch(edit, weights="imagenet")


def test_a_file_of_ones_own(edit: Edit, real: bytes) -> None:
    Path("mine.weights.h5").write_bytes(real)
    assert fetch(edit, weights="mine.weights.h5").name == "mine.weights.h5"


def test_fetching_again_gives_the_same_and_leaves_nothing_behind(edit: Edit, real: bytes) -> None:
    PLACED.write_bytes(real)
    fetch(edit, weights="imagenet")
    assert fetch(edit, weights="none") == Initialisation(name="random", sha256="")
    assert paths.backbone(NAME) is None
    assert [file.name for file in paths.pretrained(NAME).iterdir()] == ["initialisation.json"]


def test_what_cannot_be_had_is_an_error_that_names_the_file(edit: Edit) -> None:
    with pytest.raises(InputError, match=rf"are not available \(ConnectionError\): place them at {PUBLISHED}"):
        fetch(edit, weights="imagenet")
    assert not paths.PRETRAINED.exists()


def test_what_cannot_be_had_may_be_random_and_is_told(edit: Edit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(edit, weights="imagenet_or_none").name == "random (ImageNet not to be had)"
    (line,) = capsys.readouterr().out.splitlines()
    assert str(PUBLISHED) in line
    assert "starts from random weights" in line


def test_what_no_package_holds_is_to_be_placed_in_the_format_that_keras_writes(
    edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from terracyte.fetch import efficientnet_lite

    monkeypatch.setitem(efficientnet_lite.PACKAGED, "lite0", ("no_such_package", "a.pth", ""))
    place = "data/weights/efficientnet_lite_lite0_imagenet_notop.weights.h5"
    with pytest.raises(InputError, match=rf"no-such-package is not installed\): place them at {place}"):
        fetch(edit, architecture="efficientnet_lite", size="lite0", weights="imagenet")


def test_a_size_that_the_backbone_lacks_is_one_line(edit: Edit) -> None:
    with pytest.raises(InputError, match=r"unknown backbone mobilenet_v3_tiny.*must be one of convnext_tiny, "):
        fetch(edit, size="tiny", minimalistic=False, weights="imagenet")


def test_silence_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    import requests

    waiting = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *_, **__: SimpleNamespace(ok=waiting.wait(20)))
    with pytest.raises(ConnectionError, match=r"no answer within 0\.1 s"):
        download.await_answer("http://127.0.0.1:9", 0.1)
    waiting.set()


@pytest.mark.parametrize(("status", "there"), [(200, True), (302, True), (405, True), (403, False), (503, False)])
def test_an_answer_of_failure_is_none(monkeypatch: pytest.MonkeyPatch, status: int, there: bool) -> None:
    import requests

    answer = requests.Response()
    answer.status_code = status
    monkeypatch.setattr(requests, "head", lambda *_, **__: answer)
    with contextlib.nullcontext() if there else pytest.raises(ConnectionError, match=f"HTTP status {status}"):
        download.await_answer("http://127.0.0.1:9", 5)


def test_a_downloaded_file_is_used_again_offline(edit: Edit, real: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = hashlib.sha256(real).hexdigest()
    monkeypatch.setitem(pretrained.PUBLISHED, "mobilenet_v3_small_minimalistic", ("a/b.weights.h5", checksum))
    paths.downloads().mkdir(parents=True)
    (paths.downloads() / "b.weights.h5").write_bytes(real)
    assert fetch(edit, weights="imagenet").sha256 == checksum


@pytest.mark.parametrize("damage", [lambda real: real[: len(real) // 2], lambda _: b"", lambda _: b"no weights"])
def test_a_damaged_file_is_one_line(edit: Edit, real: bytes, damage: Any) -> None:
    PLACED.write_bytes(damage(real))
    with pytest.raises(InputError, match=rf"{PLACED} holds no weights of this backbone or is damaged"):
        fetch(edit, weights="imagenet")


def test_weights_of_another_backbone_are_refused(edit: Edit, real: bytes) -> None:
    Path("other.weights.h5").write_bytes(real)
    with pytest.raises(InputError, match=r"other\.weights\.h5 holds no weights of this backbone"):
        fetch(edit, minimalistic=False, weights="other.weights.h5")


def test_a_missing_file_is_one_line(edit: Edit) -> None:
    with pytest.raises(InputError, match=r"nowhere\.h5 is missing"):
        fetch(edit, weights="nowhere.h5")


def test_architectures_without_backbone_start_at_random(edit: Edit) -> None:
    edit("reference.blood.weights", "imagenet")
    assert fetch(edit, architecture="cnn").name == "random"
    with pytest.raises(InputError, match="but cnn has no pretrained backbone"):
        fetch(edit, architecture="cnn", weights="imagenet_or_none")


def test_the_stage_is_quick_without_a_backbone(project: Path) -> None:
    script = (
        "import sys\n"
        "from terracyte import params\n"
        "from terracyte.fetch import pretrained\n"
        "pretrained.fetch(params.load())\n"
        "assert not {'keras', 'tensorflow', 'requests', 'mlflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, check=True)
    assert json.loads((paths.pretrained("mars-unet_1") / "initialisation.json").read_text()) == {
        "name": "random",
        "sha256": "",
    }


def test_the_weights_are_part_of_who_a_run_is() -> None:
    settings = params.load()

    def fingerprint(weights: str) -> str:
        row = Row(
            variant=NAME,
            task="blood",
            spec=settings.tasks["blood"],
            starts=(Start(config=settings.config(NAME), initialisation="", weights_hash=weights),),
            seeds=(0,),
            data_hash="",
        )
        return Identity(row=row, seed=0).fingerprint

    assert fingerprint("") != fingerprint("a")


def test_a_backbone_is_fetched_once_for_all_its_rows(edit: Edit, real: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    PLACED.write_bytes(real)
    edit("rows", {NAME: "blood", "blood-cnn_with_adamw": "blood", "mars-unet_1": "mars"})
    edit("variants.blood-cnn_with_adamw.change", {**BACKBONE, "weights": "imagenet"})
    checked: list[str] = []
    monkeypatch.setattr(pretrained, "_check", lambda weights, settings, name, config: checked.append(name))
    fetch(edit, weights="imagenet")
    assert checked == [NAME]
    assert paths.backbone("blood-cnn_with_adamw") is not None


def test_each_member_starts_from_its_own(edit: Edit, real: bytes) -> None:
    PLACED.write_bytes(real)
    edit("rows", {NAME: "blood", "mars-unet_1": "mars"})
    edit(f"variants.{NAME}.members", [{}, {"architecture": "cnn", "weights": "none"}])
    fetch(edit, weights="imagenet")
    assert [initialisation.read(NAME, member).name for member in (0, 1)] == [IMAGENET, RANDOM]
    assert [bool(initialisation.read(NAME, member).sha256) for member in (0, 1)] == [True, False]
    assert paths.backbone(NAME, 1) is None


def test_nothing_fetched_is_one_line() -> None:
    with pytest.raises(InputError, match="run `dvc repro fetch`"):
        initialisation.read(NAME)


def test_addresses_and_checksums_are_those_of_keras() -> None:
    pytest.importorskip("keras")
    from keras.src.applications import convnext, mobilenet_v3

    for name, (path, checksum) in pretrained.PUBLISHED.items():
        family = mobilenet_v3 if name.startswith("mobilenet_v3") else convnext
        base = mobilenet_v3.BASE_WEIGHT_PATH if family is mobilenet_v3 else convnext.BASE_WEIGHTS_PATH
        assert f"https://storage.googleapis.com/tensorflow/keras-applications/{path}".startswith(base)
        key = Path(path).stem.removeprefix("weights_mobilenet_v3_").removesuffix("_no_top_v2").removesuffix("_notop")
        assert family.WEIGHTS_HASHES[key][1] == checksum


def test_each_backbone_has_its_own_file(edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    larger = PLACED.with_name("mobilenet_v3_large_minimalistic_imagenet_notop.weights.h5")
    PLACED.write_bytes(b"small")
    larger.write_bytes(b"large")
    edit(f"variants.{NAME}.members", [{}, {"size": "large"}])
    monkeypatch.setattr(pretrained, "_check", lambda *_: None)
    fetch(edit, weights="imagenet")
    copies = [paths.backbone(NAME, member) for member in (0, 1)]
    assert [copy and copy.read_bytes() for copy in copies] == [b"small", b"large"]


def test_rows_of_one_backbone_may_start_from_different_files(edit: Edit, real: bytes) -> None:
    PLACED.write_bytes(real)
    Path("mine.weights.h5").write_bytes(real)
    edit("rows", {NAME: "blood", "blood-cnn_with_adamw": "blood", "mars-unet_1": "mars"})
    edit("variants.blood-cnn_with_adamw.change", {**BACKBONE, "weights": "mine.weights.h5"})
    assert fetch(edit, weights="imagenet").name == IMAGENET
    assert initialisation.read("blood-cnn_with_adamw").name == "mine.weights.h5"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"architecture": "mobilenet_v3", "size": "small", "minimalistic": True}, "mobilenet_v3_small_minimalistic"),
        ({"architecture": "convnext", "size": "tiny", "minimalistic": True}, "convnext_tiny"),
        ({"architecture": "unet", "encoder": "efficientnet_lite", "size": "lite2"}, "efficientnet_lite_lite2"),
    ],
)
def test_weights_are_those_of_the_network_s_backbone(change: dict[str, Any], name: str) -> None:
    config = dataclasses.replace(params.load().config(NAME), **change)
    assert pretrained.backbone(config) == name


def test_the_tuned_variant_has_its_weights_though_it_is_no_row(edit: Edit, real: bytes) -> None:
    PLACED.write_bytes(real)
    edit("rows", {"blood-baseline": "blood", "mars-unet_1": "mars"})
    assert params.load().tune["blood"].variant == NAME
    assert fetch(edit, weights="imagenet").name == IMAGENET
    edit("tune.blood.trials", 0)  # no search, so nobody reads them
    pretrained.fetch(params.load())
    assert not paths.pretrained(NAME).exists()
