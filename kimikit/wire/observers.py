"""Tell observers, such as the ledger, of calls; a fault of theirs costs no answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from kimikit import errors
from kimikit.types import Call, Observer, Reply


def tell_closed(
    told: Iterable[Observer],
    call: Call,
    reply: Reply | None,
    error: BaseException | None,
) -> None:
    """Tell observers that a call is over; one that fails costs no answer."""
    for observer in told:
        with _kept(observer):
            observer.closed(call, reply, error)


def tell_flush(told: Iterable[Any]) -> None:
    """Let observers write what they have waited with."""
    for observer in told:
        with _kept(observer):
            observer.flush()


@contextlib.contextmanager
def _kept(observer: Observer) -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        # The answer is paid for and must not be lost with its record.
        errors.warn(
            f"The observer {observer!r} failed: {exc}. The answer is kept; "
            "correct or remove that observer."
        )
