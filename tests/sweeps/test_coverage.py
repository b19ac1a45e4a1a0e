"""Intervals that say 95 % hold the truth about as often; the benchmark has all cells."""

import pytest
from support.coverage import (
    WORLDS,
    coverage,
    kappa_coverage,
    price_coverage,
    share_coverage,
)

from kimikit.sweeps.intervals import one_thread

RUNS = 100

LEAST = 86
"""Of 100 runs; an interval that covers 93 % has fewer once in 300."""


@pytest.mark.parametrize(
    ("world", "n"),
    [
        ("two answers", 5),
        ("16 equally likely", 20),
        ("one answer, 3 % others", 20),
        ("falling by a half", 3),
        ("sentences", 8),
        ("meanings", 8),
        ("right 80 %", 5),
        ("right or wrong by prompt", 20),
        ("words", 5),
        ("seconds, some ten times as long", 8),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(world, n):
    with one_thread():
        counts = coverage(WORLDS[world], n, RUNS, 5)
    for count, found in counts.items():
        assert found
        for name, (shown, held) in found.items():
            assert held >= LEAST / 100 * shown, (count, name)
            if "difference" not in name:
                assert shown > RUNS / 2, (count, name)


@pytest.mark.parametrize(("count", "n"), [(1, 5), (1, 20), (5, 8)])
def test_the_price_of_a_right_answer_is_in_its_interval(count, n):
    ((shown, held),) = price_coverage(n, count, RUNS, 5).values()
    assert shown == RUNS
    assert held >= LEAST


@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_share_of_a_votes_answer_is_in_its_interval(n):
    shown, held = share_coverage(n, 300, 5)["a vote's answer"]
    assert held >= 0.92 * shown


@pytest.mark.parametrize("n", [10, 50])
def test_the_kappa_of_a_judge_is_in_its_interval(n):
    """The worst of sixteen worlds, of which 200 runs of a 95 % interval may have 88 %."""
    shown, held = kappa_coverage(n, 200, 5)["kappa of a judge"]
    assert held >= 0.86 * shown
