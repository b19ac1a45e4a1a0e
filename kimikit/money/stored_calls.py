"""Read what was asked and answered out of a row of the ledger."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from kimikit.errors import BadInput
from kimikit.types import Host, Reply
from kimikit.types.sent import Again, Sent
from kimikit.wire.hosts import profiles
from kimikit.wire.keys import is_elsewhere

BEGIN_READ = 400
"""Characters of a text that its beginning is taken from."""


class Texts(Protocol):
    """What a row asks of its ledger."""

    @property
    def askers(self) -> Mapping[str, Again]:
        """By a host's name, what asks it again."""

    @property
    def read(
        self,
    ) -> Callable[[str], tuple[dict[str, Any] | None, Reply | None]]:
        """Return the request and the answer of a call as they were stored."""


class StoredCall:
    """What a ``CallRow`` reads from its ledger when it is asked for."""

    __slots__ = ()

    if TYPE_CHECKING:
        id: str
        endpoint: str
        host: str
        error: str | None

    @property
    def _texts(self) -> tuple[dict[str, Any] | None, Reply | None]:
        ledger: Texts | None = self.__dict__.get("ledger")
        return (None, None) if ledger is None else ledger.read(self.id)

    @property
    def request(self) -> dict[str, Any] | None:
        """The JSON that was sent, without keys; ``None`` where texts are not kept."""
        return self._texts[0]

    @property
    def reply(self) -> Reply | None:
        """The answer, ``None`` where there is none or texts are not kept."""
        request, reply = self._texts
        if reply is None or request is None:
            return reply
        return msgspec.structs.replace(reply, sent=self._sent(request, reply))

    @property
    def prompt(self) -> str:
        """How the last message of the request begins."""
        return _prompt(self._texts[0])

    @property
    def answer(self) -> str:
        """How the answer begins, or what went wrong."""
        return _answer(self._texts[1], self.error)

    def beginnings(self) -> tuple[str, str]:
        """Return ``prompt`` and ``answer``, read at once."""
        request, reply = self._texts
        return _prompt(request), _answer(reply, self.error)

    def replay(self, kimi: Any = None, *, show: bool | None = None) -> Reply:
        """Ask the same again, which is paid for again.

        Args:
            kimi: A ``Kimi`` of the same host; without one, one that is open.
            show: ``True`` or ``False`` forces or forbids the display.

        Raises:
            BadInput: If the request is not kept, or is no chat, or nobody can ask.

        Example:
            >>> first = kimi.chat("Name a colour.", temperature=0, max_tokens=8)
            >>> kimi.ledger.calls()[0].replay().text == first.text
            True
        """
        request, reply = self._texts
        if request is None:
            raise BadInput(
                "The request of this call is not kept.",
                "Calls made with KIMIKIT_STORE=full keep theirs.",
            )
        if self.endpoint not in ("chat", "complete"):
            raise BadInput(
                f"This call was one of {self.endpoint}, which is not asked again here.",
                f"Call kimi.{self.endpoint}(...) with what row.request holds.",
            )
        sent = self._sent(request, reply)
        ask = sent.asker(kimi)
        asked, params = sent.same(ask, {})
        found: Reply = ask(asked, of=sent, show=show, **params)
        return found

    def _sent(self, request: dict[str, Any], reply: Reply | None) -> Sent:
        """Return how it was asked, as far as the ledger tells."""
        ledger: Texts | None = self.__dict__.get("ledger")
        again = None if ledger is None else ledger.askers.get(self.host)
        asker = again() if again is not None else None
        open_: Any = getattr(asker, "__self__", None)
        host: Host | None = profiles().get(self.host) if open_ is None else open_.host
        host = host or Host(name=self.host, base_url="")
        messages = request.get("messages") or [{}]
        begin = messages[-1].get("content") if isinstance(messages[-1], dict) else None
        is_prefill = (
            len(messages) > 1
            and messages[-1].get("role") == "assistant"
            and isinstance(begin, str)
            and (reply is None or reply.text.startswith(begin))
        )
        return Sent.of(
            request,
            host,
            endpoint=self.endpoint,
            has_key=bool(host.key_variable) or host.stand_in,
            elsewhere=is_elsewhere(host),
            prefill=str(begin) if is_prefill else "",
            again=None if asker is None else weakref.WeakMethod(asker),
        )


def _prompt(request: dict[str, Any] | None) -> str:
    found = request or {}
    messages = found.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else {}
    said: Any = last.get("content") if isinstance(last, dict) else None
    said = said or found.get("prompt") or found.get("input") or found.get("query")
    if isinstance(said, list):
        texts = [each.get("text") if isinstance(each, dict) else each for each in said]
        said = " ".join(text for text in texts if isinstance(text, str))
    return _begin(said)


def _answer(reply: Reply | None, error: str | None) -> str:
    if reply is None:
        return _begin(error)
    calls = ", ".join(call.name for call in reply.tool_calls)
    return _begin(reply.text) or (f"calls {calls}" if calls else "")


def _begin(text: object) -> str:
    if not isinstance(text, str):
        return ""
    line = " ".join(text[:BEGIN_READ].split())
    return line if len(text) <= BEGIN_READ else f"{line}…"
