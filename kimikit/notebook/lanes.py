"""Several streams at once, in a thread with a loop of its own.

The thread that starts them stays free: to draw, to wait, and to be interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from kimikit.notebook.progress import CHARACTERS_PER_TOKEN
from kimikit.types import Delta, Reply, Wait, Watch
from kimikit.wire import AsyncClient, AsyncStream

Opener = Callable[[Watch], AbstractAsyncContextManager[AsyncStream]]
"""Opens one stream that tells the given view of its steps."""

STOP_S = 1.0
"""Seconds that connections get to close after Stop."""


def lane(make: Callable[[], AsyncClient], messages: Any, **params: Any) -> Opener:
    """Return how to open one stream: make a client, ask, close both at the end."""

    @contextlib.asynccontextmanager
    async def opened(watch: Watch) -> AsyncIterator[AsyncStream]:
        async with (
            make() as client,
            client.stream(messages, watch=watch, **params) as stream,
        ):
            yield stream

    return opened


class Lane:
    """One stream while it runs.

    Attributes:
        text: The visible text so far.
        over: Whether it has ended.
        error: What it failed with.
    """

    def __init__(self) -> None:
        self.text = ""
        self.over = False
        self.error: Exception | None = None
        self._began = time.monotonic()
        self._first: float | None = None
        self._thinking = 0
        self._status = "waiting"
        self._stream: AsyncStream | None = None

    @property
    def reply(self) -> Reply:
        """The answer, whole or as far as it came."""
        return self._stream.reply if self._stream is not None else Reply()

    @property
    def line(self) -> str:
        """What it is doing, and how fast."""
        if self._first is None:
            return f"{self._status} ... {time.monotonic() - self._began:.0f} s"
        tokens = (len(self.text) + self._thinking) / CHARACTERS_PER_TOKEN
        speed = tokens / max(time.monotonic() - self._first, 0.1)
        wait = self._first - self._began
        return f"{self._status} · first token {wait:.1f} s · ~{speed:.0f} tokens/s"

    def _watch(self, step: Delta | Wait) -> None:
        if isinstance(step, Wait):
            self._status = f"{step.reason}, waiting {step.seconds:.0f} s"
            return
        self._first = self._first or time.monotonic()
        self.text += step.text if step.choice == 0 else ""
        self._thinking += len(step.reasoning)
        self._status = "answering" if self.text else "thinking"

    async def follow(self, opener: Opener) -> None:
        """Read the stream to its end; an error stays in the lane."""
        try:
            async with opener(self._watch) as self._stream:
                async for _ in self._stream:
                    pass
        except Exception as exc:  # whatever goes wrong in one lane stays in it
            self.error = exc
        finally:
            self.over = True


class Lanes(dict[str, Lane]):
    """Lanes by name, running from the moment they are made.

    Args:
        streams: By name, how to open each.

    Attributes:
        over: Set when all have ended. Wait for it rather than for a thread: an
            interrupted ``join()`` takes a thread for ended (Python 3.11).
    """

    def __init__(self, streams: Mapping[str, Opener]) -> None:
        super().__init__({name: Lane() for name in streams})
        self.over = threading.Event()
        self._loop = asyncio.new_event_loop()
        run = contextvars.copy_context().run  # tags and budgets of the caller hold
        threading.Thread(target=run, args=(self._run, streams), daemon=True).start()

    def _run(self, streams: Mapping[str, Opener]) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(self[n].follow(o) for n, o in streams.items()))

        loop = self._loop
        try:
            with contextlib.closing(loop), contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(all_of_them())
        finally:
            self.over.set()

    def stop(self) -> None:
        """Close all connections; each lane keeps what has arrived."""

        def cancel() -> None:
            for task in asyncio.all_tasks(self._loop):
                task.cancel()

        with contextlib.suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(cancel)
        self.over.wait(STOP_S)
