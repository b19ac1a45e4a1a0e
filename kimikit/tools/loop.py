"""Let a model work on a goal with tools until it answers or a limit is reached."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import check_above_0
from kimikit.params import takes_chat_params
from kimikit.tools.declared import as_tools
from kimikit.tools.task import Answer, Approve, Ask, Task
from kimikit.tools.tool import Tool
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
from kimikit.wire import features
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

    It ends by itself: when the model answers, at a limit, at a second empty answer, if
    a call is denied, at Stop, and when the same call comes a third time although no new
    call and no other result of it came between. At ``max_steps`` and at such a repeated
    call the model is asked once more, without tools.

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
        Exception: Of the client, a view or ``approve``; its ``run`` is the run so far.
    """
    limits = {"max_steps": max_steps, "max_seconds": max_seconds, "max_cost": max_cost}
    host = getattr(client, "host", None)
    known = _declared(goal)
    task = Task(
        messages=_messages(goal, system),
        tools={**as_tools(tools), **known},
        declared=set(known),
        declares=host is not None
        and features.takes("dynamic_tools", host, params.get("model") or host.model),
        limits=limits,
        params=params,
        base_url=getattr(host, "base_url", ""),
    )
    return _Loop(client, task, watch, approve, ask, tool_timeout_s).run()


class _Loop(NamedTuple):
    """Asks, has the calls of the answer done, and asks again; see ``run``."""

    client: ChatClient
    task: Task
    watch: RunWatch | None
    approve: bool | Approve | None
    ask: Ask
    tool_timeout_s: float

    def run(self) -> Run:
        """Go on until the task ends."""
        check_above_0("tool_timeout_s", self.tool_timeout_s)
        task = self.task
        try:
            while not task.ended():
                self._step()
        except KeyboardInterrupt:
            task.stop = "interrupted"
        # Also what a view or ``approve`` raises: the answers so far are paid for.
        except Exception as exc:
            task.stop = "interrupted"
            so_far = task.result()
            with contextlib.suppress(AttributeError):
                exc.run = so_far  # type: ignore[attr-defined]
            with contextlib.suppress(Exception):
                self._tell(RunFinished(so_far))
            raise
        done = task.result()
        self._tell(RunFinished(done))
        return done

    def _step(self) -> None:
        """Ask once and do what is called for."""
        task = self.task
        self._tell(StepStarted())
        reply = self.client.chat(**task.request(self.watch))
        task.take(reply)
        self._tell(StepAnswered(reply))
        self._ask_about()
        for index, result in task.results.items():
            if index not in task.plans:
                self._tell(CallFinished(index, result))
        if task.plans:
            from kimikit.tools.calls import perform  # asyncio, only when it is needed

            left_s = task.limits["max_seconds"] - task.now_s()
            limit_s = max(min(self.tool_timeout_s, left_s), 0.1)
            perform(task.plans, self._tell, limit_s=limit_s, origin=task.origin)
        task.settle()

    def _tell(self, event: RunEvent) -> None:
        if isinstance(event, CallFinished):
            self.task.results[event.index] = event.result
        if self.watch is not None:
            self.watch(event)

    def _ask_about(self) -> None:
        """Have a person asked about the calls that need it."""
        approve = self.approve
        for index, plan in tuple(self.task.plans.items()):
            call, tool = plan.call, plan.tool
            if tool.confirm if approve is None else approve:
                self._tell(CallAsked(index, call))
                asked = approve(call) if callable(approve) else self.ask(call, tool)
                self.task.approved(index, asked)


def _declared(goal: Any) -> dict[str, Tool]:
    """Return the tools that the messages of a goal declare, by name."""
    if isinstance(goal, Run):
        own = {tool.name: tool for tool in goal.tools}
        told = [t for m in goal.messages for t in m.get("tools") or ()]
        names = [each["function"]["name"] for each in told]
        return {name: own[name] for name in names if name in own}
    some = goal if isinstance(goal, list | tuple) else [goal]
    messages = [each for each in some if isinstance(each, Mapping)]
    tools = [
        t for m in messages for t in m.get("tools") or () if not isinstance(t, dict)
    ]
    return as_tools(tools)


def _messages(goal: Any, system: str | None) -> list[dict[str, Any]]:
    if isinstance(goal, Run):
        goal = goal.to_messages()
        if goal[-1]["role"] == "assistant":
            goal.append({"role": "user", "content": "Go on."})
        if goal[0]["role"] == "system" and system is not None:
            del goal[0]
    return as_messages(goal, system=system)
