"""Let batches answer any work: planned, bought in rounds, and then finished.

Work asks through a runner. Given a runner that asks nothing, it tells what it would
ask. When batches have answered that, it is run again, finds these answers in the ledger
and gets further, until it asks for nothing new. It then returns what it returns live.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from kimikit.errors import BadInput, KimiError
from kimikit.money.budget import Budget, Budgets, around
from kimikit.money.jobs import Claimed, JobRow, new_id
from kimikit.money.ledger import Ledger
from kimikit.money.prices import amount
from kimikit.money.storable import dollars
from kimikit.runner.batch import Way, submit
from kimikit.runner.cache import prefix_of
from kimikit.runner.client import WorkOptions, wire_of
from kimikit.runner.jobs import Job, catch_up, seconds
from kimikit.runner.live import IN_A_BATCH
from kimikit.runner.planning import Planner
from kimikit.runner.requests import Request
from kimikit.runner.stored_jobs import ends, spent_on
from kimikit.types import ChatClient, Host
from kimikit.wire import Client, batches

RACES = 5
"""Times that another kernel may be quicker to begin the same batch, or to end it."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Run(Protocol[T_co]):
    """Does a work by the runner that ``make`` makes."""

    def __call__(self, make: Callable[..., Planner], *, judges: bool) -> T_co:
        """Return what came of it; where nothing is judged, it is only planned."""


class Rounds(Generic[T]):
    """What a job of batches has to do: buy, and finish.

    Args:
        way: How batches are asked and paid for.
        kind: What sort of work it is.
        name: What the user calls it.
        run: Does the work.
        client_of: Returns the client that asks a request, by the request's ``host``.
        max_cost: US dollars that all rounds together do not pass.
        once: Whether no answer leads to another question.
        in_order: Whether it asks in the same order each time.
    """

    def __init__(
        self,
        way: Way,
        *,
        kind: str,
        name: str,
        run: Run[T],
        client_of: Callable[[Any], Client],
        max_cost: Decimal | None = None,
        once: bool = False,
        in_order: bool = False,
    ) -> None:
        self._way, self._kind, self._name = way, kind, name
        self._run, self._client_of, self._limit = run, client_of, max_cost
        self._prefix = prefix_of(kind, name)
        self._once, self._in_order = once, in_order
        self._around = around()  # they hold for later rounds too
        self._mine: list[JobRow] = []

    def job(self, host: Host, poll_s: float | None) -> Job[T]:
        """Buy what is missing; return the job at once.

        Args:
            host: Who is asked if anybody is.
            poll_s: Seconds between two looks.

        Raises:
            BadInput: If the work, or a host, cannot be asked so; nothing was sent.
            BudgetExceeded: If ``max_cost`` or a budget refuses it; nothing was sent.
        """
        pause_s = seconds(poll_s)
        if not self._way.ledger._texts:
            raise BadInput(
                "The answers of a batch are found again in the ledger, and this one "
                "keeps numbers only (store='usage' or KIMIKIT_STORE).",
                "Keep answers with Ledger(store='full') or KIMIKIT_STORE=full, or ask "
                "live.",
            )
        rows = catch_up(self._way, self._kind, self._name)
        if not self._once:
            self._check_twice()
        held = self._bought(rows, {})
        rows = rows or [JobRow.nothing(self._kind, self._name, self._prefix, host)]
        return Job(
            self._way, rows, self.finish, buy=self.buy, poll_s=pause_s, held=held
        )

    def buy(self, rows: list[JobRow], *, retry: bool) -> tuple[Budget, ...]:
        """Buy what is to be asked next; return the budgets that hold it.

        Args:
            rows: The jobs so far, to which the new ones are added.
            retry: Whether to buy again what has failed in them.

        Raises:
            BudgetExceeded: If ``max_cost`` or a budget refuses it.
            HostError: If the host does not take it.
        """
        if self._once and not retry:
            return ()
        known = ends(self._way, rows)
        if retry:
            known = {key: why for key, why in known.items() if why is None}
        return self._bought(rows, known)

    def _bought(
        self, rows: list[JobRow], known: Mapping[str, str | None]
    ) -> tuple[Budget, ...]:
        """Buy what is missing, but for what is known to be over.

        What another kernel has begun meanwhile is waited for as if it were ours.
        """
        held: tuple[Budget, ...] = ()
        for _ in range(RACES):
            planned, open_ = self._planned(known)
            # What was answered is never bought again, even where nothing can be kept.
            planned = [each for each in planned if each.key not in known]
            before, raced = len(rows), False
            try:
                held += self._begin(planned, rows)
            except Claimed:  # of a part, it may be: what is left is planned anew
                open_ = raced = True
            ours = {row.id for row in rows}
            more = catch_up(self._way, self._kind, self._name) if open_ else []
            rows[:0] = [row for row in more if row.id not in ours]
            if not raced and (not open_ or more or len(rows) > before):
                break
        return held

    def finish(self, rows: Sequence[JobRow], stop_reason: str) -> T:
        """Return what the work makes of the answers that are there."""
        known = ends(self._way, rows)
        options: dict[str, Any] = {"known": known, "stop_reason": stop_reason}
        return self._run(partial(Planner, judges=True, **options), judges=True)

    def _check_twice(self) -> None:
        """Refuse a work that would buy another question in each round, for ever.

        Raises:
            BadInput: If it asks something else each time it is run.
        """
        first, second = (
            {request.key for request in self._planned({})[0]} for _ in range(2)
        )
        if first != second:
            raise _other_questions("Make it the same each time, or ask live.")

    def _planned(self, known: Mapping[str, str | None]) -> tuple[list[Request], bool]:
        """Return what is to be bought, and whether anything is in a batch already."""
        made: list[Planner] = []

        def make(*args: Any, **options: Any) -> Planner:
            made.append(Planner(*args, known=known, **options))
            return made[-1]

        try:
            self._run(make, judges=False)
        except KimiError:
            if not any(why is not None for why in known.values()):
                raise
            return [], False  # what failed ends the work, and its end will say so
        asked = {key for planner in made for key in planner.asked}
        mine = ends(self._way, self._mine)
        # What is asked once looks up what is paid for by itself.
        lost = any(why is None and key not in asked for key, why in mine.items())
        if lost and not self._once:
            raise _other_questions("What came is there: .collect() returns it.")
        found = [request for planner in made for request in planner.planned]
        open_ = any(planner.notes[IN_A_BATCH] for planner in made)
        # A batch answers in an order of its own; a replay must find the same file.
        if not self._in_order:
            found.sort(key=lambda one: one.key)
        return found, open_

    def _begin(
        self, planned: Sequence[Request], rows: list[JobRow]
    ) -> tuple[Budget, ...]:
        """Begin the batches of each host."""
        held: tuple[Budget, ...] = ()
        for host in dict.fromkeys(request.host for request in planned):
            before = len(rows)
            try:
                held += submit(
                    self._way,
                    self._client_of(host),
                    [request for request in planned if request.host == host],
                    rows,
                    about=(self._kind, self._name, self._prefix),
                    max_cost=self._left(),
                    budgets=self._around,
                )
            finally:
                self._mine += rows[: len(rows) - before]
        return held

    def _left(self) -> Decimal | None:
        """Return what is left of ``max_cost``."""
        if (left := self._limit) is None:
            return None
        for row in self._mine:
            taken = [reply.cost or Decimal(0) for reply in spent_on(self._way, row)]
            left -= sum(taken, dollars(self._way.ledger.jobs.held(row.id)[0]))
        return max(left, Decimal(0))


