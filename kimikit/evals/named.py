"""Look scorers up by name, and check them against the set before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kimikit import schema as types
from kimikit.errors import BadInput, nearest
from kimikit.evals.judging import Grader
from kimikit.evals.scorers import (
    Embed,
    Scorer,
    as_read,
    as_text,
    choice,
    code_passes,
    exact,
    includes,
    json_schema,
    number,
    regex,
    similarity,
)
from kimikit.evals.task import MOST_LABELS, Task
from kimikit.json_values import is_number, short
from kimikit.sweeps.judge import callable_with_both
from kimikit.tools import checks

Metrics = str | Sequence[str | Scorer | Grader] | Mapping[str, str | Scorer | Grader]
"""Names of scorers, or scorers by names of one's own; the first says what is right."""

SHOWN = {"similarity": "similar"}
"""What a scorer's figure is called where its own name is another figure's."""


def scorers_of(
    given: Metrics | None, task: Task, *, embed: Embed | None = None
) -> dict[str, Scorer | Grader]:
    """Return the scorers that a user named, each as ``fn(reply, truth)``.

    Args:
        given: A name, a list or a dict of names and functions; ``None`` for what the
            task says, or for its own reading of an answer.
        task: The labelled set, which tells labels and types.
        embed: From texts to vectors, where the host has that.

    Raises:
        BadInput: If a name is unknown, or a scorer cannot judge this set.
        MissingDependency: If a scorer needs a package that is not there.
    """
    given = task.metrics if given is None else given
    if given is None:
        return {"right": partial(as_read, task=task)}
    named = by_name(given)
    made: dict[str, Scorer | Grader] = {}
    for name, one in named.items():
        if isinstance(one, Grader):
            made[name] = one
        elif isinstance(one, str):
            made[name] = _BY_NAME[one](task, embed)
        elif callable(one):
            made[name] = callable_with_both(name, one, "truth")
        else:
            raise BadInput(
                f"metrics[{name!r}] is {short(one)}.",
                f"Give a function of a reply and the truth, or one of {NAMES}.",
            )
    return made


def by_name(given: Any) -> dict[str, Any]:
    """Return metrics by their names, each as it was given; names are known ones.

    Raises:
        BadInput: If it is neither a name, a list nor a dict, or a name is unknown.
    """
    if isinstance(given, Mapping):
        named = {str(name): one for name, one in given.items()}
    else:
        some = [given] if isinstance(given, str) or callable(given) else given
        if not isinstance(some, list | tuple):
            raise BadInput(
                f"metrics is {short(given)}.",
                f"Give names such as ['exact'], of {NAMES}, or a dict of functions.",
            )
        names = [one if isinstance(one, str) else _title(one) for one in some]
        named = dict(zip((SHOWN.get(n, n) for n in names), some, strict=True))
        if len(named) < len(some):
            raise BadInput("Two metrics have one name.", "Name them: {'name': fn}.")
    if not named:
        raise BadInput("metrics is empty.", f"Give one of {NAMES}, or leave it out.")
    for one in named.values():
        if isinstance(one, str) and one not in _BY_NAME:
            raise BadInput(
                f"There is no metric {one!r}.{nearest(one, _BY_NAME)}",
                f"Give one of {NAMES}, or a function.",
            )
    return named


def _title(function: Any) -> str:
    inner = getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _regex(task: Task, _: Embed | None) -> Scorer:
    for truth in task.truths:
        try:
            checks.matches(truth, "")
        except (ValueError, TypeError) as exc:
            raise BadInput(
                f"The metric 'regex' cannot use the right answer {short(truth)}.",
                "Give patterns without look-aheads and back-references as answers.",
            ) from exc
    return regex


def _choice(task: Task, _: Embed | None) -> Scorer:
    labels = sorted({as_text(truth) for truth in task.truths})
    if len(labels) > MOST_LABELS or len(labels) < 2:
        raise BadInput(
            f"The set has {len(labels)} different answers, which are no labels.",
            f"Use 2 to {MOST_LABELS} labels, or partial(choice, labels=[...]).",
        )
    return partial(choice, labels=labels)


def _code_passes(task: Task, _: Embed | None) -> Scorer:
    from kimikit.tools.sandbox import Sandbox

    Sandbox()  # is it installed?

    def text(truth: Any) -> bool:
        return isinstance(truth, str)

    return _wanting("code_passes", task, code_passes, text, "tests, which are texts")


def _similarity(_: Task, embed: Embed | None) -> Scorer:
    if embed is None:
        raise BadInput(
            "The metric 'similarity' needs what makes vectors of texts.",
            "Give embed=fn, which takes a list of texts; the local host has its own.",
        )
    return partial(similarity, embed=embed)


def _wanting(
    name: str, task: Task, scorer: Scorer, fits: Callable[[Any], bool], kind: str
) -> Scorer:
    for truth in task.truths:
        if not fits(truth):
            raise BadInput(
                f"The metric {name!r} wants {kind} as right answers, and one is "
                f"{short(truth)}.",
                f"Change the answers, or take another of {NAMES}.",
            )
    return scorer


_BY_NAME: dict[str, Callable[[Task, Embed | None], Scorer | Grader]] = {
    "exact": lambda *_: exact,
    "includes": lambda *_: includes,
    "regex": _regex,
    "number": lambda task, _: _wanting("number", task, number, is_number, "numbers"),
    "choice": _choice,
    "json_schema": lambda task, _: partial(json_schema, schema=types.of(task.hint)),
    "code_passes": _code_passes,
    "similarity": _similarity,
    "judge": lambda *_: Grader(),
}
NAMES = ", ".join(_BY_NAME)
"""All names of scorers, for a sentence."""
