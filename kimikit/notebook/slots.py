"""Show one answer in the playground: reasoning, text, and what stands below."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from kimikit import html
from kimikit.errors import KimiError
from kimikit.markdown import as_html, safe
from kimikit.notebook.blocks import preview
from kimikit.notebook.columns import Column
from kimikit.notebook.progress import CHARACTERS_PER_TOKEN, below
from kimikit.notebook.screen import Bundle, emitted
from kimikit.types import Reply

_ENDS = {"stop": "done", "length": "cut at max_tokens"}

THOUGHT_SHOWN = 4_000
"""Characters of a growing reasoning that are shown, its last ones."""


class Slot:
    """Shows an answer while it grows, and whole at its end.

    Args:
        label: Its heading while nobody may know whose it is.
        title: Its heading else; empty for none.
        column: The answer.
        across: How many stand beside one another.

    Attributes:
        box: What to show.
        column: The answer.
    """

    def __init__(self, label: str, title: str, column: Column, across: int) -> None:
        self.label, self.title, self.column = label, title, column
        self._head, self._foot = w.HTML(), w.HTML()
        self._thought = w.HTML()
        self._pane = w.Accordion([self._thought], titles=("thinking",))
        self._pane.layout.display = "none"
        self._text = w.Output()
        # As wide as its share, and never so narrow that nothing can be read.
        share = f"calc({100 // across}% - 14px)" if across > 1 else "100%"
        wide = w.Layout(flex=f"1 1 {share}", min_width="min(230px, 100%)")
        parts = [self._head, self._pane, self._text, self._foot]
        self.box = w.VBox(parts, layout=wide)

    def draw(self, *, named: bool) -> int:
        """Show how far the answer is; return about how many bytes that took."""
        reply = self.column.reply
        self._draw_head(named=named)
        self._draw_thought(reply, reply.reasoning[-THOUGHT_SHOWN:])
        line = self.column.line if named else self.state
        self._foot.value = html.footer(line)
        text = safe(preview(reply.text))
        put(self._text, [{"text/markdown": text}] if text else [])
        return len(text) + min(len(reply.reasoning), THOUGHT_SHOWN)

    def finish(self, *, named: bool) -> None:
        """Show the whole answer, and who gave it if that may be known."""
        reply = self.column.reply
        self._draw_head(named=named)
        self._draw_thought(reply, reply.reasoning)
        self._foot.value = ""
        put(self._text, self._bundles(named=named))

    def _draw_head(self, *, named: bool) -> None:
        head = self.title if named else self.label
        bold = f'<b style="line-height:1.4">{html.esc(head)}</b>'
        self._head.value = bold if head else ""

    def _draw_thought(self, reply: Reply, text: str) -> None:
        """Show the reasoning, folded; the pane stays open if it was opened."""
        if not reply.reasoning:
            return
        tokens = reply.usage.reasoning_tokens
        tokens = tokens or len(reply.reasoning) // CHARACTERS_PER_TOKEN
        live = not reply.text and not self.column.over
        word = "thinking ..." if live else "thinking:"
        exact = reply.usage.reasoning_tokens and not reply.usage.estimated
        self._pane.titles = (f"{word} {'' if exact else '~'}{tokens:,} tokens",)
        self._thought.value = html.pre(text)
        self._pane.layout.display = None

    def _bundles(self, *, named: bool) -> list[Bundle]:
        reply, error, shown = self.column.reply, self.column.error, []
        if reply.text:
            text = {"text/markdown": safe(reply.text)}
            shown.append({"text/plain": html.clean(reply.text), **text})
        if error is not None:
            shown.append(error_view(error))
        if named and (reply.text or error is None):
            shown.append(below(reply, reply.footer()))
        return shown

    @property
    def state(self) -> str:
        """What the answer is doing, or how it ended, in people's words."""
        return _ENDS.get(self.column.state, self.column.state)

    @property
    def words(self) -> str:
        """The answer or its error as plain text."""
        error = self.column.error
        return self.column.reply.text or (str(error) if error else "no text")

    def kept(self, *, named: bool) -> tuple[str, str]:
        """Return what a saved notebook shows of it, as text and as HTML."""
        reply, head = self.column.reply, self.title if named else self.label
        parts = [f"<b>{html.esc(head)}</b>"] if head else []
        if reply.reasoning:
            parts.append(html.fold("thinking", html.pre(html.cut(reply.reasoning))))
        plain = [head] if head else []
        for bundle in self._bundles(named=named):
            plain.append(bundle["text/plain"])
            answer = "text/markdown" in bundle
            parts.append(as_html(reply.text) if answer else bundle["text/html"])
        return "\n".join(plain), "".join(parts)


def put(output: w.Output, bundles: list[Bundle]) -> None:
    """Let an output widget show these displays, and nothing else."""
    shown: Any = tuple(
        {"output_type": "display_data", "metadata": {}, "data": emitted(bundle)}
        for bundle in bundles
    )
    if output.outputs != shown:
        output.outputs = shown


def error_view(error: Exception) -> Bundle:
    """Return an error's own view."""
    if not isinstance(error, KimiError):
        error = KimiError(f"{type(error).__name__}: {error}", "Look at what was given.")
    return {"text/plain": str(error), "text/html": error._repr_html_()}
