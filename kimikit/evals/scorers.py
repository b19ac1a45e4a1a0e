"""Scorers: when an answer is right, by name or as a function of answer and truth.

A scorer is ``fn(reply, truth)``, which returns true or false, or a number, or ``None``
where it cannot tell. ``lab`` and ``sweep`` take the same names.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kimikit import schema as types
from kimikit.errors import BadInput, nearest
from kimikit.evals.rows import question
from kimikit.evals.task import MOST_LABELS, Task, is_number, is_right, near
from kimikit.plain import plain, short
from kimikit.prompting.answers import last_number, one_of
from kimikit.prompting.extract import find_fitting
from kimikit.prompting.numbers import numbers
from kimikit.sweeps.judge import callable_with_both
from kimikit.tools import checks
from kimikit.types import Reply

Score = float | bool | None
Scorer = Callable[..., Score]
"""``fn(reply, truth)``: true, false or a number; ``None`` where it cannot tell."""

Embed = Callable[[list[str]], Any]
"""From texts to vectors, one row per text."""

_ROUND = " \t\n.,!?;:\"'*`"


def said(reply: Reply) -> str:
    """Return what an answer says: its text, or the value that was read from it."""
    value = reply.text if reply.parsed is None else reply.parsed
    return value if isinstance(value, str) else as_text(value)


def as_text(value: Any) -> str:
    """Return a right answer as a model would write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return question(value)


def exact(reply: Reply, truth: Any) -> bool:
    """Whether the answer is the right one and nothing else; case does not count.

    Marks around it and a full stop do not either.

    Example:
        >>> [exact(Reply(text=text), "paris") for text in ("**Paris**.", "In Paris.")]
        [True, False]
    """
    if reply.parsed is not None and is_right(reply.parsed, truth):
        return True
    return is_right(said(reply).strip(_ROUND), as_text(truth).strip(_ROUND))


def includes(reply: Reply, truth: Any) -> bool:
    """Whether the right answer stands in the answer, as words of its own.

    Example:
        >>> reply = Reply(text="It is 1,000 km to Paris.")
        >>> includes(reply, "paris"), includes(reply, 1000), includes(reply, "Par")
        (True, True, False)
    """
    if is_number(truth):
        return any(near(found, truth) for found in numbers(said(reply)))
    return one_of(said(reply), [as_text(truth)]) is not None


def regex(reply: Reply, truth: str) -> bool:
    r"""Whether a pattern, which is the right answer, is found in the answer.

    It is matched in linear time, so there are no look-aheads and back-references.

    Example:
        >>> regex(Reply(text="2026-11-29"), r"\d{4}-\d{2}-\d{2}")
        True
    """
    return checks.matches(truth, said(reply))


def number(reply: Reply, truth: float, *, tolerance: float = 1e-6) -> bool:
    """Whether the number that an answer ends with is the right one.

    Args:
        reply: The answer.
        truth: The right number.
        tolerance: How far it may be off, as a share of the right one.

    Example:
        >>> number(Reply(text="3 times 4 is 12."), 12), number(Reply(text="No."), 12)
        (True, False)
    """
    found = last_number(said(reply))
    return found is not None and near(found, truth, tolerance)


def choice(reply: Reply, truth: Any, *, labels: Sequence[Any]) -> bool:
    """Whether the label that an answer names is the right one.

    Args:
        reply: The answer.
        truth: The right label.
        labels: All labels there are; by name they are the set's right answers.

    Example:
        >>> reply = Reply(text="It is not bad but good.")
        >>> choice(reply, "good", labels=["good", "bad"])
        True
    """
    found = one_of(said(reply), labels)
    return found is not None and is_right(found, as_text(truth))


def json_schema(reply: Reply, truth: Any, *, schema: Mapping[str, Any]) -> bool:
    """Whether the answer holds JSON that fits a schema, whatever it says.

    Args:
        reply: The answer.
        truth: The right answer, which does not count.
        schema: The JSON Schema; by name it is that of the set's right answers.

    Example:
        >>> schema = {"type": "object", "required": ["city"]}
        >>> json_schema(Reply(text='{"city": "Rome"}'), None, schema=schema)
        True
    """
    checker = checks.validator(schema)

    def fits(value: Any) -> bool:
        if checks.problems(checker, value):
            raise ValueError("it does not fit")
        return True

    try:
        if reply.parsed is not None:
            return fits(plain(reply.parsed))
        return find_fitting(reply.text, fits)[0]
    except (ValueError, RecursionError):
        return False


