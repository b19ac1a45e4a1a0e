"""Show a model documents in parts, and check which parts its answer cites."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimikit import html
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput
from kimikit.json_values import check_count, short
from kimikit.prompting.history import Count, check_options, estimate_tokens
from kimikit.prompting.numbers import in_ascii
from kimikit.prompting.sources import pieces, texts_of
from kimikit.types import ChatClient, Reply

LONG = 100_000
"""Tokens of input above which Kimi K2 answers slowly (Together's page of the model)."""

RULES = (
    "Answer from the numbered parts alone. After each statement cite the parts it "
    "rests on by their numbers, such as [2] or [1, 3]. If they do not hold the answer, "
    "say so."
)

Documents = str | Path | Sequence["str | Path"] | Mapping[str, "str | Path"] | Any
"""A text, a file's path, several of these, these by title, or a data frame."""


def split(
    documents: Documents, *, part_tokens: int = 1000, count: Count = estimate_tokens
) -> tuple[Part, ...]:
    """Cut documents into numbered parts along headings, paragraphs and sentences.

    Args:
        documents: A text, a ``Path`` to read, a list of these, these by title, or a
            data frame, each row of which is a document.
        part_tokens: The most tokens in a part.
        count: Counts tokens; without it they are estimated.

    Raises:
        BadInput: If a file is missing, a document is no text, or there is none.
        MissingDependency: If a document is longer than one part and the splitter is
            not installed.
    """
    check_count("part_tokens", part_tokens)
    parts: list[Part] = []
    for title, text in texts_of(documents):
        for piece in pieces(title, text, part_tokens, count):
            parts.append(Part(len(parts) + 1, title, piece, count(piece)))
    if not parts:
        raise BadInput("The documents hold no text.", "Give at least one that does.")
    return tuple(parts)


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """A question about documents, ready to be sent.

    Attributes:
        messages: The parts, then the executive brief.
        parts: The parts by number.
        tokens: How long the messages are, about.
    """

    messages: list[dict[str, Any]]
    parts: tuple[Part, ...]
    tokens: int

    def ask(self, client: ChatClient, **params: Any) -> Report:
        """Send it and check the citations of the answer."""
        reply = client.chat(self.messages, **params)
        return Report(reply=reply, citations=check_citations(reply.text, self.parts))

    def __repr__(self) -> str:
        return f"Brief of {html.many(len(self.parts), 'part')}, ~{self.tokens:,} tokens"


class Report(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """An answer about documents and the parts it cites."""

    reply: Reply
    citations: Citations

    def _parts(self) -> tuple[str, list[Table], str]:
        return self.reply.text, self.citations._parts()[1], self.reply.footer()


def brief(
    documents: Documents,
    question: str,
    *,
    instructions: str = "",
    place: Literal["last", "first", "both"] = "last",
    part_tokens: int = 1000,
    limit_tokens: int = LONG,
    count: Count = estimate_tokens,
) -> Brief:
    """Put documents as numbered parts before an executive brief of what is wanted.

    The brief is the final user message, as the model's page advises for long inputs;
    the parts come first and unchanged, so that a host's prefix cache serves the next
    question too.

    Args:
        documents: A text, a ``Path`` to read, a list of these, these by title, or a
            data frame, each row of which is a document.
        question: What is to be found out, in a sentence or two.
        instructions: Added to the brief: the reader, the form, the length.
        place: Where the brief stands; others than ``last`` are for comparison.
        part_tokens: The most tokens in a part, the unit of citation.
        limit_tokens: Refuse more than this; ``map_reduce`` takes more.
        count: Counts tokens; without it they are estimated.

    Raises:
        BadInput: If the question is empty or the documents are too long.

    Example:
        >>> texts = {"log": "The pump failed.", "diary": "It rained."}
        >>> made = brief(texts, "What failed?")
        >>> made
        Brief of 2 parts, ~... tokens
        >>> report = made.ask(client, max_tokens=4)
        >>> report.citations  # the stand-in forgets them
        0 of 2 parts cited.
    """
    if not is_question(question) or place not in ("last", "first", "both"):
        raise BadInput(
            f"question={short(question)}, place={place!r} make no brief.",
            "Give a question, and the place 'last', 'first' or 'both'.",
        )
    check_options(instructions, limit_tokens, count)
    parts = split(documents, part_tokens=part_tokens, count=count)
    body = "\n\n".join(map(str, parts))
    messages = request(body, question, instructions, RULES, place=place)
    tokens = sum(count(message["content"]) for message in messages)
    if tokens > limit_tokens:
        raise BadInput(
            f"The documents are about {tokens:,} tokens, more than {limit_tokens:,}.",
            "Use map_reduce, which asks part by part, or raise limit_tokens.",
        )
    return Brief(messages=messages, parts=parts, tokens=tokens)


def is_question(question: Any) -> bool:
    """Tell whether something is asked."""
    return isinstance(question, str) and bool(question.strip())


def request(body: str, *lines: str, place: str = "last") -> list[dict[str, Any]]:
    """Return messages of a text and of a brief in lines, empty ones left out."""
    order = "\n".join(["Executive brief", *(line for line in lines if line)])
    places = {
        "last": [body, order],
        "first": [order, body],
        "both": [order, body, order],
    }
    return [{"role": "user", "content": text} for text in places[place]]


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
        caption = f"{len(self.used)} of {html.many(len(self.parts), 'part')} cited"
        caption += f"; {missing} cited though there is no such part" if missing else ""
        columns = ["part", "from", "text", "times cited"]
        return "", [Table(columns, rows, (0, 3), f"{caption}.")], ""


def check_citations(text: str, parts: Sequence[Part]) -> Citations:
    """Look up each ``[n]``, ``[1, 3]`` and ``[2-4]`` in an answer among the parts.

    Brackets, digits and commas may be those of any script. Numbers in code and in
    Markdown links are not citations, nor is one of more than 18 digits.
    """
    text = _OTHER.sub(lambda m: in_ascii(m[0], _SIGNS), _CODE.sub("", text))
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
