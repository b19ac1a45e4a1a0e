"""Give examples as turns of a dialogue; of many, the most similar ones."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import plain, short

Example = tuple[Any, Any] | Mapping[str, Any]
"""A question with its answer: a pair, or a dict with ``input`` and ``output``."""

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""From texts to vectors of one length, such as a host's ``embed`` endpoint."""


def few_shot(
    examples: Sequence[Example],
    query: str | None = None,
    *,
    k: int | None = None,
    embed: Embed | None = None,
    instruction: str = "",
) -> list[dict[str, Any]]:
    """Return messages that show a task by examples and then ask.

    With ``k`` the examples most similar to ``query`` are taken, the nearest one last,
    next to the question (Liu et al. 2021, arXiv 2101.06804). Without ``embed``
    similarity is that of the texts' letter triples, which needs no model.

    Args:
        examples: Pairs of question and answer; values that are not text become JSON.
        query: The question to ask, left out to append one later.
        k: How many examples to show, all if left out.
        embed: Makes vectors of texts, to choose by meaning.
        instruction: What to do, as a system message.

    Returns:
        System, user and assistant messages in turn, ready for ``chat``.

    Raises:
        BadInput: If an example has no question and answer, or ``k`` has no ``query``.

    Example:
        >>> pairs = [("dog", "animal"), ("oak", "plant"), ("dogfish", "animal")]
        >>> [m["content"] for m in few_shot(pairs, "dogs", k=1)]
        ['dog', 'animal', 'dogs']
    """
    if not isinstance(examples, Iterable):
        raise BadInput(f"examples is {short(examples)}.", "Give a list of pairs.")
    pairs = [_pair(example, index) for index, example in enumerate(examples)]
    if k is not None:
        if k < 0 or query is None:
            raise BadInput(
                f"k={k} with query={query!r} chooses no examples.",
                "Give k as 0 or more, and the query that they should be similar to.",
            )
        scores = _similarities([asked for asked, _ in pairs], query, embed)
        nearest = sorted(range(len(pairs)), key=lambda i: -scores[i])[:k]
        pairs = [pairs[i] for i in reversed(nearest)]
    messages = [{"role": "system", "content": instruction}] if instruction else []
    for asked, answer in pairs:
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": answer})
    if query is not None:
        messages.append({"role": "user", "content": query})
    return messages


def _pair(example: Example, index: int) -> tuple[str, str]:
    match example:
        case {"input": asked, "output": answer} | (asked, answer):
            return _as_text(asked), _as_text(answer)
    raise BadInput(
        f"examples[{index}] is {example!r}, not a question with its answer.",
        "Give pairs, or dicts with 'input' and 'output'.",
    )


def _as_text(value: Any) -> str:
    """Return a question or an answer as the model would write it."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    elif dataclasses.is_dataclass(value) or isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    value = plain(value, "an example")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _similarities(texts: Sequence[str], query: str, embed: Embed | None) -> list[float]:
    every = [*texts, query]
    vectors: list[Mapping[Any, float]]
    if embed is None:
        vectors = [_triples(text) for text in every]
    else:
        vectors = [dict(enumerate(vector)) for vector in embed(every)]
    return [_cosine(vector, vectors[-1]) for vector in vectors[:-1]]


def _triples(text: str) -> Mapping[str, float]:
    padded = f"  {' '.join(text.casefold().split())} "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))


def _cosine(a: Mapping[Any, float], b: Mapping[Any, float]) -> float:
    dot = sum(value * b.get(key, 0) for key, value in a.items())
    norms = math.hypot(*a.values()) * math.hypot(*b.values())
    return dot / norms if norms else 0.0
