"""Limit what calls cost: before a call, while it streams, and over all together."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextvars import ContextVar, Token
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from kimikit import html
from kimikit.errors import BadInput, BudgetExceeded
from kimikit.money.bills import at_most, unbounded, unpriced
from kimikit.money.estimates import Ceiling, open_ended, size
from kimikit.money.ledger import Check, Ledger
from kimikit.money.prices import amount
from kimikit.money.rows import outcome
from kimikit.money.tokens import Encode, encoder
from kimikit.types import Call, Reply, Usage
from kimikit.usage import asked_models

PER_DAY = "KIMIKIT_BUDGET_USD_PER_DAY"
ALLOWANCE = 4096
"""Answer tokens held back at first for a stream without ``max_tokens``; more are held
as it grows, and it is stopped where they would pass the limit. Holding back the whole
window of 262,144 would refuse every such call under a budget of half a dollar."""

AHEAD = 512
"""Answer tokens that may arrive between two looks at a stream: 128 characters."""

_STACK: ContextVar[tuple[Budget, ...]] = ContextVar("kimikit_budgets", default=())
_BLOCKS: list[tuple[int, Budget]] = []
"""All open blocks of the process, each with the thread that it is in."""

_LOCK = threading.Lock()
"""Guards the figures of all budgets: nested ones are checked and charged as one."""


def _new_lock() -> None:
    """Begin with an open lock in a forked child: no thread is left to open the old."""
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)

_TOLD = {
    "usd": ("budget of ${}", "${:.6f}", "Raise the limit (usd=...)"),
    "tokens": ("budget of {:,.0f} tokens", "{:,} tokens",
               "Raise the limit (tokens=...)"),
    "day": ("day's budget of ${}", "${:.6f}",
            f"Raise {PER_DAY}, which holds for all kernels, wait for a new day in UTC"),
}  # fmt: skip
"""Kinds of limits: what they are called, how their amounts read, and a remedy."""


class Amount(NamedTuple):
    """US dollars and tokens."""

    usd: Decimal
    tokens: int


NOTHING = Amount(Decimal(0), 0)


def hold_to(
    kind: str, limit: Decimal | int, used: Decimal | int, ask: Decimal | int
) -> None:
    """Refuse ``ask`` if it does not fit beside what is used of a limit.

    Raises:
        BudgetExceeded: With what is spent, asked and left, and what to do.
    """
    if used + ask <= limit:
        return
    name, shown, remedy = _TOLD[kind]
    asked, had, left = map(shown.format, (ask, used, max(limit - used, 0)))
    raise BudgetExceeded(
        f"This call may take up to {asked}. The {name.format(limit)} has {had} spent "
        f"or held by open calls and {left} left.",
        f"{remedy}, or ask for less with max_tokens.",
    )


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
        given = {"usd": usd, "tokens": tokens}
        self.limits = {
            kind: amount(kind, most, limit=True)
            for kind, most in given.items()
            if most is not None
        }
        if not self.limits:
            raise BadInput(
                "A budget needs a limit.", "Give usd=0.50 or tokens=100_000, or both."
            )
        self.allow_unpriced = allow_unpriced
        self.spent = NOTHING
        self.held: dict[str, Amount] = {}
        self._tokens: list[Token[tuple[Budget, ...]]] = []
        self._replays: Budget | None = None

    def of_replays(self) -> Budget:
        """Return the same limit for replayed answers, which count nothing here."""
        if self._replays is None:
            self._replays = Budget(**self.limits, allow_unpriced=self.allow_unpriced)  # type: ignore[arg-type]
        return self._replays

    def check(self, id: str, ask: Amount) -> None:
        """Refuse ``ask`` if it does not fit beside what other calls took and hold.

        Raises:
            BudgetExceeded: With what is spent, asked and left, and what to do.
        """
        others = [held for other, held in self.held.items() if other != id]
        for kind, limit in self.limits.items():
            used = sum(getattr(each, kind) for each in (self.spent, *others))
            hold_to(kind, limit, used, getattr(ask, kind))

    def settle(self, id: str, spent: Amount | None = None) -> None:
        """Turn what a call holds, or another amount, into what was spent."""
        held = self.held.pop(id)
        usd, tokens = held if spent is None else spent
        self.spent = Amount(self.spent.usd + usd, self.spent.tokens + tokens)

    def __enter__(self) -> Budget:
        self._tokens.append(_STACK.set((*_STACK.get(), self)))
        _BLOCKS.append((threading.get_ident(), self))
        return self

    def __exit__(self, *error: object) -> None:
        _STACK.reset(self._tokens.pop())
        place = max(n for n, (_, block) in enumerate(_BLOCKS) if block is self)
        del _BLOCKS[place]

    def __repr__(self) -> str:
        parts, held = list[str](), html.many(len(self.held), "call")
        if self._replays is not None and self.spent == NOTHING:
            return repr(self._replays)
        if usd := self.limits.get("usd"):
            parts.append(f"{html.money(self.spent.usd)} of {html.money(usd)}")
        if tokens := self.limits.get("tokens"):
            parts.append(f"{self.spent.tokens:,} of {tokens:,.0f} tokens")
        return f"budget: {' and '.join(parts)} spent, {held} open"


def around() -> tuple[Budget, ...]:
    """Return the budgets of the ``with`` blocks that a call is made in.

    A thread or an executor does not inherit them from where it was started. So a
    thread that is in no block of its own is in those that other threads have open.
    """
    stack = _STACK.get()
    if stack or not _BLOCKS:
        return stack
    here = threading.get_ident()
    return tuple(block for thread, block in tuple(_BLOCKS) if thread != here)


def hold_all(budgets: Sequence[Budget], id: str, ask: Amount) -> None:
    """Hold an amount in all budgets, or refuse it in all."""
    with _LOCK:
        for budget in budgets:
            budget.check(id, ask)
        for budget in budgets:
            budget.held[id] = ask


class _Open:
    """A call that budgets hold something for.

    Attributes:
        budgets: The budgets.
        usage: The tokens that they hold.
        arrived: Tokens of the answer so far at most.
    """

    def __init__(self, budgets: tuple[Budget, ...], usage: Usage) -> None:
        self.budgets = budgets
        self.usage = usage
        self.arrived = 0
        self._seen: list[int] = []

    def look(self, call: Call, encode: Encode | None) -> None:
        """Count what is new of an answer: its bytes, or its tokens where they can be.

        A character that is cut at the end is counted by its bytes, twice at most.
        """
        for place, piece in enumerate(call.arrived()):
            if place == len(self._seen):
                self._seen.append(0)
            new = bytes(piece[self._seen[place] :])
            if new and encode is None:
                self.arrived += len(new)
            elif new and encode is not None:
                text = new.decode("utf-8", "ignore")
                cut = len(new) - size(text)
                self.arrived += len(encode(text)) + cut
            self._seen[place] = len(piece)


class Budgets:
    """The one observer a client needs: all limits in force, then the ledger.

    Applies the limits given here, those of the ``with`` blocks around a call (also in
    tasks, in threads and in executors), and the day's limit of all kernels, which the
    ledger keeps; a day is one of UTC, so that it is the same for all. Closes whatever
    it opened.

    Args:
        ledger: Where calls are written down.
        always: Limits that hold for every call of the client.
        replays: Whether the client replays a recording: limits then hold as they did,
            among replays alone, and no day's limit is touched.

    Attributes:
        usd_per_day: Most to spend today in all kernels, in US dollars, from
            ``KIMIKIT_BUDGET_USD_PER_DAY``.

    Raises:
        BadInput: If the day's limit is not above 0.
    """

    def __init__(
        self, ledger: Ledger, always: Sequence[Budget] = (), *, replays: bool = False
    ) -> None:
        self.ledger = ledger
        self.always = tuple(always)
        self._replays = replays
        given = None if replays else os.environ.get(PER_DAY)
        self.usd_per_day = amount(PER_DAY, given, limit=True) if given else None
        self._open: dict[str, _Open] = {}

    def opened(self, call: Call) -> None:
        """Hold back what the call can take, or refuse it; then write it down.

        Raises:
            BudgetExceeded: If a limit would be passed, or no price is known.
            BadInput: If nothing bounds the answer of a call that is not streamed.
        """
        budgets = tuple(dict.fromkeys((*self.always, *around())))
        if self._replays:
            budgets = tuple(budget.of_replays() for budget in budgets)
        if not budgets and self.usd_per_day is None:
            self.ledger.opened(call)
            return
        usd = self._hold(call, budgets, self._at_first(call))
        try:
            self.ledger.opened(call, reserve=usd, check=self.day(usd))
        except BaseException:
            self._settle(call, NOTHING)
            raise

    def _at_first(self, call: Call) -> Usage:
        """Return the tokens to hold back before anything of the answer is there."""
        longest = self.ledger.prices.longest(call.host.name, call.model, call.body)
        prompt, answer = at_most(call.endpoint, call.body, longest, exact=True)
        if call.endpoint not in ("chat", "complete"):
            answer = 0
        elif call.body.get("stream") and not _bounded(call):
            answer = min(longest or ALLOWANCE, ALLOWANCE) * int(call.body.get("n") or 1)
        if answer is None or open_ended(call.body):
            raise unbounded(call.model, call.body)
        return Usage(prompt, answer)

    def _hold(self, call: Call, budgets: tuple[Budget, ...], usage: Usage) -> Decimal:
        """Hold back what so many tokens cost in all budgets, or in none.

        Raises:
            BudgetExceeded: If a limit would be passed, or no price is known.
        """
        usd = self._at_most(call, usage)
        strict = any("usd" in b.limits and not b.allow_unpriced for b in budgets)
        allowed = any(b.allow_unpriced for b in budgets)
        if usd is None and (strict or (self.usd_per_day is not None and not allowed)):
            raise unpriced(self.ledger.prices, call)
        ask = Amount(usd or Decimal(0), usage.total_tokens)
        hold_all(budgets, call.id, ask)
        held = self._open.setdefault(call.id, _Open(budgets, usage))
        held.usage = usage
        return ask.usd

    def _at_most(self, call: Call, usage: Usage) -> Decimal | None:
        """Return what so many tokens cost where all are put into the cache."""
        most = Ceiling(usage.prompt_tokens, usage.completion_tokens)
        return self.ledger.at_most(call, most)

    def day(self, usd: Decimal) -> Check | None:
        """Return what holds the day's limit for a call that may take ``usd``."""
        limit = self.usd_per_day
        return None if limit is None else partial(hold_to, "day", limit, ask=usd)

    def progressed(self, call: Call, usage: Usage) -> None:
        """Hold back more for an answer that outgrows what is held, or stop it.

        Raises:
            BudgetExceeded: If a limit would be passed.
        """
        self.ledger.progressed(call, usage)
        held = self._open.get(call.id)
        if held is None or _bounded(call):
            return
        names = asked_models(call.model, call.body)
        plain = all("kimi" in name.lower() for name in names)
        held.look(call, encoder() if plain else None)
        grown = max(held.arrived, usage.completion_tokens) + AHEAD
        if grown <= held.usage.completion_tokens:
            return
        usd = self._hold(call, held.budgets, Usage(held.usage.prompt_tokens, grown))
        if day := self.day(usd):
            self.ledger.hold(call, usd, day)

    def flush(self) -> None:
        """Write the rows of calls that begin or end together."""
        self.ledger.flush()

    def closed(
        self, call: Call, reply: Reply | None, error: BaseException | None
    ) -> None:
        """Turn what was held into what was spent; then complete the row."""
        if call.id in self._open:
            # Sent and not answered: the host may have billed all of it.
            spent = None
            if call.replayed and not self._replays:
                spent = NOTHING
            elif reply is not None:
                spent = self._spent(call, reply)
            elif outcome(reply, error) == "failed":
                spent = NOTHING
            self._settle(call, spent)
        self.ledger.closed(call, reply, error)

    def _spent(self, call: Call, reply: Reply) -> Amount:
        """Return what an answer took; at most, where its host did not say."""
        usd, usage = self.ledger.cost(call, reply)[0], reply.usage
        usd = self._at_most(call, usage) if usd is None else usd
        if usage.estimated:
            held = self._open[call.id]
            answer = max(held.arrived, usage.completion_tokens)
            most = Usage(max(held.usage.prompt_tokens, usage.prompt_tokens), answer)
            dear = self._at_most(call, most) or NOTHING.usd
            usd, usage = max(usd or NOTHING.usd, dear), most
        return Amount(usd or Decimal(0), usage.total_tokens)

    def lost(self, call: Call, error: BaseException) -> None:
        """Keep what a request took that was sent and lost, and hold as much again.

        Raises:
            BudgetExceeded: If it does not fit twice: then it is not sent again.
        """
        if outcome(None, error) != "lost":
            return
        self.ledger.lost(call, error)
        if call.id not in self._open:
            return
        held = self._open[call.id]
        self._settle(call, None)
        usd = self._hold(call, held.budgets, held.usage)
        if day := self.day(usd):
            self.ledger.hold(call, usd, day)

    def _settle(self, call: Call, spent: Amount | None) -> None:
        with _LOCK:
            for budget in self._open.pop(call.id).budgets:
                budget.settle(call.id, spent)


def _bounded(call: Call) -> bool:
    return bool(call.body.get("max_completion_tokens") or call.body.get("max_tokens"))
