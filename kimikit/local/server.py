"""The local host's HTTP side: its process, port, key and idle end."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kimikit.errors import LocalHostError
from kimikit.local import models, process
from kimikit.local.engine import Engine

IDLE_S = 900.0
"""Seconds without work after which the host that kernels share ends."""

_REPLACED_IDLE_S = 60.0
"""The same, once the port file names another host."""


class Guard:
    """ASGI layer in front of all routes: asks for the key, knows when it was idle."""

    def __init__(self, app: Any, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()
        self._in_flight = 0
        self._last = time.monotonic()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request with the key on, and refuse any other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._expected):
            from kimikit.local.checks import Refused

            refusal = Refused(
                "The API key is missing or wrong. Take both key and base URL from "
                "kimikit.local.ensure(), or from what the server printed.",
                status=401,
                kind="authentication_error",
                code="invalid_api_key",
            )
            await refusal.response(scope, receive, send)
            return
        if scope["path"].startswith("/v1/v1/"):
            # Together's SDK 3 adds /v1 to a base URL that ends with it already.
            scope = scope | {"path": scope["path"].removeprefix("/v1")}
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
            self._last = time.monotonic()

    async def until_idle(self, limit_s: Callable[[], float]) -> None:
        """Return once there was no work for ``limit_s()`` seconds."""
        while True:
            left = self._last + limit_s() - time.monotonic()
            if left <= 0 and not self._in_flight:
                return
            await asyncio.sleep(max(left, 0.1))


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
    listener = _listen(port)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(Engine, model)  # meanwhile the imports below
        import uvicorn

        from kimikit.local.needle import Needle
        from kimikit.local.routes import make_app

        engine = loading.result()
    needle = Needle(models.CALLS.path)
    key = api_key or f"local-{secrets.token_urlsafe(24)}"
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    running = process.Running(base_url, key, model.id, os.getpid())
    entry = process.PortFile(running, process.version(), str(model.path))
    idle_s = float(os.environ.get("KIMIKIT_LOCAL_IDLE_S") or IDLE_S)

    def limit_s() -> float:
        replaced = process.read_port_file() != entry
        return min(idle_s, _REPLACED_IDLE_S) if replaced else idle_s

    def forget() -> None:
        if process.read_port_file() == entry:
            process.port_file().unlink(missing_ok=True)

    async def end_when_idle() -> None:
        await guard.until_idle(limit_s)
        forget()  # first, so that nobody is sent to a host that ends
        server.should_exit = True

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        if shared:
            watch = asyncio.create_task(end_when_idle())
            process.write_port_file(entry)
        else:
            _announce(running)
        yield
        if shared:
            watch.cancel()
            forget()
        await needle.close()

    guard = Guard(make_app(engine, needle, model.id, lifespan), key)
    config = uvicorn.Config(
        guard, log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again, or not
        server.run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        if os.name == "posix":  # elsewhere it would let two hosts share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except (OSError, OverflowError) as exc:
        listener.close()
        raise LocalHostError(
            f"The local host cannot listen on port {port}: {exc}.",
            "Give another port, or 0 to take one that is free.",
        ) from exc
    return listener


def _announce(running: process.Running) -> None:
    sys.stdout.write(
        f"Serving {running.model} (a local stand-in, not Kimi) to any OpenAI client:\n"
        f"  base_url = {running.base_url}\n"
        f"  api_key  = {running.api_key}\n"
        "Press Ctrl+C to end.\n"
    )
    sys.stdout.flush()
