"""Find intervals of shares, means and costs, for whoever shows one."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""

TAIL = 0.025
"""The chance that a 95 % interval misses on one side."""

LEAST = 3
"""Fewer values than this get no interval."""

ALIKE = 1e-5
"""The share by which figures differ at most that are equal: similarities have single
precision and many terms."""

NO_INTERVAL = "no interval where there are fewer than 3 values, or all are alike"
"""What a caption says where a figure stands without one."""

ENDS = ("", "_low", "_high")
"""What a row calls a figure and the limits of its interval."""


def in_row(name: str, figure: Iterable[Any]) -> dict[str, Any]:
    """Return a figure and its limits by the names that a row has for them."""
    return {f"{name}{end}": value for end, value in zip(ENDS, figure, strict=True)}


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927, doi 10.2307/2276774).

    Unlike the normal approximation it stays inside 0 and 1 and is not a point when
    all or none succeed.

    Args:
        successes: How many of the ``n`` did; a fraction for an effective number.
        n: How many were tried; with 0 nothing is known and the interval is (0, 1).

    Returns:
        Lower and upper limit, each from 0 to 1.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    spread = share * (1 - share) / n + z2 / (4 * n * n)
    half = Z_95 * math.sqrt(spread) / (1 + z2 / n)
    # With none or all the limit is 0 or 1 exactly; rounding would miss it.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def exact(successes: float, n: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a share.

    It never covers less than 95 %, while Wilson's does so on average over all shares
    (Clopper and Pearson 1934, doi 10.1093/biomet/26.4.404).
    """
    if n == 0:
        return 0.0, 1.0
    from scipy import special

    failures = n - successes
    low = special.betaincinv(successes, failures + 1, TAIL) if successes > 0 else 0.0
    high = special.betaincinv(successes + 1, failures, 1 - TAIL) if failures > 0 else 1
    return float(low), float(high)


def most_unseen(seen: int, n: int) -> float:
    """Return the largest share of what came at most once in ``n`` tries.

    At a larger one it would come more often, 95 % of the time.

    Args:
        seen: 0 or 1.
        n: Tries.
    """
    if seen == 0:
        return 1 - math.exp(math.log(2 * TAIL) / n)
    from scipy import special

    return float(special.betaincinv(seen + 1, n - seen, 1 - 2 * TAIL))


def student(df: float) -> float:
    """Return the 97.5 % point of Student's t."""
    from scipy import special

    return float(special.stdtrit(df, 1 - TAIL))


def of_mean(
    values: Sequence[float], *, positive: bool = False
) -> tuple[float, float] | tuple[None, None]:
    """Return Student's interval of a mean, two times ``None`` where there is none.

    Fewer than three values have none, nor do values that are all alike: they tell
    nothing of how far others may be from them.
    """
    if len(values) < LEAST:
        return None, None
    if max(values) - min(values) <= ALIKE * max(map(abs, values)):
        return None, None
    return around(values, positive=positive)


def around(values: Any, *, positive: bool = False) -> tuple[float, float]:
    """Return Student's interval of the mean of two values or more.

    What cannot be negative, such as words, seconds and cost, is skewed: few large
    values make up much of the mean. There the upper limit is that of the mean's
    logarithm, plus what the skewness of the values adds (N. J. Johnson 1978, Modified
    t tests and confidence intervals, doi 10.2307/2286597). Without both, 95 % would be
    86 % for seconds that spread by a factor of two.
    """
    import numpy as np

    data = np.asarray(values, dtype=float)
    n, value, spread = len(data), float(data.mean()), float(data.std(ddof=1))
    t = student(n - 1)
    half = t * spread / n**0.5
    low, high = value - half, value + half
    if positive and value > 0 and spread > 0:
        skewness = float((((data - value) / spread) ** 3).mean())
        half += max(0.0, spread * skewness / (6 * n) * (1 + 2 * t**2))
        return max(0.0, low), value * math.exp(half / value)
    return low, high


class RightPrice(NamedTuple):
    """US dollars paid for each right answer, with a 95 % interval.

    Attributes:
        value: All that was paid, divided by the right answers; ``None`` if none is.
        low: Lower limit, known even where no answer is right.
        high: Upper limit, ``None`` where there is none.
    """

    value: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None


def right_price(
    costs: Sequence[Decimal | None],
    right: int,
    share: tuple[float, float] | None = None,
    mean: tuple[float, float] | None = None,
) -> RightPrice:
    """Return what a right answer costs, all that was paid counted.

    The lower limit is the least an answer costs on average for the highest share of
    right ones, the upper one the reverse: both may be off at once, as long answers
    cost more and may be right more often or less.

    Args:
        costs: What each answer took that was asked for, also wrong and broken ones.
        right: How many are right.
        share: Limits of the share of right ones; Wilson's unless given.
        mean: Limits of the mean cost; Student's unless given.
    """
    known = [cost for cost in costs if cost is not None]
    n, total = len(costs), sum(known, Decimal(0))
    if not n or len(known) < n:
        return RightPrice()
    value = total / right if right else None
    if n < LEAST:
        return RightPrice(value)
    low, high = share or wilson(right, n)
    mean = mean or around([float(cost) for cost in known], positive=True)
    ends = [mean[0] / high if high else math.inf, mean[1] / low if low else math.inf]
    least, most = (Decimal(f"{end:.6g}") if end < math.inf else None for end in ends)
    return RightPrice(value, least, most if right else None)


@functools.lru_cache(maxsize=4096)
def chosen(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the share of an answer chosen for its count.

    Wilson's is for an answer that was named before asking. The most frequent of many
    answers looks more frequent than it is, whichever it turns out to be: of 16 equally
    likely ones the first of 5 answers has 30 % on average. So the lower limit is the
    share p at which the chance of such a count is 2.5 % of p, not 2.5 %. Shares add up
    to 1, so the lower limits of all answers hold together 97.5 % of the time. The
    upper limit is that of ``exact``.

    Args:
        count: How often the answer was given.
        n: Answers in all; with 0 the interval is (0, 1).
    """
    from scipy import special

    high = exact(count, n)[1]
    if count < 2:  # an answer that was seen once may be one of any number
        return 0.0, high
    low, end = 0.0, count / n
    for _ in range(50):
        p = (low + end) / 2
        # The chance of this count or more, at the share p.
        if special.betainc(count, n - count + 1, p) > TAIL * p:
            end = p
        else:
            low = p
    return low, high
