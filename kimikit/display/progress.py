"""Show progress bars that leave nothing in a saved notebook."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from kimikit.display.cell import Cell, is_terminal, kernel_shell

T = TypeVar("T")

_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, "
ANSWERS = {
    "unit": " answers",
    "bar_format": f"{_FORMAT}{{rate_noinv_fmt}}{{postfix}}]",
}
"""Options of a bar of answers: how far, time gone and left, answers per second."""

AFTER_S = 1.0
"""Seconds of work in the user's own thread after which a bar appears."""

LOG_S = 10.0
"""Seconds between two states of a bar in a file or a pipe, where each one stays."""


class Lenient:
    """A stream for a bar or an answer: what fails there costs no answer.

    tqdm asks whether it is standard error, whose width it then measures.

    Attributes:
        failure: The first error of it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __eq__(self, other: object) -> bool:
        return other is self._stream

    def write(self, text: str) -> None:
        """Write a text, if that can be done."""
        self._try("write", text)

    def flush(self) -> None:
        """Have all written, if that can be done."""
        self._try("flush")

    def _try(self, verb: str, *given: str) -> None:
        try:
            getattr(self._stream, verb)(*given)
        except Exception as error:
            self.failure = self.failure or error


class _Log(Lenient):
    """A file or a pipe, where nothing is drawn over: each state of a bar is a line."""

    def write(self, text: str) -> None:
        if line := text.replace("\x1b[A", "").strip():
            super().write(f"{line}\n")


@contextlib.contextmanager
def progress_bar(**options: Any) -> Iterator[Any]:
    """Give a bar of tqdm's, and take it away when the block ends.

    In a notebook tqdm closes the widget of a bar but leaves its output, which a saved
    notebook then shows as a widget that is gone, and at the count it began with.
    Beside what others put into the cell an empty output stays: no front end can take
    away one output of several.

    Args:
        **options: What ``tqdm`` takes.
    """
    # Not for every import of kimikit to pay.
    from tqdm.auto import tqdm

    in_notebook = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
    if in_notebook:
        options["display"] = False
    else:
        options["file"] = Lenient(sys.stderr)
        if not is_terminal(sys.stderr):
            log = _Log(sys.stderr)
            options |= {"file": log, "mininterval": LOG_S, "delay": LOG_S}
    with tqdm(leave=False, miniters=0, **options) as bar:
        box = getattr(bar, "container", None)
        if box is None:
            yield bar
            return
        from IPython.display import display

        shown: Any = display(box, display_id=True)  # type: ignore[no-untyped-call]
        bar.displayed = True
        try:
            yield bar
        finally:
            bar.total = None  # a bar that is not full would stay, in red
            bar.close()
            if shown is not None:
                _take_away(shown)


def _take_away(shown: Any) -> None:
    """Take a display from its cell, or empty it where the cell holds others too."""
    shell = kernel_shell()
    if shell is not None and (cell := Cell(shell)).holds_only([shown.display_id]):
        cell.clear(wait=False)
    else:
        shown.update({}, raw=True)


def move(bar: Any, done: int, *, total: int | None = None, note: str = "") -> None:
    """Move a bar to so many, with a note at its end such as the money so far.

    Args:
        bar: A bar of tqdm's.
        done: How many are done.
        total: How many there are, where that has changed.
        note: What stands at the end.
    """
    if bar.disable:
        return
    if total not in (None, bar.total):
        bar.total = total
        if (box := getattr(bar, "container", None)) is not None:
            box.children[1].max = total  # tqdm tells its widget only in reset()
    bar.set_postfix_str(note, refresh=False)
    bar.update(done - bar.n)  # draws it, unless it was drawn just now


def slowly(items: Sequence[T], label: str, *, silent: bool = False) -> Iterator[T]:
    """Yield items, with a bar from the moment on when that has taken a while.

    Args:
        items: What to yield.
        label: What the bar says.
        silent: Whether it never appears.
    """
    began, bar = time.monotonic(), None
    with contextlib.ExitStack() as stack:
        for place, item in enumerate(items):
            late = time.monotonic() - began >= AFTER_S
            if late and bar is None and not silent:
                options = {"total": len(items), "initial": place, "desc": label}
                bar = stack.enter_context(progress_bar(**options))
            yield item
            if bar is not None:
                bar.update(1)
