"""Champion and candidate: the best variant by validation replaces the champion only if it is better, and sound.

The champion is what lies in `data/<task>/champion`, a DVC output that no run removes; the record in
`metrics/<task>/promotion.json`, which git keeps, says who it should be. Where the folder is missing or of another
model (a fresh clone, another branch), the recorded champion is made again from its variant, if that is still there.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from terracyte.core import files, paths
from terracyte.core.errors import InputError
from terracyte.evaluate import predictions, ranking
from terracyte.models import seed_ensemble
from terracyte.params import Params
from terracyte.params import row as resolved
from terracyte.params.row import data_hash
from terracyte.promote import behaviour, comparison, contenders, wording
from terracyte.promote.contenders import BEHAVIOUR, REASONS, Contender
from terracyte.tasks.task import Task

_NOBODY = {"variant": None}
_ALONE = "the candidate only has to pass its own tests."
_SHORT = 12  # hex digits of a fingerprint, as in the tables

Training = Mapping[str, Mapping[int, Mapping[str, Any]]]
Told = list[tuple[bool, str]]  # sentences, and whether what they tell speaks for the candidate


def promote(task: Task, settings: Params) -> dict[str, Any]:
    """Decide about the best variant by validation, and bring `data/<task>/champion` up to date.

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
    training = {name: predictions.trained(resolved.read(task.name, name)) for name in settings.rows_of(task.name)}
    candidate = contenders.of_variant(task, settings, rows, ranking.best_variant(task, training))
    before = _record(task.name)
    champion, lost = _present(task, settings, rows, training, before)
    if champion is not None and candidate.is_same(champion.about):
        names = {key: candidate.about[key] for key in ("variant", "title")}
        champion = dataclasses.replace(champion, about={**champion.about, **names})
        outcome = _stays(champion, candidate, before)
    else:
        champion, outcome = _decide(task, settings, rows, candidate, champion, lost)
    _keep(task, settings, champion, rows)
    return {**outcome, "history": _history(outcome, before)}


def describe(outcome: Mapping[str, Any]) -> str:
    """What was decided, in one line."""
    champion, candidate = outcome["champion"]["variant"], outcome["candidate"]["variant"]
    if not outcome["against"]:
        return f"{candidate} is champion: {outcome['reasons'][0]}"
    return f"{candidate} is refused ({champion or 'nobody'} is champion): {' '.join(outcome['against'])}"


def _record(task: str) -> dict[str, Any]:
    path = paths.promotion(task)
    try:
        record: dict[str, Any] = files.read_json(path) if path.exists() else {}
        if record:
            _short(record)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it with `git checkout {path}`") from error
    return record


def _present(
    task: Task, settings: Params, rows: pd.DataFrame, training: Training, before: Mapping[str, Any]
) -> tuple[Contender | None, str]:
    """The present champion, and what to tell if it is not the recorded one."""
    found, recorded = contenders.standing(task.name), before.get("champion", _NOBODY)
    if recorded["variant"] is None or (found is not None and found.is_same(recorded)):
        return found, ""
    if (variant := _trained_alike(training, recorded)) is not None:
        again = contenders.of_variant(task, settings, rows, variant)
        why = {key: recorded[key] for key in (REASONS, BEHAVIOUR)}
        return dataclasses.replace(again, about={**again.about, **why}), ""
    folder, name = paths.champion(task.name), recorded["variant"]
    if found is None:
        return None, f"The champion {name} is lost: {folder} is empty and no declared variant has its fingerprints."
    return found, f"{folder} holds {found.about['variant']}, not {name} of the record, which cannot be made again."


def _trained_alike(training: Training, recorded: Mapping[str, Any]) -> str | None:
    """The declared variant with the recorded fingerprints; of several, the one with the recorded name."""
    wanted, name = sorted(recorded["fingerprints"]), recorded["variant"]
    alike = [each for each, runs in training.items() if sorted(run["fingerprint"] for run in runs.values()) == wanted]
    return name if name in alike else next(iter(alike), None)


def _stays(champion: Contender, candidate: Contender, before: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate is the champion: why it became champion stays as it was told."""
    people = {"champion": champion.about, "candidate": candidate.about}
    if before and champion.is_same(before["candidate"]):
        return {**before, **people}
    told = "The candidate is the champion already."
    checks = {"comparison": None, BEHAVIOUR: champion.about[BEHAVIOUR]}
    return {**people, "promoted": False, "reasons": [told], "against": [], "checks": checks}


def _decide(
    task: Task, settings: Params, rows: pd.DataFrame, candidate: Contender, champion: Contender | None, lost: str
) -> tuple[Contender | None, dict[str, Any]]:
    """Who is champion from now on, and the decision."""
    bounds = settings.promote[task.name]
    found, told = _compared(task, settings, rows, candidate, champion)
    reasons = [(True, lost)] * bool(lost) + told
    flip: Any = settings.reference[task.name].get("flip", "none")
    with seed_ensemble.model_file(candidate.models) as model:
        tests = behaviour.examine(task, model, behaviour.shown(task, bounds.images), flip, bounds)
    said = [*reasons, *wording.behaviour(tests)]
    promoted = all(passed for passed, _ in said)
    if promoted:
        why = {REASONS: [sentence for _, sentence in reasons], BEHAVIOUR: tests}
        champion = dataclasses.replace(candidate, about={**candidate.about, **why})
    return champion, {
        "champion": _NOBODY if champion is None else champion.about,
        "candidate": candidate.about,
        "promoted": promoted,
        "reasons": [sentence for _, sentence in said],
        "against": [sentence for passed, sentence in said if not passed],
        "checks": {"comparison": found, BEHAVIOUR: tests},
    }


def _compared(
    task: Task, settings: Params, rows: pd.DataFrame, candidate: Contender, champion: Contender | None
) -> tuple[dict[str, Any] | None, Told]:
    """The comparison's figures, None where there is none, and what they mean."""
    if champion is None:
        return None, [(True, f"There is no champion to compare with: {_ALONE}")]
    name, bounds = champion.about["variant"], settings.promote[task.name]
    if why := comparison.incomparable(task, champion.about):
        return None, [(True, f"The champion {name} cannot be compared ({why}): {_ALONE}")]
    found = comparison.compare(task, rows, candidate, champion, settings.evaluate)
    if found is None:
        return None, [(True, f"The champion {name} was tested on none of the present test images: {_ALONE}")]
    found |= {"significance": bounds.significance, "class_drop": bounds.class_drop}
    return found, [wording.comparison(name, found, bounds), wording.classes(task, found, bounds)]


def _keep(task: Task, settings: Params, champion: Contender | None, rows: pd.DataFrame) -> None:
    """Write the champion's folder; one that was trained on other data stays as it is."""
    if champion is not None and champion.about["data_hash"] != data_hash(task.name):
        return
    with files.atomic_folder(paths.champion(task.name)) as folder:
        if champion is not None:
            contenders.fill(folder, task, settings, champion, rows)


def _history(outcome: Mapping[str, Any], before: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Earlier decisions, the oldest first; one that only repeats the last is none."""
    if not before:
        return []
    earlier: list[dict[str, Any]] = before["history"]
    last = _short(before)
    return earlier if json.dumps(last) == json.dumps(_short(outcome)) else [*earlier, last]


def _short(outcome: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "candidate": outcome["candidate"]["variant"],
        "fingerprints": [fingerprint[:_SHORT] for fingerprint in outcome["candidate"]["fingerprints"]],
        "champion": outcome["champion"]["variant"],
        "promoted": outcome["promoted"],
        "reasons": outcome["reasons"],
        "against": outcome["against"],
    }
