"""The local host's endpoints."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from kimikit.local import checks, vectors
from kimikit.local.chat import DEFAULT_TOKENS, chat, repeated
from kimikit.local.checks import Refused, T, as_json
from kimikit.local.engine import Engine
from kimikit.local.models import VECTORS_ID
from kimikit.local.needle import Needle
from kimikit.local.relay import relay


class Endpoints:
    """What the routes need: the models."""

    def __init__(self, engine: Engine, needle: Needle, chat_id: str) -> None:
        self._engine = engine
        self._needle = needle
        self._chat_id = chat_id
        self._started = int(time.time())

    async def health(self, _: Request) -> Response:
        """Say that the host is well, and which process it is."""
        return as_json({"status": "ok", "pid": os.getpid()})

    async def models(self, request: Request) -> Response:
        """List the models, or show the one that the path names."""
        base = {
            "object": "model",
            "created": self._started,
            "owned_by": "kimikit-local",
        }
        context = self._engine.context_tokens
        shown = [
            base | {"id": self._chat_id, "type": "chat", "context_length": context},
            base | {"id": VECTORS_ID, "type": "embedding"},
        ]
        wanted = request.path_params.get("id")
        if wanted is None:
            return as_json({"object": "list", "data": shown})
        for model in shown:
            if model["id"] == wanted:
                return as_json(model)
        raise checks.unknown_model(wanted, self._chat_id)

    async def chat(self, request: Request) -> Response:
        """Answer a chat."""
        asked, body = await self._read(request, checks.ChatRequest)
        return await chat(
            request, self._engine, self._needle, asked, body, self._chat_id
        )

    async def completions(self, request: Request) -> Response:
        """Continue a text."""
        asked, body = await self._read(request, checks.CompletionRequest)
        body = {"max_tokens": DEFAULT_TOKENS, **body, "n": 1}
        bodies = repeated(body, asked.n)
        return await relay(request, self._engine, "/v1/completions", bodies)

    async def embeddings(self, request: Request) -> Response:
        """Turn texts into vectors."""
        asked, _ = await self._read(request, checks.EmbeddingRequest)
        return as_json(await asyncio.to_thread(vectors.embeddings, asked))

    async def rerank(self, request: Request) -> Response:
        """Order documents by a query."""
        asked, _ = await self._read(request, checks.RerankRequest)
        return as_json(await asyncio.to_thread(vectors.rerank, asked))

    async def _read(self, request: Request, kind: type[T]) -> tuple[T, dict[str, Any]]:
        """Return a request checked, and as it came."""
        raw = await request.body()
        return checks.parse(raw, kind, self._chat_id), msgspec.json.decode(raw)


async def _refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Refused)
    return exc.response


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)  # nobody is there to read it


async def _no_route(request: Request, exc: Exception) -> Response:
    status = exc.status_code if isinstance(exc, HTTPException) else 404
    msg = (
        f"{request.method} {request.url.path} is not among the endpoints of the local "
        "host: chat/completions, completions, embeddings, models and rerank under /v1."
    )
    return Refused(msg, status=status, code="unknown_endpoint").response


async def _broken(_: Request, exc: Exception) -> Response:
    msg = f"The local host failed: {type(exc).__name__}: {exc}"
    return Refused(msg, status=500, kind="server_error").response


def make_app(engine: Engine, needle: Needle, chat_id: str, lifespan: Any) -> Starlette:
    """Return the host's application."""
    at = Endpoints(engine, needle, chat_id)
    return Starlette(
        routes=[
            Route("/health", at.health),
            Route("/v1/models", at.models),
            Route("/v1/models/{id:path}", at.models),
            Route("/v1/chat/completions", at.chat, methods=["POST"]),
            Route("/v1/completions", at.completions, methods=["POST"]),
            Route("/v1/embeddings", at.embeddings, methods=["POST"]),
            Route("/v1/rerank", at.rerank, methods=["POST"]),
        ],
        exception_handlers={
            Refused: _refused,
            ClientDisconnect: _gone,
            HTTPException: _no_route,
            Exception: _broken,
        },
        lifespan=lifespan,
    )
