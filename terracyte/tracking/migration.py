"""Runs, models and registry of one MLflow store → another, over MLflow's own interface.

A copy is known by a tag that names its original, so that what is there already is neither doubled nor copied again, and
a migration that was killed goes on. `terracyte.tracking.migrate` is the command.
"""

import dataclasses
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from tqdm import tqdm

from terracyte.core.errors import InputError
from terracyte.core.hashing import digest
from terracyte.tracking.client import connected, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, LoggedModel, LoggedModelOutput, Metric, Run
    from mlflow.entities.model_registry import ModelVersion

FROM = "migrated_from"  # tag of a copy: the original's id
_CONTENT = "migrated"  # tag of a whole copy: what the original was like

# what MLflow would say of each run and each file
_QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
_METRICS, _OTHERS = 1000, 100  # per request that MLflow takes at most
_MODEL = "models:/"
_ID = re.compile(r"\b[0-9a-f]{32}\b|\bm-[0-9a-f]{32}\b")


@dataclasses.dataclass(frozen=True)
class Stores:
    """Clients of both stores."""

    source: "MlflowClient"
    target: "MlflowClient"


@dataclasses.dataclass
class Copies:
    """Ids of the copies by those of the originals: of runs and of models."""

    ids: dict[str, str] = dataclasses.field(default_factory=dict)

    def translated(self, text: str) -> str:
        """The text with the copies' ids in place of the originals'."""
        return _ID.sub(lambda found: self.ids.get(found[0], found[0]), text)


def copy_experiment(stores: Stores, original: "Experiment", copies: Copies) -> str:
    """Copy an experiment's runs and models; returns the copy's id."""
    name = original.name
    found = stores.target.get_experiment_by_name(name)
    copy = found.experiment_id if found else stores.target.create_experiment(name, tags=_own(original.tags))
    runs = all_of(stores.source, original.experiment_id)
    _create_runs(stores.target, runs, copy, copies)
    known = {model.tags[FROM]: model for model in models_of(stores.target, copy) if FROM in model.tags}
    for model in models_of(stores.source, original.experiment_id):
        _copy_model(stores.target, model, known.get(model.model_id), copy, copies)
    present = {run.data.tags.get(FROM): run for run in all_of(stores.target, copy)}
    for run in tqdm(runs, desc=name, unit="run", disable=None):
        if present[run.info.run_id].data.tags.get(_CONTENT) != _digest(run):
            _copy_run(stores, run, copies)
    return str(copy)


def all_of(client: "MlflowClient", experiment: str) -> "list[Run]":
    """All runs that were not deleted, the earliest first."""
    return list(client.search_runs([experiment], max_results=50_000, order_by=["start_time ASC"]))


def models_of(client: "MlflowClient", experiment: str) -> "Iterator[LoggedModel]":
    """All models of an experiment."""
    token = None
    while True:
        found = client.search_logged_models([experiment], page_token=token)
        yield from found
        token = found.token
        if not token:
            return


def history(client: "MlflowClient", run: "Run") -> "list[Metric]":
    """Every point of every metric of a run."""
    return [point for key in run.data.metrics for point in client.get_metric_history(run.info.run_id, key)]


def content(client: "MlflowClient", run: "Run") -> dict[str, Any]:
    """What a copy must have in common with its original."""
    points = Counter(point.key for point in history(client, run))
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "points": dict(points),
        "datasets": len(run.inputs.dataset_inputs) if run.inputs else 0,
        "models": len(_outputs(run)),
        "files": sorted(files_of(client, run.info.run_id)),
    }


def files_of(client: "MlflowClient", run_id: str, folder: str | None = None) -> Iterator[tuple[str, int | None]]:
    """Path and size of a run's artifacts."""
    for each in client.list_artifacts(run_id, folder):
        if each.is_dir:
            yield from files_of(client, run_id, each.path)
        else:
            yield each.path, each.file_size


