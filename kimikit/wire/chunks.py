"""Chunks of a stream to deltas, and deltas to one answer, without I/O."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from kimikit.types import CallPart, Delta
from kimikit.wire.calls import Assembler
from kimikit.wire.markers import Filter, Leak, Parts, calls_in
from kimikit.wire.usage import Tally


class _FastDelta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: None = None
    reasoning_details: None = None


class _FastChoice(msgspec.Struct, gc=False):
    delta: _FastDelta
    index: int = 0
    finish_reason: None = None
    usage: None = None
    logprobs: None = None


class _FastChunk(msgspec.Struct, gc=False):
    """The shape of nearly all chunks: one choice that goes on with its text.

    Whatever may carry more than text must be null here; a chunk that does not fit
    takes the slow way, which knows every shape.
    """

    choices: tuple[_FastChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


_decode_fast = msgspec.json.Decoder(_FastChunk).decode
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)


class Choice:
    """One of the ``n`` answers while it arrives.

    Attributes:
        index: Its number.
        text: What is shown.
        reasoning: What was thought.
        told: Whether the host itself kept reasoning and text apart.
        streamed: Whether it came in deltas; a whole message after them repeats them.
        content: The filter between the host's content and ``text``.
        thinking: The filter between the host's reasoning and ``reasoning``.
        calls: The structured calls.
        found: Calls recovered from raw markers.
        finish_reason: The host's first word for its end.
        logprobs: What the host sent of them.
    """

    def __init__(self, index: int, *, lead: bool = True) -> None:
        self.index = index
        self.text = Parts()
        self.reasoning = Parts()
        self.told = False
        self.streamed = False
        self.content = Filter(self.text, self.reasoning, lead=lead)
        self.thinking = Filter(self.reasoning, None, lead=lead)
        self.calls = Assembler()
        self.found: list[Leak] = []
        self.finish_reason: str | None = None
        self.logprobs: list[Any] = []


class Folder:
    """Folds the chunks of one answer.

    Args:
        offered: Names of the tools that the request offered.
        many: Whether more than one answer was asked for.
        lead: Whether blanks before the answer are no part of it.

    Attributes:
        head: Fields of the answer beside its choices, such as ``id`` and ``model``.
        choices: The answers by index.
        tally: The usage seen.
        error: The first object that reports an error, as it came.
        unreadable: How many events were not JSON.
    """

    def __init__(
        self,
        *,
        offered: frozenset[str] = frozenset(),
        many: bool = False,
        lead: bool = True,
    ) -> None:
        self._offered = offered
        self._many = many
        self._lead = lead
        self.head: dict[str, Any] = {}
        self.choices: dict[int, Choice] = {0: Choice(0, lead=lead)}
        self.tally = Tally()
        self.error: dict[str, Any] | None = None
        self.unreadable = 0

    def feed(self, events: Iterable[bytes]) -> list[Delta]:
        """Take the data of events; return the steps that they make."""
        deltas = []
        first = self.choices[0]
        for event in events:
            if self.error is not None:
                break
            try:
                choice = _decode_fast(event).choices[0]
            except _UNREADABLE:
                deltas += self._slow(event)
                continue
            delta = choice.delta
            text, thought = delta.content, delta.reasoning_content or delta.reasoning
            if choice.index or not self.head:
                deltas += self._slow(event)
            elif text and not thought and first.content.plain and "<" not in text:
                first.text.add(text)
                if first.content.original is not None:
                    first.content.original.add(text)
                deltas.append(Delta(text))
            elif thought and not text and first.thinking.plain and "<" not in thought:
                first.told = True
                first.reasoning.add(thought)
                if first.thinking.original is not None:
                    first.thinking.original.add(thought)
                deltas.append(Delta("", thought))
            elif thought or text:
                step = self._grow(first, text or "", thought or "")
                if step is not None:
                    deltas.append(step)
        return deltas

    def _grow(
        self,
        choice: Choice,
        text: str,
        thought: str,
        calls: tuple[CallPart, ...] = (),
        reason: str | None = None,
    ) -> Delta | None:
        choice.told = choice.told or bool(thought)
        reasoning, _ = choice.thinking.feed(thought) if thought else ("", "")
        shown, more = choice.content.feed(text) if text else ("", "")
        if not (shown or reasoning or more or calls or reason):
            return None
        return Delta(shown, reasoning + more, calls, reason, choice.index)

    def finish(self) -> list[Delta]:
        """Let go of what was held back; return the last steps."""
        deltas = []
        for choice in self.choices.values():
            reasoning, _ = choice.thinking.feed("", last=True)
            shown, more = choice.content.feed("", last=True)
            for leak in (*choice.content.leaks, *choice.thinking.leaks):
                choice.found += calls_in(leak, self._offered)
            calls: tuple[CallPart, ...] = ()
            if not choice.calls.calls:
                # The same leak in the thinking and in the text is one call.
                found = [f for f in choice.found if f.name in self._offered]
                choice.found = list(dict.fromkeys(found))
                calls = tuple(
                    CallPart(number, leak.name, leak.arguments)
                    for number, leak in enumerate(choice.found)
                )
            if shown or reasoning or more or calls:
                deltas.append(Delta(shown, reasoning + more, calls, None, choice.index))
        return deltas

    def in_order(self) -> list[Choice]:
        """Return the answers by index, whichever came first."""
        return sorted(self.choices.values(), key=lambda choice: choice.index)

    def _slow(self, event: bytes) -> list[Delta]:
        found = read_objects(event)
        if not found:
            self.unreadable += 1
        return [delta for chunk in found for delta in self.take(chunk)]

    def take(self, chunk: dict[str, Any]) -> list[Delta]:
        """Take one decoded chunk, or a whole completion, of any shape."""
        for key, value in chunk.items():
            if key not in ("choices", "usage", "error") and value is not None:
                self.head.setdefault(key, value)
        groq = chunk.get("x_groq")
        if isinstance(groq, dict):
            self.tally.add(groq.get("usage"))
        self.tally.add(chunk.get("usage"))
        choices = chunk.get("choices")
        choices = choices if isinstance(choices, list) else []
        if reports_error(chunk):
            self.error = self.error or chunk
        made = [
            self._choice(c, n) for n, c in enumerate(choices) if isinstance(c, dict)
        ]
        return [delta for delta in made if delta is not None]

    def _choice(self, found: dict[str, Any], position: int) -> Delta | None:
        index = found.get("index")
        index = index if isinstance(index, int) and index >= 0 else position
        index = index if self._many else 0  # some hosts count from 1
        choice = self.choices.get(index)
        if choice is None:
            choice = self.choices[index] = Choice(index, lead=self._lead)
        self.tally.add(found.get("usage"), index)
        logprobs = found.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            choice.logprobs += logprobs["content"]
        choice.streamed = choice.streamed or "delta" in found
        part = found.get("delta" if choice.streamed else "message", found)
        part = part if isinstance(part, dict) else {}
        content = part.get("content")
        text = _text(content if content is not None else part.get("text"))
        thought = _thought(part)
        calls = choice.calls.add(part.get("tool_calls"))
        reason = found.get("finish_reason")
        reason = reason if isinstance(reason, str) and reason else None
        ends = reason if choice.finish_reason is None else None
        choice.finish_reason = choice.finish_reason or reason
        return self._grow(choice, text, thought, calls, ends)


def read_objects(event: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of an event; several when no blank line parted them."""
    try:
        values = [msgspec.json.decode(event)]
    except _UNREADABLE:
        values = []
        for line in event.split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                line = line.removeprefix(b"data:")  # some proxies mark it once more
                value = json.loads(line.decode("utf-8", "replace"), strict=False)
                # Half a surrogate pair could be shown, but never written down.
                text = json.dumps(value, ensure_ascii=False)
                text = text.encode("utf-16", "surrogatepass").decode(
                    "utf-16", "replace"
                )
                values.append(json.loads(text))
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return [value for value in values if isinstance(value, dict)]


def reports_error(chunk: dict[str, Any]) -> bool:
    """Say whether a chunk inside a 200 stream reports an error, in any host's shape."""
    if chunk.get("error") or chunk.get("object") == "error":
        return True
    if "choices" not in chunk:
        return chunk.get("success") is False or "detail" in chunk
    choices = chunk["choices"]
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") == "error"
        for choice in choices
    )


def _thought(part: dict[str, Any]) -> str:
    """Return the reasoning of a delta once, under whichever names it comes."""
    for key in ("reasoning_content", "reasoning"):
        value = part.get(key)
        if isinstance(value, str) and value:
            return value
    details = part.get("reasoning_details")
    found = details if isinstance(details, list) else []
    return "".join(
        text
        for detail in found
        if isinstance(detail, dict)
        and isinstance(text := detail.get("text") or detail.get("summary"), str)
    )


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    return "".join(
        part["text"]
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    )
