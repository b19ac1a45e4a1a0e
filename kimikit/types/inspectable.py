"""Look into an answer and use it: its code, its request, its tokens, its rest."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from kimikit.errors import BadInput
from kimikit.params import ChatParams, takes_chat_params

if TYPE_CHECKING:
    from kimikit.markdown.fences import Code
    from kimikit.types import Reply, ToolCall
    from kimikit.types.logprobs import Heat, Token
    from kimikit.types.sent import Sent

GO_ON = "Go on exactly where you stopped. Repeat nothing and explain nothing."
"""Asks for the rest of an answer where a host cannot begin one with a given text."""


class Inspectable:
    """What a ``Reply`` can tell of itself beside its fields."""

    __slots__ = ()

    if TYPE_CHECKING:
        text: str
        tool_calls: tuple[ToolCall, ...]
        finish_reason: str | None
        partial: bool
        truncated: bool
        raw: dict[str, Any]
        sent: Sent

    @property
    def code(self) -> tuple[Code, ...]:
        r"""The fenced blocks of the answer, each with its ``language`` and ``text``.

        Example:
            >>> from kimikit import Reply
            >>> Reply(text="Try this:\n```python\nprint(6 * 7)\n```").code
            (Code(language='python', text='print(6 * 7)'),)
        """
        from kimikit.markdown.fences import code  # the parser takes 70 ms to import

        return code(self.text)

    @property
    def request(self) -> dict[str, Any]:
        """The JSON that was sent, keys as ``***``; empty where it is not known.

        Example:
            >>> reply = kimi.chat("Name a colour.", temperature=0, max_tokens=8)
            >>> reply.request["messages"], reply.request["max_tokens"]
            ([{'role': 'user', 'content': 'Name a colour.'}], 8)
        """
        return self.sent.body

    def curl(self) -> str:
        """Return the request as a command for a shell; the key is read from there.

        Example:
            >>> print(kimi.chat("Name a colour.", temperature=0, max_tokens=8).curl())
            curl -sS --fail-with-body -N http://127.0.0.1:.../v1/chat/completions ...
        """
        from kimikit.types.as_code import curl

        return curl(self.sent)

    def python(self) -> str:
        """Return the request as a program; the key is read from the environment.

        Example:
            >>> print(kimi.chat("Name a colour.", temperature=0, max_tokens=8).python())
            from kimikit import Kimi
            <BLANKLINE>
            kimi = Kimi('local', model='smollm2-135m-instruct')
            reply = kimi.chat(
                'Name a colour.',
                max_tokens=8,
                temperature=0,
            )
            print(reply)
        """
        from kimikit.types.as_code import python

        return python(self.sent)

    @property
    def logprobs(self) -> tuple[Token, ...]:
        """The tokens with their log probabilities; none where the host gave none.

        Example:
            >>> asked = {"logprobs": True, "top_logprobs": 3, "temperature": 0}
            >>> reply = kimi.chat("What is the capital of Germany?", **asked)
            >>> reply.logprobs[-2].text, reply.logprobs[-2].probability > 0.5
            (' Berlin', True)
        """
        from kimikit.types.logprobs import tokens

        return tokens(self.raw)

    def heat(self) -> Heat:
        """Return the answer with each token shaded by its probability.

        Raises:
            NotSupported: If the host gave no log probabilities, naming those that do.

        Example:
            >>> asked = {"logprobs": True, "top_logprobs": 3, "temperature": 0}
            >>> reply = kimi.chat("What is the capital of Germany?", **asked)
            >>> round(reply.heat().perplexity, 1)  # a cell that ends in it shows it
            1...
            >>> kimi.chat("Hello", max_tokens=2).heat()
            Traceback (most recent call last):
            kimikit.errors.NotSupported: This answer was asked without log ...
        """
        from kimikit.types.logprobs import heat

        return heat(self)

    @takes_chat_params(hidden=("n", "prefill"))
    def continue_(
        self,
        kimi: Any = None,
        *,
        show: bool | None = None,
        **params: Unpack[ChatParams],
    ) -> Reply:
        """Go on with an answer that was cut or stopped; both are paid for.

        Where the host can begin an answer with a given text (``prefill``) it goes on
        from that; elsewhere the model is asked in a further turn.

        Args:
            kimi: A ``Kimi`` of the same host; without one the one that asked.
            show: ``True`` or ``False`` forces or forbids the display.
            **params: For the rest, instead of what the first part was asked with.

        Returns:
            The whole answer, with the tokens, the cost and the seconds of both parts.

        Raises:
            BadInput: If the answer ended by itself, or nothing of it can be gone on
                from, or nobody can be asked.

        Example:
            >>> cut = kimi.chat("Count from 1 to 20.", max_tokens=4, temperature=0)
            >>> cut.finish_reason
            'length'
            >>> whole = cut.continue_(max_tokens=4)
            >>> whole.text.startswith(cut.text), len(whole.text) > len(cut.text)
            (True, True)
        """
        _refuse_to_go_on(self)
        ask = self.sent.asker(kimi)
        asked, given = self.sent.same(ask, {**params, "n": None})
        host = self.sent.host
        whole: Any = self
        prefilled = False
        if self.sent.endpoint == "complete":
            asked += self.text
        elif host is not None and "prefill" in host.features:
            prefilled = True
            given["prefill"] = self.text
        else:
            asked = [*asked, whole.message, {"role": "user", "content": GO_ON}]

        def join(rest: Reply) -> Reply:
            return joined(whole, rest, repeated=prefilled)

        found: Reply = ask(asked, of=self.sent, join=join, show=show, **given)
        return found


def _refuse_to_go_on(cut: Inspectable) -> None:
    """Refuse to go on with an answer that ended, or that has no text."""
    if not (cut.partial or cut.truncated or cut.finish_reason == "length"):
        raise BadInput(
            f"This answer ended by itself ({cut.finish_reason or 'no reason'}).",
            "Ask on in a further turn: kimi.conversation() keeps the history.",
        )
    if cut.tool_calls or not cut.text.strip():
        what = "It was cut in a tool call" if cut.tool_calls else "It has no text"
        raise BadInput(
            f"{what}, so there is nothing to go on from.",
            "Ask again with a larger max_tokens.",
        )


def _with_its_blank(rest: Reply) -> str:
    """Return a text with the blank that it began with, which an answer leaves out."""
    (choice, *_) = rest.raw.get("choices") or [{}]
    said = (choice.get("message") or {}).get("content")
    said = said if isinstance(said, str) else ""
    blank = said[: len(said) - len(said.lstrip())]
    return blank + rest.text if said.lstrip().startswith(rest.text[:1]) else rest.text


def joined(first: Reply, rest: Reply, *, repeated: bool) -> Reply:
    """Return two parts of an answer as one.

    Args:
        first: The part that was cut.
        rest: What the model went on with.
        repeated: Whether that begins with the first part.
    """
    costs = [first.cost, rest.cost]
    thought = filter(None, [first.reasoning, rest.reasoning])
    return msgspec.structs.replace(
        rest,
        text=rest.text if repeated else first.text + _with_its_blank(rest),
        reasoning="\n\n".join(thought),
        usage=first.usage + rest.usage,
        cost=None if None in costs else sum(filter(None, costs), Decimal(0)),
        first_token_s=first.first_token_s,
        duration_s=first.duration_s + rest.duration_s,
        created=first.created,
        notes=tuple(dict.fromkeys([*first.notes, *rest.notes])),
        sent=first.sent,
    )
