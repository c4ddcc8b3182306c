"""The record and the studies in another store: everything is there, once, whenever the copy was cut off."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terracyte.core import paths
from terracyte.core.errors import InputError
from terracyte.tracking import migrate, migration, store
from terracyte.tune import study as tuning
from tests.tracking.test_tracking import migrated as migrated  # an empty store, made once
from tests.tune import test_study as test_tuning

mlflow = pytest.importorskip("mlflow")
optuna = pytest.importorskip("optuna")


@pytest.fixture
def source(project: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the project's own store: a training with its model and files, a search, a champion."""
    for name in (store.SERVER, tuning.STORAGE):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(migrated, paths.MLFLOW)
    mlflow.set_tracking_uri(store.uri())
    os.environ.pop(store.SERVER, None)  # MLflow put it there
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("mars", artifact_location=store.artifacts("mars"), tags={"kind": "pixels"})
    run = _training(client, experiment)
    search = client.create_run(experiment, run_name="search")
    trial = client.create_run(experiment, run_name="trial 0", tags={"mlflow.parentRunId": search.info.run_id})
    client.set_terminated(trial.info.run_id, "FAILED")
    client.create_run(experiment, run_name="left behind by a killed training")
    _registry(client, experiment, run)
    return client


def _training(client: Any, experiment: str) -> str:
    entities = mlflow.entities
    run_id: str = client.create_run(experiment, run_name="mars-unet-0", tags={"fingerprint": "abc"}).info.run_id
    points = [entities.Metric("loss", 1 / step, 1_000_000 + step, step) for step in range(1, 1500)]
    client.log_batch(run_id, metrics=points[:1000], params=[entities.Param("width", "4"), entities.Param("name", "ü")])
    client.log_batch(run_id, metrics=[*points[1000:], entities.Metric("broken", float("nan"), 1, 0)])
    context = [entities.InputTag("mlflow.data.context", "training")]
    client.log_inputs(run_id, [entities.DatasetInput(entities.Dataset("mars", "0123", "local", "{}"), context)])
    client.log_text(run_id, "hello", "folder/page.html")
    client.set_terminated(run_id)
    return run_id


def _registry(client: Any, experiment: str, run_id: str) -> None:
    model = client.create_logged_model(experiment, "model", run_id, {"a": "tag"}, {"a": "parameter"})
    Path("saved").mkdir()
    Path("saved/MLmodel").write_text(f"model_id: {model.model_id}\nrun_id: {run_id}\n")
    Path("saved/weights").write_bytes(b"weights")
    client.log_model_artifacts(model.model_id, "saved")
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [mlflow.entities.LoggedModelOutput(model.model_id, 0)])
    client.create_registered_model("terracyte-mars", {"a": "tag"}, "models of mars")
    for why in ("first", "second"):
        client.create_model_version(
            "terracyte-mars",
            f"models:/{model.model_id}",
            run_id,
            tags={"run": run_id},
            description=why,
            model_id=model.model_id,
        )
    client.set_registered_model_alias("terracyte-mars", "champion", "1")
    client.set_registered_model_alias("terracyte-mars", "candidate", "2")


@pytest.fixture
def server(migrated: Path, tmp_path: Path) -> str:
    """Another store, empty."""
    shutil.copy(migrated / "mlflow.db", tmp_path / "server.db")
    return f"sqlite:///{tmp_path / 'server.db'}"


def client_of(server: str) -> Any:
    return mlflow.MlflowClient(server, server)


def runs_of(client: Any) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("mars")
    return {run.info.run_name: run for run in migration.all_of(client, experiment.experiment_id)}


def snapshot(client: Any) -> Any:
    """All that there is, ids included."""
    runs = [(run.to_dictionary(), migration.content(client, run)) for run in runs_of(client).values()]
    experiment = client.get_experiment_by_name("mars").experiment_id
    models = [model.to_dictionary() for model in migration.models_of(client, experiment)]
    return repr((runs, models, [dict(each) for each in migration.versions_of(client, "terracyte-mars")]))


