"""Call tools: together, within their time, and so that each call gets its result."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from kimikit.tools.plans import Plan
from kimikit.tools.tool import Tool
from kimikit.tools.values import (
    CallFinished,
    CallStarted,
    ToolResult,
    text_of,
)

_POLL_S = 0.2
"""Longest sleep of the waiting main thread: on Windows only a timed wait lets Ctrl-C
through."""


async def perform(
    plans: Sequence[Plan],
    emit: Callable[[CallStarted | CallFinished], None],
    *,
    limit_s: float,
    origin: float,
) -> None:
    """Run the plans together and emit a ``CallFinished`` for each.

    Args:
        plans: What to run, or to answer without running.
        emit: Gets the events, in the loop's own thread.
        limit_s: Seconds that each may take; a thread that is late is left behind.
        origin: ``time.monotonic()`` at the start of the run.
    """

    async def one(item: Plan) -> None:
        if item.tool is None:
            result = item.result(started_s=time.monotonic() - origin)
        else:
            emit(CallStarted(item.step, item.index, item.call))
            result = await _called(item, item.tool, limit_s, origin)
        emit(CallFinished(item.step, item.index, result))

    await asyncio.gather(*(one(item) for item in plans))


def perform_now(
    plans: Sequence[Plan],
    emit: Callable[[CallStarted | CallFinished], None],
    *,
    limit_s: float,
    origin: float,
) -> None:
    """Do the same from ordinary code, also inside a running event loop.

    The tools run under an event loop in a thread of its own; events come out in the
    calling thread, where a notebook can show them and a KeyboardInterrupt arrives.
    """
    events: queue.SimpleQueue[CallStarted | CallFinished | None] = queue.SimpleQueue()
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()

    async def main() -> None:
        task = asyncio.current_task()
        begun.set_result((asyncio.get_running_loop(), task))  # type: ignore[arg-type]
        try:
            await perform(plans, events.put, limit_s=limit_s, origin=origin)
        finally:
            events.put(None)

    def work() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(main())

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), daemon=True).start()
    try:
        while True:
            try:
                event = events.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if event is None:
                return
            emit(event)
    except BaseException:
        loop, task = begun.result()
        # The loop is closed where the last tool has just ended.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        raise


async def _called(item: Plan, tool: Tool, limit_s: float, origin: float) -> ToolResult:
    started = time.monotonic()

    def result(**fields: Any) -> ToolResult:
        return item.result(
            started_s=started - origin,
            duration_s=time.monotonic() - started,
            **fields,
        )

    try:
        async with asyncio.timeout(limit_s) as limit:
            if inspect.iscoroutinefunction(tool.function):
                value = await tool.function(**item.arguments)
            else:
                value = await _in_thread(tool.function, item.arguments)
                if inspect.isawaitable(value):
                    value = await value
        return result(value=value, text=item.text + text_of(value))
    except asyncio.CancelledError:
        raise
    # Whatever a tool does wrong, the model is told and the run goes on.
    except BaseException as exc:
        if limit.expired():
            late = f"Error: {tool.name} took longer than {limit_s:g} s."
            return result(failed="timeout", text=item.text + late)
        text = f"Error: {type(exc).__name__}: {exc}"
        return result(value=exc, failed="error", text=item.text + text)


async def _in_thread(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call in a daemon thread of its own, which a hung tool cannot keep us from ending.

    ``asyncio.to_thread`` would make the loop wait for it at its end.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def settle(outcome: tuple[Any, BaseException | None]) -> None:
        if not done.done():
            done.set_result(outcome)

    def work() -> None:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = context.run(function, **arguments), None
        except BaseException as exc:
            outcome = None, exc
        # The loop is closed where this call was given up.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, daemon=True).start()
    value, error = await done
    if error is not None:
        raise error
    return value
