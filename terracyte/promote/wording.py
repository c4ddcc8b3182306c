"""Turn checks into sentences with their figures, for the record, the card and the registry alike."""

from collections.abc import Iterable

from terracyte.promote import checks
from terracyte.promote.checks import Check
from terracyte.rendering import formats

_ALONE = "the candidate only has to pass its own tests."

_FACTS = {
    checks.CHAMPION_LOST: "The champion {champion} is lost: {folder} is empty, and no row has the same trainings.",
    checks.OTHER_CHAMPION: "{folder} holds {found}, not the recorded champion {champion}, which cannot be rebuilt.",
    checks.NO_CHAMPION: f"There is no champion to compare with: {_ALONE}",
    checks.OTHER_CLASSES: f"The champion {{champion}} cannot be compared (its classes were {{classes}}): {_ALONE}",
    checks.OTHER_SHAPE: (
        "The champion {champion} cannot be compared (its images were {height}x{width} with {channels} channels): "
        + _ALONE
    ),
    checks.NO_COMMON_IMAGE: f"The champion {{champion}} was tested on none of the present test images: {_ALONE}",
}


def sentences(found: Iterable[Check]) -> list[str]:
    """Return one sentence per check, in order."""
    return [sentence(check) for check in found]


def sentence(check: Check) -> str:
    """Return a sentence that says what was found and which bound applies."""
    match check.name:
        case checks.BETTER:
            return _better(check)
        case checks.CLASS_DROP:
            return _class_drop(check)
        case checks.FLIPS | checks.BRIGHTNESS:
            return _agreement(check)
        case checks.EMPTY:
            verdict = "give" if check.passed else "do not give"
            return f"Black, grey and white images {verdict} finite outputs, valid probabilities and an allowed class."
        case checks.BATCH:
            return _difference(check)
        case _:
            return _FACTS[check.name].format_map(check.figures)


def _better(check: Check) -> str:
    figures = check.figures
    verdict = "Better than" if check.passed else "Not better than"
    scores = f"{formats.percent(figures['candidate'])} against {formats.percent(figures['champion'])} %"
    gain = formats.difference(figures["difference"], figures["low"], figures["high"])
    p = formats.p_value(figures["p_value"])
    p = p if p.startswith("<") else f"= {p}"
    bound = "" if figures["p_value"] < figures["significance"] else f", not below {figures['significance']:g}"
    return (
        f"{verdict} the champion {figures['variant']} on the {figures['images']} test images that both were tested on: "
        f"{formats.words(figures['metric'])} {scores}, {gain} points, p {p}{bound}."
    )


def _class_drop(check: Check) -> str:
    figures = check.figures
    metric, name = formats.words(figures["metric"]), figures["class"]
    decimals = 1 if check.passed else formats.telling_apart(figures["drop"], figures["bound"])
    drop, bound = (formats.percent(figures[key], decimals) for key in ("drop", "bound"))
    if figures["drop"] <= 0:
        return f"No class's {metric} falls."
    if check.passed:
        return f"No class's {metric} falls by more than {bound} points; that of {name} falls most, by {drop}."
    return f"The {metric} of {name} falls by {drop} points; {bound} are allowed."


def _agreement(check: Check) -> str:
    if check.figures["figure"] is None:
        return "Mirror images are not tested: the reference's flip is none."
    images = "Mirror images" if check.name == checks.FLIPS else "Slightly darker and lighter images"
    figure, least = check.figures["figure"], check.figures["bound"]
    decimals = 1 if check.passed else formats.telling_apart(figure, least)
    kept, bound = (formats.percent(share, decimals) for share in (figure, least))
    return f"{images} keep {kept} % of the decisions ({'' if check.passed else 'must be '}at least {bound})."


def _difference(check: Check) -> str:
    if check.figures["figure"] is None:
        return "Alone or in a batch, an image's outputs are not finite."
    bound = f"{'' if check.passed else 'must be '}at most {check.figures['bound']:g}"
    return f"Alone and in a batch, an image's outputs differ by {check.figures['figure']:g} ({bound})."
