"""A client whose calls go through a runner, and a runner over any client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kimikit.bars import progress_bar
from kimikit.errors import BadInput, KimiError
from kimikit.runner.background import in_thread
from kimikit.runner.cache import RequestCache, RequestKeys
from kimikit.runner.live import STOP_S, Runner, Stopped
from kimikit.runner.requests import Request
from kimikit.types import ChatClient, Delta, Pricer, Reply, Wait, Watch

_T = TypeVar("_T")


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

        call = asyncio.ensure_future(
            in_thread(self._client.chat, messages, watch=look, **params)
        )
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

    Attributes:
        host: The client's host, ``None`` where it has none.
        defaults: What the client asks every call with, as far as it tells.
        pricer: What the client knows prices by, ``None`` where it has nothing.
    """

    def __init__(self, runner: Runner, name: str | None, client: Any) -> None:
        self.host = getattr(client, "host", None)
        self.defaults: dict[str, Any] = getattr(client, "defaults", {})
        self.pricer: Pricer | None = getattr(client, "pricer", None)
        self._runner, self._name = runner, name
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
            if endpoint.fail(error):
                title = endpoint.title or "the host"
                self._runner.notes[f"{title} stopped answering"] = 1
            raise
        finally:
            self._runner.asking.discard(task)

    def request(
        self, messages: Any, *, meta: dict[str, Any] | None = None, **params: Any
    ) -> Request:
        """Return what a call asks, with the key that its answer is kept by."""
        model = params.get("model") or getattr(self.host, "model", "")
        key, cache = "", self._runner.cache
        if cache.prefix:
            key, older = self._keys.of(messages, params, meta)
            if cache.get(key) is None and cache.get(older) is not None:
                key = older
        return Request(
            messages=messages,
            params=params,
            host=self._name,
            model=str(model),
            key=key,
            meta=meta or {},
        )


def wire_of(client: Any) -> Any:
    """Return what asks without showing: a ``Kimi`` would show every answer."""
    return getattr(client, "client", client)


def runner_over(
    clients: dict[str | None, ChatClient],
    *,
    kind: str,
    name: str | None = None,
    store: Any = None,
    **options: Any,
) -> tuple[Runner, dict[str | None, RunnerClient]]:
    """Return a runner over clients that block, and for each one that goes through it.

    Args:
        clients: Any objects with ``chat``, by the names that requests give them.
        kind: What sort of work it is; its keys begin with that.
        name: What the work is called; the same name finds its answers again.
        store: Where paid answers are found; a client's ledger if left out.
        **options: As for ``Runner``.
    """
    wires = {key: wire_of(client) for key, client in clients.items()}
    for client in clients.values():
        store = getattr(client, "ledger", None) if store is None else store
    runner = Runner(
        lambda key: _Threaded(wires[key]),
        cache=RequestCache.named(kind, name, store),
        **options,
    )
    facades = {key: RunnerClient(runner, key, wire) for key, wire in wires.items()}
    return runner, facades


def run_jobs(
    runner: Runner,
    jobs: Sequence[Callable[[], _T]],
    *,
    concurrency: int,
    groups: Sequence[object] = (),
    progress: str | None = None,
) -> list[_T | None]:
    """Run blocking jobs on threads of a runner and return their results in order.

    Args:
        runner: Whose clients the jobs ask.
        jobs: What to run; each sees the caller's context variables.
        concurrency: How many run at once, in each group.
        groups: For each job its group, such as the host it asks: a slow one keeps no
            other waiting. Without, all share one.
        progress: Label of a progress bar, none if left out.

    Returns:
        The results; ``None`` for the jobs that raised, or that Stop or ``max_cost``
        prevented. The first error sends no more and is the runner's ``error``, for
        ``raise_for_error``: the results are paid for.

    Raises:
        BadInput: If ``concurrency`` is not positive.
    """
    if isinstance(concurrency, bool) or not concurrency >= 1:
        raise BadInput(
            f"concurrency={concurrency} runs nothing.", "Give a number of 1 or more."
        )
    results: list[_T | None] = [None] * len(jobs)
    running: set[asyncio.Future[None]] = set()
    done = 0

    def job(index: int) -> _T:
        try:
            return jobs[index]()
        except KeyboardInterrupt as exc:  # it would end the loop of the others unheard
            raise Stopped from exc

    async def one(index: int) -> None:
        nonlocal done
        results[index] = await in_thread(job, index)
        done += 1

    async def do(index: int) -> None:
        run = asyncio.ensure_future(one(index))
        running.add(run)
        run.add_done_callback(running.discard)
        await asyncio.shield(run)

    async def work() -> None:
        sorted_by: dict[object, list[int]] = {}
        for index in range(len(jobs)):
            group = groups[index] if groups else None
            sorted_by.setdefault(group, []).append(index)
        try:
            async with asyncio.TaskGroup() as tasks:
                for some in sorted_by.values():
                    at_once = min(concurrency, len(some))
                    tasks.create_task(runner.each(some, do, at_once=at_once))
        except asyncio.CancelledError:
            # Stop: calls hang up, and jobs take what had arrived for an answer.
            for call in tuple(runner.asking):
                call.cancel()
            if running:
                await asyncio.wait(running, timeout=0.75 * STOP_S)
            raise

    with progress_bar(total=len(jobs), desc=progress, disable=progress is None) as bar:

        def tell() -> None:
            bar.update(done - bar.n)

        runner.run(work, tell)
    return results
