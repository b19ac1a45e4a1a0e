"""Which tools to call: Needle 3 decides, SmolLM2 fills in where a call is forced."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from kimikit.local import vectors
from kimikit.local.checks import Function, Refused

GATE = 0.35
"""Confidence from which calls are made: of 20 mixed prompts 19 come out right."""

TOOLS_READ = 4
"""Tools that Needle reads at once; of more, those nearest to the question.

It reads about 80 tokens a second, 30 of them a tool.
"""

QUERY_CHARACTERS = 800
"""End of the question that Needle reads, for the same reason."""

_NOISE = {"title", "default", "additionalProperties", "$schema", "strict", "examples"}
_REMEMBERED = 64


class Decision(msgspec.Struct, frozen=True):
    """The calls that Needle made, none if it saw no need."""

    calls: list[dict[str, Any]]
    confidence: float
    prompt_tokens: int
    completion_tokens: int


class Needle:
    """The worker process, started at the first question that comes with tools."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._known: dict[bytes, Decision] = {}

    async def decide(
        self, query: str, tools: Sequence[Function], *, score: bool
    ) -> Decision:
        """Return the calls for ``query``; greedy, so one question has one answer.

        Args:
            query: What the user asks.
            tools: The functions to choose from.
            score: Whether the confidence is wanted, for the price of as much again.

        Raises:
            Refused: If the worker fails.
        """
        query = query[-QUERY_CHARACTERS:]
        if len(tools) > TOOLS_READ:
            texts = [f"{tool.name} {tool.description}" for tool in tools]
            near = await asyncio.to_thread(vectors.ranked, query, texts)
            tools = [tools[index] for index, _ in near[:TOOLS_READ]]
        listed = msgspec.json.encode([_described(tool) for tool in tools]).decode()
        asked = {"query": query, "tools": listed, "score": score}
        line = msgspec.json.encode(asked) + b"\n"
        if line not in self._known:
            async with self._turn:
                decision = await self._ask(line)
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[line] = decision
        return self._known[line]

    async def _ask(self, line: bytes) -> Decision:
        # A worker that waited may have died meanwhile; then a new one is asked, once.
        said = await self._said(line, self._child) if self._child else b""
        said = said or await self._said(line, await self._start())
        answer = msgspec.json.decode(said or b'{"error":"its process ended"}')
        if "error" in answer:
            msg = f"Needle could not decide on the tools: {answer['error']}."
            raise Refused(msg, status=500, kind="server_error")
        return msgspec.convert(answer, Decision)

    async def _start(self) -> asyncio.subprocess.Process:
        worker = str(Path(__file__).with_name("needle_worker.py"))
        command = [sys.executable, "-P", worker, str(self._weights)]
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, limit=1 << 24
        )
        return self._child

    async def _said(self, line: bytes, child: asyncio.subprocess.Process) -> bytes:
        """Return the worker's answer, nothing if it ended before it was whole."""
        assert child.stdin is not None
        assert child.stdout is not None
        said = b""
        try:
            with contextlib.suppress(OSError):
                child.stdin.write(line)
                await child.stdin.drain()
                said = await child.stdout.readline()
        except BaseException:
            await self.close()  # the client hung up, and Needle knows no other stop
            raise
        if said.endswith(b"\n"):
            return said
        await self.close()
        return b""

    async def close(self) -> None:
        """End the worker."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()


def _described(tool: Function) -> dict[str, Any]:
    """Return a tool as Needle knows it, without what only costs reading time."""

    def lean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: lean(v) for key, v in value.items() if key not in _NOISE}
        return [lean(v) for v in value] if isinstance(value, list) else value

    parameters = tool.parameters or {"type": "object", "properties": {}}
    # A property may be called like a keyword, so properties are gone through apart.
    kept = {key: value for key, value in parameters.items() if key not in _NOISE}
    kept["properties"] = {
        name: lean(value) for name, value in (kept.get("properties") or {}).items()
    }
    about = re.split(r"\n\s*\n", tool.description, maxsplit=1)[0][:300]
    return {"name": tool.name, "description": about, "parameters": kept}
