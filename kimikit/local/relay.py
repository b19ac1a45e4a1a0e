"""Requests on their way to llama.cpp, and its answers on their way back.

Several answers (``n``) are asked for one by one and merged here, because llama.cpp
counts the usage of only one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from kimikit.local.checks import usage
from kimikit.local.engine import Engine

DEFAULT_TOKENS = 1024
"""Length of an answer if none is asked for: a small model may never come to an end."""

DONE = b"data: [DONE]\n\n"


def as_json(value: Any, status: int = 200) -> Response:
    """Return ``value`` as a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def event(value: Any) -> bytes:
    """Return ``value`` as one event of a stream."""
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


async def relay(engine: Engine, path: str, body: dict[str, Any]) -> Response:
    """Answer with llama.cpp's ``n`` answers to ``body``, each by a seed of its own.

    Raises:
        Refused: If llama.cpp refuses it.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    one = body | {"n": 1, "max_tokens": limit or DEFAULT_TOKENS}
    bodies = [one] * body.get("n", 1)
    if "seed" in body:
        bodies = [each | {"seed": body["seed"] + i} for i, each in enumerate(bodies)]
    asking = [engine.ask(path, each) for each in bodies]
    if body.get("stream"):
        pieces = _merged(asking)
        first = await anext(pieces)  # here a refusal still can be the answer
        return StreamingResponse(_all(first, pieces), media_type="text/event-stream")
    answers = await asyncio.gather(*map(whole, asking))
    choices = [
        answer["choices"][0] | {"index": index} for index, answer in enumerate(answers)
    ]
    took = _total([answer["usage"] for answer in answers])
    return as_json(answers[0] | {"choices": choices, "usage": took})


async def whole(answer: AsyncIterator[bytes]) -> dict[str, Any]:
    """Return an answer that does not stream, decoded."""
    raw = b"".join([piece async for piece in answer])
    return msgspec.json.decode(raw, type=dict[str, Any])


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _total(usages: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one usage for all answers to one prompt, which is counted once."""
    made = sum(each["completion_tokens"] for each in usages)
    return usages[0] | usage(usages[0]["prompt_tokens"], made)


async def _merged(answers: Sequence[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """Yield the events of all answers as they come, with one id and one usage."""
    queue: asyncio.Queue[tuple[int, dict[str, Any]] | None] = asyncio.Queue()

    async def pump(index: int, answer: AsyncIterator[bytes]) -> None:
        async for chunk in _chunks(answer):
            queue.put_nowait((index, chunk))

    tasks = [asyncio.create_task(pump(i, each)) for i, each in enumerate(answers)]
    ended = asyncio.gather(*tasks)
    ended.add_done_callback(lambda _: queue.put_nowait(None))
    usages = []
    head: dict[str, Any] = {}
    try:
        while (item := await queue.get()) is not None:
            index, chunk = item
            head = head or chunk
            if took := chunk.pop("usage", None):
                usages.append(took)
            for choice in chunk.get("choices", ()):
                choice["index"] = index
            if chunk.get("choices") or "error" in chunk:
                yield event(chunk | {"id": head.get("id")})
        await ended  # one that broke off breaks the stream off
        if usages:
            yield event(head | {"choices": [], "usage": _total(usages)})
        yield DONE
    finally:
        for task in tasks:
            task.cancel()


async def _chunks(answer: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    buffer = b""
    async for piece in answer:
        *events, buffer = (buffer + piece).split(b"\n\n")
        for each in events:
            data = each.removeprefix(b"data: ")
            if data.startswith(b"{"):
                yield msgspec.json.decode(data)
