"""What the results of this room share: totals, who answered, shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kimikit import html
from kimikit.footer import total_cost, total_usage
from kimikit.intervals import RightPrice, wilson
from kimikit.types import ChatClient, Reply


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
