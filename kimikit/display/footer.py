"""Say where answers came from, what they took, and how they ended: the one footer."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from kimikit import html
from kimikit.usage import Usage, total

STAND_IN = "local stand-in, not Kimi"
"""What every answer of the local host is marked with."""
SCRIPTED = "scripted, not a model"
"""What every answer is marked with that a person wrote."""


class Spent(Protocol):
    """An answer, or a turn of a conversation."""

    @property
    def usage(self) -> Usage:
        """Tokens."""

    @property
    def cost(self) -> Decimal | None:
        """US dollars, ``None`` where unpriced."""


class Answer(Spent, Protocol):
    """What a footer asks of a ``Reply``, which has each of these."""

    @property
    def host(self) -> str:
        """Name of the host profile."""

    @property
    def model(self) -> str:
        """The model that answered."""

    @property
    def created(self) -> float:
        """Unix time at which it was asked."""

    @property
    def partial(self) -> bool:
        """Whether the user stopped it."""

    @property
    def truncated(self) -> bool:
        """Whether the stream ended without a finish."""

    @property
    def finish_reason(self) -> str | None:
        """The host's word for why it ended."""

    @property
    def first_token_s(self) -> float | None:
        """Seconds to the first token."""

    @property
    def tokens_per_s(self) -> float | None:
        """Completion tokens per second after the first token."""

    @property
    def stand_in(self) -> bool:
        """Whether the local stand-in answered instead of Kimi."""

    @property
    def replayed(self) -> str:
        """What a recorded answer is marked with; empty for a live one."""


def total_usage(some: Iterable[Spent]) -> Usage:
    """Return the tokens of all together."""
    return total(one.usage for one in some)


def total_usd(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Return the sum of US dollars, ``None`` when any of them is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def total_cost(some: Sequence[Spent]) -> Decimal | None:
    """Return the US dollars of all together, ``None`` when any is unpriced."""
    return total_usd([one.cost for one in some])


class Paid:
    """What can tell the tokens and the cost of all answers it is made of."""

    __slots__ = ()

    @property
    @abstractmethod
    def _paid(self) -> Sequence[Spent]:
        """All answers that a host may charge for, whole or not."""

    @property
    def usage(self) -> Usage:
        """Tokens of all that was paid for, also of what broke off."""
        return total_usage(self._paid)

    @property
    def cost(self) -> Decimal | None:
        """US dollars of the same, ``None`` where any of it is unpriced."""
        return total_cost(self._paid)


def spent(some: Sequence[Spent]) -> str:
    """Return tokens and US dollars of all together, as a footer says them.

    What is known of the cost is said where some of it is not.
    """
    usage = total_usage(some)
    return html.footer_line([str(usage), _cost(some, usage)])


def footer(
    replies: Sequence[Answer],
    *,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    session_cost: str = "",
    at_most_usd: Decimal | None = None,
    stand_in: bool = False,
) -> str:
    """Return the line below a view: where its answers came from and what they took.

    Of a single answer it also says how it ended and how fast it was.

    Args:
        replies: The answers of the view, all that were paid for.
        before: What the view says of itself first.
        after: What it says last, before the mark of the stand-in.
        session_cost: What the session has cost so far, as it is shown.
        at_most_usd: The most that a stopped answer can cost: hosts may charge for
            more than had arrived, so its cost is a range.
        stand_in: Whether the stand-in was asked, where no answer may tell.
    """
    one = replies[0] if len(replies) == 1 else None
    created = max((reply.created for reply in replies), default=0.0)
    usage = total_usage(replies)
    cost = _cost(replies, usage) if replies else ""
    if one is not None and one.partial and one.cost:
        known = at_most_usd is not None
        cost += f" to {html.money(at_most_usd)}" if known else " or more"
    free = stand_in or any(reply.stand_in for reply in replies)
    free = free and all(reply.cost is None for reply in replies)
    return html.footer_line(
        [
            *before,
            "" if one is None else how_it_ended(one),
            _names(reply.host for reply in replies),
            _names(reply.model for reply in replies),
            str(usage) if replies else "",
            "" if free else cost,
            "" if one is None else _speed(one),
            day(created) if created else "",
            f"session {session_cost}" if session_cost else "",
            *after,
            origin(replies, stand_in=stand_in),
        ]
    )


def source(reply: Answer) -> str:
    """Return who gave an answer."""
    return html.footer_line(
        [html.one_part(reply.host), html.one_part(reply.model), origin([reply])]
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(map(html.one_part, dict.fromkeys(filter(None, names))))


def origin(replies: Iterable[Answer], *, stand_in: bool = False) -> str:
    """Return what a view must say of who answered; empty for a live Kimi.

    Args:
        replies: The answers of the view.
        stand_in: Whether the stand-in was asked, where no answer may tell.
    """
    replies = list(replies)
    stand_in = stand_in or any(reply.stand_in for reply in replies)
    marks = sorted({reply.replayed for reply in replies})
    return html.footer_line([STAND_IN if stand_in else "", *marks])


def day(created: float, form: str = "%Y-%m-%d") -> str:
    """Return the day of a Unix time here, ISO format, or more of it.

    A file of somebody else may hold a time that no day has.
    """
    try:
        return time.strftime(form, time.localtime(created))
    except (ValueError, OverflowError, OSError):
        return "unknown day"


def _cost(some: Sequence[Spent], usage: Usage) -> str:
    known = [one.cost for one in some if one.cost is not None]
    total = sum(known, Decimal(0)) if known or not some else None
    text = html.money(total, estimated=usage.estimated)
    unpriced = (one for one in some if one.cost is None)
    missing = sum(getattr(one, "count", 1) for one in unpriced)
    return f"at least {text}, {missing} unpriced" if known and missing else text


def how_it_ended(reply: Answer) -> str:
    """Return how an answer ended, if not by itself."""
    if reply.partial:
        return "stopped"
    if reply.truncated:
        return "cut off"
    return "cut at max_tokens" if reply.finish_reason == "length" else ""


def _speed(reply: Answer) -> str:
    parts = []
    if reply.first_token_s is not None:
        parts.append(f"first token {reply.first_token_s:.1f} s")
    if reply.tokens_per_s is not None:
        parts.append(f"{reply.tokens_per_s:.0f} tokens/s")
    return ", ".join(parts)
