"""Find the answer in what a model wrote around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_MARKER = re.compile(r"answer\b[\s*_]*(?::|=|is\b)[\s*_:=]*", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?|(?<![\w.])-?\.\d+")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_OPENING = re.compile(r"[\[{]")
_TYPOGRAPHY = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00a0": " "})

OPENINGS_TRIED = 200
"""Brackets at which JSON is looked for; an answer of brackets must not stall us."""


def final_answer(text: str) -> str | None:
    r"""Return what follows the last ``Answer:``, or else the last line, bare.

    Markdown emphasis, ``\boxed{}``, closing full stops and case are dropped, so that
    ``**Paris.**`` and ``paris`` are one answer. ``None`` for a text without one.
    """
    tails = _tails(text)
    lines = (tails or [text])[0].splitlines()
    lines = [line for line in lines if line.strip(" \t*_`#.")]
    if not lines:
        return None
    line = lines[0] if tails else lines[-1]
    return line.strip(" \t*_`#$\"'.").casefold() or None


def last_number(text: str) -> float | None:
    r"""Return the number in ``\boxed{}`` or after ``Answer:``, else the last of all."""
    text = text.translate(_TYPOGRAPHY).replace("{,}", "").replace("\\$", "$")
    for tail in _tails(text):
        # In "Answer: 3 + 4 = 7 apples" the number wanted follows the last sign.
        line = tail.partition("\n")[0].rpartition("=")[2]
        if found := _NUMBER.search(line) or _NUMBER.search(tail):
            return float(found[0].replace(",", ""))
    every = _NUMBER.findall(text)
    return float(every[-1].replace(",", "")) if every else None


def one_of(text: str, labels: Sequence[str]) -> str | None:
    """Return the label named after ``Answer:``, else the only or the last one named."""
    for tail in (*_tails(text), text):
        named = [
            (match.start(), label)
            for label in labels
            for match in re.finditer(rf"\b{re.escape(label)}\b", tail, re.IGNORECASE)
        ]
        if named:
            return max(named)[1]
    return None


def _tails(text: str) -> list[str]:
    """Return what the last box holds and what follows the last ``Answer:``, if any."""
    return [*_BOXED.findall(text)[-1:], *_MARKER.split(text)[1:][-1:]]


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
