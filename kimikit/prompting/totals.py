"""What the results of this room share: totals, who answered, shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from kimikit import html
from kimikit.intervals import wilson
from kimikit.types import Reply, Usage


class Spent(Protocol):
    """A reply, or a turn of a conversation."""

    @property
    def usage(self) -> Usage:
        """Tokens."""

    @property
    def cost(self) -> Decimal | None:
        """Dollars, ``None`` where unpriced."""


def total_usage(some: Iterable[Spent]) -> Usage:
    """Return the tokens of all together."""
    return sum((one.usage for one in some), Usage())


def total_cost(some: Iterable[Spent]) -> Decimal | None:
    """Return the dollars of all together, ``None`` when any is unpriced."""
    total = Decimal(0)
    for one in some:
        if one.cost is None:
            return None
        total += one.cost
    return total


def spent(some: Sequence[Spent]) -> str:
    """Return tokens and dollars of all together, as a footer says them."""
    usage = total_usage(some)
    money = html.money(total_cost(some), estimated=usage.estimated)
    return html.footer_line([str(usage), money])


def where(replies: Iterable[Reply]) -> str:
    """Return who answered, each once, for the foot of a view."""
    mark = "local stand-in, not Kimi"
    lines = [
        html.footer_line([r.host, r.model, mark if r.stand_in else ""]) for r in replies
    ]
    return "; ".join(line for line in dict.fromkeys(lines) if line)


def share(count: int, n: int) -> html.Cell:
    """Return a share with its 95 % Wilson interval."""
    value, low, high = (
        f"{part:.0%}" for part in (count / n if n else 0.0, *wilson(count, n))
    )
    return html.interval(value, low, high)
