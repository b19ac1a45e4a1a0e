"""Tell whether a figure is settled, and what buying until then has found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from kimikit import html
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.errors import BadInput
from kimikit.json_values import is_number, short
from kimikit.sweeps.anytime import (
    Array,
    apart,
    difference_limits,
    fewest,
    gaps,
    limits,
    means,
)
from kimikit.sweeps.grid import Grid
from kimikit.sweeps.trial import Trial
from kimikit.sweeps.values import Outcome, kept

PAIRS_SHOWN = 10

LEAST_UNTIL = 0.001

GROWTH = 0.1
"""Each round of buying adds this part of what there is, or what hosts do at once."""


class Known(msgspec.Struct, frozen=True):
    """A mean, or a difference of two, with limits that hold at all looks together.

    Attributes:
        settings: What it is of: one setting, or the two that are compared.
        value: The mean, or the second one's mean minus the first one's.
        low: Lower limit.
        high: Upper limit.
        n: Answers it is of, or pairs of them.
    """

    settings: tuple[str, ...]
    value: float
    low: float
    high: float
    n: int

    @property
    def half_width(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


class Settled(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What is known by now, however often it was looked at.

    Attributes:
        metric: What was measured.
        until: Half the width of an interval that was asked for.
        settings: The mean at each setting; each interval misses with a chance of 5 %.
        pairs: The difference of each two; a chance of 5 % that any interval misses.
    """

    metric: str
    until: float
    settings: tuple[Known, ...]
    pairs: tuple[Known, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether every interval is as narrow as was asked."""
        return all(one.half_width <= self.until for one in self.settings)

    @property
    def told_apart(self) -> bool:
        """Whether every two settings are told apart."""
        told = [not one.low <= 0 <= one.high for one in self.pairs]
        return bool(told) and all(told)

    @property
    def sentence(self) -> str:
        """What is settled, and what is not."""
        answers, many = sum(one.n for one in self.settings), len(self.settings)
        what, aim = f"{self.metric} of each setting", f"± {self.until:g}"
        what = self.metric if many == 1 else what
        if self.told_apart:
            who = "the two settings" if many == 2 else f"all {many} settings"
            said = f"Settled: {who} are told apart in {self.metric}"
        elif self.narrow:
            said = f"Settled: {what} is known to {aim}"
        else:
            widest = max((one.half_width for one in self.settings), default=0.5)
            said = f"Not settled: {what} is known to ± {widest:.2g}, not to {aim}"
        return f"{said}, after {answers:,} answers."

    def _parts(self) -> tuple[str, list[Section], str]:
        def cells(one: Known, sign: str) -> list[object]:
            ends = (f"{end:{sign}.2f}" for end in (one.value, one.low, one.high))
            return [" against ".join(one.settings[::-1]), html.interval(*ends), one.n]

        note = (
            "95 % intervals that hold however often one looks (confidence sequences by "
            "betting); those of differences hold all together."
        )
        shown = sorted(self.pairs, key=lambda one: -abs(one.value))[:PAIRS_SHOWN]
        rows = [cells(one, "z") for one in self.settings]
        rows += [cells(one, "+z") for one in shown]
        if len(self.pairs) > len(shown):
            note += (
                f" {len(self.pairs) - len(shown)} smaller differences are in .pairs."
            )
        table = Table(["setting", self.metric, "n"], rows, (1, 2), note)
        return "", [html.Cell(self.sentence, html.esc(self.sentence)), table], ""


Rounds = Mapping[str, Array]
"""For each setting what came of it: a row per round, a column per question."""


def rounds_of(
    trials: Iterable[Trial],
    scores: Iterable[float | bool | None],
    axes: Mapping[str, Any],
) -> dict[str, Array]:
    """Return the rounds of a sweep: its repeats, up to the first that is not whole.

    Which answers of a round came first may depend on what they are, such as short; so a
    round counts once all of it is there.
    """
    found: dict[str, dict[Any, dict[int, float]]] = {}
    for trial, score in zip(trials, scores, strict=True):
        labels = trial.params
        place = found.setdefault(setting(labels, axes), {})
        prompt = labels.get("prompt") if "prompt" in axes else None
        repeats = place.setdefault(prompt, {})
        repeats[trial.repeat] = math.nan if score is None else float(score)
    out, prompts = {}, tuple(axes.get("prompt", (None,)))
    for name, place in found.items():
        # In the order of the axis, as two settings are compared question by question.
        columns = [place.get(prompt, {}) for prompt in prompts]
        rounds = min(_whole(column) for column in columns)
        rows = [[column[r] for column in columns] for r in range(rounds)]
        out[name] = np.array(rows, dtype=float).reshape(rounds, len(prompts))
    return out


def setting(labels: Mapping[str, Any], axes: Iterable[str]) -> str:
    """Return what a setting is called: its axes but the prompt."""
    said = [f"{axis} {labels.get(axis)}" for axis in axes if axis != "prompt"]
    return ", ".join(said) or "its one setting"


def _whole(column: Mapping[int, float]) -> int:
    """Return how many repeats are there from the first one on."""
    return next(r for r in itertools.count() if r not in column)


@kept
def of_sweep(sweep: Outcome) -> Settled:
    """Return what is known of a sweep; see ``Sweep.settled``."""
    if sweep.until is None:
        raise BadInput(
            "The sweep was not asked until something was settled.",
            "Give until=0.05, or see summary() and verdict.",
        )
    metric = next(iter(sweep.metrics))
    rounds = rounds_of(sweep.trials, sweep.scores[metric], sweep.axes)
    if sweep.pinned:  # settings that became one were not asked to their end
        most = max(map(len, rounds.values()), default=0)
        rounds = {name: some for name, some in rounds.items() if len(some) == most}
    return settled(metric, sweep.until, rounds)


def settled(metric: str, until: float, rounds: Rounds) -> Settled:
    """Return what is known of each setting, and of each two.

    Args:
        metric: What was measured.
        until: Half the width of an interval that is asked for.
        rounds: What came.
    """
    names = [name for name, some in rounds.items() if some.size]
    two = list(itertools.combinations(names, 2))
    return Settled(
        metric=metric,
        until=until,
        settings=tuple(
            _known((name,), rounds[name], limits(rounds[name], means(until)))
            for name in names
        ),
        pairs=tuple(
            _known(
                (a, b),
                gaps(rounds[b], rounds[a]),
                difference_limits(rounds[b], rounds[a], until, len(two)),
            )
            for a, b in two
        ),
    )


def _known(settings: tuple[str, ...], some: Array, ends: tuple[float, float]) -> Known:
    """Return a mean with its limits; what is missing is left out of the mean."""
    there = some[~np.isnan(some)]
    value = float(there.mean()) if there.size else sum(ends) / 2
    return Known(settings, value, min(ends[0], value), max(ends[1], value), there.size)


def is_settled(until: float, rounds: Rounds) -> bool:
    """Return whether ``settled`` would be narrow or told apart, for less work."""
    if not all(some.size for some in rounds.values()):
        return False
    two = list(itertools.combinations(rounds.values(), 2))
    if two and all(apart(a, b, until, len(two)) for a, b in two):
        return True
    ends = (limits(some, means(until)) for some in rounds.values())
    return all(high - low <= 2 * until for low, high in ends)


class Buying(NamedTuple):
    """How much is bought until it is settled.

    Attributes:
        metric: What is measured.
        until: Half the width of an interval that is asked for.
        first: Rounds before which nothing can be settled.
        most: Rounds at most.
    """

    metric: str
    until: float
    first: int
    most: int

    @classmethod
    def planned(
        cls, metric: str, until: Any, *, settings: int, questions: int, most: int
    ) -> Buying:
        """Check what is asked for, before anything is paid for.

        Raises:
            BadInput: If it is no half width, or can never be reached.
        """
        if not (is_number(until) and LEAST_UNTIL <= until < 0.5):
            raise BadInput(
                f"until is {short(until)}.",
                "Give half the width that intervals shall have at most, such as 0.05 "
                f"for ± 0.05; from {LEAST_UNTIL:g} to 0.5.",
            )
        first = fewest(until, questions, settings * (settings - 1) // 2)
        if first > most:
            raise BadInput(
                f"until={until:g} is out of reach of {most:,} rounds of {questions:,} "
                f"answers per setting: it takes {first:,} rounds at least.",
                "Give more repeats (a task: more rows), or a wider until=.",
            )
        return cls(metric, float(until), first, most)

    def end(self, done: int, at_once: float) -> int:
        """Return how many rounds there shall be next.

        Args:
            done: How many there are.
            at_once: Rounds that hosts are asked at once.
        """
        more = max(1, math.ceil(max(GROWTH * done, at_once)))
        return min(self.most, max(self.first, done + more))


def buying(grid: Grid, until: Any, metrics: Sequence[str]) -> Buying:
    """Check ``until=`` of a sweep.

    Raises:
        BadInput: If there is no metric, or it can never be reached.
    """
    if not metrics:
        raise BadInput(
            "until= is given and no metric, of whose mean it is the half width.",
            "Give metrics={'right': lambda reply: ...}, true or false or from 0 to 1.",
        )
    sizes = {name: len(values) for name, values in grid.axes.items()}
    questions = sizes.pop("prompt", 1)
    return Buying.planned(
        metrics[0],
        until,
        settings=math.prod(sizes.values()),
        questions=questions,
        most=grid.repeats,
    )


def in_range(metric: str, rounds: Rounds) -> None:
    """Refuse what is not between 0 and 1, where these intervals would be wrong.

    Raises:
        BadInput: Naming the value.
    """
    for some in rounds.values():
        if (wrong := some[(some < 0) | (some > 1)]).size:
            raise BadInput(
                f"{metric} is {wrong[0]:g} of an answer; until= is for figures from 0 "
                "to 1.",
                "Scale it, such as min(len(reply.text) / 1000, 1).",
            )
