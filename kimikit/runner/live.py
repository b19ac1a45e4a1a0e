"""Ask many requests at once, on an event loop in a thread of its own.

The loop works beside whatever the cell does, so that it runs in any notebook, and Stop,
which reaches only the main thread, ends it within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, TypeVar

from kimikit import errors
from kimikit.errors import KimiError
from kimikit.runner.cache import RequestCache
from kimikit.runner.limits import AT_ONCE, SMALL_HOSTS, RateLimiter
from kimikit.runner.requests import Request
from kimikit.types import AsyncChatClient, Delta, Host, Reply, Wait, Watch

_T = TypeVar("_T")

TRIES = 5
"""Times a call that met a rate limit is asked, beyond the client's own retries."""

LONGEST_WAIT_S = 300.0
"""A host that asks for a longer wait than this ends the work."""

STOP_S = 0.8
"""How long a stopped runner waits for its connections to close, in seconds."""

SHARED = 4
"""Calls at once that share a client: httpx looks at all connections of a pool for each
request, so a pool of 16 costs half as much again as one of 4, and one of 100 ten times.
"""

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

UNREACHABLE = errors.ConnectionFailed, errors.TimedOut, errors.Overloaded

ClientFor = Callable[[str | None], AsyncChatClient]
"""Makes a client of a host by its name; ``None`` is the default host."""


class Stopped(BaseException):
    """Ends a job whose runner sends no more requests, past any ``except Exception``."""


class Endpoint:
    """One host as a runner sees it: its clients and how fast it may be asked.

    Attributes:
        name: What the host was called in requests, ``None`` for the default one.
        host: The host, ``None`` where a client does not tell.
        title: The host's name, empty where it is not known.
        defaults: What its clients ask every call with, as far as they tell.
        limiter: How fast it is asked.
        answered: Models that have answered at least once.
        pins: For a model, parameters that hold it to one upstream.
        dead: The error after which it is no longer asked.
    """

    def __init__(
        self,
        name: str | None,
        client_for: ClientFor,
        concurrency: int | None,
        rpm: float | None,
    ) -> None:
        self.name = name
        self._client_for = client_for
        self._clients: list[tuple[AsyncChatClient, list[int]]] = []
        first = self._add()
        self.host: Host | None = getattr(first, "host", None)
        self.title = self.host.name if self.host else name or ""
        self.defaults: dict[str, Any] = getattr(first, "defaults", {})
        at_once = concurrency or SMALL_HOSTS.get(self.title, AT_ONCE)
        self.limiter = RateLimiter(at_once, rpm)
        self.answered: set[str] = set()
        self.pins: dict[str, dict[str, Any]] = {}
        self.dead: KimiError | None = None
        self.gates: defaultdict[str, _Gate] = defaultdict(_Gate)
        self._streak = 0

    def _add(self) -> AsyncChatClient:
        client = self._client_for(self.name)
        self._clients.append((client, [0]))
        return client

    @contextlib.contextmanager
    def client(self) -> Iterator[AsyncChatClient]:
        """Lend a client that few others use at the same time."""
        free = next((each for each in self._clients if each[1][0] < SHARED), None)
        if free is None:
            self._add()
            free = self._clients[-1]
        client, active = free
        active[0] += 1
        try:
            yield client
        finally:
            active[0] -= 1

    def take(self, model: str, reply: Reply, *, hold: bool) -> None:
        """Note that a model answers; hold OpenRouter to the upstream that did.

        Upstreams differ in quantisation and defaults, which would pass for an effect
        of what is compared.
        """
        provider = reply.raw.get("provider")
        self.answered.add(model)
        self._streak = 0
        if hold and self.title == "openrouter" and provider and model not in self.pins:
            only = {"only": [provider], "allow_fallbacks": False}
            self.pins[model] = {"provider": only}

    def fail(self, error: KimiError) -> bool:
        """Note a failure; return whether the host is given up by it."""
        unreachable = isinstance(error, UNREACHABLE)
        self._streak = self._streak + 1 if unreachable else 0
        if self._streak > self.limiter.ceiling and self.dead is None:
            self.dead = error
            return True
        return False

    async def close(self) -> None:
        """Close all connections; a fake may have nothing to close."""
        for client, _ in self._clients:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(client.close(), 0.2)  # type: ignore[attr-defined]


