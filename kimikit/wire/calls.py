"""Make whole tool calls of their pieces, whatever their host does to them."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from typing import Any

import msgspec

from kimikit.json_values import decoder
from kimikit.types import CallPart, ToolCall
from kimikit.wire.coerce import as_count, as_dict, as_list, as_str, mend
from kimikit.wire.weigh import weigh

_BRACKET = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_AFTER = {
    "": "raw control characters in its arguments",
    "[}\\s]+": "a brace too many in its arguments",
    r"(?:<\|tool_call\w*_end\|>\s*)+": "raw tool markers after its arguments",
}
"""What may stand after arguments that are an object, and what is noted of it."""
_TRAILING_COMMA = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)|,\s*+(?=[}\]])', re.DOTALL
)


class _Open:
    """A call while its pieces arrive."""

    def __init__(self, index: int, position: int) -> None:
        self.index = index
        self.position = position
        self.id = ""
        self.name = ""
        self.pieces = bytearray()
        self.ends: list[int] = []
        self.shown = False
        self._read = self._depth = 0
        self._quoted = False

    @property
    def arguments(self) -> str:
        return self.pieces.decode()

    def add(self, text: str) -> None:
        if text:
            self.pieces.extend(text.encode())
            self.ends.append(len(self.pieces))

    def whole(self) -> bool:
        """Say whether the arguments close all that they opened; read each once."""
        for found in _BRACKET.finditer(self.pieces, self._read):
            sign = found[0]
            if sign == b'"':
                self._quoted = not self._quoted
            elif not self._quoted and len(sign) == 1:
                self._depth += 1 if sign in b"{[" else -1
            self._read = found.end()
        return bool(self.pieces) and self._depth <= 0 and not self._quoted

    def repeated(self) -> str:
        """Return the last piece if each holds all that went before it, else nothing."""
        ends, data = self.ends, bytes(self.pieces)
        pieces = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        pairs = itertools.pairwise(pieces)
        if len(pieces) > 1 and all(b.startswith(a) for a, b in pairs):
            return pieces[-1].decode()
        return ""


class Assembler:
    """Joins the ``tool_calls`` of deltas.

    Hosts leave ``function`` out and put its fields beside the id, leave ``index`` out,
    start it anywhere, reuse it for a new call, send the id before the name, an empty id
    or a new one with each piece, the name in pieces, or whole again with each. Nothing
    is finished because its JSON happens to parse: more may follow.

    Args:
        offered: Names of the tools that were offered, to tell a name from its piece.
    """

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self.calls: list[_Open] = []
        self._offered = offered
        self._by_index: dict[int, _Open] = {}
        self._by_id: dict[str, _Open] = {}

    def add(self, pieces: object) -> tuple[CallPart, ...]:
        """Take the ``tool_calls`` of one delta; return what a view can show of it."""
        shown: list[CallPart] = []
        for piece in [pieces] if isinstance(pieces, dict) else as_list(pieces):
            if not isinstance(piece, dict):
                continue
            function = as_dict(piece.get("function")) or piece  # or flat
            name, text = as_str(function.get("name")).strip(), function.get("arguments")
            if not isinstance(text, str):
                text = "" if text is None else _json(text)
            call = self._find(piece.get("index"), as_str(piece.get("id")), name, text)
            if name:  # the next piece of it, or all of it again
                again = name.startswith(call.name)
                call.name = name if again else call.name + name
            call.add(text)
            # The piece of a name is not yet one.
            known = call.name in self._offered or not self._offered
            if call.name and (known or call.pieces):
                new = text if call.shown else call.arguments
                call.shown = True
                shown.append(CallPart(call.position, call.name, new))
        return tuple(shown)

    def _find(self, index: object, id_: str, name: str, text: str) -> _Open:
        """Return the call that a piece belongs to, a new one if to none so far."""
        call: _Open | None = None
        last = self.calls[-1] if self.calls else None
        index = as_count(index)
        if index is not None:
            call = self._by_index.get(index)
        elif id_:
            call = self._by_id.get(id_)
        elif not name:
            call = last
        if (
            call is not None
            and name
            and call.name
            and self._is_new(call, id_, name, text)
        ):
            call = None
        elif call is None and last is not None and self._is_more(last, id_, name, text):
            call = last
        if call is None:
            number = len(self.calls) if index is None else index
            call = self._by_index[number] = _Open(number, len(self.calls))
            self.calls.append(call)
        call.id = call.id or id_
        self._by_id.setdefault(call.id, call)
        return call

    def _is_new(self, call: _Open, id_: str, name: str, text: str) -> bool:
        """Say whether a piece at the place of a call, with a name, begins another."""
        if self._goes_on(call.name, name):
            return False
        if not id_ or not call.id or id_ == call.id:
            return not name.startswith(call.name)
        if name != call.name:
            return True
        # The same tool again, or an id that is new with each piece of one call.
        return call.whole() and bool(text.strip())

    def _is_more(self, last: _Open, id_: str, name: str, text: str) -> bool:
        """Say whether a piece that fits no place goes on with the last call."""
        if name and last.name:
            if name == last.name:
                return bool(id_) and not last.whole() and bool(last.pieces)
            return self._goes_on(last.name, name) and not last.pieces
        return bool(text) and not name and not last.whole()

    def _goes_on(self, begun: str, name: str) -> bool:
        """Say whether ``name`` is the next piece of an offered tool's name."""
        joined = (begun + name).removeprefix("functions.").partition(":")[0]
        another = begun in self._offered and name in self._offered
        return not another and any(tool.startswith(joined) for tool in self._offered)

    def _in_order(self) -> list[_Open]:
        return sorted(self.calls, key=lambda call: (call.index, call.position))

    def ids(self) -> list[str]:
        """Return the ids of the named calls as the host sent them, some empty."""
        return [call.id for call in self._in_order() if call.name]

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
        for call in self._in_order():
            if not call.name:
                notes.append("A tool call without a name was dropped.")
            elif call is last and (
                not complete or (cut and not isinstance(decoded(call.arguments), dict))
            ):
                notes.append(
                    f"The call of {call.name} was not finished and is dropped."
                )
            else:
                text, again = call.arguments, call.repeated()
                arguments, note = tidy(text)
                repaired = tidy(again)[0] if again else ""
                broken = not isinstance(decoded(arguments), dict)
                if broken and isinstance(decoded(repaired), dict):
                    arguments, note = repaired, "had its arguments sent twice"
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
    value, end = _first(text)
    if value is None and (without := _TRAILING_COMMA.sub(_keep_strings, text)) != text:
        arguments, note = tidy(without)
        return (
            (arguments, "had a comma too many in its arguments")
            if not note
            else (text, "has arguments that are not JSON")
        )
    if isinstance(value, str) and isinstance(inner := decoded(tidy(value)[0]), dict):
        value = inner
    if not isinstance(value, dict):
        return text, "has arguments that are not JSON"
    rest = text[end:].strip()
    if _says_again(value, rest):
        return _json(value), "had its arguments sent twice"
    for pattern, what in _AFTER.items():
        if re.fullmatch(pattern, rest):
            return _json(value), f"had {what}"
    return text, "has arguments with more than one value"


def _first(text: str) -> tuple[Any, int]:
    """Return the value that a text begins with, and where it ends."""
    reader = decoder(strict=False)
    with contextlib.suppress(ValueError, RecursionError):
        found: tuple[Any, int] = reader.raw_decode(text)
        return found
    return None, 0


def _says_again(value: dict[str, Any], rest: str) -> bool:
    """Say whether a text is the same value once more or often: spaced, or quoted."""
    again = bool(rest)
    while rest and again:
        other, end = _first(rest)
        if isinstance(other, str):
            other = _first(other.strip())[0]
        again = isinstance(other, dict) and _json(other) == _json(value)
        rest = rest[end:].lstrip()
    return again


def _keep_strings(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith('"') else ""


def decoded(text: str) -> Any:
    """Return ``text`` as Python values, ``None`` if it is no JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _json(value: Any) -> str:
    return msgspec.json.encode(mend(value)).decode()


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
