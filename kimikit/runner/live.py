"""Ask many requests at once, on an event loop in a thread of its own.

The loop works beside whatever the cell does, so that it runs in any notebook, and Stop,
which reaches only the main thread, ends it within a second.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any, TypeVar

from kimikit import errors
from kimikit.errors import KimiError
from kimikit.runner.background import Background
from kimikit.runner.cache import RequestCache
from kimikit.runner.costs import CostLimit, unpriced
from kimikit.runner.endpoint import ClientFor, Endpoint, Gate
from kimikit.runner.requests import Request
from kimikit.types import Delta, Reply, Wait, Watch
from kimikit.wire.faults import is_used_up

_T = TypeVar("_T")

TRIES = 5
"""Times a call that met a rate limit is asked, beyond the client's own retries."""

LONGEST_WAIT_S = 300.0
"""A host that asks for a longer wait than this ends the work."""

FATAL = (
    errors.FixedTemperature,
    errors.AuthenticationFailed,
    errors.NoBalance,
    errors.ModelNotFound,
    errors.BadInput,
    errors.BudgetExceeded,
    errors.LocalHostError,
)
"""Errors that every other request would meet too."""

OF_THE_HOST = errors.ConnectionFailed, errors.TimedOut, errors.BadRequest
"""Errors that every other request would meet too, unless the host has answered."""

OF_THE_PROMPT = errors.ContextTooLong, errors.ContentFiltered
"""Errors that may lie in one prompt alone."""

IN_A_BATCH = "in a batch that is under way"


class Stopped(BaseException):
    """Ends a job whose runner sends no more requests, past any ``except Exception``."""


