"""Evaluate prompts, judges and settings by labelled sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast

from kimikit.params import GridParams, LabParams, takes_chat_params
from kimikit.session.comparing import Comparing
from kimikit.sweeps import Progress
from kimikit.sweeps.grid import NOT_IN_A_GRID
from kimikit.wire.thinking import check_compared

if TYPE_CHECKING:
    from kimikit import evals
    from kimikit.evals.named import Metrics
    from kimikit.evals.patterns import Pattern
    from kimikit.runner.cluster import Dask
    from kimikit.sweeps.values import Embed
    from kimikit.types import ChatClient


class Evaluating(Comparing):
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
        via: Literal["live", "batch"] = "live",
        poll_s: float | None = None,
        concurrency: int = 4,
        progress: bool = True,
        **params: Unpack[LabParams],
    ) -> Any:
        """Ask one labelled set in several ways and compare; see ``evals.lab``.

        Args:
            task: The labelled set.
            patterns: Ways to ask by name, the baseline first.
            metrics: What judges an answer: ``exact``, ``includes``, ``regex``,
                ``number``, ``choice``, ``json_schema``, ``code_passes``,
                ``similarity``, ``judge``, or functions ``fn(reply, truth)`` by name.
                The first says what is right.
            embed: From texts to vectors; the local host has its own.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars that are not passed: no more is asked then.
            until: Half the width of an interval, such as 0.05: ask in rounds until the
                share of right answers is known so well of each pattern, or every two
                are told apart; ``.settled`` has the intervals.
            via: ``live``, or ``batch`` for the host's batch API: within a day, at a
                lower price, a ``Job`` at once; a judge is asked in further batches.
            poll_s: Seconds between two looks at a batch, instead of 30 to 60.
            concurrency: How many questions are asked at once.
            progress: Whether to show a bar.
            **params: The same for every pattern.

        Returns:
            The ``Lab``; by batch a ``Job`` whose ``wait()`` has it, tomorrow too.

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
            cast("ChatClient", self),
            task,
            patterns,
            metrics=metrics,
            embed=embed or self._own_embed,
            store=self.ledger,
            name=name,
            max_cost=max_cost,
            until=until,
            via=via,
            poll_s=poll_s,
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
        via: Literal["live", "batch"] = "live",
        poll_s: float | None = None,
        concurrency: int = 4,
        progress: bool = True,
        **params: Unpack[LabParams],
    ) -> Any:
        """Let this model judge answers, each twice, and say whether it can be used.

        Args:
            answers: Rows with ``question`` and ``answer``, or with ``question``, ``a``
                and ``b``; with ``truth`` and ``label`` where known. See
                ``evals.judge``.
            rubric: What makes an answer right, or better.
            name: Makes it resumable: what was paid for is not asked again.
            max_cost: US dollars that are not passed: no more is asked then.
            via: ``live``, or ``batch`` for the host's batch API: a ``Job`` at once.
            poll_s: Seconds between two looks at a batch, instead of 30 to 60.
            concurrency: How many are asked at once.
            progress: Whether to show a bar.
            **params: The same for every call.

        Returns:
            The ``Judged``; by batch a ``Job`` whose ``wait()`` returns it.

        Example:
            >>> pair = {"question": "Capital of France?", "a": "Paris", "b": "Rome"}
            >>> found = kimi.judge([pair], concurrency=1, progress=False)
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
            via=via,
            poll_s=poll_s,
            concurrency=concurrency,
            progress=progress,
            **params,
        )

    @takes_chat_params(hidden=NOT_IN_A_GRID)
    def frontier(
        self,
        task: evals.Task,
        *,
        votes: int | Sequence[int] = 1,
        margin: float = 0.05,
        metrics: Metrics | None = None,
        host: str | Sequence[str | None] | None = None,
        name: str | None = None,
        max_cost: Decimal | float | str | None = None,
        dry_run: bool = False,
        via: Literal["live", "batch"] | Dask = "live",
        poll_s: float | None = None,
        concurrency: int | None = None,
        progress: bool | Callable[[Progress], None] = True,
        **grid: Unpack[GridParams],
    ) -> Any:
        """Weigh right answers against dollars and seconds, at each setting of a grid.

        Any parameter given a list is compared: ``reasoning_effort=["low", "high"]``,
        ``max_tokens``, ``thinking``, ``model``, ``host``.

        Args:
            task: The labelled set.
            votes: How many answers decide by majority: a number, or several of them,
                which share their answers.
            margin: Share of right answers that may be given away for a lower price.
            metrics: What judges an answer, as in ``lab``; the first says what is right.
            host: Other hosts to ask, by their names.
            name: Makes it resumable: asked again, only what is missing is bought.
            max_cost: US dollars; what likely costs more is refused, or ends before.
            dry_run: Return only the plan: calls, cost and minutes, in ``.sweep.plan``.
            via: ``live``; a client of Dask, whose workers ask; or ``batch`` for the
                hosts' batch APIs: within a day, at a lower price, a ``Job`` at once.
            poll_s: Seconds between two looks at a batch, instead of 30 to 60.
            concurrency: Calls at once per host; 8, or fewer where hosts serve few.
            progress: One line of progress, or a function that is given it.
            **grid: One value, or a list of values, which is an axis.

        Returns:
            The ``Frontier``: a table, ``.plot()``, and in ``.recommended`` the cheapest
            setting that is sure to lose no more than the margin against the best. By
            batch a ``Job`` whose ``wait()`` returns it.

        Raises:
            BadInput: If an argument is impossible; nothing was sent then.
            NotSupported: If a host does not know an effort; nothing was sent then.
            BudgetExceeded: If ``max_cost`` or a budget refuses it.

        Example:
            >>> from kimikit.evals import Task
            >>> rows = [("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"),
            ...         ("Capital of Germany?", "Berlin")]
            >>> task = Task(instruction="Name the city.", rows=rows)
            >>> found = kimi.frontier(task, max_tokens=[1, 8], progress=False)
            >>> found.recommended.best.labels
            {'max_tokens': 8}
        """
        from kimikit.evals.frontier import frontier

        asked: dict[str, Any] = {**grid, **({} if host is None else {"host": host})}
        self._check_efforts(asked)
        how: dict[str, Any] = {"name": name, "max_cost": max_cost, "dry_run": dry_run}
        how |= {"via": via, "poll_s": poll_s, "concurrency": concurrency}
        weighed: dict[str, Any] = {"votes": votes, "margin": margin, "metrics": metrics}
        return frontier(
            self.sweep, task, grid=asked, progress=progress, **weighed, **how
        )

    def _check_efforts(self, grid: dict[str, Any]) -> None:
        """Refuse what a host would ignore: all settings would be one."""

        def values(name: str) -> Sequence[Any]:
            given = grid.get(name)
            return given if isinstance(given, list | tuple) else [given]

        for host in values("host"):
            profile = self._connection.client_of(host).host
            for model in values("model"):
                for key in ("reasoning_effort", "thinking"):
                    for value in values(key):
                        check_compared(key, value, profile, model or profile.model)
