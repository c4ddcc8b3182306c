"""MLflow's model registry: each task's champion and latest candidate, one version per set of trainings and model files.

Aliases say which version is which. A version that the store lacks is created again from DVC's outputs, as the runs are.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terracyte.core import quiet
from terracyte.core.hashing import file_hash
from terracyte.promote.champion import CALIBRATION, NOVELTY
from terracyte.serve import mlflow_model
from terracyte.tracking import store
from terracyte.tracking.client import all_runs, connected, experiment_id, log_new, set_tags
from terracyte.tracking.models import log_keras

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CANDIDATE = "champion", "candidate"  # aliases, and values of `kind` on the runs that hold the models

# Tags of a version: its trainings, the hash of its files, and the run that holds its model.
_FINGERPRINTS, _FORM, _RUN = "fingerprints", "form", "run"
_LONGEST = 5000  # characters: MLflow's databases accept no longer description


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A model to be found in the registry.

    Attributes:
        aliases: the aliases that point to the model.
        about: see `promote.contenders.describe`.
        models: model files, one per seed or a single one, which are registered as one model.
        description: what `promote` decided about the model, and why.
        card: the model card; "" for none.
        folder: the champion's folder, which is registered as it is served (see `serve.mlflow_model`); None registers
            the bare network, which returns logits.
    """

    aliases: tuple[str, ...]
    about: Mapping[str, Any]
    models: tuple[Path, ...]
    description: str
    card: str = ""
    folder: Path | None = None

    @property
    def fingerprints(self) -> str:
        """The fingerprints of the model's trainings, which do not depend on the variant's name."""
        return " ".join(sorted(self.about["fingerprints"]))

    @property
    def form(self) -> str:
        """Hash of the registered files: the networks, and of a champion also its calibration and novelty detector."""
        files = self.models if self.folder is None else (*self.models, self.folder / CALIBRATION, self.folder / NOVELTY)
        return file_hash(*files)

    @property
    def key(self) -> tuple[str, str]:
        """The pair that identifies a version."""
        return self.fingerprints, self.form


def register(task: str, entries: Sequence[Entry]) -> dict[str, str]:
    """Point the aliases to these models; calling it again changes nothing.

    `models:/<name>@champion` loads the champion; see `store.model_name`.

    A version that the registry lacks is created. Its model is logged to a run of its own, since a training's run holds
    the model of one seed only.

    Args:
        task: the task of the models.
        entries: the models; no alias occurs twice. `champion` and `candidate` are removed if no entry has them.

    Returns:
        The version number of each alias.

    Raises:
        InputError: the tracking store cannot be used, or a model cannot be read.
    """
    name = store.model_name(task)
    with connected() as client:
        experiment = experiment_id(client, task)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description=f"Champion and latest candidate of task {task}.")
        versions = {entry.key: _find_or_create(client, experiment, name, entry) for entry in entries}
        aliases = {alias: str(versions[entry.key].version) for entry in entries for alias in entry.aliases}
        _set_aliases(client, name, aliases)
        entry_of_run = {versions[entry.key].tags[_RUN]: entry for entry in entries}
        for run in all_runs(client, experiment):
            if _FINGERPRINTS in run.data.tags:
                _update_run(client, run, entry_of_run.get(run.info.run_id))
    return aliases


def _find_or_create(client: "MlflowClient", experiment: str, name: str, entry: Entry) -> "ModelVersion":
    """Return the registered version of an entry, with an up-to-date description."""
    known = client.search_model_versions(f"name = '{name}'")
    wanted = {_FINGERPRINTS: entry.fingerprints, _FORM: entry.form}
    version = next((each for each in known if wanted.items() <= each.tags.items()), None)
    if version is None:
        version = _create(client, experiment, name, entry)
    description = entry.description[:_LONGEST]
    if version.description != description:
        client.update_model_version(name, version.version, description)
    return version


def _create(client: "MlflowClient", experiment: str, name: str, entry: Entry) -> "ModelVersion":
    import mlflow

    about = {key: entry.about[key] for key in ("variant", "data_hash")}
    tags = {_FINGERPRINTS: entry.fingerprints, _FORM: entry.form, **about}
    with mlflow.start_run(experiment_id=experiment, run_name=_run_name(entry), tags=tags) as run:
        model_id = _log_model(entry)
        mlflow.log_params({"variant": entry.about["variant"], "seeds": " ".join(map(str, entry.about["seeds"]))})
    trained = _trainings(client, experiment, entry)
    # a version's source is one run: with several trainings, the run that holds the joint model
    source = trained[0] if len(trained) == len(entry.about["seeds"]) == 1 else run.info.run_id
    tags = {**tags, _RUN: run.info.run_id, "trainings": " ".join(trained)}
    return client.create_model_version(name, f"models:/{model_id}", run_id=source, tags=tags, model_id=model_id)


def _log_model(entry: Entry) -> str:
    """Log an entry's model to the active run and return its id, which `models:/<id>` loads."""
    if entry.folder is not None:
        return mlflow_model.log(entry.folder)
    # Imported here: versions that the registry already holds need no Keras.
    with quiet.importing_keras():
        from terracyte.models import seed_ensemble
        from terracyte.models.serialization import read_model

    with seed_ensemble.model_file(entry.models) as model:
        return log_keras(read_model(model))


def _trainings(client: "MlflowClient", experiment: str, entry: Entry) -> list[str]:
    """Return the ids of the latest finished runs of an entry's trainings, of those that the store knows."""
    found = {
        run.data.tags["fingerprint"]: run.info.run_id
        for run in reversed(all_runs(client, experiment))
        if run.data.tags.get("fingerprint") in entry.about["fingerprints"] and run.info.status == "FINISHED"
    }
    return [found[fingerprint] for fingerprint in entry.about["fingerprints"] if fingerprint in found]


def _set_aliases(client: "MlflowClient", name: str, wanted: Mapping[str, str]) -> None:
    present = client.get_registered_model(name).aliases
    for alias, version in wanted.items():
        if str(present.get(alias)) != version:
            client.set_registered_model_alias(name, alias, version)
    for alias in {CHAMPION, CANDIDATE} & present.keys() - wanted.keys():
        client.delete_registered_model_alias(name, alias)


def _update_run(client: "MlflowClient", run: "Run", entry: Entry | None) -> None:
    """Update the tags, metrics and card of a run that holds a registered model; None marks it as superseded."""
    if entry is None:
        set_tags(client, run, {"status": "superseded"})
        return
    about, note = entry.about, (entry.card or entry.description)[:_LONGEST]
    if entry.card and run.data.tags.get("mlflow.note.content") != note:
        client.log_text(run.info.run_id, entry.card, "card.md")
    named = {"kind": entry.aliases[0], "mlflow.runName": _run_name(entry), "variant": about["variant"]}
    set_tags(client, run, {**named, "status": "current", "mlflow.note.content": note})
    scores = {f"test_{about['metric']}{end}": about[f"score{end}"] for end in ("", "_low", "_high")}
    log_new(client, run, {**scores, f"best_val_{about['validation']['metric']}": about["validation"]["score"]})


def _run_name(entry: Entry) -> str:
    return f"{entry.aliases[0]} {entry.about['variant']}"
