"""What hosts really stream, as bytes, and what each answer must become.

The names are those of the list of wire facts: 1d are shapes of ``usage``, T pitfalls of
tool calls, S anomalies of streams. Recorded or reported shapes; texts are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from support.fault_server import DONE

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object"}},
}


@dataclass(frozen=True)
class Case:
    """One stream.

    Attributes:
        name: What it is a case of.
        events: Its events; dicts become ``data:``, text and bytes stay as they are.
        want: Attributes of the reply; ``calls`` are (id, name, arguments).
        note: A part of one of the notes, or ``None`` when there must be none.
        tools: Names of offered tools.
    """

    name: str
    events: tuple[object, ...]
    want: dict[str, Any]
    note: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    asked: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def chunk(finish: str | None = None, *, index: int = 0, **delta: Any) -> dict[str, Any]:
    """Return a chunk with one choice."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice]}


def text(*pieces: str) -> tuple[dict[str, Any], ...]:
    """Return a chunk for each piece of text."""
    return tuple(chunk(content=piece) for piece in pieces)


def call(
    index: object = 0,
    id: object = "call_1",
    name: object = "get_weather",
    args: Any = "",
) -> dict[str, Any]:
    """Return an entry of ``tool_calls``; ``...`` leaves a part out."""
    function = {"name": name, "arguments": args}
    entry = {"index": index, "id": id, "type": "function"}
    entry = {k: v for k, v in entry.items() if v is not ...}
    return entry | {"function": {k: v for k, v in function.items() if v is not ...}}


def calls(*entries: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Return a chunk with pieces of calls."""
    return chunk(finish, tool_calls=list(entries))


STOP = (chunk("stop"), DONE)
USED = {"prompt_tokens": 8, "completion_tokens": 11, "total_tokens": 19}
ONE = [("call_1", "get_weather", '{"city": "Oslo"}')]
OSLO = '{"city": "Oslo"}'
K2 = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|>'
    "<|tool_calls_section_end|>"
)
K3 = (
    '<|open|>tools<|sep|><|open|>call tool="get_weather" index="0"<|sep|>'
    '<|open|>argument key="city" type="string"<|sep|>Oslo<|close|>argument<|sep|>'
    '<|open|>argument key="days" type="integer"<|sep|>3<|close|>argument<|sep|>'
    "<|close|>call<|sep|><|close|>tools<|sep|>"
)
LEAKED = [("functions.get_weather:0", "get_weather", OSLO)]


def usage(
    prompt: int, answer: int, cached: int = 0, reasoning: int = 0, **more: Any
) -> Any:
    """Return what the reply's usage must be."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "cached_tokens": cached,
        "reasoning_tokens": reasoning,
        "estimated": False,
        **more,
    }


def used(**found: Any) -> dict[str, Any]:
    return {**USED, **found}


def in_choice(found: dict[str, Any]) -> dict[str, Any]:
    last = chunk("stop")
    last["choices"][0]["usage"] = found
    return last


def check(reply: Any, case: Case) -> None:
    """Assert that ``reply`` is what ``case`` wants."""
    want = dict(case.want)
    if "calls" in want:
        found = [(c.id, c.name, c.arguments) for c in reply.tool_calls]
        assert found == want.pop("calls")
    if "others" in want:
        assert [other.text for other in reply.alternatives] == want.pop("others")
    for name, value in want.pop("usage", {}).items():
        found = getattr(reply.usage, name)
        assert (str(found) if name == "cost_usd" else found) == value, name
    if "cost" in want:
        cost = want.pop("cost")
        assert (reply.cost and str(reply.cost)) == cost
    for name, value in want.items():
        assert getattr(reply, name) == value, name
    if case.note is None:
        assert reply.notes == ()
    else:
        assert [n for n in reply.notes if case.note in n] != [], reply.notes
