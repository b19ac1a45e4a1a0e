"""Limits that hold: checked before a call, while it streams, and for all at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextvars import ContextVar, Token
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from kimikit import html
from kimikit.errors import BadInput, BudgetExceeded
from kimikit.money.estimates import ceiling
from kimikit.money.ledger import Ledger, outcome
from kimikit.money.rows import some
from kimikit.types import Call, Reply, Usage

ALLOWANCE = 4096
"""Answer tokens held back at first for a stream without ``max_tokens``; more are held
as it grows, and it is stopped where they would pass the limit. Holding back the whole
window of 262,144 would refuse every such call under a budget of half a dollar."""

AHEAD = 512
"""Answer tokens that may arrive between two looks at a stream, a few times a second."""

_STACK: ContextVar[tuple[Budget, ...]] = ContextVar("kimikit_budgets", default=())
_LOCK = threading.Lock()
"""Guards the figures of all budgets: nested ones are checked and charged as one."""


class Amount(NamedTuple):
    """US dollars and tokens."""

    usd: Decimal
    tokens: int


class Left(NamedTuple):
    """What a budget still allows; ``None`` where it sets no limit."""

    usd: Decimal | None
    tokens: int | None


class Budget:
    """A limit for the calls made in a ``with`` block, in US dollars, tokens or both.

    A call is refused if what it can take at most does not fit into what is left, and
    holds that amount until it ends, so that calls at once cannot overshoot. Blocks
    inside each other all apply. The local stand-in costs nothing.

    Args:
        usd: Most to spend, in US dollars.
        tokens: Most to use, prompts and answers together.
        allow_unpriced: Whether calls without a known price may go out although their
            cost cannot be limited.

    Attributes:
        spent: What ended calls took.
        held: What open calls may take at most, by call id.

    Raises:
        BadInput: If no limit is given, or one is not above 0.
    """

    def __init__(
        self,
        usd: Decimal | float | str | None = None,
        tokens: int | None = None,
        *,
        allow_unpriced: bool = False,
    ) -> None:
        self.usd = None if usd is None else _limit("usd", usd)
        self.tokens = None if tokens is None else int(_limit("tokens", tokens))
        if self.usd is None and self.tokens is None:
            raise BadInput(
                "A budget needs a limit.", "Give usd=0.50 or tokens=100_000, or both."
            )
        self.allow_unpriced = allow_unpriced
        self.spent = Amount(Decimal(0), 0)
        self.held: dict[str, Amount] = {}
        self._tokens: list[Token[tuple[Budget, ...]]] = []

    @property
    def left(self) -> Left:
        """What may still be asked for, beside what open calls hold."""
        used = self._used()
        return Left(
            None if self.usd is None else self.usd - used.usd,
            None if self.tokens is None else self.tokens - used.tokens,
        )

    def _used(self, but: str = "") -> Amount:
        """Return what is spent or held by other calls than ``but``."""
        others = [amount for id, amount in self.held.items() if id != but]
        all_usd, all_tokens = zip(self.spent, *others, strict=True)
        return Amount(sum(all_usd, Decimal(0)), sum(all_tokens))

    def check(self, id: str, ask: Amount) -> None:
        """Refuse ``ask`` if it does not fit beside what other calls hold.

        Raises:
            BudgetExceeded: With what is spent, asked and left, and what to do.
        """
        used = self._used(id)
        if self.usd is not None and used.usd + ask.usd > self.usd:
            what = [f"${x:.6f}" for x in (ask.usd, used.usd, self.usd - used.usd)]
            limit, more = f"${self.usd}", "usd"
        elif self.tokens is not None and used.tokens + ask.tokens > self.tokens:
            left = self.tokens - used.tokens
            what = [f"{x:,} tokens" for x in (ask.tokens, used.tokens, left)]
            limit, more = f"{self.tokens:,} tokens", "tokens"
        else:
            return
        raise BudgetExceeded(
            f"This call may take up to {what[0]}. The budget of {limit} has {what[1]} "
            f"spent or held by open calls and {what[2]} left.",
            f"Raise the limit ({more}=...), or ask for less with max_tokens.",
        )

    def __enter__(self) -> Budget:
        self._tokens.append(_STACK.set((*_STACK.get(), self)))
        return self

    def __exit__(self, *error: object) -> None:
        _STACK.reset(self._tokens.pop())

    def __repr__(self) -> str:
        parts = []
        if self.usd is not None:
            parts.append(f"{html.money(self.spent.usd)} of {html.money(self.usd)}")
        if self.tokens is not None:
            parts.append(f"{self.spent.tokens:,} of {self.tokens:,} tokens")
        return f"budget: {' and '.join(parts)} spent, {some(len(self.held))} open"


class _Open(NamedTuple):
    """A call that budgets hold something for."""

    budgets: tuple[Budget, ...]
    prompt: int
    answer: int
    ask: Amount


class Budgets:
    """The one observer a client needs: all limits in force, then the ledger.

    Applies the limits given here, those of the ``with`` blocks around a call (also in
    threads and tasks that run in a copy of the block's context), and the day's limit
    of all kernels, which the ledger keeps. Closes whatever it opened.

    Args:
        ledger: Where calls are written down.
        always: Limits that hold for every call of the client.
        usd_per_day: Most to spend today in all kernels, in US dollars; without one
            ``KIMIKIT_BUDGET_USD_PER_DAY``.

    Raises:
        BadInput: If the day's limit is not above 0.
    """

    def __init__(
        self,
        ledger: Ledger,
        always: Sequence[Budget] = (),
        *,
        usd_per_day: Decimal | float | str | None = None,
    ) -> None:
        name = "KIMIKIT_BUDGET_USD_PER_DAY" if usd_per_day is None else "usd_per_day"
        given = os.environ.get(name) if usd_per_day is None else usd_per_day
        self.ledger = ledger
        self.always = tuple(always)
        self.usd_per_day = None if given in (None, "") else _limit(name, given)
        self._open: dict[str, _Open] = {}

    def opened(self, call: Call) -> None:
        """Hold back what the call can take, or refuse it; then write it down.

        Raises:
            BudgetExceeded: If a limit would be passed, or no price is known.
            BadInput: If nothing bounds the answer of a call that is not streamed.
        """
        budgets = tuple(dict.fromkeys((*self.always, *_STACK.get())))
        if not budgets and self.usd_per_day is None:
            self.ledger.opened(call)
            return
        ask = self._hold(call, budgets, *self._bounds(call))
        try:
            self.ledger.opened(call, reserve=ask.usd, usd_per_day=self.usd_per_day)
        except BaseException:
            self._settle(call.id, Amount(Decimal(0), 0))
            raise

    def _bounds(self, call: Call) -> tuple[int, int]:
        """Return the prompt and answer tokens to hold back at first."""
        longest = self.ledger.prices.longest(call.host.name, call.model, call.created)
        most = ceiling(call.endpoint, call.body, longest)
        if call.endpoint not in ("chat", "complete"):
            return most.prompt_tokens, 0
        if call.body.get("stream") and not _bounded(call):
            answers = int(call.body.get("n") or 1)
            return most.prompt_tokens, min(longest or ALLOWANCE, ALLOWANCE) * answers
        if most.completion_tokens is None:
            raise BadInput(
                f"Nothing bounds the answer of {call.model}, and without a stream it "
                "cannot be stopped, so a budget cannot hold it.",
                "Pass max_tokens=..., or leave stream on.",
            )
        return most.prompt_tokens, most.completion_tokens

    def _hold(
        self, call: Call, budgets: tuple[Budget, ...], prompt: int, answer: int
    ) -> Amount:
        """Hold back what so many tokens cost in all budgets, or in none.

        Raises:
            BudgetExceeded: If a limit would be passed, or no price is known.
        """
        usage = Usage(prompt, answer)
        usd = self.ledger.prices(call.host.name, call.model, usage, call.created)
        strict = any(b.usd is not None and not b.allow_unpriced for b in budgets)
        allowed = any(b.allow_unpriced for b in budgets)
        if usd is None and (strict or (self.usd_per_day is not None and not allowed)):
            raise BudgetExceeded(
                f"No price is known for {call.model} on {call.host.name}, so a budget "
                "of money cannot hold it.",
                "Set one with kimi.set_price(...), limit tokens instead, or allow it "
                "with kimi.budget(..., allow_unpriced=True).",
            )
        ask = Amount(usd or Decimal(0), usage.total_tokens)
        with _LOCK:
            for budget in budgets:
                budget.check(call.id, ask)
            for budget in budgets:
                budget.held[call.id] = ask
        self._open[call.id] = _Open(budgets, prompt, answer, ask)
        return ask

    def progressed(self, call: Call, usage: Usage) -> None:
        """Hold back more for an answer that outgrows what is held, or stop it.

        Raises:
            BudgetExceeded: If a limit would be passed.
        """
        self.ledger.progressed(call, usage)
        held = self._open.get(call.id)
        grown = usage.completion_tokens + AHEAD
        if held is None or grown <= held.answer or _bounded(call):
            return
        ask = self._hold(call, held.budgets, held.prompt, grown)
        if self.usd_per_day is not None:
            self.ledger.hold(call, ask.usd, self.usd_per_day)

    def closed(
        self, call: Call, reply: Reply | None, error: BaseException | None
    ) -> None:
        """Turn what was held into what was spent; then complete the row."""
        held = self._open.get(call.id)
        if held is not None:
            # Sent and not answered: the host may have billed all of it.
            spent = held.ask
            if reply is not None:
                usd, _ = self.ledger.cost(call, reply)
                spent = Amount(usd or Decimal(0), reply.usage.total_tokens)
            elif outcome(reply, error) == "failed":
                spent = Amount(Decimal(0), 0)
            self._settle(call.id, spent)
        self.ledger.closed(call, reply, error)

    def _settle(self, id: str, spent: Amount) -> None:
        budgets = self._open.pop(id).budgets
        with _LOCK:
            for budget in budgets:
                del budget.held[id]
                usd, tokens = budget.spent
                budget.spent = Amount(usd + spent.usd, tokens + spent.tokens)


def _bounded(call: Call) -> bool:
    return bool(call.body.get("max_completion_tokens") or call.body.get("max_tokens"))


def _limit(name: str, value: object) -> Decimal:
    try:
        limit = Decimal(str(value))
    except InvalidOperation:
        limit = Decimal(0)
    if not limit.is_finite() or limit <= 0:
        raise BadInput(
            f"{name}={value!r} is not a limit.", "Give a number above 0, such as 0.50."
        )
    return limit
