"""Questions about documents: numbered parts, an executive brief, checked citations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput
from kimikit.json_values import short
from kimikit.prompting.citations import Citations, Part, check_citations
from kimikit.prompting.history import Count, estimate_tokens
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

__all__ = [
    "RULES", "Brief", "Citations", "Documents", "Part", "Report", "brief",
    "check_citations", "request", "split",
]  # fmt: skip


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
    if not isinstance(part_tokens, int) or part_tokens < 1:
        raise BadInput(f"part_tokens={part_tokens} holds no text.", "Give about 1000.")
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
        return f"Brief of {len(self.parts)} parts, ~{self.tokens:,} tokens"


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
        >>> report = made.ask(client, max_tokens=16)
        >>> report.citations  # the stand-in forgets them
        0 of 2 parts are cited.
    """
    if not is_question(question) or place not in ("last", "first", "both"):
        raise BadInput(
            f"question={short(question)}, place={place!r} make no brief.",
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
