"""Call tools: together, within their time, and from ordinary code."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import islice
from typing import Any

from kimikit.runner.background import TELL_S, background_loop, in_thread
from kimikit.tools.declared import brought
from kimikit.tools.results import RESULT_LIMIT, text_of
from kimikit.tools.task import Plan
from kimikit.tools.values import CallFinished, CallStarted, ToolResult

_GROUPED = 10
"""Errors of a group that are told."""


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
            # A wait without a time limit cannot be interrupted on Windows.
            done, pending = wait(pending, TELL_S, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                emit(CallFinished(running[future], future.result()))


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
                value = await in_thread(_returned, function, **arguments)
            value = await _whole(value)
        names = ", ".join(each.name for each in brought(value))
        text = f"These tools are there now: {names}." if names else text_of(value)
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


def _returned(function: Callable[..., Any], /, **arguments: Any) -> Any:
    """Return what a tool returns; all that comes of an iterator, which is read once."""
    value = function(**arguments)
    return [*islice(value, RESULT_LIMIT)] if isinstance(value, Iterator) else value


async def _whole(value: Any) -> Any:
    """Return a value that may have to be waited for; all of it where it is yielded."""
    if inspect.isawaitable(value):
        value = await value
    if isinstance(value, Iterator):
        return [*islice(value, RESULT_LIMIT)]
    if not isinstance(value, AsyncIterator):
        return value
    some: list[Any] = []
    async for one in value:
        some.append(one)
        if len(some) == RESULT_LIMIT:
            break
    return some


def _said(error: BaseException) -> str:
    """Return an error's words, and those of the errors that it groups."""
    text = ""
    with contextlib.suppress(Exception):  # its own words may fail, too
        text = str(error)
    if isinstance(error, BaseExceptionGroup):
        inner = (f"{type(one).__name__}: {_said(one)}" for one in error.exceptions)
        text = "; ".join([text, *islice(inner, _GROUPED)])
    return text or "(it does not say what)"
