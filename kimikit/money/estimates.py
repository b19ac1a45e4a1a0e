"""Estimate tokens from characters: a likely number from past calls, and a ceiling."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit.types import Price
from kimikit.wire.media import UNKNOWN_LENGTH
from kimikit.wire.weigh import (
    DECLARED,
    ERRORS,
    RATES,
    READ,
    features,
    pieces,
    schema_of,
)
from kimikit.wire.weigh import OPENING as OPENING  # as in 0.3.0
from kimikit.wire.weigh import PER_MESSAGE as PER_MESSAGE  # as in 0.3.0
from kimikit.wire.weigh import RATES as TYPICAL  # noqa: F401 - as in 0.3.0
from kimikit.wire.weigh import kinds as kinds  # as in 0.3.0

Sample = tuple[Mapping[str, Any], int]
"""A request as it was sent, and the prompt tokens that the host counted for it."""

ENOUGH = 8
"""Recorded calls from which on rates are fitted and their error is measured."""

CALL_ERROR = 0.1
"""By how much a call is off as easily as a rate is by its own error."""

TEMPLATE_AT_MOST = 64
"""Tokens that a host's own template adds at most: a system prompt where none is sent
(24 by the stand-in, 19 by some K2 hosts), a date, a line on reasoning."""

PER_MESSAGE_AT_MOST = 16
"""Tokens that a template puts around a message at most, its role not counted."""

PER_TURN = 16
"""Tokens of a role that is a word."""

PER_DECLARATION_AT_MOST = 64
"""The same around a tool or a schema."""

PER_IMAGE = 4096
"""Tokens that an image is taken to be at most; no host documents a figure."""


class TokenCount(msgspec.Struct, frozen=True):
    """A number of tokens, and how far it can be trusted; ``int(count)`` is the number.

    Attributes:
        tokens: The count.
        error: The share it may be off by, 0 where it is exact, ``None`` if unknown.
        method: How it was counted.
        more: Tokens that the host may add, as long as it is not known whether it does.
    """

    tokens: int
    error: float | None
    method: str
    more: int = 0

    @property
    def exact(self) -> bool:
        """Whether a host counts the same."""
        return self.error == 0 and not self.more

    def __int__(self) -> int:
        return self.tokens

    __index__ = __int__

    def __str__(self) -> str:
        if self.more and self.error == 0:
            return f"{self.tokens:,} tokens or {self.more} more"
        return f"{'' if self.exact else '~'}{self.tokens:,} tokens"

    def __repr__(self) -> str:
        error = f", ±{self.error:.0%}" if self.error else ""
        return f"{self} ({self.method}{error})"


def estimate(body: Mapping[str, Any], samples: Sequence[Sample] = ()) -> TokenCount:
    """Estimate a request's prompt tokens from its text, by script and kind.

    The rates are a ridge regression of the relative error towards ``RATES``. The
    error is what nine of ten samples stay within when each is predicted from the
    others: the closed form of leave-one-out (Allen 1974, PRESS), and what is left
    unknown of the rates that this request needs: of a script that no sample has, all.
    A request sent many times counts once, since each would be predicted from its own
    copies.

    Args:
        body: The JSON of the request.
        samples: Requests and the prompt tokens that hosts counted for them.
    """
    mine = features(body)
    parts = tuple(map(operator.mul, mine, RATES))
    total = sum(parts)
    known = sorted({(features(asked), tokens) for asked, tokens in samples if tokens})
    if len(known) < ENOUGH:
        error = sum(map(operator.mul, parts, ERRORS)) / total
        return TokenCount(round(total), error, "estimated from characters")
    import numpy as np

    x = np.array([np.multiply(some, RATES) / tokens for some, tokens in known])
    # The penalty says: a rate is off by its own error as easily as a call is by 10 %;
    # what stands around a message is a host's own, a system prompt of its template too.
    spread = np.array([*ERRORS[:-1], 1.0])
    penalty = (CALL_ERROR / spread) ** 2
    gram = x.T @ x + np.diag(penalty)
    factors = np.linalg.solve(gram, x.sum(axis=0) + penalty)
    inverse = np.linalg.inv(gram)
    leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
    missed = np.abs((1 - x @ factors) / (1 - leverage))
    fitted = np.multiply(parts, factors.clip(0.05))
    share = fitted / fitted.sum()
    unknown = CALL_ERROR * float(share @ inverse @ share) ** 0.5
    error = float(np.quantile(missed, 0.9, method="higher")) + unknown
    method = f"estimated from characters as in {len(known)} calls of yours"
    return TokenCount(round(float(fitted.sum())), error, method)


class Ceiling(NamedTuple):
    """What a call takes at most; the answer is ``None`` where nothing limits it."""

    prompt_tokens: int
    completion_tokens: int | None

    def cost(self, price: Price | None) -> Decimal | None:
        """Return what it costs at most in US dollars, ``None`` if that is unknown."""
        if price is None or (self.completion_tokens is None and price.output):
            return None
        prompt = self.prompt_tokens * price.dearest_input
        answer = (self.completion_tokens or 0) * price.output
        return (prompt + answer) / 1_000_000


def ceiling(endpoint: str, body: Mapping[str, Any], longest: int = 0) -> Ceiling:
    """Return what a request takes at most, before it is sent.

    A token is a byte of UTF-8 or more, so no text has more tokens than bytes.

    Args:
        endpoint: ``chat``, ``complete``, ``embed`` and so on.
        body: The JSON of the request.
        longest: The model's longest answer in tokens, 0 for unknown; used where the
            request itself sets no limit.
    """
    prompt, answers = (
        TEMPLATE_AT_MOST,
        max(asked_for(body), asked_for(body, "best_of")),
    )
    for key, value in body.items():
        if key in DECLARED and value:
            count = len(value) if isinstance(value, list | tuple) else 1
            prompt += 2 * _written(value) + PER_DECLARATION_AT_MOST * count
        elif key == "messages":
            prompt += sum(map(_message_at_most, _listed(value)))
        elif isinstance(value, str) or key in READ:
            prompt += sum(map(size, pieces(value))) if key != "model" else 0
        elif not isinstance(value, int | float | None):
            prompt += 2 * _written(value)  # its names may be written out, too
    if endpoint == "complete" and isinstance(asked := body.get("prompt"), list):
        # Several prompts have several answers; a prompt may be written in token ids.
        prompt += sum(len(p) if isinstance(p, list) else 1 for p in asked)
        answers *= max(len(asked), 1)
    if endpoint in ("embed", "rerank"):
        return Ceiling(prompt, 0)
    if open_ended(body):
        return Ceiling(prompt, None)
    given = [body.get(name) for name in ("max_completion_tokens", "max_tokens")]
    limit = max((int(n) for n in given if n), default=longest)
    return Ceiling(prompt, limit * answers if limit else None)


def open_ended(body: Mapping[str, Any]) -> str:
    """Return what makes the prompt of a request of a length that nobody knows before.

    It is a function or a search that the host runs itself, of which what it finds is
    read and paid for, or a video or a sound; empty if there is none.
    """
    tools = [tool for tool in _listed(body.get("tools")) if isinstance(tool, Mapping)]
    if any(tool.get("type", "function") != "function" for tool in tools):
        return "what a host's own function finds"
    # OpenRouter searches by a plugin too, or by how its model is named.
    plugins = [p.get("id") for p in _listed(body.get("plugins")) if hasattr(p, "get")]
    online = "web" in plugins or str(body.get("model")).endswith(":online")
    if online or body.get("web_search_options") is not None:
        return "what a host's own search finds"
    parts = [
        part
        for message in _listed(body.get("messages"))
        if isinstance(message, Mapping)
        for part in _listed(message.get("content"))
        if isinstance(part, Mapping)
    ]
    kinds = {str(part.get("type")) for part in parts}
    return "a video or a sound" if kinds & UNKNOWN_LENGTH else ""


def pictures_in(messages: Sequence[Any]) -> int:
    """Return how many pictures are among the parts of messages."""
    return sum(
        map(_is_picture, (p for m in messages for p in _listed(m.get("content"))))
    )


def asked_for(body: Mapping[str, Any], name: str = "n") -> int:
    """Return how many answers are asked for under a name, 1 without it."""
    given = body.get(name)
    return given if isinstance(given, int) and given > 0 else 1


def _message_at_most(message: Any) -> int:
    """Return the tokens of a message at most, its role and marks included."""
    if not isinstance(message, Mapping):
        return PER_MESSAGE_AT_MOST + size(str(message))
    role = size(str(message.get("role")))
    most, rest = PER_MESSAGE_AT_MOST + max(role, PER_TURN), {}
    for key, value in message.items():
        if key in ("content", "reasoning_content", "reasoning"):
            most += sum(map(size, pieces(value)))
            most += pictures(sum(map(_is_picture, _listed(value))))
        elif key != "role" and value:
            rest[key] = value
    most += PER_DECLARATION_AT_MOST * len(_listed(rest.get("tools")))
    return most + (2 * _written(rest) if rest else 0)


def _written(value: Any) -> int:
    """Return the bytes of JSON; escapes of other scripts are the longest way."""
    return len(json.dumps(value, default=schema_of))


def pictures(count: int) -> int:
    """Return the tokens of so many pictures at most."""
    return PER_IMAGE * count


def size(text: str) -> int:
    """Return the bytes of a text in UTF-8."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _is_picture(part: Any) -> bool:
    return isinstance(part, Mapping) and str(part.get("type")).endswith(
        ("_url", "image", "video", "file")
    )
