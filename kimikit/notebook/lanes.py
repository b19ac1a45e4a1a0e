"""Several streams at once, in a thread with a loop of its own.

The thread that starts them stays free: to wait, and to be interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Collection
from typing import Any

from kimikit import html
from kimikit.errors import KimiError
from kimikit.types import Delta, Reply, Wait
from kimikit.wire import AsyncClient, AsyncStream

STOP_S = 1.0
"""Seconds that connections get to close after Stop."""


class Lane:
    """One question, and its answer while it streams.

    Args:
        make: Makes the client to ask, which is closed at the end.
        messages: What to ask.
        **params: Parameters of the call.

    Attributes:
        over: Whether the stream has ended.
        error: What it failed with.
    """

    def __init__(
        self, make: Callable[[], AsyncClient], messages: Any, **params: Any
    ) -> None:
        self.over = False
        self.error: Exception | None = None
        self._asked = make, messages, params
        self._wait: Wait | None = None
        self._stream: AsyncStream | None = None

    @property
    def reply(self) -> Reply:
        """The answer, whole or as far as it came."""
        return self._stream.reply if self._stream is not None else Reply()

    @property
    def line(self) -> str:
        """What it is doing or how it ended, how fast, and at what cost."""
        reply = self.reply
        if self.over:
            doing = ended(reply, self.error)
        elif self._wait is not None:
            doing = f"{self._wait.reason}, waiting {self._wait.seconds:.0f} s"
        elif reply.text or reply.reasoning:
            doing = "answering" if reply.text else "thinking"
        else:
            doing = f"waiting ... {reply.duration_s:.0f} s"
        first, speed, _, cost = figures(reply)
        first, speed = first and f"first token {first}", speed and f"{speed} tokens/s"
        return html.footer_line([doing, first, speed, cost])

    def _watch(self, step: Delta | Wait) -> None:
        self._wait = step if isinstance(step, Wait) else None

    async def follow(self) -> None:
        """Read the stream to its end; an error stays in the lane."""
        make, messages, params = self._asked
        try:
            async with (
                make() as client,
                client.stream(messages, watch=self._watch, **params) as self._stream,
            ):
                async for _ in self._stream:
                    pass
        except Exception as exc:  # whatever goes wrong in one lane stays in it
            self.error = exc
        finally:
            self.over = True


def figures(reply: Reply) -> tuple[str, str, str, str]:
    """Return first token, tokens per second, tokens and cost, empty where unknown."""
    usage = reply.usage
    if not usage.completion_tokens:
        return "", "", "", ""
    return (
        "" if reply.first_token_s is None else f"{reply.first_token_s:.2f} s",
        "" if reply.tokens_per_s is None else f"{reply.tokens_per_s:.0f}",
        f"{'~' if usage.estimated else ''}{usage.completion_tokens:,}",
        html.money(reply.cost, estimated=usage.estimated),
    )


def ended(reply: Reply, error: Exception | None) -> str:
    """Return how an answer ended, in the host's word or a sentence."""
    if error is not None:
        return error.what if isinstance(error, KimiError) else repr(error)
    word = reply.finish_reason or ("cut off" if reply.truncated else "")
    return "stopped" if reply.partial or not word else word


class Lanes:
    """Runs lanes from the moment it is made, and draws them meanwhile.

    Args:
        lanes: What to run.
        draw: Draws them as they are; returns the seconds until the next time.
        end: Called when all have ended. Both run in the thread of the lanes.

    Attributes:
        over: Set when that is done. Wait for it rather than for a thread: an
            interrupted ``join()`` takes a thread for ended (Python 3.11).
    """

    def __init__(
        self,
        lanes: Collection[Lane],
        draw: Callable[[], float],
        end: Callable[[], None] = lambda: None,
    ) -> None:
        self.over = threading.Event()
        self._lanes = lanes
        self._draw = draw
        self._end = end
        self._loop = asyncio.new_event_loop()
        self._next: asyncio.Handle = self._loop.call_soon(self._drawn)
        run = contextvars.copy_context().run  # tags and budgets of the caller hold
        threading.Thread(target=run, args=(self._run,), daemon=True).start()

    def _drawn(self) -> None:
        pause = 1.0
        with contextlib.suppress(Exception):  # what cannot be drawn is not asked less
            pause = self._draw()
        self._next = self._loop.call_later(pause, self._drawn)

    def _run(self) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(lane.follow() for lane in self._lanes))

        loop = self._loop
        try:
            with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(all_of_them())
            self._end()
        finally:
            self.over.set()

    def stop(self) -> None:
        """Close all connections; each lane keeps what has arrived."""

        def cancel() -> None:
            self._next.cancel()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(cancel)
        self.over.wait(STOP_S)
