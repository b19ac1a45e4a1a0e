"""Many calls at once: a few threads that Stop ends and that a store resumes."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent import futures
from contextvars import copy_context
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from kimikit.errors import BadInput
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
        if name is not None and (store is None or not name.strip()):
            raise BadInput(
                f"name={name!r} needs a store to find paid answers in, and a text.",
                "Give store=, for instance a ledger, or leave name out.",
            )
        self.stop = stop or threading.Event()
        self.reused = 0
        self._client: Any = getattr(client, "client", client)
        self.host = getattr(self._client, "host", None)
        self.defaults: dict[str, Any] = getattr(self._client, "defaults", {})
        self.pricer: Pricer | None = getattr(self._client, "pricer", None)
        self._prefix = f"{kind}/{quote(name, safe='')}/" if name else ""
        found = store.answers(self._prefix) if store and name else {}
        self._paid = {
            key: reply
            for key, reply in found.items()
            if not (reply.partial or reply.truncated)
        }
        self._asked: Counter[str] = Counter()
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
        if self._prefix:
            key = self._key([messages, params, meta])
            if key in self._paid:
                with self._lock:
                    self.reused += 1
                return self._paid[key]
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

    def _key(self, asked: list[Any]) -> str:
        to = [getattr(self.host, "name", ""), getattr(self.host, "model", "")]
        body = msgspec.json.encode(
            [*to, self.defaults, *asked],
            order="sorted",
            enc_hook=lambda value: getattr(value, "schema", None) or repr(value),
        )
        digest = hashlib.sha256(body).hexdigest()[:24]
        with self._lock:
            # The same question asked n times, as a vote does, has n answers.
            self._asked[digest] += 1
            return f"{self._prefix}{digest}/{self._asked[digest]}"


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
    from tqdm.auto import tqdm

    if concurrency < 1:
        raise BadInput(
            f"concurrency={concurrency} runs nothing.", "Give a number of 1 or more."
        )

    def run(job: Callable[[], T]) -> T:
        try:
            return job()
        except BaseException:
            # Here and not by the waiting thread, so that no other call is begun.
            stop.set()
            raise

    lanes = lanes or [None] * len(jobs)
    pools = {
        lane: futures.ThreadPoolExecutor(concurrency, thread_name_prefix="kimikit")
        for lane in set(lanes)
    }
    running: list[futures.Future[T]] = []
    pending: set[futures.Future[T]] = set()
    interrupted = False
    bar = tqdm(total=len(jobs), desc=progress, disable=progress is None, leave=False)
    try:
        for job, lane in zip(jobs, lanes, strict=True):
            running.append(pools[lane].submit(copy_context().run, run, job))
        pending = set(running)
        while pending and not stop.is_set():
            # Waiting in short steps keeps an interrupt quick on Windows too.
            done, pending = futures.wait(
                pending, timeout=0.2, return_when=futures.FIRST_COMPLETED
            )
            bar.update(len(done))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if pending or len(running) < len(jobs):
            stop.set()
        bar.close()
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        begun = [future for future in running if not future.cancelled()]
        futures.wait(begun, timeout=STOP_S)
    results = [_result(future, interrupted=interrupted) for future in running]
    return results + [None] * (len(jobs) - len(running))


def _result(future: futures.Future[T], *, interrupted: bool) -> T | None:
    if future.cancelled() or not future.done():
        return None
    error = future.exception()
    if error is None:
        return future.result()
    if interrupted or isinstance(error, KeyboardInterrupt):
        return None
    raise error
