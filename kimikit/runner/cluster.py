"""Ask by the workers of a Dask cluster, while the driver counts and paces.

Each worker has an ``Asker`` with clients of its own, whose keys come from its own
environment or keyring; what is asked goes to it as a call, not as a task, so that no
graph, log or dashboard holds it. The driver keeps the ledger, budgets, pace and cache.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from kimikit.errors import BadInput, ConnectionFailed, KimiError, needed
from kimikit.runner.endpoint import ClientFor
from kimikit.secrets import secrets_in
from kimikit.types import AsyncChatClient, Host, Observer, Reply, Watch
from kimikit.wire import AsyncClient
from kimikit.wire.observers import tell_closed
from kimikit.wire.replies import cost

START_S = 60.0
"""Longest wait for a worker to make its clients."""

LOOK_S = 0.5
"""Seconds between two looks whether the worker of a call is still there."""

Make = Callable[[Host, dict[str, Any]], AsyncClient]
"""Makes a client of a host on a worker, with these options."""

Came = tuple[Reply | None, KimiError | None]
Brought = tuple[Reply | None, KimiError | None, list[Any]]
"""What came, and what the worker's recorder kept."""


class Asker:
    """What asks on a worker.

    Args:
        make: Makes its clients.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._clients: dict[bytes, AsyncClient] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def _client(self, host: Host, options: dict[str, Any]) -> AsyncClient:
        key = msgspec.json.encode((host, options), enc_hook=repr)
        if key not in self._clients:
            self._clients[key] = self._make(host, options)
        return self._clients[key]

    async def ready(self, host: Host, options: dict[str, Any]) -> KimiError | None:
        """Make a client; return what is wrong, such as a key that is not there."""
        try:
            self._client(host, options)
        except KimiError as error:
            return error
        return None

    async def ask(
        self, host: Host, options: dict[str, Any], messages: Any, params: dict[str, Any]
    ) -> Brought:
        """Ask, and return the answer or the error."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        client = self._client(host, options)
        reply: Reply | None = None
        failed: KimiError | None = None
        try:
            reply = await client.chat(messages, **params)
        except KimiError as error:
            reply, failed = getattr(error, "reply", None), error
        except asyncio.CancelledError:
            failed = ConnectionFailed("It was stopped.", "Ask again.")
        finally:
            self._tasks.discard(task)
        return reply, failed, getattr(client.recorder, "taken", list)()

    async def stop(self) -> None:
        """Hang up on all calls under way and close the clients."""
        for task in [*self._tasks]:
            task.cancel()
        clients, self._clients = self._clients, {}
        for client in clients.values():
            with contextlib.suppress(Exception):
                await client.close()


class _Worker(msgspec.Struct):
    """An asker as the driver sees it."""

    address: str
    future: Any
    asker: Any
    active: int = 0

    @property
    def lost(self) -> bool:
        return bool(self.future.status != "finished")


class Dask(Protocol):
    """What is asked of a client of Dask: ``distributed.Client`` has it."""

    @property
    def nthreads(self) -> Callable[..., Any]:
        """Tell of the workers."""

    @property
    def submit(self) -> Callable[..., Any]:
        """Run something on one of them."""


def is_cluster(via: object) -> bool:
    """Say whether an object is a client of Dask."""
    return hasattr(via, "nthreads") and hasattr(via, "submit")


