"""Read prices from the package genai-prices as data: its best guesses are not used."""

from __future__ import annotations

import datetime as dt
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from kimikit import version
from kimikit.types import Price

PACKAGE = "genai-prices"

PROVIDERS = {"moonshot": "moonshotai"}
"""Hosts that genai-prices knows by another name."""

ROUTER = "huggingface"
"""A host that hands requests on: ``MODEL:novita`` names who answers, and there its
prices are those of a provider of their own, ``huggingface_novita``."""

_FIELDS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}
_UNSEEN = {"requests_kcount", "output_reasoning_mtok", "output_citation_mtok"}
"""Fees that our counts of tokens do not show, so that a cost would leave them out."""


def installed() -> str:
    """Return the version that is installed, empty if none is."""
    return version.installed(PACKAGE)


def snapshot() -> object:
    """Return what the package was given or fetched in this process, if anything."""
    loaded = sys.modules.get("genai_prices.data_snapshot")
    return getattr(loaded, "_custom_snapshot", None)


def updated() -> bool:
    """Tell whether the package was made to fetch newer prices in this process."""
    return bool(getattr(snapshot(), "from_auto_update", False))


def newer(version: str, than: str) -> bool:
    """Tell whether a version such as ``0.2.10`` is newer than another."""
    first, second = ([int(n) for n in re.findall(r"\d+", v)] for v in (version, than))
    return first > second


def as_price(amounts: Any, source: str) -> Price | None:
    """Return flat prices per million tokens as ours.

    Args:
        amounts: A ``ModelPrice`` of genai-prices.
        source: Where they are from.

    Returns:
        The price; ``None`` for prices in tiers, for fees that no count of tokens
        shows, and where there is none for prompt or answer.
    """
    known: Mapping[str, Any] = {k: v for k, v in vars(amounts).items() if v is not None}
    if _UNSEEN & known.keys():
        return None
    fields = {ours: known[name] for name, ours in _FIELDS.items() if name in known}
    try:
        return msgspec.convert({**fields, "source": source}, Price)
    except msgspec.ValidationError:
        return None


def provider_of(host: str, model: str) -> tuple[str, str]:
    """Return the provider and the model under which genai-prices would have them."""
    if host == ROUTER and ":" in model:
        model, _, via = model.rpartition(":")
        return f"{ROUTER}_{via.lower()}", model
    return PROVIDERS.get(host, host), model


def price_at(host: str, model: str, at: float) -> Price | None:
    """Return the price at Unix time ``at``, ``None`` if the package has none."""
    found = _model(host, model, id(snapshot()))
    if found is None:
        return None
    moment = dt.datetime.fromtimestamp(at, dt.UTC)
    return as_price(found.get_prices(moment), f"{PACKAGE} {installed()}")


@lru_cache(maxsize=1024)
def _model(host: str, model: str, _snapshot: int) -> Any:
    """Find a model, anew when the package has fetched other prices.

    Its search also matches near names and other providers; those are not taken.
    """
    try:
        from genai_prices import data_snapshot
    except ImportError:
        return None
    provider, name = provider_of(host, model)
    # A profile made from a base URL has the name of the server.
    by_url = "." in host
    asked = (None, f"https://{host}") if by_url else (provider, None)
    try:
        found, info = data_snapshot.get_snapshot().find_provider_model(
            name, None, *asked
        )
    except LookupError:
        return None
    return info if by_url or found.id == provider else None
