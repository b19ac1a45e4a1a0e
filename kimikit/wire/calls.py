"""Pieces of tool calls to whole calls, whatever their host does to them."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections import Counter
from typing import Any

import msgspec

from kimikit.types import CallPart, ToolCall
from kimikit.wire.loose import as_dict, as_list, as_str
from kimikit.wire.usage import weigh

_AFTER = {
    "": "raw control characters in its arguments",
    "[}\\s]+": "a brace too many in its arguments",
    r"(?:<\|tool_call\w*_end\|>\s*)+": "raw tool markers after its arguments",
}
"""What may stand after arguments that are an object, and what is noted of it."""


class _Open:
    """A call while its pieces arrive."""

    def __init__(self, index: int, position: int) -> None:
        self.index = index
        self.position = position
        self.id = ""
        self.name = ""
        self.pieces = bytearray()
        self.shown = False

    @property
    def arguments(self) -> str:
        return self.pieces.decode()


class Assembler:
    """Joins the ``tool_calls`` of deltas.

    Hosts leave ``index`` out, start it anywhere, reuse it for a new call, send the id
    before the name, an empty id, or the whole name again with each piece. Nothing is
    finished because its JSON happens to parse: more may follow.
    """

    def __init__(self) -> None:
        self.calls: list[_Open] = []

    def add(self, pieces: object) -> tuple[CallPart, ...]:
        """Take the ``tool_calls`` of one delta; return what a view can show of it."""
        shown: list[CallPart] = []
        for piece in [pieces] if isinstance(pieces, dict) else as_list(pieces):
            if not isinstance(piece, dict):
                continue
            function = as_dict(piece.get("function"))
            name, text = as_str(function.get("name")).strip(), function.get("arguments")
            call = self._find(piece.get("index"), as_str(piece.get("id")), name)
            call.name = name or call.name
            if not isinstance(text, str):
                text = "" if text is None else _json(text)
            call.pieces.extend(text.encode())
            if call.name:
                new = text if call.shown else call.arguments
                call.shown = True
                shown.append(CallPart(call.position, call.name, new))
        return tuple(shown)

    def _find(self, index: object, id_: str, name: str) -> _Open:
        """Return the call that a piece belongs to, a new one if to none so far."""
        call: _Open | None = None
        if isinstance(index, str) and index.isdecimal():
            index = int(index)
        if isinstance(index, int) and not isinstance(index, bool):
            call = next((c for c in reversed(self.calls) if c.index == index), None)
        elif id_:
            call = next((c for c in self.calls if c.id == id_), None)
        elif not name and self.calls:
            call = self.calls[-1]
        if call is not None and name and call.name:
            other_id = bool(id_ and call.id and id_ != call.id)
            other_name = not id_ and not name.startswith(call.name)
            if other_id or other_name:
                call = None
        if call is None:
            number = index if isinstance(index, int) else len(self.calls)
            call = _Open(number, len(self.calls))
            self.calls.append(call)
        call.id = call.id or id_
        return call

    def tokens(self) -> float:
        """Return a guess of the tokens that the calls took."""
        return sum(weigh(call.name) + weigh(call.arguments) for call in self.calls)

    def finish(
        self, *, complete: bool, cut: bool = False
    ) -> tuple[list[ToolCall], list[str]]:
        """Return the calls by index with notes on what was repaired.

        Args:
            complete: Whether the answer has ended; if not, the call that was still
                being written is left out.
            cut: Whether it ended at ``max_tokens``; then that call must be whole.
        """
        notes: list[str] = []
        calls: list[ToolCall] = []
        last = self.calls[-1] if self.calls else None
        for call in sorted(self.calls, key=lambda c: (c.index, c.position)):
            if not call.name:
                notes.append("A tool call without a name was dropped.")
            elif call is last and (
                not complete or (cut and not isinstance(decoded(call.arguments), dict))
            ):
                notes.append(
                    f"The call of {call.name} was not finished and is dropped."
                )
            else:
                arguments, note = tidy(call.arguments)
                notes += [f"The call of {call.name} {note}."] if note else []
                calls.append(ToolCall(call.id, call.name, arguments, call.id))
        return calls, notes


def tidy(arguments: str) -> tuple[str, str]:
    """Return arguments as JSON text, and what had to be repaired for it.

    What cannot be repaired without guessing stays as it came: the tool loop hands it
    back to the model as an error. A missing brace is never added, as ``{"n": 12``
    may have been the start of 123.
    """
    text = arguments.strip()
    if text in ("", "null"):
        return "{}", ""
    value = decoded(text)
    if value is None:
        return _repaired(text)
    if isinstance(value, str):
        inner, _ = tidy(value)
        if isinstance(decoded(inner), dict):
            return inner, "had its arguments quoted twice"
        return text, "has arguments that are a JSON string, not an object"
    if not isinstance(value, dict):
        return text, "has arguments that are not a JSON object"
    if "<|tool_call" in text:
        return text, "has raw tool markers inside its arguments"
    return text, ""


def _repaired(text: str) -> tuple[str, str]:
    decoder = json.JSONDecoder(
        strict=False, parse_constant=_decline, parse_float=_finite
    )
    value, end = None, 0
    with contextlib.suppress(ValueError, RecursionError):
        value, end = decoder.raw_decode(text)
    if not isinstance(value, dict):
        return text, "has arguments that are not JSON"
    rest = text[end:].strip()
    if rest == text[:end]:
        return _json(value), "had its arguments sent twice"
    for pattern, what in _AFTER.items():
        if re.fullmatch(pattern, rest):
            return _json(value), f"had {what}"
    return text, "has arguments with more than one value"


def _decline(constant: str) -> Any:
    """Refuse ``NaN`` and ``Infinity``, which Python reads but JSON does not have."""
    raise ValueError(constant)


def _finite(number: str) -> float:
    """Refuse ``1e400``, which Python reads as infinity and would be sent as null."""
    value = float(number)
    return value if math.isfinite(value) else _decline(number)


def decoded(text: str) -> Any:
    """Return ``text`` as Python values, ``None`` if it is no JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def name_ids(calls: list[ToolCall], *, count: int, kimi: bool) -> list[ToolCall]:
    """Give each call a usable id.

    Args:
        calls: The calls of one answer.
        count: Calls that the conversation held before it.
        kimi: Whether ids must read ``functions.name:index``, as K2 was trained on;
            others only replace ids that are empty or not unique.
    """
    named: list[ToolCall] = []
    ids = Counter(call.host_id for call in calls)
    for number, call in enumerate(calls, start=count):
        id_ = call.host_id
        if kimi or not id_ or ids[id_] > 1:
            id_ = f"functions.{call.name}:{number}"
            while not kimi and id_ in ids:  # the host's own id of another call
                number += len(calls)
                id_ = f"functions.{call.name}:{number}"
        host_id = "" if id_ == call.host_id else call.host_id
        named.append(ToolCall(id_, call.name, call.arguments, host_id))
    return named
