"""Answer from a script that a person wrote to show a pattern.

A script is a TOML file of turns in their order. TOML, since its texts need no escapes
and may have many lines, and everybody's editor knows it::

    title = "Which city is warmer?"
    by = "Ada, 2026-11-29"

    [[turn]]
    user = "Is it warmer in Lagos or in Paris?"

    [[turn]]
    assistant = "I look both up."
    calls = [{get_weather = {city = "Lagos"}}, {get_weather = {city = "Paris"}}]

    [[turn]]
    assistant = "{{get_weather#1.celsius}} °C and {{get_weather#2.celsius}} °C."

A question is answered by the turns after the ``user`` turn that has its text; one that
ends in ``...`` has the beginning alone. ``{{NAME}}`` is what the tool NAME returned
last, ``{{NAME#2}}`` what it returned to the second call of it, ``{{NAME.a.0}}`` a
value inside, ``{{NAME.a:.1f}}`` that value as Python formats it. A turn may have
``thinking``, and ``finish = "length"`` where the answer shall be cut.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from kimikit.display.footer import SCRIPTED
from kimikit.errors import BadInput, NotRecorded, nearest
from kimikit.replay.questions import Question, not_recorded
from kimikit.types import Host, Price
from kimikit.wire.coerce import as_list, as_object
from kimikit.wire.recorder import Recorded

SCRIPT = "scripted"
"""The name of the host that a script stands for."""

WORD_S = 0.03
"""Seconds from a word of a scripted answer to the next."""
_THINK_S = 0.3
_MOST_BYTES = 2**20
_MOST_FILLED = 8 * 2**20
"""Characters that the holes of one turn may be filled with."""
_KEYS = re.compile(r"[\n=,\[\]{}]")
_MOST_PARTS = 64
_MAGIC = b"SQLite format 3\0"

_HOST = Host(
    name=SCRIPT,
    title="a script",
    base_url="http://script.invalid/v1",
    model="script",
)
_HOLE = re.compile(
    r"\{\{ *(?P<tool>[\w-]+)(?:#(?P<call>\d{1,6}))?(?P<path>(?:\.[\w-]+)*)"
    r"(?::(?P<format>[^{}]{0,20}))? *\}\}"
)
_WORDS = re.compile(r"\s*\S+|\s+\Z")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A turn of a script: what a person says, or the model."""

    user: str | None = None
    assistant: str | None = None
    calls: list[dict[str, dict[str, Any]]] = []
    thinking: str = ""
    finish: str = ""


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    turn: list[Turn]
    title: str = ""
    by: str = ""


