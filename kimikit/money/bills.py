"""Tell what a call will cost before it is made: the likely and the highest cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from kimikit.errors import BadInput, BudgetExceeded
from kimikit.json_values import check_count
from kimikit.money.estimates import (
    Ceiling,
    asked_for,
    ceiling,
    estimate,
    open_ended,
    pictures,
    pictures_in,
)
from kimikit.money.prices import PriceBook
from kimikit.money.rows import stored
from kimikit.money.tokens import COUNTED, count_chat, encoder, is_k2
from kimikit.types import Call, Usage
from kimikit.usage import asked_models, priced_as
from kimikit.wire.cache_writes import asks_for_hour
from kimikit.wire.requests import as_messages

LIKELY_TOKENS = 300
"""Answer tokens taken as likely for a model that the ledger does not know yet."""

LIKELY_PICTURE = 1024
"""Prompt tokens taken as likely for a picture."""

ALIKE = 3
"""Complete answers from which on those of a kind, or to the same words, count."""

RECENT = 200
"""How many of a model's last answers are looked at."""

FRESH_S = 2.0
"""For how long what was seen of a model is not looked up again."""


class Answered(NamedTuple):
    """A complete answer, as far as it tells what the next will take.

    Attributes:
        tokens: Tokens of one answer.
        kind: What was asked for beside the words.
        words: The messages.
    """

    tokens: float
    kind: tuple[Any, ...]
    words: Any


class History(Protocol):
    """What a ledger knows of the answers that a model gave.

    Attributes:
        recent: What was seen of a model, and when, for a moment.
    """

    recent: dict[str, tuple[float, list[Answered]]]

    def answered(self, model: str, limit: int) -> list[tuple[Any, ...]]:
        """Return the last complete chats with ``model``, and their answers' tokens."""


def bill(
    prices: PriceBook,
    host: str,
    model: str,
    params: Mapping[str, Any],
    prompt: Any,
    *,
    history: History | None = None,
) -> tuple[Decimal | None, Decimal | None]:
    """Return the likely and the highest cost of one call; see ``Ledger.bill``.

    Without a history nothing is known of how long a model's answers are.
    """
    extra = params.get("extra_body") or {}
    given = {k: v for k, v in {**params, **extra}.items() if v is not None}
    for beside in ("extra_body", "extra_headers"):
        given.pop(beside, None)
    now = time.time()
    price = prices.lookup(host, priced_as(model, given), now)
    if price is None:
        return None, None
    for name in given.keys() & {"max_tokens", "max_completion_tokens", "n"}:
        check_count(name, given[name])
    turns = as_messages(prompt, system=given.pop("system", None))
    shown = given.pop("image", None)
    shown = len(shown) if isinstance(shown, list | tuple) else int(shown is not None)
    body = {**given, "model": model, "messages": turns}
    most = at_most("chat", body, prices.longest(host, model, body), exact=True)
    most = most._replace(prompt_tokens=most.prompt_tokens + shown * pictures(1))
    tokens = _prompt(body) + LIKELY_PICTURE * (shown + pictures_in(turns))
    answers = asked_for(body)
    each = likely_answer(history, model, body)
    if most.completion_tokens is not None:
        each = min(each, most.completion_tokens / answers)
    # What is to be kept for an hour costs more, and a first call writes all of it.
    kept = tokens * asks_for_hour(body)
    likely = Usage(
        tokens,
        round(each * answers),
        cache_write_tokens=kept,
        cache_write_1h_tokens=kept,
    )
    return price.cost(likely), most.cost(prices.dearest(host, model, body, now))


