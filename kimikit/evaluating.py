"""What a session evaluates: prompts on labelled sets, and judges."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack

from kimikit.connection import Session
from kimikit.params import LabParams, takes_chat_params

if TYPE_CHECKING:
    from kimikit import evals
    from kimikit.evals.named import Metrics
    from kimikit.evals.patterns import Pattern
    from kimikit.sweeps.values import Embed


class Evaluating(Session):
    """The verbs that ask labelled sets."""

    @takes_chat_params(hidden=("tools", "n"))
    def lab(
        self,
        task: evals.Task,
        patterns: Mapping[str, Pattern] | None = None,
        *,
        metrics: Metrics | None = None,
        embed: Embed | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        until: float | None = None,
        concurrency: int = 4,
        progress: bool = True,
        **params: Unpack[LabParams],
    ) -> evals.Lab:
        """Ask one labelled set in several ways and compare; see ``evals.lab``.

        Args:
            task: The labelled set.
            patterns: Ways to ask by name, the baseline first.
            metrics: What judges an answer: ``exact``, ``includes``, ``regex``,
                ``number``, ``choice``, ``json_schema``, ``code_passes``,
                ``similarity``, ``judge``, or functions ``fn(reply, truth)`` by name.
                The first says what is right.
            embed: From texts to vectors, for ``similarity``; the local host has its
                own.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars that are not passed: no more is asked then.
            until: Half the width of an interval, such as 0.05 for ± 0.05: questions are
                asked in rounds until the share of right ones is known so well of each
                pattern, or every two are told apart; ``.settled`` has the intervals.
            concurrency: How many questions are asked at once.
            progress: Whether to show a bar.
            **params: The same for every pattern.

        Example:
            >>> from kimikit.evals import PATTERNS, Task
            >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"))
            >>> task = Task(instruction="Name the city.", rows=rows)
            >>> found = kimi.lab(task, {"bare": PATTERNS["zero-shot"]}, progress=False)
            >>> [(point["pattern"], point["n"]) for point in found.summary()]
            [('bare', 2)]
        """
        from kimikit import evals

        return evals.lab(
            self.client,
            task,
            patterns,
            metrics=metrics,
            embed=embed or self._own_embed,
            store=self.ledger,
            name=name,
            max_cost=max_cost,
            until=until,
            concurrency=concurrency,
            progress=progress,
            **params,
        )

    @takes_chat_params(hidden=("tools", "n"))
    def judge(
        self,
        answers: Any,
        rubric: str | None = None,
        *,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        concurrency: int = 4,
        progress: bool = True,
        **params: Unpack[LabParams],
    ) -> evals.Judged:
        """Let this model judge answers, each twice, and say whether it can be used.

        Args:
            answers: Rows with ``question`` and ``answer``, or with ``question``, ``a``
                and ``b``; with ``truth`` and ``label`` where known. See
                ``evals.judge``.
            rubric: What makes an answer right, or better.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars that are not passed: no more is asked then.
            concurrency: How many are asked at once.
            progress: Whether to show a bar.
            **params: The same for every call.

        Example:
            >>> pair = {"question": "Capital of France?", "a": "Paris", "b": "Rome"}
            >>> found = kimi.judge([pair], progress=False)
            >>> len(found.verdicts)
            2
        """
        from kimikit import evals

        return evals.judge(
            self.client,
            answers,
            rubric,
            store=self.ledger,
            name=name,
            max_cost=max_cost,
            concurrency=concurrency,
            progress=progress,
            **params,
        )

    def _judged(
        self, prompt: Any, metrics: Any, embed: Any, name: Any, max_cost: Any
    ) -> tuple[Any, Any]:
        """Return prompts and metrics as ``sweeps`` takes them: no set, and no names."""
        if metrics is None and not hasattr(prompt, "variants"):
            return prompt, metrics  # most sweeps, which need no import
        from kimikit.evals.in_sweeps import Purse, for_sweep

        purse = Purse(self.client, self.ledger, name, max_cost)
        return for_sweep(prompt, metrics, embed=embed, purse=purse)
