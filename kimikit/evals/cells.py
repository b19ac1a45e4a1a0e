"""Share cells and remarks among the tables of this package."""

from __future__ import annotations

import math

from kimikit import html
from kimikit.sweeps.shares import wilson


def share(count: int, n: int, ends: tuple[float, float] | None = None) -> html.Cell:
    """Return a share with its 95 % interval, Wilson's unless given."""
    parts = (count / n if n else 0.0, *(ends or wilson(count, n)))
    return html.interval(*(f"{part:.0%}" for part in parts))


def not_asked(count: int, stop_reason: str) -> str:
    """Return how many questions were not asked and why, empty for none."""
    why = "max_cost reached" if stop_reason == "max_cost" else "stopped"
    return f"{count} not asked: {why}" if count else ""


def sign_test(gains: int, losses: int) -> float:
    """Return how likely chance alone splits so unevenly: McNemar's exact test."""
    n = gains + losses
    tail = sum(math.comb(n, i) for i in range(min(gains, losses) + 1))
    p: float = 2 * tail / 2**n
    return min(1.0, p)