def test_everything_is_there(source: Any, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.record(server)
    target = client_of(server)
    before, after = runs_of(source), runs_of(target)
    assert before.keys() == after.keys()
    for name, run in before.items():
        assert migration.content(target, after[name]) == migration.content(source, run)
        assert (after[name].info.start_time, after[name].info.end_time) == (run.info.start_time, run.info.end_time)
    training = after["mars-unet-0"]
    assert training.data.tags["fingerprint"] == "abc"
    assert training.data.tags[migration.FROM] == before["mars-unet-0"].info.run_id
    points = target.get_metric_history(training.info.run_id, "loss")
    assert [(point.step, point.value, point.timestamp) for point in points[:1]] == [(1, 1.0, 1_000_001)]
    assert training.inputs.dataset_inputs[0].dataset.digest == "0123"
    assert after["trial 0"].data.tags["mlflow.parentRunId"] == after["search"].info.run_id
    assert after["trial 0"].info.status == "FAILED"
    out = capsys.readouterr().out
    assert "mars: 4 runs, 1500 points of metrics, 1 files, 1 models" in out
    assert "registry: 2 versions, 2 aliases" in out


def test_the_registry_names_the_copies(source: Any, server: str) -> None:
    migrate.record(server)
    target = client_of(server)
    champion = target.get_model_version_by_alias("terracyte-mars", "champion")
    training = runs_of(target)["mars-unet-0"].info.run_id
    assert (int(champion.version), champion.description) == (1, "first")
    assert champion.run_id == champion.tags["run"] == training
    (model,) = migration.models_of(target, target.get_experiment_by_name("mars").experiment_id)
    assert champion.source == f"models:/{model.model_id}"
    assert (str(model.status), model.source_run_id) == ("READY", training)
    with migration.downloaded(model.artifact_location) as folder:
        assert (folder / "weights").read_bytes() == b"weights"
        assert (folder / "MLmodel").read_text() == f"model_id: {model.model_id}\nrun_id: {training}\n"


def test_twice_changes_nothing_and_what_came_later_follows(source: Any, server: str) -> None:
    migrate.record(server)
    once = snapshot(client_of(server))
    migrate.record(server)
    assert snapshot(client_of(server)) == once
    late = runs_of(source)["left behind by a killed training"].info.run_id
    source.log_metric(late, "loss", 0.5)
    source.set_terminated(late)
    migrate.record(server)
    copy = runs_of(client_of(server))["left behind by a killed training"]
    assert (copy.info.status, copy.data.metrics) == ("FINISHED", {"loss": 0.5})


@pytest.mark.parametrize("calls", [2, 5, 8, 13, 18])
def test_a_migration_cut_off_anywhere_goes_on(
    source: Any, server: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = calls

    def cut_off(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            nonlocal left
            if self.tracking_uri == server:
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return method(self, *arguments, **named)

        return call

    writing = ("create_run", "log_batch", "log_artifacts", "log_outputs", "set_terminated", "set_tag")
    models = ("create_logged_model", "log_model_artifacts", "finalize_logged_model", "create_model_version")
    with monkeypatch.context() as patch:
        for name in writing + models:
            patch.setattr(mlflow.MlflowClient, name, cut_off(getattr(mlflow.MlflowClient, name)))
        with pytest.raises(KeyboardInterrupt):
            migrate.record(server)
    migrate.record(server)
    target = client_of(server)
    assert sorted(runs_of(target)) == sorted(runs_of(source))
    assert len(migration.all_of(target, target.get_experiment_by_name("mars").experiment_id)) == 4
    assert len(list(migration.models_of(target, target.get_experiment_by_name("mars").experiment_id))) == 1
    assert len(migration.versions_of(target, "terracyte-mars")) == 2


def test_bad_input_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (store.SERVER, tuning.STORAGE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["migrate"])
    with pytest.raises(InputError, match="nowhere to migrate to"):
        migrate.main()
    with pytest.raises(InputError, match="holds no record"):
        migrate.record("http://127.0.0.1:9")


def test_a_server_out_of_reach_is_one_line(source: Any) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9 cannot be used"):
        migrate.record("http://127.0.0.1:9")


@pytest.fixture
def journal(project: Path, monkeypatch: pytest.MonkeyPatch) -> tuning.Study:
    monkeypatch.delenv(tuning.STORAGE, raising=False)
    study = test_tuning.study()
    test_tuning.run(study, 6)
    study.remember("reference", 0.5)
    return study


def test_studies_move_and_go_on(journal: tuning.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    migrate.search(address)
    migrate.search(address)
    monkeypatch.setenv(tuning.STORAGE, address)
    moved = test_tuning.study()
    assert moved.trials() == journal.trials()
    assert moved.remembered("reference") == 0.5
    assert moved.pending(8) == [6, 7]
    # the next trial is the one that the journal would have tried
    test_tuning.run(moved, 8)
    monkeypatch.delenv(tuning.STORAGE)
    test_tuning.run(journal, 8)
    assert moved.trials() == journal.trials()


def test_half_a_study_is_completed_and_another_one_refused(journal: tuning.Study, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    half = optuna.create_study(study_name=journal.name, storage=address, direction="maximize")
    half.add_trials(journal._study.get_trials()[:3])
    assert tuning.migrate(journal.name, address) == (6, 6)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    strange = optuna.create_study(study_name=journal.name, storage=other, direction="maximize")
    strange.add_trial(optuna.create_trial(value=0.1))
    with pytest.raises(InputError, match="another trial 0 of mars-a"):
        tuning.migrate(journal.name, other)
