"""Run llama.cpp's server inside this process, on a loopback port of its own.

It is spoken to over HTTP, not through its in-process handlers, because a closed
connection is its one way to stop work that has begun: it then frees the slot, while
a prompt is read as well as while tokens are made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kimikit.errors import LocalHostError
from kimikit.local.checks import Refused
from kimikit.local.exchange import Place, exchange
from kimikit.local.models import CHAT, ChatModel
from kimikit.local.process import get_json

SLOTS = 4
CONTEXT_TOKENS = 16_384
"""Tokens that the slots share; a model's own limit holds for each."""

OLD_PROMPTS_MIB = 128
"""Memory for prompts that may come again; llama.cpp itself would take 8 GB."""


def _threads() -> int:
    """Return half of the cores.

    llama.cpp's threads wait for each other hundreds of times per token. Where the
    kernel and the browser want the cores too, the last one always sleeps: on 2 cores
    with 2 busy processes, 2 threads make 3 tokens per second and 1 makes 21 (both 86
    where nothing else runs).
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // 2)


class Engine:
    """A chat model in llama.cpp, loaded and ready.

    Attributes:
        context_tokens: What a prompt and its answer may have together, ``None`` where
            llama.cpp does not say.
        calls_tools: Whether the model's own template has tools, which the model
            then calls itself.
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
            # Read once and kept, as the file was looked at only now.
            params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
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
        address = self._server.listening_address
        where = urlsplit(address)
        self._place = Place(where.hostname or "", where.port or 0)
        # A server that is destroyed before its queue has begun waits for it for ever,
        # and this process with it, which keeps its memory. This asks by the queue.
        get_json(address, "/slots", self._key)
        facts = get_json(address, "/props", self._key)
        self.calls_tools = "tools" in facts.get("chat_template", "")
        slot = facts.get("default_generation_settings", {})
        self.context_tokens: int | None = slot.get("n_ctx")

    async def ask(self, path: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """Yield the answer to ``body`` in the pieces in which it comes.

        Leaving the loop over them closes the connection, which ends the work.

        Raises:
            Refused: If llama.cpp refuses the body.
        """
        head = [
            ("Authorization", f"Bearer {self._key}"),
            ("Content-Type", "application/json"),
        ]
        status, refusal = 0, b""
        data = msgspec.json.encode(body)
        made = exchange(self._place, "POST", path, head, data)
        async with contextlib.aclosing(made) as pieces:
            async for piece in pieces:
                if not isinstance(piece, bytes):
                    status = piece.status_code
                elif status == 200:
                    yield piece
                else:
                    refusal += piece
        if status != 200:
            raise _refused(status, refusal)


def _refused(status: int, raw: bytes) -> Refused:
    error = msgspec.json.decode(raw)["error"]
    if error["type"] == "exceed_context_size_error":
        return Refused(
            f"The prompt has {error.get('n_prompt_tokens')} tokens, and the context "
            f"of the local model holds {error.get('n_ctx')}. Shorten it.",
            param="messages",
            code="context_length_exceeded",
        )
    return Refused(error["message"], status=status)
