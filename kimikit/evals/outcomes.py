"""What came of one question of a lab."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from kimikit.display.footer import total_cost
from kimikit.evals.scorers import Score
from kimikit.evals.task import Task
from kimikit.types import Reply


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One question asked in one way.

    Attributes:
        pattern: How it was asked.
        row: Its position in the task.
        answer: What was answered, ``None`` for nothing of the type.
        right: Whether that is right; ``None`` where the host failed, or nobody could
            tell.
        reply: The reply, ``None`` where the host failed.
        error: What failed.
        paid: What came of every call it took, also of those that broke off.
        scores: What each metric says of it.
        judged: What a judge answered about it, which costs apart.
        variant: Which of the task's variants was asked, where it has any.
    """

    pattern: str
    row: int
    answer: Any = None
    right: bool | None = None
    reply: Reply | None = None
    error: str = ""
    paid: tuple[Reply, ...] = ()
    scores: dict[str, Score] = {}
    judged: tuple[Reply, ...] = ()
    variant: str = ""

    @property
    def cost(self) -> Decimal | None:
        """Dollars of all calls, ``None`` when one is unpriced; 0 where none began."""
        return total_cost(self.took)

    @property
    def took(self) -> tuple[Reply, ...]:
        """All answers that were paid for."""
        whole = (self.reply,) if self.reply is not None else ()
        return self.paid or whole


def asked(task: Task, outcome: Outcome) -> tuple[str, Any]:
    """Return what was asked, and the right answer."""
    return task.variants.get(outcome.variant, task).rows[outcome.row]
