"""95 % intervals: Wilson for rates, bootstrap for means, jackknife for sets.

Answers are resampled, never pairs of them, since pairs that share an answer are not
independent. With three prompts or more the prompts are what is resampled, as
answers to one prompt are alike (Miller 2024, Adding Error Bars to Evals,
arXiv 2411.00640).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from kimikit.intervals import Z_95 as Z
from kimikit.intervals import wilson

Array = npt.NDArray[Any]

LEAST = 3
"""Fewer answers than this get no interval."""

ALIKE = 1e-5
"""Figures nearer to each other than this are equal: similarities have single precision
and many terms."""

DRAWS = 1000
"""Bootstrap replicates."""

GROUPS = 10
"""Groups of the jackknife."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS to one thread.

    A matrix product of a few dozen answers takes less time than its threads take to
    meet, several times less on a busy machine.
    """
    with threadpool_limits(1):
        yield


class Estimate(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval, ``None`` where n is too small for one."""

    value: float
    low: float | None = None
    high: float | None = None


class Part(msgspec.Struct, frozen=True, eq=False):
    """A figure of the answers to one prompt, and what its interval follows from.

    Attributes:
        value: The figure.
        n: Answers it is of.
        hits: For a rate, how many of them.
        draws: For a mean, its bootstrap replicates.
        error: For a figure of a set, its jackknife standard error.
    """

    value: float
    n: int
    hits: float | None = None
    draws: Array | None = None
    error: float | None = None

    def complement(self) -> Part:
        """Return 1 minus a bootstrapped figure."""
        draws = None if self.draws is None else 1 - self.draws
        return Part(1 - self.value, self.n, draws=draws)


Prompts = Mapping[Any, Sequence[Part]]
"""For each prompt the parts of one figure."""


def student(df: float) -> float:
    """Return the 97.5 % point of Student's t (Cornish-Fisher, within 1 % from 2 on)."""
    z3, z5, z7, z9 = (Z**power for power in (3, 5, 7, 9))
    return (
        Z
        + (z3 + Z) / (4 * df)
        + (5 * z5 + 16 * z3 + 3 * Z) / (96 * df**2)
        + (3 * z7 + 19 * z5 + 17 * z3 - 15 * Z) / (384 * df**3)
        + (79 * z9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * Z) / (92160 * df**4)
    )


@functools.lru_cache(maxsize=16)
def resamples(n: int) -> Array:
    """Return how often each of ``n`` answers is drawn, one row a replicate.

    The seed is fixed, so that a summary shown twice is the same.
    """
    drawn = np.random.default_rng(n).integers(0, n, (DRAWS, n))
    drawn += np.arange(DRAWS)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=DRAWS * n).reshape(DRAWS, n)


def mean(values: Sequence[float]) -> Part:
    """Return the mean, to be bootstrapped (Efron 1979)."""
    data = np.asarray(values, dtype=np.float64)
    draws = resamples(len(data)) @ data / len(data)
    return Part(float(data.mean()), len(data), draws=draws)