def is_database(path: Path) -> bool:
    """Tell a recording from a script by its first bytes."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _is_nested(text: str) -> bool:
    """Tell whether a name has so many parts that tomllib takes long over it."""
    for piece in _KEYS.split(text):
        parts = 0
        for part in piece.split(".") if piece.count(".") > _MOST_PARTS else ():
            parts = parts + 1 if len(part.split()) == 1 else 0
            if parts > _MOST_PARTS:
                return True
    return False


class Script:
    """A script as a source of answers.

    Args:
        path: The file.

    Attributes:
        title: What it shows.
        by: Who wrote it, and when.
        turns: Its turns.
        embeds: ``False``: nobody writes embeddings by hand.

    Raises:
        BadInput: If it cannot be read as one; it says where.
    """

    embeds = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            with path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
            if len(raw) > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
            text = raw.decode()
            if _is_nested(text):
                raise ValueError("it has a name of too many parts")
            found = msgspec.convert(tomllib.loads(text), _Text)
        except (OSError, ValueError, RecursionError) as exc:
            raise BadInput(
                f"{self.name} is neither a recording nor a script: {exc}.",
                "A script has [[turn]] tables with user = '...' or assistant = '...'.",
            ) from exc
        self.title, self.by, self.turns = found.title, found.by, found.turn
        for number, turn in enumerate(self.turns, 1):
            self._check(number, turn)

    def _check(self, number: int, turn: Turn) -> None:
        problem = ""
        if (turn.user is None) == (turn.assistant is None and not turn.calls):
            problem = "has to say either what the user or what the assistant says"
        elif turn.user is not None and (turn.calls or turn.thinking or turn.finish):
            problem = "is a user's, who neither calls nor thinks here"
        elif number == 1 and turn.user is None:
            problem = "has to be a user's"
        elif any(len(call) != 1 for call in turn.calls):
            problem = "has a call that is not {NAME = {...}}"
        if problem:
            raise BadInput(
                f"Turn {number} of {self.name} {problem}.",
                "Correct it; see the documentation of kimikit.replay.script.",
            )

    def find(self, asked: Question, number: int, *, good: bool) -> Recorded | None:
        """Return the scripted answer to a question, templates filled."""
        places = self._places(asked)
        if number >= len(places):
            return None
        turn, results = places[number]
        return _answer(turn, results, json.loads(asked.sent), self.name)

    def count(self, asked: Question) -> int:
        """Return how many answers to a question there are."""
        return len(self._places(asked))

    def _places(self, asked: Question) -> list[tuple[Turn, _Results]]:
        """Return the turns that answer a question, with what tools returned."""
        messages = _messages(asked)
        last = max(
            (n for n, m in enumerate(messages) if m["role"] == "user"), default=-1
        )
        if last < 0:
            return []
        said = _text(messages[last].get("content"))
        since = messages[last + 1 :]
        answers = [m for m in since if m["role"] == "assistant"]
        places = []
        for number, turn in enumerate(self.turns):
            if turn.user is None or not _fits(turn.user, said):
                continue
            reply = list(self._after(number))
            if len(reply) > len(answers) and all(map(_same, reply, answers)):
                places.append((reply[len(answers)], _Results(since)))
        return places

    def _after(self, number: int) -> Iterator[Turn]:
        for turn in self.turns[number + 1 :]:
            if turn.user is not None:
                return
            yield turn

    def label(self, answer: Recorded) -> str:
        """Return what every view says of an answer."""
        return SCRIPTED

    def missing(self, asked: Question, times: int) -> NotRecorded:
        """Return the error of a question that the script does not answer."""
        if times:
            return not_recorded(asked, (), name=self.name, times=times)
        said = [
            _text(m.get("content")) for m in _messages(asked) if m["role"] == "user"
        ]
        texts = [turn.user for turn in self.turns if turn.user is not None]
        close = nearest(said[-1] if said else "", texts, cutoff=0.0)[:300]
        return NotRecorded(
            f"{self.name} has no turn that answers this.{close}",
            "Ask one of its user turns, with the tools that it calls; "
            "kimikit recording show lists them.",
        )

    def hosts(self) -> list[Host]:
        """Return the one host that a script stands for."""
        return [_HOST]

    def prices(self) -> dict[tuple[str, str], Price]:
        """Return none: nobody is paid."""
        return {}


def _messages(asked: Question) -> list[dict[str, Any]]:
    found = as_list(as_object(asked.sent).get("messages"))
    return [m for m in found if isinstance(m, dict) and "role" in m]


def _text(content: Any) -> str:
    return " ".join(_raw(content).split())


def _fits(written: str, said: str) -> bool:
    text = " ".join(written.split())
    if text.endswith(("...", "…")):
        return said.startswith(text.rstrip(".…").rstrip())
    return text == said


def _same(turn: Turn, message: dict[str, Any]) -> bool:
    """Tell whether an assistant's message is what a turn says: by its calls."""
    made = [c.get("function", {}).get("name") for c in message.get("tool_calls") or []]
    return made == [name for call in turn.calls for name in call]


