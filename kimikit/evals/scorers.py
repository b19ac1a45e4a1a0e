"""Decide whether an answer is right, by a scorer's name or by a function.

A scorer is ``fn(reply, truth)``, which returns true or false, or a number, or ``None``
where it cannot tell. ``lab`` and ``sweep`` take the same names.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kimikit.evals.rows import question
from kimikit.evals.task import Task, is_right, near
from kimikit.json_values import is_number, plain
from kimikit.prompting.answers import last_number, one_of
from kimikit.prompting.extract import find_fitting
from kimikit.prompting.numbers import numbers
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
    """Tell whether the answer is the right one and nothing else; case does not count.

    Marks around it and a full stop do not either.

    Example:
        >>> [exact(Reply(text=text), "paris") for text in ("**Paris**.", "In Paris.")]
        [True, False]
    """
    if reply.parsed is not None and is_right(reply.parsed, truth):
        return True
    return is_right(said(reply).strip(_ROUND), as_text(truth).strip(_ROUND))


def includes(reply: Reply, truth: Any) -> bool:
    """Tell whether the right answer stands in the answer, as words of its own.

    Example:
        >>> reply = Reply(text="It is 1,000 km to Paris.")
        >>> includes(reply, "paris"), includes(reply, 1000), includes(reply, "Par")
        (True, True, False)
    """
    if is_number(truth):
        return any(near(found, truth) for found in numbers(said(reply)))
    return one_of(said(reply), [as_text(truth)]) is not None


def regex(reply: Reply, truth: str) -> bool:
    r"""Tell whether a pattern, which is the right answer, is found in the answer.

    It is matched in linear time, so there are no look-aheads and back-references.

    Example:
        >>> regex(Reply(text="2026-11-29"), r"\d{4}-\d{2}-\d{2}")
        True
    """
    return checks.matches(truth, said(reply))


def number(reply: Reply, truth: float, *, tolerance: float = 1e-6) -> bool:
    """Tell whether the number that an answer ends with is the right one.

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
    """Tell whether the label that an answer names is the right one.

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
    """Tell whether the answer holds JSON that fits a schema, whatever it says.

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
    r"""Tell whether the answer's code passes tests, which are the right answer.

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
    """Tell whether the answer means about the same as the right one.

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


def as_read(reply: Reply, truth: Any, *, task: Task) -> bool:
    """Tell whether the answer is right, read by the type of all right ones."""
    answer = answer_of(reply, task)
    # A set's None is said as JSON has it; without an answer nothing is right.
    return answer is not None and is_right(answer, "null" if truth is None else truth)


def answer_of(reply: Reply, task: Task) -> Any:
    """Return the answer in a reply, ``None`` where there is none of the task's type."""
    return task.extract(reply.text) if reply.parsed is None else reply.parsed
