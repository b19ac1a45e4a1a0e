"""Find 95 % intervals of a sweep's figures, per prompt and over several.

Answers are resampled, never pairs of them, since pairs that share an answer are not
independent. With three prompts or more the interval follows from how the prompts
differ, as answers to one prompt are alike (Miller 2024, Adding Error Bars to Evals,
arXiv 2411.00640). How often each kind of interval holds the truth is measured by
``tests/bench/bench_coverage.py``.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from kimikit.sweeps.shares import ALIKE, LEAST, around, most_unseen, student, wilson
from kimikit.sweeps.shares import Z_95 as Z

Array = npt.NDArray[Any]

Limits = tuple[float, float]
"""The lower and the upper end of an interval, or of what a figure can be."""

SHARE: Limits = (0.0, 1.0)

MANY = 10
"""From so many prompts on their differences tell all there is to know."""

FEW = 5
"""Fewer answers than this have too few pairs to resample."""

DRAWS = 1000
"""Bootstrap replicates."""

HALVES = 64
"""Halves of a set that its interval looks at."""

RAREFIED = 16
"""Sets of fewer answers than there are whose figures are averaged."""

REPETITIONS = 3
"""Repeated words of a set that chance may bring or take."""

SINGLES = 16
"""Answers, the first so many, that tell what one answer adds to a set."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS to one thread.

    A product of a few dozen answers takes less time than its threads take to meet.
    """
    with threadpool_limits(1):
        yield


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval, ``None`` where there is none.

    ``high`` is infinite where answers not seen yet may add any amount.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Part(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A figure of the answers to one prompt.

    Attributes:
        value: The figure.
        n: Answers it is of.
        hits: For a rate, how many of them.
        trials: For a share of chances, such as pass@k, how many chances there were.
        least: A value that errs low where ``value`` errs high.
        unbounded: Whether answers not seen yet may add any amount.
        find: From what the figure can be to its interval, worked out when asked for:
            with three prompts or more it never is.
    """

    value: float
    n: int
    hits: float | None = None
    trials: int | None = None
    least: float | None = None
    unbounded: bool = False
    find: Callable[[Limits], Limits | None] | None = None

    def limits(self, bounds: Limits) -> Limits | None:
        """Return the interval of this part alone, ``None`` where it has none."""
        if self.n >= LEAST and self.find is not None:
            self.__dict__["_limits"] = self.find(bounds)
            # What finds it holds every word of the answers.
            msgspec.structs.force_setattr(self, "find", None)
        found: Limits | None = self.__dict__.get("_limits")
        return found

    def complement(self) -> Part:
        """Return 1 minus the figure."""

        def find(bounds: Limits) -> Limits | None:
            ends = self.limits(bounds)
            return None if ends is None else (1 - ends[1], 1 - ends[0])

        return Part(1 - self.value, self.n, find=find)


Prompts = Mapping[Any, Sequence[Part]]
"""For each prompt the parts of one figure."""


def unseen(value: float, n: int, bounds: Limits) -> Limits | None:
    """Return the interval of what came out the same ``n`` times.

    A share of what would come out is otherwise, and that may be anything within the
    bounds. Without bounds there is no interval.
    """
    if not all(map(math.isfinite, bounds)):
        return None
    share = most_unseen(0, n)
    return value - share * (value - bounds[0]), value + share * (bounds[1] - value)


def of_mean(values: Array, bounds: Limits) -> Limits | None:
    """Return Student's interval of a mean, ``None`` where all values are alike."""
    value, n = float(values.mean()), len(values)
    # Without bounds a figure may be of any size, a probability of 0.000001 too.
    finite = all(map(math.isfinite, bounds))
    size = 1.0 if finite else float(np.abs(values).max())
    if float(np.ptp(values)) <= ALIKE * size:
        return unseen(value, n, bounds)
    low, high = around(values, positive=bounds[0] == 0)
    return max(bounds[0], low), min(bounds[1], high)


def of_shares(values: Array, most: float = math.inf) -> Limits:
    """Return the interval of the mean of shares, one per prompt.

    It is Wilson's of an effective number of answers, as answers to one prompt are
    alike, with Student's factor for few prompts (Korn and Graubard 1998).

    Args:
        values: A share of each prompt.
        most: The effective number is no larger.
    """
    value, count = min(max(float(values.mean()), 0.0), 1.0), len(values)
    variance = float(values.var(ddof=1)) / count
    effective = float(count)
    if variance > ALIKE**2:
        effective = value * (1 - value) / variance * (Z / student(count - 1)) ** 2
    effective = min(effective, most)
    return wilson(value * effective, effective)