def _outputs(run: "Run") -> "Sequence[LoggedModelOutput]":
    """The models that a run made."""
    return run.outputs.model_outputs if run.outputs else ()


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without those that the target sets itself."""
    return {name: value for name, value in tags.items() if not name.startswith("mlflow.experiment.")}


def _create_runs(target: "MlflowClient", runs: "Sequence[Run]", experiment: str, copies: Copies) -> None:
    """Empty copies of all runs first: tags of one name another."""
    known = {run.data.tags[FROM]: run.info.run_id for run in all_of(target, experiment) if FROM in run.data.tags}
    for run in runs:
        original = run.info.run_id
        copy = known.get(original)
        if copy is None:
            tags = {FROM: original}
            made = target.create_run(experiment, run.info.start_time, tags, run.info.run_name)
            copy = made.info.run_id
        copies.ids[original] = copy


def _copy_run(stores: Stores, run: "Run", copies: Copies) -> None:
    """Everything of a run; a second time changes nothing, and the mark of a whole copy comes last."""
    from mlflow.entities import LoggedModelOutput, Param, RunTag

    target, copy = stores.target, copies.ids[run.info.run_id]
    params = [Param(name, value) for name, value in run.data.params.items()]
    tags = [RunTag(name, copies.translated(value)) for name, value in run.data.tags.items()]
    for part in _parts(params, _OTHERS):
        target.log_batch(copy, params=part)
    for part in _parts(tags, _OTHERS):
        target.log_batch(copy, tags=part)
    for part in _parts([_translated(point, copies) for point in history(stores.source, run)], _METRICS):
        target.log_batch(copy, metrics=part)
    if run.inputs and run.inputs.dataset_inputs:
        target.log_inputs(copy, datasets=run.inputs.dataset_inputs)
    present = {each.model_id for each in _outputs(target.get_run(copy))}
    made = [LoggedModelOutput(copies.ids[each.model_id], each.step) for each in _outputs(run)]
    if new := [each for each in made if each.model_id not in present]:
        target.log_outputs(copy, models=new)
    with downloaded(run.info.artifact_uri) as folder:
        if any(folder.iterdir()):
            target.log_artifacts(copy, str(folder))
    if run.info.status != "RUNNING":
        target.set_terminated(copy, run.info.status, run.info.end_time)
    target.set_tag(copy, _CONTENT, _digest(run))


def _copy_model(
    target: "MlflowClient", model: "LoggedModel", copy: "LoggedModel | None", experiment: str, copies: Copies
) -> None:
    """A model with its files, in which the ids of the originals become those of the copies."""
    if copy is None:
        tags = {**model.tags, FROM: model.model_id}
        run = copies.ids.get(model.source_run_id or "")
        copy = target.create_logged_model(experiment, model.name, run, tags, model.params, model.model_type)
    copies.ids[model.model_id] = copy.model_id
    if copy.status == model.status:
        return
    with downloaded(model.artifact_location) as folder:
        for file in folder.rglob("MLmodel"):
            file.write_text(copies.translated(file.read_text(encoding="utf-8")), encoding="utf-8")
        target.log_model_artifacts(copy.model_id, str(folder))
    target.finalize_logged_model(copy.model_id, model.status)


def copy_registry(stores: Stores, copies: Copies) -> None:
    """Copy registered models with their versions and aliases."""
    for model in stores.source.search_registered_models():
        if not stores.target.search_registered_models(f"name = '{model.name}'"):
            stores.target.create_registered_model(model.name, dict(model.tags), model.description)
        numbers = _copy_versions(stores, model.name, copies)
        for alias, version in stores.source.get_registered_model(model.name).aliases.items():
            present = stores.target.get_registered_model(model.name).aliases
            if str(present.get(alias)) != numbers[str(version)]:
                stores.target.set_registered_model_alias(model.name, alias, numbers[str(version)])


def versions_of(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """All versions of a registered model, the earliest first."""
    return sorted(client.search_model_versions(f"name = '{name}'"), key=lambda each: int(each.version))


def _copy_versions(stores: Stores, name: str, copies: Copies) -> dict[str, str]:
    """The number of each version's copy; they are the same where no version was deleted."""
    numbers = {each.tags[FROM]: str(each.version) for each in versions_of(stores.target, name) if FROM in each.tags}
    for version in versions_of(stores.source, name):
        if str(version.version) not in numbers:
            tags = {key: copies.translated(value) for key, value in version.tags.items()}
            source = copies.translated(version.source or "")
            copy = stores.target.create_model_version(
                name,
                source,
                run_id=copies.ids.get(version.run_id or ""),
                tags={**tags, FROM: str(version.version)},
                description=version.description,
                model_id=source.removeprefix(_MODEL) if source.startswith(f"{_MODEL}m-") else None,
            )
            numbers[str(version.version)] = str(copy.version)
    return numbers


