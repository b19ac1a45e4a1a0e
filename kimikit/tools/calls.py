"""Call tools: together, within their time, and from ordinary code."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from kimikit.tools.results import text_of
from kimikit.tools.task import Plan
from kimikit.tools.values import CallFinished, CallStarted, ToolResult

_POLL_S = 0.2
"""Longest sleep of the waiting main thread: on Windows only a timed wait lets Ctrl-C
through."""


def perform(
    plans: Mapping[int, Plan],
    emit: Callable[[CallStarted | CallFinished], None],
    *,
    limit_s: float,
    origin: float,
) -> None:
    """Run the planned calls together and emit a ``CallFinished`` for each.

    They run under an event loop in another thread, so this works inside a running one
    too; events come out in the calling thread, where a notebook can show them and a
    KeyboardInterrupt arrives.

    Args:
        plans: What to run, by its place in the answer.
        emit: Gets the events.
        limit_s: Seconds that each may take; a thread that is late is left behind.
        origin: ``time.monotonic()`` at the start of the run.
    """
    with background_loop() as loop:
        running: dict[Future[ToolResult], int] = {}
        for index, plan in plans.items():
            emit(CallStarted(index, plan.call))
            called = _called(plan, limit_s, origin)
            running[asyncio.run_coroutine_threadsafe(called, loop)] = index
        pending = set(running)
        while pending:
            done, pending = wait(pending, _POLL_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                emit(CallFinished(running[future], future.result()))


@contextlib.contextmanager
def background_loop(grace_s: float = 0) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a daemon thread of its own.

    At the end the tasks that are left in it are cancelled.

    Args:
        grace_s: Longest wait for them to end.
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


async def _called(plan: Plan, limit_s: float, origin: float) -> ToolResult:
    started = time.monotonic()
    function, arguments = plan.tool.function, plan.arguments
    value: Any = None
    failed = ""
    try:
        async with asyncio.timeout(limit_s) as limit:
            if inspect.iscoroutinefunction(function):
                value = await function(**arguments)
            else:
                value = await _in_thread(function, arguments)
                if inspect.isawaitable(value):
                    value = await value
        text = text_of(value)
    # Whatever a tool does wrong, the model is told and the run goes on.
    except BaseException as exc:
        if limit.expired():
            failed = "timeout"
            text = f"Error: {plan.call.name} took longer than {limit_s:g} s."
        else:
            value, failed = exc, "error"
            text = text_of(f"Error: {type(exc).__name__}: {_said(exc)}")
    return ToolResult(
        call=plan.call,
        text=plan.told + text,
        value=value,
        failed=failed,
        started_s=started - origin,
        duration_s=time.monotonic() - started,
    )


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # its own words fail, too
        return "(it does not say what)"


async def _in_thread(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call in a daemon thread of its own, which a hung tool cannot keep us from ending.

    ``asyncio.to_thread`` would make the loop wait for it at its end.
    """
    done: Future[tuple[Any, BaseException | None]] = Future()
    done.set_running_or_notify_cancel()  # from here on nobody but the thread ends it

    def work() -> None:
        try:
            done.set_result((function(**arguments), None))
        except BaseException as exc:
            done.set_result((None, exc))

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True).start()
    value, error = await asyncio.wrap_future(done)
    if error is not None:
        raise error
    return value
