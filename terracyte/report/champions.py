"""The champion and the latest decision, taken from DVC's outputs for the page and for MLflow's registry."""

from collections.abc import Mapping
from typing import Any

from terracyte.core import files, metric_files, paths
from terracyte.core.errors import InputError
from terracyte.promote import checks, wording
from terracyte.promote.champion import CARD, MODEL, RECORD, read_decision, read_record, restoring, same_trainings
from terracyte.serve import registry
from terracyte.serve.registry import CANDIDATE, CHAMPION, Entry
from terracyte.tasks.task import Task


def outcome(task: Task) -> dict[str, Any]:
    """Return the latest decision of `promote.decision.promote`.

    Raises:
        InputError: nothing was decided yet, or the champion's folder does not hold the champion of this decision.
    """
    command = f"`dvc repro promote@{task.name}`"
    path, folder = paths.promotion(task.name), paths.champion(task.name)
    if not path.exists():
        raise InputError(f"{path} is missing: run {command}")
    decided = read_decision(task.name)
    about = folder / RECORD
    found = read_record(folder) if about.exists() else {"variant": None}
    if found != decided["champion"]:
        raise InputError(f"{folder} does not hold the champion of {path}: run `dvc checkout {folder}` or {command}")
    return decided


def card(task: Task) -> str:
    """Return the champion's model card, in Markdown; "" if there is no champion."""
    path = paths.champion(task.name) / CARD
    if not path.exists():
        return ""
    with restoring(path.parent):
        return files.read_text(path)


def register(task: Task) -> None:
    """Register the champion, and the candidate if it was refused; see `serve.registry.register`.

    Raises:
        InputError: see `outcome` and `serve.registry.register`; or the refused candidate was trained again since.
    """
    decided = outcome(task)
    champion, candidate = decided["champion"], decided["candidate"]
    if champion["variant"] is None:
        registry.register(task.name, [_refused(task, decided)])
    elif same_trainings(champion, candidate):
        registry.register(task.name, [_champion(task, champion, (CHAMPION, CANDIDATE))])
    else:
        registry.register(task.name, [_champion(task, champion, (CHAMPION,)), _refused(task, decided)])


def _champion(task: Task, about: Mapping[str, Any], aliases: tuple[str, ...]) -> Entry:
    head = f"Champion: `{about['variant']}`, which validated best."
    behaviour = wording.sentences(checks.from_record(about["behaviour"]))
    text, folder = _listed(head, [*about["reasons"], *behaviour]), paths.champion(task.name)
    models = (folder / MODEL,)
    return Entry(aliases=aliases, about=about, models=models, description=text, card=card(task), folder=folder)


def _refused(task: Task, decided: Mapping[str, Any]) -> Entry:
    about = decided["candidate"]
    path = paths.training(task.name, about["variant"])
    trained = metric_files.read(path, {str: {"fingerprint": str}}) if path.exists() else {}
    if [trained.get(str(seed), {}).get("fingerprint") for seed in about["seeds"]] != about["fingerprints"]:
        raise InputError(
            f"{paths.promotion(task.name)} belongs to other trainings: run `dvc repro promote@{task.name}`"
        )
    head = f"Candidate, refused: `{about['variant']}`, which validated best."
    models = tuple(paths.model(task.name, about["variant"], seed) for seed in about["seeds"])
    return Entry(aliases=(CANDIDATE,), about=about, models=models, description=_listed(head, decided["reasons"]))


def _listed(head: str, reasons: list[str]) -> str:
    return "\n".join([head, "", *(f"- {reason}" for reason in reasons)])
