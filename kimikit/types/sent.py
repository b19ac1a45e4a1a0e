"""Keep with an answer how it was asked: its request, and who can ask again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from kimikit.errors import BadInput
from kimikit.params import CHAT, COMPLETION, NOT_OF_A_TEXT
from kimikit.types.host import Host

_OF_PREFILL = ("continue_final_message", "add_generation_prompt")
_NO_FIELD = {
    "tools", "timeout", "image", "system", "prefill", "extra_headers", "extra_body",
}  # fmt: skip
"""Parameters that are no field of a request's body, or that are dealt with apart."""

Again = Callable[[], "Callable[..., Any] | None"]
"""Returns what asks a host again, ``None`` once that is gone."""


class Sent(msgspec.Struct, dict=True):
    """How an answer was asked; equal to any other, and stored as nothing.

    An answer that is compared, saved or sent elsewhere is its own content alone, so all
    of this stands beside the fields.

    Attributes:
        host: Where it went; ``None`` where nothing is known.
        endpoint: ``chat`` or ``complete``.
        headers: What was sent beside the usual headers, secrets as ``***``.
        has_key: Whether a key went along.
        elsewhere: Whether the host's name alone does not lead to its address.
        prefill: How the answer was to begin.
        again: Returns what asks this host again.
    """

    host: ClassVar[Host | None] = None
    endpoint: ClassVar[str] = "chat"
    headers: ClassVar[Mapping[str, str]] = {}
    has_key: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    prefill: ClassVar[str] = ""
    again: ClassVar[Again | None] = None
    _body: ClassVar[Mapping[str, Any]] = {}
    _mask: ClassVar[Callable[[str], str] | None] = None
    _real: ClassVar[Mapping[str, Any] | None] = None
    _own: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def of(
        cls,
        body: Mapping[str, Any],
        host: Host | None,
        *,
        endpoint: str = "chat",
        headers: Mapping[str, str] | None = None,
        has_key: bool = False,
        elsewhere: bool = False,
        prefill: str = "",
        mask: Callable[[str], str] | None = None,
        again: Again | None = None,
        real: Mapping[str, Any] | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Return how one call is asked.

        Args:
            body: The JSON of the request.
            host: Where it goes.
            endpoint: ``chat`` or ``complete``.
            headers: What is sent beside the usual headers, without secrets.
            has_key: Whether a key goes along.
            elsewhere: Whether the host's name alone does not lead to its address.
            prefill: How the answer is to begin.
            mask: Takes keys out of a text; the request is shown through it.
            again: Returns what asks this host again.
            real: The JSON with its secrets, where it is known.
            own: The call's own headers and patience.
        """
        return _with(
            {
                "host": host,
                "endpoint": endpoint,
                "headers": headers or {},
                "has_key": has_key,
                "elsewhere": elsewhere,
                "prefill": prefill,
                "again": again,
                "_body": body,
                "_mask": mask,
                "_real": real,
                "_own": own or {},
            }
        )

    def __reduce__(self) -> Any:
        """Travel as what may be shown: no key, and nobody to ask."""
        gone: dict[str, Any] = dict.fromkeys(("_mask", "again", "_real"))
        kept = {**gone, "_own": {}, "_body": self.body}
        if self.host is not None:
            kept["host"] = self.host.without_key()
        return _with, ({**self.__dict__, **kept},)

    def __deepcopy__(self, memo: Any) -> Sent:
        return self

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.__dict__)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request as a copy, keys as ``***``."""
        text = msgspec.json.encode(self._body).decode()
        mask: Callable[[str], str] = self.__dict__.get("_mask") or str
        found: dict[str, Any] = msgspec.json.decode(mask(text))
        return found

    def question(self) -> tuple[Any, dict[str, Any]]:
        """Return messages, or a prompt, and the parameters that ask the same.

        Parameters that were not sent are ``None``, which leaves out defaults too.
        """
        return self._parted(self.body)

    def same(
        self, ask: Callable[..., Any], params: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the same with its secrets, to be asked by ``ask`` with ``params``.

        Raises:
            BadInput: If it had a secret that is kept nowhere.
        """
        if self._real is not None:
            asked, given = self._parted(dict(self._real))
            return asked, {**given, **self._own, **params}
        asked, given = self.question()
        given |= params
        extra = given.get("extra_body") or {}
        lost = {n for n, v in extra.items() if "***" in json.dumps(v, default=repr)}
        asker = getattr(ask, "__self__", None)
        defaults = getattr(getattr(asker, "client", asker), "defaults", {})
        gone = sorted(lost - (defaults.get("extra_body") or {}).keys())
        if gone:
            raise BadInput(
                f"The secret that extra_body[{gone[0]!r}] held is not kept.",
                "Pass extra_body= again, or make a Kimi with it.",
            )
        if lost:  # the client has its own
            given["extra_body"] = {n: v for n, v in extra.items() if n not in lost}
        return asked, given

    def _parted(self, body: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        of_text = self.endpoint == "complete"
        taken = COMPLETION.keys() - NOT_OF_A_TEXT if of_text else CHAT
        params: dict[str, Any] = dict.fromkeys(sorted(taken - _NO_FIELD))
        if body.pop("stream", False):
            del params["stream"]
            if body.pop("stream_options", None):
                del params["stream_options"]
        else:
            params["stream"] = False
        asked: Any = body.pop("messages", None) or body.pop("prompt", "")
        if self.prefill:
            asked, params["prefill"] = asked[:-1], self.prefill
            for name in _OF_PREFILL:
                body.pop(name, None)
        extra = {name: body.pop(name) for name in [*body] if name not in taken}
        own = {**body, **({"extra_body": extra} if extra else {})}
        return asked, {**own, **{n: v for n, v in params.items() if n not in own}}

    def asker(self, kimi: Any = None) -> Callable[..., Any]:
        """Return what asks this host again.

        Args:
            kimi: A ``Kimi`` to ask with; without one the one that asked.

        Raises:
            BadInput: If nothing is known of the request, or nobody can ask.
        """
        if self.host is None:
            raise BadInput(
                "It is not known how this answer was asked.",
                "Ask for a new one with kimi.chat(...).",
            )
        name = self.host.name
        if kimi is None:
            again: Again | None = self.__dict__.get("again")
            found = again() if again else None
            if found is None:
                raise BadInput(
                    f"No open Kimi asks {name}, where this answer came from.",
                    f"Pass one: Kimi({name!r}).",
                )
            return found
        if kimi.host.name != name:
            raise BadInput(
                f"This answer came from {name}, and this Kimi asks {kimi.host.name}.",
                f"Pass Kimi({name!r}).",
            )
        asks: Callable[..., Any] = kimi._ask_again
        return asks


def _with(facts: dict[str, Any]) -> Sent:
    made = Sent()
    made.__dict__.update(facts)
    return made
