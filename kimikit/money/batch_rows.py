"""Write the ledger's rows of a batch: opened before it, closed with what came."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kimikit.errors import BudgetExceeded
from kimikit.money.bills import at_most
from kimikit.money.budget import Amount, Budget, Budgets, around, hold_all
from kimikit.money.ledger import Ledger, insert_row
from kimikit.money.rows import stored
from kimikit.money.storable import pico
from kimikit.types import Call, Reply
from kimikit.types.host import HostBatch
from kimikit.usage import asked_models, paid_as, priced_as

_SOME = 500
"""Rows of one look."""


class Most(NamedTuple):
    """What a call of a batch takes at most.

    Attributes:
        usd: US dollars, ``None`` where the price or the length is not known.
        tokens: Tokens, ``None`` where nothing bounds the answer.
    """

    usd: Decimal | None
    tokens: int | None


def most(ledger: Ledger, call: Call, about: HostBatch) -> Most:
    """Return what a call takes at most at the prices of a host's batches."""
    book, host, body = ledger.prices, call.host.name, call.body
    names = [name + about.suffix for name in asked_models(call.model, body)]
    priced = {**body, "models": names}
    longest = book.longest(host, names[0], priced)
    longest = longest or book.longest(host, call.model, body)
    ceiling = at_most(call.endpoint, call.body, longest, exact=False)
    tokens = None
    if ceiling.completion_tokens is not None:
        tokens = ceiling.prompt_tokens + ceiling.completion_tokens
    price = book.dearest(host, names[0], priced, call.created)
    usd = ceiling.cost(price)
    return Most(None if usd is None else usd * about.price_most, tokens)


def batch_cost(
    ledger: Ledger, call: Call, reply: Reply, about: HostBatch
) -> Decimal | None:
    """Return what an answer cost in a batch; what the host says it charged wins."""
    usage, body = reply.usage, call.body
    if usage.cost_usd is not None:
        return usage.cost_usd
    plain = {**body, "service_tier": None}
    for name in paid_as(call.model, reply.model.removesuffix(about.suffix), plain):
        model = priced_as(name + about.suffix, body)
        price = ledger.prices.lookup(call.host.name, model, call.created)
        if price is not None:
            return price.cost(usage) * about.price_factor
    return None


def hold(
    budgets: Budgets, id: str, calls: Sequence[Most], more: Sequence[Budget] = ()
) -> tuple[Budget, ...]:
    """Hold what a batch takes at most in all budgets in force, or in none.

    Args:
        budgets: Those of the client; the ``with`` blocks around hold as well.
        id: What it is held under.
        calls: What is asked.
        more: Others that hold.

    Raises:
        BudgetExceeded: If it does not fit, or is not known.
    """
    held = tuple(dict.fromkeys((*budgets.always, *around(), *more)))
    if not held:
        return ()
    unpriced = any(each.usd is None for each in calls)
    unbound = any(each.tokens is None for each in calls)
    dollars = any("usd" in b.limits and not b.allow_unpriced for b in held)
    if (unpriced and dollars) or (unbound and any("tokens" in b.limits for b in held)):
        raise BudgetExceeded(
            "What a batch can cost at most is not known, so a budget cannot hold it.",
            "Pass max_tokens=..., and set the price with kimi.set_price(...).",
        )
    usd = sum((each.usd or Decimal(0) for each in calls), Decimal(0))
    ask = Amount(usd, sum(each.tokens or 0 for each in calls))
    hold_all(held, id, ask)
    return held


def settle(held: Sequence[Budget], id: str, spent: Sequence[Reply]) -> None:
    """Turn what a batch holds into what it took."""
    usd = sum((reply.cost or Decimal(0) for reply in spent), Decimal(0))
    tokens = sum(reply.usage.total_tokens for reply in spent)
    for budget in held:
        if id in budget.held:
            budget.settle(id, Amount(usd, tokens))


def open_all(
    ledger: Ledger, budgets: Budgets | None, calls: Sequence[tuple[Call, Most]]
) -> None:
    """Write calls down before their batch is begun, within the limit of the day.

    Raises:
        BudgetExceeded: If the day's limit would be passed; no row is left then.
    """
    check = None
    if budgets is not None and budgets.usd_per_day is not None:
        if any(each.usd is None for _, each in calls):
            raise BudgetExceeded(
                "What a batch can cost at most is not known, so the day's limit cannot "
                "hold it.",
                "Pass max_tokens=..., and set the price with kimi.set_price(...).",
            )
        total = sum((each.usd or Decimal(0) for _, each in calls), Decimal(0))
        check = budgets.day(total)
    rows = []
    for call, each in calls:
        held = {"at_most": pico(each.usd), "reserved": pico(each.usd)}
        rows.append((ledger._row(call) | held, ledger._request(call)))

    def insert(db: sqlite3.Connection) -> None:
        ledger._note_zone(db)
        for row, request in rows:
            insert_row(db, row, request)

    def work(db: sqlite3.Connection) -> None:
        if check is not None:
            check(ledger._used(calls[0][0]))
        insert(db)

    ledger._store.write(work, insert)
    ledger._tell()


def close_all(
    ledger: Ledger,
    ends: Sequence[tuple[Call, Reply | None, BaseException | None]],
) -> None:
    """Complete the rows of calls that ended, together."""
    made = []
    for call, reply, error in ends:
        ledger.recent.pop(call.model, None)
        kept = None if reply is None else ledger._reply(call, reply)
        made.append((call, ledger._end(call, reply, error), kept))

    def work(db: sqlite3.Connection) -> None:
        for call, end, kept in made:
            ledger._close(db, call, end, kept)

    ledger._store.write(work)
    ledger._tell()


class Kept(msgspec.Struct, frozen=True):
    """What the ledger keeps of a request.

    Attributes:
        endpoint: What was asked.
        created: Unix time.
        body: Its JSON, empty where texts are not kept.
    """

    endpoint: str = "chat"
    created: float = 0.0
    body: dict[str, Any] = {}


def requests(ledger: Ledger, ids: Sequence[str]) -> dict[str, Kept]:
    """Return what is kept of calls."""
    found = {}
    for start in range(0, len(ids), _SOME):
        some = ids[start : start + _SOME]
        marks = ", ".join("?" * len(some))
        for id_, endpoint, created, body in ledger._store.read(
            "SELECT id, endpoint, created, body FROM calls LEFT JOIN requests"
            f" USING (seq) WHERE id IN ({marks})",
            some,
        ):
            found[id_] = Kept(endpoint, created, stored(body) or {})
    return found