def pairwise(alike: Array) -> Part:
    """Return the mean over pairs of different answers, bootstrapped by answer.

    An answer drawn twice makes no pair with itself, which would pass for a duplicate.

    Args:
        alike: Similarity of each pair, shape (n, n).
    """
    n = len(alike)
    weights = resamples(n).astype(np.float32)
    off = np.array(alike, dtype=np.float32)
    np.fill_diagonal(off, 0.0)
    pairs = n * n - (weights**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = ((weights @ off) * weights).sum(axis=1) / pairs
    return Part(float(off.sum() / (n * (n - 1))), n, draws=draws)


def jackknife(figure: Callable[[Array], float], n: int) -> Part:
    """Return a figure of a set of answers, with its grouped jackknife error.

    The bootstrap repeats answers, and a repeated answer is a duplicate: it would make
    every set look less varied than it is. Leaving groups out does not (Quenouille
    1956, Tukey 1958).

    Args:
        figure: From the places of some answers to the figure of these.
        n: Answers in all.
    """
    places, groups = np.arange(n), min(n, GROUPS)
    left = np.array([figure(places[places % groups != g]) for g in range(groups)])
    error = ((groups - 1) / groups * ((left - left.mean()) ** 2).sum()) ** 0.5
    wider = student(max(groups - 1, 2)) / Z
    return Part(figure(places), n, error=float(error) * wider)


def pool(
    prompts: Sequence[Sequence[Part]], bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Join the figures of several prompts into their mean and its interval.

    Args:
        prompts: For each prompt its parts.
        bounds: What the figure cannot leave.
    """
    parts = [part for prompt in prompts for part in prompt]
    values = np.array([_mean_of(some) for some in prompts])
    value, count = float(values.mean()), len(values)
    n, least = sum(part.n for part in parts), min(part.n for part in parts)
    if count < LEAST and least < LEAST:
        return Estimate(value)
    if all(part.hits is not None for part in parts):
        effective = float(n)
        if count >= LEAST:  # answers to one prompt count less (Korn and Graubard 1998)
            variance = float(values.var(ddof=1)) / count
            effective = value * (1 - value) / variance if variance > 0 else count
            effective = min(max(effective, count), n)
        return Estimate(value, *wilson(value * effective, effective))
    if count >= LEAST:
        return _expanded(value, resamples(count) @ values / count, count, bounds)
    draws = [part.draws for part in parts if part.draws is not None]
    if draws:
        # Cells of one size share their resamples; shifted against each other they
        # are drawn apart, as they were asked apart.
        apart = [np.roll(some, place) for place, some in enumerate(draws)]
        return _expanded(value, np.mean(apart, axis=0), least, bounds)
    errors = np.array([part.error or 0.0 for part in parts])
    half = Z * float((errors**2).sum() ** 0.5) / len(parts)
    if half == 0:
        return Estimate(value)
    return Estimate(value, max(bounds[0], value - half), min(bounds[1], value + half))


def minus(
    mine: Prompts, yours: Prompts, bounds: tuple[float, float]
) -> Estimate | None:
    """Return the mean difference over the prompts of both, ``None`` if there are none.

    From three prompts on the differences are what is resampled. Below, the intervals
    of both sides are joined by square-and-add (Newcombe 1998; Zou and Donner 2008).
    """
    pairs = [(mine[prompt], yours[prompt]) for prompt in mine if prompt in yours]
    if not pairs:
        return None
    gaps = np.array([_mean_of(a) - _mean_of(b) for a, b in pairs])
    value, count = float(gaps.mean()), len(gaps)
    if count >= LEAST:
        draws = resamples(count) @ gaps / count
        return _expanded(value, draws, count, (-np.inf, np.inf))
    a, b = (pool(side, bounds) for side in zip(*pairs, strict=True))
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(value)
    below = ((a.value - a.low) ** 2 + (b.high - b.value) ** 2) ** 0.5
    above = ((a.high - a.value) ** 2 + (b.value - b.low) ** 2) ** 0.5
    return Estimate(value, value - below, value + above)


def _mean_of(parts: Sequence[Part]) -> float:
    return float(np.mean([part.value for part in parts]))


def _expanded(
    value: float, draws: Array, n: int, bounds: tuple[float, float]
) -> Estimate:
    """Return the percentile interval, widened for small n (Hesterberg 2015).

    Where all answers are alike there is nothing to resample, and no interval; but at
    the end of a share, such as no diversity at all, Wilson's of 0 in n holds.
    """
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    if high - low < ALIKE:
        end = bounds == (0.0, 1.0) and min(abs(value), abs(1 - value)) < ALIKE
        return Estimate(value, *wilson(round(value) * n, n)) if end else Estimate(value)
    wider = student(n - 1) / Z * (n / (n - 1)) ** 0.5
    return Estimate(
        value,
        float(max(bounds[0], value - (value - low) * wider)),
        float(min(bounds[1], value + (high - value) * wider)),
    )
