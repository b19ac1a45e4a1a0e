"""Many calls at once: a few threads that Stop ends and that a store resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent import futures
from contextvars import copy_context
from typing import Any, TypeVar

from kimikit.bars import progress_bar
from kimikit.errors import BadInput
from kimikit.runner.cache import RequestCache, RequestKeys
from kimikit.types import (
    AnswerStore,
    ChatClient,
    Delta,
    Pricer,
    Reply,
    Wait,
    Watch,
)

T = TypeVar("T")

STOP_S = 1.0
"""How long a stopped crew waits for its calls to end, in seconds."""


class CrewClient:
    """A ``ChatClient`` for the threads of one piece of work.

    With a store and a name each call carries a key made of what it asks, and an
    answer that was paid for under the same key is not asked for again.

    Args:
        client: The client that asks. A ``Kimi`` would show every answer as it streams;
            the wire inside it asks instead, and its ledger is the store.
        kind: What sort of work it is; its keys begin with that.
        store: Where paid answers are found, such as the ledger.
        name: What the work is called; the same name finds its answers again.
        stop: An event shared with other crews, its own if left out.

    Attributes:
        stop: Set to end the calls under way, each at its next token.
        reused: How many answers came from the store.
        host: The client's host, ``None`` where it has none.
        defaults: What the client asks every call with, as far as it tells.
        pricer: What the client knows prices by, ``None`` where it has nothing.
    """

    def __init__(
        self,
        client: ChatClient,
        kind: str,
        *,
        store: AnswerStore | None = None,
        name: str | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        store = getattr(client, "ledger", None) if store is None else store
        self._cache = RequestCache.named(kind, name, store)
        self.stop = stop or threading.Event()
        self.reused = 0
        self._client: Any = getattr(client, "client", client)
        self.host = getattr(self._client, "host", None)
        self.defaults: dict[str, Any] = getattr(self._client, "defaults", {})
        self.pricer: Pricer | None = getattr(self._client, "pricer", None)
        self._keys = RequestKeys(self._cache, self.host, self.defaults)
        self._lock = threading.Lock()

    def chat(
        self,
        messages: Any,
        *,
        watch: Watch | None = None,
        meta: dict[str, Any] | None = None,
        **params: Any,
    ) -> Reply:
        """Answer from the store or the host; a stopped crew's calls end early."""
        if self.stop.is_set():
            raise KeyboardInterrupt
        if self._cache.prefix:
            key, older = self._keys.of(messages, params, meta)
            paid = self._cache.get(key) or self._cache.get(older)
            if paid is not None:
                with self._lock:
                    self.reused += 1
                return paid
            meta = {**(meta or {}), "key": key}

        def look(step: Delta | Wait) -> None:
            # A client takes an interrupt inside a call as the user's Stop: it hangs
            # up, so that no more tokens are made and paid for.
            if self.stop.is_set():
                raise KeyboardInterrupt
            if watch is not None:
                watch(step)

        reply: Reply = self._client.chat(messages, watch=look, meta=meta, **params)
        return reply


def run_all(
    jobs: Sequence[Callable[[], T]],
    *,
    stop: threading.Event,
    concurrency: int,
    lanes: Sequence[Hashable] = (),
    progress: str | None = None,
) -> list[T | None]:
    """Run jobs on threads and return their results in order.

    Args:
        jobs: What to run; each sees the caller's context variables.
        stop: Set when the user interrupts or a job fails, to end the others.
        concurrency: How many run at once, in each lane.
        lanes: For each job its lane, such as the host it asks: lanes have threads of
            their own, so that a slow one keeps no other waiting. Without, all share.
        progress: Label of a progress bar, none if left out.

    Returns:
        The results; ``None`` for the jobs that an interrupt prevented.

    Raises:
        BadInput: If ``concurrency`` is not positive.
    """
    if concurrency < 1:
        raise BadInput(
            f"concurrency={concurrency} runs nothing.", "Give a number of 1 or more."
        )
    results: list[T | None] = [None] * len(jobs)
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            results[index] = jobs[index]()
        except BaseException as exc:
            # Here and not by the waiting thread, so that no other call is begun.
            stop.set()
            if not isinstance(exc, KeyboardInterrupt):
                failures.append(exc)

    lanes = lanes or [None] * len(jobs)
    pools = {
        lane: futures.ThreadPoolExecutor(concurrency, thread_name_prefix="kimikit")
        for lane in set(lanes)
    }
    running: list[futures.Future[None]] = []
    interrupted = False
    try:
        for index, lane in enumerate(lanes):
            running.append(pools[lane].submit(copy_context().run, run, index))
        _follow(running, stop, progress)
    except BaseException as exc:
        stop.set()
        interrupted = isinstance(exc, KeyboardInterrupt)
        if not interrupted:
            raise
    finally:
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        begun = [future for future in running if not future.cancelled()]
        futures.wait(begun, timeout=STOP_S)
    if failures and not interrupted:
        raise failures[0]
    return list(results)


def _follow(
    running: Sequence[futures.Future[None]], stop: threading.Event, label: str | None
) -> None:
    """Wait until all are done or stopped, with a progress bar if it has a label."""
    pending = set(running)
    total = len(running)
    with progress_bar(total=total, desc=label, disable=label is None) as bar:
        while pending and not stop.is_set():
            # Waiting in short steps keeps an interrupt quick on Windows too.
            done, pending = futures.wait(
                pending, timeout=0.2, return_when=futures.FIRST_COMPLETED
            )
            bar.update(len(done))
