"""MLflow's record: live, resumed, reconciled, rebuilt; in a store of its own for each test."""

import contextlib
import dataclasses
import errno
import importlib.metadata
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest

from terracyte import params, tasks, tracking
from terracyte.core import files, paths, processes
from terracyte.core.errors import InputError
from terracyte.core.git import tags as git_tags
from terracyte.params.row import IMAGENET, RANDOM, Identity, Row, Start
from terracyte.report import runs, ui
from terracyte.serve import registry
from terracyte.serve.registry import Entry
from terracyte.tracking import models, store
from terracyte.tracking.client import connected, experiment_id
from terracyte.tracking.run_matching import Finished
from terracyte.tracking.runs import LIVE
from tests.conftest import commit, git
from tests.finished_project import TUNING

mlflow = pytest.importorskip("mlflow")

DATA_HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def trained(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepare an empty store, and the files that recording a training needs."""
    monkeypatch.delenv(store.SERVER, raising=False)
    shutil.copytree(migrated, paths.mlflow())
    files.write_json(paths.balance("mars"), {"splits": {"train": {"images": 3}, "test": {"images": 1}}})
    paths.models("mars", "mars-unet_1").mkdir(parents=True)
    paths.model("mars", "mars-unet_1", 0).write_bytes(b"a model")


def identity(variant: str = "mars-unet_1", data_hash: str = DATA_HASH) -> Identity:
    settings = params.load()
    row = Row(
        variant=variant,
        task="mars",
        spec=settings.tasks["mars"],
        starts=(Start(config=settings.config(variant), initialisation=RANDOM, weights_hash=""),),
        seeds=(0,),
        data_hash=data_hash,
    )
    return Identity(row=row, seed=0)


def finished(who: Identity, title: str = "plain U-Net", **summary: float) -> Finished:
    return Finished(
        identity=who,
        title=title,
        curves=pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "val_mean_iou": [0.25, float("nan")]}),
        summary={"best_epoch": 1, "test_mean_iou": 0.5, **summary},
        model=paths.model("mars", "mars-unet_1", 0),
    )


def all_runs() -> list[Any]:
    client = mlflow.MlflowClient()
    return list(client.search_runs([client.get_experiment_by_name("mars").experiment_id]))


def history(run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in mlflow.MlflowClient().get_metric_history(run_id, metric)]


def snapshot() -> list[tuple[str, dict[str, float], dict[str, str]]]:
    return sorted((run.info.run_id, run.data.metrics, run.data.tags) for run in all_runs())


def test_a_live_run_holds_what_was_trained_on_what() -> None:
    who = identity()
    with tracking.training_run(who, "plain U-Net") as live:
        live.log_epoch(1, {"loss": 2.0})
        live.log_epoch(2, {"loss": 1.0})
        live.log_metrics({"training_seconds": 12.5})
    (run,) = all_runs()
    assert run.data.metrics["training_seconds"] == 12.5
    assert (run.info.run_name, run.info.status) == ("mars-unet_1-0", "FINISHED")
    assert history(run.info.run_id, "loss") == [(1, 2.0), (2, 1.0)]
    assert run.data.params["squeeze_excite"] == "False"
    assert set(run.data.params) == {*vars(who.config), "seed"}
    tags = run.data.tags
    assert (tags["fingerprint"], tags["variant"], tags["seed"]) == (who.fingerprint, "mars-unet_1", "0")
    assert tags["initialisation"] == "random"
    assert (tags["status"], tags["data_hash"], tags["git_commit"]) == ("current", DATA_HASH, "unknown")
    (dataset,) = (each.dataset for each in run.inputs.dataset_inputs)
    assert (dataset.name, dataset.digest) == ("mars", DATA_HASH[:36])
    ((context,),) = (each.tags for each in run.inputs.dataset_inputs)
    assert (context.key, context.value) == ("mlflow.data.context", "training")
    assert '"images": 3' in dataset.profile


def test_a_killed_training_goes_on_under_its_run() -> None:
    with contextlib.suppress(KeyboardInterrupt), tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 2.0})
        raise KeyboardInterrupt
    assert [run.info.status for run in all_runs()] == ["KILLED"]
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 2.0})  # a resumed training reports its first epochs again
        live.log_epoch(2, {"loss": 1.0})
    (run,) = all_runs()
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id, "loss") == [(1, 2.0), (2, 1.0)]
    assert len(run.inputs.dataset_inputs) == 1


def test_a_run_that_another_process_goes_on_with_is_not_finished() -> None:
    with tracking.training_run(identity(), "", status="RUNNING") as live:
        live.log_epoch(1, {"loss": 2.0})
    assert [run.info.status for run in all_runs()] == ["RUNNING"]
    assert mlflow.active_run() is None
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 2.0})
        live.log_metrics({"training_seconds": 12.5})
    (run,) = all_runs()
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id, "loss") == [(1, 2.0)]


def test_a_row_is_finished_when_all_its_seeds_are_by_this_code(monkeypatch: pytest.MonkeyPatch) -> None:
    row = dataclasses.replace(identity().row, seeds=(0, 1))
    for seed, done in ((0, False), (1, True)):
        with tracking.training_run(Identity(row=row, seed=seed), "", status="RUNNING"):
            pass
        assert not tracking.has_finished(row)
        with tracking.training_run(Identity(row=row, seed=seed), ""):
            pass
        assert tracking.has_finished(row) == done
    assert not tracking.has_finished(dataclasses.replace(row, data_hash="0" * 64))
    monkeypatch.setattr(tracking.runs, "code_hash", lambda *_: "othercode")
    assert not tracking.has_finished(row)


def test_a_training_that_other_code_begins_anew_has_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.suppress(KeyboardInterrupt), tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 2.0})
        raise KeyboardInterrupt
    monkeypatch.setattr(tracking.runs, "code_hash", lambda *_: "othercode")
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 5.0})
    current = {run.info.run_id for run in all_runs() if run.data.tags["status"] == "current"}
    assert [history(run, "loss") for run in current] == [[(1, 5.0)]]
    assert len(all_runs()) == 2


def test_training_again_by_force_supersedes_the_finished_run() -> None:
    for _ in range(2):
        with tracking.training_run(identity(), ""):
            pass
    assert sorted(run.data.tags["status"] for run in all_runs()) == ["current", "superseded"]


def test_trouble_while_training_is_told_once_and_leaves_the_run_to_reconcile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise mlflow.MlflowException("database is locked")

    with tracking.training_run(identity(), "") as live, monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_metrics", fail)
        live.log_epoch(1, {"loss": 2.0})
        live.log_epoch(2, {"loss": 1.0})
    assert capsys.readouterr().err.count("warning: MLflow failed (database is locked)") == 1
    assert [run.info.status for run in all_runs()] == ["FAILED"]
    current = tracking.reconcile("mars", [finished(identity())])
    assert history(current["mars-unet_1", 0], "loss") == [(1, 2.0), (2, 1.0)]


def test_a_store_that_fails_slowly_is_asked_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(*_: object, step: int) -> None:
        asked.append(step)
        time.sleep(0.05)
        raise mlflow.MlflowException("no answer")

    with tracking.training_run(identity(), "") as live:
        monkeypatch.setattr(mlflow, "log_metrics", fail)
        for epoch in range(1, 11):
            live.log_epoch(epoch, {"loss": 1.0})
    assert asked == [1]
    assert [run.info.status for run in all_runs()] == ["FAILED"]


def test_a_later_seed_is_trained_without_a_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(store.SERVER, "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with tracking.training_run(identity(), "", required=False) as live:
        live.log_epoch(1, {"loss": 2.0})
    told = capsys.readouterr().err
    assert told.startswith("warning: mars-unet_1 seed 0: the tracking store http://127.0.0.1:9 cannot be used")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    "use", [lambda: tracking.training_run(identity(), "").__enter__(), lambda: tracking.reconcile("mars", [])]
)
def test_a_store_out_of_reach_is_one_line_at_the_start(
    use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.SERVER, "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=r"http://127.0.0.1:9 cannot be used .*start the server"):
        use()


@pytest.mark.parametrize(
    ("address", "shown", "problem"),
    [
        ("mysql://me:SECRET@localhost/mlflow", "mysql://me:***@localhost/mlflow", "No module named 'MySQLdb'"),
        ("postgresql+word://me:SECRET@localhost", "postgresql+word://me:***@localhost", "Can't load plugin"),
        ("sqlite://me:SECRET@localhost:word/db", "sqlite://me:***@localhost:word/db", "invalid literal"),
        ("http://me:SEC/RET@localhost:9", "http://me:***@localhost:9", "Invalid url: http://me:***@localhost:9/"),
        ("http://me:SECRET@127.0.0.1:9", "http://me:***@127.0.0.1:9", "API request to http://me:***@127.0.0.1:9/"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str, shown: str, problem: str
) -> None:
    monkeypatch.setenv(store.SERVER, address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError) as caught:
        tracking.reconcile("mars", [])
    assert str(caught.value).startswith(f"the tracking store {shown} cannot be used ({problem}")
    assert "SEC" not in str(caught.value)


def test_a_store_made_in_another_folder_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracking.reconcile("mars", [])
    moved = project / "moved"
    shutil.copytree(paths.DATA, moved / "data")
    monkeypatch.chdir(moved)
    with pytest.raises(InputError, match="made when the project was elsewhere"):
        tracking.reconcile("mars", [])


def test_an_experiment_that_somebody_deleted_is_one_line() -> None:
    tracking.reconcile("mars", [])
    with connected() as server:
        server.delete_experiment(experiment_id(server, "mars"))
    with pytest.raises(InputError, match="experiment 'mars' is deleted: restore it with `MLFLOW_TRACKING_URI=sqlite"):
        tracking.reconcile("mars", [])


@pytest.mark.parametrize("name", ["a?b", "My%20Project"])
def test_the_record_is_in_the_project_s_folder_whatever_its_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = project / name
    folder.mkdir()
    for file in project.glob("*.yaml"):
        shutil.copy(file, folder)
    monkeypatch.chdir(folder)
    tracking.reconcile("mars", [])
    assert (folder / "data/mlflow/mlflow.db").stat().st_size
    assert not (project / "a").exists()


def test_a_port_in_use_is_told_before_any_address(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match=r"port \d+ of 127\.0\.0\.1 cannot be used"):
            ui.main("127.0.0.1", taken.getsockname()[1])
    assert not capsys.readouterr().out


def test_a_host_is_refused_where_a_server_has_the_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "uri", lambda: "https://me:SECRET@mlflow.example")
    with pytest.raises(InputError, match=r"--host has no use here: the record is on .*me:\*\*\*@mlflow.example"):
        ui.main("0.0.0.0", 5000)


def test_a_broken_database_is_one_line() -> None:
    (paths.mlflow() / "mlflow.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(InputError, match=r"not a database.*rename data/mlflow/mlflow\.db: a new one"):
        tracking.reconcile("mars", [])


@pytest.fixture
def locker() -> Iterator["subprocess.Popen[str]"]:
    """A process that keeps the database locked until it reads a line."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print(1); input()"
    command = [sys.executable, "-u", "-c", code, str(paths.mlflow() / "mlflow.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def end_when_named(process: "subprocess.Popen[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    """End a process once it is found to hold the lock, however long that takes on a busy machine."""
    find = store._users

    def find_and_end(file: Path) -> str:
        found = find(file)
        process.kill()
        return found

    monkeypatch.setattr(store, "_users", find_and_end)


def test_a_locked_database_is_waited_for(
    locker: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "_SILENT_WAIT", 0.1)
    end_when_named(locker, monkeypatch)
    tracking.reconcile("mars", [finished(identity())])
    assert len(all_runs()) == 1
    told = capsys.readouterr().err
    assert told.startswith("waiting for MLflow's database data/mlflow/mlflow.db, locked by process ")
    assert f"process {locker.pid} (" in told


def test_a_database_that_stays_locked_is_one_line_that_names_the_process(
    locker: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SILENT_WAIT", 0.1)
    monkeypatch.setattr(store, "_LONGEST_WAIT", 0.2)
    with pytest.raises(InputError, match=rf"is locked by process {locker.pid} \(") as caught:
        tracking.check("mars")
    assert "delete" not in str(caught.value)


def test_another_process_that_writes_the_record_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "_SILENT_WAIT", 0.1)
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(paths.mlflow() / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        end_when_named(other, monkeypatch)
        with store.locked():
            assert other.wait(1)
    told = capsys.readouterr().err
    assert told.startswith(f"waiting for MLflow's record, which process {other.pid} (")
    assert told.count("\n") == 1


def test_a_lock_in_the_middle_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="is locked by another process"), connected():
        raise mlflow.MlflowException("(sqlite3.OperationalError) database is locked [SQL: INSERT INTO runs ...]")
    assert capsys.readouterr().err == ""


@pytest.fixture
def experiment_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `real` of a project that holds stages/; it is the working directory."""
    (project / "stages").mkdir()
    folder = project / "real"
    folder.mkdir()
    shutil.copytree(project / "metrics", folder / "metrics")
    shutil.copytree(project / "data/mars", folder / "data/mars")
    for name in ("params.yaml", "experiment.yaml"):
        shutil.copy(project / name, folder)
    monkeypatch.chdir(folder)
    return folder


def test_all_experiments_share_a_store_and_each_folder_has_its_own_runs(
    project: Path, experiment_folder: Path, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking.reconcile("mars", [finished(identity(data_hash="f" * 64))])
    registry.register("mars", [entry])
    assert paths.mlflow() == Path("../data/mlflow")
    assert not Path("data/mlflow").exists()
    monkeypatch.chdir(project)
    tracking.reconcile("mars", [finished(identity())])
    client = mlflow.MlflowClient()
    found = {each.name: each for each in client.search_experiments() if each.name != "Default"}
    assert set(found) == {"mars", "real/mars"}
    assert found["real/mars"].artifact_location == (project / "data/mlflow/artifacts/real/mars").as_uri()
    current = {
        name: [run.data.tags["data_hash"] for run in client.search_runs([each.experiment_id], "tags.fingerprint != ''")]
        for name, each in found.items()
    }
    assert current == {"mars": [DATA_HASH], "real/mars": ["f" * 64]}
    assert [model.name for model in client.search_registered_models()] == ["terracyte-real-mars"]
    assert mlflow.pyfunc.load_model("models:/terracyte-real-mars@champion").metadata is not None


def test_reconcile_adds_scores_to_the_live_run() -> None:
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(1, {"loss": 2.0, "val_mean_iou": 0.25})
        live.log_epoch(2, {"loss": 1.0 + 1e-7})  # files hold six decimals
    current = tracking.reconcile("mars", [finished(identity())])
    (run,) = all_runs()
    assert current == {("mars-unet_1", 0): run.info.run_id}
    assert run.data.metrics["test_mean_iou"] == 0.5
    assert run.data.tags["mlflow.note.content"] == "plain U-Net"


def test_a_run_that_ended_otherwise_is_not_taken_for_the_training() -> None:
    with tracking.training_run(identity(), "") as live:  # older code: same configuration, other curve
        live.log_epoch(2, {"loss": 1.5})
    current = tracking.reconcile("mars", [finished(identity())])
    assert history(current["mars-unet_1", 0], "loss") == [(1, 2.0), (2, 1.0)]
    assert sorted(run.data.tags["status"] for run in all_runs()) == ["current", "superseded"]


def test_reconcile_rebuilds_a_run_that_the_store_lacks() -> None:
    who = identity()
    current = tracking.reconcile("mars", [finished(who)])
    (run,) = all_runs()
    run_id = current["mars-unet_1", 0]
    assert (run.info.run_id, run.info.status, run.info.run_name) == (run_id, "FINISHED", "mars-unet_1-0")
    assert history(run_id, "loss") == [(1, 2.0), (2, 1.0)]
    assert history(run_id, "val_mean_iou") == [(1, 0.25)]  # NaN is not recorded
    assert (run.data.tags["fingerprint"], run.data.tags["record"]) == (who.fingerprint, "rebuilt")
    (artifact,) = mlflow.MlflowClient().list_artifacts(run_id, "model")
    assert artifact.path == "model/seed_0.keras"


def test_a_run_is_not_rebuilt_without_its_model() -> None:
    who = finished(identity())
    who.model.unlink()
    with pytest.raises(
        InputError, match=r"seed_0.keras is missing, as in a fresh clone: run `dvc pull`, or `dvc repro"
    ):
        tracking.reconcile("mars", [who])
    assert not all_runs()


def test_a_clock_that_is_set_back_makes_no_run_end_before_it_began_and_hides_no_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(2, {"loss": 1.0})
        monkeypatch.setattr(time, "time", lambda: now - 3600)
    tracking.reconcile("mars", [finished(identity())])
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    tracking.reconcile("mars", [finished(identity(), test_mean_iou=0.25)])
    (run,) = all_runs()
    assert run.info.end_time >= run.info.start_time
    assert run.data.metrics["test_mean_iou"] == 0.25


def test_other_runs_are_superseded_but_not_those_under_way() -> None:
    old, new = identity(data_hash="f" * 64), identity()
    tracking.reconcile("mars", [finished(old)])
    with tracking.training_run(identity("mars-unet_final"), ""):
        tracking.reconcile("mars", [finished(new)])
        found = {run.data.tags["fingerprint"]: run.data.tags["status"] for run in all_runs()}
    under_way = identity("mars-unet_final").fingerprint
    assert found == {old.fingerprint: "superseded", new.fingerprint: "current", under_way: "current"}


def test_a_superseded_run_whose_data_return_is_current_again() -> None:
    old, new = identity(data_hash="f" * 64), identity()
    first = tracking.reconcile("mars", [finished(old)])
    tracking.reconcile("mars", [finished(new)])
    assert tracking.reconcile("mars", [finished(old)]) == first
    found = {run.data.tags["fingerprint"]: run.data.tags["status"] for run in all_runs()}
    assert found == {old.fingerprint: "current", new.fingerprint: "superseded"}


def test_a_store_of_an_older_mlflow_is_migrated_and_keeps_its_runs() -> None:
    before = tracking.reconcile("mars", [finished(identity())])
    (paths.mlflow() / "prepared").write_text("0")
    tracking.check("mars")
    assert [run.info.run_id for run in all_runs()] == list(before.values())
    assert (paths.mlflow() / "prepared").read_text() == importlib.metadata.version("mlflow")


def test_the_report_run_is_one_and_stays_current(project: Path) -> None:
    (project / "page.html").write_text("old")
    tracking.log_report("mars", [Path("page.html")])
    (project / "page.html").write_text("new")
    tracking.log_report("mars", [Path("page.html")])
    tracking.reconcile("mars", [])
    (run,) = all_runs()
    assert (run.info.run_name, run.info.status, run.data.tags["status"]) == ("report", "FINISHED", "current")
    assert Path(mlflow.MlflowClient().download_artifacts(run.info.run_id, "page.html")).read_text() == "new"


def test_a_model_is_recorded_with_its_signature() -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((8, 16, 1)), keras.layers.Conv2D(5, 1)])
    with tracking.training_run(identity(), "") as live:
        live.log_model(model)
    (run,) = all_runs()
    assert run.info.status == "FINISHED"
    (logged,) = mlflow.search_logged_models([run.info.experiment_id], output_format="list")
    signature = mlflow.models.get_model_info(logged.model_uri).signature
    assert signature.inputs.inputs[0].shape == (-1, 8, 16, 1)
    assert signature.outputs.inputs[0].shape == (-1, 8, 16, 5)


def test_the_summary_of_a_run_is_flat_and_holds_numbers_only() -> None:
    training = {"fingerprint": "f" * 64, "best_epoch": 3, "val_mean_iou": 0.5}
    scores = {"mean_iou": 0.25, "per_class": {"big rock": {"iou": 0.125}}, "confusion": [[1]]}
    expected = {"best_epoch": 3, "best_val_mean_iou": 0.5, "test_mean_iou": 0.25, "test_iou_big_rock": 0.125}
    assert runs.summary(training, scores) == expected


def test_classes_of_any_name_become_metrics_that_mlflow_takes() -> None:
    names = [
        "immature (IG)",
        "mono & macro",
        "mono  macro",
        "50% band",
        "(+)",
        "(-)",
        "lymphoïd",
        "a.b-c",
        "x_10",
        "x",
        " x",
    ]
    summary = runs.summary({}, {"per_class": {name: {"iou": number} for number, name in enumerate(names)}})
    assert list(summary.values()) == list(range(len(names)))
    for name in summary:
        mlflow.entities.Metric(name, 0.0, 0, 0)
        mlflow.utils.validation._validate_metric_name(name)
    assert list(summary)[:2] == ["test_iou_immature_IG", "test_iou_mono_macro"]


def test_a_search_is_a_run_with_a_nested_run_per_trial() -> None:
    tracking.log_study("mars", TUNING)
    before = snapshot()
    tracking.log_study("mars", TUNING)
    assert snapshot() == before
    parent, *_ = [run for run in all_runs() if "mlflow.parentRunId" not in run.data.tags]
    assert parent.data.metrics["best_score"] == 0.75
    assert parent.data.metrics["importance_learning_rate"] == 0.75
    assert parent.data.tags["chosen"] == "reference"
    nested = {run.data.tags["trial"]: run for run in all_runs() if "mlflow.parentRunId" in run.data.tags}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {parent.info.run_id}
    assert [nested[number].data.tags["state"] for number in "0123"] == ["complete", "complete", "pruned", "failed"]
    assert nested["0"].data.params == {"learning_rate": "0.001", "schedule": "cosine", "warmup": "0.1"}
    assert history(nested["0"].info.run_id, "score") == [(1, 0.3), (2, 0.5)]
    assert [run.data.metrics.get("best_score") for _, run in sorted(nested.items())] == [0.5, 0.75, 0.25, None]
    assert nested["3"].info.status == "FAILED"
    assert "not finite" in nested["3"].data.tags["failure"]


def test_a_trial_that_was_half_recorded_is_recorded_anew() -> None:
    tracking.check("mars")
    client = mlflow.MlflowClient()
    tags = {"study": TUNING["study"], "trial": "0", "status": "tuning"}
    half = client.create_run(client.get_experiment_by_name("mars").experiment_id, tags=tags).info.run_id
    tracking.log_study("mars", TUNING)
    of_trial = [run for run in all_runs() if run.data.tags.get("trial") == "0"]
    assert {run.info.run_id == half: run.data.tags["status"] for run in of_trial} == {
        True: "superseded",
        False: "tuning",
    }


def test_another_search_supersedes_the_one_before() -> None:
    tracking.log_study("mars", TUNING)
    tracking.log_study("mars", {**TUNING, "study": "another", "trials": TUNING["trials"][:1]})
    states = {(run.data.tags["study"], run.data.tags["status"]) for run in all_runs()}
    assert states == {(TUNING["study"], "superseded"), ("another", "tuning")}


def test_no_search_leaves_no_run() -> None:
    tracking.check("mars")  # creates the experiment
    tracking.log_study("mars", {"variant": "mars-unet_final", "trials": [], "chosen": "reference", "values": {}})
    assert all_runs() == []


def test_the_address_of_the_current_runs_finds_them_best_first() -> None:
    second = finished(identity("mars-unet_final"), test_mean_iou=0.75)
    tracking.reconcile("mars", [finished(identity(data_hash="f" * 64)), second])
    tracking.reconcile("mars", [finished(identity()), second])
    tracking.log_study("mars", TUNING)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("mars").experiment_id
    shown = ui.pages(tasks.make("mars", params.load()), experiment, [])
    assert list(shown) == ["current runs", "searches"]
    assert {page.partition("?")[0] for page in shown.values()} == {f"/#/experiments/{experiment}/runs"}

    def found(page: str) -> list[str]:
        query = dict(parse_qsl(page.partition("?")[2], strict_parsing=True))
        assert (query["orderByAsc"], query["compareRunsMode"]) == ("false", "CHART")
        runs = client.search_runs([experiment], query["searchFilter"], order_by=[f"{query['orderByKey']} DESC"])
        return [run.info.run_name for run in runs]

    assert found(shown["current runs"]) == ["mars-unet_final-0", "mars-unet_1-0"]
    assert len(found(shown["searches"])) == 1 + len(TUNING["trials"])


def test_the_published_steps_are_compared_where_there_are_two() -> None:
    task = tasks.make("mars", params.load())
    page = ui.pages(task, "7", ["a", "b"])["the published steps side by side"]
    assert page.startswith("/#/compare-runs?")
    query = {name: json.loads(value) for name, value in parse_qsl(page.partition("?")[2])}
    assert query == {"runs": ["a", "b"], "experiments": ["7"]}
    assert list(ui.pages(task, "7", ["a"])) == ["current runs", "searches"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost:5000", True), ("10.evil.example:5000", False), ("evil.example", False), ("", False)],
)
def test_the_ui_answers_by_the_names_of_this_machine_only(
    monkeypatch: pytest.MonkeyPatch, host: str, allowed: bool
) -> None:
    """MLflow's default for --allowed-hosts has patterns such as `10.*`."""
    from mlflow.server.security_utils import is_allowed_host_header  # noqa: TID251

    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(processes, "call", lambda command, environment: started.append((command, environment)))
    ui._serve("127.0.0.1", 5000)
    ((command, environment),) = started
    assert environment["MLFLOW_BACKEND_STORE_URI"] == store.uri()
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert is_allowed_host_header(command[command.index("--allowed-hosts") + 1].split(","), host) == allowed


@pytest.fixture
def entry() -> Entry:
    """An entry of the registry: a model of one seed, and what is recorded about it."""
    keras = pytest.importorskip("keras")
    from terracyte.models.serialization import write_model

    file = paths.model("mars", "mars-unet_1", 0)
    write_model(file, keras.Sequential([keras.Input((8, 16, 1)), keras.layers.Conv2D(5, 1)]))
    about = {
        "variant": "mars-unet_1",
        "seeds": [0],
        "fingerprints": [identity().fingerprint],
        "data_hash": DATA_HASH,
        "metric": "mean_iou",
        "score": 0.5,
        "score_low": 0.4,
        "score_high": 0.6,
        "validation": {"metric": "mean_iou", "score": 0.55},
    }
    both = ("champion", "candidate")
    return Entry(aliases=both, about=about, models=(file,), description="It was the first.", card="# Card")


def registered() -> list[tuple[str, str, list[str], str]]:
    """Return number, run, aliases and description of each version."""
    client = mlflow.MlflowClient()
    versions = [client.get_model_version("terracyte-mars", each.version) for each in client.search_model_versions()]
    return sorted((str(each.version), each.run_id, sorted(each.aliases), each.description) for each in versions)


def test_the_champion_is_a_version_that_can_be_loaded_and_knows_its_training(entry: Entry) -> None:
    current = tracking.reconcile("mars", [finished(identity())])
    assert registry.register("mars", [entry]) == {"champion": "1", "candidate": "1"}
    ((_, run_id, aliases, description),) = registered()
    assert run_id == current["mars-unet_1", 0]
    assert (aliases, description) == (["candidate", "champion"], "It was the first.")
    model = mlflow.pyfunc.load_model("models:/terracyte-mars@champion")
    assert model.predict(np.zeros((2, 8, 16, 1), np.float32)).shape == (2, 8, 16, 5)
    with pytest.raises(mlflow.MlflowException, match="does not match expected shape"):
        model.predict(np.zeros((2, 8, 15, 1), np.float32))
    (holder,) = [run for run in all_runs() if run.data.tags.get("kind") == "champion"]
    assert (holder.info.run_name, holder.data.tags["status"]) == ("champion mars-unet_1", "current")
    assert holder.data.metrics["test_mean_iou_low"] == 0.4
    assert Path(mlflow.MlflowClient().download_artifacts(holder.info.run_id, "card.md")).read_text() == "# Card"


def known_of_store(uri: str) -> Any:
    """Return all that a store knows, without its own ids, times and file locations."""
    client = mlflow.MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("mars").experiment_id
    runs = client.search_runs([experiment], "tags.status != 'superseded'")
    own = (
        "mlflow.parentRunId",
        "mlflow.source.name",
        "mlflow.log-model.history",
        "record",
        "code",
        "git_commit",
        "git_dirty",
    )
    described = [
        (
            run.info.run_name,
            run.info.status,
            {key: value for key, value in run.data.tags.items() if key not in own},
            run.data.params,
            run.data.metrics,
            [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "loss")],
            [each.dataset.digest for each in run.inputs.dataset_inputs],
        )
        for run in runs
    ]
    (model,) = client.search_registered_models()
    versions = [client.get_model_version(model.name, number) for number in model.aliases.values()]
    models = [
        (each.description, each.aliases, {key: each.tags[key] for key in ("fingerprints", "form", "variant")})
        for each in versions
    ]
    return sorted(described, key=repr), model.name, model.aliases, models


def test_another_store_gets_the_same_record_from_dvc(
    entry: Entry, migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(migrated / "mlflow.db", tmp_path / "server.db")
    trainings = [finished(identity()), finished(identity("mars-unet_final"))]
    with tracking.training_run(identity(), "plain U-Net") as live:  # recorded while it was trained
        live.log_epoch(1, {"loss": 2.0, "val_mean_iou": 0.25})
        live.log_epoch(2, {"loss": 1.0})

    def record() -> None:
        tracking.reconcile("mars", trainings)
        tracking.log_study("mars", TUNING)
        registry.register("mars", [entry])

    record()
    own = known_of_store(store.uri())
    monkeypatch.setenv(store.SERVER, f"sqlite:///{tmp_path / 'server.db'}")
    record()
    assert known_of_store(store.uri()) == own
    for run in all_runs():
        if "fingerprint" in run.data.tags:
            assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["model"]
    model = mlflow.pyfunc.load_model("models:/terracyte-mars@champion")
    assert model.predict(np.zeros((2, 8, 16, 1), np.float32)).shape == (2, 8, 16, 5)


def test_registering_twice_changes_nothing_and_a_wiped_store_is_made_again(entry: Entry, migrated: Path) -> None:
    records = [finished(identity())]
    tracking.reconcile("mars", records)
    registry.register("mars", [entry])
    before = snapshot(), registered()
    tracking.reconcile("mars", records)
    registry.register("mars", [entry])
    assert (snapshot(), registered()) == before
    shutil.rmtree(paths.mlflow())
    shutil.copytree(migrated, paths.mlflow())
    tracking.reconcile("mars", records)
    registry.register("mars", [entry])
    (version,) = registered()
    assert (version[0], version[2:]) == (before[1][0][0], before[1][0][2:])


def test_a_refused_candidate_and_a_new_champion_move_the_aliases(entry: Entry) -> None:
    both = {**entry.about, "variant": "mars-both", "seeds": [0, 1], "fingerprints": ["a" * 64, "b" * 64]}
    champion = dataclasses.replace(entry, aliases=("champion",))
    refused = Entry(aliases=("candidate",), about=both, models=entry.models * 2, description="It is no better.")
    registry.register("mars", [champion, refused])
    assert [(version, aliases) for version, _, aliases, _ in registered()] == [
        ("1", ["champion"]),
        ("2", ["candidate"]),
    ]
    # two seeds make one model: its source is a run of its own, not one seed's
    kinds = {run.info.run_id: run.data.tags["kind"] for run in all_runs()}
    assert kinds[registered()[1][1]] == "candidate"
    shown = np.ones((1, 8, 16, 1), np.float32)
    logits = [mlflow.pyfunc.load_model(f"models:/terracyte-mars@{alias}").predict(shown) for alias in kinds.values()]
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-5)
    # later the candidate wins
    won = dataclasses.replace(refused, aliases=("champion", "candidate"), description="Better.", card="# New")
    registry.register("mars", [won])
    assert [each[2:] for each in registered()] == [([], "It was the first."), (["candidate", "champion"], "Better.")]
    assert sorted(run.data.tags["status"] for run in all_runs()) == ["current", "superseded"]
    # there is no champion any more
    registry.register("mars", [refused])
    assert [each[2] for each in registered()] == [[], ["candidate"]]


def test_a_champion_is_registered_as_it_is_served(entry: Entry, champions_template: Path) -> None:
    shutil.copytree(champions_template / "data", "data", dirs_exist_ok=True)
    folder = paths.champion("mars")
    bare = dataclasses.replace(entry, aliases=("candidate",))
    registry.register("mars", [bare])
    whole = dataclasses.replace(entry, folder=folder)
    registry.register("mars", [whole])
    registry.register("mars", [whole])
    assert [(version, aliases) for version, _, aliases, _ in registered()] == [
        ("1", []),
        ("2", ["candidate", "champion"]),
    ]
    model = mlflow.pyfunc.load_model("models:/terracyte-mars@champion")
    (answer,) = model.predict(np.zeros((1, 32, 32, 1), np.float32))
    assert set(answer) == {"confidence", "unfamiliar", "shares", "mask"}
    # another calibration makes another version
    files.write_json(folder / "calibration.json", {"temperature": 3.0})
    registry.register("mars", [whole])
    assert registered()[2][2] == ["candidate", "champion"]


def test_variants_of_one_configuration_have_runs_of_their_own() -> None:
    twin = Identity(row=dataclasses.replace(identity().row, variant="mars-twin"), seed=0)
    assert twin.fingerprint == identity().fingerprint
    current = tracking.reconcile("mars", [finished(identity()), finished(twin)])
    assert len(set(current.values())) == 2
    assert tracking.reconcile("mars", [finished(identity()), finished(twin)]) == current


def test_a_run_that_was_killed_after_its_last_epoch_is_none_of_a_finished_training() -> None:
    with contextlib.suppress(KeyboardInterrupt), tracking.training_run(identity(), "") as live:
        live.log_epoch(2, {"loss": 1.0})
        raise KeyboardInterrupt
    (run,) = tracking.reconcile("mars", [finished(identity())]).values()
    assert history(run, "loss") == [(1, 2.0), (2, 1.0)]


def test_the_published_score_is_a_tag() -> None:
    first, second = finished(identity()), finished(identity("mars-unet_final"))
    current = tracking.reconcile("mars", [first, dataclasses.replace(second, published=0.7322)])
    published = {run.info.run_id: run.data.tags["published"] for run in all_runs()}
    assert [published[run] for run in current.values()] == ["no", "0.7322"]


def test_a_run_knows_its_commit_and_whether_tracked_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    Path("tracked").touch()
    commit()
    Path("untracked").touch()
    clean = {"git_commit": git("rev-parse", "HEAD"), "git_dirty": "false"}
    assert git_tags() == clean
    Path("tracked").write_text("other")
    assert git_tags() == clean | {"git_dirty": "true"}


def test_an_experiment_in_a_folder_has_a_record_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "stages").mkdir()
    assert (store.experiment_name("mars"), store.model_name("mars")) == ("mars", "terracyte-mars")
    (project / "real").mkdir()
    monkeypatch.chdir(project / "real")
    assert (store.experiment_name("mars"), store.model_name("mars")) == ("real/mars", "terracyte-real-mars")
    assert store.database().resolve() == project / "data/mlflow/mlflow.db"


def test_a_curve_of_many_points_is_rebuilt_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking.runs, "_BATCH", 2)
    current = tracking.reconcile("mars", [finished(identity())])
    assert history(current["mars-unet_1", 0], "loss") == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize("record", [LIVE, tracking.CLUSTER])
def test_only_what_runs_here_has_this_machines_figures(record: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    start = mlflow.start_run

    def start_run(run_id: str, log_system_metrics: bool) -> Any:
        asked.append(log_system_metrics)
        return start(run_id)

    monkeypatch.setattr(mlflow, "start_run", start_run)
    with tracking.training_run(identity(), "", record):
        pass
    assert asked == [record == LIVE]
    assert [run.data.tags["record"] for run in all_runs()] == [record]


def test_a_full_disk_leaves_a_later_seed_without_a_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tracking.runs, "_begin", fail)
    with tracking.training_run(identity(), "", required=False) as live:
        live.log_epoch(1, {"loss": 2.0})
    assert "warning: mars-unet_1 seed 0: [Errno 28] full" in capsys.readouterr().err


def test_a_run_that_ended_almost_the_same_is_not_taken_for_the_training() -> None:
    with tracking.training_run(identity(), "") as live:
        live.log_epoch(2, {"loss": 1.001})
    current = tracking.reconcile("mars", [finished(identity())])
    assert history(current["mars-unet_1", 0], "loss") == [(1, 2.0), (2, 1.0)]


def test_the_values_of_a_search_are_a_tag() -> None:
    values = {"learning_rate": 2e-3, "schedule": "constant"}
    tracking.log_study("mars", {**TUNING, "chosen": "winner", "values": values})
    (parent,) = (run for run in all_runs() if "trial" not in run.data.tags)
    assert json.loads(parent.data.tags["values"]) == values


def test_the_report_run_holds_every_file_and_links_to_the_first(project: Path) -> None:
    for name in ("page.html", "table.csv"):
        (project / name).write_text(name)
    tracking.log_report("mars", [Path("page.html"), Path("table.csv")])
    (run,) = all_runs()
    listed = mlflow.MlflowClient().list_artifacts(run.info.run_id)
    assert sorted(file.path for file in listed) == ["page.html", "table.csv"]
    assert f"/runs/{run.info.run_id}/artifacts/page.html)" in run.data.tags["mlflow.note.content"]


def test_a_server_of_a_model_is_told_what_to_install() -> None:
    installed = models.requirements()
    for name in ("keras", "numpy"):
        assert f"{name}=={importlib.metadata.version(name)}" in installed
    assert any(each.startswith("tensorflow") for each in installed)


def test_readers_and_a_writer_of_the_database_do_not_block_each_other() -> None:
    with contextlib.closing(sqlite3.connect(store.database())) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    store.prepare()
    with contextlib.closing(sqlite3.connect(store.database())) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_of_unknown_version_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    migrated: list[Path] = []
    monkeypatch.setattr(store, "_migrate", migrated.append)
    (paths.mlflow() / "prepared").unlink()
    store.prepare()
    assert migrated == [store.database()]
    assert (paths.mlflow() / "prepared").read_text() == importlib.metadata.version("mlflow")


def test_a_run_says_what_its_network_started_from() -> None:
    row = identity().row
    started = dataclasses.replace(row, starts=(dataclasses.replace(row.starts[0], initialisation=IMAGENET),))
    with tracking.training_run(Identity(row=started, seed=0), ""):
        pass
    assert [run.data.tags["initialisation"] for run in all_runs()] == [IMAGENET]


def test_the_ui_shows_an_experiment_as_one_of_trainings() -> None:
    tracking.check("mars")
    assert mlflow.get_experiment_by_name("mars").tags["mlflow.experimentKind"] == "custom_model_development"
