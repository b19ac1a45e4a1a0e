"""Tell what the cell that runs now has put out, and whether it may be cleared."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from typing import Any

_OUTPUTS = ("stream", "display_data", "execute_result", "error", "clear_output")

_armed: list[Any] = []
_put_out: dict[str, set[str | None]] = {}
"""By the message that ran a cell: the display ids of its outputs, None for others."""


def is_terminal(stream: Any) -> bool:
    """Tell whether a stream is a terminal; one that is gone or does not say is none."""
    try:
        return bool(stream.isatty())
    except Exception:  # no stream, a closed one, or an object with ``write`` alone
        return False


def ipython_shell() -> Any | None:
    """Return the IPython shell that runs, in a terminal too, ``None`` without one."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def kernel_shell() -> Any | None:
    """Return the IPython shell of a running kernel, ``None`` anywhere else."""
    shell = ipython_shell()
    return shell if getattr(shell, "kernel", None) is not None else None


def arm() -> None:
    """Note, from the next cell on, what each cell puts out.

    Only then can a view tell that a cell holds nothing but its own output and may
    be cleared. Does nothing outside a kernel, and nothing the second time.
    """
    shell = kernel_shell()
    session = getattr(getattr(shell, "display_pub", None), "session", None)
    if shell is None or session is None or session in _armed:
        return
    # Everything that a kernel sends goes this way, in whichever thread. (What a cell
    # returns is made into a message before it is formatted, and sent after that.)
    send = session.send

    def noted(*args: Any, **options: Any) -> Any:
        sent = send(*args, **options)
        if sent and sent.get("msg_type") in _OUTPUTS:
            seen = _put_out.get(sent["parent_header"].get("msg_id", ""))
            if seen is not None:
                seen.add(sent["content"].get("transient", {}).get("display_id"))
        return sent

    def begin(*_: Any) -> None:
        # A cell may run others inside it, as %run does: its first outputs still count.
        _put_out.setdefault(_message(shell), set())

    session.send = noted
    shell.events.register("pre_run_cell", begin)
    _armed.append(session)


def _message(shell: Any) -> str:
    """Return the id of the message that ran the cell whose code runs here."""
    parent = getattr(shell.display_pub, "parent_header", None) or {}
    return str(parent.get("msg_id", ""))


class Cell:
    """The cell whose code runs where this is made.

    Args:
        shell: The kernel's IPython shell.

    Attributes:
        live: Whether what is sent is seen at once; not so under ``%%capture``.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._message = _message(shell)
        # While another thread looks at what the cell holds, the user's own may print.
        self._may_clear = threading.current_thread() is threading.main_thread()
        self.live = getattr(shell.display_pub, "session", None) is not None

    @property
    def is_over(self) -> bool:
        """Whether another cell runs by now, as when a thread outlives its own."""
        return _message(self._shell) != self._message

    def holds_only(self, keys: Collection[str]) -> bool:
        """Tell whether the cell holds nothing but displays with these ids."""
        if not self._may_clear or self.is_over:
            return False
        sys.stdout.flush()
        sys.stderr.flush()
        seen = _put_out.get(self._message)
        return seen is not None and seen <= set(keys)

    def clear(self, *, wait: bool) -> None:
        """Take all displays from the cell.

        Args:
            wait: Whether to do so when the next one comes, without a flicker.
        """
        self._shell.display_pub.clear_output(wait=wait)
        _put_out[self._message] = set()