@functools.lru_cache(maxsize=16)
def resamples(n: int) -> tuple[Array, Array]:
    """Return how often each of ``n`` answers is drawn, one row per replicate.

    With it come the pairs of different answers in each. The seed is fixed, so that a
    summary shown twice is the same.
    """
    drawn = np.random.default_rng(n).integers(0, n, (DRAWS, n))
    drawn += np.arange(DRAWS)[:, None] * n
    counts = np.bincount(drawn.ravel(), minlength=DRAWS * n).reshape(DRAWS, n)
    weights = counts.astype(np.float32)
    return weights, n * n - (weights**2).sum(axis=1)


@functools.lru_cache(maxsize=64)
def subsets(n: int, size: int, draws: int) -> Array:
    """Return which of ``n`` answers are taken, ``size`` in each row.

    All rows if they are no more than ``draws``, else as many, drawn with a fixed seed.
    """
    if math.comb(n, size) <= draws:
        rows = list(itertools.combinations(range(n), size))
    else:
        rng = np.random.default_rng(n)
        rows = [tuple(rng.permutation(n)[:size]) for _ in range(draws)]
    taken = np.zeros((len(rows), n), dtype=bool)
    taken[np.arange(len(rows))[:, None], np.array(rows)] = True
    return taken


def mean(values: Sequence[float] | Array) -> Part:
    """Return the mean of a figure that each answer has of its own."""
    data = np.asarray(values, dtype=np.float64)
    return Part(
        float(data.mean()), len(data), find=lambda bounds: of_mean(data, bounds)
    )


def pairwise(alike: Array) -> Part:
    """Return the mean over pairs of different answers, bootstrapped by answer.

    An answer drawn twice makes no pair with itself, which would pass for a duplicate.

    Args:
        alike: Similarity of each pair, shape (n, n).
    """
    n = len(alike)
    off = np.array(alike, dtype=np.float32)
    np.fill_diagonal(off, 0.0)
    value = float(off.sum(dtype=np.float64) / (n * (n - 1)))

    def find(_: Limits) -> Limits:
        weights, pairs = resamples(n)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = ((weights @ off) * weights).sum(axis=1) / pairs
        low, high = np.nanpercentile(draws, [2.5, 97.5])
        if high - low < ALIKE:
            return _unseen_pairs(value, n)
        # The percentile interval is too short for small n (Hesterberg 2015), and knows
        # nothing of an answer of another kind that did not come, or came once.
        wider = student(n - 1) / Z * (n / (n - 1)) ** 0.5
        below, above = (value - float(low)) * wider, (float(high) - value) * wider
        below, above = (
            math.hypot(below, 2 * value / n),
            math.hypot(above, 2 * (1 - value) / n),
        )
        ends = max(0.0, value - below), min(1.0, value + above)
        if n < FEW:
            other = _unseen_pairs(value, n)
            ends = min(ends[0], other[0]), max(ends[1], other[1])
        return ends

    return Part(value, n, find=find)


def _unseen_pairs(value: float, n: int) -> Limits:
    """Return the interval of the mean similarity where all pairs are equally alike.

    Pairs without what never came are at least the square of the rest, and pairs of one
    answer at most the square of a share that comes once.
    """
    other, same = most_unseen(0, n), most_unseen(1, n)
    return value * (1 - other) ** 2, value + (1 - value) * same**2


def of_set(
    figure: Callable[[Array], Array],
    n: int,
    size: int,
    *,
    step: float,
    unbounded: bool = False,
) -> Part:
    """Return a share of a set of answers, which depends on how many there are.

    The bootstrap repeats answers, and a repeated answer is a duplicate: it would make
    every set look less varied than it is. Halves of the set do not, and show more of
    how it saturates than leaving one answer out (Shao and Wu 1989, the delete-d
    jackknife). No half shows a kind of answer that did not come: the upper limit takes
    in one such answer, and where all halves are alike as many as may be unseen.

    Args:
        figure: From rows of which answers are taken to the figure of each row.
        n: Answers in all.
        size: Answers that the figure is of; with fewer than ``n`` it is the mean over
            sets of so many of them.
        step: What one more repetition changes; chance makes some more or fewer.
        unbounded: Whether answers not seen yet may add any amount.
    """
    value = float(figure(subsets(n, size, RAREFIED)).mean())

    def find(bounds: Limits) -> Limits:
        kept = (size + 1) // 2
        taken = subsets(size, kept, HALVES)
        half = np.zeros((len(taken), n), dtype=bool)
        half[:, :size] = taken
        variance = kept / (size - kept) * float(figure(half).var())
        wide = student(size - 1) * variance**0.5
        alike = wide < ALIKE
        wide = math.hypot(wide, REPETITIONS * step)
        low, high = value - wide, math.inf
        if not unbounded:
            single = np.eye(min(n, SINGLES), n, dtype=bool)
            one = float(figure(single).mean()) / size
            high = value + math.hypot(wide, one)
        if alike:
            end = (bounds[0], value) if unbounded else SHARE
            low, high = unseen(value, size, end) or (low, high)
        return low, math.inf if unbounded else high

    trials = None if unbounded else size
    return Part(value, size, trials=trials, unbounded=unbounded, find=find)


