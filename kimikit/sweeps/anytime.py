"""Bound means at every look, so that buying can end once it is settled.

An ordinary interval that is looked at after every answer, until it says something,
says something false in the end. These are confidence sequences for means of what lies
between 0 and 1: for each mean that might be true a gambler bets against it, and those
that make him rich are refused (Waudby-Smith and Ramdas 2024, Estimating means of
bounded random variables by betting, J. R. Stat. Soc. B 86(1), doi
10.1093/jrsssb/qkad009). His bets follow from earlier rounds alone, so that by Ville's
inequality he is ever rich against the truth with a chance of ``alpha`` at most.

A round asks each question once. Within a round all bets are the same size, so that the
interval is of the mean over these very questions: where they differ, the product of
their factors is by the inequality of the two means no larger than if they did not.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Shifts = Mapping[float, float]
"""Distances from the truth that a gambler bets on, and how he splits his money."""

ALPHA = 0.05
"""Chance of a false claim, over all looks."""

MOST_STAKE = 0.75
"""Share of his money that the gambler may lose in one bet."""

HEDGE = 0.2
"""Part of the money that bets on larger distances than the width that is asked for."""

PRIOR = 2.0
"""Rounds that a question's own mean is worth before it has one."""

STEPS = 22
"""Halvings that a limit is searched by: to 0.0000003."""


def limits(rounds: Array, shifts: Shifts, alpha: float = ALPHA) -> tuple[float, float]:
    """Return an interval of a mean that holds at all looks together.

    Args:
        rounds: What came, between 0 and 1: a row per round, a column per question.
            NaN stands for what is missing, which may be anything.
        shifts: Distances from the truth that bets are made for, each with its part of
            the money.
        alpha: Chance that the interval ever misses the mean.
    """
    low, high = (_lower(some, shifts, alpha) for some in _sides(rounds))
    return low, 1 - high


def _sides(rounds: Array) -> tuple[Array, Array]:
    """Return what came and what is left to 1, each with nothing for what is missing."""
    return np.nan_to_num(rounds), np.nan_to_num(1 - rounds)


def _lower(rounds: Array, shifts: Shifts, alpha: float) -> float:
    """Return the lowest mean that nobody betting on a higher one gets rich against."""
    bets, steps = Bets(rounds, shifts), 1 << STEPS
    if not bets.refuse(0.0, alpha):
        return 0.0
    stays = bisect.bisect_left(
        range(1, steps), 1, key=lambda step: not bets.refuse(step / steps, alpha)
    )
    return stays / steps


def refused(rounds: Array, mean: float, shifts: Shifts, alpha: float = ALPHA) -> bool:
    """Return whether a mean lies outside ``limits``, for less work."""
    both = zip(_sides(rounds), (mean, 1 - mean), strict=True)
    return any(Bets(some, shifts).refuse(each, alpha) for some, each in both)


class Bets:
    """What a gambler bets on the mean being higher than one that is named.

    Questions differ: from each answer the part is taken off that earlier rounds
    expect of its question, which adds up to 0 in a round. So only the variance of
    answers to one question makes the interval wide.

    Args:
        rounds: As for ``limits``, nothing missing.
        shifts: Likewise.
    """

    def __init__(self, rounds: Array, shifts: Shifts) -> None:
        count, questions = rounds.shape
        before = np.arange(count)[:, None]
        sums = np.cumsum(rounds, axis=0) - rounds
        expected = sums - sums.mean(axis=1, keepdims=True)
        expected /= before + PRIOR
        self.values = rounds - expected
        self.above = expected.max(axis=1, initial=0.0)
        asked = questions * before[:, 0] + 1
        mean = (0.5 + sums.sum(axis=1)) / asked
        squares = ((self.values - mean[:, None]) ** 2).sum(axis=1)
        variance = (0.25 + np.cumsum(squares) - squares) / asked
        shift = np.array(list(shifts))[:, None]
        self.stakes = shift / (variance + shift**2)
        self.parts = np.log(list(shifts.values()))

    def refuse(self, mean: float, alpha: float) -> bool:
        """Return whether a mean has made him rich by now."""
        return bool(self.money(mean)[-1] >= math.log(2 / alpha))

    def money(self, mean: float) -> Array:
        """Return the logarithm of what he has of 1 after each round, against a mean."""
        with np.errstate(divide="ignore"):
            stakes = np.minimum(self.stakes, MOST_STAKE / (mean + self.above))
        gains = np.log1p(stakes[:, :, None] * (self.values - mean))
        won = np.cumsum(gains.sum(axis=2), axis=1)
        money: Array = np.logaddexp.reduce(won + self.parts[:, None], axis=0)
        return money


def fewest(until: float, questions: int, pairs: int) -> int:
    """Return the rounds before which nothing can be settled, whatever comes.

    Args:
        until: Half the width that is asked for.
        questions: Questions in a round.
        pairs: Pairs of settings that are to be told apart.
    """

    def may_end(count: int) -> bool:
        alike = np.zeros((count, questions))
        narrow = limits(alike, means(until))[1] <= 2 * until
        return narrow or (pairs > 0 and apart(alike + 1, alike, until, pairs))

    most = 1
    while not may_end(most):
        most *= 2
    counts = range(most // 2 + 1, most)
    return counts.start + bisect.bisect_left(counts, 1, key=may_end)


def means(until: float) -> Shifts:
    """Return the shifts to bet on of a mean, to tell also a little before it ends."""
    first, *others = _doubled(until)
    return {first: 1 - HEDGE, **dict.fromkeys(others, HEDGE / max(len(others), 1))}


def differences(until: float) -> Shifts:
    """Return the shifts to bet on of a difference, which may be of any size."""
    sizes = _doubled(until / 2)
    return dict.fromkeys(sizes, 1 / len(sizes))


def _doubled(size: float) -> list[float]:
    count = 1 + math.floor(math.log2(0.5 / size))
    return [size * 2**power for power in range(count)]


def apart(mine: Array, yours: Array, until: float, pairs: int) -> bool:
    """Return whether two settings differ, as one of so many pairs that are looked at.

    Differences are paired by round and question, and moved to between 0 and 1.
    """
    return refused(_paired(mine, yours), 0.5, differences(until), ALPHA / pairs)


def difference_limits(
    mine: Array, yours: Array, until: float, pairs: int
) -> tuple[float, float]:
    """Return the interval of a mean difference; all pairs hold together."""
    ends = limits(_paired(mine, yours), differences(until), ALPHA / pairs)
    return 2 * ends[0] - 1, 2 * ends[1] - 1


def gaps(mine: Array, yours: Array) -> Array:
    """Return the differences by round and question, of the rounds that both have."""
    both = min(len(mine), len(yours))
    found: Array = mine[:both] - yours[:both]
    return found


def _paired(mine: Array, yours: Array) -> Array:
    return (gaps(mine, yours) + 1) / 2
