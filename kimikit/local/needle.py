"""Which tools to call: Needle 3 decides, SmolLM2 fills in where a call is forced."""

from __future__ import annotations

import asyncio
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


class Decision(msgspec.Struct, frozen=True):
    """The calls that Needle made, none if it saw no need."""

    calls: list[dict[str, Any]]
    confidence: float
    prompt_tokens: int
    completion_tokens: int


class Needle:
    """What asks Needle, one question after the other."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
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
            Refused: If Needle fails.
        """
        query = query[-QUERY_CHARACTERS:]
        if len(tools) > TOOLS_READ:
            texts = [f"{tool.name} {tool.description}" for tool in tools]
            near = await asyncio.to_thread(vectors.ranked, query, texts)
            tools = [tools[index] for index, _ in near[:TOOLS_READ]]
        listed = msgspec.json.encode([_described(tool) for tool in tools]).decode()
        asked = msgspec.json.encode({"query": query, "tools": listed, "score": score})
        if asked not in self._known:
            async with self._turn:
                decision = await self._ask(asked)
            self._known[asked] = decision
        return self._known[asked]

    async def _ask(self, asked: bytes) -> Decision:
        worker = str(Path(__file__).with_name("needle_worker.py"))
        command = [sys.executable, "-P", worker, str(self._weights)]
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            said, errors = await child.communicate(asked)
        except asyncio.CancelledError:
            child.kill()  # the client hung up, and Needle knows no other stop
            raise
        if child.returncode:
            why = errors.decode(errors="replace").strip().splitlines() or ["it ended"]
            msg = f"Needle could not decide on the tools: {why[-1]}."
            raise Refused(msg, status=500)
        return msgspec.json.decode(said, type=Decision)


def _described(tool: Function) -> dict[str, Any]:
    """Return a tool as Needle knows it, without what only costs reading time."""
    about = re.split(r"\n\s*\n", tool.description, maxsplit=1)[0][:300]
    parameters = {"type": "object", "properties": {}} | _lean(tool.parameters or {})
    return {"name": tool.name, "description": about, "parameters": parameters}


def _lean(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_lean(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _lean(each) for key, each in schema.items() if key not in _NOISE}
    if isinstance(properties := schema.get("properties"), dict):
        # A property may be called like a keyword.
        kept["properties"] = {name: _lean(each) for name, each in properties.items()}
    return kept
