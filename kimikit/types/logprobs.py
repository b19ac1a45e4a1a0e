"""Show an answer's tokens with their log probabilities, as far as the host tells."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.errors import NotSupported
from kimikit.json_values import is_within

OPENAI = "logprobs=True, top_logprobs=5"
HOSTS = {
    "together": "logprobs=5",  # its OpenAPI: a number of tokens from 0 to 20
    "openrouter": OPENAI,  # where the upstream has them
    "vllm": OPENAI,
    "sglang": OPENAI,
    "llamacpp": OPENAI,
    "ollama": OPENAI,  # from 0.12.11 on (its pull request 16867)
    "local": OPENAI,
}
"""By the names of hosts that give log probabilities, how they are asked for."""

TOKENS_SHOWN = 2_000
"""Tokens of a view that are shaded; the rest of a text stands as it is."""

ALTERNATIVES_SHOWN = 5
_MOST = sys.float_info.max
"""What no figure passes: a stranger's file may hold whole numbers of any length."""

_LONGEST = 24
"""Characters of one alternative."""

_SHADE = 0.55
"""Opacity of the shade of an impossible token: text on it stays at 4.5 : 1."""


class Token(msgspec.Struct, frozen=True):
    """One token of an answer.

    Attributes:
        text: The token.
        logprob: The natural logarithm of its probability, ``None`` where it is absent.
        alternatives: The likeliest tokens at this place, each with its logarithm.
        data: Its bytes, where a host tells them: a token may be part of a character.
    """

    text: str
    logprob: float | None
    alternatives: tuple[tuple[str, float], ...] = ()
    data: bytes = b""

    @property
    def probability(self) -> float | None:
        """From 0 to 1, ``None`` where it is absent."""
        return None if self.logprob is None else math.exp(min(self.logprob, 0.0))


def tokens(raw: Mapping[str, Any]) -> tuple[Token, ...]:
    """Return the tokens of an answer, none where the host told none.

    Args:
        raw: The host's answer as one object.
    """
    choices = raw.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    found = first.get("logprobs") if isinstance(first, Mapping) else None
    if not isinstance(found, Mapping):
        return ()
    content = found.get("content")
    if isinstance(content, list):
        return tuple(_token(each) for each in content if isinstance(each, Mapping))
    return tuple(_of_completion(found))


def _token(found: Mapping[str, Any]) -> Token:
    top, own = found.get("top_logprobs"), found.get("bytes")
    return Token(
        _text(found.get("token")),
        _number(found.get("logprob")),
        tuple(_pairs(top if isinstance(top, list) else [])),
        _bytes(own if isinstance(own, list) else []),
    )


def _pairs(top: Sequence[Any]) -> Iterator[tuple[str, float]]:
    for each in top:
        value = _number(each.get("logprob")) if isinstance(each, Mapping) else None
        if value is not None:
            yield _text(each.get("token")), value


def _of_completion(found: Mapping[str, Any]) -> Iterator[Token]:
    """Yield tokens in the shape of ``/completions``: a list for each attribute."""
    names = ("tokens", "token_logprobs", "top_logprobs")
    lists = [found.get(name) for name in names]
    texts, values, tops = [each if isinstance(each, list) else [] for each in lists]
    for place, text in enumerate(texts):
        value = values[place] if place < len(values) else None
        top = tops[place] if place < len(tops) else None
        pairs = top.items() if isinstance(top, Mapping) else ()
        some = [(_text(name), _number(each)) for name, each in pairs]
        known = tuple((name, each) for name, each in some if each is not None)
        yield Token(_text(text), _number(value), known)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _number(value: object) -> float | None:
    return float(value) if is_within(value, -_MOST, _MOST) else None


def _bytes(values: Sequence[Any]) -> bytes:
    try:
        return bytes(values)
    except (TypeError, ValueError):
        return b""