class _Gate:
    """Lets one request of a model through until its answer has begun."""

    def __init__(self) -> None:
        self.open = False
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def pass_through(self) -> AsyncIterator[Callable[[], None]]:
        """Yield what opens the gate for the others."""
        await self._lock.acquire()
        held = [True]

        def release() -> None:
            if held.pop() if held else False:
                self._lock.release()

        def heard() -> None:
            self.open = True
            release()

        if self.open:
            release()
        try:
            yield heard
        finally:
            release()


class Runner:
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
        stop_reason: ``done``, ``interrupted`` or ``max_cost``.
        stopping: Whether no more requests are sent.
        spent: US dollars of this run.
        reused: How many answers came from the cache.
        notes: What looked odd, with how often.
    """

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
        self.cache = cache or RequestCache()
        self.endpoints: dict[str | None, Endpoint] = {}
        self.error: BaseException | None = None
        self.stop_reason = "done"
        self.stopping = False
        self.spent = self._dearest = Decimal(0)
        self.reused = 0
        self.notes: Counter[str] = Counter()
        self.began = time.monotonic()
        self._make = functools.partial(
            Endpoint, client_for=client_for, concurrency=concurrency, rpm=rpm
        )
        self._max_cost, self._probe, self._hold = max_cost, probe, hold_upstream
        self._price_known = _Gate()
        self._under_way = 0
        self._finished = threading.Event()
        self._cancel: Callable[[], object] = lambda: None
        self.loop: asyncio.AbstractEventLoop | None = None

    # The caller's thread.

    def run(
        self,
        work: Callable[[], Awaitable[None]],
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Do the work in the runner's thread; on Stop, cancel it and keep what it has.

        Args:
            work: What to do there; it awaits ``ask``, ``each`` and ``call``.
            tell: Called about four times a second, in the caller's thread.
        """
        context = contextvars.copy_context()  # tags and budgets of the caller hold
        thread = threading.Thread(
            target=lambda: context.run(asyncio.run, self._main(work)),
            name="kimikit-runner",
            daemon=True,
        )
        try:
            thread.start()  # the first call may be on its way before this returns
            # A wait without a time limit cannot be interrupted on Windows.
            while not self._finished.wait(0.25):
                tell()
            tell()
        except BaseException as error:
            self._interrupt()
            if not isinstance(error, KeyboardInterrupt):
                raise

    def _interrupt(self) -> None:
        """Cancel the work and give it a moment to close its connections."""
        self.stop_reason, self.stopping = "interrupted", True
        with contextlib.suppress(RuntimeError):  # it may just have ended
            self._cancel()
        with contextlib.suppress(KeyboardInterrupt):
            self._finished.wait(STOP_S)

    # The runner's thread.

    async def _main(self, work: Callable[[], Awaitable[None]]) -> None:
        self.loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            self._cancel = functools.partial(
                self.loop.call_soon_threadsafe, task.cancel
            )
        try:
            if not self.stopping:
                await work()
            dead = [each.dead for each in self.endpoints.values() if each.dead]
            if dead and len(dead) == len(self.endpoints):
                self.end(dead[0])
        except asyncio.CancelledError:
            self.stop_reason = "interrupted"
        except Exception as error:  # raised again in the caller's thread
            self.end(error)
        finally:
            await asyncio.gather(*(each.close() for each in self.endpoints.values()))
            self._finished.set()

    def end(self, error: BaseException) -> None:
        """Let calls under way finish, send no more, and keep what ended it."""
        self.error = self.error or error
        self.stopping = True

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
                    break
                except Exception as error:
                    self.end(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())

    @contextlib.asynccontextmanager
    async def first(
        self, endpoint: Endpoint, model: str
    ) -> AsyncIterator[Callable[[], None]]:
        """Hold all but one request of a model back until its answer has begun.

        A pinned temperature so costs one request and not one for each call at once. The
        first step of an answer is proof enough: a long answer holds nobody up. The
        block is given what tells so.
        """
        gate = endpoint.gates[model]
        if gate.open or not (self._probe or endpoint.title == "openrouter"):
            yield lambda: None
            return
        async with gate.pass_through() as heard:
            yield heard

    async def ask(self, request: Request, watch: Watch | None = None) -> Reply:
        """Return the answer to a request, from the cache or from its host.

        Raises:
            Stopped: If no more requests are sent.
            KimiError: What the host or a budget answered instead; rate limits only
                after several tries.
        """
        if (paid := self.cache.get(request.key)) is not None:
            self.reused += 1
            return paid
        endpoint = self.endpoint(request.host)
        tries = 0
        while True:
            async with self._priced(), endpoint.limiter:
                self._check_going_on(endpoint)
                try:
                    return await self._sent(endpoint, request, watch)
                except KimiError as error:
                    tries += 1
                    if not self._worth_another(endpoint, request, error, tries):
                        raise

    @contextlib.asynccontextmanager
    async def _priced(self) -> AsyncIterator[None]:
        """Hold all but one call back until it is known what one costs."""
        if self._max_cost is None or self._price_known.open:
            yield
            return
        async with self._price_known.pass_through() as known:
            yield
            known()

    def _check_going_on(self, endpoint: Endpoint) -> None:
        """Stop where nothing more is to be sent, or a call could pass ``max_cost``."""
        reserved = self._dearest * (self._under_way + 1)
        if self._max_cost is not None and self.spent + reserved > self._max_cost:
            if not self.stopping:
                self.stop_reason = "max_cost"
            self.stopping = True
        if self.stopping:
            raise Stopped
        if endpoint.dead is not None:
            raise endpoint.dead

    async def _sent(
        self, endpoint: Endpoint, request: Request, watch: Watch | None
    ) -> Reply:
        def look(step: Delta | Wait) -> None:
            if isinstance(step, Wait):
                endpoint.limiter.slow(step.seconds, step.reason)
            if watch is not None:
                watch(step)

        params = {**endpoint.pins.get(request.model, {}), **request.params}
        meta = {**request.meta, "key": request.key} if request.key else request.meta
        self._under_way += 1
        try:
            with endpoint.client() as client:
                reply = await client.chat(
                    request.messages, watch=look, meta=meta, **params
                )
        except errors.KimiError as error:
            self._pay(getattr(error, "reply", None))
            raise
        finally:
            self._under_way -= 1
        endpoint.limiter.succeed()
        endpoint.take(request.model, reply, hold=self._hold)
        self._pay(reply)
        return reply

    def _pay(self, reply: Reply | None) -> None:
        if reply is not None and reply.cost is not None:
            self.spent += reply.cost
            self._dearest = max(self._dearest, reply.cost)

    def _worth_another(
        self, endpoint: Endpoint, request: Request, error: KimiError, tries: int
    ) -> bool:
        """Whether to ask a request again that was refused, after what the host said."""
        if isinstance(error, errors.RateLimited | errors.Overloaded):
            wait_s = getattr(error, "retry_after_s", None) or 0.0
            endpoint.limiter.slow(wait_s, f"{error.host_message} {error.what}")
            if wait_s > LONGEST_WAIT_S:
                self.end(error)
            return wait_s <= LONGEST_WAIT_S and tries < TRIES
        pinned = endpoint.pins.get(request.model)
        if pinned and isinstance(error, errors.BadRequest | errors.ModelNotFound):
            endpoint.pins[request.model] = {}
            self.notes["the upstream could not be pinned"] += 1
            return True
        return False

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
