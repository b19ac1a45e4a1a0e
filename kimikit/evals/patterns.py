"""Define the ways to ask a question of a labelled set that a lab compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kimikit.evals.task import Task
from kimikit.evals.vote import counted
from kimikit.prompting.few_shot import few_shot
from kimikit.prompting.structured import structured, together
from kimikit.runner import Stopped
from kimikit.types import ChatClient, Reply

VOTES = 5

Pattern = Callable[..., Reply]
"""``pattern(client, task, question, **params)``; its reply's ``parsed`` counts as the
answer, or else what ``task.extract`` finds in its text."""


def zero_shot(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Ask with the instruction alone."""
    return client.chat(question, system=terse(task), **params)


def as_written(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Ask the question as it is, after the task's instruction if there is one."""
    params = {**({"system": task.instruction} if task.instruction else {}), **params}
    return client.chat(question, **params)


def shown(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Show the task's examples, then ask."""
    messages = few_shot(task.shots, question, instruction=terse(task))
    return client.chat(messages, **params)


def stepwise(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Ask for the way before the answer (Kojima et al. 2022, arXiv 2205.11916)."""
    return client.chat(question, system=_steps(task), **params)


def voted(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Take the majority of five answers made step by step."""
    params = {"system": _steps(task), **params}
    replies: list[Reply] = []
    stopped = None
    for _ in range(VOTES):
        try:
            replies.append(client.chat(question, **params))
        except Stopped as exc:  # a batch asks all at once
            stopped = exc
            continue
        if replies[-1].partial:
            return Reply(partial=True)
    if stopped is not None:
        raise stopped
    won = counted(replies, task.extract)
    return together(replies, text=str(won.answer), parsed=won.answer)


def typed(client: ChatClient, task: Task, question: str, **params: Any) -> Reply:
    """Hold the answer to the JSON Schema of its type."""
    params = {"system": task.instruction, **params}
    return structured(client, question, task.hint, **params)


def terse(task: Task) -> str:
    """Return the instruction, and what an answer shall look like."""
    return f"{task.instruction} Answer with {task.form}, and nothing else."


def _steps(task: Task) -> str:
    line = f"'Answer: ' and {task.form}"
    return f"{task.instruction} Think step by step. End with a line that reads {line}."


PATTERNS: Mapping[str, Pattern] = {
    "zero-shot": zero_shot,
    "few-shot": shown,
    "step by step": stepwise,
    f"vote of {VOTES}": voted,
    "structured": typed,
}
"""What ``lab`` compares when not told otherwise; the first is the baseline."""


class Meter:
    """A chat client that keeps all that its calls took, also those that broke off.

    Args:
        client: The client that asks.

    Attributes:
        paid: What came of every call, whole or not.
    """

    def __init__(self, client: ChatClient) -> None:
        self.paid: list[Reply] = []
        self._asked = client
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        self.host = getattr(client, "host", None)
        self.pricer = getattr(client, "pricer", None)

    def chat(self, messages: Any, **params: Any) -> Reply:
        """Ask, and keep what came."""
        try:
            reply = self._asked.chat(messages, **params)
        except Exception as exc:
            broken = getattr(exc, "reply", None)
            if isinstance(broken, Reply):
                self.paid.append(broken)
            raise
        self.paid.append(reply)
        return reply