class Heat(Renderable, msgspec.Struct, frozen=True):
    """An answer with each token shaded by its probability; ``tokens`` are its values.

    Attributes:
        tokens: The tokens.
        foot: Where the answer came from.
    """

    tokens: tuple[Token, ...]
    foot: str

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative logarithm of the probabilities."""
        known = [token.logprob for token in self.tokens if token.logprob is not None]
        mean = sum(known) / len(known) if known else math.nan
        return math.exp(min(-mean, 700.0))

    def _parts(self) -> tuple[str, list[Section], str]:
        shown = self.tokens[:TOKENS_SHOWN]
        rest = "".join(token.text for token in self.tokens[TOKENS_SHOWN:])
        spans = "".join(_span(*group) for group in _groups(shown))
        text = "".join(text for text, _ in _groups(self.tokens))
        note = (
            f"n = {html.many(len(self.tokens), 'token')}, "
            f"perplexity {self.perplexity:.2f}. The deeper the "
            "shade, the less likely the token; hover for alternatives."
        )
        known = [
            (place, token)
            for place, token in enumerate(self.tokens, 1)
            if token.probability is not None
        ]
        unsure = sorted(known, key=lambda each: each[1].logprob or 0.0)[:10]
        rows = [
            (place, repr(token.text), _share(token), _others(token))
            for place, token in unsure
        ]
        heads = ("token", "text", "probability", "likeliest here")
        caption = "The least likely tokens. " + note
        return (
            "",
            [
                html.Cell(text, f"<pre>{spans}{html.esc(rest)}</pre>"),
                Table(heads, rows, (0, 2), caption),
            ],
            self.foot,
        )


def _groups(some: Sequence[Token]) -> Iterator[tuple[str, tuple[Token, ...]]]:
    """Yield texts with their tokens: of those that are parts of a character, all."""
    waiting: list[Token] = []
    for token in some:
        waiting.append(token)
        data = b"".join(each.data for each in waiting)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if len(waiting) < 8:
                continue
            text = data.decode("utf-8", "replace")
        yield text or "".join(each.text for each in waiting), tuple(waiting)
        waiting = []
    if waiting:
        yield "".join(each.text for each in waiting), tuple(waiting)


def _span(text: str, some: tuple[Token, ...]) -> str:
    known = [token for token in some if token.probability is not None]
    if not known:
        return html.esc(text)
    token = min(known, key=lambda each: each.probability or 0.0)
    shade = _SHADE * (1 - (token.probability or 0.0))
    others = _others(token)
    title = _share(token) + (f"; likeliest here: {others}" if others else "")
    style = f"background:rgba(230,159,0,{shade:.2f});color:inherit"
    return f'<span style="{style}" title="{html.esc(title)}">{html.esc(text)}</span>'


def _share(token: Token) -> str:
    share = token.probability
    if share is None:
        return ""
    return f"{share:.0%}" if share >= 0.1 else f"{100 * share:.2g}%"


def _others(token: Token) -> str:
    some = token.alternatives[:ALTERNATIVES_SHOWN]
    made = (Token(text, logprob) for text, logprob in some)
    return ", ".join(f"{each.text[:_LONGEST]!r} {_share(each)}" for each in made)


def heat(reply: Any) -> Heat:
    """Return the view of an answer's probabilities.

    Args:
        reply: The answer.

    Raises:
        NotSupported: If the host gave none, naming those that do.
    """
    found = tokens(reply.raw)
    if found:
        return Heat(found, footer([reply]))
    asked = reply.request.get("logprobs")
    name = reply.host or "The host"
    if name in HOSTS and not asked:
        raise NotSupported(
            "This answer was asked without log probabilities.",
            f"Ask with {HOSTS[name]}.",
        )
    others = "; ".join(f"{host} ({how})" for host, how in HOSTS.items())
    raise NotSupported(
        f"{name} gave no log probabilities.", f"Hosts that give them: {others}."
    )
