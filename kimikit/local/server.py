"""Serve the local host over HTTP: its process, port and key, and its end when idle."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from kimikit.errors import BadInput, LocalHostError
from kimikit.local import models, process, trust
from kimikit.local.batch_routes import UPLOAD
from kimikit.local.batch_store import batch_folder
from kimikit.local.checks import Refused
from kimikit.local.engine import Engine
from kimikit.local.needle import Needle
from kimikit.local.process import Running
from kimikit.local.relay import as_json
from kimikit.local.routes import make_app

HEADERS_S = 10.0
"""Seconds within which a request must say what it asks."""

WAITING_PER_PEER = 128
"""Connections of one peer without a request; for one more the oldest is closed."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 in which waiting has an end and a bound."""

    _waiting: ClassVar[dict[str, dict[BoundedProtocol, asyncio.TimerHandle]]] = {}

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that is whole is waited for no more."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Begin to wait again after an answer."""
        super().on_response_complete()
        self._look()

    @property
    def _peers(self) -> dict[BoundedProtocol, asyncio.TimerHandle]:
        peer = self.client[0] if self.client else ""
        return self._waiting.setdefault(peer, {})

    def _look(self) -> None:
        """Count this connection as waiting unless it is being answered."""
        if self.transport.is_closing() or (
            self.cycle is not None and not self.cycle.response_complete
        ):
            self._forget()
            return
        peers = self._peers
        if self not in peers:
            peers[self] = self.loop.call_later(HEADERS_S, self._drop)
            if len(peers) > WAITING_PER_PEER:
                next(iter(peers))._drop()

    def _forget(self) -> None:
        if timer := self._peers.pop(self, None):
            timer.cancel()

    def _drop(self) -> None:
        self._forget()
        self.transport.abort()


IDLE_S = 900.0
"""Seconds without work after which the host that kernels share ends."""


LARGEST_BODY = 32 << 20
"""Bytes of a request; no context of a local model holds so much."""

LARGEST_FILE = 100 << 20
"""Bytes of the file of a batch, as at Together and Moonshot."""

_LARGE = ("/v1/files", "/v1/batches", UPLOAD)
"""Beginnings of the paths that take files; a form's own lines are a few more bytes."""


