"""What a call costs: our table, other people's table, the user's own figures."""

from __future__ import annotations

import datetime as dt
import os
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from kimikit.errors import BadInput
from kimikit.types import Price, Usage

TABLE = Path(__file__).parent.parent / "data" / "prices.json"

STALE_DAYS = 90
"""Age at which a price is marked: hosts change theirs a few times a year."""

ELSEWHERE = {"moonshot": "moonshotai"}
"""Hosts that genai-prices knows by another name."""

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


@cache
def table() -> tuple[PriceRow, ...]:
    """Return the rows of ``data/prices.json``."""
    return msgspec.json.decode(TABLE.read_bytes(), type=tuple[PriceRow, ...])


def is_stale(as_of: str, at: float) -> bool:
    """Tell whether a price read on ``as_of`` was old at Unix time ``at``."""
    if not as_of:
        return False
    age = dt.date.fromtimestamp(at) - dt.date.fromisoformat(as_of)
    return age.days > STALE_DAYS


class PriceBook:
    """Finds the price of a host's model, and the cost of a call.

    Prices set here come first, then the user's TOML file, then our table, then the
    package genai-prices if it is installed. The file has a table for each price::

        ["together"."moonshotai/Kimi-K3"]
        input = 3.00
        output = 15.00
        cached_input = 0.30

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
        rows = [row for row in table() if row.currency == "USD"]
        self._prices = {_key(row.host, row.model): row.price for row in rows}
        self._longest = {
            _key(row.host, row.model): row.max_output or row.context for row in rows
        }
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
        as_of: str = "",
    ) -> None:
        """Set a price for this book, before any other source.

        Args:
            host: Name of the host profile.
            model: What the host calls the model.
            input: US dollars per million fresh prompt tokens.
            output: US dollars per million completion tokens.
            cached_input: US dollars per million cached prompt tokens, if they differ.
            as_of: The day the price was read, ISO format; today if not given.

        Raises:
            BadInput: If an amount is not a number or is below 0.
        """
        self._prices[_key(host, model)] = Price(
            amount("input", input),
            amount("output", output),
            None if cached_input is None else amount("cached_input", cached_input),
            source="set by you",
            as_of=as_of or dt.date.today().isoformat(),
        )

    def lookup(self, host: str, model: str, at: float) -> Price | None:
        """Return the price of a host's model at Unix time ``at``, or ``None``.

        The local stand-in's is 0, whatever its model.
        """
        known = self._prices.get(_key(host, model))
        if known is not None or host == STAND_IN:
            return known or FREE
        return _from_genai(host, model, dt.date.fromtimestamp(at)) if model else None

    def longest(self, host: str, model: str) -> int:
        """Return the tokens that no answer of ``model`` exceeds, 0 for unknown.

        Where no limit of answers is published this is the context window.
        """
        return self._longest.get(_key(host, model), 0)

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
    if number.is_finite() and (number > 0 if limit else number >= 0):
        return number
    if limit:
        what, remedy = "limit", "Give a number above 0, such as 0.50."
    else:
        what, remedy = "price", "Give US dollars per million tokens, 0 or more."
    raise BadInput(f"{name}={value!r} is not a {what}.", remedy)


@cache
def _from_genai(host: str, model: str, day: dt.date) -> Price | None:
    """Ask the package genai-prices, if it is there.

    Its search also matches near names and other providers; those are not taken, and
    neither are prices in tiers, which a flat price would get wrong.
    """
    try:
        from importlib import metadata

        from genai_prices import data_snapshot
    except ImportError:
        return None
    provider = ELSEWHERE.get(host, host)
    # A profile made from a base URL has the name of the server.
    by_url = "." in host
    asked = (None, f"https://{host}") if by_url else (provider, None)
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    try:
        snapshot = data_snapshot.get_snapshot()
        found, info = snapshot.find_provider_model(model, None, *asked)
        amounts = vars(info.get_prices(noon))
        price = msgspec.convert(
            {
                "input": amounts.get("input_mtok"),
                "output": amounts.get("output_mtok"),
                "cached_input": amounts.get("cache_read_mtok"),
                "source": f"genai-prices {metadata.version('genai-prices')}",
            },
            Price,
        )
    except (LookupError, msgspec.ValidationError):
        return None
    return price if by_url or found.id == provider else None
