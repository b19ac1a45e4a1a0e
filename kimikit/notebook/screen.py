"""Draw the displays of one notebook cell, each under its own id.

``Screen`` sends only what changed, and leaves the cell with just the final displays
where that takes nothing from anyone else. A ``LiveView`` draws on it in a thread of its
own, so that reading a stream never waits for the screen.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self, TextIO

from kimikit import html
from kimikit.display.cell import Cell, is_terminal, kernel_shell
from kimikit.display.renderable import Renderable
from kimikit.types import Reply

Bundle = dict[str, str]
"""Mime type to text, as ``display_data`` carries it."""

REDRAWS_PER_S = 6
"""Most display messages per second while something grows; its end needs four more."""

QUIET_S = 0.4
"""Seconds without anything to show before a status line says so."""

BYTES_PER_S = 20_000
"""Most bytes per second to the browser while something grows."""

ENVELOPE_BYTES = 600
"""About what a display message weighs on the wire beside its text, measured."""


def rich(text: str, *parts: str) -> Bundle:
    """Return a display of finished HTML parts, and of ``text`` where none is shown."""
    return {"text/plain": html.clean(text), "text/html": html.wrap(*parts)}


def place(
    show: bool | None,  # noqa: FBT001 - the same word in chat(show=...)
    out: TextIO | None,
) -> tuple[Any, TextIO | None]:
    """Return where to show: the shell of a notebook, or a stream, or neither.

    Args:
        show: True or False forces; None shows in notebooks and on terminals only.
        out: Where text goes outside notebooks, standard output unless given.
    """
    if show is False:
        return None, None
    if out is None and (shell := kernel_shell()) is not None:
        return shell, None
    stream = out or sys.stdout
    return None, stream if show or is_terminal(stream) else None


class Screen:
    """What one view has put into the cell, in order.

    Args:
        shell: The kernel's IPython shell.
        bytes_per_s: Most bytes per second to the browser while something grows.

    Attributes:
        live: Whether what is sent is seen at once; not so under ``%%capture``.
        room: How many displays may be used. JupyterLab shows the first 50 outputs of
            a cell only, and where these cannot be cleared each one used is lost.
    """

    def __init__(self, shell: Any, bytes_per_s: int = BYTES_PER_S) -> None:
        self._shell = shell
        self._bytes_per_s = bytes_per_s
        self._fixed = 0
        self._cell = Cell(shell)
        self._shown: list[tuple[str, Bundle]] = []
        self.live = self._cell.live
        self.room = 48 if self.live and self._alone() else 1

    def _alone(self) -> bool:
        """Tell whether the cell holds nothing that others have put there."""
        return self._cell.holds_only([key for key, _ in self._shown])

    def _fitted(self, parts: Sequence[Bundle]) -> Sequence[Bundle]:
        """Return as many parts as may be shown: in another's cell no new ones."""
        most = len(self._shown)
        if not most or len(parts) <= most or not self._cell.is_over:
            return parts
        return [*parts[: most - 1], _together(parts[most - 1 :])]

    def put(self, index: int, bundle: Bundle) -> int:
        """Show ``bundle`` at ``index``, if it is not there yet.

        Returns:
            About how many bytes were sent.
        """
        new, bundle = index >= len(self._shown), emitted(bundle)
        if not new and self._shown[index][1] == bundle:
            return 0
        key = f"kimikit-{uuid.uuid4().hex[:12]}" if new else self._shown[index][0]
        self._shown[index : index + 1] = [(key, bundle)]
        where = {"display_id": key}
        self._shell.display_pub.publish(bundle, transient=where, update=not new)
        return ENVELOPE_BYTES + sum(map(len, bundle.values()))

    def draw(self, finished: Sequence[Bundle], growing: Sequence[Bundle]) -> float:
        """Show what will stay as it is, and below it what may still change.

        Returns:
            The seconds to wait before the next time.
        """
        beyond = len(self._shown) - self._fixed - len(finished) - len(growing)
        parts = [bundle for _, bundle in self._shown[: self._fixed]]
        parts += [*finished, *growing, *({} for _ in range(beyond))]
        sizes = [self.put(i, part) for i, part in enumerate(self._fitted(parts))]
        self._fixed += len(finished)
        messages = max(1, sum(size > 0 for size in sizes))
        return max(messages / REDRAWS_PER_S, sum(sizes) / self._bytes_per_s)

    def settle(self, bundles: Sequence[Bundle]) -> None:
        """Leave exactly ``bundles`` in the cell, and what is beyond them empty."""
        if self._shown and self._alone():
            self._cell.clear(wait=bool(bundles))
            self._shown.clear()
        self._fixed = 0
        self.draw([], bundles)

    def shown_already(self, value: object) -> None:
        """Keep this cell from showing ``value`` again because it is its last value.

        An answer that was only completed since, as by ``into=``, is still the same; of
        a result that holds it, such as a ``Report``, the cell shows what is beside it.
        """
        cell = self._shell.execution_count

        def display(other: object) -> None:
            if not _same(other, value) or self._shell.execution_count != cell:
                raise NotImplementedError  # IPython then shows it in the usual way

        def beside(other: Renderable) -> None:
            display(getattr(other, "reply", None))
            text, shown = other.beside()
            if text:
                self._shell.display_pub.publish(emitted(rich(text, shown)))

        formatter = self._shell.display_formatter.ipython_display_formatter
        formatter.for_type(type(value), display)
        if isinstance(value, Reply):
            formatter.for_type(Renderable, beside)