class Guard:
    """ASGI layer before all routes: asks for the key, knows how long it is idle."""

    def __init__(
        self, app: Any, key: str, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._app = app
        self._key = key
        self._busy = busy
        self._in_flight = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request with the key on, prove ours to who knows it, refuse others."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        nonce = headers.get(trust.NONCE, b"").decode("latin-1")
        if nonce and scope["path"] == "/health":
            expected = trust.proof(self._key, "client", nonce)
            if _same(headers.get(trust.PROOF, b""), expected):
                said = {
                    "pid": os.getpid(),
                    "proof": trust.proof(self._key, "host", nonce),
                }
                await as_json(said)(scope, receive, send)
                return
        scheme, _, given = headers.get("authorization", b"").strip().partition(b" ")
        known = scheme.lower() == b"bearer" and _same(given.strip(), self._key)
        # An upload shows the signature in its address instead: see ``Batches``.
        if not known and not scope["path"].startswith(UPLOAD):
            refusal = Refused(
                "The API key is missing or wrong. Take both key and base URL from "
                "kimikit.local.ensure(), or from what the server printed.",
                status=401,
                code="invalid_api_key",
            )
            answer = as_json(refusal.body, refusal.status)
            answer.headers["connection"] = "close"  # what else it sends is not read
            await answer(scope, receive, send)
            return
        if scope["path"].startswith("/v1/v1/"):
            # Together's SDK 3 adds /v1 to a base URL that ends with it already.
            raw = scope["raw_path"].removeprefix(b"/v1")
            scope = scope | {"path": scope["path"].removeprefix("/v1"), "raw_path": raw}
        self._in_flight += 1
        try:
            large = scope["path"].startswith(_LARGE)
            most = LARGEST_FILE + (1 << 20) if large else LARGEST_BODY
            await self._app(scope, _bounded(receive, most), send)
        finally:
            self._in_flight -= 1
            self._last = time.monotonic()

    def idle_s(self) -> float:
        """Return for how many seconds there was no work."""
        if self._in_flight or self._busy():
            self._last = time.monotonic()
        return time.monotonic() - self._last


def _same(given: bytes, expected: str) -> bool:
    return hmac.compare_digest(given, expected.encode())


def _bounded(receive: Any, most: int) -> Any:
    """Return what receives a request's body, and refuses one that is too large."""
    size = 0

    async def bounded() -> Any:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            msg = f"The request is larger than {most >> 20} MB. Send less."
            raise Refused(msg, status=413)
        return message

    return bounded


class _Server(uvicorn.Server):
    """A server that tells, before it ends, that it does."""

    def __init__(self, config: uvicorn.Config, on_end: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_end = on_end

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._on_end()
        # What is broken off by the end would be told with its traceback.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)


def run_shared() -> None:
    """Serve the user's kernels, known to them by the port file.

    Raises:
        SystemExit: If it cannot start; the reason goes to its log.
    """
    try:
        serve(0, None, shared=True)
    except LocalHostError as exc:
        raise SystemExit(str(exc)) from exc


def serve(port: int, api_key: str | None, *, shared: bool = False) -> None:
    """Serve in the foreground; see ``kimikit.local.serve``.

    Args:
        port: The loopback port, 0 for a free one.
        api_key: The key to ask clients for; without one a random key is made.
        shared: Whether the port file names it, and it ends when nobody asks it.
    """
    model = models.chat_model()
    if model.path == models.CHAT.path and not models.is_cached(models.CHAT):
        raise models.damaged(models.CHAT)
    listener, running = _listen(port, api_key, model.id)
    port_file = process.port_file() if shared else None

    def leave() -> None:
        # First, so that nobody is sent to a host that ends.
        if port_file and process.read_port_file(port_file) == running:
            port_file.unlink(missing_ok=True)

    def end() -> None:
        leave()
        server.should_exit = server.should_exit or shared

    sign = partial(trust.proof, running.api_key, "upload")
    folder = batch_folder(f"{'shared' if shared else 'served'}-{model.id}")
    app, worker = make_app(
        Engine(model), Needle(models.CALLS, end), model.id, folder, sign
    )
    guard = Guard(app, running.api_key, lambda: worker.busy)
    server = _Server(_config(guard), leave)
    limit_s = float(os.environ.get("KIMIKIT_LOCAL_IDLE_S") or IDLE_S)

    def end_when_idle() -> None:
        while (left_s := limit_s - guard.idle_s()) > 0:
            time.sleep(min(left_s, 5))
        end()

    if port_file:
        process.write_port_file(port_file, running)
        threading.Thread(target=end_when_idle, daemon=True).start()
    else:
        _announce(f"{running.model} (a local stand-in, not Kimi)", running)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again, or not
            server.run(sockets=[listener])
    finally:
        leave()


def serve_upstream(port: int, api_key: str | None, url: str, concurrency: int) -> None:
    """Serve another server with batches in front of it; see ``kimikit.local.serve``."""
    from kimikit.local import upstream as front

    upstream = front.Upstream(url)
    listener, running = _listen(port, api_key)
    sign = partial(trust.proof, running.api_key, "upload")
    folder = batch_folder(front.folder_name(upstream))
    app, _ = front.make_app(upstream, folder, sign, concurrency)
    server = _Server(_config(Guard(app, running.api_key)), lambda: None)
    _announce(f"{upstream.url}, with batches", running)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def _config(guard: Guard) -> uvicorn.Config:
    # It warns of each piece that goes to a client which hung up meanwhile.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    return uvicorn.Config(
        guard,
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=1,
        http=BoundedProtocol,
        loop="asyncio",  # with uvloop a child that died is another error
    )


def _listen(
    port: int, api_key: str | None, model: str = ""
) -> tuple[socket.socket, Running]:
    """Return a socket that listens, and how it is asked."""
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise BadInput(
            "The API key cannot be sent in a header.",
            "Give one of ASCII letters, or none to have one made.",
        )
    try:
        if port not in range(1 << 16):
            raise OSError("there is no such port")
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as exc:
        raise LocalHostError(
            f"The local host cannot listen on port {port}: {exc}.",
            "Give another port, or 0 to take one that is free.",
        ) from exc
    return listener, Running(
        base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
        api_key=api_key or f"local-{secrets.token_urlsafe(24)}",
        model=model,
        pid=os.getpid(),
    )


def _announce(what: str, running: Running) -> None:
    sys.stdout.write(
        f"Serving {what} to any OpenAI client:\n"
        f"  base_url = {running.base_url}\n"
        f"  api_key  = {running.api_key}\n"
        "Press Ctrl+C to end.\n"
    )
    sys.stdout.flush()
