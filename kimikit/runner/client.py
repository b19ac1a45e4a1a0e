"""Make a client whose calls go through a runner, and a runner over any client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar, cast

from kimikit.errors import AuthenticationFailed, BadInput, KimiError, NoBalance
from kimikit.json_values import check_count
from kimikit.money.prices import amount
from kimikit.runner.background import in_thread
from kimikit.runner.cache import RequestCache, RequestKeys
from kimikit.runner.costs import Bill, Estimate, estimate_of, unpriced
from kimikit.runner.live import Runner, Stopped
from kimikit.runner.requests import Request
from kimikit.types import (
    AnswerStore,
    ChatClient,
    Delta,
    Pricer,
    Reply,
    Wait,
    Watch,
)
from kimikit.wire.options import joined

_Name = TypeVar("_Name", bound=str | None)

OF_THE_ACCOUNT = AuthenticationFailed, NoBalance
"""Errors after which a host is asked no more, whatever would be asked of it."""


class _Threaded:
    """A client that blocks, as one to be awaited; a stopped call ends at a token."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self.host = getattr(client, "host", None)
        self.defaults = getattr(client, "defaults", {})

    async def chat(self, messages: Any, **params: Any) -> Reply:
        stop = threading.Event()
        watch: Watch = params.pop("watch")

        def look(step: Delta | Wait) -> None:
            # A client takes an interrupt inside a call as the user's Stop: it hangs
            # up, so that no more tokens are made and paid for.
            if stop.is_set():
                raise KeyboardInterrupt
            watch(step)

        def ask() -> Reply:
            try:
                return self._client.chat(messages, watch=look, **params)
            except KeyboardInterrupt as exc:  # it would end the loop of the others
                raise Stopped from exc

        call = asyncio.ensure_future(in_thread(ask))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            stop.set()
            return await call  # what had arrived is paid for


class RunnerClient:
    """A ``ChatClient`` for the jobs of a runner; it blocks, in a thread of the job's.

    Where the work has a name each call carries a key made of what it asks, and an
    answer that was paid for under the same key is not asked for again.

    Args:
        runner: Asks.
        name: The host as the runner's ``client_for`` knows it.
        client: The client behind it, which tells host, defaults and prices.
        estimate: Tells the bill of a call, where anything does.

    Attributes:
        host: The client's host, ``None`` where it has none.
        defaults: What the client asks every call with, as far as it tells.
        pricer: What the client knows prices by, ``None`` where it has nothing.
    """

    def __init__(
        self,
        runner: Runner,
        name: str | None,
        client: Any,
        estimate: Estimate | None = None,
    ) -> None:
        self.host = getattr(client, "host", None)
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        self.pricer: Pricer | None = getattr(client, "pricer", None)
        self._runner, self._name, self._estimate = runner, name, estimate
        self._keys = RequestKeys(runner.cache, self.host, self.defaults)

    def chat(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: dict[str, Any] | None = None,
        **params: Any,
    ) -> Reply:
        """Answer from the cache or the host.

        Raises:
            Stopped: If the runner sends no more requests.
            BudgetExceeded: If there is a ``max_cost`` and no price.
        """
        loop = self._runner.loop
        if loop is None:
            raise BadInput("The runner does not run.", "Call from one of its jobs.")
        made = self.request(messages, meta=meta, **params)
        asking = self._ask(made, watch)
        try:
            future = asyncio.run_coroutine_threadsafe(asking, loop)
        except RuntimeError as exc:  # the loop has ended meanwhile
            asking.close()
            raise Stopped from exc
        try:
            return future.result()
        except concurrent.futures.CancelledError as exc:
            raise Stopped from exc

    async def _ask(self, request: Request, watch: Watch | None) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        self._runner.asking.add(task)
        try:
            return await self._runner.ask(request, watch)
        except KimiError as error:
            endpoint = self._runner.endpoint(self._name)
            if isinstance(error, OF_THE_ACCOUNT):
                endpoint.give_up(error)
            elif endpoint.fail(error):
                title = endpoint.title or "the host"
                self._runner.notes[f"{title} stopped answering"] = 1
            raise
        finally:
            self._runner.asking.discard(task)

    def request(
        self, messages: Any, *, meta: dict[str, Any] | None = None, **params: Any
    ) -> Request:
        """Return what a call asks, with its bill and the key of its answer.

        Raises:
            BudgetExceeded: If there is a ``max_cost`` and no price.
        """
        model = str(params.get("model") or getattr(self.host, "model", ""))
        key, cache, paid = "", self._runner.cache, None
        if cache.prefix:
            key, older = self._keys.of(messages, params, meta)
            if (paid := cache.get(key)) is None and (paid := cache.get(older)):
                key = older
        return Request(
            messages=messages,
            params=params,
            host=self._name,
            model=model,
            key=key,
            meta=meta or {},
            bill=(None, None) if paid else self._bill(messages, model, params),
        )

    def _bill(self, messages: Any, model: str, params: dict[str, Any]) -> Bill:
        if self._runner.costs.usd is None or self._estimate is None:
            return None, None
        asked = joined(self.defaults, params)
        title = getattr(self.host, "name", "")
        likely, most = self._estimate(title, model, asked, messages)
        if likely is None or most is None:
            raise unpriced()
        return likely, most


def wire_of(client: Any) -> Any:
    """Return what asks without showing: a ``Kimi`` would show every answer."""
    return getattr(client, "client", client)


class WorkOptions(NamedTuple):
    """What every work that asks often takes.

    Attributes:
        concurrency: Calls at once per host.
        name: What the work is called; the same name finds its answers again.
        store: Where paid answers are found; a client's ledger if left out.
        max_cost: US dollars that are not passed.
        runner: Makes what asks.
    """

    concurrency: int
    name: str | None = None
    store: AnswerStore | None = None
    max_cost: Decimal | float | str | None = None
    runner: Callable[..., Runner] = Runner


def runner_over(
    clients: Mapping[_Name, ChatClient], kind: str, options: WorkOptions
) -> tuple[Runner, dict[_Name, RunnerClient]]:
    """Return a runner over clients that block, and for each one that goes through it.

    Args:
        clients: Any objects with ``chat``, by the names that requests give them.
        kind: What sort of work it is; its keys begin with that.
        options: How it is asked.

    Raises:
        BadInput: If ``concurrency`` or ``max_cost`` is not positive, or there is a
            name and no store.
    """
    concurrency, name, store, max_cost, kind_of_runner = options
    check_count("concurrency", concurrency)
    limit = None if max_cost is None else amount("max_cost", max_cost, limit=True)
    for client in clients.values():
        store = getattr(client, "ledger", None) if store is None else store
    wires = {key: wire_of(client) for key, client in clients.items()}
    runner = kind_of_runner(
        lambda key: _Threaded(wires[cast(_Name, key)]),
        cache=RequestCache.named(kind, name, store),
        concurrency=concurrency,
        max_cost=limit,
    )
    return runner, {
        key: RunnerClient(runner, key, wire, estimate_of(wire, store))
        for key, wire in wires.items()
    }
