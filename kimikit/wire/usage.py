"""What an answer used: every host's shape of ``usage``, and a guess without one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from kimikit.types import Usage
from kimikit.wire.loose import as_dict

_WIDE = r"[\u1100-\u11ff\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]"


def weigh(text: str) -> float:
    """Guess the tokens of ``text``: 4 letters each, or 1.5 Chinese, Japanese, Korean.

    Means of Kimi's own tokenizer over ordinary prose; code and rare scripts differ.
    """
    wide = 0 if text.isascii() else len(re.findall(_WIDE, text))
    return (len(text) - wide) / 4 + wide / 1.5


def estimate_prompt(body: Mapping[str, Any]) -> int:
    """Guess the tokens of a request's messages, prompt or input, pictures left out."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return math.ceil(weigh(str(body.get("prompt") or body.get("input") or "")))
    total = 0.0
    for message in messages:
        content = message.get("content") or ""
        parts = content if isinstance(content, list) else [{"text": content}]
        total += 4 + sum(weigh(str(part.get("text", ""))) for part in parts)
    return math.ceil(total)


class Tally:
    """Collects usage objects, however often and wherever they come, counted once.

    Moonshot puts one into the last choice, Groq sends the same three times, others
    repeat a growing one on every chunk: so the largest figure of each name holds.
    """

    def __init__(self) -> None:
        self._seen: dict[int | None, dict[str, Any]] = {}

    def add(self, usage: object, choice: int | None = None) -> None:
        """Take a ``usage`` object; ``choice`` is the index of the choice it was in."""
        if isinstance(usage, dict):
            _merge(self._seen.setdefault(choice, {}), usage)

    @property
    def raw(self) -> dict[str, Any]:
        """What the host said of the whole answer."""
        return self._seen.get(None, {})

    def total(self) -> Usage | None:
        """Return the one usage of the answer, or ``None`` when none came."""
        sources = [self.raw] if self.raw else self._seen.values()
        seen = [usage for usage in map(read_usage, sources) if usage is not None]
        if not seen:
            return None
        return Usage(
            max(usage.prompt_tokens for usage in seen),
            sum(usage.completion_tokens for usage in seen),
            max(usage.cached_tokens for usage in seen),
            sum(usage.reasoning_tokens for usage in seen),
            next((u.cost_usd for u in seen if u.cost_usd is not None), None),
        )


def read_usage(usage: Mapping[str, Any]) -> Usage | None:
    """Read one ``usage`` object of any host; ``None`` if it holds no token count."""
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if not (prompt or completion or total):
        return None
    inside = {
        **as_dict(usage.get("prompt_tokens_details")),
        **as_dict(usage.get("completion_tokens_details")),
    }
    cached = _count(usage, "cached_tokens", "prompt_cache_hit_tokens")
    cached = max(cached, _count(inside, "cached_tokens"))
    reasoning = _count(usage, "reasoning_tokens")
    reasoning = max(reasoning, _count(inside, "reasoning_tokens"))
    prompt = prompt or max(total - completion, 0)
    # Baseten has reported more reasoning than answer; a part never exceeds its whole.
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    return Usage(prompt, completion, cached, reasoning, _cost(usage))


def _cost(usage: Mapping[str, Any]) -> Decimal | None:
    """Read OpenRouter's ``cost``, with what it passed on to a key of one's own."""
    parts = [usage.get("cost")]
    if usage.get("is_byok"):
        details = as_dict(usage.get("cost_details"))
        parts.append(details.get("upstream_inference_cost"))
    try:
        known = [Decimal(str(p)) for p in parts if isinstance(p, int | float | str)]
    except InvalidOperation:
        return None
    sane = bool(known) and all(p.is_finite() and p >= 0 for p in known)
    return sum(known, Decimal(0)) if sane else None


def _count(usage: Mapping[str, Any], *names: str) -> int:
    """Return the largest count of these names, 0 without any."""
    return max(_whole(usage.get(name)) for name in names)


def _whole(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(int(value), 0) if math.isfinite(value) else 0


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
