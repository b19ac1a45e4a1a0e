"""What the results of this room share: totals, who answered, shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from msgspec.structs import replace

from kimikit import html
from kimikit.intervals import RightPrice, wilson
from kimikit.types import ChatClient, Reply, Usage


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


def share(count: int, n: int, ends: tuple[float, float] | None = None) -> html.Cell:
    """Return a share with its 95 % interval, Wilson's unless given."""
    parts = (count / n if n else 0.0, *(ends or wilson(count, n)))
    return html.interval(*(f"{part:.0%}" for part in parts))


def each_right(price: RightPrice) -> html.Cell | str:
    """Return what a right answer cost with its 95 % interval, as far as it is known."""
    if price.low is None:
        return html.money(price.value)
    least = html.money(price.low)
    if price.value is None:
        return f"none right, at least {least}"
    most = "∞" if price.high is None else html.money(price.high)
    return html.interval(html.money(price.value), least, most)


class Meter:
    """A chat client that keeps all that its calls took, also those that broke off.

    Args:
        client: The client that asks.

    Attributes:
        paid: What came of every call, whole or not.
    """

    def __init__(self, client: ChatClient) -> None:
        self.paid: list[Reply] = []
        self._asked = client
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        self.host = getattr(client, "host", None)
        self.pricer = getattr(client, "pricer", None)

    def chat(self, messages: Any, **params: Any) -> Reply:
        """Ask, and keep what came."""
        try:
            reply = self._asked.chat(messages, **params)
        except Exception as exc:
            broken = getattr(exc, "reply", None)
            if isinstance(broken, Reply):
                self.paid.append(broken)
            raise
        self.paid.append(reply)
        return reply
