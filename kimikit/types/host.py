"""Hold what is known of a host and of the Kimi models it lists."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec
from msgspec.structs import replace

from kimikit import html
from kimikit.display.footer import STAND_IN
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.key_shapes import hide_in_address

_COLUMNS = ("Kimi model", "state", "as of", "source")


class HostModel(msgspec.Struct, frozen=True):
    """A Kimi model as one host lists it.

    Attributes:
        id: What the host wants in ``model``.
        state: Whether it is still to be had there.
        family: The model's own name on any host, such as ``kimi-k2-instruct``.
        temperature: The recommended value, ``None`` where the host pins it.
        fixed_temperature: The one value the host accepts, where it pins it.
        context: Context window in tokens.
        source: Where this was read.
        as_of: The day it was read, ISO format.
    """

    id: str
    state: Literal["served", "retired", "unknown"] = "unknown"
    family: str = ""
    temperature: float | None = None
    fixed_temperature: float | None = None
    context: int = 0
    source: str = ""
    as_of: str = ""


class HostBatch(msgspec.Struct, frozen=True, kw_only=True):
    """How a host takes batches.

    Attributes:
        dialect: OpenAI's ``files``, ``together``'s, or ``inline`` as at OpenRouter.
        endpoints: What they may ask, as far as it is known.
        requests: Requests of a batch at most.
        bytes: Bytes of a batch at most.
        window: The completion window that is asked for.
        price_factor: Share of the live price that an answer is likely to cost.
        price_most: Share of it that an answer costs at most.
        suffix: What the model's id ends with in a batch, which has its own price.
        families: The only models that it takes, empty for all.
        refuses: Parameters that it does not take in a batch.
        cancels: Whether a batch can be cancelled.
        source: Where this was read.
        as_of: The day it was read, ISO format.
    """

    dialect: Literal["files", "together", "inline"] = "files"
    endpoints: tuple[str, ...] = ("chat",)
    requests: int = 50_000
    bytes: int = 100_000_000
    window: str = "24h"
    price_factor: Decimal = Decimal(1)
    price_most: Decimal = Decimal(1)
    suffix: str = ""
    families: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    cancels: bool = True
    source: str = ""
    as_of: str = ""


class Host(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go, and what is known of it. Holds no key.

    Attributes:
        name: Short name of the profile, such as ``together``.
        title: Its name in a sentence.
        base_url: The URL that ``/chat/completions`` is added to.
        model: The model in use.
        key_variable: Environment variable that holds the key, empty if none is needed.
        key_url: The page where a key is made.
        models: The Kimi models it lists or listed.
        endpoints: Paths it has beyond chat, by our name for them.
        temperature_range: Lowest and highest temperature it takes.
        quirks: Named differences that the wire works around.
        features: What it has beyond the common API, such as ``prefill``, each with the
            name of its dialect.
        feature_sources: Where each of these was read.
        feature_families: The only families of models that take one, where not all do.
        builtin_tools: Functions that it runs itself, with the US dollars of a call.
        batch: How it takes batches, ``None`` where it is not known to.
        stand_in: Whether this is the local stand-in.
        source: Where the address and the variable were read, if not on its own page.
        as_of: The day they were read, ISO format.

    Example:
        >>> kimi.host
        local: ...
          address      http://127.0.0.1:...
          model        smollm2-135m-instruct
          ...
    """

    name: str
    title: str = ""
    base_url: str
    model: str = ""
    key_variable: str = ""
    key_url: str = ""
    models: tuple[HostModel, ...] = ()
    endpoints: dict[str, str] = {}
    temperature_range: tuple[float, float] = (0.0, 2.0)
    quirks: tuple[str, ...] = ()
    features: dict[str, str] = {}
    feature_sources: dict[str, str] = {}
    feature_families: dict[str, tuple[str, ...]] = {}
    builtin_tools: dict[str, Decimal] = {}
    batch: HostBatch | None = None
    stand_in: bool = False
    source: str = ""
    as_of: str = ""

    def without_key(self) -> Host:
        """Return it as it may be stored: a key in its address is ``***``."""
        url = hide_in_address(self.base_url)
        return self if url == self.base_url else replace(self, base_url=url)

    def _facts(self) -> list[tuple[str, str]]:
        low, high = self.temperature_range
        facts = [
            ("address", self.base_url or "given when its server runs"),
            ("model", self.model or "none chosen"),
            ("key", self.key_variable or "none needed"),
            ("temperature", f"{low:g} to {high:g}"),
            ("beyond chat", ", ".join(sorted(self.endpoints)) or "nothing known"),
            ("features", ", ".join(sorted(self.features)) or "none known"),
            ("batches", f"{self.batch.dialect} API" if self.batch else "none known"),
        ]
        if self.stand_in:
            facts.append(("note", STAND_IN))
        return facts

    def _parts(self) -> tuple[str, list[Section], str]:
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {name:<12} {value}" for name, value in self._facts()]
        table = html.table((self.name, self.title), self._facts())
        rows = [(m.id, m.state, m.as_of, m.source) for m in self.models]
        kimis = [Table(_COLUMNS, rows, [2])] if rows else []
        return "", [html.Cell("\n".join(lines), table), *kimis], ""
