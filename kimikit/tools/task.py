"""Decide what a run does next: pure, so that both its drivers and tests can use it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BadInput, KimiError
from kimikit.tools.plans import Plan, plan
from kimikit.tools.tool import Tool, as_tools
from kimikit.tools.values import (
    Run,
    RunWatch,
    Step,
    StopReason,
    ToolResult,
    arguments_of,
)
from kimikit.types import Reply, ToolCall
from kimikit.wire.requests import as_messages

REPEATS_ALLOWED = 2
"""How often the same call with the same arguments is run; the next ends the run."""

FINAL_PROMPT = (
    "No more tool calls are possible. Answer now from the results above, and say what "
    "is missing."
)
CANCELLED = "Error: cancelled by the user."

Answer = bool | str | dict[str, Any]
Approve = Callable[[ToolCall], "Answer | Awaitable[Answer]"]
"""Asks a person about a call: ``True`` runs it, ``False`` denies it and ends the run, a
text denies it and tells the model why, a dict runs it with these arguments instead."""

Ask = Callable[[ToolCall, Tool], "Answer | Awaitable[Answer]"]
"""The same, given also the tool: for what shows the question to a person."""


class Task:
    """What a run knows so far, and what that means for its next step; never waits."""

    def __init__(
        self,
        goal: Any,
        tools: Any,
        limits: dict[str, Any],
        system: str | None,
        params: dict[str, Any],
    ) -> None:
        for name, limit in limits.items():
            if limit is not None and not limit > 0:
                raise BadInput(f"{name} is {limit!r}.", "Give a number above 0.")
        self.messages = _messages(goal, system)
        self.tools = as_tools(tools)
        self.limits = limits
        self.params = params
        self.base_url = ""
        self.origin = time.monotonic()
        self.steps: list[Step] = []
        self.plans: list[Plan] = []
        self.results: dict[int, ToolResult] = {}
        self.seen: Counter[tuple[str, bytes]] = Counter()
        self.notes: list[str] = []
        self.empty_before = False
        self.closing: StopReason | None = None
        self.stop: StopReason | None = None

    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.origin

    def ended(self) -> bool:
        """Whether to stop now; at ``max_steps`` one last answer is still asked for."""
        if not self.stop and self.steps:
            self.stop = self._spent()
            if not self.closing and len(self.steps) >= self.limits["max_steps"]:
                self.closing = "max_steps"
            if self.closing and not self.stop:
                self.messages.append({"role": "user", "content": FINAL_PROMPT})
        return self.stop is not None

    def request(self, watch: RunWatch | None) -> dict[str, Any]:
        """Return what goes to ``client.chat``."""
        out = {"messages": list(self.messages), **self.params}
        if watch is not None:
            out["watch"] = watch
        if self.closing:
            out.pop("tool_choice", None)
        elif self.tools:
            out["tools"] = [tool.schema for tool in self.tools.values()]
        self.asked_s = self.now_s()
        return out

    def take(self, reply: Reply) -> None:
        """Take an answer, and plan its calls or say why the run stops."""
        self.steps.append(Step(len(self.steps), reply, (), self.asked_s))
        empty = not reply.text.strip() and not reply.tool_calls
        if not empty:
            self.messages.append(reply.message)
        if reply.partial:
            self._refuse("cancelled", CANCELLED)
            self.stop = "interrupted"
        elif self.closing:
            self._refuse("not run", "Error: not run, no more calls are possible.")
            self.stop = self.closing
        elif empty:
            self.stop = "empty" if self.empty_before else None
        elif not reply.tool_calls:
            self.stop = "done"
        elif spent := self._spent():
            self._refuse("not run", f"Error: not run, {spent} is reached.")
            self.stop = spent
        else:
            self.plans = [self._plan(i, c) for i, c in enumerate(reply.tool_calls)]
        self.empty_before = empty

    def _plan(self, index: int, call: ToolCall) -> Plan:
        made = plan(len(self.steps) - 1, index, call, self.tools)
        try:
            same = msgspec.json.encode(arguments_of(call), order="sorted")
        except KimiError:
            same = call.arguments.encode()
        self.seen[call.name, same] += 1
        if self.seen[call.name, same] <= REPEATS_ALLOWED:
            return made
        self.closing = "repeated"
        return made.refused(
            "not run", "Error: not run, the same call was made twice before."
        )

    def _refuse(self, failed: str, text: str) -> None:
        calls = enumerate(self.steps[-1].reply.tool_calls)
        self.plans = [
            Plan(step=len(self.steps) - 1, index=i, call=c, failed=failed, text=text)
            for i, c in calls
        ]

    def _spent(self) -> StopReason | None:
        """Return the limit of time or money that is reached."""
        if self.now_s() >= self.limits["max_seconds"]:
            return "max_seconds"
        if self.limits["max_cost"] is None:
            return None
        replies = [step.reply for step in self.steps if not step.reply.stand_in]
        if any(reply.cost is None for reply in replies):
            self.notes.append("The price is unknown, so max_cost could not be kept.")
            return "max_cost"
        cost = sum((reply.cost or Decimal(0) for reply in replies), Decimal(0))
        limit = Decimal(str(self.limits["max_cost"]))
        return "max_cost" if cost >= limit else None

    def approved(self, item: Plan, answer: Answer) -> None:
        """Take a person's answer about one call."""
        if answer is True:
            return
        if isinstance(answer, dict):
            arguments = msgspec.json.encode(answer).decode()
            edited = msgspec.structs.replace(item.call, arguments=arguments)
            changed = plan(item.step, item.index, edited, self.tools)
            told = f"The user changed the arguments to {arguments}.\n{changed.text}"
            self.plans[item.index] = msgspec.structs.replace(changed, text=told)
            return
        if not answer:
            self.stop = "denied"
        why = f": {str(answer).rstrip('.')}" if answer else ""
        reason = f"Error: denied by the user{why}."
        self.plans[item.index] = item.refused("denied", reason)

    def settle(self) -> None:
        """Answer every planned call once in the conversation."""
        results = []
        for item in self.plans:
            result = self.results.get(item.index)
            if result is None:
                cancelled = item.refused("cancelled", CANCELLED)
                result = cancelled.result(started_s=self.now_s())
            results.append(result)
            self.messages.append(
                {
                    "role": "tool",
                    "tool_call_id": item.call.id,
                    "name": item.call.name,
                    "content": result.text,
                }
            )
        if results:
            last = msgspec.structs.replace(self.steps[-1], results=tuple(results))
            self.steps[-1] = last
        self.plans, self.results = [], {}

    def result(self, stop_reason: StopReason) -> Run:
        """Return the run as far as it came."""
        return Run(
            reply=self.steps[-1].reply if self.steps else Reply(),
            steps=tuple(self.steps),
            messages=self.messages,
            stop_reason=stop_reason,
            tools=tuple(self.tools.values()),
            params=self.params,
            duration_s=self.now_s(),
            base_url=self.base_url,
            notes=tuple(self.notes),
        )


def _messages(goal: Any, system: str | None) -> list[dict[str, Any]]:
    if isinstance(goal, Run):
        goal = goal.to_messages()
        if goal[-1]["role"] == "assistant":
            goal.append({"role": "user", "content": "Go on."})
        if goal[0]["role"] == "system" and system is not None:
            del goal[0]
    return as_messages(goal, system=system, image=None)