def _other_questions(remedy: str) -> BadInput:
    return BadInput(
        "This asks something else each time it is run, such as by chance or by the "
        "clock, so that answers of a batch would not be found again.",
        remedy,
    )


def done_by(
    via: object,
    poll_s: float | None,
    clients: Mapping[Any, ChatClient],
    kind: str,
    options: WorkOptions,
    run: Callable[[WorkOptions], T],
) -> Any:
    """Do work over clients at once, or return the ``Job`` of its batches.

    Args:
        via: ``live`` or ``batch``.
        poll_s: Seconds between two looks at a batch.
        clients: Whom it asks, by the names that requests give them.
        kind: What sort of work it is.
        options: How it is asked.
        run: Does the work with options such as these.

    Raises:
        BadInput: If ``via`` is neither, or these clients ask no batches.
        NotSupported: If one of their hosts has none.
        BudgetExceeded: If ``max_cost`` or a budget refuses a batch.
    """
    if via == "live":
        if options.name:  # what a batch of the name has answered is taken in first
            with contextlib.suppress(BadInput):
                way = way_over(clients, options.store)
                catch_up(way, kind, options.name)
        return run(options)
    if via != "batch":
        raise BadInput(f"via is {via!r}.", "Give 'live' or 'batch'.")
    way = way_over(clients, options.store)
    asked = {name: wire_of(client) for name, client in clients.items()}
    for wire in asked.values():
        batches.facts(wire.host, "embed" if kind == "embed" else "chat")
    limit = options.max_cost
    limit = None if limit is None else amount("max_cost", limit, limit=True)
    name = new_id(kind) if options.name is None else options.name
    options = options._replace(name=name, store=way.ledger, max_cost=None)
    rounds = Rounds(
        way,
        kind=kind,
        name=name,
        run=lambda make, **_: run(options._replace(runner=make)),
        client_of=asked.__getitem__,
        max_cost=limit,
    )
    return rounds.job(next(iter(asked.values())).host, poll_s)


def way_over(clients: Mapping[Any, ChatClient], store: Any) -> Way:
    """Return how the batches of these clients are asked, and noted in ``store``.

    Raises:
        BadInput: If they cannot be.
    """
    known: dict[str, Any] = {}
    limits: Budgets | None = None
    for client in clients.values():
        wire = wire_of(client)
        if not isinstance(wire, Client):
            raise BadInput(
                f"A client is of type {type(wire).__name__}, which asks no batches.",
                "Give a Kimi or a Client, or ask live.",
            )
        same = wire_of(known.setdefault(wire.host.name, client))
        if (same.host.base_url, same.key) != (wire.host.base_url, wire.key):
            raise BadInput(
                f"Two of the clients are {wire.host.name}, and not the same account.",
                "Ask each by a batch of its own.",
            )
        watching = (one for one in wire._observers if isinstance(one, Budgets))
        limits = limits or next(watching, None)
        store = store or getattr(client, "ledger", None)
    ledger = store or (limits.ledger if limits is not None else None)
    if not isinstance(ledger, Ledger):
        raise BadInput(
            "Batches are noted in a ledger, and there is none.",
            "Pass store=kimi.ledger, or a Kimi in place of a Client.",
        )

    def of_host(name: str | None) -> Client:
        if name is not None and name not in known:
            raise BadInput(
                f"A batch of this name is at {name}, which is not asked here.",
                "Collect it by kimi.jobs().",
            )
        found: Client = wire_of(known[name] if name else next(iter(known.values())))
        return found

    return Way(of_host, ledger, limits or Budgets(ledger))
