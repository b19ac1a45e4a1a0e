"""Stream an answer in marimo by its own output, and leave it there as a value."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kimikit import html
from kimikit.display.marimo import replace
from kimikit.markdown import as_html
from kimikit.notebook.screen import BYTES_PER_S, REDRAWS_PER_S, View
from kimikit.types import Delta, Reply, Wait


class MarimoView(View):
    """Draws the answer in its cell while it comes, and leaves it there whole.

    A cell that ends in the reply shows that instead, which marimo puts in its place.

    Args:
        footer: Gives the last line of an answer.
        put: Puts HTML in the place of what the cell shows; marimo's own unless given.
    """

    def __init__(
        self,
        footer: Callable[[Reply], str],
        put: Callable[[str], object] | None = None,
    ) -> None:
        self._footer = footer
        self._put = put or replace
        self._text: list[str] = []
        self._size = 0
        self._next = 0.0

    def __call__(self, step: Delta | Wait) -> None:
        """Draw what has come, a few times per second."""
        if isinstance(step, Wait):
            line = f"{step.reason}, trying again in {step.seconds:.0f} s"
            self._put(html.wrap(html.footer(line)))
            return
        if step.choice or not step.text:
            return
        self._text.append(step.text)
        self._size += len(step.text)
        now = time.monotonic()
        if now >= self._next:
            self._put(html.wrap(as_html("".join(self._text))))
            pause = max(1 / REDRAWS_PER_S, self._size / BYTES_PER_S)
            self._next = time.monotonic() + pause

    def finish(self, reply: Reply) -> None:
        """Show the whole answer, its notes and its footer."""
        answer = [as_html(reply.text)] if reply.text else []
        below = (each.rich for each in reply.below())
        self._put(html.wrap(*answer, *below, html.footer(self._footer(reply))))

    def fail(self, error: BaseException) -> None:
        """Leave what had arrived."""
        reply: Any = getattr(error, "reply", None)
        if reply is not None:
            self.finish(reply)

    def fall_back(self, value: Any, fault: Exception) -> None:
        """Show the text alone, as the view failed."""
        note = f"Shown as plain text, as its view failed: {type(fault).__name__}."
        self._put(html.wrap(html.pre(value.text), html.footer(note)))
