"""Define what a run returns, and what its live views are told."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import total_cost, total_usage
from kimikit.display.renderable import Renderable
from kimikit.errors import BadInput
from kimikit.json_values import written
from kimikit.tools import views
from kimikit.tools.steps import RunRecord, Step, StopReason, ToolResult
from kimikit.types import Delta, Reply, ToolCall, Usage, Wait
from kimikit.types.pickling import Travels
from kimikit.wire.calls import tidy

__all__ = [
    "CallAsked", "CallFinished", "CallStarted", "Run", "RunEvent", "RunFinished",
    "RunWatch", "Step", "StepAnswered", "StepEvent", "StepStarted", "StopReason",
    "ToolResult", "arguments_of", "exact",
]  # fmt: skip


class Run(Travels, Renderable, RunRecord, frozen=True, kw_only=True):
    """A task worked on with tools, as far as it came; its ``str()`` is its text.

    Attributes:
        reply: The last answer.
        steps: All answers with the results of their calls.
        messages: The whole conversation, legal to send on: each call is answered once.
        stop_reason: Why it ended.
        tools: The tools that were offered.
        params: What else went with each request.
        duration_s: Seconds from start to end.
        base_url: The host's URL, where the client told.
        notes: What looked odd, one sentence each.

    Example:
        >>> run = kimi.run("What is the capital of Germany?", tools=[])
        >>> run.stop_reason, run.text
        ('done', 'The capital of Germany is Berlin.')
        >>> run = kimi.run(run, tools=[])  # goes on from there
        >>> len(run.messages)
        4
    """

    @property
    def usage(self) -> Usage:
        """Tokens of all steps."""
        return total_usage(step.reply for step in self.steps)

    @property
    def cost(self) -> Decimal | None:
        """US dollars of all steps; ``None`` if the price of any is unknown."""
        return total_cost([step.reply for step in self.steps]) if self.steps else None

    def to_messages(self) -> list[dict[str, Any]]:
        """Return a copy of the conversation, to go on from or to send elsewhere."""
        return copy.deepcopy(self.messages)

    def timeline(self, *, ax: Any = None) -> Any:
        """Draw model turns and tool calls over time and return the figure."""
        return views.timeline(self, ax=ax)

    def __str__(self) -> str:
        return html.clean(self.text)

    def __repr__(self) -> str:
        return self._plain()

    def _parts(self) -> tuple[str, list[html.Cell], str]:
        return self.text.strip(), views.run_sections(self), views.footer_line(self)


class StepStarted(msgspec.Struct, frozen=True):
    """A request is about to be sent."""


class StepAnswered(msgspec.Struct, frozen=True):
    """The answer to a request is complete."""

    reply: Reply


class CallAsked(msgspec.Struct, frozen=True):
    """Somebody is about to be asked whether to run a call."""

    index: int
    call: ToolCall


class CallStarted(msgspec.Struct, frozen=True):
    """A tool is about to be called, with these arguments."""

    index: int
    call: ToolCall


class CallFinished(msgspec.Struct, frozen=True):
    """A call has its result, also when it was never run."""

    index: int
    result: ToolResult


class RunFinished(msgspec.Struct, frozen=True):
    """The run has ended."""

    run: Run


StepEvent = StepStarted | StepAnswered
RunEvent = (
    Delta | Wait | StepEvent | CallAsked | CallStarted | CallFinished | RunFinished
)
RunWatch = Callable[[RunEvent], None]
"""A live view: called for each step of an answer, each wait and each event above."""


def arguments_of(
    call: ToolCall, number: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Decode a call's arguments, with the repairs that change no meaning.

    Args:
        call: The call.
        number: Reads a number with a point, which is a float without it.

    Raises:
        BadInput: If no JSON object is to be had.
    """
    text, _ = tidy(call.arguments)
    try:
        value = msgspec.json.Decoder(float_hook=number).decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadInput(
            f"The arguments of {call.name} are not valid JSON: {exc}.",
            "Call again with one complete JSON object.",
        ) from exc
    if not isinstance(value, dict):
        raise BadInput(
            f"The arguments of {call.name} are a JSON {type(value).__name__}.",
            "Call again with a JSON object of arguments by name.",
        )
    return value


def exact(call: ToolCall, *, indent: int | None = None) -> str:
    """Return a call's arguments as JSON in which every character can be seen.

    What does not print, or reorders what does, is written as an escape: a person
    agrees to what stands there.
    """
    try:
        whole = written(arguments_of(call, Decimal))
        text = msgspec.json.format(whole, indent=indent or 0).decode()
    except BadInput:
        text = call.arguments
    return "".join(
        c if _is_seen(c) or c in " \n" else json.dumps(c)[1:-1] for c in text
    )


def _is_seen(letter: str) -> bool:
    return letter.isprintable() and not html.UNSEEN.match(letter)
