"""Plan from a small sweep how many questions and repeats a comparison needs.

The variance of a difference between two settings has two parts: questions differ in how
much a setting helps, and answers to one question differ by chance. More repeats shrink
only the second; more questions shrink both (Miller 2024, Adding Error Bars to Evals,
arXiv 2411.00640, section 5).
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from kimikit import html
from kimikit.display.footer import total_usd
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.errors import BadInput
from kimikit.json_values import check_count, is_number
from kimikit.money.queries import choice
from kimikit.sweeps.settled import setting
from kimikit.sweeps.summary import groups
from kimikit.sweeps.values import Outcome

REPEATS = (1, 2, 3, 5, 8, 12, 20)
"""Repeats that a plan lists."""

LEAST_QUESTIONS = 5
"""Questions of a pilot below which its variance says nothing."""

ASSURANCE = 0.8
"""Chance that a plan made for the upper limit of the variance has its power.

R. H. Browne 1995, On the use of a pilot sample for sample size determination,
doi 10.1002/sim.4780141709.
"""

MOST_QUESTIONS = 10_000_000

Scores = Mapping[Any, Sequence[float]]
"""For each question the scores of its answers."""


class Option(msgspec.Struct, frozen=True):
    """One way to split a study between questions and repeats.

    Attributes:
        repeats: Answers per question and setting.
        questions: Questions needed, with the pilot's variance.
        questions_assured: Questions needed with the upper limit of that variance, so
            that the power is reached with a chance of 80 %.
        calls: Calls of both settings for ``questions``.
        cost_usd: What they cost by the pilot's calls, ``None`` where unpriced.
    """

    repeats: int
    questions: int
    questions_assured: int
    calls: int
    cost_usd: Decimal | None


class PowerPlan(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to tell a difference between two settings.

    Attributes:
        metric: The metric.
        difference: The difference of its means to be found.
        power: Chance to find it where it is there.
        alpha: Chance to find one where there is none.
        between: Variance over questions of the difference between two settings;
            ``None`` where each question was asked once.
        within: Sum of both settings' variances over answers to one question; likewise.
        settings: The two settings of the pilot that differ most from question to
            question; one, where it had one.
        pilot_questions: Questions of the pilot.
        options: Ways to split the study, fewest repeats first.
        questions_at_hand: Questions that there are, ``None`` where not said.
    """

    metric: str
    difference: float
    power: float
    alpha: float
    between: float | None
    within: float | None
    settings: tuple[str, ...]
    pilot_questions: int
    options: tuple[Option, ...]
    questions_at_hand: int | None = None

    @property
    def best(self) -> Option | None:
        """The option of fewest calls that the questions at hand suffice for."""
        most = self.questions_at_hand or MOST_QUESTIONS
        some = [option for option in self.options if option.questions <= most]
        return min(some, key=lambda option: option.calls, default=None)

    @property
    def sentence(self) -> str:
        """What to do, in a sentence."""
        aim = (
            f"To tell a difference of {self.difference:g} in {self.metric} with a "
            f"chance of {self.power:.0%}"
        )
        best = self.best
        if best is None:
            least = self.options[-1]
            return (
                f"{aim}, {self.questions_at_hand:,} questions are too few, however "
                f"often each is asked: {least.questions:,} would do with "
                f"{least.repeats} repeats."
            )
        times = "once" if best.repeats == 1 else f"{best.repeats} times"
        cost = "" if best.cost_usd is None else f", about {html.money(best.cost_usd)}"
        return (
            f"{aim}, ask {best.questions:,} questions {times} in each of two settings: "
            f"{best.calls:,} calls{cost}."
        )

    def _parts(self) -> tuple[str, list[Section], str]:
        heads = ("repeats", "questions", "to be sure", "calls", "cost")
        rows = [
            [
                option.repeats,
                f"{option.questions:,}",
                f"{option.questions_assured:,}",
                f"{option.calls:,}",
                html.money(option.cost_usd),
            ]
            for option in self.options
        ]
        table = Table(heads, rows, range(5), self._caption())
        return "", [html.Cell(self.sentence, html.esc(self.sentence)), table], ""

    def _caption(self) -> str:
        where = " and ".join(self.settings)
        if self.between is None or self.within is None:
            parts = (
                "Each question was asked once, so chance and differences between "
                "questions cannot be told apart: no other number of repeats is planned."
            )
        else:
            parts = (
                f"Variance of the difference over questions {self.between:.3g}, of "
                f"answers to one question {self.within:.3g}: repeats shrink only the "
                "second."
            )
        one = (
            " The pilot has one setting: the other is taken to be as variable and to "
            "have nothing in common with it, which needs most questions."
        )
        return (
            f"From {self.pilot_questions} questions at {where}; two-sided paired t "
            f"test at {self.alpha:g}. To be sure: with the upper {ASSURANCE:.0%} limit "
            f"of the variance. {parts}{one if len(self.settings) == 1 else ''}"
        )


