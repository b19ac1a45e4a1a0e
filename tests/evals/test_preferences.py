"""Scores of blind votes: what they say, and how often their interval holds the truth."""

from __future__ import annotations

import math
from itertools import product

import pytest

from kimikit.evals.preferences import Vote, preferences

NAMES = "abcd"


def test_two_are_their_shares() -> None:
    found = preferences([Vote(("a", "b"), "a")] * 3 + [Vote(("b", "a"), "b")])
    assert found["a"].share == pytest.approx(0.75, abs=1e-3)
    assert found["b"].share == pytest.approx(0.25, abs=1e-3)
    assert (found["a"].won, found["a"].votes) == (3, 4)
    assert found["a"].low == pytest.approx(1 - found["b"].high, abs=1e-3)


def test_a_tie_is_shared_and_no_vote_says_nothing() -> None:
    found = preferences([Vote(("a", "b", "c"))] * 3)
    assert {p.won for p in found.values()} == {1.0}
    assert found["b"].share == pytest.approx(0.5, abs=1e-3)
    assert found["b"].low < 0.2 < 0.8 < found["b"].high
    assert preferences([]) == {}


def test_who_won_all_is_not_certain() -> None:
    few, many = (preferences([Vote(("a", "b"), "a")] * n)["a"] for n in (3, 30))
    assert few.high == many.high == 1
    assert few.low < 0.5 < 0.8 < many.low


def test_those_who_never_met_are_compared_through_a_third() -> None:
    votes = [Vote(("a", "b"), "a")] * 8 + [Vote(("a", "b"), "b")] * 2
    votes += [Vote(("b", "c"), "b")] * 8 + [Vote(("b", "c"), "c")] * 2
    found = preferences(votes)
    assert found["a"].share > 0.8 > found["b"].share > 0.2 > found["c"].share


@pytest.mark.parametrize(("k", "n", "least"), [(2, 10, 0.94), (3, 5, 0.97)])
def test_the_interval_holds_the_truth(k: int, n: int, least: float) -> None:
    """Counted over all outcomes, with nothing drawn; others are of equal strength."""
    among = tuple(NAMES[:k])
    odds = (0.0, 1.0, 2.0)
    held = dict.fromkeys(odds, 0.0)
    for won in product(range(n + 1), repeat=k):
        if sum(won) != n:
            continue
        each = zip(among, won, strict=True)
        votes = [Vote(among, name) for name, count in each for _ in range(count)]
        found = preferences(votes)["a"]
        ways = math.factorial(n) / math.prod(map(math.factorial, won))
        for d in odds:
            first = math.exp(d) / (math.exp(d) + k - 1)
            other = (1 - first) / (k - 1)
            if found.low <= 1 / (1 + math.exp(-d)) <= found.high:
                held[d] += ways * first ** won[0] * other ** (n - won[0])
    assert min(held.values()) >= least
