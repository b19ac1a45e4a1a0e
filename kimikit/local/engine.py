"""llama.cpp's server, run inside this process on a loopback port of its own.

It is spoken to over HTTP, not through its in-process handlers, because a closed
connection is its one way to stop work that has begun: it then frees the slot, while
a prompt is read as well as while tokens are made.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import h11
import msgspec

from kimikit.errors import LocalHostError
from kimikit.local.models import CHAT, ChatModel

SLOTS = 4
CONTEXT_TOKENS = 16_384
"""Tokens that the slots share; a model's own limit holds for each."""

OLD_PROMPTS_MIB = 128
"""Memory for prompts that may come again; llama.cpp itself would take 8 GB."""

_READ_BYTES = 1 << 16
_LOOK_S = 10.0


def _threads() -> int:
    """Return half of the cores.

    llama.cpp's threads wait for each other hundreds of times a token. Where the
    kernel and the browser want the cores too, the last one always sleeps: on 2 cores
    with 2 busy processes, 2 threads make 3 tokens a second and 1 makes 21 (both 86
    where nothing else runs).
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // 2)


class Answer:
    """An answer of llama.cpp: its status, and its body as it comes."""

    def __init__(
        self, status: int, reader: asyncio.StreamReader, wire: h11.Connection
    ) -> None:
        self.status = status
        self._reader = reader
        self._wire = wire

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body in the pieces in which it was sent."""
        while True:
            event = self._wire.next_event()
            if event is h11.NEED_DATA:
                self._wire.receive_data(await self._reader.read(_READ_BYTES))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([chunk async for chunk in self.chunks()])


class Engine:
    """A chat model in llama.cpp, loaded and ready.

    Attributes:
        context_tokens: What a prompt and its answer may have together.
    """

    def __init__(self, model: ChatModel) -> None:
        import xllamacpp

        self._key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = str(model.path)
        params.model_alias = {model.id}
        params.n_ctx = CONTEXT_TOKENS
        params.n_parallel = SLOTS
        params.kv_unified = True
        params.port = 0
        params.api_keys = [self._key]
        if model.path == CHAT.path:
            # Fitting to the memory takes a third of the start, and this model fits.
            params.fit_params = False
            # 367 MB in place of 536, and the same answers from tool results.
            params.cache_type_k = params.cache_type_v = (
                xllamacpp.ggml_type.GGML_TYPE_Q8_0
            )
        params.cache_ram_mib = OLD_PROMPTS_MIB
        params.verbosity = 0
        for threads in (params.cpuparams, params.cpuparams_batch):
            threads.n_threads = _threads()
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as exc:
            raise LocalHostError(
                f"llama.cpp cannot load {model.path}: {exc}",
                "Give another GGUF file in KIMIKIT_LOCAL_MODEL, or unset it.",
            ) from exc
        address = urlsplit(self._server.listening_address)
        self._host, self._port = address.hostname or "", address.port or 0
        self.context_tokens = self._slot_tokens()

    def _slot_tokens(self) -> int:
        """Return how many tokens a prompt and its answer may have together."""
        server = http.client.HTTPConnection(self._host, self._port, timeout=_LOOK_S)
        with contextlib.closing(server):
            key = {"Authorization": f"Bearer {self._key}"}
            server.request("GET", "/props", headers=key)
            facts = msgspec.json.decode(server.getresponse().read())
        return int(facts["default_generation_settings"]["n_ctx"])

    @contextlib.asynccontextmanager
    async def post(self, path: str, body: dict[str, Any]) -> AsyncIterator[Answer]:
        """Send ``body``; leaving the context closes the connection and ends the work.

        Raises:
            OSError: If llama.cpp's server does not answer.
        """
        data = msgspec.json.encode(body)
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            wire = h11.Connection(h11.CLIENT)
            head = [
                ("Host", self._host),
                ("Authorization", f"Bearer {self._key}"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(data))),
            ]
            for part in (
                h11.Request(method="POST", target=path, headers=head),
                h11.Data(data=data),
                h11.EndOfMessage(),
            ):
                writer.write(wire.send(part) or b"")
            while (event := wire.next_event()) is h11.NEED_DATA:
                wire.receive_data(await reader.read(_READ_BYTES))
            if not isinstance(event, h11.Response):
                raise ConnectionError("llama.cpp closed the connection")
            yield Answer(event.status_code, reader, wire)
        finally:
            writer.close()
