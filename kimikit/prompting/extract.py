"""Find the JSON in what a model wrote around it; texts and numbers: ``answers``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kimikit.prompting.answers import final_answer, last_number, one_of

__all__ = ["final_answer", "find_json", "last_number", "one_of"]

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_OPENING = re.compile(r"[\[{]")

OPENINGS_TRIED = 200
"""Brackets at which JSON is looked for; an answer of brackets must not stall us."""


def find_json(text: str) -> tuple[Any, str]:
    """Return the JSON value in an answer and where it was found.

    Args:
        text: An answer that is JSON, or holds it in a code fence or amid prose, where
            the longest value is taken: a citation such as ``[1]`` is JSON too.

    Returns:
        The value, and ``""``, ``"a code fence"`` or ``"the text around it"``.

    Raises:
        ValueError: If no part of it is JSON.
    """
    fenced = [(block, "a code fence") for block in _FENCE.findall(text)]
    problem = ValueError("it is empty")
    for part, place in [(text, ""), *fenced]:
        try:
            return json.loads(part), place
        except RecursionError:
            problem = ValueError("it is nested too deeply")
        except ValueError as exc:
            problem = exc
    found = list(_values(text))
    if not found:
        raise problem
    return max(found, key=lambda pair: pair[0])[1], "the text around it"


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """Yield the lengths and values of the JSON lists and objects amid prose."""
    decoder, start = json.JSONDecoder(), 0
    for _ in range(OPENINGS_TRIED):
        opening = _OPENING.search(text, start)
        if opening is None:
            return
        try:
            value, start = decoder.raw_decode(text, opening.start())
            yield start - opening.start(), value
        except (ValueError, RecursionError):
            start = opening.end()
