"""Count what each setting of a frontier got right, and what it took per question."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from kimikit.evals.scorers import Score, answer_of
from kimikit.evals.task import Task
from kimikit.sweeps.intervals import Estimate, of_shares
from kimikit.sweeps.result import Sweep
from kimikit.sweeps.shares import TAIL, of_mean
from kimikit.sweeps.trial import Trial
from kimikit.types import Reply

SUBSETS = 120
"""Votes that are drawn at most from the answers to one question."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting and what came of it, per question.

    Attributes:
        labels: Its parameters, those that are compared; ``votes`` among them.
        n: Questions that were answered.
        right: Share of right answers, each with a 95 % interval as the others below.
        cost_usd: US dollars, ``None`` where unpriced.
        tokens: Tokens, of prompt and answer.
        seconds: Until the answer is whole; votes are asked at once.
        reasoning: Tokens of thinking, ``None`` where none were reported.
        marks: For each question its share of right answers.
    """

    labels: dict[str, Any]
    n: int
    right: Estimate
    cost_usd: Estimate | None
    tokens: Estimate
    seconds: Estimate
    reasoning: Estimate | None
    marks: dict[Any, float]

    @property
    def name(self) -> str:
        """Its parameters in words."""
        return ", ".join(f"{k} {v}" for k, v in self.labels.items()) or "as it is"


def settings_of(sweep: Sweep, task: Task, votes: Sequence[int]) -> list[Setting]:
    """Return each setting of a sweep, decided by each number of votes."""
    metric = next(iter(sweep.metrics), "")  # a sweep of no answer may have none
    places: dict[tuple[Any, ...], dict[Any, list[int]]] = {}
    axes = [axis for axis in sweep.axes if axis != "prompt"]
    for place, trial in enumerate(sweep.trials):
        point = tuple(trial.params.get(axis) for axis in axes)
        prompt = trial.params.get("prompt")
        places.setdefault(point, {}).setdefault(prompt, []).append(place)
    found = []
    for point, questions in places.items():
        asked = {
            prompt: _Question(
                [sweep.trials[place] for place in some],
                [sweep.scores[metric][place] for place in some],
                task,
            )
            for prompt, some in questions.items()
        }
        for count in votes:
            labels = dict(zip(axes, point, strict=True))
            labels |= {"votes": count} if len(votes) > 1 or count > 1 else {}
            made = _setting(labels, asked, count)
            found += [made] if made is not None else []
    return found


class _Question:
    """The answers to one question at one setting."""

    def __init__(
        self, trials: Sequence[Trial], scores: Sequence[Score], task: Task
    ) -> None:
        self.replies = [trial.reply for trial in trials if trial.reply is not None]
        self.scores = [
            score
            for trial, score in zip(trials, scores, strict=True)
            if trial.reply is not None
        ]
        both = (trial.reply or trial.partial for trial in trials)
        self.paid = [reply for reply in both if reply is not None]
        self.answers: list[int | None] = []
        values: list[Any] = []
        for reply in self.replies:  # one by one: answers such as dicts have no hash
            value = answer_of(reply, task)
            if value is not None and value not in values:
                values.append(value)
            self.answers.append(None if value is None else values.index(value))

    def mean(self, figure: Callable[[Reply], float]) -> float:
        """Return the mean of what each answer took that was paid for."""
        return sum(map(figure, self.paid)) / len(self.paid)

    def votes(self, count: int) -> Iterator[tuple[int, ...]]:
        """Yield the votes of so many answers that these make, or some by chance."""
        every = range(len(self.replies))
        if math.comb(len(every), count) <= SUBSETS:
            yield from itertools.combinations(every, count)
            return
        rng = random.Random(0)
        yield from (tuple(sorted(rng.sample(every, count))) for _ in range(SUBSETS))

    def decided(self, some: Sequence[int]) -> Score:
        """Return whether the answer with most votes is right; of a tie, how often.

        Who gives the same answer is right or wrong alike, so nothing is judged twice.
        """
        given = [self.answers[i] for i in some if self.answers[i] is not None]
        if not given:
            return self.scores[some[0]]
        most = max(map(given.count, given))
        won = [answer for answer in {*given} if given.count(answer) == most]
        firsts = (next(i for i in some if self.answers[i] == one) for one in won)
        known = [s for i in firsts if (s := self.scores[i]) is not None]
        return sum(known) / len(known) if known else None


def _setting(
    labels: dict[str, Any], asked: Mapping[Any, _Question], count: int
) -> Setting | None:
    """Return one setting, ``None`` where no question has so many answers."""
    marks, seconds = {}, []
    for prompt, one in asked.items():
        votes = list(one.votes(count)) if len(one.replies) >= count else []
        said = [float(s) for vote in votes if (s := one.decided(vote)) is not None]
        if said:
            marks[prompt] = sum(said) / len(said)
            took = [max(one.replies[i].duration_s for i in vote) for vote in votes]
            seconds.append(sum(took) / len(took))
    if not marks:
        return None
    own = [asked[prompt] for prompt in marks]

    def each(figure: Callable[[Reply], float]) -> list[float]:
        return [count * one.mean(figure) for one in own]

    thought = each(lambda reply: reply.usage.reasoning_tokens)
    priced = all(reply.cost is not None for one in own for reply in one.paid)
    values = np.array(list(marks.values()))
    chances = sum(max(1, len(one.replies) // count) for one in own)
    ends = of_shares(values, chances) if len(values) > 1 else (0.0, 1.0)
    value = float(values.mean())
    return Setting(
        labels=labels,
        n=len(marks),
        right=Estimate(value, min(ends[0], value), max(ends[1], value)),
        cost_usd=_positive(each(lambda r: float(r.cost or 0))) if priced else None,
        tokens=_positive(each(lambda reply: reply.usage.total_tokens)),
        seconds=_positive(seconds),
        reasoning=_positive(thought) if any(thought) else None,
        marks=marks,
    )


def _positive(values: Sequence[float]) -> Estimate:
    """Return the mean of what cannot be negative."""
    return Estimate(float(np.mean(values)), *of_mean(values, positive=True))


def gap(one: Setting, other: Setting, tests: int) -> Estimate | None:
    """Return how much more is right at one, paired by question.

    Args:
        one: A setting.
        other: Another.
        tests: How many such gaps are looked at; all intervals hold together.
    """
    both = [prompt for prompt in one.marks if prompt in other.marks]
    if len(both) < 3:
        return None
    gaps = np.array([one.marks[prompt] - other.marks[prompt] for prompt in both])
    value, n = float(gaps.mean()), len(gaps)
    if not np.ptp(gaps):  # a share of questions that did not come may be otherwise
        unseen = 1 - (2 * TAIL / tests) ** (1 / n)
        return Estimate(
            value, value - unseen * (value + 1), value + unseen * (1 - value)
        )
    from scipy import special

    ddof = 1
    if np.isin(gaps, (-1, 0, 1)).all():
        # One more question won and one lost: Student's limits alone cover 88 % where
        # few questions part the two (Bonett and Price 2012).
        gaps, ddof = np.append(gaps, (-1, 1)), 0
    middle = float(gaps.mean())
    error = float(gaps.std(ddof=ddof)) / math.sqrt(len(gaps))
    half = float(special.stdtrit(n - 1, 1 - TAIL / tests)) * error
    low, high = min(value, middle - half), max(value, middle + half)
    return Estimate(value, max(-1.0, low), min(1.0, high))
