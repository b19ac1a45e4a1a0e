"""The parts of documents, and which of them an answer cites."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import msgspec

from kimikit import html
from kimikit.display.renderable import Renderable, Table

_ITEM = r"(?:parts?\s{0,2})?\d{1,18}"
_JOIN = r"\s{0,2}(?:[,;&]|-|\band\b)\s{0,2}"
_CITED = re.compile(
    rf"\[\^?({_ITEM}(?:{_JOIN}{_ITEM})*)(?:\u2020[^\]\n]{{0,80}})?\](?!\()",
    re.IGNORECASE,
)
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_SIGNS = {
    "\uff3b": "[", "\u3010": "[", "\u3014": "[", "\u27e6": "[",
    "\uff3d": "]", "\u3011": "]", "\u3015": "]", "\u27e7": "]",
    "\uff0c": ",", "\u3001": ",", "\u060c": ",", "\uff1b": ";", "\uff06": "&",
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-",
    "\u2212": "-", "\uff0d": "-", "\u301c": "-", "\uff5e": "-", "~": "-",
}  # fmt: skip
"""Brackets, commas and dashes of other scripts and keyboards."""

_OTHER = re.compile("[~\u0080-\U0010ffff]")


class Part(msgspec.Struct, frozen=True):
    """A piece of a document.

    Attributes:
        number: What it is cited by, from 1.
        title: The document it is from.
        text: The piece itself.
        tokens: How long it is.
    """

    number: int
    title: str
    text: str
    tokens: int

    def __str__(self) -> str:
        title = " ".join(self.title.replace('"', "'").split())
        return f'<part number="{self.number}" from="{title}">\n{self.text}\n</part>'


class Citations(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """Which parts an answer cites, and whether they exist.

    Attributes:
        parts: All parts it could cite.
        counts: How often each number is cited.
    """

    parts: tuple[Part, ...]
    counts: dict[int, int]

    @property
    def used(self) -> tuple[Part, ...]:
        """The parts that are cited, in order."""
        return tuple(part for part in self.parts if part.number in self.counts)

    @property
    def unknown(self) -> tuple[int, ...]:
        """Cited numbers that no part has."""
        known = {part.number for part in self.parts}
        return tuple(sorted(set(self.counts) - known))

    @property
    def ok(self) -> bool:
        """Whether something is cited and all of it exists."""
        return bool(self.counts) and not self.unknown

    def _parts(self) -> tuple[str, list[Table], str]:
        rows = [
            [one.number, one.title, html.opening(one.text, 60), self.counts[one.number]]
            for one in self.used
        ]
        unknown = self.unknown
        missing = ", ".join(f"[{number}]" for number in unknown[:10])
        missing += f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
        caption = f"{len(self.used)} of {len(self.parts)} parts are cited"
        caption += f"; {missing} cited though there is no such part" if missing else ""
        columns = ["part", "from", "text", "times cited"]
        return "", [Table(columns, rows, (0, 3), f"{caption}.")], ""


def check_citations(text: str, parts: Sequence[Part]) -> Citations:
    """Look up each ``[n]``, ``[1, 3]`` and ``[2-4]`` in an answer among the parts.

    Brackets, digits and commas may be those of any script. Numbers in code and in
    Markdown links are not citations, nor is one of more than 18 digits.
    """
    text = _OTHER.sub(lambda m: _ascii(m[0]), _CODE.sub("", text))
    groups = Counter(match[1].lower() for match in _CITED.finditer(text))
    counts: Counter[int] = Counter()
    for group, times in groups.items():
        for item in re.split(r"[,;&]|\band\b", group):
            ends = [int(digits) for digits in re.findall(r"\d+", item)]
            first, last = min(ends), max(ends)
            # A range over more than all parts cites nothing in particular.
            wide = last - first > len(parts)
            for number in {first, last} if wide else range(first, last + 1):
                counts[number] += times
    return Citations(parts=tuple(parts), counts=dict(sorted(counts.items())))


def _ascii(char: str) -> str:
    digit = unicodedata.decimal(char, None)
    return _SIGNS.get(char, char) if digit is None else str(digit)
