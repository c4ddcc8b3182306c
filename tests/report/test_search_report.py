"""What the report says and shows about a search."""

from typing import Any

import pytest

from terracyte.report import search_charts, search_text
from tests.finished_project import TUNING

WINNER = {**TUNING, "chosen": "winner", "confirmation": {"seeds": [1.0], "reference": [0.5], "winner": [0.625]}}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (
            TUNING,
            "Tuning of `a-network` (4 trials of short trainings, scored by validation): trial 1 was better than the "
            "reference (75.0 against 50.0 %), but not with 2 fresh seeds (45.0 against 55.0 %): the reference stays.",
        ),
        (
            WINNER,
            "trial 1 was better than the reference, with 1 fresh seed, too (62.5 against 50.0 %). Variants take its "
            "values where they change nothing themselves: learning rate 0.002, schedule constant.",
        ),
        (
            {**TUNING, "best": {"number": 0, "score": 0.5, "values": {}}},
            "no trial was better than the reference, which",
        ),
        ({**TUNING, "trials": TUNING["trials"][1:]}, "(75.0 against no score), but not with 2 fresh seeds"),
        ({"variant": "a", "trials": [], "chosen": "reference", "values": {}}, "Not tuned: `tune.mars.trials` is 0."),
    ],
)
def test_the_outcome_in_words(outcome: dict[str, Any], expected: str) -> None:
    assert expected in search_text.note("mars", outcome)


def test_charts_show_course_importances_and_values_of_each_key() -> None:
    labels = [picture.label for picture in search_charts.charts(TUNING)]
    assert [label.split(":")[0] for label in labels] == ["History", "Importances", "Slices", "Parallel coordinates"]
    history, importances, slices, _ = search_charts.charts(TUNING)
    assert "2 complete, 1 pruned, 1 failed" in history.text
    assert importances.text == "importances: learning rate 75.0 %, schedule 25.0 %"
    assert "warmup" in slices.text
    assert [picture.uri for picture in search_charts.charts(TUNING)] == [p.uri for p in search_charts.charts(TUNING)]


def test_charts_of_a_search_with_little_in_it() -> None:
    one = {**TUNING, "trials": TUNING["trials"][:1], "importances": {}}
    assert len(search_charts.charts(one)) == 3


def test_axes_follow_the_declared_space() -> None:
    rate, schedule, _ = (search_charts._Key(name, dimension) for name, dimension in TUNING["space"].items())
    trials = TUNING["trials"]
    assert rate.relative(trials[0]) == pytest.approx(2 / 3)
    assert [schedule.relative(trial) for trial in trials[:2]] == [0, 1]
