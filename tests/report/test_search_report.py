"""What the report says and shows about a search."""

from typing import Any
from unittest.mock import MagicMock

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


def test_a_training_that_failed_in_the_confirmation_is_told() -> None:
    confirmation = {**TUNING["confirmation"], "failures": {"winner seed 2": "the loss is not finite"}}
    assert search_text.note("mars", {**TUNING, "confirmation": confirmation}).endswith(
        "but in the confirmation a training failed (winner seed 2: the loss is not finite): the reference stays."
    )


def test_the_best_so_far_never_falls_and_the_best_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = MagicMock()
    axes.get_legend_handles_labels.return_value = ([], [])
    monkeypatch.setattr(search_charts, "whole_numbers", lambda *_: None)
    monkeypatch.setattr(search_charts, "chart", lambda width, height, draw: draw(axes))
    search_charts._history(TUNING)
    assert axes.step.call_args.args == ([0, 1], [50.0, 75.0])
    assert axes.plot.call_args_list[1].args[:2] == ([2], [25.0])


def test_the_parallel_coordinates_name_the_best_score() -> None:
    assert search_charts.charts(TUNING)[-1].text == "values of each trial; the best has 75.0 %"


def test_a_linear_axis_runs_from_bound_to_bound() -> None:
    key = search_charts._Key("warmup", {"low": 0.1, "high": 0.5, "scale": "linear"})
    assert [key.relative({"values": {"warmup": value}}) for value in (0.1, 0.2, 0.5)] == pytest.approx([0, 0.25, 1])
