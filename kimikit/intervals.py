"""Intervals of shares, for whoever shows a share."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % point of the standard normal distribution."""


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
