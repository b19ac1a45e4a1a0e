"""Let a model work on a goal with tools until it answers or a limit is reached.

``Task`` decides and never waits; ``run`` and ``arun`` send, call and wait for it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from decimal import Decimal
from typing import Any, cast

import msgspec

from kimikit.errors import BadInput, KimiError
from kimikit.tools.plans import Plan
from kimikit.tools.task import Answer, Approve, Ask, Task
from kimikit.tools.tool import Tool
from kimikit.tools.values import (
    CallAsked,
    CallFinished,
    CallStarted,
    Run,
    RunFinished,
    RunWatch,
    StepAnswered,
    StepStarted,
    exact,
)
from kimikit.types import AsyncChatClient, ChatClient, ToolCall


def ask_by_input(call: ToolCall, tool: Tool, *, shown: bool = False) -> Answer:
    """Ask with ``input``, which works in a terminal and in every notebook.

    Args:
        call: The call, which is written out unless ``shown``.
        tool: What it would run; typed arguments must fit it, or it is asked again.
        shown: Whether the call stands there already.
    """
    told = "" if shown else f"{call.name} {exact(call)}\n"
    while True:
        answer = understood(
            input(f"{told}Run it? y, n, other arguments as JSON, or a reason why not: ")
        )
        if not isinstance(answer, dict):
            return answer
        try:
            tool.bind(answer)
        except BadInput as exc:
            told = f"{exc.what}\n"
        else:
            return answer


def understood(typed: str) -> Answer:
    """Return what a typed answer to an approval means."""
    typed = typed.strip()
    if typed.lower() in ("y", "yes", "n", "no", ""):
        return typed.lower() in ("y", "yes")
    try:
        value = msgspec.json.decode(typed)
    except msgspec.DecodeError:
        return typed
    return value if isinstance(value, dict) else typed


def run(
    client: ChatClient,
    goal: Any,
    tools: Any,
    *,
    max_steps: int = 10,
    max_seconds: float = 300,
    max_cost: Decimal | float | None = None,
    approve: bool | Approve | None = None,
    ask: Ask = ask_by_input,
    watch: RunWatch | None = None,
    system: str | None = None,
    tool_timeout_s: float = 60,
    **params: Any,
) -> Run:
    """Let a model work on a goal with tools.

    It ends by itself: when the model answers, at a limit, at the third call that is
    the same as two before, at a second empty answer, when a call is denied, at Stop. At
    ``max_steps`` and at a repeated call the model is asked once more, without tools.

    Args:
        client: Anything with ``chat``.
        goal: A question, messages, or an earlier ``Run`` to go on from.
        tools: Functions and ``Tool``s.
        max_steps: Answers with calls before the last one is asked for.
        max_seconds: Wall time, looked at between steps; also bounds each tool.
        max_cost: US dollars, looked at after each answer.
        approve: ``True`` asks before every call, a callable is asked instead, ``False``
            never asks. By default only tools marked ``confirm`` are asked about.
        ask: How a person is asked, given the call and its tool.
        watch: A live view.
        system: A system message to begin with.
        tool_timeout_s: Seconds that one call may take.
        **params: Goes with every request, as in ``client.chat``.

    Returns:
        The run, whose ``messages`` can be sent on whatever the end.

    Raises:
        BadInput: If an argument is out of range, before anything is sent.
        KimiError: What the client raised; ``error.run`` holds the run up to there.
    """
    from kimikit.tools.calls import perform_now  # asyncio, only when calls are made

    working = _working(
        client, goal, tools, perform_now, max_steps=max_steps, max_seconds=max_seconds,
        max_cost=max_cost, approve=approve, ask=ask, watch=watch, system=system,
        tool_timeout_s=tool_timeout_s, **params,
    )  # fmt: skip
    need = next(working)
    try:
        while True:
            try:
                value = need()
            except BaseException as exc:
                need = working.throw(exc)
            else:
                need = working.send(value)
    except StopIteration as end:
        return cast(Run, end.value)


async def arun(client: AsyncChatClient, goal: Any, tools: Any, **options: Any) -> Run:
    """Do the same as ``run``, to be awaited; cancelling it cancels its tools.

    Takes what ``run`` takes; ``approve`` and ``ask`` may be async.
    """
    from kimikit.tools.calls import perform

    working = _working(client, goal, tools, perform, **options)
    need = next(working)
    try:
        while True:
            try:
                value = need()
                if inspect.isawaitable(value):
                    value = await value
            except BaseException as exc:
                need = working.throw(exc)
            else:
                need = working.send(value)
    except StopIteration as end:
        return cast(Run, end.value)


def _working(
    client: Any,
    goal: Any,
    tools: Any,
    act: Callable[..., Any],
    *,
    max_steps: int = 10,
    max_seconds: float = 300,
    max_cost: Decimal | float | None = None,
    approve: bool | Approve | None = None,
    ask: Ask = ask_by_input,
    watch: RunWatch | None = None,
    system: str | None = None,
    tool_timeout_s: float = 60,
    **params: Any,
) -> Generator[Callable[[], Any], Any, Run]:
    """Yield what is to be done, take what came of it, return the run.

    What is yielded is called by ``run`` and awaited by ``arun``; nothing in here waits.
    """
    limits = {"max_steps": max_steps, "max_seconds": max_seconds, "max_cost": max_cost}
    task = Task(goal, tools, limits, system, params)
    tell = watch or (lambda event: None)
    task.base_url = getattr(getattr(client, "host", None), "base_url", "")

    def emit(event: CallStarted | CallFinished) -> None:
        if isinstance(event, CallFinished):
            task.results[event.index] = event.result
        tell(event)

    try:
        while not task.ended():
            tell(StepStarted(len(task.steps)))
            reply = yield functools.partial(client.chat, **task.request(watch))
            task.take(reply)
            tell(StepAnswered(len(task.steps) - 1, reply))
            for item in tuple(task.plans):
                asking = _asking(item, approve, ask)
                if asking is not None:
                    tell(CallAsked(item.step, item.index, item.call))
                    task.approved(item, (yield asking))
            limit_s = max(min(tool_timeout_s, max_seconds - task.now_s()), 0.1)
            kept = {"limit_s": limit_s, "origin": task.origin}
            yield functools.partial(act, tuple(task.plans), emit, **kept)
            task.settle()
    except KeyboardInterrupt:
        task.settle()
        task.stop = "interrupted"
    except KimiError as exc:
        task.settle()
        exc.run = task.result("interrupted")
        tell(RunFinished(exc.run))
        raise
    run_ = task.result(task.stop or "done")
    tell(RunFinished(run_))
    return run_


def _asking(item: Plan, approve: Any, ask: Ask) -> Callable[[], Any] | None:
    """Return how to ask about a call, or ``None`` if it runs unasked."""
    if item.tool is None or approve is False:
        return None
    if callable(approve):
        return functools.partial(approve, item.call)
    if approve or item.tool.confirm:
        return functools.partial(ask, item.call, item.tool)
    return None
