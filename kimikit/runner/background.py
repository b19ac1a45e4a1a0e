"""Run work beside the notebook's thread: in an event loop, and in threads."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")

TELL_S = 0.25
"""Seconds between two looks of the caller's thread."""

LOOK_S = 5.0
"""Seconds between two looks whether the thread of a call lives."""

STOP_S = 0.8
"""How long stopped work may take to close its connections, in seconds."""


@contextlib.contextmanager
def background_loop(grace_s: float = 0) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a daemon thread of its own.

    At the end the tasks that are left in it are cancelled.

    Args:
        grace_s: Longest wait for them to end, in seconds.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        ended = asyncio.Event()
        begun.set_result((asyncio.get_running_loop(), ended))
        await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    loop, ended = begun.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(grace_s)


async def in_thread(function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """Call in a daemon thread of its own, which cannot keep the program from ending.

    ``asyncio.to_thread`` would make the loop wait for a hung call at its end. The
    thread sees the caller's context variables.
    """
    done: Future[tuple[Any, BaseException | None]] = Future()
    done.set_running_or_notify_cancel()  # from here on nobody but the thread ends it

    def work() -> None:
        try:
            done.set_result((function(*args, **kwargs), None))
        except BaseException as exc:
            done.set_result((None, exc))

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True)
    thread.start()
    ended = asyncio.wrap_future(done)
    # What a debugger or a tracer raises in a thread ends it before it can say so.
    while not (await asyncio.wait([ended], timeout=LOOK_S))[0]:
        if not thread.is_alive() and not done.done():
            raise RuntimeError("The thread of a call has ended without a result.")
    value, error = ended.result()
    if error is not None:
        raise error
    result: _T = value
    return result


class Background:
    """Work on an event loop in a thread of its own, until it ends or is stopped.

    Attributes:
        loop: The event loop, ``None`` before it runs.
        error: What ended the work before its time, if anything did.
        stop_reason: ``done``, ``interrupted`` or ``error``; a subclass may know others.
        stopping: Whether nothing more is begun.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.error: BaseException | None = None
        self.stop_reason = "done"
        self.stopping = False
        self._finished, self._woken = threading.Event(), threading.Event()
        self._cancel: Callable[[], object] = lambda: None

    def run(
        self,
        work: Callable[[], Awaitable[None]],
        tell: Callable[[], bool | None] = lambda: None,
    ) -> None:
        """Do the work in its thread; on Stop, cancel it and keep what it has.

        Args:
            work: What to do there; of a ``Runner`` it awaits ``ask`` and ``each``.
            tell: Called about four times per second, in the caller's thread, and at
                once again as long as it returns ``True``.
        """
        context = contextvars.copy_context()  # tags and budgets of the caller hold
        thread = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main(work)),
            name="kimikit-runner",
            daemon=True,
        )
        try:
            thread.start()  # the first call may be on its way before this returns
            busy: bool | None = False
            # A wait without a time limit cannot be interrupted on Windows.
            while not self._finished.is_set():
                self._woken.wait(0 if busy else TELL_S)
                self._woken.clear()
                busy = tell()
            while tell():
                pass
        except BaseException as error:
            self.stop()
            if not isinstance(error, KeyboardInterrupt):
                raise

    def wake(self) -> None:
        """Have the caller's thread look at once."""
        self._woken.set()

    def stop(self) -> None:
        """Cancel the work, from any thread, and give it a moment to close."""
        self.stop_reason, self.stopping = "interrupted", True
        with contextlib.suppress(RuntimeError):  # it may just have ended
            self._cancel()
        with contextlib.suppress(KeyboardInterrupt):
            self._finished.wait(STOP_S)

    async def _main(self, work: Callable[[], Awaitable[None]]) -> None:
        self.loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            self._cancel = functools.partial(
                self.loop.call_soon_threadsafe, task.cancel
            )
        try:
            if not self.stopping:
                await work()
        except asyncio.CancelledError:
            self.stop_reason = "interrupted"
        except Exception as error:  # raised again in the caller's thread
            self.end(error)
        finally:
            await self._close()
            self._finished.set()
            self.wake()

    def end(self, error: BaseException) -> None:
        """Begin nothing more, and keep what ended it."""
        self.error, self.stopping = self.error or error, True
        if self.stop_reason == "done":
            self.stop_reason = "error"

    async def _close(self) -> None:
        """Close what the work has opened, however it ended."""
