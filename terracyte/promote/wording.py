"""What was found, in sentences with their figures: for the record, the card and the registry alike."""

from collections.abc import Mapping
from typing import Any

from terracyte.params import Promote
from terracyte.promote.behaviour import BATCH, BRIGHTNESS, EMPTY, FLIPS
from terracyte.rendering import formats
from terracyte.tasks.task import Task

Figures = Mapping[str, Any]

_ORDER = (FLIPS, BRIGHTNESS, EMPTY, BATCH)


def comparison(champion: str, found: Figures, bounds: Promote) -> tuple[bool, str]:
    """Whether the candidate is better by the paired test; see `contest.compare`.

    Args:
        champion: name of the champion's variant.
        found: the comparison.
        bounds: its level of significance.
    """
    won = found["difference"] > 0 and found["p_value"] < bounds.significance
    gained = formats.difference(found["difference"], found["low"], found["high"])
    against = f"{formats.percent(found['candidate'])} against {formats.percent(found['champion'])} %"
    verdict = "Better than" if won else "Not better than"
    bound = "" if found["p_value"] < bounds.significance else f", not below {bounds.significance:g}"
    return won, (
        f"{verdict} the champion {champion} on the {found['images']} test images that both were tested on: "
        f"{formats.words(found['metric'])} {against}, {gained} points, p {_p(found['p_value'])}{bound}."
    )


def classes(task: Task, found: Figures, bounds: Promote) -> tuple[bool, str]:
    """Whether no class falls by more than the bound; see `contest.compare`."""
    falls = {name: scores["champion"] - scores["candidate"] for name, scores in found["classes"].items()}
    worst = max(falls, key=lambda name: falls[name])
    # the scores have six decimals, and so has their difference
    held = round(falls[worst], 6) <= bounds.class_drop
    score, fall = formats.words(task.class_headline), formats.percent(falls[worst])
    allowed = formats.percent(bounds.class_drop)
    if falls[worst] <= 0:
        return True, f"No class's {score} falls."
    if held:
        return True, f"No class's {score} falls by more than {allowed} points; that of {worst} falls most, by {fall}."
    return False, f"The {score} of {worst} falls by {fall} points; {allowed} are allowed."


def behaviour(found: Mapping[str, Figures]) -> list[tuple[bool, str]]:
    """Each behaviour test, and whether it was passed; see `behaviour.examine`."""
    told = [(found[name]["passed"], _behaviour(name, found[name])) for name in _ORDER if name in found]
    if FLIPS in found:
        return told
    return [(True, "Mirror images are not tried: the reference's flip is none."), *told]


def _behaviour(name: str, found: Figures) -> str:
    if name == EMPTY:
        verdict = "give" if found["passed"] else "do not give"
        return f"Black, grey and white images {verdict} finite outputs, valid probabilities and an allowed class."
    negated = "" if found["passed"] else "not "
    if name == BATCH and found["figure"] is None:
        return "Alone or in a batch, an image's outputs are not finite."
    if name == BATCH:
        bound = f"{negated}at most {found['bound']:g}"
        return f"Alone and in a batch, an image's outputs differ by {found['figure']:g} ({bound})."
    what = "Mirror images" if name == FLIPS else "Slightly darker and lighter images"
    share, bound = formats.percent(found["figure"]), f"{negated}at least {formats.percent(found['bound'])}"
    return f"{what} keep {share} % of the decisions ({bound})."


def _p(value: float) -> str:
    shown = formats.p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"
