"""Requests on their way to llama.cpp, and its answers on their way back.

One answer is relayed byte for byte. Several (``n``) are asked for one by one and
merged here, because llama.cpp counts the usage of only one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from kimikit.local.checks import Refused, as_json, usage
from kimikit.local.engine import Answer, Engine

DONE = b"data: [DONE]\n\n"
T = TypeVar("T")


def event(value: Any) -> bytes:
    """Return ``value`` as one event of a stream."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of ``work``, which is cancelled if the client hangs up.

    Raises:
        ClientDisconnect: If it did.
    """

    async def hang_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(hang_up())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def relay(
    request: Request, engine: Engine, path: str, bodies: Sequence[dict[str, Any]]
) -> Response:
    """Ask llama.cpp for the answer to each body, and answer with all of them.

    Raises:
        Refused: If llama.cpp refuses one.
    """
    stack = contextlib.AsyncExitStack()
    streamed = False
    try:
        asking = [stack.enter_async_context(engine.post(path, b)) for b in bodies]
        found = await while_connected(request, _all(asking))
        for answer in found:
            if answer.status != 200:
                raise _refusal(answer.status, await answer.read())
        if bodies[0].get("stream"):
            options = bodies[0].get("stream_options") or {}
            pieces = (
                found[0].chunks()
                if len(found) == 1
                else _merged(found, with_usage=bool(options.get("include_usage")))
            )
            streamed = True
            return StreamingResponse(
                _closing(pieces, stack), media_type="text/event-stream"
            )
        texts = await while_connected(request, _all([a.read() for a in found]))
        if len(texts) == 1:
            return Response(texts[0], media_type="application/json")
        return as_json(_joined([msgspec.json.decode(text) for text in texts]))
    finally:
        if not streamed:
            await stack.aclose()


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    return await asyncio.gather(*work)


async def _closing(
    pieces: AsyncIterator[bytes], stack: contextlib.AsyncExitStack
) -> AsyncIterator[bytes]:
    async with stack:
        async for piece in pieces:
            yield piece


def _refusal(status: int, raw: bytes) -> Refused:
    try:
        error = msgspec.json.decode(raw)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):
        error = {"message": raw.decode(errors="replace")[:500]}
    if error.get("type") == "exceed_context_size_error":
        return Refused(
            f"The prompt has {error.get('n_prompt_tokens')} tokens, and the context "
            f"of the local model holds {error.get('n_ctx')}. Shorten it.",
            param="messages",
            code="context_length_exceeded",
        )
    kind = error.get("type") or "server_error"
    return Refused(str(error.get("message")), status=status, kind=kind)


def _total(usages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one usage for all answers to one prompt, which is counted once."""
    made = sum(each["completion_tokens"] for each in usages)
    return usage(usages[0]["prompt_tokens"], made)


def _joined(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = answers[0]
    choices = [
        answer["choices"][0] | {"index": index} for index, answer in enumerate(answers)
    ]
    took = _total([answer["usage"] for answer in answers])
    return first | {"choices": choices, "usage": took}


async def _merged(
    answers: Sequence[Answer], *, with_usage: bool
) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[tuple[int, dict[str, Any] | None]] = asyncio.Queue()

    async def pump(index: int, answer: Answer) -> None:
        try:
            async for chunk in _events(answer.chunks()):
                queue.put_nowait((index, chunk))
        finally:
            queue.put_nowait((index, None))

    tasks = [asyncio.create_task(pump(i, a)) for i, a in enumerate(answers)]
    usages: list[dict[str, Any]] = []
    common: dict[str, Any] = {}
    open_streams = len(tasks)
    try:
        while open_streams:
            index, chunk = await queue.get()
            if chunk is None:
                open_streams -= 1
                continue
            chunk["id"] = common.setdefault("id", chunk.get("id"))
            chunk.pop("timings", None)
            if took := chunk.pop("usage", None):
                usages.append(took)
                common |= chunk
            for choice in chunk.get("choices", ()):
                choice["index"] = index
            if chunk.get("choices") or "error" in chunk:
                yield event(chunk)
        await asyncio.gather(*tasks)  # one that broke off breaks the stream off
        if with_usage and usages:
            yield event(common | {"choices": [], "usage": _total(usages)})
        yield DONE
    finally:
        for task in tasks:
            task.cancel()


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    buffer = b""
    async for piece in pieces:
        *whole, buffer = (buffer + piece).split(b"\n\n")
        for line in whole:
            data = line.removeprefix(b"data: ")
            if data.startswith(b"{"):
                yield msgspec.json.decode(data)
