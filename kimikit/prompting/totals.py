"""What the results of this room share: totals, who answered, shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from msgspec.structs import replace

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


def total_cost(some: Sequence[Spent]) -> Decimal | None:
    """Return the dollars of all together, ``None`` when any is unpriced."""
    known = [one.cost for one in some if one.cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(some) else None


def spent(some: Sequence[Spent]) -> str:
    """Return tokens and dollars of all together, as a footer says them."""
    usage = total_usage(some)
    money = html.money(total_cost(some), estimated=usage.estimated)
    return html.footer_line([str(usage), money])


def together(replies: Sequence[Reply], **changes: Any) -> Reply:
    """Return the last reply, changed, with what all of them took."""
    return replace(
        replies[-1],
        usage=total_usage(replies),
        cost=total_cost(replies),
        first_token_s=replies[0].first_token_s,
        duration_s=sum(reply.duration_s for reply in replies),
        **changes,
    )


def where(replies: Iterable[Reply]) -> str:
    """Return who answered, each once, for the foot of a view."""
    mark = "local stand-in, not Kimi"
    lines = [
        html.footer_line([r.host, r.model, mark if r.stand_in else ""]) for r in replies
    ]
    return "; ".join(line for line in dict.fromkeys(lines) if line)


def share(count: int, n: int) -> html.Cell:
    """Return a share with its 95 % Wilson interval."""
    parts = (count / n if n else 0.0, *wilson(count, n))
    return html.interval(*(f"{part:.0%}" for part in parts))
