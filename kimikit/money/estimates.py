"""Tokens from characters: a likely number, fitted to past calls, and a ceiling."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit.types import Price, Usage

Sample = tuple[Mapping[str, Any], int]
"""A request as it was sent, and the prompt tokens that the host counted for it."""

TYPICAL = (0.195, 0.55, 0.57, 1.0, 0.5, 1.0)
"""Tokens a character by kind (see ``kinds``), until the ledger knows better: means of
Kimi K2's tokenizer over English prose, Python, JSON, Chinese, Japanese and Russian.
What stands around messages comes last and is counted in tokens."""

CEILING = (0.65, 0.8, 1.9, 2.6, 2.0, 1.0)
"""The same at most: above what Kimi K2's tokenizer made of every
text tried, random letters, rare Han and Hangul, punctuation and emoji included.
Ordinary prose and code take two fifths of it."""

UNMEASURED_ERROR = 0.35
"""Error of an estimate compared with no calls: the worst of ten languages tried."""

ENOUGH = 8
"""Recorded calls from which on rates are fitted and their error is measured."""

PER_MESSAGE, OPENING = 4, 3
"""Tokens around a message (two markers, its role, the end) and before the reply."""

TEMPLATE_AT_MOST = 32
"""Tokens that a host's own template adds at most; the stand-in's adds a system prompt
of 24 where none is sent."""

PER_IMAGE = 4096
"""Tokens that an image is taken to be at most; no host documents a figure."""

_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123)) + b" "
_NOT_ASCII = bytes(range(128, 256))
_HAN = bytes(range(0xE4, 0xEA))
_KANA_HANGUL = bytes([0xE3, *range(0xEA, 0xEE)])
"""First UTF-8 bytes of U+4000 to U+9FFF, and of U+3000 to U+3FFF and past U+A000."""


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
    """Estimate a request's prompt tokens from its characters, by kind.

    The rates are a ridge regression of the relative error towards ``TYPICAL``. The
    error is what nine of ten samples stay within when each is predicted from the
    others: the closed form of leave-one-out (Allen 1974, PRESS). A request sent many
    times counts once, since each would be predicted from its own copies.

    Args:
        body: The JSON of the request.
        samples: Requests and the prompt tokens that hosts counted for them.
    """
    rates, error, method = TYPICAL, UNMEASURED_ERROR, "estimated from characters"
    mine = _features(body)
    known = sorted({(_features(asked), tokens) for asked, tokens in samples if tokens})
    if len(known) >= ENOUGH:
        import numpy as np

        method += f" as in {len(known)} calls of yours"
        x = np.array([np.multiply(some, TYPICAL) / tokens for some, tokens in known])
        # The penalty says: a rate is off by 30 % as easily as a call is by 10 %; what
        # stands around a message is a host's own, a system prompt of its template too.
        penalty = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.01])
        gram = x.T @ x + np.diag(penalty)
        factors = np.linalg.solve(gram, x.sum(axis=0) + penalty)
        leverage = np.einsum("ij,jk,ik->i", x, np.linalg.inv(gram), x)
        missed = np.abs((1 - x @ factors) / (1 - leverage))
        rates = tuple(np.multiply(factors, TYPICAL).clip(0.01))
        # Of a script that no sample has, nothing is measured.
        parts = np.multiply(mine, rates)
        new = float(parts[~x.any(axis=0)].sum() / parts.sum())
        error = max(float(np.quantile(missed, 0.9)), UNMEASURED_ERROR * new)
    return TokenCount(round(sum(map(operator.mul, mine, rates))), error, method)


class Ceiling(NamedTuple):
    """What a call takes at most; the answer is ``None`` where nothing limits it."""

    prompt_tokens: int
    completion_tokens: int | None

    def cost(self, price: Price | None) -> Decimal | None:
        """Return what it costs at most in US dollars, ``None`` if that is unknown."""
        if price is None or (self.completion_tokens is None and price.output):
            return None
        return price.cost(Usage(self.prompt_tokens, self.completion_tokens or 0))


def ceiling(endpoint: str, body: Mapping[str, Any], longest: int = 0) -> Ceiling:
    """Return what a request takes at most, before it is sent.

    Args:
        endpoint: ``chat``, ``complete``, ``embed`` and so on.
        body: The JSON of the request.
        longest: The model's longest answer in tokens, 0 for unknown; used where the
            request itself sets no limit.
    """
    contents = [message.get("content") for message in body.get("messages") or ()]
    parts = [part for many in contents if isinstance(many, list) for part in many]
    images = sum(str(part.get("type")).endswith("_url") for part in parts)
    counted = int(sum(map(operator.mul, _features(body), CEILING)))
    prompt = counted + TEMPLATE_AT_MOST + PER_IMAGE * images
    if endpoint in ("embed", "rerank"):
        return Ceiling(prompt, 0)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or longest
    return Ceiling(prompt, int(limit) * int(body.get("n") or 1) if limit else None)


def _features(body: Mapping[str, Any]) -> tuple[int, ...]:
    """Return a request's characters by kind, and the tokens around its messages."""
    said = "".join(pieces([v for k, v in body.items() if k not in _SETTINGS]))
    declared = [body[name] for name in ("tools", "response_format") if body.get(name)]
    if declared:
        said += json.dumps(declared, ensure_ascii=False)
    return *kinds(said), PER_MESSAGE * len(body.get("messages") or ()) + OPENING


_SETTINGS = frozenset({"model", "tools", "response_format", "stream_options"})


def pieces(value: Any) -> Iterator[str]:
    """Yield the texts in a request's messages, prompts and documents."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in ("role", "type", "image_url", "video_url"):
                yield from pieces(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from pieces(item)


def kinds(text: str) -> tuple[int, int, int, int, int]:
    """Count the characters of ``text`` by kind, at memory speed.

    Returns:
        ASCII letters and spaces; other ASCII (digits, punctuation, line ends); Han;
        kana and Hangul; everything else.
    """
    raw = text.encode("utf-8", "surrogatepass")
    latin = len(raw) - len(raw.translate(None, _LETTERS))
    code = len(raw.translate(None, _NOT_ASCII)) - latin
    han = len(raw) - len(raw.translate(None, _HAN))
    kana = len(raw) - len(raw.translate(None, _KANA_HANGUL))
    return latin, code, han, kana, len(text) - latin - code - han - kana
