"""Questions about documents: numbered parts, an executive brief, checked citations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimikit import html
from kimikit.errors import BadInput, MissingDependency
from kimikit.prompting.history import Count, estimate_tokens
from kimikit.shown import Shown, Table
from kimikit.types import ChatClient, Reply

LONG = 100_000
"""Tokens of input above which Kimi K2 answers slowly (Together's page of the model)."""

RULES = (
    "Answer from the numbered parts alone. After each statement cite the parts it "
    "rests on by their numbers, such as [2] or [1, 3]. If they do not hold the answer, "
    "say so."
)

Documents = str | Path | Sequence["str | Path"] | Mapping[str, str]
"""A text, a file's path, several of these, or texts by their titles."""

_CITED = re.compile(r"\[(\d+(?:\s*(?:[,;]|-|\u2013)\s*\d+)*)\](?!\()")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


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
        title = self.title.replace('"', "'")
        return f'<part number="{self.number}" from="{title}">\n{self.text}\n</part>'


def split(
    documents: Documents, *, part_tokens: int = 1000, count: Count = estimate_tokens
) -> tuple[Part, ...]:
    """Cut documents into numbered parts along headings, paragraphs and sentences.

    Args:
        documents: A text, a ``Path`` to read, a list of these, or texts by title.
        part_tokens: The most tokens in a part.
        count: Counts tokens; without it they are estimated.

    Raises:
        BadInput: If a file is missing, or there is no text.
        MissingDependency: If a document is longer than one part and the splitter is
            not installed.
    """
    if part_tokens < 1:
        raise BadInput(f"part_tokens={part_tokens} holds no text.", "Give about 1000.")
    parts: list[Part] = []
    for title, text in _texts(documents):
        for piece in _pieces(text, part_tokens, count):
            parts.append(Part(len(parts) + 1, title, piece, count(piece)))
    if not parts:
        raise BadInput("The documents hold no text.", "Give at least one that does.")
    return tuple(parts)


def _texts(documents: Documents) -> list[tuple[str, str]]:
    if isinstance(documents, Mapping):
        return [(str(title), text) for title, text in documents.items()]
    several = [documents] if isinstance(documents, str | Path) else documents
    return [_text(one, number) for number, one in enumerate(several, 1)]


def _text(document: str | Path, number: int) -> tuple[str, str]:
    if isinstance(document, str):
        return f"document {number}", document
    try:
        path = Path(document)
        return path.name, path.read_text(encoding="utf-8")
    except (TypeError, OSError, UnicodeDecodeError) as exc:
        raise BadInput(
            f"{document!r} cannot be read as text: {exc}.",
            "Give texts, or the pathlib.Path of a text or Markdown file in UTF-8.",
        ) from exc


def _pieces(text: str, most: int, count: Count) -> list[str]:
    if count(text) <= most:
        return [text] if text.strip() else []
    try:
        from semantic_text_splitter import MarkdownSplitter
    except ImportError as exc:
        raise MissingDependency.of(
            "semantic-text-splitter", "Cutting long documents", "documents"
        ) from exc
    return MarkdownSplitter.from_callback(count, most).chunks(text)


class Citations(Shown, msgspec.Struct, frozen=True, kw_only=True):
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
        missing = ", ".join(f"[{number}]" for number in self.unknown)
        caption = f"{len(self.used)} of {len(self.parts)} parts are cited"
        caption += f"; {missing} cited though there is no such part" if missing else ""
        columns = ["part", "from", "text", "times cited"]
        return "", [Table(columns, rows, (0, 3), f"{caption}.")], ""


def check_citations(text: str, parts: Sequence[Part]) -> Citations:
    """Look up each ``[n]``, ``[1, 3]`` and ``[2-4]`` in an answer among the parts.

    Numbers in code and in Markdown links are not citations.
    """
    counts: Counter[int] = Counter()
    for group in _CITED.findall(_CODE.sub("", text)):
        for item in re.split(r"[,;]", group):
            first, *rest = [int(n) for n in re.split(r"[-\u2013]", item)]
            last = rest[-1] if rest else first
            # A range over more than all parts cites nothing in particular.
            wide = last - first > len(parts)
            counts.update([first, last] if wide else range(first, last + 1))
    return Citations(parts=tuple(parts), counts=dict(sorted(counts.items())))


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
        return f"Brief of {len(self.parts)} parts, ~{self.tokens:,} tokens"


class Report(Shown, msgspec.Struct, frozen=True, kw_only=True):
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
        documents: A text, a ``Path`` to read, a list of these, or texts by title.
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
        >>> report = made.ask(client, max_tokens=16)
        >>> report.citations  # the stand-in forgets them
        0 of 2 parts are cited.
    """
    if not question.strip() or place not in ("last", "first", "both"):
        raise BadInput(
            f"question={question!r}, place={place!r} make no brief.",
            "Give a question, and the place 'last', 'first' or 'both'.",
        )
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


def request(body: str, *lines: str, place: str = "last") -> list[dict[str, Any]]:
    """Return messages of a text and of a brief in lines, empty ones left out."""
    order = "\n".join(["Executive brief", *(line for line in lines if line)])
    places = {
        "last": [body, order],
        "first": [order, body],
        "both": [order, body, order],
    }
    return [{"role": "user", "content": text} for text in places[place]]