class _Results:
    """What tools returned since a question, for templates."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        names: dict[str, str] = {}
        self._of: dict[str, list[str]] = {}
        self._room = _MOST_FILLED
        for message in messages:
            for call in message.get("tool_calls") or []:
                names[call.get("id", "")] = call.get("function", {}).get("name", "")
            if message["role"] == "tool":
                name = names.get(message.get("tool_call_id", ""), "")
                self._of.setdefault(name, []).append(_raw(message.get("content")))

    def fill(self, value: Any, where: str) -> Any:
        """Return texts with what tools returned in place of their holes."""
        if isinstance(value, str):
            whole = _HOLE.fullmatch(value)
            if whole and not whole["format"]:  # a number stays a number in a call
                return self._value(whole, where)
            return _HOLE.sub(lambda m: self._shown(m, where), value)
        if isinstance(value, dict):
            return {key: self.fill(each, where) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each, where) for each in value]
        return value

    def text(self, value: str, where: str) -> str:
        """Return a text with its holes filled."""
        return _HOLE.sub(lambda m: self._shown(m, where), value)

    def _shown(self, hole: re.Match[str], where: str) -> str:
        value = self._value(hole, where)
        if not hole["format"]:
            return value if isinstance(value, str) else json.dumps(value)
        try:
            # A width of ten digits would be as many characters.
            if re.search(r"\d{4}", hole["format"]):
                raise ValueError("its width is no width")
            return format(value, hole["format"])
        except (ValueError, TypeError) as exc:
            raise _unfilled(hole, where, str(exc)) from exc

    def _value(self, hole: re.Match[str], where: str) -> Any:
        results = self._of.get(hole["tool"], [])
        number = int(hole["call"] or len(results))
        if not 1 <= number <= len(results):
            raise _unfilled(hole, where, f"{len(results)} calls of it returned")
        text, steps = results[number - 1], hole["path"].split(".")[1:]
        value: Any = text
        if steps:
            try:
                value = json.loads(text)
                for step in steps:
                    value = value[int(step) if isinstance(value, list) else step]
            except (ValueError, LookupError, TypeError) as exc:
                raise _unfilled(hole, where, f"it returned {text[:80]!r}") from exc
        self._room -= len(text)
        if self._room < 0:
            raise _unfilled(hole, where, f"more than {_MOST_FILLED:,} characters")
        return value


def _raw(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return str(content or "")


def _unfilled(hole: re.Match[str], where: str, why: str) -> BadInput:
    return BadInput(
        f"{where} has {hole[0][:80]}, which cannot be filled: {why}.",
        "Correct the script, or pass the tools that it was written for.",
    )


def _answer(
    turn: Turn, results: _Results, body: dict[str, Any], where: str
) -> Recorded:
    """Return a turn as a host would send it, word by word."""
    text = results.text(turn.assistant or "", where)
    thought = results.text(turn.thinking, where)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": word} for word in _WORDS.findall(thought)]
    deltas += [{"content": word} for word in _WORDS.findall(text)]
    before = sum(len(m.get("tool_calls") or []) for m in body.get("messages") or [])
    for index, call in enumerate(turn.calls):
        ((name, arguments),) = call.items()
        filled = json.dumps(results.fill(arguments, where), ensure_ascii=False)
        function = {"name": name, "arguments": filled}
        id_ = f"functions.{name}:{before + index}"
        part = {"index": index, "id": id_, "type": "function", "function": function}
        deltas.append({"tool_calls": [part]})
    finish = turn.finish or ("tool_calls" if turn.calls else "stop")
    if not body.get("stream"):
        return _whole(deltas, finish)
    chunks = [_chunk(delta, None) for delta in deltas] + [_chunk({}, finish)]
    events = [f"data: {json.dumps(c, ensure_ascii=False)}\n\n" for c in chunks]
    events.append("data: [DONE]\n\n")
    pieces = [(_THINK_S + WORD_S * n, e.encode()) for n, e in enumerate(events)]
    return _sent("text/event-stream", pieces)


def _chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "script", "object": "chat.completion.chunk", "model": "script",
            "choices": [choice]}  # fmt: skip


def _whole(deltas: list[dict[str, Any]], finish: str) -> Recorded:
    message: dict[str, Any] = {"role": "assistant"}
    for name in ("content", "reasoning_content"):
        message[name] = "".join(delta.get(name, "") for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": finish}
    value = {"id": "script", "object": "chat.completion", "model": "script",
             "choices": [choice]}  # fmt: skip
    return _sent("application/json", [(_THINK_S, json.dumps(value).encode())])


def _sent(kind: str, pieces: list[tuple[float, bytes]]) -> Recorded:
    return Recorded(
        created=0.0,
        status=200,
        headers=[("content-type", kind)],
        head_s=_THINK_S,
        pieces=pieces,
        failure=None,
        failure_s=0.0,
        good=True,
    )
