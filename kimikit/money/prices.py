"""Price calls by the user's own figures, our table, or a newer table of others.

Our table is made from the package genai-prices and a small overlay of ours (``make
prices``). Where a newer genai-prices is installed its prices hold, not the table's.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import platformdirs

from kimikit.errors import BadInput
from kimikit.money import catalogue
from kimikit.types import Price, Usage
from kimikit.usage import asked_models, priced_as

TABLE = Path(__file__).parent.parent / "data" / "prices.json"

STALE_DAYS = 90
"""Age at which a price is marked: hosts change theirs a few times a year."""

STAND_IN = "local"
FREE = Price(Decimal(0), Decimal(0), source="the local stand-in is free")
"""The price of the local stand-in: nothing, which is known, not unknown."""


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the price table; amounts are US dollars per million tokens.

    Attributes:
        host: Name of the host profile.
        model: What the host calls the model, compared without case.
        input: Fresh prompt tokens.
        output: Completion tokens, reasoning included.
        cached_input: Prompt tokens from the cache; ``None`` where none is published.
        cache_write: Prompt tokens put into the cache; likewise.
        cache_write_1h: The same to be kept for an hour; likewise.
        since: The day (UTC, ISO format) from which these figures hold, empty for ever.
        currency: Of the amounts; only ``USD`` rows price anything.
        context: Context window in tokens, 0 for unknown.
        max_output: Longest answer in tokens, 0 for unknown.
        state: Whether the host still serves it.
        source: Where the figures were read.
        as_of: The day they were read, ISO format.
        note: What a reader should know, such as sources that disagree.
    """

    host: str
    model: str
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    since: str = ""
    currency: str = "USD"
    context: int = 0
    max_output: int = 0
    state: Literal["served", "retired", "unknown"] = "unknown"
    source: str = ""
    as_of: str = ""
    note: str = ""

    @property
    def price(self) -> Price:
        """The part that a cost is made from."""
        return msgspec.convert(self, Price, from_attributes=True)


class PriceTable(msgspec.Struct, frozen=True):
    """All rows, and what they were made from.

    Attributes:
        genai_prices: Version of the package.
        as_of: The day it was read, ISO format.
        rows: The lines; of a model whose price has changed there are several.
    """

    genai_prices: str
    as_of: str
    rows: tuple[PriceRow, ...]


@cache
def whole_table() -> PriceTable:
    """Return ``data/prices.json``."""
    return msgspec.json.decode(TABLE.read_bytes(), type=PriceTable)


def table() -> tuple[PriceRow, ...]:
    """Return the rows of ``data/prices.json``."""
    return whole_table().rows


@cache
def _outdated() -> bool:
    """Tell whether a newer genai-prices is installed than the table was made from."""
    return catalogue.newer(catalogue.installed(), whole_table().genai_prices)


def is_stale(as_of: str, at: float) -> bool:
    """Tell whether a price read on ``as_of`` was old at Unix time ``at``."""
    if not as_of:
        return False
    age = dt.date.fromtimestamp(at) - dt.date.fromisoformat(as_of)
    return age.days > STALE_DAYS


