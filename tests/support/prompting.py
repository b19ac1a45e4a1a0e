"""A chat client that says what a test wants, and remembers what it was asked."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.types import Delta, Reply, Usage

PRICE = Decimal("0.001")


class FakeClient:
    """Answers from a list, one after the other, or by a function of the messages.

    An answer is a text, a whole ``Reply`` or an exception to raise. Like the real
    client it passes each piece to ``watch`` and takes an interrupt as Stop.
    """

    def __init__(self, answers: Any, *, cost: Decimal | None = PRICE) -> None:
        self.calls: list[dict[str, Any]] = []
        self._answers = answers if callable(answers) else iter(answers)
        self._cost = cost
        self._lock = threading.Lock()

    def chat(
        self, messages: Any, *, watch: Any = None, meta: Any = None, **params: Any
    ) -> Reply:
        with self._lock:
            self.calls.append({"messages": messages, "meta": meta, **params})
            say = (
                self._answers(messages, params)
                if callable(self._answers)
                else next(self._answers)
            )
        if isinstance(say, BaseException):
            raise say
        if isinstance(say, Reply):
            return say
        reply = answer(say, cost=self._cost)
        try:
            if watch is not None:
                for word in say.split(" "):
                    watch(Delta(text=word))
        except KeyboardInterrupt:
            return msgspec.structs.replace(reply, text="", partial=True)
        return reply

    @property
    def texts(self) -> list[str]:
        """The last message of each call."""
        return [last(call["messages"]) for call in self.calls]


def answer(text: str, *, cost: Decimal | None = PRICE, **fields: Any) -> Reply:
    """Return a reply as a host would send it: 10 tokens asked, one a word answered."""
    values: dict[str, Any] = {
        "usage": Usage(10, len(text.split())),
        "cost": cost,
        "finish_reason": "stop",
        "model": "fake-1",
        "host": "fake",
        "duration_s": 0.5,
        "first_token_s": 0.1,
    }
    return Reply(text=text, **{**values, **fields})


def press_stop(watch: Any) -> Reply:
    """Interrupt the kernel as Stop does, and answer as a client that is stopped."""
    _thread.interrupt_main()
    try:
        for _ in range(20_000):  # not for ever, where interrupts are ignored
            watch(Delta(text="and "))
            time.sleep(0.001)
    except KeyboardInterrupt:
        pass
    return answer("", partial=True)


def last(messages: Any) -> str:
    """Return the text of the last message."""
    return messages if isinstance(messages, str) else messages[-1]["content"]


class FakeStore:
    """An ``AnswerStore`` over a dict, filled from a client's calls."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}

    def answers(self, key_prefix: str) -> Mapping[str, Reply]:
        return {k: r for k, r in self.replies.items() if k.startswith(key_prefix)}

    def keep(self, chat: Callable[..., Reply]) -> Callable[..., Reply]:
        """Return ``chat`` with its answers kept by their keys, as the ledger does."""

        def kept(messages: Any, *, meta: Any = None, **params: Any) -> Reply:
            reply = chat(messages, meta=meta, **params)
            if meta and "key" in meta:
                self.replies[meta["key"]] = reply
            return reply

        return kept
