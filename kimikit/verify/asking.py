"""Ask one host for a check, and keep its facts and what came of each question."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kimikit import errors
from kimikit.errors import KimiError
from kimikit.money.tokens import Encode, is_k2
from kimikit.runner import RunnerClient, Stopped
from kimikit.types import Delta, Host, Reply, ToolCall, Wait
from kimikit.wire.hosts import model_facts

OF_ALL = (
    errors.AuthenticationFailed,
    errors.BudgetExceeded,
    errors.LocalHostError,
    errors.MissingKey,
    errors.ModelNotFound,
    errors.NoBalance,
)
"""Errors that every other question would meet too."""

REFUSALS = errors.BadRequest, errors.BadInput, errors.NotSupported
"""Errors that say no to what was asked; a pinned parameter is one."""

THINKING_ROOM = 4096
"""Tokens for an answer of a model that thinks first."""

MOST_SAID = 1_000_000
"""Characters of an answer after which it is broken off: none was asked for so many."""

_ALWAYS: dict[str, Any] = dict.fromkeys(
    ("temperature", "top_p", "seed", "n", "stop", "logprobs", "top_logprobs", "tools")
)
"""What no question has unless its check gives it: defaults of a client would count."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of who is asked.

    Attributes:
        label: What the host is called in the report.
        model: The model that is asked for.
        host: The host, ``None`` where a client does not tell.
        window: Context window in tokens, 0 where it is not known.
        encode: Kimi K2's tokenizer, ``None`` where it is not to be had.
    """

    label: str
    model: str
    host: Host | None = None
    window: int = 0
    encode: Encode | None = None

    @property
    def is_kimi(self) -> bool:
        """Whether the model says by its name that it is a Kimi."""
        return "kimi" in self.model.lower()

    @property
    def thinks(self) -> bool:
        """Whether it is a Kimi that thinks before it answers."""
        return self.is_kimi and not is_k2(self.model)

    @property
    def hottest(self) -> float:
        """The highest temperature that the host takes."""
        return self.host.temperature_range[1] if self.host else 2.0

    @property
    def calm(self) -> float | None:
        """The temperature for questions of fact, ``None`` where the host pins it."""
        if self.host is None:
            return 0.0
        fixed = model_facts(self.host, self.model).fixed_temperature
        return 0.0 if fixed is None else None


class Came(NamedTuple):
    """What came of a question: an answer, or an error.

    Attributes:
        reply: The answer.
        error: What came instead.
        pieces: Of each piece of the stream when it came and its characters; none where
            the answer was paid for before.
    """

    reply: Reply | None = None
    error: KimiError | None = None
    pieces: tuple[tuple[float, int], ...] = ()

    @property
    def said(self) -> str:
        """What the model wrote, thoughts first."""
        return "" if self.reply is None else self.reply.reasoning + self.reply.text

    @property
    def text(self) -> str:
        """The visible answer."""
        return "" if self.reply is None else self.reply.text.strip()

    @property
    def cut(self) -> bool:
        """Whether it ended at ``max_tokens``."""
        return self.reply is not None and self.reply.finish_reason == "length"

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that it asks for."""
        return () if self.reply is None else self.reply.tool_calls

    @property
    def refused(self) -> bool:
        """Whether the host said no to what was asked."""
        return isinstance(self.error, REFUSALS)

    @property
    def why(self) -> str:
        """What failed, in the host's own words where it has some."""
        if self.error is None:
            return ""
        return getattr(self.error, "host_message", "") or self.error.what


class Asker:
    """Asks one host for one check, and keeps what came.

    Args:
        client: Answers.
        facts: Of the host.

    Attributes:
        facts: The same.
        came: What came of each question, in order.
    """

    planning = False

    def __init__(self, client: RunnerClient, facts: Facts) -> None:
        self._client, self.facts = client, facts
        self.came: list[Came] = []

    def room(self, tokens: int) -> int:
        """Return ``max_tokens`` that leaves so many for the answer itself."""
        return tokens + (THINKING_ROOM if self.facts.thinks else 0)

    def __call__(self, messages: Any, **params: Any) -> Came:
        """Ask, and return what came.

        Raises:
            Stopped: If no more is to be asked, or Stop broke the answer off.
            KimiError: What every other question would meet too.
        """
        came = self._ask(messages, {**_ALWAYS, "model": self.facts.model, **params})
        self.came.append(came)
        return came

    def fact(self, messages: Any, tokens: int, **params: Any) -> Came:
        """Ask for a fact: as calmly as the host lets one, with room to think."""
        calm = self.facts.calm
        params = {"max_tokens": self.room(tokens), "temperature": calm, **params}
        came = self(messages, **params)
        if isinstance(came.error, errors.FixedTemperature) and calm is not None:
            return self(messages, **{**params, "temperature": None})
        return came

    def times(self, n: int, messages: Any, **params: Any) -> list[Came]:
        """Ask so often, or until the host refuses."""
        found: list[Came] = []
        for _ in range(n):
            found.append(self(messages, **params))
            if found[-1].refused:
                break
        return found

    def _ask(self, messages: Any, params: dict[str, Any]) -> Came:
        pieces: list[tuple[float, int]] = []
        said = 0

        def watch(step: Delta | Wait) -> None:
            nonlocal said
            if isinstance(step, Delta) and (size := len(step.text + step.reasoning)):
                pieces.append((time.perf_counter(), size))
                said += size
            if said > MOST_SAID:
                raise errors.StreamError(
                    f"The answer is of more than {MOST_SAID:,} characters.",
                    "Ask another host.",
                    reply=Reply(),
                )

        try:
            # By its label too: a host that is asked twice has answers of its own.
            meta = {"as": self.facts.label}
            reply = self._client.chat(messages, watch=watch, meta=meta, **params)
        except OF_ALL:
            raise
        except KimiError as error:
            return Came(error=error)
        if reply.partial:
            raise Stopped
        return Came(reply, pieces=tuple(pieces))


class Planner(Asker):
    """Asks nothing: it keeps what would be asked, with every turn of it.

    Attributes:
        asked: Messages and parameters of each question.
    """

    planning = True

    def __init__(self, facts: Facts) -> None:
        self.facts, self.came = facts, []
        self.asked: list[tuple[Any, dict[str, Any]]] = []

    def _ask(self, messages: Any, params: dict[str, Any]) -> Came:
        self.asked.append((messages, params))
        offered: Sequence[Mapping[str, Any]] = params.get("tools") or ()
        names = [each["function"]["name"] for each in offered]
        calls = tuple(ToolCall(f"functions.{name}:0", name) for name in names[:1])
        return Came(Reply(text="-", tool_calls=calls, finish_reason="stop"))
