"""Record requests, and replay their answers, between a client and its host.

httpx takes any object with these methods as a transport, so all of a client above it
works unchanged on an answer that comes from a file.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from kimikit.types import Host
from kimikit.wire.blocking import at_once, each_at_once, sleep

REPLAYED = "kimikit.replayed"
"""Extension of a response that was replayed. A host's bytes cannot set one."""


class Asked(NamedTuple):
    """A request on its way.

    Attributes:
        host: Where the client sends its requests.
        method: ``GET`` or ``POST``.
        where: The path below the host's address; elsewhere, the whole address.
        body: Its bytes.
        kind: Its ``content-type``.
        keys: Keys that it carries.
    """

    host: Host
    method: str
    where: str
    body: bytes
    kind: str
    keys: tuple[str, ...]


class Recorded(msgspec.Struct, frozen=True):
    """What came of a request, as it came.

    Attributes:
        created: Unix time at which it was asked.
        status: The HTTP status, 0 if it failed before there was one.
        headers: Those that matter.
        head_s: Seconds from sending to the head.
        pieces: For each piece of the body seconds from sending to it, and its bytes.
        failure: Kind and words of the error that it ended with, or none.
        failure_s: Seconds from sending to that.
        good: Whether it is whole and a success.
    """

    created: float
    status: int
    headers: list[tuple[str, str]]
    head_s: float
    pieces: list[tuple[float, bytes]]
    failure: tuple[str, str] | None
    failure_s: float
    good: bool


class Replayed(msgspec.Struct):
    """A recorded answer on its way to a client.

    Attributes:
        answer: What was recorded.
        label: What every view says of it, such as ``replayed, recorded 2026-11-28``.
        speed: How fast it comes, 1 as it was, ``None`` at once.
        elapsed_s: Seconds from sending at the last piece that was given, as recorded.
    """

    answer: Recorded
    label: str
    speed: float | None
    elapsed_s: float = 0.0


class Exchange(Protocol):
    """One request to the network and what comes of it."""

    def began(self, status: int, headers: list[tuple[str, str]]) -> None:
        """Note the head of the answer."""

    def took(self, data: bytes) -> None:
        """Note a piece of its body."""

    def ended(self, error: BaseException | None = None, *, left: bool = False) -> None:
        """Note its end, once: with an error, or left by the client before it came."""


class Recorder(Protocol):
    """What stands between a client and the network.

    Attributes:
        offline: Whether the network is never asked.
        speed: How fast answers are replayed, ``None`` at once.
    """

    offline: bool
    speed: float | None

    def asked(self, asked: Asked) -> Exchange | Replayed:
        """Take a request; raises a ``KimiError`` if nothing can answer it."""


everywhere: list[Recorder] = []
"""The recorder of all clients of this process that have none of their own, if any."""

STOPPED = "stopped"
"""The kind of failure that is a person's Stop."""

_STOP_GRACE_S = 1.0
"""Seconds that a Stop may come later than it came when it was recorded."""


