"""Buying until it is settled, in worlds that are known: how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kimikit.intervals import wilson
from kimikit.sweeps.anytime import ALPHA, Bets, differences, means
from kimikit.sweeps.power import questions_needed
from kimikit.sweeps.settled import Buying, is_settled, settled

Rng = np.random.Generator
UNTIL = 0.05
MOST = 1000
"""Rounds that are looked at, each of them."""


class World(NamedTuple):
    """How answers are drawn.

    Attributes:
        mean: Their mean.
        draw: From how many rounds to what came.
    """

    mean: float
    draw: Callable[[Rng, int], Any]


def coins(share: float) -> World:
    """Return one question that is answered right with this chance."""
    return World(share, lambda rng, n: (rng.random((n, 1)) < share).astype(float))


def questions(*shares: float) -> World:
    """Return fixed questions, each with its own chance."""
    some = np.array(shares)
    return World(
        float(some.mean()),
        lambda rng, n: (rng.random((n, len(some))) < some).astype(float),
    )


WORLDS = {
    "right 50 %": coins(0.5),
    "right 90 %": coins(0.9),
    "right 99 %": coins(0.99),
    "scores, mean 0.2": World(0.2, lambda rng, n: rng.beta(1, 4, (n, 1))),
    "5 questions, 10 to 90 %": questions(0.1, 0.3, 0.5, 0.7, 0.9),
    "20 questions, half always right": questions(*[1.0] * 10, *[0.02] * 10),
}


def ever_missed(world: World, rng: Rng, most: int = MOST) -> bool:
    """Return whether the interval misses the mean at any look, after each round."""
    came = world.draw(rng, most)
    below, above = Bets(came, means(UNTIL)), Bets(1 - came, means(UNTIL))
    limit = math.log(2 / ALPHA)
    against = below.money(world.mean).max(), above.money(1 - world.mean).max()
    return bool(max(against) >= limit)


def ever_told_apart(world: World, rng: Rng, settings: int, most: int = MOST) -> bool:
    """Return whether any two settings alike are ever said to differ."""
    came = [world.draw(rng, most) for _ in range(settings)]
    pairs = settings * (settings - 1) // 2
    limit, shifts = math.log(2 * pairs / ALPHA), differences(UNTIL)
    for i, mine in enumerate(came):
        for yours in came[:i]:
            gaps = (mine - yours + 1) / 2
            both = Bets(gaps, shifts), Bets(1 - gaps, shifts)
            if max(bets.money(0.5).max() for bets in both) >= limit:
                return True
    return False


def ever_missed_by_wilson(share: float, rng: Rng, most: int = MOST) -> bool:
    """Return the same of an ordinary interval, looked at from the tenth answer on."""
    hits = np.cumsum(rng.random(most) < share)
    ends = (wilson(float(hits[n - 1]), n) for n in range(10, most + 1))
    return any(not low <= share <= high for low, high in ends)


class Bought(NamedTuple):
    """What buying came to.

    Attributes:
        rounds: Rounds until it was settled.
        held: Whether all intervals of settings hold the truth at the end.
        told: Whether the settings were told apart.
        wrong: Whether a difference is claimed with the wrong sign, or of none.
    """

    rounds: int
    held: bool
    told: bool
    wrong: bool


def bought(worlds: list[World], rng: Rng, until: float, most: int = 4000) -> Bought:
    """Buy as sweeps and labs do, until it is settled."""
    came = {str(i): world.draw(rng, most) for i, world in enumerate(worlds)}
    columns = came["0"].shape[1]
    buying = Buying.planned(
        "right", until, settings=len(worlds), questions=columns, most=most
    )
    done = 0
    while done < most:
        done = buying.end(done, 1)
        if is_settled(until, {name: some[:done] for name, some in came.items()}):
            break
    found = settled("right", until, {name: some[:done] for name, some in came.items()})
    held = [
        one.low <= w.mean <= one.high
        for one, w in zip(found.settings, worlds, strict=True)
    ]
    wrong = [
        not one.low <= worlds[int(b)].mean - worlds[int(a)].mean <= one.high
        for one in found.pairs
        for a, b in [one.settings]
    ]
    return Bought(done, all(held), found.told_apart, any(wrong))


def fixed(half: float, share: float = 0.5) -> int:
    """Return the answers for which Wald's interval is as narrow, if a share is known."""
    return math.ceil(1.959964**2 * share * (1 - share) / half**2)


def fixed_pairs(difference: float, mine: float, yours: float) -> int:
    """Return the pairs that a study of fixed size needs to find a difference."""
    spread = math.sqrt(mine * (1 - mine) + yours * (1 - yours))
    return questions_needed(difference / spread, power=0.8, alpha=ALPHA)
