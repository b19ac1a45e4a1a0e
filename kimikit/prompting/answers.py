"""Find the answer in what a model wrote around it: a text, a number, a label, a yes.

All of it is linear in the text, and reads what people write in any script: 1,234.5 and
1.234,5, 6.02e23, 10^6, ½, full-width digits, labels inside labels and beside Chinese.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from kimikit.prompting.numbers import numbers, unspaced

_MARKER = re.compile(
    r"(?:\b(?:answer|antwort|réponse|respuesta|risposta|resposta|ответ)\b|答案|答え|回答)"
    r"[\s*_]*(?::|\uff1a|=|is\b|ist\b|est\b|es\b|是|为|は)[\s*_:=\uff1a]*",
    re.IGNORECASE,
)
_IN_JSON = re.compile(r'"\w{0,20}answer"\s*:\s*("[^"\\]*"|[^\s,{}\["]+)', re.IGNORECASE)
_WRAPPED = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mathit)\s*\{([^{}]*)\}")
_SPACE = re.compile(r"\s+")
_EMPHASIS = str.maketrans("", "", "*`\u200b\u2060\ufeff")
_JOINERS = "-_'\u2019\u2010\u2011"
_SIGNS = "+#"

_SEPARATOR = re.compile(r"(?<=[^\W\d_])(?:\\[- ]|_)(?=[^\W\d_])")
"""What joins two words of a label, as ``re.escape`` writes it: models write another."""

_SAME = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2010": "-", "\u2011": "-"})
"""Apostrophes and hyphens of typesetters, which models write for those of keyboards."""

_NEGATED = re.compile(
    r"(?:\b(?:not|non|never|neither|nor)|n't)(?: an?| the)?[ \"'(]*\Z"
)
"""What stands before a label that is denied."""

_TRUTHS = {
    "true": True, "yes": True, "correct": True, "right": True,
    "false": False, "no": False, "incorrect": False, "wrong": False,
    "not true": False, "not correct": False, "not right": False, "untrue": False,
    "not false": True, "not wrong": True, "not incorrect": True,
}  # fmt: skip


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
    bare = _WRAPPED.sub(r"\1", line).strip(" \t*_`#$\"'.\u3002\uff0e\u201c\u201d")
    return bare.casefold() or None


def last_number(text: str) -> float | None:
    r"""Return the number in ``\boxed{}`` or after ``Answer:``, else the last of all."""
    for tail in _tails(text):
        # In "Answer: 3 + 4 = 7 apples" the number wanted follows the last sign.
        line = re.split("[=\u2248]", tail.strip().partition("\n")[0])[-1]
        for part in (line, tail):
            if (first := next(numbers(part, alone=True), None)) is not None:
                return first
    every = None
    for every in numbers(text):  # noqa: B007 - the last one
        pass
    return every


def one_of(text: str, labels: Sequence[Any]) -> str | None:
    """Return the label named after ``Answer:``, else the only or the last one named.

    Where one label is inside another the longest that stands there counts. A label is
    no part of a longer word and not denied by a "not" before it.
    """
    shown = {str(label): 0 for label in labels if str(label).strip()}
    finder = _Finder(list(shown))
    for tail in _tails(text):
        line = tail.strip().partition("\n")[0]
        named = list(finder.find(line)) or list(finder.find(tail))
        if named:
            leads = named[0][0] == 0
            return named[0 if leads else -1][1]
    named = list(finder.find(text))
    return named[-1][1] if named else None


def true_or_false(text: str) -> bool | None:
    """Return whether an answer says true or false, yes or no; ``None`` if neither."""
    finder = _Finder(list(_TRUTHS))
    for tail in _tails(text):
        if named := list(finder.find(tail)):
            return _TRUTHS[named[0][1]]
    named = list(finder.find(text))
    if not named:
        return None
    if named[0][0] == 0:
        return _TRUTHS[named[0][1]]
    # "No" and "right" are words of any sentence; the others are answers.
    sure = [label for _, label in named if label not in ("no", "right")]
    return _TRUTHS[sure[-1]] if sure else None


class _Finder:
    """Finds labels in texts, the longest where several begin at one place."""

    def __init__(self, labels: Sequence[str]) -> None:
        folded = {_fold(label).casefold() for label in labels}
        self._exact = len(folded) < len(labels)  # labels that differ by case alone
        self._emphasis = any("*" in label or "`" in label for label in labels)
        keys = {self._key(label): label for label in reversed(labels)}
        longest = sorted(keys, key=len, reverse=True)
        parts = [_SEPARATOR.sub("[-_ ]", re.escape(key)) for key in longest]
        self._pattern = re.compile("|".join(parts) or r"(?!)")
        self._labels = {_joined(key): label for key, label in keys.items()} | keys

    def _key(self, text: str) -> str:
        return _fold(text) if self._exact else _fold(text).casefold()

    def find(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the labels that a text names and where, in order."""
        text = self._key(text if self._emphasis else text.translate(_EMPHASIS))
        start = len(text) - len(text.lstrip(" \"'([{\u201c\u2018\u300c$"))
        at = 0
        while match := self._pattern.search(text, at):
            place, end = match.span()
            part = _inside(text, place) or _goes_on(text, end)
            if not (part or _NEGATED.search(text[max(0, place - 16) : place])):
                found = match[0] if match[0] in self._labels else _joined(match[0])
                yield (0 if place <= start else place), self._labels[found]
                at = end
            else:
                # A shorter label may begin inside; "york" in "newyork" never does.
                at = end if _inside(text, place) else place + 1


