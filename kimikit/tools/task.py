"""Decide what a run does next; nothing in here sends, calls or waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.errors import BadInput, nearest
from kimikit.json_values import as_json, check_above_0
from kimikit.money.prices import amount
from kimikit.secrets import masked
from kimikit.tools.declared import brought
from kimikit.tools.tool import Tool
from kimikit.tools.values import (
    Run,
    RunWatch,
    Step,
    StopReason,
    ToolResult,
    arguments_of,
)
from kimikit.types import Message, Reply, ToolCall

REPEATS_ALLOWED = 2
"""How often the same call with the same arguments is run; the next ends the run."""

FINAL_PROMPT = (
    "No more tool calls are possible. Answer now from the results above, and say what "
    "is missing."
)
CANCELLED = "Error: cancelled by the user."

Answer = bool | str | dict[str, Any]
Approve = Callable[[ToolCall], Answer]
"""Asks a person about a call: ``True`` runs it, ``False`` denies it and ends the run, a
text denies it and tells the model why, a dict runs it with these arguments instead."""

Ask = Callable[[ToolCall, Tool], Answer]
"""The same, given also the tool: for what shows the question to a person."""


class Plan(msgspec.Struct, frozen=True):
    """A call that can be made.

    Attributes:
        call: The call as the model made it, or with the arguments a person gave.
        tool: What to run.
        arguments: The validated Python values.
        told: What the model is told before the result.
    """

    call: ToolCall
    tool: Tool
    arguments: dict[str, Any]
    told: str = ""


class Task(msgspec.Struct, kw_only=True):
    """What a run knows so far, and what that means for its next step.

    Attributes:
        messages: The conversation so far.
        tools: The tools by name.
        limits: ``max_steps``, ``max_seconds`` and ``max_cost``, as ``run`` takes them.
        params: What else goes with each request.
        declared: The tools that messages declare; the others go with each request.
        declares: Whether a message may declare those that a tool brings.
        base_url: The host's URL, where the client told.
        origin: When the run began.
        steps: The answers so far.
        plans: The calls of the last answer that are to be made, by their place in it.
        results: What the model is told of each of its calls as things stand.
        seen: How often each call was asked for since the run last came on: with a call
            that is new to it, or a result that is not what the same call gave before.
        told: What each call last gave.
        notes: What looked odd.
        asked_s: When the last request was sent.
        empty_before: Whether the answer before was empty.
        closing: Why the next answer is the last.
        stop: Why there is no next answer.
    """

    messages: list[dict[str, Any]]
    tools: dict[str, Tool]
    limits: dict[str, Any]
    params: dict[str, Any]
    declared: set[str] = set()
    declares: bool = False
    base_url: str
    origin: float = msgspec.field(default_factory=time.monotonic)
    steps: list[Step] = []
    plans: dict[int, Plan] = {}
    results: dict[int, ToolResult] = {}
    seen: Counter[tuple[str, bytes]] = msgspec.field(default_factory=Counter)
    told: dict[tuple[str, bytes], str | None] = {}
    notes: list[str] = []
    asked_s: float = 0.0
    empty_before: bool = False
    closing: StopReason | None = None
    stop: StopReason | None = None

    def __post_init__(self) -> None:
        check_above_0("max_steps", self.limits["max_steps"])
        check_above_0("max_seconds", self.limits["max_seconds"])
        if (most := self.limits["max_cost"]) is not None:
            self.limits["max_cost"] = amount("max_cost", most, limit=True)

    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.origin

    def ended(self) -> bool:
        """Tell whether to stop; at ``max_steps`` one last answer is still asked for."""
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
            some = (t for t in self.tools.values() if t.name not in self.declared)
            out["tools"] = [tool.schema for tool in some]
        self.asked_s = self.now_s()
        return out

    def take(self, reply: Reply) -> None:
        """Take an answer, and plan its calls or say why the run stops."""
        self.steps.append(Step(len(self.steps), reply, (), self.asked_s))
        empty = not reply.text.strip() and not reply.tool_calls
        if not empty:
            self.messages.append(reply.message)
        why = ""
        if reply.partial:
            self.stop, why = "interrupted", CANCELLED
        elif self.closing:
            self.stop, why = self.closing, "Error: not run, no more calls are possible."
        elif empty:
            self.stop = "empty" if self.empty_before else None
        elif not reply.tool_calls:
            self.stop = "done"
        elif spent := self._spent():
            self.stop, why = spent, f"Error: not run, {spent} is reached."
        self.empty_before = empty
        for index, call in enumerate(reply.tool_calls):
            if why:
                failed = "cancelled" if reply.partial else "not run"
                self._answer(index, call, failed, why)
            elif self._repeated(call):
                self.closing = "repeated"
                why_not = "Error: not run, it was made twice and nothing changed."
                self._answer(index, call, "not run", why_not)
            else:
                self._plan(index, call)

    def _answer(self, index: int, call: ToolCall, failed: str, text: str) -> None:
        now_s = self.now_s()
        result = ToolResult(call=call, text=text, failed=failed, started_s=now_s)
        self.results[index] = result

    def _repeated(self, call: ToolCall) -> bool:
        """Tell whether a call goes round in circles.

        To run the same tests after each of many patches is no circle, nor is to ask
        for the state of a job until it is another one.
        """
        key = _key(call)
        if key not in self.told:
            self.told[key] = None
            self.seen.clear()
        self.seen[key] += 1
        return self.seen[key] > REPEATS_ALLOWED

    def _plan(self, index: int, call: ToolCall, told: str = "") -> None:
        """Plan a call, cancelled until it is made; or answer what is wrong with it."""
        try:
            if call.name not in self.tools:
                raise BadInput(
                    f"there is no tool {call.name!r}.{nearest(call.name, self.tools)}",
                    f"Tools: {', '.join(self.tools) or 'none'}.",
                )
            tool = self.tools[call.name]
            plan = Plan(call, tool, tool.bind(arguments_of(call, Decimal)), told)
        except BadInput as exc:
            failed = "arguments" if call.name in self.tools else "unknown"
            self._answer(index, call, failed, f"{told}Error: {exc}")
        else:
            self.plans[index] = plan
            self._answer(index, call, "cancelled", CANCELLED)

    def _spent(self) -> StopReason | None:
        """Return the limit of time or money that is reached."""
        if self.now_s() >= self.limits["max_seconds"]:
            return "max_seconds"
        if self.limits["max_cost"] is None:
            return None
        costs = [step.reply.cost for step in self.steps if not step.reply.stand_in]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs):
            self.notes.append("The price is unknown, so max_cost could not be kept.")
            return "max_cost"
        return "max_cost" if sum(known) >= self.limits["max_cost"] else None

    def approved(self, index: int, answer: Answer) -> None:
        """Take a person's answer about one planned call."""
        if answer is True:
            return
        call = self.plans.pop(index).call
        if isinstance(answer, dict):
            arguments = as_json(answer, "What approve returned")
            edited = msgspec.structs.replace(call, arguments=arguments)
            told = f"The user changed the arguments to {arguments}.\n"
            self._plan(index, edited, told)
            return
        if not answer:
            self.stop = "denied"
        why = f": {str(answer).rstrip('.')}" if answer else ""
        self._answer(index, call, "denied", f"Error: denied by the user{why}.")

    def settle(self) -> None:
        """Answer every call of the last answer once in the conversation."""
        for result in self.results.values():
            call, text = result.call, result.text
            answer = Message("tool", text, tool_call_id=call.id, name=call.name)
            self.messages.append(answer.to_dict())
            if self.told.get(key := _key(call)) not in (None, text):
                self.seen.clear()
            self.told[key] = text
        self._bring([result.value for result in self.results.values()])
        if self.results:
            results = tuple(self.results.values())
            last = msgspec.structs.replace(self.steps[-1], results=results)
            self.steps[-1] = last
        self.plans, self.results = {}, {}

    def _bring(self, values: list[Any]) -> None:
        """Give the model the tools that tools have returned."""
        every = {tool.name: tool for value in values for tool in brought(value)}
        new = {n: tool for n, tool in every.items() if n not in self.tools}
        self.tools |= new
        if new and self.declares:
            schemas = [tool.schema for tool in new.values()]
            self.messages.append({"role": "system", "tools": schemas})
            self.declared |= new.keys()

    def result(self) -> Run:
        """Return the run as far as it came."""
        self.settle()
        return Run(
            reply=self.steps[-1].reply if self.steps else Reply(),
            steps=tuple(self.steps),
            messages=self.messages,
            stop_reason=self.stop or "interrupted",
            tools=tuple(self.tools.values()),
            params=masked(self.params),
            duration_s=self.now_s(),
            base_url=self.base_url,
            notes=tuple(self.notes),
        )


def _key(call: ToolCall) -> tuple[str, bytes]:
    """Return what two calls that ask for the same have in common."""
    try:
        return call.name, msgspec.json.encode(arguments_of(call), order="sorted")
    except BadInput:
        return call.name, call.arguments.encode(errors="replace")
