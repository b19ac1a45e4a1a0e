"""Offer batches before a server that has none, such as vLLM, SGLang or llama.cpp.

Its lines are asked one by one, so many at once, slower where it says so. All other
requests pass through to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from kimikit.errors import BadInput
from kimikit.local.batch_routes import Batches, Sign
from kimikit.local.batch_store import BatchStore
from kimikit.local.batch_work import BatchWorker
from kimikit.local.checks import Refused
from kimikit.local.exchange import Place, exchange
from kimikit.local.relay import as_json
from kimikit.local.routes import error_answer

KEY = "KIMIKIT_UPSTREAM_KEY"
"""Variable with the key that the server asks for, if it asks for one."""

TRIES = 30
"""Times that a line is asked of a server that is busy or away, before it fails."""

LONGEST_WAIT_S = 300.0
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
BUSY = (408, 429, 500, 502, 503, 504)
"""Statuses after which the same request may do better."""

LINES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
_OWN = {
    "host", "authorization", "connection", "content-length", "transfer-encoding",
    "keep-alive", "te", "trailer", "upgrade", "proxy-authorization", "expect",
}  # fmt: skip
"""Headers that belong to one connection, or hold our key."""


class Answer(NamedTuple):
    """The head of an answer, and the pieces of its body to come."""

    status: int
    headers: dict[str, str]
    pieces: Any


class Upstream:
    """Asks one server.

    Args:
        url: Its address, with or without ``/v1``.

    Raises:
        BadInput: If it is no address of HTTP, or holds more, such as a password.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:  # a bracket that is not closed, a port that is none
            parts, port = urlsplit(""), None
        # It is not shown: it may hold a key, and the banner of a server is in logs.
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise BadInput(
                "--upstream is not an HTTP address.",
                "Give one such as http://127.0.0.1:8000/v1.",
            )
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise BadInput(
                f"--upstream for {parts.hostname} holds more than an address.",
                f"Give the address alone, and its key as {KEY}.",
            )
        secure = parts.scheme == "https"
        tls = ssl.create_default_context() if secure else None
        port = port or (443 if secure else 80)
        self.url = url.strip().rstrip("/")
        self._place = Place(parts.hostname, port, tls)
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        self._ready_at = 0.0

    async def ask(
        self, method: str, path: str, headers: dict[str, str], data: bytes
    ) -> Answer:
        """Send a request; return the answer as it begins.

        Raises:
            OSError: If the server cannot be reached.
        """
        kept = [(name, value) for name, value in headers.items() if name not in _OWN]
        if key := os.environ.get(KEY):
            kept.append(("authorization", f"Bearer {key}"))
        pieces = exchange(self._place, method, self._path + path, kept, data)
        head: Any = await anext(pieces)
        found = {n.decode().lower(): v.decode("latin-1") for n, v in head.headers}
        return Answer(head.status_code, found, pieces)

    async def _ready(self) -> None:
        """Wait until the server may be asked again."""
        while (hold_s := self._ready_at - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(hold_s)

    async def line(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer a request of a batch, again where the server is busy or away."""
        asked = {"content-type": "application/json", "accept-encoding": "identity"}
        status, said, wait_s = 503, b"", 1.0
        for _ in range(TRIES):
            await self._ready()
            told = ""
            try:
                answer = await self.ask("POST", path, asked, body)
                async with contextlib.aclosing(answer.pieces):
                    status = answer.status
                    said = b"".join([piece async for piece in answer.pieces])
                told = answer.headers.get("retry-after", "")
            except OSError as exc:
                refusal = Refused(f"{self.url} does not answer: {exc}", status=502)
                status, said = 502, msgspec.json.encode(refusal.body)
            if status not in BUSY:
                return status, _as_json(said)
            wait_s = min(2 * wait_s, 60.0)
            asked_s = float(told) if _SECONDS.fullmatch(told) else 0.0
            pause_s = min(max(asked_s, wait_s / 2), LONGEST_WAIT_S)
            # All lines wait: a server that is busy is so for each of them.
            self._ready_at = max(self._ready_at, time.monotonic() + pause_s)
        return status, _as_json(said)


def _as_json(said: bytes) -> bytes:
    """Return a body that may stand in a line of JSON, whatever it is."""
    try:
        msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        words = said[:500].decode("utf-8", "replace")
        return msgspec.json.encode(Refused(f"No JSON: {words}", status=502).body)
    return msgspec.json.format(said, indent=-1)


def make_app(
    upstream: Upstream, folder: Path, sign: Sign, concurrency: int
) -> tuple[Starlette, BatchWorker]:
    """Return the application, and who works off its batches."""

    async def health(_: Request) -> Response:
        return as_json({"pid": os.getpid()})

    async def relay(request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")  # with its escapes
        path += f"?{request.url.query}" if request.url.query else ""
        with worker.live_call():
            try:
                answer = await upstream.ask(
                    request.method, path, dict(request.headers), await request.body()
                )
            except OSError as exc:
                msg = f"{upstream.url} does not answer: {exc}"
                raise Refused(msg, status=502) from exc
        kept = {n: v for n, v in answer.headers.items() if n not in _OWN}
        return StreamingResponse(_all(answer.pieces), answer.status, kept)

    worker = BatchWorker(BatchStore(folder), upstream.line, concurrency)
    every = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    app = Starlette(
        routes=[
            Route("/health", health),
            *Batches(worker, sign, LINES).routes(),
            Route("/{path:path}", relay, methods=every),
        ],
        exception_handlers=dict.fromkeys(
            (Refused, HTTPException, ClientDisconnect, Exception), error_answer
        ),
        lifespan=worker.lifespan,
    )
    return app, worker


async def _all(pieces: Any) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            yield piece


def folder_name(upstream: Upstream) -> str:
    """Return what the batches of a server lie under."""
    return f"upstream-{hashlib.sha256(upstream.url.encode()).hexdigest()[:16]}"