@contextmanager
def downloaded(uri: str) -> Iterator[Path]:
    """A folder with a copy of the artifacts at `uri`, for as long as they are needed; it may be empty."""
    from mlflow.artifacts import download_artifacts

    address = urlparse(uri)
    with tempfile.TemporaryDirectory() as folder:
        # a run without artifacts has no folder
        there = address.scheme not in ("", "file") or Path(unquote(address.path)).is_dir()
        yield Path(download_artifacts(artifact_uri=uri, dst_path=folder)) if there else Path(folder)


def _translated(point: "Metric", copies: Copies) -> "Metric":
    from mlflow.entities import Metric

    model = copies.ids.get(point.model_id or "")
    return Metric(point.key, point.value, point.timestamp, point.step, model, point.dataset_name, point.dataset_digest)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _digest(run: "Run") -> str:
    """Changes with whatever MLflow's own interface tells of a run."""
    return digest(run.to_dictionary())


def migrate(server: str) -> Iterator[str]:
    """Copy the project's own store to a server and compare both; yields a line per experiment and for the registry.

    Raises:
        InputError: a store cannot be used, or the copy lacks something.
    """
    os.environ.update(_QUIET)
    with connected() as source:
        import mlflow

        target = mlflow.MlflowClient(tracking_uri=server, registry_uri=server)
        stores, copies = Stores(source, target), Copies()
        try:
            for experiment in source.search_experiments(order_by=["experiment_id ASC"]):
                if not all_of(source, experiment.experiment_id):
                    continue
                copy = copy_experiment(stores, experiment, copies)
                yield _compared(stores, experiment, copy, copies)
            # a database, which may be named in a server's place, looks for `models:/` there
            mlflow.set_tracking_uri(server)
            copy_registry(stores, copies)
            yield _compared_registry(stores)
        except mlflow.MlflowException as error:
            advice = "check the address, start it, and run the same command again: it goes on"
            raise InputError(f"{server} cannot be used ({one_line(error)}): {advice}") from error


def _compared(stores: Stores, experiment: "Experiment", copy: str, copies: Copies) -> str:
    runs, points, files = all_of(stores.source, experiment.experiment_id), 0, 0
    copied = {run.info.run_id: run for run in all_of(stores.target, copy)}
    for run in runs:
        ours, theirs = content(stores.source, run), content(stores.target, copied[copies.ids[run.info.run_id]])
        lacking = [key for key in ours if ours[key] != theirs[key]]
        if lacking:
            advice = "delete it there and run again"
            raise InputError(f"the copy of run {run.info.run_name} differs in {', '.join(lacking)}: {advice}")
        points, files = points + sum(ours["points"].values()), files + len(ours["files"])
    models = len(list(models_of(stores.source, experiment.experiment_id)))
    return f"{experiment.name}: {len(runs)} runs, {points} points of metrics, {files} files, {models} models"


def _compared_registry(stores: Stores) -> str:
    versions, aliases = 0, 0
    for model in stores.source.search_registered_models():
        theirs = stores.target.get_registered_model(model.name)
        ours = versions_of(stores.source, model.name)
        if len(ours) > len(versions_of(stores.target, model.name)) or model.aliases.keys() - theirs.aliases.keys():
            raise InputError(f"the copy of the registered model {model.name} lacks versions or aliases: run again")
        versions, aliases = versions + len(ours), aliases + len(model.aliases)
    return f"registry: {versions} versions, {aliases} aliases"