class Runner(Background):
    """Asks requests: paced per host, paid once, within a limit of money, until Stop.

    Args:
        client_for: Makes the clients, in the runner's own thread.
        cache: Where paid answers are found.
        concurrency: Calls at once per host; a default by host if left out.
        rpm: Requests per minute and host; a host that says its limit is believed.
        max_cost: US dollars that are not passed.
        probe: Whether one request of each model goes first, so that a pinned parameter
            costs one refusal and not one for each call at once.
        hold_upstream: Whether OpenRouter is held to the upstream that answered first.

    Attributes:
        endpoints: The hosts asked so far, by name.
        error: What ended the work before its time, if anything did.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
        stopping: Whether no more requests are sent.
        costs: What has been spent, and what calls under way may cost.
        reused: How many answers came from the cache.
        notes: What looked odd, with how often.
        asking: Tasks of calls that jobs in threads wait for.
        asks: Whether it asks anybody, and does not only plan.
        judges: Whether answers are to be judged; a judge that asks always is.
    """

    asks, judges = True, True

    def __init__(
        self,
        client_for: ClientFor,
        *,
        cache: RequestCache | None = None,
        concurrency: int | None = None,
        rpm: float | None = None,
        max_cost: Decimal | None = None,
        probe: bool = False,
        hold_upstream: bool = False,
    ) -> None:
        super().__init__()
        self.cache = cache or RequestCache()
        self.endpoints: dict[str | None, Endpoint] = {}
        self.reused = 0
        self.notes: Counter[str] = Counter()
        self.asking: set[asyncio.Task[Any]] = set()
        self.began = time.monotonic()
        self._make = functools.partial(
            Endpoint, client_for=client_for, concurrency=concurrency, rpm=rpm
        )
        self.costs = CostLimit(max_cost)
        self._probe, self._hold = probe, hold_upstream

    async def _close(self) -> None:
        dead = [each.dead for each in self.endpoints.values() if each.dead]
        over = dead and len(dead) == len(self.endpoints)
        if over and self.stop_reason != "interrupted":
            self.end(dead[0])
        await asyncio.gather(*(each.close() for each in self.endpoints.values()))

    def end(self, error: BaseException) -> None:
        """Let calls under way finish, send no more, and keep what ended it."""
        super().end(error)
        self._send_no_more()

    def _send_no_more(self) -> None:
        self.stopping = True
        for endpoint in self.endpoints.values():
            endpoint.limiter.lift()

    def endpoint(self, name: str | None) -> Endpoint:
        """Return a host by the name that requests give it."""
        if name not in self.endpoints:
            self.endpoints[name] = self._make(name)
        return self.endpoints[name]

    async def each(
        self,
        items: Iterable[_T],
        do: Callable[[_T], Awaitable[None]],
        *,
        at_once: int,
    ) -> None:
        """Do something for each item, so many at once, until no more is to be sent.

        What ``do`` raises ends the work.
        """
        left = iter(items)

        async def worker() -> None:
            for item in left:
                if self.stopping:
                    break
                try:
                    await do(item)
                except Stopped:
                    continue  # another host may go on
                except Exception as error:
                    self.end(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())

    async def ask(
        self,
        request: Request,
        watch: Watch | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> Reply:
        """Return the answer to a request, from the cache or from its host.

        Args:
            request: What to ask.
            watch: Told of each step of the answer.
            wanted: Asked when the request is about to be sent.

        Raises:
            Stopped: If no more requests are sent, or this one is not wanted any more.
            KimiError: What the host or a budget answered instead; rate limits only
                after several tries.
        """
        if (paid := self.cache.get(request.key)) is not None:
            self.reused += 1
            return paid
        if request.key in self.cache.claimed:
            self.notes[IN_A_BATCH] += 1
            raise Stopped
        endpoint = self.endpoint(request.host)
        if self._probe or self._holds(endpoint):
            gate = endpoint.gates[request.model]
            if not gate.clear:
                return await self._alone(gate, endpoint, request, watch, wanted)
        return await self._tried(endpoint, request, watch, wanted)

    def _holds(self, endpoint: Endpoint) -> bool:
        return self._hold and endpoint.title == "openrouter"

    async def _alone(
        self,
        gate: Gate,
        endpoint: Endpoint,
        request: Request,
        watch: Watch | None,
        wanted: Callable[[], bool],
    ) -> Reply:
        """Ask one request of a model until its answer has begun, others after it.

        A pinned temperature so costs one request and not one for each call at once. The
        first step of an answer is proof enough: a long answer holds nobody up, but at
        OpenRouter, whose upstream is known at the end.
        """
        alone = await gate.enter()

        def leave(*, answered: bool) -> None:
            nonlocal alone
            if alone:
                gate.leave(answered=answered)
            alone = False

        def heard(step: Delta | Wait) -> None:
            if isinstance(step, Delta) and not self._holds(endpoint):
                leave(answered=True)
            if watch is not None:
                watch(step)

        try:
            look = heard if alone else watch
            reply = await self._tried(endpoint, request, look, wanted)
            leave(answered=True)
            return reply
        finally:
            leave(answered=False)

    async def _tried(
        self,
        endpoint: Endpoint,
        request: Request,
        watch: Watch | None,
        wanted: Callable[[], bool],
    ) -> Reply:
        """Ask until there is an answer or an error that no other try would mend."""
        tries = 0
        while True:
            async with endpoint.limiter:
                if self.stopping or endpoint.dead is not None or not wanted():
                    raise Stopped
                if self.costs.usd is not None:
                    await self._afford(request)
                try:
                    return await self._sent(endpoint, request, watch)
                except KimiError as error:
                    tries += 1
                    if not self._worth_another(endpoint, request, error, tries):
                        raise
                finally:
                    if self.costs.usd is not None:
                        self.costs.end(request.bill)

    async def _afford(self, request: Request) -> None:
        """Set aside what a call may cost, or end the work at ``max_cost``."""
        if not await self.costs.admit(request.bill):
            if not self.stopping:
                self.stop_reason = "max_cost"
            self._send_no_more()
            raise Stopped
        if self.stopping:
            self.costs.end(request.bill)
            raise Stopped

    async def _sent(
        self, endpoint: Endpoint, request: Request, watch: Watch | None
    ) -> Reply:
        def look(step: Delta | Wait) -> None:
            if isinstance(step, Wait):
                endpoint.slow(step.seconds, step.reason)
            if watch is not None:
                watch(step)

        params = request.params
        if pinned := endpoint.pins.get(request.model):
            params = {**pinned, **params}
        meta = {**request.meta, "key": request.key} if request.key else request.meta
        client = endpoint.lend()
        try:
            reply = await client.chat(request.messages, watch=look, meta=meta, **params)
        except KimiError as error:
            self.costs.pay(
                request.bill, getattr(getattr(error, "reply", 0), "cost", None)
            )
            raise
        finally:
            endpoint.give_back(client)
        endpoint.limiter.succeed()
        endpoint.take(request.model, reply, hold=self._hold)
        free = reply.stand_in or (endpoint.host is not None and endpoint.host.stand_in)
        if reply.cost is None and self.costs.usd is not None and not free:
            self.end(unpriced())  # what it cost is not known, nor what is left
        self.costs.pay(request.bill, reply.cost)
        return reply

    def _worth_another(
        self, endpoint: Endpoint, request: Request, error: KimiError, tries: int
    ) -> bool:
        """Tell whether to ask again what was refused, after what the host said."""
        if isinstance(error, errors.RateLimited | errors.Overloaded):
            wait_s = getattr(error, "retry_after_s", None) or 0.0
            words = f"{error.host_message} {error.what}"
            endpoint.slow(wait_s, words)
            last = tries >= TRIES
            if (
                wait_s > LONGEST_WAIT_S
                or (is_used_up(words) and (last or not wait_s))
                or endpoint.refuses(error)
            ):
                self._give_up(endpoint, error)
                return False
            return not last
        if endpoint.pins.get(request.model) and isinstance(
            error, errors.BadRequest | errors.ModelNotFound
        ):
            endpoint.pins[request.model] = {}
            self.notes["the upstream could not be pinned"] += 1
            return True
        return False

    def _give_up(self, endpoint: Endpoint, error: KimiError) -> None:
        """Ask a host no more today; where it is the only one, the work ends."""
        if endpoint.dead is None:
            endpoint.give_up(error)
            full = isinstance(error, errors.Overloaded)
            why = "is overloaded" if full else "has no quota left for now"
            error.add_note("Ask for the rest by the same name when it answers again.")
            self.notes[f"{endpoint.title or 'the host'} {why}"] = 1

    def finished(self, found: _T, kind: str) -> _T:
        """Return what was finished, or raise what ended the work, which then holds it.

        Args:
            found: What was finished.
            kind: The attribute that holds it, such as ``lab``.
        """
        if self.error is None or self.stop_reason == "interrupted":
            return found
        setattr(self.error, kind, found)
        self.error.add_note(f"What was finished is in this error's .{kind}.")
        raise self.error

    def failed(
        self, request: Request, error: KimiError, *, others_may_do: bool = False
    ) -> bool:
        """Take a failure into account; return whether only this request met it.

        Args:
            request: What was asked.
            error: What came instead of an answer.
            others_may_do: Whether the fault may lie in what this request alone asks.
        """
        endpoint = self.endpoint(request.host)
        first = request.model not in endpoint.answered
        everywhere = isinstance(error, OF_THE_HOST) and first and not others_may_do
        if isinstance(error, FATAL) or everywhere:
            self.end(error)
            return False
        if endpoint.fail(error):
            self.notes[f"{endpoint.title or 'the host'} stopped answering"] = 1
        return True
