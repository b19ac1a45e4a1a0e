"""Show a streamed answer while it comes, and leave the rest in the cell afterwards.

``answer_view`` picks the view for where it runs: live Markdown in a notebook, plain
text on a terminal, nothing in a pipe. The wire calls the view with every ``Delta``
and ``Wait``; in a notebook these are only noted down, and another thread draws.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TextIO

from kimikit import html
from kimikit.display.cell import is_terminal
from kimikit.display.footer import footer
from kimikit.display.marimo import in_marimo
from kimikit.display.renderable import call_text
from kimikit.markdown import safe
from kimikit.notebook.marimo_view import MarimoView
from kimikit.notebook.progress import Progress, below, thinking
from kimikit.notebook.screen import Bundle, Guarded, LiveView, View, place
from kimikit.types import Delta, Reply, Wait

BYTES_PER_S = 5_500
"""Most bytes per second to the browser while an answer streams."""

Total = Callable[[], str]
AtMost = Callable[[Reply], Decimal | None]
Footer = Callable[[Reply], str]


def answer_view(
    show: bool | None = None,  # noqa: FBT001 - the same word in chat(show=...)
    *,
    total: Total | None = None,
    at_most: AtMost | None = None,
    images: bool = False,
    out: TextIO | None = None,
    beside: TextIO | None = None,
) -> View:
    """Return the view that fits where this runs.

    Args:
        show: True or False forces; None shows in notebooks and on terminals only.
        total: Gives the session's cost as it is shown, for the footer.
        at_most: Gives the most that a stopped answer can cost in US dollars.
        images: Whether to load remote images.
        out: Where text goes outside notebooks, standard output unless given.
        beside: Where all but the answer goes there, ``out`` unless given.
    """

    def foot(reply: Reply) -> str:
        return footer(
            [reply],
            session_cost=total() if total else "",
            at_most_usd=at_most(reply) if at_most and reply.partial else None,
        )

    if out is None and show is not False and in_marimo():
        return Guarded(MarimoView(foot))
    shell, stream = place(show, out)
    if shell is not None:
        return Guarded(NotebookView(shell, foot, images=images))
    return View() if stream is None else Guarded(TextView(stream, foot, beside))


class TextView(View):
    """Plain text on a terminal, or in a pipe when asked for."""

    def __init__(
        self, out: TextIO, footer: Footer, beside: TextIO | None = None
    ) -> None:
        self._out = out
        self._beside = beside or out
        self._footer = footer
        self._status = ""
        self._text = False

    def __call__(self, step: Delta | Wait) -> None:
        """Print new text; show waiting and thinking on a line that goes away."""
        if isinstance(step, Wait):
            self._say(f"{step.reason}, trying again in {step.seconds:.0f} s")
        elif step.choice == 0 and step.text:
            self._say("")
            self._text = True
            self._out.write(html.clean(step.text))
            self._out.flush()
        elif step.choice == 0 and step.reasoning and not self._text:
            self._say("thinking ...")

    def _say(self, status: str) -> None:
        if status != self._status and is_terminal(self._beside):
            blank = " " * len(self._status)
            self._beside.write(f"\r{blank}\r{html.clean(status)}")
            self._beside.flush()
            self._status = status

    def finish(self, reply: Reply) -> None:
        """Print what was not streamed, then notes and footer."""
        self._say("")
        if self._text or reply.text:
            self._out.write(("" if self._text else html.clean(reply.text)) + "\n")
            self._out.flush()
        lines = [call_text(c.name, c.arguments) for c in reply.tool_calls]
        lines += [*reply.notes, self._footer(reply)]
        self._beside.write("\n".join(map(html.clean, lines)) + "\n")
        self._beside.flush()

    def fail(self, error: BaseException) -> None:
        """End the line that was being written."""
        self._say("")
        if (reply := getattr(error, "reply", None)) is not None:
            self.finish(reply)
        elif self._text:
            self._out.write("\n")


class NotebookView(LiveView):
    """Live Markdown in a cell: finished blocks once, the open one as it grows."""

    def __init__(self, shell: Any, footer: Footer, *, images: bool) -> None:
        super().__init__(shell, BYTES_PER_S)
        self._footer = footer
        self._images = images
        room = self._screen.room
        self._progress = Progress(time.monotonic(), room, images=images)

    def _take(self, step: Delta | Wait, now: float) -> None:
        self._progress.take(step, now)

    def _parts(self, now: float) -> tuple[list[Bundle], list[Bundle]]:
        return self._progress.parts(now)

    def finish(self, reply: Reply) -> None:
        """Replace the blocks by one clean answer and one footer."""
        self._stop()
        self._settle(reply, self._footer(reply))
        self._screen.shown_already(reply)

    def fail(self, error: BaseException) -> None:
        """Leave what had arrived as one clean answer."""
        reply = getattr(error, "reply", None)
        so_far = self._progress.reply()
        if reply is not None:
            self._settle(reply, self._footer(reply))
        elif so_far.text or so_far.reasoning or so_far.tool_calls:
            stopped = isinstance(error, (KeyboardInterrupt, asyncio.CancelledError))
            self._settle(so_far, "stopped" if stopped else "broken off by an error")
        else:
            self._screen.settle([])

    def _settle(self, reply: Reply, footer: str) -> None:
        bundles = []
        if reply.reasoning:
            tokens = reply.usage.reasoning_tokens
            bundles.append(thinking(reply.reasoning, self._progress.thought_s, tokens))
        if reply.text:
            plain = html.clean(reply.text)
            shown = safe(reply.text, images=self._images)
            bundles.append({"text/plain": plain, "text/markdown": shown})
        bundles.append(below(reply, footer))
        self._screen.settle(bundles)
