"""Buying until it is settled, in worlds that are known: how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from support.sweeps import of_texts

from kimikit.evals import Frontier, Task
from kimikit.evals.settings import Setting, settings_of
from kimikit.sweeps.anytime import ALPHA, Bets, differences, means
from kimikit.sweeps.intervals import Estimate
from kimikit.sweeps.power import questions_needed
from kimikit.sweeps.settled import Buying, is_settled, settled
from kimikit.sweeps.shares import wilson

Rng = np.random.Generator
UNTIL = 0.05
MOST = 1000
"""Rounds that are looked at, each of them."""


TASK = Task(instruction="Is it?", rows=(("Is it?", "yes"), ("Is it not?", "no")))


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


def vote_coverage(rng: Rng, questions_: int, runs: int) -> dict[int, float]:
    """Return how often a frontier's interval holds the share of right votes.

    Questions differ in how often they are answered right, and each run draws others.
    """
    rates = rng.beta(1.5, 1.0, (200_000,))
    truth = {1: rates.mean(), 3: (3 * rates**2 - 2 * rates**3).mean()}
    held = dict.fromkeys(truth, 0)
    for _ in range(runs):
        own = rng.beta(1.5, 1.0, questions_)
        points = {
            (f"q{i}", 1): ["yes" if x else "no" for x in rng.random(5) < share]
            for i, share in enumerate(own, 1)
        }
        found = of_texts(
            points,
            axes=("prompt", "temperature"),
            metrics={"right": lambda reply: reply.text == "yes"},
        )
        for one in settings_of(found, TASK, [1, 3]):
            count = one.labels["votes"]
            assert one.right.low is not None
            assert one.right.high is not None
            held[count] += one.right.low <= truth[count] <= one.right.high
    return {count: 100 * some / runs for count, some in held.items()}


def falsely_close(rng: Rng, settings: int, questions_: int, alike: float) -> bool:
    """Return whether a setting is said to be close that loses the whole margin.

    Args:
        rng: Draws.
        settings: One, the dearest, is right 80 %; all others 75 %; the margin is 0.05.
        questions_: Questions.
        alike: Correlation of two settings at one question.
    """
    ease = rng.normal(size=questions_)
    made = []
    for place in range(settings):
        own = alike**0.5 * ease + (1 - alike) ** 0.5 * rng.normal(size=questions_)
        right = own < NormalDist().inv_cdf(0.75 if place else 0.8)
        marks = {i: float(x) for i, x in enumerate(right)}
        cost = Estimate(1.0 if place else 2.0)
        made.append(
            Setting(
                labels={"place": place}, n=questions_, marks=marks, cost_usd=cost,
                right=Estimate(float(right.mean())), tokens=cost, seconds=cost,
                reasoning=None,
            )
        )  # fmt: skip
    found = Frontier(task=TASK, votes=(1,), margin=0.05, sweep=of_texts({0: ["yes"]}))
    found.__dict__["settings"] = made
    chosen = found.recommended
    assert chosen is not None
    return chosen.gap is not None
