"""Champion and candidate: the best variant by validation replaces the champion only if it is better, and sound.

The champion is what lies in `data/<task>/champion`, a DVC output that no run removes; the record in
`metrics/<task>/promotion.json`, which git keeps, says who it should be. Where the folder is missing or of another
model (a fresh clone, another branch), the recorded champion is made again from its variant, if that is still there.
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
    """Decide about the best variant by validation, record it, and bring `data/<task>/champion` up to date.

    Args:
        task: whose.
        settings: its variants and seeds compete.

    Returns:
        What `paths.promotion` holds: `champion` (see `contenders.describe`; with `reasons` and `behaviour`, or
        `variant` None where there is none yet), `candidate`, `promoted`, `reasons` (those `against` it once more),
        `checks` with all figures, and `history`, the decisions before.

    Raises:
        InputError: a variant wasn't trained or evaluated, or a file of the champion cannot be read.
    """
    rows = predictions.test_rows(task.name)
    training = {name: predictions.trained(row.read(task.name, name)) for name in settings.rows_of(task.name)}
    candidate = contenders.of_variant(task, settings, rows, ranking.best_variant(task, training))
    before = read_decision(task.name) if paths.promotion(task.name).exists() else {}
    champion, notes = _present_champion(task, settings, rows, training, before)
    if champion is not None and same_trainings(candidate.about, champion.about):
        # the variant may have got another name since
        names = {key: candidate.about[key] for key in ("variant", "title")}
        champion = dataclasses.replace(champion, about={**champion.about, **names})
        outcome = _unchanged(champion, candidate, before, notes)
    else:
        champion, outcome = _decide(task, settings, rows, candidate, champion, notes)
    outcome["history"] = _history(outcome, before)
    if champion is not None and champion.about["data_hash"] != data_hash(task.name):
        # it stays as it is: the present data cannot calibrate it
        files.write_json(paths.promotion(task.name), outcome)
        return outcome
    with files.atomic_folder(paths.champion(task.name)) as folder:
        if champion is not None:
            contenders.write_champion(folder, task, settings, champion, rows)
        # The record comes first: after a kill in between, the recorded champion is made again. A champion without a
        # record would pass for one from before, which this candidate has not beaten.
        files.write_json(paths.promotion(task.name), outcome)
    return outcome


def describe(outcome: Mapping[str, Any]) -> str:
    """What was decided, in one line."""
    champion, candidate = outcome["champion"]["variant"], outcome["candidate"]["variant"]
    if not outcome["against"]:
        return f"{candidate} is champion: {outcome['reasons'][0]}"
    return f"{candidate} is refused ({champion or 'nobody'} is champion): {' '.join(outcome['against'])}"


def _present_champion(
    task: Task, settings: Params, rows: pd.DataFrame, training: Training, before: Mapping[str, Any]
) -> tuple[Contender | None, list[Check]]:
    """The champion to be beaten, and a note if it is not the recorded one."""
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
    """The candidate is the champion: why it became champion stays as it was told."""
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
    """Who is champion from now on, and the decision."""
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
    """Earlier decisions, the oldest first; one that only repeats the last is none."""
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