def pool(prompts: Sequence[Sequence[Part]], bounds: Limits = SHARE) -> Estimate:
    """Join the figures of several prompts into their mean and its interval.

    Args:
        prompts: For each prompt its parts.
        bounds: What the figure cannot leave.
    """
    parts = [part for prompt in prompts for part in prompt]
    values = np.array([_mean_of(some) for some in prompts])
    value, count = float(values.mean()), len(values)
    hits = all(part.hits is not None for part in parts)
    n, fewest = sum(part.n for part in parts), min(part.n for part in parts)
    ends: Limits | None = None
    if count >= LEAST:
        ends = _over_prompts(prompts, values, bounds)
        if count < MANY and fewest >= LEAST and not hits:
            # Few may look alike by chance: no more is known than of these prompts.
            these = _joined(prompts, value, bounds)
            if ends is not None and these is not None:
                ends = min(ends[0], these[0]), max(ends[1], these[1])
    elif fewest >= LEAST and hits:
        ends = wilson(min(max(value, 0.0), 1.0) * n, n)
    elif fewest >= LEAST:
        ends = _joined(prompts, value, bounds)
    if ends is None:
        return Estimate(value)
    # Rounding, and Chen's pass@k, may leave the interval.
    return Estimate(value, min(ends[0], value), max(ends[1], value))


def _over_prompts(
    prompts: Sequence[Sequence[Part]], values: Array, bounds: Limits
) -> Limits | None:
    """Return the interval that follows from how prompts differ."""
    parts = [part for prompt in prompts for part in prompt]
    if all(part.unbounded for part in parts):
        # Of n answers it is at most ln n: as a share of that it is never below 0.
        ceiling = math.log(max(max(part.n for part in parts), 2))
        return of_shares(values / ceiling)[0] * ceiling, math.inf
    if bounds != SHARE:
        return of_mean(values, bounds)
    chances = [part.n if part.hits is not None else part.trials for part in parts]
    known = [chance for chance in chances if chance is not None]
    low, high = of_shares(values, sum(known) if len(known) == len(parts) else math.inf)
    if all(part.least is not None for part in parts):
        least = [np.mean([part.least for part in some]) for some in prompts]
        low = min(low, of_shares(np.array(least))[0])
    return low, high


def _joined(
    prompts: Sequence[Sequence[Part]], value: float, bounds: Limits
) -> Limits | None:
    """Join intervals by square-and-add (Zou and Donner 2008).

    Where a value errs high, the lower limit is joined around one that errs low: what
    all parts err by does not shrink with their number.
    """
    low = below = above = 0.0
    for some in prompts:
        for part in some:
            ends = part.limits(bounds)
            if ends is None:
                return None
            weight = 1 / (len(prompts) * len(some))
            least = part.value if part.least is None else part.least
            low += weight * least
            below += (weight * (least - min(ends[0], least))) ** 2
            above += (weight * (max(ends[1], part.value) - part.value)) ** 2
    return max(bounds[0], low - below**0.5), min(bounds[1], value + above**0.5)


def minus(mine: Prompts, yours: Prompts, bounds: Limits) -> Estimate | None:
    """Return the mean difference over the prompts of both, ``None`` if there are none.

    From three prompts on it is Student's interval of the differences. Below, the
    intervals of both sides are joined by square-and-add (Newcombe 1998; Zou and Donner
    2008), and there is none where a side has no upper limit.
    """
    pairs = [(mine[prompt], yours[prompt]) for prompt in mine if prompt in yours]
    if not pairs:
        return None
    gaps = np.array([_mean_of(a) - _mean_of(b) for a, b in pairs])
    value, count = float(gaps.mean()), len(gaps)
    widest = bounds[1] - bounds[0]
    if count >= LEAST:
        ends = of_mean(gaps, (-widest, widest))
        return Estimate(value) if ends is None else Estimate(value, *ends)
    a, b = (pool(side, bounds) for side in zip(*pairs, strict=True))
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(value)
    below = math.hypot(a.value - a.low, b.high - b.value)
    above = math.hypot(a.high - a.value, b.value - b.low)
    if math.isinf(below + above):
        return Estimate(value)
    return Estimate(value, value - below, value + above)


def _mean_of(parts: Sequence[Part]) -> float:
    values = [part.value for part in parts]  # nearly always one: numpy is slow for it
    return float(values[0] if len(values) == 1 else np.mean(values))
