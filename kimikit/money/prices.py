"""What a call costs: our table, other people's table, the user's own figures."""

from __future__ import annotations

import datetime as dt
import os
import re
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Literal

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

_OWN = re.compile(
    r"(local|vllm|sglang|llamacpp|ollama|localhost|127\.0\.0\.1|\[::1\])(:|$)"
)


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
        since: First day they hold, empty for always.
        until: First day they no longer hold, empty for open.
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
    since: str = ""
    until: str = ""
    note: str = ""

    @property
    def price(self) -> Price:
        """The part that a cost is made from."""
        return Price(
            self.input, self.output, self.cached_input, self.source, self.as_of
        )


def is_own(host: str) -> bool:
    """Tell whether a host is one's own machine, for which nobody publishes a price."""
    return _OWN.match(host) is not None


@cache
def table() -> tuple[PriceRow, ...]:
    """Return the rows of ``data/prices.json``."""
    text = TABLE.read_bytes()
    return tuple(msgspec.json.decode(text, type=list[PriceRow]))


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
        self.path = Path(named) if named else folder / "prices.toml"
        self._rows: dict[tuple[str, str], list[PriceRow]] = {}
        for row in table():
            self._rows.setdefault((row.host, row.model.lower()), []).append(row)
        self._own: dict[tuple[str, str], PriceRow] = {}
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
        key = (host, model.lower())
        known = self._rows.get(key, [None])[-1]
        self._own[key] = PriceRow(
            host=host,
            model=model,
            input=_amount("input", input),
            output=_amount("output", output),
            cached_input=None
            if cached_input is None
            else _amount("cached_input", cached_input),
            context=known.context if known else 0,
            max_output=known.max_output if known else 0,
            state=known.state if known else "unknown",
            source="set by you",
            as_of=as_of or dt.date.today().isoformat(),
        )

    def row(self, host: str, model: str, at: float) -> PriceRow | None:
        """Return the table's line that holds at Unix time ``at``, or ``None``."""
        key = (host, model.lower())
        if key in self._own:
            return self._own[key]
        rows = self._rows.get(key, ())
        day = dt.date.fromtimestamp(at).isoformat() if rows else ""
        for row in reversed(rows):
            in_force = row.since <= day and (not row.until or day < row.until)
            if in_force and row.currency == "USD":
                return row
        return None

    def lookup(self, host: str, model: str, at: float) -> Price | None:
        """Return the price of a host's model at Unix time ``at``, or ``None``.

        The local stand-in's is 0, whatever its model.
        """
        row = self.row(host, model, at)
        if row is not None:
            return row.price
        if host == STAND_IN:
            return FREE
        if not model or is_own(host) or (host, model.lower()) in self._rows:
            return None
        return _from_genai(host, model, dt.date.fromtimestamp(at))

    def longest(self, host: str, model: str, at: float) -> int:
        """Return the tokens that no answer of ``model`` exceeds, 0 for unknown.

        Where no limit of answers is published this is the context window.
        """
        row = self.row(host, model, at)
        return (row.max_output or row.context) if row else 0

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


def _amount(name: str, value: Decimal | float | str) -> Decimal:
    """Return ``value`` as it reads: 0.1 is a tenth, not its binary neighbour."""
    try:
        amount = Decimal(str(value))
    except InvalidOperation as exc:
        raise BadInput(
            f"{name}={value!r} is not an amount of money.",
            "Give US dollars per million tokens, such as 0.6 or '0.60'.",
        ) from exc
    if not amount.is_finite() or amount < 0:
        raise BadInput(
            f"{name}={value!r} is not a price.",
            "Give US dollars per million tokens, 0 or more.",
        )
    return amount


@cache
def _from_genai(host: str, model: str, day: dt.date) -> Price | None:
    """Ask the package genai-prices, if it is there.

    Its search also matches near names and other providers; those are not taken, and
    neither are prices in tiers, which a flat price would get wrong.
    """
    try:
        from genai_prices import data_snapshot
    except ImportError:
        return None
    provider, url = ELSEWHERE.get(host, host), f"https://{host}"
    # A profile made from a base URL has the name of the server.
    asked = (None, url) if "." in host else (provider, None)
    try:
        snapshot = data_snapshot.get_snapshot()
        found, info = snapshot.find_provider_model(model, None, *asked)
    except LookupError:
        return None
    if "." not in host and found.id != provider:
        return None
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    amounts: dict[str, Any] = vars(info.get_prices(noon))
    fresh, made, cached = (
        amounts.get(f"{kind}_mtok") for kind in ("input", "output", "cache_read")
    )
    if not isinstance(fresh, Decimal) or not isinstance(made, Decimal):
        return None
    if not isinstance(cached, Decimal | None):
        return None
    from importlib import metadata

    version = metadata.version("genai-prices")
    return Price(fresh, made, cached, source=f"genai-prices {version}")
