"""The plan of the kills; the kills themselves take an hour: `python -m benchmarks.kill_test`."""

from collections import Counter
from itertools import pairwise

from benchmarks.kill_test import plan


def test_a_hundred_kills_hit_each_stage_at_least_three_times_and_spread_over_its_time() -> None:
    stages = ["fetch", *(f"{word}@{task}" for word in ("ingest", "train") for task in "ab"), *"123456789"]
    kills = plan(stages, 100, seed=0)
    hits = [kill for kill in kills if kill.share is not None]
    assert (len(kills), len(hits)) == (100, 90)
    assert {kill.stage for kill in hits} == set(stages)
    for word, count in Counter(kill.word for kill in hits).items():
        assert count >= 3
        shares = sorted(kill.share or 0.0 for kill in hits if kill.word == word)
        assert max(later - one for one, later in pairwise([0.0, *shares, 1.0])) < 0.4
    assert plan(stages, 100, seed=0) == kills != plan(stages, 100, seed=1)
