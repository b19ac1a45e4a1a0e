"""A run with tools while it works.

``trace_view`` picks the view for where it runs, as ``answer_view`` does for answers.
The loop calls it with every ``Delta``, ``Wait`` and event of its own. In a notebook
finished parts are sent once, what still grows at most ten times a second, and all of
it folds into one line when the run is done.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self, TextIO

from kimikit import html
from kimikit.notebook.markdown import safe
from kimikit.notebook.screen import Bundle, Drawing, Screen, place
from kimikit.tools import views
from kimikit.tools.values import (
    CallAsked,
    CallFinished,
    CallStarted,
    Run,
    RunEvent,
    RunFinished,
    StepAnswered,
    StepEvent,
    StepStarted,
)
from kimikit.types import Delta, Wait

REDRAW_S = 0.1
"""Seconds between two updates of what still grows."""

TAIL = 2_000
"""Characters of growing text that are shown; the whole stands there in the end."""


class TraceView:
    """Shows one run; this one shows nothing and is the base of the others."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing; a run that failed is shown as far as it came."""

    def __call__(self, event: RunEvent) -> None:
        """Take one event of the run."""


def trace_view(
    show: bool | None = None,  # noqa: FBT001 - the same word in run(show=...)
    *,
    out: TextIO | None = None,
) -> TraceView:
    """Return the view that fits where this runs; use it in a ``with`` block.

    Args:
        show: True or False forces; None shows in notebooks and on terminals only.
        out: Where text goes outside notebooks, standard output unless given.
    """
    shell, stream = place(show, out)
    if shell is not None:
        return NotebookTrace(shell)
    return TraceView() if stream is None else TextTrace(stream)


class TextTrace(TraceView):
    """Lines on a terminal, or in a pipe when asked for."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open = False

    def __call__(self, event: RunEvent) -> None:
        """Print text as it comes, and a line for each call, result and wait."""
        if isinstance(event, Delta):
            self._open = self._open or bool(event.text)
            self._out.write(html.clean(event.text))
        elif not isinstance(event, StepEvent | CallAsked):
            start = "\n" if self._open else ""
            self._open = False
            self._out.write(start + _line(event) + "\n")
        self._out.flush()


class NotebookTrace(TraceView):
    """Parts in a cell: finished ones stay, the last one grows."""

    def __init__(self, shell: Any) -> None:
        self._screen = Screen(shell)
        self._lock = threading.Lock()
        self._parts: list[Bundle] = []
        self._sent = 0
        self._text = self._thought = self._wait = ""
        self._calls: dict[int, str] = {}
        self._asked = time.monotonic()
        self._drawing: Drawing | None = None

    def __enter__(self) -> Self:
        if self._screen.live:
            self._drawing = Drawing(self._draw)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing; fold what an error ended as far as it came."""
        self._stop()
        run = getattr(error, "run", None)
        if isinstance(run, Run):
            self._settle(run)

    def __call__(self, event: RunEvent) -> None:
        """Note the event down for the thread that draws."""
        if isinstance(event, RunFinished):
            self._stop()
            self._settle(event.run)
            return
        with self._lock:
            self._take(event)

    def _take(self, event: RunEvent) -> None:
        self._wait = _line(event) if isinstance(event, Wait) else ""
        if isinstance(event, Delta):
            self._text += event.text
            self._thought += event.reasoning
            for part in event.calls:
                written = self._calls.get(part.index, f"{part.name} ")
                self._calls[part.index] = written + part.arguments
        elif isinstance(event, StepAnswered):
            self._fix_text(event.reply.footer())
        elif isinstance(event, CallAsked | CallStarted):
            self._fix_text()
            self._calls[event.index] = _line(event)
        elif isinstance(event, CallFinished):
            self._fix_text()
            self._calls.pop(event.index, None)
            shown = views.result_html(event.result, shown=True)
            plain = _line(event)
            self._parts.append({"text/plain": plain, "text/html": html.wrap(shown)})
        elif isinstance(event, StepStarted):
            self._fix_text()
            self._calls.clear()
            self._asked = time.monotonic()

    def _fix_text(self, footer: str = "") -> None:
        """Let the text stay as it is now; ``footer`` is what its step cost."""
        cost = html.footer(footer) if footer else ""
        if self._text.strip():
            plain = html.clean(f"{self._text}\n{footer}".strip())
            markdown = f"{safe(self._text)}\n\n{cost}".strip()
            self._parts.append({"text/plain": plain, "text/markdown": markdown})
        elif footer:
            self._parts.append({"text/plain": footer, "text/html": html.wrap(cost)})
        self._text = self._thought = ""

    def _growing(self) -> Bundle:
        lines = [call[-TAIL:] for call in self._calls.values()]
        if self._wait or not (lines or self._text):
            doing = "thinking" if self._thought else "waiting for the model"
            seconds = time.monotonic() - self._asked
            lines.append(self._wait or f"{doing} ... {seconds:.0f} s")
        shown = "\n".join([self._text[-TAIL:].strip(), *lines]).strip()
        return {
            "text/plain": html.clean(shown),
            "text/html": html.wrap(html.pre(shown)),
        }

    def _draw(self) -> float:
        with self._lock:
            parts, growing = self._parts[self._sent :], self._growing()
        for part in parts:
            self._screen.put(self._sent, part)
            self._sent += 1
        self._screen.put(self._sent, growing)
        return REDRAW_S

    def _stop(self) -> None:
        if self._drawing is not None:
            self._drawing.stop()

    def _settle(self, run: Run) -> None:
        trace = {"text/plain": views.run_text(run), "text/html": views.run_html(run)}
        text = run.text.strip()
        answer = {"text/plain": html.clean(text), "text/markdown": safe(text)}
        self._screen.settle([answer, trace] if text else [trace])
        self._screen.shown_already(run)


def _line(event: RunEvent) -> str:
    """Return an event as one line of text."""
    if isinstance(event, Wait):
        return html.clean(f"{event.reason}, trying again in {event.seconds:.0f} s")
    if isinstance(event, CallAsked):
        return html.clean(f"asking whether {event.call.name} may run ...")
    if isinstance(event, CallStarted):
        return f"… {views.call_text(event.call.name, event.call.arguments)}"
    if isinstance(event, CallFinished):
        result = event.result
        told = html.clean(views.short(" ".join(result.text.split()), 200))
        return f"{views.mark(result)} {result.call.name} -> {told}"
    return views.footer_line(event.run) if isinstance(event, RunFinished) else ""