def _same(one: object, other: object) -> bool:
    """Tell whether two values say the same: one answer, whatever was noted since."""
    if not isinstance(one, Reply) or not isinstance(other, Reply):
        return one is other

    def said(reply: Reply) -> tuple[object, ...]:
        return reply.created, reply.text, reply.reasoning, reply.usage, reply.cost

    return one is other or (bool(one.created) and said(one) == said(other))


def _together(parts: Sequence[Bundle]) -> Bundle:
    """Return several displays as one."""
    plain = "\n".join(part.get("text/plain", "") for part in parts)
    if not any("text/markdown" in part for part in parts):
        shown = "".join(part.get("text/html", "") for part in parts)
        return {"text/plain": plain, "text/html": shown}
    from kimikit.markdown import safe

    texts = (
        part.get("text/markdown") or safe(part.get("text/plain", "")) for part in parts
    )
    return {"text/plain": plain, "text/markdown": "\n\n".join(filter(None, texts))}


def emitted(bundle: Bundle) -> Bundle:
    """Return a display as it goes out: every text of it is cleaned here, at last."""
    return {
        kind: html.clean(text) if isinstance(text, str) else text
        for kind, text in bundle.items()
    }


class View:
    """Shows an answer or a run in a ``with`` block; this one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if error is not None:
            self.fail(error)

    def __call__(self, step: Any) -> None:
        """Take one step."""

    def finish(self, reply: Reply) -> None:
        """Show the whole answer, its notes and its footer."""

    def fail(self, error: BaseException) -> None:
        """Show how far it came before ``error``, which goes on its way."""

    def fall_back(self, value: Any, fault: Exception) -> None:
        """Show ``value`` as text alone, as the view of it failed with ``fault``."""


class Guarded(View):
    """A view whose own faults cost nothing: they end the view, not the question.

    Args:
        view: What shows.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._fault: Exception | None = None

    def __enter__(self) -> Self:
        self._try(None, self._view.__enter__)
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        ended = getattr(error, "reply", None) or getattr(error, "run", None)
        self._try(ended, self._view.__exit__, kind, error, trace)

    def __call__(self, step: Any) -> None:
        """Take one step, unless an earlier one could not be shown."""
        ended = getattr(step, "run", None)
        if self._fault is None or ended is not None:
            self._try(ended, self._view, step)

    def finish(self, reply: Reply) -> None:
        """Show the whole answer, if need be as plain text."""
        self._try(reply, self._view.finish, reply)

    def _try(self, value: Any, show: Callable[..., object], *args: Any) -> None:
        try:
            show(*args)
        except Exception as exc:
            self._fault = exc
            if value is not None:
                with contextlib.suppress(Exception):
                    self._view.fall_back(value, exc)


class LiveView(View, ABC):
    """Notes each step down, and draws them in a thread of its own.

    Args:
        shell: The kernel's IPython shell.
        bytes_per_s: Most bytes per second to the browser.
    """

    def __init__(self, shell: Any, bytes_per_s: int = BYTES_PER_S) -> None:
        self._screen = Screen(shell, bytes_per_s)
        self._steps: deque[Any] = deque()
        self._over = threading.Event()
        self._awake = threading.Event()
        # The context carries the cell that displays belong to.
        run, name = contextvars.copy_context().run, "kimikit drawing"
        self._thread = threading.Thread(
            target=run, args=(self._until_over,), name=name, daemon=True
        )

    def __enter__(self) -> Self:
        if self._screen.live:
            self._thread.start()
        return self

    def __exit__(self, *ended: Any) -> None:
        self._stop()
        super().__exit__(*ended)

    def __call__(self, step: Any) -> None:
        """Note the step down and wake the thread that draws."""
        self._steps.append(step)
        self._awake.set()

    @abstractmethod
    def _take(self, step: Any, now: float) -> None:
        """Take one step in, in the thread that draws."""

    @abstractmethod
    def _parts(self, now: float) -> tuple[list[Bundle], list[Bundle]]:
        """Return what is finished since the last time, and what may still change."""

    def _take_all(self) -> None:
        while self._steps:
            self._take(self._steps.popleft(), time.monotonic())

    def _until_over(self) -> None:
        # What cannot be drawn now is left to the end, which falls back to text.
        with contextlib.suppress(Exception):
            self._draw_until_over()

    def _draw_until_over(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            self._awake.wait(QUIET_S)
            self._awake.clear()
            if not self._over.is_set():
                self._take_all()
                pause = self._screen.draw(*self._parts(time.monotonic()))

    def _stop(self) -> None:
        """End the drawing; nothing is drawn after this returns."""
        self._over.set()
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._take_all()

    def fall_back(self, value: Any, fault: Exception) -> None:
        """Leave the text in the cell as it came, and say that it is only that."""
        with contextlib.suppress(Exception):
            self._stop()
        note = f"Shown as plain text, as its view failed: {type(fault).__name__}."
        text = value.text
        parts = html.pre(text), html.footer(note)
        self._screen.settle([rich(f"{text}\n{note}", *parts)])
        self._screen.shown_already(value)
