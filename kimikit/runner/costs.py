"""Limit what a runner spends: the likely cost of calls under way is set aside."""

from __future__ import annotations

import asyncio
import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from kimikit import html
from kimikit.errors import BadInput, BudgetExceeded
from kimikit.money import bills
from kimikit.money.prices import PriceBook

Bill = tuple[Decimal | None, Decimal | None]
"""Likely and highest cost in US dollars, ``None`` where a price is unknown."""


Estimate = Callable[[str, str, Mapping[str, Any], Any], Bill]
"""From host, model, parameters and prompt of one call to its ``Bill``."""


def estimate_of(client: Any, store: Any) -> Estimate | None:
    """Return what tells the bill of a client's calls: its ledger, else its prices."""
    own: Estimate | None = getattr(store, "bill", None)
    prices = getattr(client, "pricer", None)
    if own is None and isinstance(prices, PriceBook):
        return functools.partial(bills.bill, prices)
    return own


def unpriced() -> BudgetExceeded:
    """Return the refusal of a limit of money where a price is not known."""
    return BudgetExceeded(
        "max_cost cannot be held, because a price is not known.",
        "Leave max_cost out, or set the model's price with kimi.set_price.",
    )


class CostLimit:
    """Admits calls as long as they likely stay within a limit of money.

    A call is taken to go as badly as the worst one so far. Before there is one, those
    under way are taken at the most they can cost; where that is not known, a call
    waits until those under way have ended.

    Args:
        usd: US dollars that are not passed, ``None`` for no limit.

    Attributes:
        spent: US dollars of this run.
    """

    def __init__(self, usd: Decimal | None) -> None:
        self.usd = usd
        self.spent = self._dearest = self._factor = Decimal(0)
        self._under_way: Counter[Bill] = Counter()
        self._freed: asyncio.Event | None = None

    async def admit(self, bill: Bill) -> bool:
        """Set money aside for a call; return ``False`` if it does not fit any more.

        Waits where what calls under way leave of their reserve may do for it. Whoever
        is admitted calls ``end``.
        """
        while not self._fits(bill):
            if not self._under_way:
                return False
            self._freed = self._freed or asyncio.Event()
            await self._freed.wait()
        self._under_way[bill] += 1
        return True

    def _fits(self, bill: Bill) -> bool:
        assert self.usd is not None
        reserved = self._likely(bill)
        known = self._factor or self._dearest
        for other, count in self._under_way.items():
            if known:
                reserved += count * self._likely(other)
            elif other[1] is None:
                return False
            else:
                reserved += count * other[1]
        return self.spent + reserved <= self.usd

    def _likely(self, bill: Bill) -> Decimal:
        return (bill[0] or Decimal(0)) * (self._factor or 1) or self._dearest

    @property
    def so_far(self) -> str:
        """What has been spent, as it is shown; empty for nothing."""
        return html.money(self.spent) if self.spent else ""

    def pay(self, bill: Bill, cost: Decimal | None) -> None:
        """Count what a call has cost."""
        if cost is None:
            return
        self.spent += cost
        if bill[0]:
            self._factor = max(self._factor or Decimal(1), cost / bill[0])
        else:
            self._dearest = max(self._dearest, cost)

    def end(self, bill: Bill) -> None:
        """Set free what was set aside for a call that has ended."""
        self._under_way[bill] -= 1
        if not self._under_way[bill]:
            del self._under_way[bill]
        if self._freed is not None:
            self._freed.set()
            self._freed = None


def dollars(max_cost: Any) -> Decimal | None:
    """Return ``max_cost=`` as a number.

    Raises:
        BadInput: If it is none.
    """
    try:
        limit = None if max_cost is None else Decimal(str(max_cost))
        if limit is None or 0 <= limit < math.inf:
            return limit
    except ArithmeticError:  # no number, or none that compares
        pass
    raise BadInput(f"max_cost is {max_cost!r}.", "Give US dollars as a number.")
