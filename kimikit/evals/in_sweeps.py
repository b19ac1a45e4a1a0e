"""A labelled set as the prompts of a sweep, and scorers by name as its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kimikit.errors import BadInput
from kimikit.evals.patterns import terse
from kimikit.evals.scorers import Embed, Scorer, by_name, scorers_of
from kimikit.evals.task import Task
from kimikit.types import Reply

Both = Callable[[Reply, Mapping[str, Any]], Any]
"""A metric of a sweep: ``fn(reply, params)``."""


def for_sweep(
    prompt: Any, metrics: Any, *, embed: Embed | None = None
) -> tuple[Any, dict[str, Any] | None]:
    """Return the prompts and the metrics of a sweep.

    Args:
        prompt: A ``Task``, each row of which is a prompt called ``q1`` and so on; or
            what a sweep takes.
        metrics: Functions by name; with a ``Task`` also names of scorers, and without
            any what the task says.
        embed: From texts to vectors, for ``similarity``.

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
    truths: dict[str, Any] = {}
    for variant, task in (prompt.variants or {"": prompt}).items():
        for number, (question, truth) in enumerate(task.rows, 1):
            label = f"{variant} q{number}".strip()
            system = task.instruction if task.written else terse(task)
            before = [{"role": "system", "content": system}] if system else []
            prompts[label] = [*before, {"role": "user", "content": question}]
            truths[label] = truth
    if not prompts:
        raise BadInput("The task has no rows.", "Give at least one row.")
    own = {} if metrics is None else by_name(metrics)
    named = {name: one for name, one in own.items() if isinstance(one, str)}
    made: dict[str, Any] = dict(own)
    if named or not own:
        scorers = scorers_of(named or None, prompt, embed=embed)
        made |= {name: _of_row(one, truths) for name, one in scorers.items()}
    return prompts, made


def _of_row(scorer: Scorer, truths: Mapping[str, Any]) -> Both:
    def metric(reply: Reply, params: Mapping[str, Any]) -> Any:
        return scorer(reply, truths[params["prompt"]])

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
