"""Care for open ledgers when the process forks, and when it ends.

A child must not use, nor close, a connection that its parent opened; and a parent must
not be inside a transaction when it forks: SQLite's own notes of the locks that it holds
are copied too, and would lock the child out for ever.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Watched(Protocol):
    """What can be watched."""

    def before_fork(self) -> None:
        """Wait until nothing is under way, and let nothing begin."""

    def after_fork(self, *, child: bool) -> None:
        """Go on, in the parent or in the child."""

    def close(self) -> None:
        """Write what waits, and close the file."""


_ALL: weakref.WeakSet[Watched] = weakref.WeakSet()
_FORKING: list[Watched] = []


def watch(one: Watched) -> None:
    """Tell ``one`` of forks and of the end for as long as it lives."""
    _ALL.add(one)


def _before_fork() -> None:
    _FORKING[:] = _ALL
    for one in _FORKING:
        one.before_fork()


def _after_fork(*, child: bool) -> None:
    for one in _FORKING:
        one.after_fork(child=child)
    _FORKING.clear()


def _end() -> None:
    for one in tuple(_ALL):
        one.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )
atexit.register(_end)
