"""Find the code blocks of a model's Markdown."""

from __future__ import annotations

import re

import msgspec

from kimikit import html
from kimikit.markdown import density, parser


class Code(msgspec.Struct, frozen=True):
    """A fenced block of an answer; its ``str()`` is the code.

    Attributes:
        language: The word after the fence, in lower case; empty for none.
        text: The code, without an end of line at its end.
    """

    language: str
    text: str

    def __str__(self) -> str:
        return self.text


def code(text: str) -> tuple[Code, ...]:
    """Return the fenced blocks of ``text`` in order; one that never closes is whole.

    Args:
        text: Markdown as a model wrote it. One that would take long to read for its
            size has none here, as it is shown as written.
    """
    if ("```" not in text and "~~~" not in text) or density.is_dense(text):
        return ()
    fences = (token for token in parser.blocks(text) if token.type == "fence")
    return tuple(
        Code(_language(token.info), html.clean(token.content).removesuffix("\n"))
        for token in fences
    )


def _language(info: str) -> str:
    """Return the first word after a fence: ``{.python title="a"}`` is Python."""
    return (re.sub(r"[{},.]", " ", info).split() or [""])[0].lower()
