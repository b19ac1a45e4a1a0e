"""Pass requests on to llama.cpp, and its answers back.

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


async def relay(
    engine: Engine,
    path: str,
    body: dict[str, Any],
    prompts: Sequence[str | list[int]] = (),
    *,
    echo: bool = False,
) -> Response:
    """Answer with llama.cpp's ``n`` answers to ``body``, each by a seed of its own.

    Args:
        engine: What makes them.
        path: The endpoint.
        body: What is asked, but for what follows.
        prompts: The prompts of a completion, each answered ``n`` times, in order.
        echo: Whether each answer begins with its prompt.

    Raises:
        Refused: If llama.cpp refuses it.
    """
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    count = body.get("n", 1)
    one = body | {"n": 1, "max_tokens": limit or DEFAULT_TOKENS, "echo": False}
    bodies = [one | {"prompt": p} for p in prompts for _ in range(count)]
    bodies = bodies or [one] * count
    if "seed" in body:
        bodies = [
            each | {"seed": body["seed"] + i % count} for i, each in enumerate(bodies)
        ]
    begins: list[str] = []
    if echo:
        texts = [await _as_text(engine, prompt) for prompt in prompts]
        begins = [text for text in texts for _ in range(count)]
    asking = [engine.ask(path, each) for each in bodies]
    if body.get("stream"):
        pieces = _merged(asking, count, begins)
        first = await anext(pieces)  # here a refusal still can be the answer
        return StreamingResponse(_all(first, pieces), media_type="text/event-stream")
    answers = await asyncio.gather(*map(whole, asking))
    choices = [
        answer["choices"][0] | {"index": index} for index, answer in enumerate(answers)
    ]
    for choice, begin in zip(choices, begins, strict=False):
        choice["text"] = begin + choice["text"]
    took = _total([answer["usage"] for answer in answers], count)
    return as_json(answers[0] | {"choices": choices, "usage": took})


async def _as_text(engine: Engine, prompt: str | list[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    text = await whole(engine.ask("/detokenize", {"tokens": prompt}))
    return str(text["content"])


async def whole(answer: AsyncIterator[bytes]) -> dict[str, Any]:
    """Return an answer that does not stream, decoded."""
    raw = b"".join([piece async for piece in answer])
    return msgspec.json.decode(raw, type=dict[str, Any])


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _total(usages: Sequence[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return one usage for all answers; each prompt is counted once.

    Args:
        usages: That of each answer, in order.
        count: How many answers a prompt has.
    """
    read = sum(each["prompt_tokens"] for each in usages[::count])
    made = sum(each["completion_tokens"] for each in usages)
    return usages[0] | usage(read, made)


async def _merged(
    answers: Sequence[AsyncIterator[bytes]], count: int, begins: list[str]
) -> AsyncIterator[bytes]:
    """Yield the events of all answers as they come, with one id and one usage."""
    queue: asyncio.Queue[tuple[int, dict[str, Any] | None]] = asyncio.Queue()

    async def pump(index: int, answer: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in _chunks(answer):
                queue.put_nowait((index, chunk))
        finally:
            queue.put_nowait((index, None))

    tasks = [asyncio.create_task(pump(i, each)) for i, each in enumerate(answers)]
    running = len(tasks)
    usages: dict[int, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    told = dict(enumerate(begins))
    try:
        while running:
            index, chunk = await queue.get()
            if chunk is None:
                running -= 1
                await tasks[index]  # one that broke off breaks the stream off
                continue
            head = head or chunk
            if took := chunk.pop("usage", None):
                usages[index] = took
            for choice in chunk.get("choices", ()):
                choice["index"] = index
                if index in told:
                    choice["text"] = told.pop(index) + choice["text"]
            if chunk.get("choices") or "error" in chunk:
                yield event(chunk | {"id": head.get("id")})
        if len(usages) == len(tasks):
            took = _total([usages[index] for index in range(len(tasks))], count)
            yield event(head | {"choices": [], "usage": took})
        yield DONE
    finally:
        for task in tasks:
            task.cancel()
        # Else each that is cancelled is told on the terminal, as nobody has heard it.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _chunks(answer: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    buffer = b""
    async for piece in answer:
        *events, buffer = (buffer + piece).split(b"\n\n")
        for each in events:
            data = each.removeprefix(b"data: ")
            if data.startswith(b"{"):
                yield msgspec.json.decode(data)
