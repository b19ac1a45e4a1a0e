"""How often each interval of a sweep holds the truth, in worlds that are known.

A world draws prompts, and a prompt draws answers. One or two prompts are fixed, as
their interval is of them; of more, each run takes others, as theirs is of prompts like
these. A figure's truth is its mean over all runs, for the share of the most frequent
answer and for entropy also that of the answers the model would give.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from support.sweeps import of_texts

from kimikit.evals.judged import agreement
from kimikit.evals.tool_score import F1
from kimikit.sweeps import metrics
from kimikit.sweeps.figures import SHARES
from kimikit.sweeps.intervals import (
    SHARE,
    Estimate,
    Part,
    mean,
    minus,
    of_mean,
    of_shares,
    pairwise,
    pool,
)
from kimikit.sweeps.shares import chosen as chosen_interval
from kimikit.sweeps.shares import right_price

NS = (3, 5, 8, 20)
PROMPTS = (1, 2, 5, 20)
POSITIVE = (0.0, math.inf)
FIXED = 8
"""Prompts that are asked many times, alone and in pairs."""
NOUNS = [
    "city", "river", "light", "stone", "music", "paper", "garden", "winter", "summer",
    "shadow", "bridge", "engine", "market", "forest", "mirror", "harbor", "letter",
    "window", "silver", "candle",
]  # fmt: skip
TEMPLATES = (
    "the {} over the {} was a {} of {} and the {} remained",
    "a {} and one {} in every {} make the {} of {} shine",
    "we took {} with {} to the old {} near {} before {} came",
)

Rng = np.random.Generator
Prompt = Callable[[Rng, int], list[Any]]
"""From how many to the answers."""


class World(NamedTuple):
    """Prompts that differ, and how their answers are drawn.

    Attributes:
        prompt: Draws a prompt.
        parts: From the answers to a prompt to its figures.
        truth: From a prompt to what the model would give of it, where that is not what
            n answers give on average.
    """

    prompt: Callable[[Rng], Prompt]
    parts: Callable[[list[Any]], dict[str, Part]]
    truth: Callable[[Any], dict[str, float]] = lambda _: {}


class Chosen(NamedTuple):
    """A prompt whose answers are one of some, by their shares."""

    shares: tuple[float, ...]

    def __call__(self, rng: Rng, n: int) -> list[str]:
        return [NOUNS[k % 20] * (1 + k // 20) for k in self.drawn(rng, n)]

    def drawn(self, rng: Rng, n: int) -> Any:
        return rng.choice(len(self.shares), n, p=self.shares)


def chosen(weights: Any) -> Chosen:
    return Chosen(tuple(np.asarray(weights) / np.sum(weights)))


def truth_of(prompt: Chosen) -> dict[str, float]:
    shares = np.array([share for share in prompt.shares if share > 0])
    return {
        "agreement": float(shares.max()),
        "entropy": float(-(shares * np.log(shares)).sum()),
    }


def figures(answers: list[str]) -> dict[str, Part]:
    split = [metrics.words(text) for text in answers]
    alike = pairwise(metrics.lexical(answers))
    return {
        **metrics.agreement(answers),
        **metrics.distinct(split),
        "diversity": alike.complement(),
    }


def bleu(answers: list[str]) -> dict[str, Part]:
    split = [
        metrics.words(text) for text in answers[:8]
    ]  # a sweep compares about so many
    return {"self_bleu": metrics.self_bleu(split)}


def semantic(answers: list[Any]) -> dict[str, Part]:
    near = metrics.cosine(np.array(answers))
    return {
        "semantic_similarity": pairwise(near),
        "semantic_entropy": metrics.entropy(metrics.meanings(near)),
    }


def rights(answers: list[bool]) -> dict[str, Part]:
    right = metrics.of_metric([bool(answer) for answer in answers])
    k = max(k for k in (2, 5, 10) if k <= len(answers))
    return {"right": right, "pass@k": metrics.pass_at(k, right)}


def sentences(rng: Rng) -> Prompt:
    """Draw a prompt with three kinds of sentences and twenty nouns."""
    kinds = rng.dirichlet([6, 3, 1])

    def answers(rng: Rng, n: int) -> list[str]:
        return [
            TEMPLATES[rng.choice(3, p=kinds)].format(*rng.choice(NOUNS, 5))
            for _ in range(n)
        ]

    return answers


def essays(rng: Rng) -> Prompt:
    """Draw a prompt answered in 60 words, of a vocabulary like that of a language."""
    shares = 1 / np.arange(1, 401) ** rng.uniform(0.6, 1.2)
    shares /= shares.sum()

    def answers(rng: Rng, n: int) -> list[str]:
        return [
            " ".join(f"w{word}" for word in rng.choice(400, 60, p=shares))
            for _ in range(n)
        ]

    return answers


def meanings(rng: Rng) -> Prompt:
    """Draw a prompt whose answers have one of four meanings, put differently."""
    centres, shares = rng.normal(size=(4, 8)), rng.dirichlet([4, 2, 1, 1])

    def answers(rng: Rng, n: int) -> list[Any]:
        return list(centres[rng.choice(4, n, p=shares)] + rng.normal(size=(n, 8)) * 0.2)

    return answers


def rate(rng: Rng, *, first: float, second: float) -> Prompt:
    share = rng.beta(first, second)
    return lambda rng, n: list(rng.random(n) < share)


def spread(rng: Rng, *, sigma: float) -> Prompt:
    level = rng.normal(0, 0.3)
    return lambda rng, n: list(np.exp(rng.normal(level, sigma, n)))


def of_values(name: str, answers: list[float]) -> dict[str, Part]:
    return {name: mean(answers)}


WORLDS = {
    "two answers": World(
        lambda rng: chosen([(p := rng.uniform(0.5, 0.95)), 1 - p]), figures, truth_of
    ),
    "16 equally likely": World(lambda rng: chosen(np.ones(16)), figures, truth_of),
    "one answer, 3 % others": World(
        lambda rng: chosen([97, *np.full(20, 0.15)]), figures, truth_of
    ),
    "falling by a half": World(
        lambda rng: chosen(rng.uniform(0.3, 0.8) ** np.arange(30)), figures, truth_of
    ),
    "sentences": World(sentences, figures),
    "essays": World(essays, figures),
    "two answers, BLEU": World(
        lambda rng: chosen([(p := rng.uniform(0.5, 0.95)), 1 - p]), bleu
    ),
    "sentences, BLEU": World(sentences, bleu),
    "meanings": World(meanings, semantic),
    "right 80 %": World(functools.partial(rate, first=8, second=2), rights),
    "right or wrong by prompt": World(
        functools.partial(rate, first=0.5, second=0.3), rights
    ),
    "words": World(
        functools.partial(spread, sigma=0.3), functools.partial(of_values, "words")
    ),
    "seconds": World(
        functools.partial(spread, sigma=0.5), functools.partial(of_values, "seconds")
    ),
    "seconds, some ten times as long": World(
        functools.partial(spread, sigma=0.8), functools.partial(of_values, "seconds")
    ),
}
"""Each kind of answers that a figure was found to be hard for, and ordinary ones."""

Found = dict[str, tuple[int, int]]
"""For each figure how many intervals there were, and how many held the truth."""


def bounds(name: str) -> tuple[float, float]:
    return SHARE if name in SHARES | {"right", "pass@k"} else POSITIVE


Answers = dict[str, Part]
"""The figures of one draw of answers to one prompt."""


class _Held:
    """Counts intervals, and those that hold what they are of."""

    def __init__(self, count: int) -> None:
        self.found: Found = {}
        self._count = count

    def _each(self, side: Sequence[Answers]) -> dict[str, list[list[Part]]]:
        """Return the parts of each figure that every prompt has."""
        names = [name for name in side[0] if all(name in each for each in side)]
        return {name: [[each[name]] for each in side] for name in names}

    def levels(
        self, sides: Iterable[Sequence[Answers]], truth: Mapping[str, float]
    ) -> None:
        """Take runs of the same prompts, or of prompts of one kind."""
        seen: dict[str, list[Estimate]] = defaultdict(list)
        for side in sides:
            for name, parts in self._each(side).items():
                seen[name].append(pool(parts, bounds(name)))
        for name, some in seen.items():
            self._count_in(name, some, float(np.mean([e.value for e in some])))
            if name in truth:
                self._count_in(f"{name} of the model", some, truth[name])

    def differences(self, pairs: Iterable[tuple[Sequence[Answers], ...]]) -> None:
        """Take pairs of two draws of the same prompts, which do not differ."""
        seen: dict[str, list[Estimate]] = defaultdict(list)
        for pair in pairs:
            first, second = map(self._each, pair)
            for name in first.keys() & second.keys():
                a, b = (dict(enumerate(each[name])) for each in (first, second))
                if (gap := minus(a, b, bounds(name))) is not None:
                    seen[f"{name}, difference"].append(gap)
        for name, some in seen.items():
            self._count_in(name, some, 0.0)

    def _count_in(self, name: str, some: list[Estimate], value: float) -> None:
        shown = [(e.low, e.high) for e in some if e.low is not None]
        held = sum(low - 1e-6 <= value <= high + 1e-6 for low, high in shown)
        before = self.found.get(name, (0, 0))
        self.found[name] = before[0] + len(shown), before[1] + held


def coverage(world: World, n: int, runs: int, seed: int) -> dict[int, Found]:
    """Return how often each figure's interval holds the truth, and of a difference.

    One or two prompts are fixed, each with answers drawn many times; of five or twenty
    each run takes others of many. No run is added or left out for what it found.

    Args:
        world: Where the answers come from.
        n: Answers to a prompt.
        runs: Intervals of each figure; of differences of one or two prompts half as
            many.
        seed: Draws all of it.

    Returns:
        For each number of prompts what was found.
    """
    rng = np.random.default_rng([seed, n])

    def draw(prompts: Sequence[Prompt], times: int) -> list[list[Answers]]:
        return [[world.parts(p(rng, n)) for _ in range(times)] for p in prompts]

    fixed = [world.prompt(rng) for _ in range(FIXED)]
    many = [world.prompt(rng) for _ in range(2 * runs)]
    draws = draw(fixed, max(runs // FIXED, 2))
    once = [each for (each,) in draw(many, 1)]
    again = [each for (each,) in draw(many, 1)]
    out = {}
    for count in PROMPTS:
        held = _Held(count)
        if count < 3:
            for at in range(0, FIXED, count):
                sides = [*_of_fixed(draws[at : at + count], count * len(draws[0]))]
                held.levels(sides, _truth(world, fixed[at : at + count]))
                held.differences(zip(sides[::2], sides[1::2], strict=False))
        else:
            some = [rng.choice(len(many), count, replace=False) for _ in range(runs)]
            held.levels(([once[k] for k in each] for each in some), _truth(world, many))
            held.differences(
                ([once[k] for k in each], [again[k] for k in each]) for each in some
            )
        out[count] = held.found
    return out


def _of_fixed(draws: list[list[Answers]], runs: int) -> Iterator[list[Answers]]:
    """Yield one draw of each prompt per run, no pair of draws twice."""
    times = len(draws[0])
    for run in range(runs):
        round_, at = divmod(run, times)
        yield [each[(at + place * round_) % times] for place, each in enumerate(draws)]


def _truth(world: World, prompts: Sequence[Prompt]) -> dict[str, float]:
    found = [world.truth(prompt) for prompt in prompts]
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def verdict_level(models: int, runs: int, seed: int) -> float:
    """Return the share of sweeps that accuse a model, where temperature does nothing."""
    rng = np.random.default_rng([seed, models])
    shares = chosen([6, 2, 1, 0.5, 0.5])
    accused = 0
    for _ in range(runs):
        points = {
            (f"m{model}", t): shares(rng, 8)
            for model in range(models)
            for t in (0.0, 0.6, 1.2)
        }
        found = of_texts(points, axes=("model", "temperature")).verdict
        accused += any(part.changed for part in found.parts or (found,))
    return accused / runs


def share_coverage(n: int, runs: int, seed: int) -> Found:
    """Return how often a vote's interval holds the share of its answer, and F1's F1.

    The vote is the worst of four: answers that are equally likely, or nearly so. Of
    tool calls a case is found, missed or called where nothing was wanted.
    """
    rng = np.random.default_rng([seed, n])
    votes = [np.ones(16), np.ones(2), [5, 4, 1], [9, 1]]
    held = []
    for weights in votes:
        prompt = chosen(weights)
        held.append(0)
        for _ in range(runs):
            counts = np.bincount(prompt.drawn(rng, n), minlength=len(prompt.shares))
            low, high = chosen_interval(int(counts.max()), n)
            held[-1] += low <= prompt.shares[int(counts.argmax())] <= high
    calls = rng.multinomial(n, [0.7, 0.15, 0.15], runs)
    truth = 2 * 0.7 / 1.7
    ends = [F1(int(hits), n).interval for hits in calls[:, 0]]
    f1 = sum(low <= truth <= high for low, high in ends)
    return {"a vote's answer": (runs, min(held)), "F1 of tool calls": (runs, f1)}


def kappa_coverage(n: int, runs: int, seed: int) -> Found:
    """Return how often the interval of Cohen's kappa of ``n`` pairs holds the truth.

    Both raters give labels with the same shares and agree as each world says; the worst
    world counts.
    """
    rng = np.random.default_rng([seed, n, 7])
    worlds: list[tuple[int, int]] = []
    for shares in ([0.5, 0.5], [0.8, 0.2], [0.9, 0.1], [0.45, 0.45, 0.1]):
        for truth in (0.0, 0.3, 0.6, 0.9):
            table = (1 - truth) * np.outer(shares, shares) + truth * np.diag(shares)
            ends = []
            for _ in range(runs):
                cells = rng.choice(table.size, n, p=table.ravel())
                found = agreement(list(zip(*divmod(cells, len(shares)), strict=True)))
                ends += [] if found.low is None else [(found.low, found.high)]
            worlds.append((len(ends), sum(low <= truth <= high for low, high in ends)))
    worst = min(worlds, key=lambda each: each[1] / max(each[0], 1))
    return {"kappa of a judge": worst}


def price_coverage(n: int, count: int, runs: int, seed: int) -> Found:
    """Return how often the interval of what a right answer costs holds the truth.

    Right answers cost half of wrong ones, so that what is spent and what is right go
    together.
    """
    rng = np.random.default_rng([seed, n, count])
    fixed = rng.beta(8, 2, count)
    shown = held = 0
    for _ in range(runs):
        shares = fixed if count < 3 else rng.beta(8, 2, count)
        right = rng.random((count, n)) < shares[:, None]
        costs = np.where(right, 1.0, 2.0) * np.exp(rng.normal(0, 0.5, (count, n)))
        expected = shares if count < 3 else np.array([0.8])
        truth = float((2 - expected).mean() / expected.mean()) * math.exp(0.125)
        share = average = None
        if count >= 3:
            share = of_shares(right.mean(axis=1), count * n)
            average = of_mean(costs.mean(axis=1), POSITIVE)
        found = right_price(
            [Decimal(f"{cost:.6f}") for cost in costs.ravel()],
            int(right.sum()),
            share,
            average,
        )
        if found.low is not None:
            high = math.inf if found.high is None else float(found.high)
            shown, held = shown + 1, held + (float(found.low) <= truth <= high)
    return {"US$ for each right": (shown, held)}
