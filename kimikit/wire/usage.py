"""What an answer used: every host's shape of ``usage``, and a guess without one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from kimikit.types import Usage

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
        self.raw: dict[str, Any] = {}
        self._by_choice: dict[int, dict[str, Any]] = {}

    def add(self, usage: object, choice: int | None = None) -> None:
        """Take a ``usage`` object; ``choice`` is the index of the choice it was in."""
        if not isinstance(usage, dict):
            return
        if choice is None:
            _merge(self.raw, usage)
        else:
            _merge(self._by_choice.setdefault(choice, {}), usage)

    def total(self) -> Usage | None:
        """Return the one usage of the answer, or ``None`` when none came."""
        sources = [self.raw] if self.raw else list(self._by_choice.values())
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
    prompt_details = usage.get("prompt_tokens_details") or {}
    answer_details = usage.get("completion_tokens_details") or {}
    prompt = _count(usage, "prompt_tokens") or _count(usage, "input_tokens")
    completion = _count(usage, "completion_tokens") or _count(usage, "output_tokens")
    total = _count(usage, "total_tokens")
    if not (prompt or completion or total):
        return None
    cached = max(
        _count(usage, "cached_tokens"),
        _count(prompt_details, "cached_tokens"),
        _count(usage, "prompt_cache_hit_tokens"),
    )
    reasoning = max(
        _count(answer_details, "reasoning_tokens"), _count(usage, "reasoning_tokens")
    )
    prompt = prompt or max(total - completion, 0)
    # Baseten has reported more reasoning than answer; a part never exceeds its whole.
    return Usage(
        prompt,
        completion,
        min(cached, prompt),
        min(reasoning, completion),
        _cost(usage),
    )


def _cost(usage: Mapping[str, Any]) -> Decimal | None:
    """Read OpenRouter's ``cost``, with what it passed on to a key of one's own."""
    details = usage.get("cost_details")
    parts = [usage.get("cost")]
    if usage.get("is_byok") and isinstance(details, dict):
        parts.append(details.get("upstream_inference_cost"))
    try:
        known = [Decimal(str(p)) for p in parts if isinstance(p, int | float | str)]
    except InvalidOperation:
        return None
    sane = bool(known) and all(p.is_finite() and p >= 0 for p in known)
    return sum(known, Decimal(0)) if sane else None


def _count(usage: object, key: str) -> int:
    value = usage.get(key) if isinstance(usage, Mapping) else None
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(int(value), 0) if math.isfinite(value) else 0


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        old = into.get(key)
        if isinstance(value, dict):
            inner = into[key] = dict(old) if isinstance(old, dict) else {}
            _merge(inner, value)
        elif isinstance(old, int | float) and isinstance(value, int | float):
            into[key] = max(old, value)
        elif value is not None:
            into[key] = value
