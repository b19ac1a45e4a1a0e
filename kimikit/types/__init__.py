"""Define the values that travel between the packages, and Protocols to join them.

Enter at ``Reply``; what it can do is in ``inspectable``, how it was asked in ``sent``.
Values are frozen ``msgspec.Struct``s: slotted like dataclasses, seven times cheaper to
build (a stream builds one ``Delta`` per chunk), and encodable as they are for the
ledger and for saved sweeps. Money is ``Decimal`` in US dollars, time is seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, call_text
from kimikit.types.host import Host, HostModel
from kimikit.types.inspectable import Inspectable
from kimikit.types.pickling import Travels
from kimikit.types.sent import Sent
from kimikit.usage import Price, Usage, is_usd

__all__ = [
    "AnswerStore", "AsyncChatClient", "Call", "CallPart", "ChatClient", "Delta", "Host",
    "HostModel", "Message", "Observer", "Price", "Pricer", "Reply", "ToolCall", "Usage",
    "Wait", "Watch",
]  # fmt: skip


SHORTEST_S = 0.02
"""Seconds below which a speed would be an accident: the answer came in one piece."""


GO_ON = "Cut at max_tokens: reply.continue_() goes on from here."
"""What a view offers below an answer that was cut."""

BEGIN = 80
"""Characters of an answer that its ``repr`` begins with."""


class ToolCall(Travels, msgspec.Struct, frozen=True):
    """One call that the model asks for.

    Attributes:
        id: The id to answer it by, ``functions.name:index`` for Kimi.
        name: Name of the function.
        arguments: The arguments as JSON text, ``{}`` for none.
        host_id: The id as the host sent it, where that differs.

    Example:
        >>> call = ToolCall("functions.weather:0", "weather", '{"city": "Lagos"}')
        >>> call.parsed
        {'city': 'Lagos'}
    """

    id: str
    name: str
    arguments: str = "{}"
    host_id: str = ""

    @property
    def parsed(self) -> Any:
        """The arguments as Python values.

        Raises:
            msgspec.DecodeError: If ``arguments`` is not JSON, or nested too deep.
        """
        try:
            return msgspec.json.decode(self.arguments or "{}")
        except RecursionError as exc:
            raise msgspec.DecodeError("The arguments are nested too deep.") from exc

    def to_dict(self) -> dict[str, Any]:
        """Return the entry for an assistant message's ``tool_calls``."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation; plain dicts are taken everywhere too.

    Example:
        >>> kimi.chat([Message("user", "What is the capital of Germany?")]).text
        'The capital of Germany is Berlin.'
        >>> Message("user", "Hello").to_dict()
        {'role': 'user', 'content': 'Hello'}
    """

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning_content: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the message as the wire has it, absent parts left out."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            out["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        for key in ("tool_call_id", "name", "reasoning_content"):
            if getattr(self, key) is not None:
                out[key] = getattr(self, key)
        return out


class CallPart(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call as it streams.

    Attributes:
        index: Position of the call in this answer.
        name: The name, once it is known, on every part.
        arguments: The new piece of JSON text.
    """

    index: int
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, gc=False):
    """One step of a stream; printing it prints its text.

    Attributes:
        text: New visible text.
        reasoning: New thinking.
        calls: New pieces of tool calls.
        finish_reason: Set on the step that ends the answer.
        choice: Which of ``n`` answers this belongs to.

    Example:
        >>> text = ""
        >>> for delta in kimi.stream("What is the capital of Germany?"):
        ...     text += delta.text
        >>> text
        'The capital of Germany is Berlin.'
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallPart, ...] = ()
    finish_reason: str | None = None
    choice: int = 0

    def __str__(self) -> str:
        return html.clean(self.text)


class Reply(
    Travels, Inspectable, Renderable, msgspec.Struct, frozen=True, kw_only=True
):
    """One answer, whole or as far as it came; its ``str()`` is its text.

    Attributes:
        text: The visible answer.
        reasoning: What the model thought, where the host shows it.
        tool_calls: The calls it asks for, in order.
        finish_reason: Why it ended, in OpenAI's word or else the host's.
        usage: Tokens; ``estimated`` when the host sent none.
        cost: US dollars, or ``None`` when no price is known. Never 0 for unknown.
        model: The model that the host says answered.
        host: Name of the host profile.
        id: The host's id of the answer.
        first_token_s: Seconds from sending to the first token.
        duration_s: Seconds from sending to the end.
        parsed: The value made by ``into=``.
        partial: Whether the user stopped it.
        truncated: Whether the stream ended without a finish, or the host broke it off.
        stand_in: Whether the local stand-in answered instead of Kimi.
        replayed: What a view says of a recorded answer, such as ``replayed, recorded
            2026-11-28`` or ``scripted, not a model``; empty for a live one.
        notes: What was repaired or looked odd, one sentence each.
        created: Unix time at which it was asked.
        alternatives: The other answers where ``n`` was above 1.
        raw: The host's answer as one ``chat.completion`` object.
        sent: How it was asked, which ``request``, ``curl`` and ``python`` tell.

    Example:
        >>> reply = kimi.chat("What is the capital of Germany?")
        >>> reply.text, reply.finish_reason, reply.usage.completion_tokens
        ('The capital of Germany is Berlin.', 'stop', 8)
        >>> reply
        'The capital of Germany is Berlin.' · local · ... · local stand-in, not Kimi
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    cost: Decimal | None = None
    model: str = ""
    host: str = ""
    id: str = ""
    first_token_s: float | None = None
    duration_s: float = 0.0
    parsed: Any = None
    partial: bool = False
    truncated: bool = False
    stand_in: bool = False
    notes: tuple[str, ...] = ()
    created: float = 0.0
    alternatives: tuple[Reply, ...] = ()
    raw: dict[str, Any] = {}
    replayed: str = ""
    sent: Sent = msgspec.field(default_factory=Sent)

    def __post_init__(self) -> None:
        if self.cost is not None and not is_usd(self.cost):
            # An odd figure costs nobody the answer: it is unknown.
            msgspec.structs.force_setattr(self, "cost", None)

    @property
    def tokens_per_s(self) -> float | None:
        """Completion tokens per second after the first token, ``None`` if too short."""
        spent = self.duration_s - (self.first_token_s or 0.0)
        tokens = self.usage.completion_tokens - 1
        return tokens / spent if spent > SHORTEST_S and tokens > 0 else None

    @property
    def message(self) -> dict[str, Any]:
        """The dict to append to a history.

        A message with calls carries ``reasoning_content`` even when empty, and no
        blank ``content``: Moonshot refuses the history otherwise.
        """
        out: dict[str, Any] = {"role": "assistant"}
        if self.text or not self.tool_calls:
            out["content"] = self.text
        if self.tool_calls:
            out["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        if self.reasoning or self.tool_calls:
            out["reasoning_content"] = self.reasoning
        return out

    def footer(
        self,
        *,
        session_usd: Decimal | None = None,
        at_most_usd: Decimal | None = None,
    ) -> str:
        """Return the one line that says where this came from and what it cost.

        Args:
            session_usd: What the session has cost so far, to be added.
            at_most_usd: The most that a stopped answer can cost: hosts may charge for
                more than had arrived, so its cost is a range.
        """
        session = "" if session_usd is None else html.money(session_usd)
        return footer([self], session_cost=session, at_most_usd=at_most_usd)

    def __str__(self) -> str:
        return html.clean(self.text)

    def __repr__(self) -> str:
        """Return one line: how the answer begins, and where it came from."""
        begin = html.one_line(self.text[: 2 * BEGIN], BEGIN)
        return html.footer_line([repr(begin) if begin else "", self.footer()])

    def below(self) -> list[html.Cell]:
        """Return what a view shows below the text: calls, other answers, notes."""
        calls = [call_text(call.name, call.arguments) for call in self.tool_calls]
        others = enumerate(self.alternatives, 2)
        count = len(self.alternatives) + 1
        notes = [*self.notes, *([GO_ON] if self._can_go_on else [])]
        folds = [
            html.fold(f"answer {number} of {count}", html.pre(other.text))
            for number, other in others
        ]
        return [
            *(html.Cell(call, html.pre(call)) for call in calls),
            *(html.Cell("", fold) for fold in folds),
            *(html.Cell(note, html.footer(note)) for note in notes),
        ]

    @property
    def _can_go_on(self) -> bool:
        cut = self.finish_reason == "length" and self.sent.host is not None
        return cut and bool(self.text.strip()) and not self.tool_calls

    def _parts(self) -> tuple[str, list[html.Cell], str]:
        thought = html.fold("thinking", html.pre(self.reasoning))
        panes = [html.Cell("", thought)] if self.reasoning else []
        return self.text, [*panes, *self.below()], self.footer()


class Call(msgspec.Struct, kw_only=True, eq=False):
    """One request on its way, as observers see it.

    Attributes:
        id: Unique for this call.
        endpoint: ``chat``, ``complete``, ``embed`` and so on.
        host: The host it goes to.
        model: The model it asks for.
        body: The JSON as it is sent; never holds a key.
        created: Unix time.
        meta: What the caller wants remembered with it, never sent.
        prefill: How the answer begins; hosts send only what comes after it.
        arrived: Gives what has arrived of the answer, in pieces that only grow: no
            answer has more tokens than they have bytes.
        replayed: What every view says of a recorded answer; empty for a live one.
        sent: The same for the reply, to be looked at and asked again.
        grouped: Whether who makes it calls ``flush()`` of observers that have it before
            it is sent and after its answer, so that they may write until then.
    """

    id: str
    endpoint: str
    host: Host
    model: str
    body: dict[str, Any]
    created: float
    meta: dict[str, Any] = {}
    prefill: str = ""
    arrived: Callable[[], Sequence[bytes | bytearray]] = tuple
    replayed: str = ""
    sent: Sent = msgspec.field(default_factory=Sent)
    grouped: bool = False


class Wait(msgspec.Struct, frozen=True):
    """A pause before a request is tried again."""

    seconds: float
    reason: str
    attempt: int


class Observer(Protocol):
    """What the ledger and budgets implement to watch a client.

    Methods run in the thread or task that makes the call and must be quick.
    """

    def opened(self, call: Call) -> None:
        """Note a call before it is sent; raise a ``KimiError`` to refuse it."""

    def progressed(self, call: Call, usage: Usage) -> None:
        """Note the estimated usage so far, a few times per second; raise to stop.

        Observers that have ``lost(call, error)`` are also told of a request that was
        sent and will be sent again, so that the host may bill it twice.
        """

    def closed(
        self, call: Call, reply: Reply | None, error: BaseException | None
    ) -> None:
        """Note the end: a reply, an error, or both for a broken stream."""


Watch = Callable[["Delta | Wait"], None]
"""A live view: called for each step of an answer and each wait before it."""

Pricer = Callable[[str, str, Usage, float], "Decimal | None"]
"""From host name, model, usage and Unix time to a cost in US dollars."""


class ChatClient(Protocol):
    """All that tools, sweeps and patterns ask of a client; a fake needs one method."""

    @property
    def chat(self) -> Callable[..., Reply]:
        """Answer messages; ``watch=`` (a ``Watch``) and ``meta=`` may be given."""


class AsyncChatClient(Protocol):
    """All that an async client is asked for, its answers to be awaited."""

    @property
    def chat(self) -> Callable[..., Awaitable[Reply]]:
        """Answer messages; ``watch=`` (a ``Watch``) and ``meta=`` may be given."""


class AnswerStore(Protocol):
    """Where paid answers are found again; the ledger is one."""

    def answers(self, key_prefix: str) -> Mapping[str, Reply]:
        """Return complete replies by the ``meta["key"]`` they were asked with."""

    def failed(self, key_prefix: str) -> Collection[str]:
        """Return the keys that were asked and have no complete reply."""