def _fold(text: str) -> str:
    """Return a text in which full-width, composed and broken forms are the same."""
    plain = unicodedata.normalize("NFKC", text).translate(_SAME)
    return _SPACE.sub(" ", plain).strip()


def _joined(label: str) -> str:
    """Return a label with one separator for all."""
    return label.replace("-", " ").replace("_", " ")


def _inside(text: str, start: int) -> bool:
    """Tell whether a word goes on over the place where a label begins."""
    first, before = text[start], text[max(0, start - 2) : start]
    if not before or unspaced(first) or unspaced(before[-1]):
        return False
    last, ahead = before[-1], before[:-1]
    if _is_letter(last):
        return _is_letter(first) or first in _SIGNS + "-."
    if last in _JOINERS and ahead and _is_letter(ahead):
        return _is_letter(first)
    if first.isdigit():  # -1, .5 and 2,1 are other numbers
        return last in "-." or (last == "," and ahead.isdigit())
    return False


def _goes_on(text: str, end: int) -> bool:
    """Tell whether a word goes on over the place where a label ends."""
    last, after = text[end - 1], text[end : end + 2]
    if not after:
        return False
    if unicodedata.category(after[0]) in ("Mn", "Mc"):
        return True  # a vowel sign or accent belongs to the letter before it
    if unspaced(last) or unspaced(after[0]):
        return False
    if _is_letter(after[0]):
        return _is_letter(last) or last in _SIGNS + "-"
    if after[0] in _SIGNS:
        return _is_letter(last) or last == after[0]
    joined = after[0] in _JOINERS or (last.isdigit() and after[0] in ".,")
    return joined and _is_letter(after[1:] or " ") and _is_letter(last)


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def _tails(text: str) -> list[str]:
    """Return what the last box holds and what follows the last ``Answer:``, if any.

    In JSON that is the last ``"answer"``.
    """
    marked = _MARKER.split(text)[1:][-1:]
    tails = [*_boxed(text), *_IN_JSON.findall(text)[-1:], *marked]
    return [tail for tail in tails if tail.strip(" \t\n*_`.")] or tails[:1]


def _boxed(text: str) -> list[str]:
    r"""Return what the last ``\boxed{}`` holds, braces inside it included."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return []
    start += len("\\boxed{")
    depth = 1
    for match in re.finditer(r"[{}]", text[start : start + 10_000]):
        depth += 1 if match[0] == "{" else -1
        if depth == 0:
            return [text[start : start + match.start()]]
    return []
