"""Work beside the notebook's thread: a loop, and threads that may be left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


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
    threading.Thread(target=context.run, args=(work,), daemon=True).start()
    value, error = await asyncio.wrap_future(done)
    if error is not None:
        raise error
    result: _T = value
    return result
