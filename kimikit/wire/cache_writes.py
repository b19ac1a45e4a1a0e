"""Count the tokens put into a host's prompt cache, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kimikit.json_values import is_within
from kimikit.wire.coerce import as_count, as_dict

MOST_TOKENS = 10**12
"""Tokens of one call beyond which a host's figure is not believed."""

SHORT_S = 300
"""Seconds of the shorter lifetime that hosts price; any longer one costs as an hour."""

_LONGEST_S = 10**9 * 86400
"""Seconds of the longest lifetime that a text can name; more is none."""

MOST_PARTS = 10_000
"""Parts of a request that are looked through for a lifetime; in more there is none."""

_LIFETIME = re.compile(
    r"(\d{1,9}) ?(s|m|h|d)(?:ec|in|r|our|ay)?s?(?![a-z])", re.IGNORECASE
)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_NAMES = (
    "cache_write_tokens", "cache_creation_tokens", "cache_write_input_tokens",
    "cache_creation_input_tokens", "cacheWriteInputTokens",
)  # fmt: skip
"""What hosts call the tokens put into the cache."""

_BY_LIFETIME = (
    "cache_creation", "cache_write_tokens_details", "cache_creation_token_details",
    "cache_creation_tokens_details", "cache_details", "cacheDetails",
)  # fmt: skip
"""What holds them by lifetime: keys such as ``ephemeral_1h_input_tokens``, or a list of
objects with a ``ttl``."""


def read_writes(
    usage: Mapping[str, Any], inside: Mapping[str, Any], asked: Mapping[str, Any]
) -> tuple[int, int]:
    """Return the tokens put into the cache, and those of them kept for an hour.

    Where the host does not tell lifetimes apart, all are of the longest that the
    request asked for: what is billed is never more.

    Args:
        usage: The host's ``usage``.
        inside: What its objects of details hold.
        asked: The JSON of the request.
    """
    if not any("ach" in name for source in (usage, inside) for name in source):
        return 0, 0  # as nearly always: all names below have a cache in them
    by_lifetime = [
        pair
        for source in (usage, inside)
        for name in _BY_LIFETIME
        for pair in _told(source.get(name))
    ]
    hour = sum(count for seconds, count in by_lifetime if seconds > SHORT_S)
    short = sum(count for seconds, count in by_lifetime if seconds <= SHORT_S)
    named = [_count(source.get(name)) for source in (usage, inside) for name in _NAMES]
    written = max(*named, hour + short)
    if written > hour + short:  # no lifetime is told of the rest
        said = [source.get(name) for source in (usage, inside) for name in _TTL]
        longer = max(map(seconds_of, said)) > SHORT_S or asks_for_hour(asked)
        hour += (written - hour - short) * longer
    return written, hour


def asks_for_hour(request: Mapping[str, Any]) -> bool:
    """Say whether a request asks for the longer lifetime of what it has cached."""
    return max(map(seconds_of, _asked(request)), default=0.0) > SHORT_S


_ASKED = ("cache_ttl", "prompt_cache_ttl", "prompt_cache_retention")
_TTL = ("ttl", "cache_ttl", "cache_write_ttl")


def _told(value: object) -> Iterator[tuple[float, int]]:
    """Yield lifetimes in seconds and tokens of the ways in which hosts tell them."""
    if isinstance(value, list):
        for each in value[:MOST_PARTS]:
            yield from _told(each)
        return
    given = as_dict(value)
    if lifetime := seconds_of(given.get("ttl")):
        counts = [_count(each) for name, each in given.items() if name != "ttl"]
        yield lifetime, max(counts, default=0)
        return
    for name, each in given.items():
        if lifetime := seconds_of(str(name).replace("_", " ")):
            yield lifetime, _count(each)


def _count(value: object) -> int:
    return as_count(value, MOST_TOKENS) or 0


def seconds_of(lifetime: object) -> float:
    """Return seconds of a lifetime such as ``1h`` or 3600, 0 for what is none."""
    if isinstance(lifetime, str):
        found = _LIFETIME.search(lifetime[:200])
        if found is not None:
            return int(found[1]) * _SECONDS[found[2].lower()]
        return float(_count(lifetime.strip()[:20]))
    return float(lifetime) if is_within(lifetime, 0, _LONGEST_S) else 0.0


def _asked(request: Mapping[str, Any]) -> Iterator[object]:
    """Yield the lifetimes that a request asks for, wherever it marks something."""
    waiting: list[Any] = [request]
    for _ in range(MOST_PARTS):
        if not waiting:
            return
        part = waiting.pop()
        if isinstance(part, Mapping):
            for name, value in part.items():
                if name in ("cache_control", "prompt_cache_options"):
                    yield as_dict(value).get("ttl")
                elif name in _ASKED:
                    yield value
                elif isinstance(value, Mapping | list | tuple):
                    waiting.append(value)
        elif isinstance(part, list | tuple):
            waiting += part
    yield SHORT_S + 1  # there is more than was looked through: the dearest it may be
