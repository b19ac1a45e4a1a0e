"""Record a run: its calls with their results, its steps, and all of them together."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from kimikit.tools.tool import Tool
from kimikit.types import Reply, ToolCall
from kimikit.types.pickling import Travels

StopReason = Literal[
    "done", "max_steps", "max_seconds", "max_cost", "repeated", "interrupted", "empty",
    "denied",
]  # fmt: skip


class ToolResult(Travels, msgspec.Struct, frozen=True, kw_only=True):
    """One call and what became of it.

    Attributes:
        call: The call as the model made it, or with the arguments a person gave.
        text: What the model was told.
        value: What the function returned, for the views.
        failed: Why there is no value, or empty: ``arguments``, ``unknown``, ``error``,
            ``timeout``, ``denied``, ``cancelled`` or ``not run``.
        started_s: Seconds from the start of the run.
        duration_s: Seconds that the function took.
    """

    call: ToolCall
    text: str
    value: Any = None
    failed: str = ""
    started_s: float = 0.0
    duration_s: float = 0.0


class Step(msgspec.Struct, frozen=True):
    """One answer of the model and the results of the calls in it.

    Attributes:
        index: Counted from 0.
        reply: The answer.
        results: One for each of its calls, in order.
        started_s: Seconds from the start of the run to the request.

    Example:
        >>> run = kimi.run("What is the capital of Germany?", tools=[])
        >>> [(step.index, step.reply.text) for step in run.steps]
        [(0, 'The capital of Germany is Berlin.')]
    """

    index: int
    reply: Reply
    results: tuple[ToolResult, ...] = ()
    started_s: float = 0.0


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a run; ``Run`` adds how it looks and says what each is."""

    reply: Reply
    steps: tuple[Step, ...] = ()
    messages: list[dict[str, Any]] = []
    stop_reason: StopReason = "done"
    tools: tuple[Tool, ...] = ()
    params: dict[str, Any] = {}
    duration_s: float = 0.0
    base_url: str = ""
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The last answer's text."""
        return self.reply.text
