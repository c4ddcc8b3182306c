"""The server: its answers to programs and to the page, and what it refuses."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from starlette.types import ASGIApp, Message

from benchmarks import serving
from terracyte import cli, params, tasks
from terracyte.core import files, listening, paths
from terracyte.predict import outputs, predictor
from terracyte.predict.predictor import Predictor
from terracyte.rendering.pictures import PALETTE
from terracyte.serve import answers, mlflow_model, uploads
from terracyte.serve.examples import examples
from terracyte.serve.site import application
from tests.conftest import ROOT, TASKS

SIZE = 32
JSON = "application/json"


class Site:
    """The application, called without a socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: ZeroDivisionError | None = None

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = JSON, host: str = "127.0.0.1"
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; return the status, headers and body of the answer."""
        headers = [(b"host", host.encode()), (b"content-type", kind.encode())]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "http_version": "1.1",
            "headers": headers if kind else headers[:1],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        parts = [body[start : start + 2**20] for start in range(0, max(len(body), 1), 2**20)]
        waiting: list[Message] = [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        async def ask() -> None:
            try:
                await self._app(scope, receive, send)
            except ZeroDivisionError as error:  # a failure that a test causes; uvicorn writes what reaches it to stderr
                self.failure = error

        asyncio.run(ask())
        headers_sent = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers_sent, b"".join(part.get("body", b"") for part in sent[1:])

    def json(self, method: str, path: str, body: bytes = b"", kind: str = JSON) -> tuple[int, Any]:
        status, _, answer = self.ask(method, path, body, kind)
        return status, json.loads(answer)


@pytest.fixture(scope="module", params=TASKS)
def served(request: pytest.FixtureRequest, champions_template: Path) -> Iterator[tuple[Site, Predictor]]:
    with contextlib.chdir(champions_template):
        folder = paths.champion(request.param).absolute()
        champion = predictor.read(folder)
        yield Site(application(champion, folder, examples(champion.task))), champion


def pixels(predictor: Predictor, count: int = 2) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, *predictor.task.image_shape))


def png(size: tuple[int, int] = (SIZE, SIZE), mode: str = "RGB", kind: str = "png") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind)
    return stream.getvalue()


def test_arrays_are_answered(served: tuple[Site, Predictor]) -> None:
    site, predictor = served
    images = pixels(predictor)
    expected = predictor.predict(images.astype(np.uint8))
    for key in ("inputs", "instances"):
        status, answer = site.json("POST", "/invocations", json.dumps({key: images.tolist()}).encode())
        assert status == 200
        assert len(answer["predictions"]) == 2
        for row, each in enumerate(answer["predictions"]):
            shares = each["shares"] if predictor.task.dense else each["probabilities"]
            assert list(shares) == list(predictor.classes)
            assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
            assert each["confidence"] == pytest.approx(expected.confidence[row], abs=1e-5)
            assert each["unfamiliar"] is True  # noise
            if predictor.task.dense:
                assert np.array_equal(each["mask"], expected.labels[row])
            else:
                assert each["class"] == predictor.task.classes[expected.labels[row]]


def test_a_running_server_can_be_asked_whether_it_runs(served: tuple[Site, Predictor]) -> None:
    site, _ = served
    assert [site.ask("GET", path)[0] for path in ("/ping", "/health")] == [200, 200]


@pytest.mark.parametrize("served", ["blood"], indirect=True)
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[1]", "the request must be"),
        (b"3", "the request must be"),
        (b"{}", "the request must be"),
        (b'{"inputs": [1], "instances": [1]}', "the request must be"),
        (b'{"dataframe_split": {"columns": ["a"], "data": [[1]]}}', "the request must be"),
        (b'{"inputs": {"a": [1]}}', "the request must be"),
        (b'{"inputs": []}', "the request must be"),
        (b'{"inputs": "cell.png"}', "the request must be"),
        (b"[" * 100_000, "the request must be"),
        (b'{"inputs": [[[["a"]]]]}', "a pixel is not a number"),
        (b'{"inputs": [[1, 2], [1]]}', "differ in length"),
        (b'{"inputs": 5}', "the request must be"),
        (b'{"inputs": [[[[1, 2, 3]]]]}', "the images have the shape (1, 1, 1, 3); it must be (n, 32, 32, 3)"),
    ],
)
def test_refuses_what_is_no_batch_of_images(served: tuple[Site, Predictor], body: bytes, says: str) -> None:
    status, answer = served[0].json("POST", "/invocations", body)
    assert status == 400
    assert says in answer["error"]
    assert "\n" not in answer["error"]
    assert list(answer) == ["error"]


@pytest.mark.parametrize("served", ["blood"], indirect=True)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda images: images + 300, "they must be in 0-255"),
        (lambda images: -1 - images, "they must be in 0-255"),
        (lambda images: images / 255, "the pixels reach only "),
        (lambda images: images / 255 * 1.02, "the pixels reach only 1.02: scale them to 0-255"),
        (lambda images: images[0], "have the shape (32, 32, 3); it must be (n, 32, 32, 3)"),
        (lambda images: images[:, :16], "have the shape (2, 16, 32, 3)"),
        (lambda images: images[..., :1], "have the shape (2, 32, 32, 1)"),
        (lambda images: np.repeat(images[:1], 65, axis=0), "65 images: send at most 64"),
        (lambda images: np.where(images > 200, np.nan, images), "not a finite number"),
    ],
)
def test_refuses_pixels_that_make_no_sense(served: tuple[Site, Predictor], change: Any, says: str) -> None:
    site, predictor = served
    body = json.dumps({"inputs": change(pixels(predictor)).tolist()}).encode()
    status, answer = site.json("POST", "/invocations", body)
    assert status == 400
    assert says in answer["error"]


@pytest.mark.parametrize("served", ["blood"], indirect=True)
@pytest.mark.parametrize("kind", ["", "text/csv", "image/png", "application/vnd.apache.parquet", "nonsense"])
def test_refuses_other_content_types(served: tuple[Site, Predictor], kind: str) -> None:
    status, answer = served[0].json("POST", "/invocations", b"{}", kind)
    assert (status, answer) == (415, {"error": "the content type must be application/json"})


@pytest.mark.parametrize("served", ["blood"], indirect=True)
def test_a_content_type_has_no_case(served: tuple[Site, Predictor]) -> None:
    site, predictor = served
    body = json.dumps({"inputs": pixels(predictor).tolist()}).encode()
    assert site.json("POST", "/invocations", body, "Application/JSON; charset=UTF-8")[0] == 200


@pytest.mark.parametrize("served", ["blood"], indirect=True)
def test_refuses_what_is_too_large_without_keeping_it(served: tuple[Site, Predictor]) -> None:
    status, answer = served[0].json("POST", "/invocations", bytes(65 * 2**20))
    assert (status, answer["error"]) == (413, "the request is larger than 64 MiB: send fewer images at once")
    status, answer = served[0].json("POST", "/predict", bytes(uploads.LARGEST_FILE + 1))
    assert (status, answer["error"]) == (413, "the file is larger than 10 MiB: choose a smaller one")


def test_a_picture_is_answered_with_what_the_page_shows(served: tuple[Site, Predictor]) -> None:
    site, predictor = served
    for file in (png(), png(kind="jpeg"), png(mode="L"), png(mode="P")):
        status, answer = site.json("POST", "/predict", file)
        assert status == 200
        assert answer["image"].startswith("data:image/png;base64,")
        assert answer["note"] == ""
        assert ("overlay" in answer) == ("shares" in answer) == predictor.task.dense
        assert "mask" not in answer
    _, answer = site.json("POST", "/predict", png((64, 48)))
    assert answer["note"] == "Scaled from 64x48 to 32x32 pixels, the size of the task."


@pytest.mark.parametrize("served", ["mars"], indirect=True)
@pytest.mark.parametrize(
    ("fit", "size", "note"),
    [
        ("pad", (32, 24), "Scaled from 64x48 to 32x24 pixels, padded to 32x32, the size of the task."),
        ("crop", (32, 32), "Scaled from the middle 48x48 of 64x48 to 32x32 pixels, the size of the task."),
    ],
)
def test_the_page_shows_what_of_a_picture_was_predicted(
    served: tuple[Site, Predictor], monkeypatch: pytest.MonkeyPatch, fit: Any, size: tuple[int, int], note: str
) -> None:
    site, predictor = served
    monkeypatch.setattr(predictor.task, "spec", dataclasses.replace(predictor.task.spec, fit=fit))
    _, answer = site.json("POST", "/predict", png((64, 48)))
    assert answer["note"] == note
    for shown in (answer["image"], answer["overlay"]):
        assert Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))).size == size
    assert sum(answer["shares"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("served", ["mars"], indirect=True)
@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"", "the file is empty"),
        (b"no picture", "not a jpg, png, gif, bmp, tif or webp"),
        (png(kind="ppm"), "not a jpg, png, gif, bmp, tif or webp"),
        (png()[:60], "the file is damaged"),
        (png(mode="I;16"), "more than 8 bits"),
        (png(mode="RGBA"), "transparent pixels"),
        (png((8000, 6000), mode="1"), "8000x6000 pixels: at most 40 million"),
        (png((20_000, 20_000), mode="1"), "far more pixels than the 40 million"),
    ],
)
def test_refuses_files_that_are_no_pictures(served: tuple[Site, Predictor], file: bytes, says: str) -> None:
    status, answer = served[0].json("POST", "/predict", file)
    assert status == 400
    assert says in answer["error"]


HOSTILE = {
    "null": b"null",
    "text": b'"inputs"',
    "half a surrogate pair": b'{"inputs": ["\\ud800"]}',
    "UTF-16": '{"inputs": []}'.encode("utf-16"),
    "nothing within": b'{"inputs": null}',
    "nested and closed": b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}",
    "number of digits": b'{"inputs": [[[[' + b"9" * 5000 + b"]]]]}",
    "number beyond floats": b'{"inputs": [[[[1e999]]]]}',
    "not finite": b'{"inputs": [[[[NaN, Infinity]]]]}',
    "truth": b'{"inputs": true}',
    "empty lists": b'{"inputs": [' + b"[]," * 50_000 + b"[]]}",
    "objects": b'{"inputs": [{"a": 1}]}',
    "frame of nothing": b'{"dataframe_records": [{}]}',
    "parameters": b'{"inputs": [[[[1]]]], "params": {"a": {"b": []}}}',
    "other": b'{"__proto__": {}, "inputs\\u0000": 1}',
}


@pytest.mark.parametrize("served", ["mars"], indirect=True)
def test_hostile_bodies_are_refused_with_a_sentence(served: tuple[Site, Predictor]) -> None:
    for name, body in HOSTILE.items():
        status, answer = served[0].json("POST", "/invocations", body)
        assert (status, list(answer)) == (400, ["error"]), name
        assert len(answer["error"]) < 400
        assert "\n" not in answer["error"]
        assert "Traceback" not in answer["error"]


@pytest.mark.parametrize("served", ["blood"], indirect=True)
def test_what_fails_in_the_server_is_one_sentence(
    served: tuple[Site, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    site, champion = served
    monkeypatch.setattr("terracyte.serve.site.answers", broken)
    for path, body in (
        ("/invocations", json.dumps({"inputs": pixels(champion).tolist()}).encode()),
        ("/predict", png()),
    ):
        site.failure = None
        assert site.json("POST", path, body) == (500, {"error": "the server failed; its terminal says why"})
        assert str(site.failure) == "secret"
    bare = Site(application(champion, Path("nowhere"), []))
    assert bare.json("GET", "/card") == (404, {"error": "the champion has no model card"})


def test_the_page_asks_nobody_else(served: tuple[Site, Predictor]) -> None:
    site, _ = served
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "javascript")):
        status, headers, body = site.ask("GET", path)
        assert status == 200
        assert kind in headers["content-type"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        addresses = set(re.findall(rb"https?://[^\"' ]+", body)) - {b"http://www.w3.org/2000/svg"}
        assert not addresses
    page = site.ask("GET", "/")[2].decode()
    assert set(re.findall(r'(?:src|href)="([^"]+)"', page)) == {"data:,", "page.css", "page.js", "card"}


def test_the_page_learns_what_it_shows(served: tuple[Site, Predictor]) -> None:
    site, predictor = served
    _, about = site.json("GET", "/about")
    assert about["task"] == predictor.task.name
    assert [each["name"] for each in about["classes"]] == list(predictor.classes)
    assert all(bool(each["colour"]) == predictor.task.dense for each in about["classes"])
    assert about["examples"]
    for example in about["examples"]:
        status, headers, body = site.ask("GET", f"/{example['url']}")
        assert (status, headers["content-type"]) == (200, "image/png")
        assert Image.open(io.BytesIO(body)).size == (SIZE, SIZE)
    assert site.ask("GET", f"/examples/{len(about['examples'])}")[0] == 404
    assert b"<h1>A card</h1>" in site.ask("GET", "/card")[2]


@pytest.mark.parametrize("served", ["blood"], indirect=True)
@pytest.mark.parametrize("host", ["evil.example", "10.evil.example", "127.0.0.1.evil.example:5001", "0.0.0.0", ""])
def test_requests_under_a_foreign_name_are_refused(served: tuple[Site, Predictor], host: str) -> None:
    """An attacker's page could make its own name point to this machine (DNS rebinding)."""
    site, _ = served
    for path in ("/", "/about", "/card", "/ping", "/examples/0"):
        assert site.ask("GET", path, host=host)[0] == 400
    for path in ("/predict", "/invocations"):
        assert site.ask("POST", path, b"{}", host=host)[0] == 400
    assert site.ask("GET", "/", host="localhost:5001")[0] == 200


