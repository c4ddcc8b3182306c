"""The decision: the best variant by validation replaces the champion only if it is better and passes all checks.

`data/<task>/champion` holds the champion, as a DVC output that no run removes; `metrics/<task>/promotion.json`, which
is in git, records which model the champion should be. Where the folder is missing or holds another model (a fresh
clone, another branch), the recorded champion is rebuilt from its variant, if there still is one with its trainings.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from terracyte.core import files, paths
from terracyte.evaluate import predictions, ranking
from terracyte.models import seed_ensemble
from terracyte.params import Params, row
from terracyte.params.row import data_hash
from terracyte.promote import behaviour, checks, comparison, contenders, wording
from terracyte.promote.champion import read_decision, same_trainings
from terracyte.promote.checks import Check
from terracyte.promote.contenders import BEHAVIOUR, REASONS, Contender
from terracyte.tasks.task import Task

_NOBODY = {"variant": None}
_FINGERPRINT_DIGITS = 12  # as in the tables

Training = Mapping[str, Mapping[int, Mapping[str, Any]]]


def promote(task: Task, settings: Params) -> dict[str, Any]:
    """Decide whether the best variant by validation is promoted, record this, and update `data/<task>/champion`.

    Args:
        task: the task whose champion is decided on.
        settings: name the rows that compete, and the bounds of the checks.

    Returns:
        What `paths.promotion` holds: `champion` (see `contenders.describe`; with `reasons` and `behaviour`, or
        only `variant`, None, if there is no champion yet), `candidate`, `promoted`, `reasons`, `against` (those of the
        reasons that speak against the candidate), `checks` with all figures, and `history`, the earlier decisions.

    Raises:
        InputError: a variant wasn't trained or evaluated, or a file of the champion cannot be read.
    """
    rows = predictions.test_rows(task.name)
    training = {name: predictions.trained(row.read(task.name, name)) for name in settings.rows_of(task.name)}
    candidate = contenders.of_variant(task, settings, rows, ranking.best_variant(task, training))
    before = read_decision(task.name) if paths.promotion(task.name).exists() else {}
    champion, notes = _present_champion(task, settings, rows, training, before)
    if champion is not None and same_trainings(candidate.about, champion.about):
        # since then the variant may have been renamed, or evaluated again
        why = {key: champion.about[key] for key in (REASONS, BEHAVIOUR)}
        champion = dataclasses.replace(candidate, models=champion.models, about={**candidate.about, **why})
        outcome = _unchanged(champion, candidate, before, notes)
    else:
        champion, outcome = _decide(task, settings, rows, candidate, champion, notes)
    outcome["history"] = _history(outcome, before)
    if champion is not None and champion.about["data_hash"] != data_hash(task.name):
        # the champion's folder stays as it is: the present data cannot calibrate the champion
        files.write_json(paths.promotion(task.name), outcome)
        return outcome
    with files.atomic_folder(paths.champion(task.name)) as folder:
        if champion is not None:
            contenders.write_champion(folder, task, settings, champion, rows)
        # The record is written before the folder is replaced: after a kill in between, the recorded champion is
        # rebuilt. A new folder without its record would count as an earlier champion that this candidate did not beat.
        files.write_json(paths.promotion(task.name), outcome)
    return outcome


def describe(outcome: Mapping[str, Any]) -> str:
    """Return the decision in one line."""
    champion, candidate = outcome["champion"]["variant"], outcome["candidate"]["variant"]
    if not outcome["against"]:
        return f"{candidate} is champion: {outcome['reasons'][0]}"
    return f"{candidate} is refused ({champion or 'nobody'} is champion): {' '.join(outcome['against'])}"


def _present_champion(
    task: Task, settings: Params, rows: pd.DataFrame, training: Training, before: Mapping[str, Any]
) -> tuple[Contender | None, list[Check]]:
    """Return the champion to be beaten, and a note if it is not the recorded champion."""
    found, recorded = contenders.read_champion(task.name), before.get("champion", _NOBODY)
    if recorded["variant"] is None or (found is not None and same_trainings(found.about, recorded)):
        return found, []
    wanted = sorted(recorded["fingerprints"])
    alike = [name for name, runs in training.items() if sorted(run["fingerprint"] for run in runs.values()) == wanted]
    name = recorded["variant"] if recorded["variant"] in alike else next(iter(alike), None)
    again = None if name is None else contenders.of_variant(task, settings, rows, name)
    if again is not None and same_trainings(again.about, recorded):
        why = {key: recorded[key] for key in (REASONS, BEHAVIOUR)}
        return dataclasses.replace(again, about={**again.about, **why}), []
    figures = {"folder": paths.champion(task.name), "champion": recorded["variant"]}
    if found is None:
        return None, [Check(name=checks.CHAMPION_LOST, figures=figures)]
    return found, [Check(name=checks.OTHER_CHAMPION, figures={**figures, "found": found.about["variant"]})]


def _unchanged(
    champion: Contender, candidate: Contender, before: Mapping[str, Any], notes: list[Check]
) -> dict[str, Any]:
    """Return the outcome if the candidate is the champion already; the reasons for its promotion are kept."""
    contestants = {"champion": champion.about, "candidate": candidate.about}
    if before and not notes and same_trainings(champion.about, before["candidate"]):
        return {**before, **contestants}
    return {
        **contestants,
        "promoted": False,
        "reasons": [*wording.sentences(notes), "The candidate is the champion already."],
        "against": [],
        "checks": {"comparison": None, BEHAVIOUR: champion.about[BEHAVIOUR]},
    }


def _decide(
    task: Task,
    settings: Params,
    rows: pd.DataFrame,
    candidate: Contender,
    champion: Contender | None,
    notes: list[Check],
) -> tuple[Contender | None, dict[str, Any]]:
    """Return the champion from now on, and the decision."""
    compared, figures = comparison.compare(task, settings, rows, candidate, champion)
    bounds = settings.promote[task.name]
    flip: Any = settings.reference[task.name].get("flip", "none")
    with seed_ensemble.model_file(candidate.models) as model:
        images = behaviour.validation_images(task, bounds.images)
        behaved = behaviour.examine(task, model, images, flip, bounds)
    found = [*notes, *compared, *behaved]
    promoted = all(check.passed for check in found)
    if promoted:
        why = {REASONS: wording.sentences([*notes, *compared]), BEHAVIOUR: checks.to_record(behaved)}
        champion = dataclasses.replace(candidate, about={**candidate.about, **why})
    return champion, {
        "champion": _NOBODY if champion is None else champion.about,
        "candidate": candidate.about,
        "promoted": promoted,
        "reasons": wording.sentences(found),
        "against": wording.sentences(check for check in found if not check.passed),
        "checks": {"comparison": figures, BEHAVIOUR: checks.to_record(behaved)},
    }


def _history(outcome: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the earlier decisions, the oldest first, without the last one if `outcome` only repeats it."""
    if not before:
        return []
    earlier: list[dict[str, Any]] = before["history"]
    last = _summary(before)
    return earlier if last == _summary(outcome) else [*earlier, last]


def _summary(outcome: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "candidate": outcome["candidate"]["variant"],
        "fingerprints": [digits[:_FINGERPRINT_DIGITS] for digits in outcome["candidate"]["fingerprints"]],
        "champion": outcome["champion"]["variant"],
        "promoted": outcome["promoted"],
        "reasons": outcome["reasons"],
        "against": outcome["against"],
    }
