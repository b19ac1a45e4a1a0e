"""Stream answers, sync and async: pull bytes, and let ``Answer`` do the rest."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
)
from typing import Any, Self

from kimikit.types import Delta, Reply
from kimikit.wire.answer import Answer
from kimikit.wire.blocking import at_once
from kimikit.wire.observers import tell_flush

DRAIN_S = 0.05
"""How long the end of a body is awaited after ``[DONE]``, to keep its connection."""

_DRAINED = 8
"""Chunks read after ``[DONE]`` before a host that goes on sending is hung up on."""


@contextlib.contextmanager
def _patience(response: Any, answer: Answer) -> Iterator[None]:
    """Let an answer decide how long its connection may be silent.

    httpcore fixes the read timeout of a body when the body begins, but a stream knows
    three: until its first byte, between chunks, and after its finish. So the
    connection's own ``read`` is wrapped while an answer uses it.
    """
    stream = response.extensions.get("network_stream")
    if stream is None:
        yield
        return
    read = stream.read

    def patient(max_bytes: int, timeout: float | None = None) -> Any:
        return read(max_bytes, timeout=answer.patience)

    stream.read = patient
    try:
        yield
    finally:
        del stream.read


class _Stream:
    """What both kinds of stream share."""

    _run: Callable[[], Any]
    _steps: Any

    def __init__(self, client: Any, answer: Answer) -> None:
        self._client = client
        self._answer = answer
        self._steps = self._run()

    @property
    def reply(self) -> Reply:
        """The reply so far, at any moment; the final one once the stream is over."""
        return self._answer.reply


class Stream(_Stream):
    """An answer as it arrives: a context manager and an iterator of ``Delta``.

    The request is sent when the first step is asked for. Leaving the ``with`` block
    closes the connection; an answer still running is then ``partial``.
    """

    _steps: Generator[Delta, None, None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Delta]:
        return self._steps

    def __next__(self) -> Delta:
        return next(self._steps)

    def text(self) -> Iterator[str]:
        """Yield only the visible text."""
        return (delta.text for delta in self._steps if delta.text)

    def close(self) -> None:
        """Close the connection."""
        self._steps.close()

    def _run(self) -> Generator[Delta, None, None]:
        answer, client = self._answer, self._client
        again = True
        with answer:
            while again:
                with (
                    contextlib.closing(at_once(client.sending(answer))) as response,
                    _patience(response, answer),
                ):
                    body, failed = iter(response.stream), None
                    try:
                        # No bytes are local here, where a traceback shows them.
                        for deltas in map(answer.feed, body):
                            yield from deltas
                            if answer.ended:
                                break
                    except client.lost as exc:
                        failed = exc
                    except KeyboardInterrupt as exc:
                        # Frames of other libraries hold the key.
                        raise exc.with_traceback(None)  # noqa: B904
                    yield from answer.finish()
                    # Before the first token, a broken answer is asked for again.
                    again = at_once(client.settle(answer, failed))
                    answer.patience = DRAIN_S
                    with contextlib.suppress(*client.lost):
                        for _ in itertools.islice(body, 0 if again else _DRAINED):
                            pass


class AsyncStream(_Stream):
    """The same, to be awaited: ``async with``, ``async for``; see ``Stream``."""

    _steps: AsyncGenerator[Delta, None]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self._steps

    async def __anext__(self) -> Delta:
        return await anext(self._steps)

    async def text(self) -> AsyncIterator[str]:
        """Yield only the visible text."""
        async for delta in self._steps:
            if delta.text:
                yield delta.text

    async def close(self) -> None:
        """Close the connection."""
        await self._steps.aclose()

    async def _run(self) -> AsyncGenerator[Delta, None]:
        answer, client = self._answer, self._client
        again, answer.call.grouped = True, True
        with answer:
            await self._flush()
            while again:
                sent = contextlib.aclosing(await client.sending(answer))
                async with sent as response:
                    with _patience(response, answer):
                        body, failed = aiter(response.stream), None
                        try:
                            # No bytes are local here, either.
                            while not answer.ended:
                                for delta in answer.feed(await anext(body)):
                                    yield delta
                        except StopAsyncIteration:
                            pass
                        except client.lost as exc:
                            failed = exc
                        for delta in answer.finish():
                            yield delta
                        again = await client.settle(answer, failed)
                        answer.patience = DRAIN_S
                        with contextlib.suppress(*client.lost, StopAsyncIteration):
                            for _ in range(0 if again else _DRAINED):
                                await anext(body)
        await self._flush()

    async def _flush(self) -> None:
        """Let observers write what begins or ends in one turn of the loop as one."""
        waiting = [each for each in self._answer.observers if hasattr(each, "flush")]
        if waiting:
            try:
                await self._client._sleep(0)
            finally:
                tell_flush(waiting)


def running_loop() -> Any:
    """Return the running event loop; this function itself where there is none."""
    import asyncio  # loaded by now; at the top, it would slow every import

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return running_loop  # the loop of another library


def in_asyncio() -> bool:
    """Say whether a loop of asyncio's own runs here: uvloop's takes other options."""
    import asyncio

    return isinstance(running_loop(), asyncio.BaseEventLoop)


async def wait(seconds: float) -> None:
    """Sleep in an event loop."""
    import asyncio

    await asyncio.sleep(seconds)