class _Variance(msgspec.Struct, frozen=True):
    """Variance of a difference per question.

    Attributes:
        total: With the pilot's repeats.
        between: Over questions; ``None`` where not to be told.
        within: Over answers to one question, both settings together.
        questions: How many questions it is of.
        settings: Which they are.
    """

    total: float
    between: float | None
    within: float | None
    questions: int
    settings: tuple[str, ...]

    def at(self, repeats: int) -> float:
        """Return it with so many repeats."""
        if self.between is None or self.within is None:
            return self.total
        return self.between + self.within / repeats


def plan_for(
    sweep: Outcome,
    difference: float,
    metric: str | None = None,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    questions: int | None = None,
) -> PowerPlan:
    """Return what it takes to find a difference; see ``Sweep.plan_for``.

    Raises:
        BadInput: If the sweep has no such metric, too few questions or no variance, or
            a number is out of its range.
    """
    _check(difference, power, alpha, questions)
    if not sweep.metrics:
        raise BadInput(
            "The sweep has no metric to plan for.",
            "Give it one: sweep(..., metrics={'right': lambda reply: ...}).",
        )
    name = next(iter(sweep.metrics)) if metric is None else metric
    choice("plan_for(metric=)", name, tuple(sweep.metrics))
    found = max(_variances(_scores(sweep, name)), key=lambda each: each.at(1))
    if found.at(1) <= 0:
        raise BadInput(
            f"{name} is the same for all answers of this sweep, so that it tells "
            "nothing of how much it varies.",
            "Ask harder questions, or more of them.",
        )
    from scipy import special

    spread = found.questions - 1
    upper = spread / float(special.chdtri(spread, ASSURANCE))
    calls = sum(getattr(some, "count", 1) for some in sweep.spent)
    whole = total_usd([some.cost for some in sweep.spent])
    each = None if whole is None else whole / calls
    options = []
    for repeats in REPEATS if found.between is not None else (sweep.repeats,):
        scale = difference / math.sqrt(max(found.at(repeats), 1e-12))
        needed = questions_needed(scale, power=power, alpha=alpha)
        sure = questions_needed(scale / math.sqrt(upper), power=power, alpha=alpha)
        calls = 2 * needed * repeats
        cost = None if each is None else each * calls
        options.append(Option(repeats, needed, sure, calls, cost))
    return PowerPlan(
        metric=name,
        difference=difference,
        power=power,
        alpha=alpha,
        between=found.between,
        within=found.within,
        settings=found.settings,
        pilot_questions=found.questions,
        options=tuple(options),
        questions_at_hand=questions,
    )


def questions_needed(effect: float, *, power: float, alpha: float) -> int:
    """Return the pairs that a two-sided paired t test needs.

    Args:
        effect: The difference in standard deviations of a pair's difference.
        power: Chance to find it.
        alpha: Chance to find one where there is none.
    """

    def enough(pairs: int) -> bool:
        return power_of(effect, pairs, alpha) >= power

    counts = range(2, MOST_QUESTIONS)
    return counts.start + bisect.bisect_left(counts, 1, key=enough)


