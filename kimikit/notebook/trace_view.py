"""Show a run with tools while it works.

``trace_view`` picks the view for where it runs, as ``answer_view`` does for answers.
The loop calls it with every ``Delta``, ``Wait`` and event of its own. In a notebook
finished parts are sent once, what still grows a few times per second, and all of it
folds into one line when the run is done.
"""

from __future__ import annotations

from typing import Any, TextIO

from kimikit import html
from kimikit.display.marimo import in_marimo, replace
from kimikit.markdown import safe, small_print
from kimikit.notebook.progress import Progress, calls_so_far
from kimikit.notebook.screen import Bundle, Guarded, LiveView, View, place, rich
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
from kimikit.types import Delta, Reply, Wait


def trace_view(
    show: bool | None = None,  # noqa: FBT001 - the same word in run(show=...)
    *,
    out: TextIO | None = None,
) -> View:
    """Return the view that fits where this runs; use it in a ``with`` block.

    Args:
        show: True or False forces; None shows in notebooks and on terminals only.
        out: Where text goes outside notebooks, standard output unless given.
    """
    shell, stream = place(show, out)
    if shell is not None:
        return Guarded(NotebookTrace(shell))
    if out is None and show is not False and in_marimo():
        return Guarded(MarimoTrace())
    return View() if stream is None else Guarded(TextTrace(stream))


class TextTrace(View):
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
            self._out.write(html.clean(f"{start}{_line(event)}\n"))
        self._out.flush()


class MarimoTrace(View):
    """A line for each call, result and wait in marimo's cell, then the whole run."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def __call__(self, event: RunEvent) -> None:
        """Add the line of an event; the last one brings the run in their place."""
        if isinstance(event, RunFinished):
            replace(event.run._repr_html_())
        elif not isinstance(event, Delta | StepEvent):
            self._lines.append(_line(event))
            replace(html.wrap(html.pre("\n".join(self._lines))))

    def fail(self, error: BaseException) -> None:
        """Leave how far it came."""
        run = getattr(error, "run", None)
        if isinstance(run, Run):
            replace(run._repr_html_())


class NotebookTrace(LiveView):
    """Parts in a cell: finished ones stay, the last ones grow."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._finished: list[Bundle] = []
        self._answer: Progress | None = None
        self._calls: dict[int, str] = {}

    def __call__(self, event: RunEvent) -> None:
        """Note the event down for the thread that draws; the last one ends it."""
        super().__call__(event)
        if isinstance(event, RunFinished):
            self._stop()
            self._settle(event.run)

    def fail(self, error: BaseException) -> None:
        """Fold what an error ended as far as it came."""
        run = getattr(error, "run", None)
        if isinstance(run, Run):
            self._settle(run)

    def _take(self, event: RunEvent, now: float) -> None:
        if isinstance(event, StepStarted):
            self._calls.clear()
            self._answer = Progress(now, room=1)
        elif isinstance(event, Delta | Wait):
            self._answer = self._answer or Progress(now, room=1)
            self._answer.take(event, now)
        elif isinstance(event, StepAnswered):
            self._answer = None
            self._finished.append(_answered(event.reply))
        elif isinstance(event, CallAsked | CallStarted):
            self._calls[event.index] = _line(event)
        elif isinstance(event, CallFinished):
            self._calls.pop(event.index, None)
            shown = views.result_html(event.result, shown=True)
            self._finished.append(rich(_line(event), shown))

    def _parts(self, now: float) -> tuple[list[Bundle], list[Bundle]]:
        growing = self._answer.parts(now)[1] if self._answer is not None else []
        if self._calls:
            growing.append(calls_so_far(self._calls.values()))
        finished, self._finished = self._finished, []
        return finished, growing

    def _settle(self, run: Run) -> None:
        text, (steps,), foot = run._parts()
        trace = rich(f"{steps.text}\n{foot}".strip(), steps.rich, html.footer(foot))
        answer = {"text/plain": html.clean(text), "text/markdown": safe(text)}
        self._screen.settle([answer, trace] if text else [trace])
        self._screen.shown_already(run)


def _answered(reply: Reply) -> Bundle:
    """Return what the model said in a step, and what that cost."""
    footer = reply.footer()
    if not reply.text.strip():
        return rich(footer, html.footer(footer))
    markdown = f"{safe(reply.text)}\n\n{small_print(footer)}"
    plain = html.clean(f"{reply.text}\n{footer}")
    return {"text/plain": plain, "text/markdown": markdown}


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
