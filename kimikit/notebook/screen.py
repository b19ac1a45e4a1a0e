"""The displays of one notebook cell, each under its own id, and who draws them.

``Screen`` sends only what changed, and leaves the cell with just the final displays
where that takes nothing from anyone else. ``Drawing`` calls a view's drawing again and
again in a thread of its own, so that reading a stream never waits for the screen.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TextIO

Bundle = dict[str, str]
"""Mime type to text, as ``display_data`` carries it."""

ENVELOPE_BYTES = 600
"""About what a display message weighs on the wire beside its text, measured."""

_OUTPUTS = ("stream", "display_data", "execute_result", "error", "clear_output")

_armed: list[Any] = []
_put_out: dict[str, set[str | None]] = {}
"""By the message that ran a cell: the display ids of its outputs, None for others."""


def kernel_shell() -> Any | None:
    """Return the IPython shell of a running kernel, ``None`` anywhere else."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    shell = get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


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
    return None, stream if show or stream.isatty() else None


def _cell_of(shell: Any) -> str:
    """Return the id of the message that ran the cell whose code runs here."""
    parent = getattr(shell.display_pub, "parent_header", None) or {}
    return str(parent.get("msg_id", ""))


def arm() -> None:
    """Note, from the next cell on, what each cell puts out.

    Only then can a view tell that a cell holds nothing but its own output and may
    be cleared. Does nothing outside a kernel, and nothing the second time.
    """
    shell = kernel_shell()
    session = getattr(getattr(shell, "display_pub", None), "session", None)
    if shell is None or session is None or session in _armed:
        return
    # Everything that a kernel sends is made by this method, in whichever thread.
    make = session.msg

    def noted(*args: Any, **options: Any) -> Any:
        made = make(*args, **options)
        seen = _put_out.get(made["parent_header"].get("msg_id", ""))
        if seen is not None and made["msg_type"] in _OUTPUTS:
            seen.add(made["content"].get("transient", {}).get("display_id"))
        return made

    def begin(*_: Any) -> None:
        # A cell may run others inside it, as %run does: its first outputs still count.
        _put_out.setdefault(_cell_of(shell), set())

    session.msg = noted
    shell.events.register("pre_run_cell", begin)
    _armed.append(session)


class Screen:
    """What one view has put into the cell, in order.

    Args:
        shell: The kernel's IPython shell.

    Attributes:
        live: Whether what is sent is seen at once; not so under ``%%capture``.
        room: How many displays may be used. JupyterLab shows the first 50 outputs of
            a cell only, and where these cannot be cleared each one used is lost.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cell = _cell_of(shell)
        self._shown: list[tuple[str, Bundle]] = []
        self.live = getattr(shell.display_pub, "session", None) is not None
        self.room = 48 if self.live and self._alone() else 1

    def _alone(self) -> bool:
        """Tell whether the cell holds nothing that others have put there."""
        sys.stdout.flush()
        sys.stderr.flush()
        seen = _put_out.get(self._cell)
        return seen is not None and seen <= {key for key, _ in self._shown}

    def put(self, index: int, bundle: Bundle) -> int:
        """Show ``bundle`` at ``index``, if it is not there yet.

        Returns:
            About how many bytes were sent.
        """
        new = index >= len(self._shown)
        if not new and self._shown[index][1] == bundle:
            return 0
        key = f"kimikit-{uuid.uuid4().hex[:12]}" if new else self._shown[index][0]
        self._shown[index : index + 1] = [(key, bundle)]
        where = {"display_id": key}
        self._shell.display_pub.publish(bundle, transient=where, update=not new)
        return ENVELOPE_BYTES + sum(map(len, bundle.values()))

    def settle(self, bundles: Sequence[Bundle]) -> None:
        """Leave exactly ``bundles`` in the cell, and what is beyond them empty."""
        if self._shown and self._alone():
            self._shell.display_pub.clear_output(wait=bool(bundles))
            self._shown.clear()
            _put_out[self._cell] = set()
        for index, bundle in enumerate(bundles):
            self.put(index, bundle)
        for index in range(len(bundles), len(self._shown)):
            self.put(index, {})

    def shown_already(self, value: object) -> None:
        """Keep this cell from showing ``value`` again because it is its last value."""
        cell = self._shell.execution_count

        def display(other: object) -> None:
            if other is not value or self._shell.execution_count != cell:
                raise NotImplementedError  # IPython then shows it in the usual way

        formatter = self._shell.display_formatter.ipython_display_formatter
        formatter.for_type(type(value), display)


class Drawing:
    """Draws in a thread of its own until it is stopped.

    Args:
        draw: Draws what there is; returns the least seconds until the next time.
        idle_s: Seconds to wait beyond that for ``wake``.
    """

    def __init__(self, draw: Callable[[], float], *, idle_s: float = 0.0) -> None:
        self._draw = draw
        self._idle_s = idle_s
        self._over = threading.Event()
        self._awake = threading.Event()
        # The context carries the cell that displays belong to.
        run, name = contextvars.copy_context().run, "kimikit drawing"
        self._thread = threading.Thread(
            target=run, args=(self._until_over,), name=name, daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new to draw."""
        self._awake.set()

    def stop(self) -> None:
        """End the drawing; nothing is drawn after this returns."""
        self._over.set()
        self._awake.set()
        self._thread.join()

    def _until_over(self) -> None:
        pause = 0.0
        while not self._over.wait(pause):
            self._awake.wait(self._idle_s)
            self._awake.clear()
            if not self._over.is_set():
                pause = self._draw()