class Seam:
    """An httpx transport that asks a recorder first.

    Args:
        recorder: What keeps and finds.
        below: The transport that leads to the network.
        describe: Makes an ``Asked`` of an httpx request.
        make: Makes an httpx response of status, headers, body and extensions.
        error: Makes the error of httpx that has a name.
    """

    def __init__(
        self,
        recorder: Recorder,
        below: Any,
        *,
        describe: Callable[[Any], Asked],
        make: Callable[..., Any],
        error: Callable[[str, str], Exception],
    ) -> None:
        self._recorder = recorder
        self._below = below
        self._describe = describe
        self._make = make
        self._error = error

    def __enter__(self) -> Seam:
        self._below.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._below.__exit__(*error)

    async def __aenter__(self) -> Seam:
        await self._below.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._below.__aexit__(*error)

    def close(self) -> None:
        """Close the way to the network."""
        self._below.close()

    async def aclose(self) -> None:
        """Close the way to the network."""
        await self._below.aclose()

    def handle_request(self, request: Any) -> Any:
        """Answer a request of a blocking client."""

        async def ask() -> Any:
            return self._below.handle_request(request)

        request.read()
        return at_once(self._answer(request, ask, Way(sleep, KeyboardInterrupt)))

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request of an event loop."""
        import asyncio  # loaded by now; at the top, it would slow every import

        def ask() -> Awaitable[Any]:
            below: Awaitable[Any] = self._below.handle_async_request(request)
            return below

        await request.aread()
        way = Way(asyncio.sleep, asyncio.CancelledError)
        return await self._answer(request, ask, way)

    async def _answer(
        self, request: Any, ask: Callable[[], Awaitable[Any]], way: Way
    ) -> Any:
        found = self._recorder.asked(self._describe(request))
        if isinstance(found, Replayed):
            body = _Played(found, self._error, way)
            answer, found.elapsed_s = found.answer, found.answer.head_s
            await way.sleep(body.until(answer.head_s))
            if not answer.status:
                await body.fail()
            return self._make(answer.status, answer.headers, body, {REPLAYED: found})
        try:
            response = await ask()
        except BaseException as exc:
            found.ended(exc)
            raise
        status, headers = response.status_code, response.headers
        found.began(status, headers.multi_items())
        kept = _Kept(response.stream, found)
        return self._make(status, headers, kept, response.extensions)


class Way(NamedTuple):
    """How a client waits.

    Attributes:
        sleep: What it waits by.
        stop: What a Stop raises in it.
    """

    sleep: Callable[[float], Awaitable[Any]]
    stop: type[BaseException]


class _Kept:
    """A body that is noted while it passes."""

    def __init__(self, stream: Any, exchange: Exchange) -> None:
        self._stream = stream
        self._exchange = exchange

    @contextlib.contextmanager
    def _noting_the_end(self) -> Iterator[None]:
        try:
            yield
        except GeneratorExit:
            raise  # closing says that it was left
        except BaseException as exc:
            self._exchange.ended(exc)
            raise
        self._exchange.ended()

    def __iter__(self) -> Iterator[bytes]:
        with self._noting_the_end():
            for data in self._stream:
                self._exchange.took(data)
                yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._noting_the_end():
            async for data in self._stream:
                self._exchange.took(data)
                yield data

    def close(self) -> None:
        self._exchange.ended(left=True)
        self._stream.close()

    async def aclose(self) -> None:
        self._exchange.ended(left=True)
        await self._stream.aclose()


class _Played:
    """A recorded body that comes in the pieces and, if asked, at the pace it had."""

    def __init__(
        self, found: Replayed, error: Callable[[str, str], Exception], way: Way
    ) -> None:
        self._found, self._error, self._way = found, error, way
        self._began = time.perf_counter()

    def until(self, at_s: float) -> float:
        """Return the seconds to wait for what came so long after the request."""
        speed = self._found.speed
        return 0.0 if speed is None else self._left(at_s / speed)

    def _left(self, at_s: float) -> float:
        return max(0.0, self._began + at_s - time.perf_counter())

    def __iter__(self) -> Iterator[bytes]:
        return each_at_once(self.__aiter__())

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        found = self._found
        for at_s, data in found.answer.pieces:
            if wait := self.until(at_s):
                await self._way.sleep(wait)
            found.elapsed_s = at_s
            yield data
        if found.answer.failure is not None:
            await self.fail()

    async def fail(self) -> None:
        """Raise what it ended with, a Stop at the latest a moment after it came."""
        kind, said = self._found.answer.failure or ("", "")
        at_s = self._found.answer.failure_s
        if kind == STOPPED:
            await self._way.sleep(self._left(at_s + _STOP_GRACE_S))
            raise self._way.stop
        await self._way.sleep(self.until(at_s))
        raise self._error(kind, said)

    def close(self) -> None:
        """Do nothing: no connection is open."""

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""
