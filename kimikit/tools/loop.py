"""Let a model work on a goal with tools until it answers or a limit is reached."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BadInput, KimiError
from kimikit.params import takes_chat_params
from kimikit.tools.task import Answer, Approve, Ask, Task
from kimikit.tools.tool import Tool, as_tools
from kimikit.tools.values import (
    CallAsked,
    CallFinished,
    Run,
    RunEvent,
    RunFinished,
    RunWatch,
    StepAnswered,
    StepStarted,
    exact,
)
from kimikit.types import ChatClient, ToolCall
from kimikit.wire.requests import as_messages


def ask_by_input(call: ToolCall, tool: Tool, *, shown: bool = False) -> Answer:
    """Ask with ``input``, which works in a terminal and in every notebook.

    Args:
        call: The call, which is written out unless ``shown``.
        tool: What it would run; typed arguments must fit it, or it is asked again.
        shown: Whether the call stands there already.
    """
    told = "" if shown else f"{call.name} {exact(call)}\n"
    while True:
        typed = input(
            f"{told}Run it? y, n, other arguments as JSON, or a reason why not: "
        ).strip()
        if typed.lower() in ("y", "yes", "n", "no", ""):
            return typed.lower() in ("y", "yes")
        try:
            arguments = msgspec.json.decode(typed)
        except msgspec.DecodeError:
            return typed
        if not isinstance(arguments, dict):
            return typed
        try:
            tool.bind(arguments)
        except BadInput as exc:
            told = f"{exc.what}\n"
        else:
            return arguments


@takes_chat_params(hidden=("tools",), also=("watch", "meta"))
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
    from kimikit.tools.calls import perform  # asyncio, only when calls are made

    limits = {"max_steps": max_steps, "max_seconds": max_seconds, "max_cost": max_cost}
    task = Task(
        messages=_messages(goal, system),
        tools=as_tools(tools),
        limits=limits,
        params=params,
        base_url=getattr(getattr(client, "host", None), "base_url", ""),
    )

    def tell(event: RunEvent) -> None:
        if isinstance(event, CallFinished):
            task.results[event.index] = event.result
        if watch is not None:
            watch(event)

    try:
        while not task.ended():
            tell(StepStarted())
            reply = client.chat(**task.request(watch))
            task.take(reply)
            tell(StepAnswered(reply))
            _ask_about(task, approve=approve, ask=ask, tell=tell)
            for index, result in task.results.items():
                if index not in task.plans:
                    tell(CallFinished(index, result))
            if task.plans:
                limit_s = max(min(tool_timeout_s, max_seconds - task.now_s()), 0.1)
                perform(task.plans, tell, limit_s=limit_s, origin=task.origin)
            task.settle()
    except KeyboardInterrupt:
        task.stop = "interrupted"
    except KimiError as exc:
        task.stop = "interrupted"
        exc.run = task.result()
        tell(RunFinished(exc.run))
        raise
    done = task.result()
    tell(RunFinished(done))
    return done


def _ask_about(
    task: Task, *, approve: bool | Approve | None, ask: Ask, tell: RunWatch
) -> None:
    for index, plan in tuple(task.plans.items()):
        call, tool = plan.call, plan.tool
        if tool.confirm if approve is None else approve:
            tell(CallAsked(index, call))
            answer = approve(call) if callable(approve) else ask(call, tool)
            task.approved(index, answer)


def _messages(goal: Any, system: str | None) -> list[dict[str, Any]]:
    if isinstance(goal, Run):
        goal = goal.to_messages()
        if goal[-1]["role"] == "assistant":
            goal.append({"role": "user", "content": "Go on."})
        if goal[0]["role"] == "system" and system is not None:
            del goal[0]
    return as_messages(goal, system=system, image=None)