def at_most(
    endpoint: str, body: Mapping[str, Any], longest: int, *, exact: bool
) -> Ceiling:
    """Return what a request takes at most.

    Args:
        endpoint: ``chat``, ``complete`` and so on.
        body: The JSON of the request.
        longest: The model's longest answer in tokens, 0 for unknown.
        exact: Whether its words are counted where Kimi K2's own tokenizer is at hand;
            it takes a second for some megabytes.
    """
    most = ceiling(endpoint, body, longest)
    names = asked_models(str(body.get("model")), body)
    counted = exact and endpoint == "chat" and all(map(is_k2, names))
    encode = encoder() if counted else None
    if encode is None:
        return most
    tokens, plain = count_chat(encode, body["messages"], body.get("tools") or ())
    if not plain:
        return most
    # What is not counted, such as a schema or thoughts, has no more tokens than bytes.
    rest = [{k: m[k] for k in m if k not in COUNTED} for m in body["messages"]]
    rest = [message for message in rest if message]
    other = ceiling(endpoint, {**body, "messages": rest}, longest).prompt_tokens
    return most._replace(prompt_tokens=min(most.prompt_tokens, tokens + other))


def unbounded(model: str, body: Mapping[str, Any]) -> BadInput:
    """Return the refusal of a request that may cost any amount."""
    if what := open_ended(body):
        return BadInput(
            f"{what[:1].upper()}{what[1:]} is read and paid for, and nobody knows "
            "before how much it is, so a budget cannot hold it.",
            "Leave it out, or ask where no budget is in force: nothing limits its cost "
            "there, and max_cost=... of run, map and sweep looks after each answer.",
        )
    return BadInput(
        f"Nothing bounds the answer of {model}, and without a stream it cannot be "
        "stopped, so a budget cannot hold it.",
        "Pass max_tokens=..., or leave stream on.",
    )


def unpriced(prices: PriceBook, call: Call) -> BudgetExceeded:
    """Return the refusal of a request of which a price is not known."""
    host, names = call.host.name, asked_models(call.model, call.body)
    names = [priced_as(name, call.body) for name in names]
    missing = next(n for n in names if prices.lookup(host, n, call.created) is None)
    named = "" if missing == call.model else f"model={missing!r}, "
    return BudgetExceeded(
        f"No price is known for {missing} on {host}, so a budget of money cannot hold "
        "it.",
        f"Set one with kimi.set_price({named}...), limit tokens instead, or allow it "
        "with kimi.budget(..., allow_unpriced=True).",
    )


def _prompt(body: Mapping[str, Any]) -> int:
    """Return the prompt tokens that a request is likely to have."""
    encode = encoder()
    if encode is None or "kimi" not in str(body.get("model")).lower():
        return estimate(body).tokens
    tools = [getattr(tool, "schema", tool) for tool in body.get("tools") or ()]
    return count_chat(encode, body["messages"], tools)[0]


def likely_answer(
    history: History | None, model: str, body: Mapping[str, Any]
) -> float:
    """Return the tokens that one answer is likely to have.

    They are the mean of complete answers of the same model: to the same words if there
    are some, else of the same kind, else of any.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if history is None:
        return _mean([LIKELY_TOKENS], limit)
    seen = history.recent.get(model)
    if seen is None or time.monotonic() - seen[0] > FRESH_S:
        found = [
            Answered(tokens / asked_for(asked), _kind(asked), asked.get("messages"))
            for text, tokens in history.answered(model, RECENT)
            for asked in [stored(text) or {}]
        ]
        seen = history.recent[model] = time.monotonic(), found
    words, kind = body.get("messages"), _kind(body)
    for alike in (
        [a.tokens for a in seen[1] if a.words == words and a.kind == kind],
        [a.tokens for a in seen[1] if a.kind == kind],
    ):
        if len(alike) >= ALIKE:
            return _mean(alike, limit)
    return _mean([a.tokens for a in seen[1]] or [LIKELY_TOKENS], limit)


def _mean(tokens: list[float], limit: Any) -> float:
    """Return the mean of answers as a limit would have cut them."""
    if limit:
        tokens = [min(each, limit) for each in tokens]
    return sum(tokens) / len(tokens)


def _kind(body: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what, beside its words, decides how long an answer gets."""
    form = body.get("response_format")
    thinking = body.get("thinking"), body.get("reasoning"), body.get("reasoning_effort")
    return (
        bool(body.get("tools")),
        form.get("type") if isinstance(form, Mapping) else form,
        *map(repr, thinking),
    )
