r"""Cut growing Markdown into blocks, and make the last one presentable.

A block ends where CommonMark says that no later line can change it (spec 0.31, 3 and
appendix), so what is shown for it need not be shown again. Only whole lines are
looked at: the blocks are the same however the text arrives in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from kimikit.markdown import density

if TYPE_CHECKING:
    from markdown_it.token import Token

CUT_AT = 4000
"""Characters after which a fence, list or table goes on in a new block."""

LONGEST = 2 * CUT_AT
"""Characters after which anything goes on in a new block, wherever it is.

What is open is read again for each redraw: without an end to it the work would grow
with the square of its length.
"""

_PROBE = "x"
"""A plain line that could come next: a block that it is not part of is finished."""

_GO_ON = ("bullet_list_open", "ordered_list_open", "blockquote_open", "code_block")
"""The exceptions: after such a block another line, of its own kind, is part of it."""

_HEAD_LINES = {"fence": 1, "table_open": 2}
"""Lines that are said again where a block was cut."""

_BARE_MARKER = re.compile(r"[-+*=_#~`|>]+|\d{1,9}[.)]?")
_HALF_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\s]*\Z")
_SPAN = re.compile(r"\\.|`+|\*\*")


class Splitter:
    """Takes text as it comes and gives each block once it is finished.

    Attributes:
        open: What is not finished, with the line that is still being written.
    """

    def __init__(self) -> None:
        self.open = ""

    def feed(self, text: str) -> list[str]:
        """Add ``text``; return the blocks that it finished, in order.

        A long block is cut, and its head stands in each part again.
        """
        done: list[str] = []
        while text:
            room = max(1, LONGEST - len(self.open))
            self.open += text[:room]
            if "\n" in text[:room]:
                whole, end, tail = self.open.rpartition("\n")
                *ended, last = _split(whole + end + _PROBE)
                self.open = last.removesuffix(_PROBE) + tail
                done += ended
            if len(self.open) >= LONGEST:
                whole, end, tail = self.open.rpartition("\n")
                done.append(whole + end or tail)
                self.open = tail if whole else ""
            text = text[room:]
        return done


def _split(text: str) -> list[str]:
    """Cut text that ends in the probe; the last piece, with it, is not finished."""
    lines = re.split(r"(?<=\n)", text)
    starts = list(accumulate(map(len, lines), initial=0))
    pieces, begin, head = [], 0, ""
    for end, repeated in _ends(lines):
        # A fence may end at each of its lines: none is put together before it is due.
        size = len(head) + starts[end] - starts[begin]
        if repeated is None or size > CUT_AT:
            pieces.append(head + text[starts[begin] : starts[end]])
            begin, head = end, repeated or ""
    return [*pieces, head + text[starts[begin] :]]


def _ends(lines: list[str]) -> Iterator[tuple[int, str | None]]:
    """Give the numbers of the lines before which a block ends or may be cut.

    With each goes what the next part must say again, ``None`` where a block ends.
    """
    kind, until = "", 0
    for token in _outline("".join(lines)):
        first, end = token.map or (0, 0)
        if token.type == "list_item_open" and token.level == 1:
            yield first, ""
        if token.level or token.nesting < 0:
            continue
        if kind and (kind not in _GO_ON or first < len(lines) - 1):
            yield until, None
        kind, until = token.type, end
        if size := _HEAD_LINES.get(kind):
            head = "".join(lines[first : first + size])
            if len(head) > CUT_AT // 8:
                continue  # each part would be mostly head
            # What closes a fence must not stand alone.
            yield from ((line, head) for line in range(first + size + 1, end - 1))


def preview(text: str) -> str:
    """Return what is not finished as Markdown that can be shown as it stands.

    Closes what is open, and holds back marks whose meaning the next character
    decides: a lone ``-`` below a line would make it a heading.
    """
    if not text.strip() or density.is_dense(text):
        return text  # which is shown as it is
    last = next((token for token in reversed(_outline(text)) if token.map), None)
    if last is None or last.map is None or last.type in ("fence", "code_block"):
        return text
    start = sum(map(len, re.split(r"(?<=\n)", text)[: last.map[0]]))
    if last.type == "math_open" and last.level == 0:
        return f"{text[:start]}```latex\n{text[start:]}\n```"
    before, end, line = text.rpartition("\n")
    if _BARE_MARKER.fullmatch(line.strip(" \t").lstrip("> \t") or "-"):
        text = before + end
    text = _HALF_LINK.sub(r"\1", text)
    code, bold = "", False
    for span in _SPAN.findall(text[start:]):
        if span[0] == "`" and code in ("", span):
            code = "" if code else span
        elif span == "**" and not code:
            bold = not bold
    if code:
        text = text.removesuffix(code) if text.endswith(code) else text + code
    if bold:
        text = text.rstrip()
        text = text.removesuffix("**") if text.endswith("**") else text + "**"
    return text


def _outline(text: str) -> list[Token]:
    # The parser takes 70 ms to import.
    from kimikit.markdown import parser

    return parser.outline(text)
