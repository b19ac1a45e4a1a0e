"""Ask many prompts, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from kimikit import errors
from kimikit.errors import BadInput, BudgetExceeded, KimiError
from kimikit.money.jobs import new_id
from kimikit.runner.batch import Way
from kimikit.runner.cache import RequestCache
from kimikit.runner.client import RunnerClient
from kimikit.runner.costs import Bill, Estimate, unpriced
from kimikit.runner.endpoint import ClientFor
from kimikit.runner.jobs import Job, catch_up
from kimikit.runner.limits import AT_ONCE, check_pace
from kimikit.runner.live import (
    FATAL,
    IN_A_BATCH,
    OF_THE_PROMPT,
    Runner,
    Stopped,
)
from kimikit.runner.many import ask_all, run_jobs
from kimikit.runner.planning import Planner
from kimikit.runner.prompts import Prompts, read_prompts
from kimikit.runner.requests import Request
from kimikit.runner.results import Item, Results
from kimikit.runner.rounds import Rounds
from kimikit.types import Reply
from kimikit.wire.options import joined, plain_params
from kimikit.wire.requests import as_messages, check_params

REFUSALS = 3
"""Refused prompts, with none answered, from which on the fault is no prompt's own."""

Ask = Callable[..., Reply]
"""``ask(client, prompt, **params)``: asks in several steps, by a client that blocks."""


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """How many prompts are asked.

    Attributes:
        client_for: Makes the clients that ask.
        client: One that blocks, which tells host and defaults.
        store: Where paid answers are found again: the ledger.
        price: What one call costs.
        attach: Puts before a prompt, given its row and place, what goes with it.
        ask: How a prompt is asked, where one call may not do.
        name: Makes it resumable.
        concurrency: Calls at once.
        rpm: Requests per minute.
        max_cost: US dollars that are not passed.
        progress: Whether to show a bar.
    """

    client_for: ClientFor
    client: Any
    store: Any = None
    price: Estimate | None = None
    attach: Callable[[Any, dict[str, Any], int], Any] | None = None
    ask: Ask | None = None
    name: str | None = None
    concurrency: int | None = None
    rpm: float | None = None
    max_cost: Decimal | None = None
    progress: bool = True


def map_prompts(
    how: Mapping,
    given: Any,
    template: str | None,
    params: dict[str, Any],
    way: Way,
) -> Results:
    """Ask each prompt once; see ``Kimi.map``.

    What a batch of the same name has answered by now is taken in first.

    Raises:
        BadInput: If a prompt, a parameter or an option is impossible; nothing was sent.
        BudgetExceeded: If ``max_cost`` is likely to be passed.
        KimiError: What every prompt would meet; what was finished is its ``results``.
    """
    prompts = _prompts(how, given, template)
    catch_up(way, "map", how.name)
    work = _work(how, Runner, prompts, params)
    found = work.found()
    return work.runner.finished(found, "results")


def batch_prompts(
    how: Mapping,
    way: Way,
    given: Any,
    template: str | None,
    params: dict[str, Any],
    poll_s: float | None,
) -> Job[Results]:
    """Ask what is missing by the host's batches; return the job at once.

    Raises:
        BadInput: If a prompt, a parameter or the host is impossible; nothing was sent.
        BudgetExceeded: If ``max_cost`` or a budget refuses it; nothing was sent.
        HostError: If the host takes no batch.
    """
    name = new_id("map") if how.name is None else how.name
    limit = how.max_cost
    how = msgspec.structs.replace(how, name=name, progress=False, max_cost=None)
    prompts = _prompts(how, given, template)

    def run(make: Callable[..., Runner], **_: bool) -> Results:
        work = _work(how, make, prompts, params)
        return work.runner.finished(work.found(), "results")

    rounds = Rounds(
        way,
        kind="map",
        name=name,
        run=run,
        client_of=way.client,
        max_cost=limit,
        once=how.ask is None,
        in_order=how.ask is None,
    )
    return rounds.job(how.client.host, poll_s)


def _prompts(how: Mapping, given: Any, template: str | None) -> Prompts:
    """Return the prompts, each with what goes before it."""
    prompts = read_prompts(given, template)
    if how.attach is None:
        return prompts
    each = map(how.attach, prompts.asked, prompts.rows, range(len(prompts.rows)))
    return prompts._replace(asked=list(each))


def _work(
    how: Mapping, kind: Callable[..., Runner], prompts: Prompts, params: dict[str, Any]
) -> _Work:
    """Ask prompts by a runner of a kind; return what came of it."""
    check_pace(how.concurrency, how.rpm)
    runner = kind(
        how.client_for,
        cache=RequestCache.named("map", how.name, how.store),
        concurrency=how.concurrency,
        rpm=how.rpm,
        max_cost=how.max_cost,
    )
    client = RunnerClient(runner, None, how.client)
    _check(client, prompts, params)
    work = _Work(how, runner, client, prompts, params)
    work.run()
    return work