class PriceBook:
    """Finds the price of a host's model, and the cost of a call.

    Prices set here come first, then the user's TOML file, then our table and the
    package genai-prices, if it is installed; of these two the newer first. The file
    has a table for each price::

        ["together"."moonshotai/Kimi-K3"]
        input = 3.00
        output = 15.00
        cached_input = 0.30
        cache_write = 3.00      # where the host charges for it
        cache_write_1h = 6.00

    A book is a ``Pricer``: call it with host, model, usage and Unix time.

    Args:
        path: The TOML file; without one ``KIMIKIT_PRICES``, else ``prices.toml`` in
            the user's configuration folder. It need not exist.

    Raises:
        BadInput: If the file is not TOML or holds something else than prices.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        named = path or os.environ.get("KIMIKIT_PRICES")
        folder = platformdirs.user_config_path("kimikit", appauthor=False)
        self.path = Path(named or folder / "prices.toml")
        self._own: dict[tuple[str, str], Price] = {}
        self._dated: dict[tuple[str, str], list[tuple[str, Price]]] = {}
        self._longest: dict[tuple[str, str], int] = {}
        self._last: tuple[tuple[Any, ...], Price | None] = (), None
        for row in sorted(table(), key=lambda row: row.since):
            if row.currency == "USD":
                key = _key(row.host, row.model)
                self._dated.setdefault(key, []).append((row.since, row.price))
                self._longest[key] = row.max_output or row.context
        if self.path.is_file():
            self._read_file()

    def _read_file(self) -> None:
        day = dt.date.fromtimestamp(self.path.stat().st_mtime).isoformat()
        try:
            text = self.path.read_text(encoding="utf-8")
            import tomllib  # only who has prices of their own waits for it

            hosts = tomllib.loads(text, parse_float=Decimal)
            for host, models in hosts.items():
                for model, amounts in models.items():
                    self.set(host, model, **{"as_of": day, **amounts})
        except (ValueError, TypeError, AttributeError) as exc:
            raise BadInput(
                f"The price file {self.path} could not be used: {exc}",
                'Write one table a price, such as ["together"."moonshotai/Kimi-K3"] '
                "with input, output and cached_input in US dollars per million tokens.",
            ) from exc

    def set(
        self,
        host: str,
        model: str,
        *,
        input: Decimal | float | str,
        output: Decimal | float | str,
        cached_input: Decimal | float | str | None = None,
        cache_write: Decimal | float | str | None = None,
        cache_write_1h: Decimal | float | str | None = None,
        as_of: dt.date | str = "",
    ) -> None:
        """Set a price for this book, before any other source.

        Args:
            host: Name of the host profile.
            model: What the host calls the model.
            input: US dollars per million fresh prompt tokens.
            output: US dollars per million completion tokens.
            cached_input: US dollars per million cached prompt tokens, if they differ.
            cache_write: US dollars per million prompt tokens put into the cache, if
                they differ.
            cache_write_1h: The same to be kept for an hour, if they differ.
            as_of: The day the price was read, ISO format; today if not given.

        Raises:
            BadInput: If an amount is not a number or is below 0, or a day is none.
        """
        rest = {
            "cached_input": cached_input,
            "cache_write": cache_write,
            "cache_write_1h": cache_write_1h,
        }
        self._own[_key(host, model)] = Price(
            amount("input", input),
            amount("output", output),
            **{k: amount(k, v) for k, v in rest.items() if v is not None},
            source="set by you",
            as_of=_day(as_of or dt.date.today()),
        )

    def lookup(self, host: str, model: str, at: float) -> Price | None:
        """Return the price of a host's model at Unix time ``at``, or ``None``.

        The local stand-in's is 0, whatever its model.
        """
        own = self._own.get(_key(host, model))
        if own is not None or host == STAND_IN:
            return own or FREE
        if not model:
            return None
        asked = host, model, at, catalogue.snapshot()
        last, price = self._last  # all who look at one call ask for the same
        if last != asked:
            price = self._looked_up(host, model, at)
            self._last = asked, price
        return price

    def dearest(
        self, host: str, model: str, body: Mapping[str, Any], at: float
    ) -> Price | None:
        """Return what bounds a request's cost, ``None`` if a price is not known."""
        names = asked_models(model, body)
        found = [self.lookup(host, priced_as(name, body), at) for name in names]
        known = [price for price in found if price is not None]
        if len(known) < len(found):
            return None
        return Price(
            max(price.dearest_input for price in known),
            max(price.output for price in known),
        )

    def _looked_up(self, host: str, model: str, at: float) -> Price | None:
        if model.endswith(")"):  # a tier's, and the catalogue takes near names
            return self._in_table(host, model, at)
        if _outdated() or catalogue.updated():
            newer = catalogue.price_at(host, model, at)
            return newer or self._in_table(host, model, at)
        return self._in_table(host, model, at) or catalogue.price_at(host, model, at)

    def _in_table(self, host: str, model: str, at: float) -> Price | None:
        """Return what our table has for the day of Unix time ``at``."""
        dated = self._dated.get(_key(host, model))
        if dated is None:
            return None
        if len(dated) == 1:
            return dated[0][1]
        day = dt.datetime.fromtimestamp(at, dt.UTC).date().isoformat()
        held = [price for since, price in dated if since <= day]
        return held[-1] if held else dated[0][1]

    def longest(
        self, host: str, model: str, body: Mapping[str, Any] | None = None
    ) -> int:
        """Return the tokens that no answer to a request exceeds, 0 for unknown.

        Where no limit of answers is published this is the context window.
        """
        names = asked_models(model, body or {})
        found = [self._longest.get(_key(host, name), 0) for name in names]
        return max(found) if all(found) else 0

    def __call__(
        self, host: str, model: str, usage: Usage, unix_time: float
    ) -> Decimal | None:
        """Return what ``usage`` cost in US dollars, ``None`` when no price is known.

        What the host itself charged (``usage.cost_usd``) wins over any table.
        """
        if usage.cost_usd is not None:
            return usage.cost_usd
        price = self.lookup(host, model, unix_time)
        return None if price is None else price.cost(usage)


def _key(host: str, model: str) -> tuple[str, str]:
    return host, model.lower()


def _day(value: object) -> str:
    """Return a day in ISO format; TOML has days of its own."""
    try:
        return dt.date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise BadInput(
            f"as_of={value!r} is no day.", "Give it as 2026-11-29, or leave it out."
        ) from None


MOST_AMOUNT = 10**12
"""Dollars, or tokens, above which a price or a limit is a slip of the hand."""


def amount(name: str, value: object, *, limit: bool = False) -> Decimal:
    """Return ``value`` as it reads: 0.1 is a tenth, not its binary neighbour.

    Args:
        name: Of the argument, for the message.
        value: What was given for it.
        limit: Whether it is a limit, which has to be above 0, and not a price.

    Raises:
        BadInput: If it is not such a number.
    """
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    fits = number.is_finite() and (number > 0 if limit else number >= 0)
    if fits and number <= MOST_AMOUNT:
        return number
    if limit:
        what, remedy = "limit", "Give a number above 0, such as 0.50."
    else:
        what, remedy = "price", "Give US dollars per million tokens, 0 or more."
    raise BadInput(f"{name}={value!r} is not a {what}.", remedy)
