"""Keep what a host sends beside text, thinking and calls, whatever its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kimikit.wire.coerce import mend

KNOWN = frozenset({
    "annotations", "audio", "citations", "function_call", "images", "padding",
    "provider_specific_fields", "reasoning_details", "reasoning_text", "refusal",
    "thinking", "tool_call_id",
})  # fmt: skip
"""Fields of a message that need no note; hosts document them."""
_ELSEWHERE = frozenset({
    "role", "content", "text", "tool_calls", "reasoning_content", "reasoning", "index",
    "delta", "message", "finish_reason", "logprobs", "usage",
})  # fmt: skip
_MARKS = frozenset({
    "id", "type", "role", "name", "index", "format", "object", "model", "status",
    "mime_type", "media_type", "expires_at", "stop_reason", "native_finish_reason",
})  # fmt: skip
"""Texts that are sent whole each time, where others come in pieces."""
_SHOWN = 5
"""Names of unknown fields that a note lists."""


class Extras:
    """Collects the fields of one message or choice over all its chunks."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Any]] = {}

    def add(self, fields: Mapping[str, Any]) -> None:
        """Take the fields of a chunk that have no other place and are not empty."""
        for name, value in fields.items():
            if name not in _ELSEWHERE and value not in (None, "", [], {}):
                self.keep(name, value)

    def keep(self, name: str, value: Any) -> None:
        """Take a piece of one field."""
        self._parts.setdefault(name, []).append(value)

    def merged(self) -> dict[str, Any]:
        """Return each field whole: texts and lists joined, objects field by field."""
        whole = {name: _joined(name, parts) for name, parts in self._parts.items()}
        found: dict[str, Any] = mend(whole)
        return found

    def unknown(self) -> str:
        """Return the names of the fields that no host documents, for a note."""
        names = [f"{mend(n):.40}" for n in self._parts if n not in KNOWN]
        more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return ", ".join(names[:_SHOWN] + more)


def _joined(name: str, parts: list[Any], depth: int = 0) -> Any:
    if len(parts) == 1 or name in _MARKS or depth > 8:
        return parts[-1]
    if all(isinstance(part, str) for part in parts):
        return "".join(parts)
    if all(isinstance(part, list) for part in parts):
        return _grouped([each for part in parts for each in part], depth)
    if all(isinstance(part, dict) for part in parts):
        return _fields(parts, depth)
    return parts[-1]


def _fields(parts: Iterable[dict[str, Any]], depth: int) -> dict[str, Any]:
    pieces: dict[str, list[Any]] = {}
    for part in parts:
        for name, value in part.items():
            if value is not None:
                pieces.setdefault(name, []).append(value)
    return {name: _joined(name, some, depth + 1) for name, some in pieces.items()}


def _grouped(items: list[Any], depth: int) -> list[Any]:
    """Join neighbours that say by their ``index`` that they are one item."""
    groups: list[tuple[Any, list[Any]]] = []
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        mark = None if index is None else (str(index)[:40], str(item.get("type"))[:40])
        if mark is not None and groups and groups[-1][0] == mark:
            groups[-1][1].append(item)
        else:
            groups.append((mark, [item]))
    return [some[0] if len(some) == 1 else _fields(some, depth) for _, some in groups]
