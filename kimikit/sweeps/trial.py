"""Hold one answer of a sweep; all other modules here build on this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from kimikit import html
from kimikit.display.footer import footer, total_usage
from kimikit.display.renderable import Renderable
from kimikit.types import Reply, Usage
from kimikit.usage import check_usd

Metric = Callable[..., "float | bool | None"]
"""A user's judgement of one answer: ``fn(reply)`` or ``fn(reply, params)``."""


class Trial(Renderable, msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One answer of a sweep, or the reason why it is missing.

    Attributes:
        params: All parameters it was asked with, by the labels of the axes.
        repeat: Which repeat of its point, from 0.
        reply: The answer, or ``None`` where it failed.
        error: Why it failed.
        partial: What had come before it failed.
        stored: Whether it was paid for in an earlier run.

    Example:
        >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
        >>> trial = sweep.trials[0]
        >>> trial.params["temperature"], trial.repeat, trial.error
        (0, 0, None)
    """

    params: dict[str, Any]
    repeat: int
    reply: Reply | None = None
    error: str | None = None
    partial: Reply | None = None
    stored: bool = False

    def _parts(self) -> tuple[str, list[html.Cell], str]:
        reply = self.reply or self.partial or Reply()
        failed = [html.Cell(self.error, html.footer(self.error))] if self.error else []
        asked = [f"{name}={value}" for name, value in self.params.items()]
        before = [*asked, f"repeat {self.repeat + 1}"]
        return reply.text, failed, footer([reply], before=before)


RAW_KEPT = ("provider", "system_fingerprint", "temperature", "generation_settings")
"""What is kept of ``Reply.raw``: enough to see a clamp or another upstream."""


def trial_of(
    params: dict[str, Any], repeat: int, reply: Reply, *, stored: bool
) -> Trial:
    """Return an answer as a trial, or what is wrong with it, without heavy raw parts.

    Args:
        params: The labels of its point.
        repeat: Its number among the answers of the point.
        reply: The answer.
        stored: Whether it was paid for before.
    """
    if reply.raw:
        raw = {key: reply.raw[key] for key in RAW_KEPT if key in reply.raw}
        reply = msgspec.structs.replace(reply, raw=raw)
    if reply.partial or reply.truncated:
        end = "stopped before its end" if reply.partial else "cut off, no finish"
        return Trial(
            params=params, repeat=repeat, error=end, partial=reply, stored=stored
        )
    return Trial(params=params, repeat=repeat, reply=reply, stored=stored)


class Spent(msgspec.Struct):
    """What answers of one model took together, as footers ask it of an answer.

    Attributes:
        host: Name of the host profile.
        model: The model that answered.
        stand_in: Whether the local stand-in did.
        replayed: What recorded answers are marked with.
        usage: Their tokens.
        cost: Their US dollars, ``None`` where they are unpriced.
        created: When the last was asked.
        count: How many there are.
    """

    host: str
    model: str
    stand_in: bool
    replayed: str
    usage: Usage = msgspec.field(default_factory=Usage)
    cost: Decimal | None = None
    created: float = 0.0
    count: int = 0

    partial: ClassVar[bool] = False
    truncated: ClassVar[bool] = False
    finish_reason: ClassVar[str | None] = None
    first_token_s: ClassVar[float | None] = None
    tokens_per_s: ClassVar[float | None] = None

    def __post_init__(self) -> None:
        check_usd(self.cost)

    def add(self, replies: Sequence[Reply]) -> None:
        """Count answers too."""
        self.usage += total_usage(replies)
        costs = [reply.cost for reply in replies if reply.cost is not None]
        if costs:
            self.cost = sum(costs, self.cost or Decimal(0))
        self.created = max(self.created, *(reply.created for reply in replies))
        self.count += len(replies)