def power_of(effect: float, pairs: int, alpha: float) -> float:
    """Return the power of a two-sided paired t test, by the noncentral t."""
    from scipy import special

    freedom, shift = pairs - 1, effect * math.sqrt(pairs)
    limit = float(special.stdtrit(freedom, 1 - alpha / 2))
    if freedom > 10_000 or shift > 30:  # the noncentral t is normal there, and slow
        return float(special.ndtr(shift - limit) + special.ndtr(-limit - shift))
    above = 1 - special.nctdtr(freedom, shift, limit)
    below = special.nctdtr(freedom, shift, -limit)
    return float(np.nan_to_num(above) + np.nan_to_num(below))


def _check(difference: Any, power: Any, alpha: Any, questions: Any) -> None:
    for name, value, high in (
        ("difference", difference, math.inf),
        ("power", power, 1.0),
        ("alpha", alpha, 1.0),
    ):
        if not (is_number(value) and 0 < value < high):
            limit = "" if high == math.inf else f" and below {high:g}"
            raise BadInput(f"{name} is {value!r}.", f"Give a number above 0{limit}.")
    if questions is not None:
        check_count("questions", questions, 2)


def _scores(sweep: Outcome, metric: str) -> Mapping[str, Scores]:
    """Return for each setting the scores of each question."""
    scores = sweep.scores[metric]
    out: dict[str, dict[Any, list[float]]] = {}
    for group in groups(sweep):
        values = [float(v) for at in group.places if (v := scores[at]) is not None]
        if values:
            place = out.setdefault(setting(group.labels, sweep.axes), {})
            place[group.labels.get("prompt")] = values
    return out


def _variances(settings: Mapping[str, Scores]) -> list[_Variance]:
    """Return the variance for each two settings, or for one against an unknown."""
    found = [
        _paired(settings[a], settings[b], (a, b))
        for a, b in itertools.combinations(settings, 2)
    ]
    if len(settings) == 1:
        ((name, scores),) = settings.items()
        found = [_paired(scores, None, (name,))]
    enough = [each for each in found if each and each.questions >= LEAST_QUESTIONS]
    if not enough:
        most = max((len(scores) for scores in settings.values()), default=0)
        raise BadInput(
            f"The sweep has answers to {html.many(most, 'question')}.",
            f"Sweep a pilot of {LEAST_QUESTIONS} prompts or more, two repeats each.",
        )
    return [each for each in enough if each is not None]


def _paired(a: Scores, b: Scores | None, names: tuple[str, ...]) -> _Variance | None:
    """Return the variance of the difference between two settings per question.

    Args:
        a: Scores at one setting.
        b: At the other; for ``None`` it is as variable, with nothing in common.
        names: What they are called.
    """
    both = [question for question in a if b is None or question in b]
    if len(both) < 2:
        return None
    sides = [a] if b is None else [a, b]
    twice = 2 / len(sides)
    means = [np.array([np.mean(side[q]) for q in both]) for side in sides]
    total = twice * np.var(means[0] if b is None else means[0] - means[1], ddof=1)
    repeated = [[side[q] for q in both if len(side[q]) > 1] for side in sides]
    if not all(repeated):
        return _Variance(float(total), None, None, len(both), names)
    within = [float(np.mean([np.var(v, ddof=1) for v in some])) for some in repeated]
    # A question asked k times has 1/k of the variance within it in its mean.
    shares = [np.mean([1 / len(side[q]) for q in both]) for side in sides]
    noise = twice * sum(w * share for w, share in zip(within, shares, strict=True))
    between = max(0.0, float(total) - float(noise))
    return _Variance(float(total), between, twice * sum(within), len(both), names)
