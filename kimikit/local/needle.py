"""Decide which tools to call: Needle 3 chooses, SmolLM2 fills in a forced call."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kimikit.local import models, needle_worker, vectors
from kimikit.local.checks import Function, Refused

GATE = 0.35
"""Confidence from which calls are made: of 20 mixed prompts 19 come out right."""

TOOLS_READ = 4
"""Tools that Needle reads at once; of more, those nearest to the question.

It reads about 80 tokens per second, 30 of them per tool.
"""

QUERY_CHARACTERS = 800
"""End of the question that Needle reads, for the same reason."""

_LOG = logging.getLogger("kimikit.local")
_NOISE = {"title", "default", "additionalProperties", "$schema", "strict", "examples"}


_WHY = 2000
"""Characters that are logged of what Needle said at its end."""


class Decision(msgspec.Struct, frozen=True):
    """The calls that Needle made, none if it saw no need."""

    calls: list[dict[str, Any]]
    confidence: float
    prompt_tokens: int
    completion_tokens: int


NO_CALL = Decision(calls=[], confidence=1.0, prompt_tokens=0, completion_tokens=0)


class Needle:
    """What asks Needle, one question after the other.

    Args:
        weights: Its file, whose digest is looked at again before each use.
        on_damage: Called when the file is no longer what it should be.
    """

    def __init__(
        self, weights: models.Weights, on_damage: Callable[[], None] = lambda: None
    ) -> None:
        self._weights = weights
        self._on_damage = on_damage
        self._turn = asyncio.Lock()
        self._known: dict[bytes, Decision] = {}

    async def decide(
        self, query: str, tools: Sequence[Function], *, score: bool
    ) -> Decision:
        """Return the calls for ``query``; greedy, so one question has one answer.

        Where Needle cannot read or say a letter it makes no call.

        Args:
            query: What the user asks.
            tools: The functions to choose from.
            score: Whether the confidence is wanted, for the price of as much again.

        Raises:
            Refused: If Needle fails, or its weights are damaged.
        """
        query = query[-QUERY_CHARACTERS:]
        if len(tools) > TOOLS_READ:
            texts = [f"{tool.name} {tool.description}" for tool in tools]
            near = await asyncio.to_thread(vectors.ranked, query, texts)
            tools = [tools[index] for index, _ in near[:TOOLS_READ]]
        names = _Aliases()
        described = [names.of_tool(_described(tool)) for tool in tools]
        listed = msgspec.json.encode(described).decode()
        plain, scored = (
            msgspec.json.encode({"query": query, "tools": listed, "score": each})
            for each in (False, True)
        )
        asked = scored if score or scored in self._known else plain
        if asked not in self._known:
            async with self._turn:
                decision = await self._ask(asked)
            self._known[asked] = decision
        return names.back(self._known[asked])

    async def _ask(self, asked: bytes) -> Decision:
        worker = str(Path(__file__).with_name("needle_worker.py"))
        command = [sys.executable, "-P", worker, str(self._weights.path)]
        command.append(self._weights.sha256)
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            said, errors = await child.communicate(asked)
        except asyncio.CancelledError:
            child.kill()  # the client hung up, and Needle knows no other stop
            raise
        if child.returncode == needle_worker.DAMAGED:
            self._on_damage()
            raise Refused(str(models.damaged(self._weights)), status=500)
        why = errors.decode(errors="replace").strip()
        if child.returncode and "panicked" in why:
            # It does at some letters beyond ASCII, and nobody can catch that.
            _LOG.warning("Needle made no call, as it failed: %s", why[:_WHY])
            return NO_CALL
        if child.returncode:
            last = (why.splitlines() or ["it ended"])[-1]
            msg = f"Needle could not decide on the tools: {last}."
            raise Refused(msg, status=500)
        return msgspec.json.decode(said, type=Decision)


class _Aliases:
    """Names of parameters in plain letters, as Needle panics at others, and back."""

    def __init__(self) -> None:
        self._real: dict[str, dict[str, str]] = {}

    def of_tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        """Return a described tool whose parameters all have names in ASCII."""
        real = self._real.setdefault(tool["name"], {})
        return tool | {"parameters": self._renamed(tool["parameters"], real)}

    def _renamed(self, schema: Any, real: dict[str, str]) -> Any:
        if isinstance(schema, list):
            return [self._renamed(each, real) for each in schema]
        if not isinstance(schema, dict):
            return schema
        made = {key: self._renamed(each, real) for key, each in schema.items()}
        if isinstance(properties := schema.get("properties"), dict):
            names = {
                name: _plain(name, number) for number, name in enumerate(properties)
            }
            real |= {plain: name for name, plain in names.items() if plain != name}
            made["properties"] = {
                names[name]: self._renamed(each, real)
                for name, each in properties.items()
            }
            if isinstance(required := schema.get("required"), list):
                made["required"] = [names.get(name, name) for name in required]
        return made

    def back(self, decision: Decision) -> Decision:
        """Return the decision with the names that the tools have."""
        calls = [
            call | {"arguments": _back(call.get("arguments"), real)}
            if (real := self._real.get(call.get("name", "")))
            else call
            for call in decision.calls
        ]
        return msgspec.structs.replace(decision, calls=calls)


def _plain(name: str, number: int) -> str:
    """Return a name in ASCII: without accents, or with a number in place of letters."""
    if name.isascii():
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return f"{letters.strip() or 'field'}_{number}"


def _back(value: Any, real: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {real.get(key, key): _back(each, real) for key, each in value.items()}
    return [_back(each, real) for each in value] if isinstance(value, list) else value


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
