"""Read what an answer used, in every host's shape, and guess where it says nothing."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.json_values import is_number
from kimikit.types import Usage
from kimikit.wire.cache_writes import MOST_TOKENS, read_writes
from kimikit.wire.coerce import as_count, as_decimal, as_dict
from kimikit.wire.weigh import RATES, features
from kimikit.wire.weigh import weigh as weigh  # as in 0.3.0

MOST_USD, LEAST_USD = Decimal(1_000), Decimal("1e-12")
"""Dollars of one call beyond which a host's figure is not believed."""


def estimate_prompt(body: Mapping[str, Any]) -> int:
    """Guess the tokens of a request's texts, pictures left out."""
    total: float = sum(map(operator.mul, features(body), RATES))
    return math.ceil(total)


_OWN = (
    ("timings", "prompt_n", "predicted_n"),  # llama.cpp, beside what its cache held
    ("", "prompt_eval_count", "eval_count"),  # Ollama
    ("amazon-bedrock-invocationMetrics", "inputTokenCount", "outputTokenCount"),
    ("", "tokens_evaluated", "tokens_predicted"),  # llama.cpp without OpenAI's names
)
"""Where hosts tell tokens beside ``usage``, of the prompt and of the answer."""


def _own_usage(chunk: Mapping[str, Any]) -> dict[str, int]:
    """Return what a chunk tells of tokens under a host's own names."""
    for place, prompt, completion in _OWN:
        told = as_dict(chunk.get(place)) if place else chunk
        if prompt in told or completion in told:
            cached = _part(told, "cache_n") if place else 0
            return {
                "prompt_tokens": _part(told, prompt) + cached,
                "completion_tokens": _part(told, completion),
                "cached_tokens": cached,
            }
    return {}


class Tally:
    """Collects usage objects, however often and wherever they come, counted once.

    Moonshot puts one into the last choice, Groq sends the same three times, others
    repeat a growing one on every chunk: so the largest figure of each name holds.
    """

    def __init__(self) -> None:
        self._seen: dict[int | None, dict[str, Any]] = {}
        self._own: dict[str, Any] = {}

    def add(self, usage: object, choice: int | None = None) -> None:
        """Take a ``usage`` object; ``choice`` is the index of the choice it was in."""
        if isinstance(usage, dict):
            _merge(self._seen.setdefault(choice, {}), usage)

    def look(self, chunk: Mapping[str, Any]) -> None:
        """Take what stands in a chunk in other places, for an answer without usage."""
        self.add(as_dict(chunk.get("x_groq")).get("usage"))
        self.add(chunk.get("usage"))
        _merge(self._own, _own_usage(chunk))
        _merge(self._own, as_dict(as_dict(chunk.get("meta")).get("billed_units")))

    @property
    def only_total(self) -> bool:
        """Whether the host told a sum of tokens and neither of its parts."""
        parts = ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens")
        raw = _snake(self.raw)
        told = [name for name in (*parts, "total_tokens") if _number(raw.get(name))]
        return told == ["total_tokens"]

    @property
    def raw(self) -> dict[str, Any]:
        """What the host said of the whole answer."""
        return self._seen.get(None, {})

    def total(self, asked: Mapping[str, Any] | None = None) -> Usage | None:
        """Return the one usage of the answer, or ``None`` when none came.

        Args:
            asked: The JSON of the request, which tells how long what was put into the
                cache is to be kept, where the host does not.
        """
        told = [
            each for each in self._seen.values() if any(map(_number, each.values()))
        ]
        sources = [self.raw] if self.raw in told else told or [self._own]
        read = [read_usage(source, asked) for source in sources]
        known = [usage for usage in read if usage is not None]
        if not known:
            return None
        return Usage(
            max(usage.prompt_tokens for usage in known),
            sum(usage.completion_tokens for usage in known),
            max(usage.cached_tokens for usage in known),
            sum(usage.reasoning_tokens for usage in known),
            next((u.cost_usd for u in known if u.cost_usd is not None), None),
            cache_write_tokens=max(usage.cache_write_tokens for usage in known),
            cache_write_1h_tokens=max(usage.cache_write_1h_tokens for usage in known),
        )