@pytest.mark.parametrize("served", ["blood"], indirect=True)
def test_other_addresses_are_refused(served: tuple[Site, Predictor]) -> None:
    site, _ = served
    assert site.json("GET", "/../params.yaml") == (404, {"error": "Not Found"})
    assert site.json("GET", "/predict") == (405, {"error": "Method Not Allowed"})
    assert site.json("GET", "/invocations") == (405, {"error": "Method Not Allowed"})


def test_examples_are_validation_images_of_each_class(champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks.make("blood", params.load())
    monkeypatch.setattr("terracyte.serve.examples._COUNT", 32)  # more of each class than there are images
    shown = examples(task)
    assert len({each.png for each in shown}) == len(shown)
    assert {each.title for each in shown} == set(task.classes)
    images = np.load(paths.images("blood"))
    manifest = pd.read_parquet(paths.balance_manifest("blood"))
    rows = manifest[manifest["split"] == "validation"]
    validation, titles = images[rows["id"]], np.array(task.classes)[rows["label"]]
    for each in shown:
        image = np.asarray(Image.open(io.BytesIO(each.png)))
        assert each.title in titles[(validation == image).all(axis=(1, 2, 3))]
    monkeypatch.setattr("terracyte.serve.examples._COUNT", 3)
    assert [each.title for each in examples(task)] == list(task.classes[:3])
    # labels mean nothing to a champion whose classes differ from the checkout's
    assert examples(tasks.of(task.name, dataclasses.replace(task.spec, classes=task.classes[::-1]))) == []
    paths.images("blood").unlink()
    assert examples(task) == []


@pytest.mark.parametrize(
    ("host", "says"), [("", "--host is empty"), ("192.0.2.1", "'192.0.2.1', which is not an IPv4 address of")]
)
def test_a_host_of_another_machine_is_told_in_one_line(
    champions: Path, capsys: pytest.CaptureFixture[str], host: str, says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "blood", "--host", host, "--port", "0"])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_port_in_use_is_told_in_one_line(champions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for port, why in ((str(taken.getsockname()[1]), "Address already in use"), ("70000", "ports are 0 to 65535")):
            with pytest.raises(SystemExit) as exit_:
                cli.main(["serve", "blood", "--port", port])
            assert exit_.value.code == 2
            assert why in capsys.readouterr().err


def test_without_a_champion_nothing_is_served(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["serve", "blood"])
    assert exit_.value.code == 2
    assert "holds no champion" in capsys.readouterr().err


class Touch:
    """Leaves a file behind when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled").absolute(),)


def test_a_pickled_model_of_mlflow_s_is_refused(project: Path) -> None:
    from mlflow.pyfunc import load_model  # noqa: TID251

    Path("model").mkdir()
    Path("model/python_model.pkl").write_bytes(pickle.dumps(Touch()))
    flavor = {
        "loader_module": "mlflow.pyfunc.model",
        "python_model": "python_model.pkl",
        "cloudpickle_version": "3.1.2",
    }
    files.write_json(Path("model/MLmodel"), {"flavors": {"python_function": flavor}, "mlflow_version": "3.17.2"})
    with pytest.raises(Exception, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        load_model("model")
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_listening_elsewhere_than_on_this_machine_alone_is_a_warning(
    champions: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], host: str, warned: bool
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predictor, "read", stop)
    with pytest.raises(SystemExit):
        cli.main(["serve", "blood", "--host", host, "--port", "0"])
    said = capsys.readouterr().err
    assert ("warning: 0.0.0.0: anyone who can reach this address can use the server" in said) == warned


def test_servers_answer_by_the_names_of_where_they_listen() -> None:
    assert listening.names("127.0.0.1") == listening.names("localhost") == ["127.0.0.1", "localhost"]
    assert "127.0.0.2" in listening.names("127.0.0.2")
    assert listening.address("0.0.0.0", 5001) == "http://127.0.0.1:5001"
    assert listening.names("Lab.example")[2:] == ["lab.example"]
    everywhere = listening.names("0.0.0.0")
    assert {"127.0.0.1", "localhost", socket.gethostname().lower()} <= set(everywhere)
    assert not any("*" in name for name in everywhere)


@pytest.mark.services
def test_the_server_and_mlflows_own_say_the_same(champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are started; our server must not grow in memory, and must end with Ctrl-C."""
    from mlflow.pyfunc import save_model  # noqa: TID251

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder, model = paths.champion("blood"), Path("model")
    pictures, arrays = serving.requests(folder)
    with serving.serving("blood", folder) as (port, process):
        assert len(serving.count(port, [*pictures, *arrays], 4, 400)) == 400
        readings = serving.memory(process, lambda number: serving.count(port, pictures, 4, number), 2000)
        assert float(readings[-1]) < 1.05 * float(readings[0])
        ours = answer(port, arrays[0][2])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with mlflow_model._without_example():
        save_model(model, **mlflow_model.pyfunc(folder))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = ["-h", "127.0.0.1", "-p", str(probe.getsockname()[1])]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", str(model), *address]
    with subprocess.Popen(command, start_new_session=True) as server:
        try:
            assert answer(int(address[-1]), arrays[0][2]) == ours
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def answer(port: int, body: bytes) -> Any:
    """Return the answer to a request; wait until the server is up."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"content-type": JSON})
    for _ in range(600):
        with contextlib.suppress(ConnectionError, urllib.error.URLError), urllib.request.urlopen(request) as found:
            return json.load(found)
        time.sleep(0.2)
    raise AssertionError("no answer")


def test_each_answer_is_of_its_own_image(served: tuple[Site, Predictor], champions_template: Path) -> None:
    _, predictor = served
    known = np.load(champions_template / paths.images(predictor.task.name))
    images = np.concatenate([pixels(predictor, 1).astype(np.uint8), known])
    expected = predictor.predict(images)
    found = answers.answers(predictor, images)
    assert [each["unfamiliar"] for each in found] == expected.unfamiliar.tolist()
    assert {each["unfamiliar"] for each in found} == {True, False}
    for each, values in zip(found, outputs.shares(predictor, expected), strict=True):
        by_class = each["shares"] if predictor.task.dense else each["probabilities"]
        assert by_class == pytest.approx(dict(zip(predictor.classes, values, strict=True)), abs=1e-5)


def test_a_full_batch_is_no_problem() -> None:
    assert answers.problem(np.full((answers.LARGEST_BATCH, 2, 2, 1), 7.0)) is None


@pytest.mark.parametrize("served", ["blood"], indirect=True)
def test_pixels_with_a_point_are_rounded(served: tuple[Site, Predictor]) -> None:
    site, predictor = served
    images = pixels(predictor) // 2
    bodies = (json.dumps({"inputs": each.tolist()}).encode() for each in (images + 0.6, images + 1))
    found, expected = (site.json("POST", "/invocations", body) for body in bodies)
    assert found == expected


@pytest.mark.parametrize("served", ["mars"], indirect=True)
def test_the_page_is_told_the_champion_s_size_colours_and_score(
    served: tuple[Site, Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, predictor = served
    monkeypatch.setattr(predictor.task, "image_shape", (64, 32, 1))
    for key, value in (("score", 0.5), ("together", 0.75)):
        monkeypatch.setitem(predictor.record, key, value)
    about = site.json("GET", "/about")[1]
    assert (about["size"], about["score"]) == ([32, 64], 0.75)
    assert [each["colour"] for each in about["classes"]] == list(PALETTE[1:4])  # as overlays paint them
