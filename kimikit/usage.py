"""Count what a call used in tokens, and say what a token costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec


def is_usd(amount: Decimal) -> bool:
    """Tell whether this can be a sum of money: finite, and not below 0."""
    return amount.is_finite() and amount >= 0


def check_usd(amount: Decimal | None) -> None:
    """Refuse what is no amount of money, as a file of somebody else may hold it.

    Raises:
        ValueError: If it is negative, infinite or not a number.
    """
    if amount is not None and not is_usd(amount):
        raise ValueError(f"{amount} is no amount of US dollars")


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one call or, added up, of many.

    Attributes:
        prompt_tokens: All tokens of the request, the cached ones included.
        completion_tokens: All tokens of the answer, the reasoning ones included.
        cached_tokens: Part of ``prompt_tokens`` that came from the host's prefix cache.
        reasoning_tokens: Part of ``completion_tokens`` spent on thinking.
        cost_usd: What the host itself says this cost, or ``None``.
        estimated: Whether any figure is a guess (a stopped answer has no usage).
        cache_write_tokens: Part of ``prompt_tokens`` that the host put into its cache.
        cache_write_1h_tokens: Part of ``cache_write_tokens`` to be kept for an hour.

    Example:
        >>> sum([Usage(12, 30), Usage(40, 5, cached_tokens=16)])
        Usage(prompt_tokens=52, completion_tokens=35, cached_tokens=16, ...)
        >>> print(Usage(12, 30, estimated=True))
        ~12 -> ~30 tokens
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: Decimal | None = None
    estimated: bool = False
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage | int | None) -> Usage:
        """Add two usages; ``None`` and the 0 that ``sum`` starts from are neutral."""
        if other is None or isinstance(other, int):
            return self
        return total((self, other))

    __radd__ = __add__

    def __str__(self) -> str:
        mark = "~" if self.estimated else ""
        inside = [f"{self.cached_tokens} cached"] if self.cached_tokens else []
        if written := self.cache_write_tokens:
            inside.append(f"{written} cache write")
        if kept := self.cache_write_1h_tokens:
            inside.append(f"{kept} of it for 1 h")
        if self.reasoning_tokens:
            inside.append(f"{self.reasoning_tokens} reasoning")
        note = f" ({', '.join(inside)})" if inside else ""
        return (
            f"{mark}{self.prompt_tokens} -> {mark}{self.completion_tokens} tokens{note}"
        )


_COUNTS = [
    name for name in Usage.__struct_fields__ if name not in ("cost_usd", "estimated")
]


def total(usages: Iterable[Usage]) -> Usage:
    """Add up many usages, each field at once, which is faster than ``sum``."""
    some = list(usages)
    costs = [each.cost_usd for each in some if each.cost_usd is not None]
    return Usage(
        **{name: sum(map(attrgetter(name), some)) for name in _COUNTS},
        cost_usd=sum(costs, Decimal(0)) if costs else None,
        estimated=any(each.estimated for each in some),
    )


class Price(msgspec.Struct, frozen=True):
    """What a host charges for a model, in US dollars per million tokens.

    Attributes:
        input: Fresh prompt tokens.
        output: Completion tokens, reasoning included.
        cached_input: Prompt tokens from the cache; ``None`` means as ``input``.
        source: Where the figure was read.
        as_of: The day it was read, ISO format.
        cache_write: Prompt tokens put into the cache; ``None`` means as ``input``.
        cache_write_1h: The same to be kept for an hour; ``None`` means as
            ``cache_write``.

    Example:
        >>> from decimal import Decimal
        >>> price = Price(input=Decimal("0.60"), output=Decimal("2.50"))
        >>> price.cost(Usage(1_000_000, 100_000))
        Decimal('0.85...')
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    source: str = ""
    as_of: str = ""
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None

    @property
    def dearest_input(self) -> Decimal:
        """The most that a prompt token can cost, wherever it is read or written."""
        writes = self.cached_input, self.cache_write, self.cache_write_1h
        return max([self.input, *(price for price in writes if price is not None)])

    def cost(self, usage: Usage) -> Decimal:
        """Return the cost of ``usage`` in US dollars, exact."""
        cached = self.input if self.cached_input is None else self.cached_input
        total = usage.cached_tokens * cached + usage.completion_tokens * self.output
        if written := usage.cache_write_tokens:
            write = self.input if self.cache_write is None else self.cache_write
            hour = write if self.cache_write_1h is None else self.cache_write_1h
            total += written * write
            total += usage.cache_write_1h_tokens * (hour - write)
        fresh = usage.prompt_tokens - usage.cached_tokens - written
        return (total + max(fresh, 0) * self.input) / 1_000_000


ORDINARY = ("auto", "batch", "default", "flex", "on_demand", "standard")
"""Service tiers that cost what a model's price says, or less; others may cost more."""


def asked_models(model: str, body: Mapping[str, Any]) -> list[str]:
    """Return the models that may answer: the one asked for, and OpenRouter's others."""
    others = body.get("models")
    others = others if isinstance(others, list | tuple) else ()
    return [name for name in dict.fromkeys([model, *map(str, others)]) if name] or [""]


def priced_as(model: str, body: Mapping[str, Any]) -> str:
    """Return the name of a model's price: a dearer service tier has one of its own."""
    tier = body.get("service_tier")
    ordinary = not tier or str(tier).lower() in ORDINARY
    return model if ordinary else f"{model} ({tier})"


def paid_as(model: str, answered: str, body: Mapping[str, Any]) -> list[str]:
    """Return the names of what may price an answer, the likeliest first.

    The model asked for counts, then the one that answered. Where several were asked
    for it is the one that answered, whose name may end with a date.
    """
    names = asked_models(model, body)
    if len(names) > 1:
        like = [n for n in names if answered.lower().startswith(n.lower())]
        names = sorted(like, key=len)[-1:]
        names.insert(0, answered)
    else:
        names.append(answered)
    return [priced_as(name, body) for name in names]
