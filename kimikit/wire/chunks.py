"""Fold the chunks of a stream to deltas, and these to one answer, without I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import msgspec

from kimikit.types import Call, CallPart, Delta, ToolCall
from kimikit.wire.calls import Assembler
from kimikit.wire.coerce import as_count, as_dict, as_list, as_str, mend, read_json
from kimikit.wire.content import calls_of, finish_of, text_of, thought
from kimikit.wire.extras import Extras
from kimikit.wire.features import begins
from kimikit.wire.leaks import calls_in, tools_in
from kimikit.wire.markers import Filter
from kimikit.wire.reports import reports_error
from kimikit.wire.surrogates import Halves
from kimikit.wire.usage import Tally


class _FastDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: str | None = None
    tool_calls: None = None
    function_call: None = None
    refusal: None = None
    reasoning_details: None = None
    annotations: None = None
    audio: None = None
    images: None = None
    name: None = None


class _FastChoice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    delta: _FastDelta
    index: int = 0
    finish_reason: None = None
    usage: None = None
    logprobs: None = None
    error: None = None
    message: None = None
    stop_reason: None = None
    native_finish_reason: None = None
    matched_stop: None = None
    token_ids: None = None


class _FastChunk(msgspec.Struct, gc=False):
    """The shape of nearly all chunks: one choice that goes on with its text.

    Whatever may carry more than text must be null here; a chunk that does not fit, or
    that has a field of another name, takes the slow way, which loses nothing.
    """

    choices: tuple[_FastChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


_decode_fast = msgspec.json.Decoder(_FastChunk).decode
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeError)
_OWN_END = ("stop", "eos", "end_turn")
"""Words of hosts for the end that the model itself made."""

_MARKERS = 16
"""Tokens that stand around a call at most."""


class Choice:
    """One of the ``n`` answers while it arrives.

    Texts are UTF-8: so they grow by small pieces without an object for each of them.

    Attributes:
        index: Its number.
        said: The content as it came, for the record.
        text: What of it is shown.
        reasoning: What was thought.
        told: Whether the host itself kept reasoning and text apart.
        streamed: Whether it came in deltas; a whole message after them repeats them.
        content: The filter between the host's content and ``text``.
        thinking: The filter between the host's reasoning and ``reasoning``.
        calls: The structured calls.
        found: Calls recovered from raw markers.
        begin: The prefill, with which its text begins unless the host repeats it.
        begun: Whether a step has shown that.
        unclosed: Whether the text is what a think tag held that never closed.
        finish_reason: Why it ended, of the host's first word for it.
        finish_word: That word.
        logprobs: What the host sent of them.
        extras: All other fields of its messages.
        beside: All other fields beside its messages.
    """

    def __init__(
        self,
        index: int,
        *,
        lead: bool,
        offered: frozenset[str] = frozenset(),
        begin: str = "",
    ) -> None:
        self.index = index
        self.said = bytearray()
        self.text = bytearray()
        self.reasoning = bytearray()
        self.told = False
        self.streamed = False
        self.content = Filter(self.text, self.reasoning, lead=lead)
        self.thinking = Filter(self.reasoning, None, lead=lead)
        self.calls = Assembler(offered)
        self.found: list[ToolCall] = []
        self.begin = begin
        self.begun = not begin
        self.unclosed = False
        self.finish_reason: str | None = None
        self.finish_word: str | None = None
        self.logprobs: list[Any] = []
        self.extras = Extras()
        self.beside = Extras()

    def pieces(self) -> list[bytes | bytearray]:
        """Return all that the model wrote, as it came."""
        thought = self.reasoning if self.told else b""
        found: list[bytes | bytearray] = [self.said, thought]
        for call in self.calls.calls:
            found += call.pieces, f"{call.id} {call.name}".encode() + bytes(_MARKERS)
        return found


class Folder:
    """Folds the chunks of one answer.

    Attributes:
        call: What was asked.
        offered: Names of the tools that the request offered.
        head: Fields of the answer beside its choices, such as ``id`` and ``model``.
        choices: The answers by index.
        tally: The usage seen.
        error: The first object that reports an error, as it came.
        unreadable: How many events were not JSON.
        answered: Whether a choice came: an object without any is no answer.
        odd: The last object without a choice, as it came.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self._tools = tools_in(call.body)
        self.offered = frozenset(self._tools)
        # A body may come from a file of somebody else.
        self._many = (as_count(call.body.get("n")) or 1) > 1
        last = as_dict((as_list(call.body.get("messages")) or [{}])[-1])
        # Blanks before a chat's answer are no part of it, unless it goes on with one.
        self._lead = call.endpoint == "chat" and last.get("role") != "assistant"
        self.head: dict[str, Any] = {}
        self.choices: dict[int, Choice] = {}
        self._choice_of(0)
        self._halves = Halves()
        # Whether a chunk of plain text can be taken as it is.
        self._fast = False
        self.tally = Tally()
        self.error: dict[str, Any] | None = None
        self.unreadable = 0
        self.answered = False
        self.odd: dict[str, Any] | None = None

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
            if choice.index or not self._fast:
                deltas += self._slow(event)
            elif text and not thought and first.content.plain and "<" not in text:
                data = text.encode()
                first.said.extend(data)
                first.text.extend(data)
                deltas.append(Delta(text))
            elif thought and not text and first.thinking.plain and "<" not in thought:
                first.told = True
                first.reasoning.extend(thought.encode())
                deltas.append(Delta("", thought))
            elif thought or text:
                deltas += self._grow(first, text or "", thought or "")
        return deltas

    def _grow(
        self,
        choice: Choice,
        text: str,
        thought: str,
        calls: tuple[CallPart, ...] = (),
        reason: str | None = None,
        *,
        last: bool = False,
    ) -> list[Delta]:
        choice.told = choice.told or bool(thought)
        choice.said.extend(text.encode())
        ended = last and choice.finish_reason is not None
        reasoning, _ = choice.thinking.feed(thought, last=last, ended=ended)
        shown, more = choice.content.feed(text, last=last, ended=ended)
        shown = self._begin(choice, shown)
        if not (shown or reasoning or more or calls or reason):
            return []
        return [Delta(shown, reasoning + more, calls, reason, choice.index)]

    def _begin(self, choice: Choice, text: str) -> str:
        """Return new text, the first with the prefill before it."""
        if choice.begun or not text:
            return text
        choice.begun = True
        host, streamed = self.call.host, choice.streamed
        if begins(host, choice.begin, choice.said, streamed=streamed):
            choice.begin = ""
        return choice.begin + text

    def finish(self) -> list[Delta]:
        """Let go of what was held back; return the last steps."""
        deltas = [d for chunk in self._halves.left() for d in self.take(chunk)]
        for choice in self.choices.values():
            deltas += self._grow(choice, "", "", last=True)
            deltas += self._recover(choice)
            if choice.finish_reason in _OWN_END and (text := self._answer(choice)):
                text = self._begin(choice, text)
                deltas.append(Delta(text, choice=choice.index))
        return deltas

    def _recover(self, choice: Choice) -> list[Delta]:
        """Take calls of offered tools from raw markers, unless the host made some."""
        leaks = (*choice.content.leaks, *choice.thinking.leaks)
        if choice.calls.calls or not leaks:
            return []
        stopped = choice.finish_reason in (*_OWN_END, "tool_calls")
        found = [
            call
            for leak in leaks
            for call in calls_in(leak, self._tools, stopped=stopped)
        ]
        # The same leak in the thinking and in the text is one call.
        some = dict.fromkeys(call for call in found if call.name in self.offered)
        choice.found = list(some)
        parts = [
            CallPart(number, call.name, call.arguments)
            for number, call in enumerate(choice.found)
        ]
        return [Delta(calls=tuple(parts), choice=choice.index)] if parts else []

    def _answer(self, choice: Choice) -> str:
        """Take the text of a think tag that never closed as the answer.

        vLLM swallows the closing tag of K2 Thinking, and K2.5 goes on after a call that
        it made while it thought. What only led to a call was no answer.
        """
        leaked = bool(choice.content.leaks)
        if choice.text.strip() or choice.calls.calls or (choice.found and not leaked):
            return ""
        text = choice.content.unclosed()
        choice.unclosed = choice.unclosed or bool(text)
        return text

    def in_order(self) -> list[Choice]:
        """Return the answers by index, whichever came first."""
        return sorted(self.choices.values(), key=lambda choice: choice.index)

    def _slow(self, event: bytes) -> list[Delta]:
        found, clean = _objects(event)
        if self._halves or not clean:
            found = self._halves.join(found)
        if not found:
            self.unreadable += 1
        deltas = [delta for chunk in found for delta in self.take(chunk)]
        begun = self.choices[0].begun
        self._fast = bool(self.head) and not self._halves and begun
        return deltas

    def _choice_of(self, index: int) -> Choice:
        choice = self.choices.get(index)
        if choice is None:
            choice = Choice(
                index, lead=self._lead, offered=self.offered, begin=self.call.prefill
            )
            self.choices[index] = choice
        return choice

    def take(self, chunk: dict[str, Any]) -> list[Delta]:
        """Take one decoded chunk, or a whole completion, of any shape."""
        for key, value in chunk.items():
            if key not in ("choices", "usage", "error") and value is not None:
                grown = len(as_list(value)) > len(as_list(self.head.get(key)))
                if key not in self.head or grown:  # such as a list of sources
                    self.head[key] = mend(value)
        self.tally.look(chunk)
        if reports_error(chunk):
            self.error = self.error or chunk
        deltas = []
        choices = [c for c in as_list(chunk.get("choices")) if isinstance(c, dict)]
        for position, choice in enumerate(choices):
            deltas += self._choice(choice, position)
        self.answered = self.answered or bool(choices)
        if not choices:
            self.odd = chunk
        return deltas

    def _choice(self, found: dict[str, Any], position: int) -> list[Delta]:
        index = found.get("index")
        index = index if isinstance(index, int) and index >= 0 else position
        index = index if self._many else 0  # some hosts count from 1
        choice = self._choice_of(index)
        self.tally.add(found.get("usage"), index)
        logprobs = as_dict(found.get("logprobs"))
        if isinstance(found.get("logprobs"), float):  # Together's, of its one token
            one = as_dict(found.get("delta")).get("content")
            logprobs = {"content": [{"token": one, "logprob": found["logprobs"]}]}
        choice.logprobs += as_list(logprobs.get("content"))
        if logprobs and "content" not in logprobs:  # the shape of /completions
            choice.beside.keep("logprobs", logprobs)
        choice.streamed = choice.streamed or "delta" in found
        part = as_dict(found.get("delta" if choice.streamed else "message", found))
        choice.extras.add(part)
        if part is not found:
            choice.beside.add(found)
        text = text_of(part.get("content")) or text_of(part.get("text"))
        calls = choice.calls.add(calls_of(part))
        ends = None
        if choice.finish_word is None and (word := as_str(found.get("finish_reason"))):
            choice.finish_word, ends = word, finish_of(word)
            choice.finish_reason = ends
        return self._grow(choice, text, thought(part), calls, ends)


def read_objects(event: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of an event; several when no blank line parted them."""
    found, clean = _objects(event)
    return found if clean else Halves().join(found, last=True)


def _objects(event: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the same, and whether no text in them can hold half a character."""
    clean = True
    try:
        values = [msgspec.json.decode(event)]
    except _UNREADABLE:
        values, clean = [], False
        for line in event.split(b"\n"):
            with contextlib.suppress(ValueError, RecursionError):
                line = line.removeprefix(b"data:")  # some proxies mark it once more
                values.append(read_json(_decoded(line)))
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    return [value for value in values if isinstance(value, dict)], clean


def _decoded(line: bytes) -> str:
    try:  # also what Java writes for characters beyond the first plane
        return line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace")