def code_passes(reply: Reply, truth: str, *, seconds: float = 5.0) -> bool:
    r"""Whether the answer's code passes tests, which are the right answer.

    Both run in ``pydantic-monty``, out of reach of this machine.

    Args:
        reply: The answer, whose blocks of Python count, or all of it without any.
        truth: Python that raises where the code is wrong: ``assert f(2) == 4``.
        seconds: How long they may run.

    Example:
        >>> reply = Reply(text="```python\ndef f(x):\n    return 2 * x\n```")
        >>> [code_passes(reply, f"assert f(2) == {four}") for four in (4, 5)]
        [True, False]
    """
    from kimikit.tools.sandbox import Limits, Sandbox

    python = [b.text for b in reply.code if b.language in ("", "py", "python")]
    blocks = python or [reply.text]
    mark = f"passed-{secrets.token_hex(8)}"  # what is printed by no other code
    code = "\n".join([*blocks, truth, f"print({mark!r})"])
    return Sandbox(Limits(seconds)).run(code).endswith(mark)


def similarity(
    reply: Reply, truth: Any, *, embed: Embed, at_least: float | None = 0.85
) -> Score:
    """Whether the answer means about the same as the right one.

    Args:
        reply: The answer.
        truth: The right answer.
        embed: From texts to vectors; by name it is the host's, where it has one.
        at_least: The cosine from which it is right; ``None`` returns the cosine.

    Example:
        >>> letters = lambda texts: [[t.count(c) for c in "abc"] for t in texts]
        >>> similarity(Reply(text="abc"), "cab", embed=letters)
        True
    """
    import numpy as np

    from kimikit.sweeps.metrics import cosine

    vectors = np.asarray(embed([said(reply), as_text(truth)]), dtype=float)
    near = float(cosine(vectors)[0, 1])
    return near if at_least is None else near >= at_least


Metrics = str | Sequence["str | Scorer"] | Mapping[str, "str | Scorer"]
"""Names of scorers, or scorers by names of one's own; the first says what is right."""

SHOWN = {"similarity": "similar"}
"""What a scorer's figure is called where its own name is another figure's."""


def scorers_of(
    given: Metrics | None, task: Task, *, embed: Embed | None = None
) -> dict[str, Scorer]:
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
    made = {}
    for name, one in named.items():
        if isinstance(one, str):
            made[name] = _BY_NAME[one](task, embed)
        elif callable(one):
            made[name] = callable_with_both(name, one, "truth")
        else:
            raise BadInput(
                f"metrics[{name!r}] is {short(one)}.",
                f"Give a function of a reply and the truth, or one of {NAMES}.",
            )
    return made


def known(name: str) -> str:
    """Return the name of a scorer.

    Raises:
        BadInput: If there is none of this name.
    """
    if name not in _BY_NAME:
        raise BadInput(
            f"There is no metric {name!r}.{nearest(name, _BY_NAME)}",
            f"Give one of {NAMES}, or a function.",
        )
    return name


def as_read(reply: Reply, truth: Any, *, task: Task) -> bool:
    """Whether the answer, found by the type of all right ones, is the right one."""
    return is_right(answer_of(reply, task), truth)


def answer_of(reply: Reply, task: Task) -> Any:
    """Return the answer in a reply, ``None`` where there is none of the task's type."""
    return task.extract(reply.text) if reply.parsed is None else reply.parsed


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
        if isinstance(one, str):
            known(one)
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


def _number(task: Task, _: Embed | None) -> Scorer:
    return _wanting("number", task, number, is_number, "numbers")


def _choice(task: Task, _: Embed | None) -> Scorer:
    labels = sorted({as_text(truth) for truth in task.truths})
    if len(labels) > MOST_LABELS or len(labels) < 2:
        raise BadInput(
            f"The set has {len(labels)} different answers, which are no labels.",
            f"Use 2 to {MOST_LABELS} labels, or partial(choice, labels=[...]).",
        )
    return partial(choice, labels=labels)


def _json_schema(task: Task, _: Embed | None) -> Scorer:
    return partial(json_schema, schema=types.of(task.hint))


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


_BY_NAME: dict[str, Callable[[Task, Embed | None], Scorer]] = {
    "exact": lambda *_: exact,
    "includes": lambda *_: includes,
    "regex": _regex,
    "number": _number,
    "choice": _choice,
    "json_schema": _json_schema,
    "code_passes": _code_passes,
    "similarity": _similarity,
}
NAMES = ", ".join(_BY_NAME)
"""All names of scorers, for a sentence."""
