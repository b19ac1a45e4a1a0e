"""Map addresses of the local host to what answers there; enter at ``make_app``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kimikit.local import checks, vectors
from kimikit.local.batch_routes import Batches, Sign
from kimikit.local.batch_store import BatchStore
from kimikit.local.batch_work import BatchWorker
from kimikit.local.chat import chat
from kimikit.local.checks import Refused
from kimikit.local.engine import SLOTS, Engine
from kimikit.local.models import VECTORS_ID
from kimikit.local.needle import Needle
from kimikit.local.relay import as_json, relay

POSTS: dict[str, type[checks.Asked]] = {
    "/v1/chat/completions": checks.ChatRequest,
    "/v1/completions": checks.CompletionRequest,
    "/v1/embeddings": checks.EmbeddingRequest,
    "/v1/rerank": checks.RerankRequest,
}
"""What each path is asked with."""


def make_app(
    engine: Engine, needle: Needle, chat_id: str, folder: Path, sign: Sign
) -> tuple[Starlette, BatchWorker]:
    """Return the host's application, and who works off its batches.

    Args:
        engine: Answers.
        needle: Decides on calls of tools.
        chat_id: The id of the chat model.
        folder: Where batches lie.
        sign: Makes a text that only this host could make of another.
    """

    async def answer(path: str, raw: bytes) -> Response:
        asked = checks.parse(raw, POSTS[path], chat_id)
        given: dict[str, Any] = msgspec.json.decode(raw)
        body = {name: value for name, value in given.items() if value is not None}
        match asked:
            case checks.ChatRequest():
                return await chat(engine, needle, chat_id, asked, body)
            case checks.CompletionRequest():
                return await relay(
                    engine, path, body, asked.prompts, echo=bool(asked.echo)
                )
            case checks.EmbeddingRequest():
                return await asyncio.to_thread(vectors.embeddings, asked)
            case checks.RerankRequest():
                return await asyncio.to_thread(vectors.rerank, asked)
        raise AssertionError(path)

    async def post(request: Request) -> Response:
        path, raw = request.scope["path"], await request.body()
        with worker.live_call():
            return await _while_connected(request, answer(path, raw))

    async def answer_line(path: str, raw: bytes) -> tuple[int, bytes]:
        made = await answer(path, raw)
        return made.status_code, bytes(made.body)

    worker = BatchWorker(BatchStore(folder), answer_line, SLOTS)
    batches = Batches(worker, sign, tuple(POSTS))
    app = Starlette(
        routes=[
            *_facts(engine, chat_id),
            *(Route(path, post, methods=["POST"]) for path in POSTS),
            *batches.routes(),
        ],
        exception_handlers=dict.fromkeys(
            (Refused, HTTPException, ClientDisconnect, Exception), error_answer
        ),
        lifespan=worker.lifespan,
    )
    return app, worker


def _facts(engine: Engine, chat_id: str) -> list[Route]:
    """Return the routes that tell what is here."""
    base = {"object": "model", "created": int(time.time()), "owned_by": "kimikit-local"}
    known = [
        base | {"id": chat_id, "type": "chat", "context_length": engine.context_tokens},
        base | {"id": VECTORS_ID, "type": "embedding"},
    ]

    async def health(_: Request) -> Response:
        return as_json({"pid": os.getpid()})

    async def models(_: Request) -> Response:
        return as_json({"object": "list", "data": known})

    async def model(request: Request) -> Response:
        wanted = request.path_params["id"]
        for each in known:
            if each["id"] == wanted:
                return as_json(each)
        raise checks.unknown_model(wanted, chat_id)

    return [
        Route("/health", health),
        Route("/v1/models", models),
        Route("/v1/models/{id:path}", model),
    ]


async def _while_connected(
    request: Request, work: Coroutine[Any, Any, Response]
) -> Response:
    """Return the answer that ``work`` makes; it is cancelled if the client hangs up.

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


async def error_answer(request: Request, exc: Exception) -> Response:
    """Return any failure as an error in OpenAI's form, also if nobody reads it."""
    if isinstance(exc, HTTPException):
        msg = (
            f"{request.method} {request.url.path} is not among the endpoints of the "
            "local host: chat/completions, completions, embeddings, models, rerank, "
            "files and batches under /v1."
        )
        exc = Refused(msg, status=exc.status_code, code="unknown_endpoint")
    if not isinstance(exc, Refused):
        msg = f"The local host failed: {type(exc).__name__}: {exc}"
        exc = Refused(msg, status=500)
    answer = as_json(exc.body, exc.status)
    if exc.status == 413:
        answer.headers["connection"] = "close"  # the rest of it is not read
    return answer
