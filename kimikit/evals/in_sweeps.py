"""Take a labelled set as the prompts of a sweep, and scorers as its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from kimikit.display.footer import total_cost
from kimikit.errors import BadInput, BudgetExceeded
from kimikit.evals.judging import Grader
from kimikit.evals.named import by_name, scorers_of
from kimikit.evals.patterns import Meter, terse
from kimikit.evals.scorers import Embed, Scorer
from kimikit.evals.task import Task
from kimikit.money.prices import amount
from kimikit.runner import WorkOptions, run_jobs, runner_over
from kimikit.types import Reply

Both = Callable[[Reply, Mapping[str, Any]], Any]
"""A metric of a sweep: ``fn(reply, params)``."""


ONE_AT_ONCE = WorkOptions(1)
"""How judges ask when not told otherwise."""


class Judging:
    """A judge as the metric of a sweep; it asks through a runner of its own.

    Args:
        grader: The judge.
        client: Who judges, where the judge names nobody.
        options: How it is paid for.
        asked: Question and right answer of each prompt, by its label.
    """

    def __init__(
        self,
        grader: Grader,
        client: Any,
        options: WorkOptions,
        asked: Mapping[str, tuple[str, Any]],
    ) -> None:
        self._grader, self._asked, self._options = grader, asked, options
        self._client = grader.client or client
        self._paid: list[Reply] = []

    @property
    def cost(self) -> Decimal | None:
        """Dollars it took, no part of the sweep's; ``None`` where one is unpriced."""
        return total_cost(self._paid)

    def __call__(self, reply: Reply, params: Mapping[str, Any]) -> bool | None:
        """Ask whether an answer is right.

        Raises:
            BudgetExceeded: If what it may take is spent.
            KeyboardInterrupt: If the user stopped it.
        """
        limit = self._options.max_cost
        if limit is not None:
            limit = amount("max_cost", limit, limit=True) - (self.cost or 0)
            if limit <= 0:
                raise _spent()
        options = self._options._replace(max_cost=limit)
        runner, clients = runner_over({None: self._client}, "judge", options)
        meter = Meter(clients[None])
        question, truth = self._asked[params["prompt"]]
        grade = partial(self._grader.grade, meter, question, reply, truth)
        (said,) = run_jobs(runner, [grade], concurrency=1)
        self._paid += meter.paid
        if runner.stop_reason == "interrupted":
            raise KeyboardInterrupt
        if runner.stop_reason == "max_cost":
            raise _spent()
        if runner.error is not None:
            raise runner.error
        return said


def _spent() -> BudgetExceeded:
    return BudgetExceeded("The judge has taken max_cost.", "Raise max_cost.")


def for_sweep(
    prompt: Any,
    metrics: Any,
    *,
    embed: Embed | None = None,
    client: Any = None,
    options: WorkOptions = ONE_AT_ONCE,
) -> tuple[Any, dict[str, Any] | None]:
    """Return the prompts and the metrics of a sweep.

    Args:
        prompt: A ``Task``, each row of which is a prompt called ``q1`` and so on; or
            what a sweep takes.
        metrics: Functions by name; with a ``Task`` also names of scorers, and without
            any what the task says.
        embed: From texts to vectors, for ``similarity``.
        client: Who judges, where a judge names nobody.
        options: How judges are paid for, each by itself.

    Raises:
        BadInput: If a name is unknown, or there are no right answers.

    Example:
        >>> task = Task(instruction="", rows=[("2 + 2?", 4)], written=True)
        >>> prompts, metrics = for_sweep(task, "number")
        >>> prompts, list(metrics)
        ({'q1': [{'role': 'user', 'content': '2 + 2?'}]}, ['number'])
    """
    if not isinstance(prompt, Task):
        return prompt, _functions(metrics)
    prompts: dict[str, Any] = {}
    asked: dict[str, tuple[str, Any]] = {}
    for variant, task in (prompt.variants or {"": prompt}).items():
        for number, (question, truth) in enumerate(task.rows, 1):
            label = f"{variant} q{number}".strip()
            system = task.instruction if task.written else terse(task)
            before = [{"role": "system", "content": system}] if system else []
            prompts[label] = [*before, {"role": "user", "content": question}]
            asked[label] = question, truth
    if not prompts:
        raise BadInput("The task has no rows.", "Give at least one row.")
    own = {} if metrics is None else by_name(metrics)
    named = {n: one for n, one in own.items() if isinstance(one, str | Grader)}
    made: dict[str, Any] = dict(own)
    if named or not own:
        scorers = scorers_of(named or None, prompt, embed=embed)
        for name, one in scorers.items():
            if isinstance(one, Grader):
                made[name] = Judging(one, client, options, asked)
            else:
                made[name] = _of_row(one, asked)
    return prompts, made


def _of_row(scorer: Scorer, asked: Mapping[str, tuple[str, Any]]) -> Both:
    def metric(reply: Reply, params: Mapping[str, Any]) -> Any:
        return scorer(reply, asked[params["prompt"]][1])

    return metric


def _functions(metrics: Any) -> Any:
    """Refuse names where nothing tells the right answers."""
    if metrics is None or (isinstance(metrics, dict) and not metrics):
        return metrics
    named = [one for one in by_name(metrics).values() if isinstance(one, str)]
    if named:
        raise BadInput(
            f"The metric {named[0]!r} needs right answers, and a prompt has none.",
            "Sweep a Task, or give metrics={'right': partial(exact, truth='Paris')}.",
        )
    return metrics