def _check(client: RunnerClient, prompts: Prompts, params: dict[str, Any]) -> None:
    """Refuse what no host could answer before the first request is paid for."""
    asked = joined(client.defaults, params)
    if client.host is not None:
        model = str(params.get("model") or client.host.model)
        check_params(plain_params(asked), client.host, model)
    for place, prompt in enumerate(prompts.asked):
        try:
            as_messages(prompt, system=params.get("system"))
        except BadInput as exc:
            raise type(exc)(f"Prompt {place}: {exc.what}", exc.remedy) from exc


class _Work:
    """Asks the prompts of one mapping and keeps what comes."""

    def __init__(
        self,
        how: Mapping,
        runner: Runner,
        client: RunnerClient,
        prompts: Prompts,
        params: dict[str, Any],
    ) -> None:
        self.how, self.runner, self.client = how, runner, client
        self.prompts, self.params = prompts, params
        self.items: list[Item] = [None] * len(prompts.asked)
        self._refused = 0

    def run(self) -> None:
        if not self.items:
            return
        label = (self.how.name or "prompts") if self.how.progress else None
        if self.how.ask is None:
            asked, own = self._requests(), self._failed
            self.items = ask_all(self.runner, asked, failed=own, progress=label)
            return
        self._affordable(self._bills(self.prompts.asked))
        jobs = [partial(self._job, place) for place in range(len(self.items))]
        at_once = self.how.concurrency or AT_ONCE
        run_jobs(self.runner, jobs, concurrency=at_once, progress=label)

    def _requests(self) -> list[Request]:
        """Return what is asked, each with what it may cost if that is limited."""
        made = [self.client.request(p, **self.params) for p in self.prompts.asked]
        if self.how.max_cost is None:
            return made
        new = [r for r in made if self.runner.cache.get(r.key) is None]
        bills = self._bills([request.messages for request in new])
        self._affordable(bills)
        billed = {id(r): bill for r, bill in zip(new, bills, strict=True)}
        return [
            msgspec.structs.replace(r, bill=billed.get(id(r), r.bill)) for r in made
        ]

    def _bills(self, asked: Sequence[Any]) -> list[Bill]:
        host, price = self.client.host, self.how.price
        if self.how.max_cost is None or price is None or host is None:
            return []
        model = str(self.params.get("model") or host.model)
        return [price(host.name, model, self.params, each) for each in asked]

    def _affordable(self, bills: Sequence[Bill]) -> None:
        """Refuse work that would likely pass ``max_cost``."""
        if self.how.max_cost is None:
            return
        known = [low for low, _ in bills if low is not None]
        if len(known) < len(bills):
            raise unpriced()
        if (likely := sum(known, Decimal(0))) > self.how.max_cost:
            raise BudgetExceeded(
                f"{len(bills):,} prompts would likely cost ${likely:.4f}, above "
                f"max_cost ${self.how.max_cost}.",
                "Ask fewer, set max_tokens, or raise max_cost.",
            )

    def _failed(self, request: Request, error: KimiError) -> bool:
        """Take a failure into account; tell whether only this prompt met it."""
        if self._of_all(error):
            return False
        self.runner.failed(request, error, others_may_do=True)
        return True

    def _of_all(self, error: KimiError) -> bool:
        """Tell whether every other prompt would meet this too."""
        if isinstance(self.runner, Planner):
            return isinstance(error, BadInput)  # what failed has failed already
        if isinstance(error, FATAL):
            return True
        answered = self.runner.reused or self.runner.endpoint(None).answered
        if answered or isinstance(error, OF_THE_PROMPT):
            return False
        self._refused += 1
        lost = isinstance(error, errors.ConnectionFailed | errors.TimedOut)
        return lost or self._refused >= REFUSALS

    def _job(self, place: int) -> None:
        """Ask one prompt in as many steps as it takes."""
        ask = self.how.ask
        assert ask is not None
        try:
            reply = ask(self.client, self.prompts.asked[place], **self.params)
        except KimiError as error:
            self.items[place] = error
            if not isinstance(error, errors.InvalidAnswer) and self._of_all(error):
                raise
            return
        if reply.partial:
            raise Stopped
        self.items[place] = reply

    def found(self) -> Results:
        """Return what came."""
        host, notes = self.client.host, self.runner.notes
        return Results(
            self.items,
            self.prompts.asked,
            self.prompts.rows,
            frame=self.prompts.frame,
            name=self.how.name or "",
            reused=self.runner.reused,
            stop_reason="error" if self.runner.error else self.runner.stop_reason,
            notes=[f"{notes[n]:,} {n}" if n == IN_A_BATCH else n for n in notes],
            stand_in=bool(host and host.stand_in),
        )