def at_least(said: Usage | None, guess: Usage, *, split: bool = False) -> Usage:
    """Return an estimate, unless a host's usage is of nearly as much.

    Some hosts tell one at the start, of a prompt and of no answer yet; of others only
    the sum is known, of which the answer is a part, or the answer alone.
    """
    if said is None:
        return guess
    total = said.prompt_tokens
    if split and guess.completion_tokens and 2 * total >= guess.completion_tokens:
        answer = min(guess.completion_tokens, total)
        return msgspec.structs.replace(
            said,
            prompt_tokens=total - answer,
            completion_tokens=answer,
            reasoning_tokens=min(guess.reasoning_tokens, answer),
            estimated=True,
        )
    if not said.prompt_tokens and guess.prompt_tokens:
        said = msgspec.structs.replace(
            said, prompt_tokens=guess.prompt_tokens, estimated=True
        )
    if 2 * said.completion_tokens >= guess.completion_tokens:
        return said
    tokens = guess.completion_tokens
    return msgspec.structs.replace(said, completion_tokens=tokens, estimated=True)


def read_usage(
    usage: Mapping[str, Any], asked: Mapping[str, Any] | None = None
) -> Usage | None:
    """Read one ``usage`` object of any host.

    Args:
        usage: The object.
        asked: The JSON of the request, if it is known.

    Returns:
        ``None`` if it holds no token count, or one that cannot be right: a figure that
        is not believed makes the others doubtful too, so all are unknown then.
    """
    usage = _snake(usage)
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if None in (prompt, completion, total):
        return None
    if not (prompt or completion or total):
        return None
    inside = {
        key: value
        for part in ("prompt", "input", "completion", "output")
        for key, value in _snake(as_dict(usage.get(f"{part}_tokens_details"))).items()
    }
    cached = _part(
        usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"
    )
    cached = max(cached, _part(inside, "cached_tokens"))
    reasoning = _part(usage, "reasoning_tokens")
    reasoning = max(reasoning, _part(inside, "reasoning_tokens"))
    written, kept = read_writes(usage, inside, asked or {})
    prompt, completion = prompt or 0, completion or 0
    if not _part(usage, "prompt_tokens") and "input_tokens_details" not in usage:
        # Anthropic's shape counts what is read from and put into the cache beside it.
        prompt += _part(usage, "cache_read_input_tokens")
        prompt += _part(usage, "cache_creation_input_tokens")
    prompt = prompt or max((total or 0) - completion, 0)
    completion = completion or max((total or 0) - prompt, 0)
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # xAI and its like count it beside the answer
    # Baseten has reported more reasoning than answer; a part never exceeds its whole.
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    written = min(written, prompt - cached)
    return Usage(
        prompt, completion, cached, reasoning, _cost(usage),
        cache_write_tokens=written, cache_write_1h_tokens=min(kept, written),
    )  # fmt: skip


def _snake(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with Bedrock's ``inputTokens`` called ``input_tokens``."""
    return {
        re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", name): value
        for name, value in usage.items()
    }


def _cost(usage: Mapping[str, Any]) -> Decimal | None:
    """Read OpenRouter's ``cost``, with what it passed on to a key of one's own."""
    parts = [usage.get("cost")]
    if usage.get("is_byok"):
        details = as_dict(usage.get("cost_details"))
        parts.append(details.get("upstream_inference_cost"))
    known = [as_decimal(part, MOST_USD) for part in parts if part is not None]
    usd = [p for p in known if p is not None and (not p or p >= LEAST_USD)]
    return sum(usd, Decimal(0)) if usd and len(usd) == len(known) else None


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    """Return the largest count of these names, 0 without any.

    ``None`` means that there is a number which cannot be a count of tokens.
    """
    counts = [as_count(v, MOST_TOKENS) for v in map(usage.get, names) if _number(v)]
    return None if None in counts else max((c for c in counts if c), default=0)


def _part(usage: Mapping[str, Any], *names: str) -> int:
    return max(as_count(usage.get(name), MOST_TOKENS) or 0 for name in names)


def _number(value: object) -> bool:
    """Say whether a value says a number above 0, however absurd a one."""
    if isinstance(value, str):
        return value.strip()[:1].isdigit() and as_decimal(value) != 0
    return is_number(value) and 0 < value < math.inf


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        old = into.get(key)
        if isinstance(value, dict):
            into[key] = dict(as_dict(old))
            _merge(into[key], value)
        elif isinstance(old, int | float) and isinstance(value, int | float):
            into[key] = max(old, value)
        elif value is not None:
            into[key] = value