class Cluster:
    """The workers of a Dask client, which ask instead of this process.

    Args:
        dask: The client; its workers need kimikit, and keys in their environment.
        make: Makes a client on a worker; a function of a module.
        take: Takes what recorders of the workers' clients kept.

    Raises:
        MissingDependency: If ``distributed`` is not installed.
        BadInput: If the client is one to be awaited, or has no worker.
    """

    def __init__(
        self, dask: Any, make: Make, take: Callable[[list[Any]], None] | None = None
    ) -> None:
        with needed("distributed", "via=", "cluster"):
            import distributed  # noqa: F401 - its absence is said before it is used
        if getattr(dask, "asynchronous", False):
            raise BadInput(
                "The Dask client is one to be awaited.",
                "Give one made with Client(..., asynchronous=False).",
            )
        with _usable():
            self._dask, self._loop, self._take = dask, dask.loop.asyncio_loop, take
            self._workers = self._started(make)

    def _started(self, make: Make) -> list[_Worker]:
        dask = self._dask
        # `scheduler_info` returns what a refresh in the background empties.
        addresses = list(dask.nthreads())
        if not addresses:
            raise BadInput("The Dask cluster has no worker.", "Start one: scale(2).")
        futures = [
            dask.submit(
                Asker, make, workers=[address], actor=True, pure=False,
                key=f"kimikit-asker-{address}-{id(self)}",
            )
            for address in addresses
        ]  # fmt: skip
        return [
            _Worker(address, future, future.result(timeout=START_S))
            for address, future in zip(addresses, futures, strict=True)
        ]

    def client_for(self, own: ClientFor) -> ClientFor:
        """Return what makes clients whose calls the workers make.

        Args:
            own: Makes the driver's own clients, which know host, price and ledger.
        """
        known: set[str | None] = set()

        def made(name: str | None) -> AsyncChatClient:
            client = _ClusterClient(self, own(name))
            if name not in known:
                self._check(client.host, client.options)
                known.add(name)
            return client

        return made

    def _check(self, host: Host, options: dict[str, Any]) -> None:
        """Have each worker make its client, before anything is asked.

        Raises:
            KimiError: What a worker lacks, such as the key.
        """
        for worker in self._workers:
            with _usable():
                error = worker.asker.ready(host, options).result(timeout=START_S)
            if error:
                error.add_note(f"It is the Dask worker {worker.address} that lacks it.")
                raise error

    async def ask(self, *asked: Any) -> Came:
        """Ask by the worker that has least to do.

        Raises:
            ConnectionFailed: If the worker is lost; the call may have been paid, so
                that no other worker is asked.
        """
        self._workers = [worker for worker in self._workers if not worker.lost]
        if not self._workers:
            raise ConnectionFailed(
                "No Dask worker is left.", "Start workers, and ask again by its name."
            )
        worker = min(self._workers, key=lambda one: one.active)
        worker.active += 1

        async def there() -> Brought:
            came: Brought = await worker.asker.ask(*asked)
            return came

        call = asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(there(), self._loop)
        )
        try:
            while not (await asyncio.wait({call}, timeout=LOOK_S))[0]:
                if worker.lost:
                    raise _lost(worker)
            reply, error, kept = call.result()
            if self._take is not None:
                self._take(kept)
            return reply, error
        except KimiError:
            raise
        except (OSError, RuntimeError) as exc:
            raise _lost(worker) from exc
        finally:
            call.cancel()
            worker.active -= 1

    def stop(self) -> None:
        """Have all workers hang up; nobody waits for it."""
        for worker in self._workers:
            with contextlib.suppress(Exception):
                worker.asker.stop()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """Say in a sentence what keeps a cluster from asking.

    Raises:
        BadInput: Whatever Dask lets through, from a worker too.
    """
    try:
        yield
    except KimiError:
        raise
    except Exception as exc:
        raise BadInput(
            f"The Dask cluster cannot be used ({type(exc).__name__}: {exc}).",
            "Connect anew with Client(...); its workers need kimikit as it is here.",
        ) from exc


def _lost(worker: _Worker) -> KimiError:
    return ConnectionFailed(
        f"The Dask worker {worker.address} was lost. The host may bill the call.",
        "Ask again by the same name: what others answered is not bought again.",
    )


class _ClusterClient:
    """An ``AsyncChatClient`` whose calls a worker makes, with rows in our ledger."""

    def __init__(self, cluster: Cluster, own: AsyncChatClient) -> None:
        if not isinstance(own, AsyncClient):
            raise BadInput(f"{type(own).__name__} cannot ask by workers.", "Ask live.")
        self._cluster, self._own = cluster, own
        self.host: Host = own.host
        self.defaults = own.defaults
        self.prepared = own.prepared
        self.options = {"max_retries": own.retries, **own.defaults}
        _refuse_secrets(own.headers, self.options)

    async def chat(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: dict[str, Any] | None = None,
        **params: Any,
    ) -> Reply:
        """Write the call down, have it made, and write down what came."""
        own = self._own
        _refuse_secrets(params.pop("extra_headers", None), params)
        answer = own.prepared(messages, meta=meta, **params)
        call = answer.call
        told: list[Observer] = []
        reply: Reply | None = None
        failed: BaseException | None = None
        try:
            for observer in answer.observers:
                observer.opened(call)  # one that refuses ends it before it is sent
                told.append(observer)
            reply, failed = await self._cluster.ask(
                own.host, self.options, messages, params
            )
            if failed is not None:
                raise failed
            assert reply is not None
        except BaseException as exc:
            failed = exc
            raise
        finally:
            if reply is not None:
                paid = cost(reply, call, own.pricer)
                reply = msgspec.structs.replace(reply, cost=paid, sent=call.sent)
            tell_closed(told, call, reply, failed)
        return reply

    async def close(self) -> None:
        """Have the workers hang up."""
        self._cluster.stop()
        await self._own.close()


def _refuse_secrets(headers: Any, fields: dict[str, Any]) -> None:
    """Refuse to send keys to workers.

    Raises:
        BadInput: If there are headers of one's own, or secrets in what is asked.
    """
    if headers or secrets_in(fields):
        raise BadInput(
            "extra_headers, and fields that hold secrets, do not travel to workers.",
            "Leave them out; keys stand in the workers' own environment.",
        )
