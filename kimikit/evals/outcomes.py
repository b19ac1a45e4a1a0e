"""Keep what came of a lab's questions, and say when enough of them are asked."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from kimikit.display.footer import total_cost
from kimikit.evals.scorers import Score
from kimikit.evals.task import Task
from kimikit.sweeps.anytime import Array
from kimikit.sweeps.settled import Buying, is_settled
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


def order(rows: int) -> list[int]:
    """Return rows in an order of chance, the same each time.

    A set may be sorted by difficulty; what is asked first has to be like the rest.
    """
    places = list(range(rows))
    random.Random(0).shuffle(places)
    return places


def rounds(
    came: Iterable[Outcome | None], patterns: Sequence[str], rows: int
) -> dict[str, Array]:
    """Return what each pattern got right, up to the first question not asked in all.

    Args:
        came: What came of the questions; right is ``None`` where a host failed.
        patterns: Their names.
        rows: How many questions there are.
    """
    marks = {(o.pattern, o.row): o.right for o in came if o is not None}

    def everywhere(row: int) -> bool:
        return all((pattern, row) in marks for pattern in patterns)

    asked = list(itertools.takewhile(everywhere, order(rows)))
    return {
        pattern: np.array(
            [marks[pattern, row] for row in asked],
            dtype=float,  # None becomes NaN
        ).reshape(-1, 1)
        for pattern in patterns
    }


class Looking:
    """Says how many jobs there are to be, given what came of the others.

    Args:
        until: Half the width of an interval that is asked for.
        patterns: Their names.
        rows: How many questions there are.
        at_once: Jobs that run at once.

    Attributes:
        order: The rows in the order in which they are asked, by all patterns each.
        settled: Whether it was, at the last look.
    """

    def __init__(
        self, until: float, patterns: Sequence[str], rows: int, at_once: int
    ) -> None:
        self.order, self.settled = order(rows), False
        self._patterns, self._at_once = patterns, at_once / len(patterns)
        self._buying = Buying.planned(
            "right", until, settings=len(patterns), questions=1, most=rows
        )

    def __call__(self, came: Iterable[Outcome | None]) -> int:
        """Return up to which job to go on."""
        found = rounds(came, self._patterns, len(self.order))
        done = len(found[self._patterns[0]])
        self.settled = done > 0 and is_settled(self._buying.until, found)
        end = done if self.settled else self._buying.end(done, self._at_once)
        return end * len(self._patterns)
