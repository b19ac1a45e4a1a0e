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


def _used(**found: Any) -> dict[str, Any]:
    return {**USED, **found}


def _in_choice(found: dict[str, Any]) -> dict[str, Any]:
    last = chunk("stop")
    last["choices"][0]["usage"] = found
    return last


USAGES = (
    Case(
        "1d Moonshot puts usage into the last choice",
        (*text("a"), _in_choice(_used(cached_tokens=8)), DONE),
        {"usage": usage(8, 11, 8)},
    ),
    Case(
        "1d Moonshot with include_usage sends it in the choice and on top: once",
        (
            *text("a"),
            _in_choice(_used(cached_tokens=8)),
            {"choices": [], "usage": _used(cached_tokens=8)},
            DONE,
        ),
        {"usage": usage(8, 11, 8)},
    ),
    Case(
        "1d OpenAI's details of cached and reasoning tokens",
        (
            *text("a"),
            chunk("stop"),
            {
                "choices": [],
                "usage": _used(
                    prompt_tokens_details={"cached_tokens": 6},
                    completion_tokens_details={"reasoning_tokens": 9},
                ),
            },
            DONE,
        ),
        {"usage": usage(8, 11, 6, 9)},
    ),
    Case(
        "1d DeepSeek's prompt_cache_hit_tokens",
        (
            *text("a"),
            {**chunk("stop"), "usage": _used(prompt_cache_hit_tokens=5)},
            DONE,
        ),
        {"usage": usage(8, 11, 5)},
    ),
    Case(
        "1d OpenRouter repeats the finish and carries usage with its cost",
        (
            *text("a"),
            chunk("stop", content=""),
            {
                **chunk("stop", content=""),
                "usage": _used(
                    cost=0.00023492, is_byok=False, cost_details={"x": None}
                ),
            },
            DONE,
        ),
        {"usage": usage(8, 11, cost_usd="0.00023492"), "cost": "0.00023492"},
    ),
    Case(
        "1d OpenRouter with a key of one's own adds what the upstream takes",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": _used(
                    cost=0.5, is_byok=True, cost_details={"upstream_inference_cost": 2}
                ),
            },
            DONE,
        ),
        {"cost": "2.5"},
    ),
    Case(
        "1d Groq sends the same usage three times: once",
        (
            *text("a"),
            {**chunk("stop"), "x_groq": {"id": "r", "usage": USED}, "usage": USED},
            {"choices": [], "usage": {**USED, "queue_time": 0.1, "prompt_time": 0.2}},
            DONE,
        ),
        {"usage": usage(8, 11)},
    ),
    Case(
        "1d Together and vLLM end with empty choices and usage",
        (*text("a"), chunk("stop"), {"choices": [], "usage": USED}, DONE),
        {"usage": usage(8, 11), "text": "a"},
    ),
    Case(
        "1d usage null on every chunk",
        (
            *({**c, "usage": None} for c in text("a", "b")),
            chunk("stop"),
            {"choices": [], "usage": USED},
            DONE,
        ),
        {"usage": usage(8, 11), "text": "ab"},
    ),
    Case(
        "1d usage that grows on every chunk counts once",
        (
            {**chunk(content="a"), "usage": {**USED, "completion_tokens": 1}},
            {**chunk(content="b"), "usage": {**USED, "completion_tokens": 2}},
            {**chunk("stop"), "usage": {**USED, "completion_tokens": 2}},
            DONE,
        ),
        {"usage": usage(8, 2), "text": "ab"},
    ),
    Case(
        "1d more reasoning than answer (Baseten) is clamped",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": _used(completion_tokens_details={"reasoning_tokens": 99}),
            },
            DONE,
        ),
        {"usage": usage(8, 11, 0, 11)},
    ),
    Case(
        "1d odd values in usage do no harm",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": {
                    "prompt_tokens": 8.0,
                    "completion_tokens": 11,
                    "total_tokens": True,
                    "cached_tokens": "many",
                    "prompt_tokens_details": None,
                    "completion_tokens_details": [],
                    "cost": {"no": "number"},
                },
            },
            DONE,
        ),
        {"usage": usage(8, 11), "cost": None},
    ),
    Case(
        "1d only a total",
        (*text("a few words"), {**chunk("stop"), "usage": {"total_tokens": 19}}, DONE),
        {"usage": {"estimated": True, "prompt_tokens": 16, "completion_tokens": 3}},
    ),
    Case(
        "1d a total and a prompt",
        (
            *text("a"),
            {**chunk("stop"), "usage": {"prompt_tokens": 8, "total_tokens": 19}},
            DONE,
        ),
        {"usage": usage(8, 11)},
    ),
    Case(
        "1d the answer's tokens alone",
        (
            *text("a"),
            {**chunk("stop"), "usage": {"completion_tokens": 11, "total_tokens": 3}},
            DONE,
        ),
        {"usage": {"completion_tokens": 11}},
    ),
    Case(
        "1d no usage at all is estimated and marked",
        (*text("four"), *STOP),
        {"usage": {"estimated": True, "completion_tokens": 2}, "text": "four"},
    ),
)

TOOLS = (
    Case(
        "T1 native ids stay",
        (
            calls(call(0, "functions.get_weather:0", args=OSLO)),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": LEAKED, "finish_reason": "tool_calls"},
    ),
    Case(
        "T1 an id without functions (OpenRouter) stays on another model",
        (calls(call(0, "weather:0", args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": [("weather:0", "get_weather", OSLO)]},
    ),
    Case(
        "T1 an empty id is made",
        (calls(call(0, "", args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": LEAKED},
    ),
    Case(
        "T1 a missing id is made",
        (calls(call(0, ..., args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": LEAKED},
    ),
    Case(
        "T1 an id and an empty name repeated on every delta",
        (
            calls(call(0, "0", "get_weather", "")),
            calls(call(0, "0", "", '{"city"')),
            calls(call(0, "0", "", ': "Oslo"}')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("0", "get_weather", OSLO)]},
    ),
    Case(
        "T1 the same id for two calls is made unique",
        (
            calls(call(0, "0", args=OSLO), call(1, "0", "add", "{}")),
            chunk("tool_calls"),
            DONE,
        ),
        {
            "calls": [
                ("functions.get_weather:0", "get_weather", OSLO),
                ("functions.add:1", "add", "{}"),
            ]
        },
    ),
    Case(
        "T2 K2 markers in the content",
        (*text(K2), *STOP),
        {"calls": LEAKED, "text": ""},
        "1 call of an offered tool",
        (TOOL,),
    ),
    Case(
        "T2 markers split over chunks, with spurious text between",
        (
            *text(
                "I'll check <|tool_calls_sec",
                "tion_begin|> spurious <|tool_call_begin|> functions.get_weather:0 ",
                '<|tool_call_argument_begin|> {"ci',
                'ty":"Oslo"} <|tool_call_end|><|tool_calls_section_end|>',
            ),
            *STOP,
        ),
        {
            "calls": [("functions.get_weather:0", "get_weather", '{"city":"Oslo"}')],
            "text": "I'll check ",
        },
        "1 call of an offered tool",
        (TOOL,),
    ),
    Case(
        "T2 the singular section marker (llama.cpp)",
        (*text(K2.replace("tool_calls_section", "tool_call_section")), *STOP),
        {"calls": LEAKED, "text": ""},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 no section around the call",
        (
            *text("Let me see. ", K2[len("<|tool_calls_section_begin|>") :]),
            *STOP,
        ),
        {"calls": LEAKED, "text": "Let me see. "},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 a section never closed, its call complete",
        (*text(K2.removesuffix("<|tool_calls_section_end|>")), *STOP),
        {"calls": LEAKED, "text": ""},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 a call cut at the length is shown to nobody and run by nobody",
        (*text("So: ", K2[:110]), chunk("length"), DONE),
        {"calls": [], "text": "So: "},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 the end-of-turn token in the content",
        (*text("Hello.", "<|im_", "end|>"), *STOP),
        {"text": "Hello."},
    ),
    Case(
        "T2 an OpenAI id, the name among the arguments (vLLM)",
        (
            *text(
                "<|tool_calls_section_begin|><|tool_call_begin|>call_9f"
                '<|tool_call_argument_begin|>{"name":"get_weather","city":"Oslo"}'
                "<|tool_call_end|><|tool_calls_section_end|>"
            ),
            *STOP,
        ),
        {"calls": [("call_9f", "get_weather", '{"city":"Oslo"}')]},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 only the tail leaks",
        (
            *text(
                'get_weather:0<|tool_call_argument_begin|>{"city": "Oslo"}',
                "<|tool_calls_section_end|>",
            ),
            *STOP,
        ),
        {"calls": [("get_weather:0", "get_weather", OSLO)], "text": ""},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 markers inside the arguments of a structured call are told, not touched",
        (
            calls(
                call(
                    args='{"city": "Oslo\\"}.functions.add:1'
                    ' <|tool_call_argument_begin|> {"}'
                )
            ),
            chunk("tool_calls"),
            DONE,
        ),
        {
            "calls": [
                (
                    "call_1",
                    "get_weather",
                    '{"city": "Oslo\\"}.functions.add:1'
                    ' <|tool_call_argument_begin|> {"}',
                )
            ]
        },
        "raw tool markers inside its arguments",
        (TOOL,),
    ),
    Case(
        "T2 markers in the reasoning",
        (chunk(reasoning_content="Hm. " + K2), *STOP),
        {"calls": LEAKED, "reasoning": "Hm. ", "text": ""},
        "Raw tool markers are taken out of the text",
        (TOOL,),
    ),
    Case(
        "T2 structured calls win over markers",
        (*text(K2), calls(call(args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": ONE, "text": ""},
        "host's own calls hold",
        (TOOL,),
    ),
    Case(
        "T2 a name that was not offered is not called",
        (*text(K2), *STOP),
        {"calls": [], "text": ""},
        "0 calls were found",
        (ADD,),
    ),
    Case(
        "T2 a name with hyphens and dots",
        (*text(K2.replace("get_weather", "my-tools.get-x")), *STOP),
        {"calls": [("functions.my-tools.get-x:0", "my-tools.get-x", OSLO)]},
        "1 call of an offered tool",
        ({"type": "function", "function": {"name": "my-tools.get-x"}},),
    ),
    Case(
        "T2 prose that names the tokens survives",
        (
            *text(
                "A section opens with <|tool_calls_section_begin|>, then comes ",
                "<|tool_call_begin|>, which is followed by the id of the call. ",
                "All of it ends with <|tool_calls_section_end|>, as you would guess.",
            ),
            *STOP,
        ),
        {
            "text": "A section opens with <|tool_calls_section_begin|>, then comes "
            "<|tool_call_begin|>, which is followed by the id of the call. "
            "All of it ends with <|tool_calls_section_end|>, as you would guess.",
            "calls": [],
        },
        None,
        (TOOL,),
    ),
    Case(
        "T2 markers in a code fence are left alone",
        (*text("Like so:\n```text\n", K2, "\n```\nDone."), *STOP),
        {"text": f"Like so:\n```text\n{K2}\n```\nDone.", "calls": []},
        None,
        (TOOL,),
    ),
    Case(
        "T2 markers in inline code are left alone",
        (*text("Like `", K2, "`, so."), *STOP),
        {"text": f"Like `{K2}`, so.", "calls": []},
        None,
        (TOOL,),
    ),
    Case(
        "T2 a leak after a closed fence is still a leak",
        (*text("```\n<|im_end|>\n```\n", K2), *STOP),
        {"text": "```\n<|im_end|>\n```\n", "calls": LEAKED},
        "1 call of an offered tool",
        (TOOL,),
    ),
    Case(
        "T3 K3 markers in the content",
        (*text("Sure. ", K3), *STOP),
        {
            "text": "Sure. ",
            "calls": [
                (
                    "functions.get_weather:0",
                    "get_weather",
                    '{"city":"Oslo","days":3}',
                )
            ],
        },
        "1 call of an offered tool",
        (TOOL,),
    ),
    Case(
        "T3 K3 markers around thinking and answer",
        (
            *text(
                "<|open|>think<|sep|>Hm.<|close|>think<|sep|>",
                "<|open|>response<|sep|>Yes.<|close|>response<|sep|>",
            ),
            *STOP,
        ),
        {"text": "Yes.", "reasoning": "Hm."},
    ),
    Case(
        "T3 a narrated tool result stands beside the real call",
        (
            *text("Tool result (call_1): 3 degrees. "),
            calls(call(args=OSLO)),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": ONE, "text": "Tool result (call_1): 3 degrees. "},
    ),
    Case(
        "T4 stop with calls",
        (calls(call(args=OSLO)), *STOP),
        {"calls": ONE, "finish_reason": "stop"},
    ),
    Case(
        "T4 no finish reason before the end",
        (calls(call(args=OSLO)), chunk(None), DONE),
        {"calls": ONE, "finish_reason": None, "truncated": False},
        "no reason for the end",
    ),
    Case(
        "T4 tool_calls with none, 1,979 empty deltas",
        (*[chunk(content="") for _ in range(1979)], chunk("tool_calls"), DONE),
        {"calls": [], "finish_reason": "tool_calls"},
        "finished with nothing",
    ),
    Case(
        "T4 an empty finish reason on middle chunks",
        (*({**chunk("", content=t)} for t in "ab"), *STOP),
        {"text": "ab", "finish_reason": "stop"},
    ),
    Case(
        "T4 a finish reason of the host's own",
        (*text("a"), chunk("unexpected_state"), DONE),
        {"text": "a", "finish_reason": "unexpected_state"},
    ),
    Case(
        'T5 arguments "" for a tool without any',
        (calls(call(args="")), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", "{}")]},
    ),
    Case(
        "T5 arguments null",
        (calls(call(args=None)), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", "{}")]},
    ),
    Case(
        "T5 arguments as an object",
        (calls(call(args={"city": "Oslo"})), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"city":"Oslo"}')]},
    ),
    Case(
        "T5 arguments as a list go back as they are",
        (calls(call(args=[1])), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", "[1]")]},
        "not a JSON object",
    ),
    Case(
        "T5 a JSON string that is no object",
        (calls(call(args='"Oslo"')), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '"Oslo"')]},
        "a JSON string",
    ),
    Case(
        "T5 raw control characters",
        (calls(call(args='{"city": "Os\nlo"}')), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"city":"Os\\nlo"}')]},
        "control characters",
    ),
    Case(
        "T5 arguments quoted twice",
        (calls(call(args='"{\\"city\\": \\"Oslo\\"}"')), chunk("tool_calls"), DONE),
        {"calls": ONE},
        "quoted twice",
    ),
    Case(
        "T5 a brace too many",
        (calls(call(args=OSLO + "}")), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"city":"Oslo"}')]},
        "a brace too many",
    ),
    Case(
        "T5 a missing brace is not guessed",
        (calls(call(args='{"days": 12')), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"days": 12')]},
        "not JSON",
    ),
    Case(
        "T5 broken quotes (vLLM) go back as they are",
        (
            calls(call(args='{"input": "{"key": "value"}"')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("call_1", "get_weather", '{"input": "{"key": "value"}"')]},
        "not JSON",
    ),
    Case(
        "T6 OpenRouter's pieces",
        (
            calls(call(0, "functions.add:0", "add", "")),
            calls(call(0, ..., ..., '{"')),
            calls(call(0, ..., ..., 'a": 1}')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("functions.add:0", "add", '{"a": 1}')]},
    ),
    Case(
        "T6 Groq's whole calls in one delta each",
        (
            calls(call(0, "functions.add:0", "add", '{"a":1}')),
            calls(call(1, "functions.mul:1", "mul", '{"a":2}')),
            chunk("tool_calls"),
            DONE,
        ),
        {
            "calls": [
                ("functions.add:0", "add", '{"a":1}'),
                ("functions.mul:1", "mul", '{"a":2}'),
            ]
        },
    ),
    Case(
        "T6 index missing",
        (
            calls(call(..., "a", "add", '{"a":')),
            calls(call(..., ..., ..., "1}")),
            calls(call(..., "b", "mul", "{}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}'), ("b", "mul", "{}")]},
    ),
    Case(
        "T6 index null",
        (
            calls(call(None, "a", "add", '{"a":')),
            calls(call(None, "a", ..., "1}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}')]},
    ),
    Case(
        "T6 index from 1 and with gaps",
        (
            calls(call(1, "a", "add", "{}")),
            calls(call(7, "b", "mul", "{}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", "{}"), ("b", "mul", "{}")]},
    ),
    Case(
        "T6 an index reused by a call with a new id",
        (
            calls(call(0, "a", "add", '{"a":1}')),
            calls(call(0, "b", "mul", '{"b":2}')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}'), ("b", "mul", '{"b":2}')]},
    ),
    Case(
        "T6 an index reused by another name without ids",
        (
            calls(call(0, ..., "add", '{"a":1}')),
            calls(call(0, ..., "mul", '{"b":2}')),
            chunk("tool_calls"),
            DONE,
        ),
        {
            "calls": [
                ("functions.add:0", "add", '{"a":1}'),
                ("functions.mul:1", "mul", '{"b":2}'),
            ]
        },
    ),
    Case(
        "T6 the id before the name",
        (
            calls(call(0, "a", ..., ...)),
            calls(call(0, ..., ..., '{"a":')),
            calls(call(0, ..., "add", "1}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}')]},
    ),
    Case(
        "T6 the name repeated with each piece is not joined",
        (
            calls(call(0, "call_1", "get_weather", '{"city": ')),
            calls(call(0, "call_1", "get_weather", '"Oslo"}')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": ONE},
    ),
    Case(
        "T6 empty tool_calls on every delta",
        (
            *(chunk(reasoning_content=t, tool_calls=[]) for t in ("Hm", ".")),
            *(chunk(content=t, tool_calls=[]) for t in "ab"),
            *STOP,
        ),
        {"text": "ab", "reasoning": "Hm.", "calls": []},
    ),
    Case(
        "T6 an empty role",
        (*(chunk(role="", content=t) for t in "ab"), *STOP),
        {"text": "ab"},
    ),
    Case(
        "T6 arguments that parse early go on",
        (
            calls(call(0, "a", "add", "1")),
            calls(call(0, ..., ..., "2")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", "12")]},
        "not a JSON object",
    ),
    Case(
        "T6 parallel calls out of order are sorted by index, not by id",
        (
            calls(*(call(n, f"functions.add:{n}", "add", "{}") for n in (10, 2))),
            calls(call(1, "functions.add:1", "add", "{}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [(f"functions.add:{n}", "add", "{}") for n in (1, 2, 10)]},
    ),
    Case(
        "T6 pieces of parallel calls mixed",
        (
            calls(call(0, "a", "add", '{"a"'), call(1, "b", "mul", '{"b"')),
            calls(call(1, ..., ..., ":2}"), call(0, ..., ..., ":1}")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}'), ("b", "mul", '{"b":2}')]},
    ),
    Case(
        "T6 a call that never gets a name is dropped and told",
        (calls(call(0, "a", "", "{}")), chunk("tool_calls"), DONE),
        {"calls": []},
        "without a name",
    ),
    Case(
        "T6 nonsense among the calls does no harm",
        (
            chunk(tool_calls=["x", None, {"function": None}, {"function": "y"}]),
            calls(call(args=OSLO)),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": ONE},
    ),
    Case(
        "T9 only thinking, no text and no call, is told",
        (chunk(reasoning_content="Hm."), *STOP),
        {"text": "", "reasoning": "Hm.", "calls": []},
        "thought and then stopped",
    ),
)

STREAMS = (
    Case(
        "S1 comments before and between events",
        (
            ": OPENROUTER PROCESSING\n\n" * 3,
            *text("a"),
            ":\n\n: keep-alive\n\n",
            "event: ping\ndata: {}\n\n",
            'event: ping\ndata: {"type": "ping"}\n\n',
            *text("b"),
            *STOP,
        ),
        {"text": "ab"},
    ),
    Case(
        "S4 bytes after the end are not read",
        (*text("a"), *STOP, *text("never"), "data: {broken\n\n"),
        {"text": "a"},
    ),
    Case(
        "S4 content after the finish",
        (*text("a"), chunk("stop"), *text("b"), DONE),
        {"text": "ab", "finish_reason": "stop"},
    ),
    Case(
        "S4 two finish chunks",
        (*text("a"), chunk("stop"), chunk("stop"), DONE),
        {"text": "a", "finish_reason": "stop"},
    ),
    Case(
        "S4 no end marker after the finish",
        (*text("a"), chunk("stop")),
        {"text": "a", "truncated": False},
    ),
    Case(
        "S5 a role alone, then another id",
        (
            {"id": "one", "choices": [{"index": 0, "delta": {"role": "assistant"}}]},
            {"id": "two", "choices": [{"index": 0, "delta": {"content": "a"}}]},
            *STOP,
        ),
        {"text": "a", "id": "one"},
    ),
    Case(
        "S5 empty choices, null content, null delta, no choices",
        (
            {"choices": []},
            chunk(content=None),
            {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
            {"choices": None},
            {"id": "x"},
            {"choices": [None, "x"]},
            *text("a"),
            *STOP,
        ),
        {"text": "a"},
    ),
    Case(
        "S5 a chunk with a leading blank",
        (*text(" ", "The", " cat"), *STOP),
        {"text": "The cat"},
    ),
    Case(
        "S5 leading blank of a first word, in reasoning too",
        (chunk(reasoning=" Hm"), *text(" The", " cat"), *STOP),
        {"text": "The cat", "reasoning": "Hm"},
    ),
    Case(
        "S5 indented code keeps its indent",
        (*text("\n", "    x = 1\n"), *STOP),
        {"text": "    x = 1\n"},
    ),
    Case(
        "S6 reasoning_content (Moonshot, Fireworks, Novita)",
        (chunk(reasoning_content="Hm."), *text("a"), *STOP),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 reasoning and reasoning_details (OpenRouter) are one",
        (
            chunk(
                reasoning="Hm.",
                reasoning_details=[{"type": "reasoning.text", "text": "Hm."}],
            ),
            *text("a"),
            *STOP,
        ),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 reasoning_content and reasoning_details at once are one (avian)",
        (
            chunk(reasoning_content="Hm.", reasoning_details=[{"text": "Hm."}]),
            *text("a"),
            *STOP,
        ),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 reasoning_details alone",
        (
            chunk(reasoning_details=[{"text": "Hm"}, {"summary": "."}, {"data": "x"}]),
            *text("a"),
            *STOP,
        ),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 think tags in the content",
        (*text("<think>Hm.</think>\n\na"), *STOP),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 think tags split over chunks",
        (*text("<th", "ink>H", "m.</thi", "nk>", "\n", "a"), *STOP),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 thinking without its opening tag",
        (*text("Hm.", "</think>", "a"), *STOP),
        {"text": "a", "reasoning": "Hm."},
        "no opening tag",
    ),
    Case(
        "S6 a stray closing tag before the answer",
        (chunk(reasoning_content="Hm."), *text("</think>\n\n", "a"), *STOP),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 a think tag inside the answer stays",
        (*text("Use <think>x</think> tags"), chunk(reasoning="Hm."), *STOP),
        {"text": "Use <think>x</think> tags", "reasoning": "Hm."},
    ),
    Case(
        "S6 reasoning after the content, and null at the end",
        (*text("a"), chunk(reasoning="Hm."), chunk(reasoning=None), *STOP),
        {"text": "a", "reasoning": "Hm."},
    ),
    Case(
        "S6 thinking that is never closed, cut at the length",
        (*text("<think>Hm."), chunk("length"), DONE),
        {"text": "", "reasoning": "Hm."},
        "No token was left",
    ),
    Case(
        "S7 U+2028, U+2029 and U+0085 inside JSON",
        (*text("a\u2028b\u2029c\u0085d"), *STOP),
        {"text": "a\u2028b\u2029c\u0085d"},
    ),
    Case(
        "S7 characters of four bytes",
        (*text("月之暗面", " 🌒"), *STOP),
        {"text": "月之暗面 🌒"},
    ),
    Case(
        "S7 CRLF",
        (
            *(
                f'data: {{"choices":[{{"delta":{{"content":"{t}"}}}}]}}\r\n\r\n'
                for t in "ab"
            ),
            *STOP,
        ),
        {"text": "ab"},
    ),
    Case(
        "S7 bare CR",
        ('data: {"choices":[{"delta":{"content":"a"}}]}\r\r', *STOP),
        {"text": "a"},
    ),
    Case(
        "S7 a byte order mark",
        (b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":"a"}}]}\n\n', *STOP),
        {"text": "a"},
    ),
    Case(
        "S7 data without a space",
        ('data:{"choices":[{"delta":{"content":"a"}}]}\n\n', *STOP),
        {"text": "a"},
    ),
    Case(
        "S7 data on several lines",
        ('data: {"choices":\ndata: [{"delta":{"content":"a"}}]}\n\n', *STOP),
        {"text": "a"},
    ),
    Case(
        "S7 events that no blank line parts",
        (
            'data: {"choices":[{"delta":{"content":"a"}}]}\n'
            'data: {"choices":[{"delta":{"content":"b"}}]}\n\n',
            *STOP,
        ),
        {"text": "ab"},
    ),
    Case(
        "S7 no blank line at the end",
        (*text("a"), 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}'),
        {"text": "a", "finish_reason": "stop"},
    ),
    Case(
        "S7 bytes that are no UTF-8 are replaced",
        (b'data: {"choices":[{"delta":{"content":"a\xff"}}]}\n\n', *STOP),
        {"text": "a\ufffd"},
    ),
    Case(
        "S7 an event that is no JSON is told",
        ("data: oops\n\n", *text("a"), *STOP),
        {"text": "a"},
        "could not be read",
    ),
    Case(
        "S8 one JSON answer though a stream was asked for",
        (
            b'{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,'
            b'"completion_tokens":11}}',
        ),
        {"text": "a", "finish_reason": "stop", "usage": usage(8, 11)},
        "ignored stream=True",
    ),
    Case(
        "S8 JSON after blanks (OpenRouter)",
        (
            b'\n         \n\n         \n{"model":"m","choices":[{"message":{"content":'
            b'"a"},"finish_reason":"stop"}]}',
        ),
        {"text": "a"},
        "ignored stream=True",
    ),
    Case(
        "n above 1, mixed",
        (
            chunk(content="a", index=0),
            chunk(content="b", index=1),
            chunk(content="c", index=0),
            chunk("stop", index=1),
            chunk("stop", index=0),
            DONE,
        ),
        {"text": "ac", "others": ["b"]},
        None,
        (),
        {"n": 2},
    ),
    Case(
        "n above 1, ignored by the host",
        (*text("a"), *STOP),
        {"text": "a", "others": []},
        "3 answers were asked for and 1 came",
        (),
        {"n": 3},
    ),
    Case(
        "another model answers",
        (
            *({**c, "model": "moonshotai/kimi-k2"} for c in text("a")),
            *({**c, "model": "moonshotai/kimi-k2"} for c in (chunk("stop"),)),
            DONE,
        ),
        {"text": "a", "model": "moonshotai/kimi-k2"},
        "moonshotai/kimi-k2 answered, not m",
    ),
    Case(
        "fuzz: a choice below zero is the first",
        (chunk(content="a", index=-1), chunk("stop"), DONE),
        {"text": "a", "others": []},
    ),
    Case(
        "content in parts",
        (chunk(content=[{"type": "text", "text": "a"}, {"type": "x"}]), *STOP),
        {"text": "a"},
    ),
    Case(
        "1c all tokens went into thinking",
        (chunk(reasoning_content="Hm."), chunk("length", content=""), DONE),
        {"text": "", "reasoning": "Hm.", "finish_reason": "length"},
        "raise max_tokens",
    ),
    Case(
        "a content filter ended it",
        (*text("a"), chunk("content_filter"), DONE),
        {"text": "a", "finish_reason": "content_filter"},
        "content filter",
    ),
    Case(
        "S2 silent emptiness is told",
        (chunk(content=""), *STOP),
        {"text": ""},
        "finished with nothing",
    ),
)

ODD = (
    Case(
        "odd: usage that is no finite number",
        (
            *text("a"),
            b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":'
            b'{"prompt_tokens":NaN,"completion_tokens":1e400,"total_tokens":19}}\n\n',
            DONE,
        ),
        {"text": "a", "usage": {"estimated": True, "completion_tokens": 1}},
    ),
    Case(
        "odd: usage as text",
        (
            *text("a"),
            {
                **chunk("stop"),
                "usage": {"prompt_tokens": "8", "completion_tokens": "11"},
            },
            DONE,
        ),
        {"text": "a", "usage": usage(8, 11)},
    ),
    *(
        Case(
            f"odd: a cost of {cost}",
            (*text("a"), {**chunk("stop"), "usage": _used(cost=cost)}, DONE),
            {"text": "a", "usage": usage(8, 11), "cost": None},
        )
        for cost in (-1, "NaN", "Infinity", "", [1])
    ),
    Case(
        "odd: an event with an array of chunks",
        ([*text("a", "b")], *STOP),
        {"text": "ab"},
    ),
    Case(
        "odd: data marked twice",
        ('data: data: {"choices":[{"delta":{"content":"a"}}]}\n\n', *STOP),
        {"text": "a"},
    ),
    Case(
        "odd: one part as content", (chunk(content={"text": "a"}), *STOP), {"text": "a"}
    ),
    Case(
        "odd: choices counted from 1",
        (
            *({**chunk(content=piece, index=1)} for piece in "ab"),
            chunk("stop", index=1),
            DONE,
        ),
        {"text": "ab", "finish_reason": "stop", "others": []},
    ),
    *(
        Case(
            f"odd: the last chunk {how} repeats the answer as a message",
            (
                *text("Hel", "lo"),
                {"choices": [{**more, "finish_reason": "stop"}]},
                DONE,
            ),
            {"text": "Hello", "finish_reason": "stop"},
        )
        for how, more in {
            "without a delta": {"message": {"content": "Hello"}},
            "with an empty delta": {"delta": {}, "message": {"content": "Hello"}},
        }.items()
    ),
    Case(
        "odd: every chunk has a message of all text so far",
        (
            {"choices": [{"delta": {"content": "a"}, "message": {"content": "a"}}]},
            {"choices": [{"delta": {"content": "b"}, "message": {"content": "ab"}}]},
            *STOP,
        ),
        {"text": "ab"},
    ),
    Case(
        "odd: the last chunk repeats the call as a message",
        (
            calls(call(args=OSLO)),
            {
                "choices": [
                    {
                        "message": {"tool_calls": [call(args=OSLO)]},
                        "finish_reason": "tool_calls",
                    }
                ]
            },
            DONE,
        ),
        {"calls": ONE},
    ),
    Case(
        "odd: a whole call sent twice is one",
        (calls(call(args=OSLO)), calls(call(args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"city":"Oslo"}')]},
        "sent twice",
    ),
    Case(
        "odd: two calls in one are no call that could be made",
        (calls(call(args=OSLO + '{"city": "Rome"}')), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", OSLO + '{"city": "Rome"}')]},
        "more than one value",
    ),
    Case(
        "odd: tool_calls is one object",
        (chunk(tool_calls=call(args=OSLO)), chunk("tool_calls"), DONE),
        {"calls": ONE},
    ),
    Case(
        "odd: indexes as text, pieces mixed",
        (
            calls(call("0", "a", "add", ""), call("1", "b", "mul", "")),
            calls(call("1", ..., ..., '{"b":2}'), call("0", ..., ..., '{"a":1}')),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("a", "add", '{"a":1}'), ("b", "mul", '{"b":2}')]},
    ),
    Case(
        "odd: end markers after the arguments",
        (
            calls(call(args=OSLO + "<|tool_call_end|><|tool_calls_section_end|>")),
            chunk("tool_calls"),
            DONE,
        ),
        {"calls": [("call_1", "get_weather", '{"city":"Oslo"}')]},
        "markers after its arguments",
    ),
    *(
        Case(
            f"odd: a tool is called {name}",
            (calls(call(name=name, args=OSLO)), chunk("tool_calls"), DONE),
            {"calls": ONE},
            f"called the tool get_weather {name}",
            (TOOL,),
        )
        for name in (
            "functions.get_weather",
            "functions.get_weather:0",
            "get_weather:3",
        )
    ),
    Case(
        "odd: an id that is made is not the one of another call",
        (
            calls(
                call(0, "", args="{}"), call(1, "functions.get_weather:0", args=OSLO)
            ),
            chunk("tool_calls"),
            DONE,
        ),
        {
            "calls": [
                ("functions.get_weather:2", "get_weather", "{}"),
                ("functions.get_weather:0", "get_weather", OSLO),
            ]
        },
    ),
    Case(
        "odd: a name of K2's form that was offered stays",
        (calls(call(name="functions.x", args="{}")), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "functions.x", "{}")]},
        None,
        ({"type": "function", "function": {"name": "functions.x"}},),
    ),
    Case(
        "odd: NaN in arguments is not taken for null",
        (calls(call(args='{"days": NaN}')), chunk("tool_calls"), DONE),
        {"calls": [("call_1", "get_weather", '{"days": NaN}')]},
        "not JSON",
    ),
    Case(
        "odd: the same leak in the thinking and in the text is one call",
        (chunk(reasoning_content=K2), *text(K2), *STOP),
        {"calls": LEAKED, "text": "", "reasoning": ""},
        "1 call of an offered tool",
        (TOOL,),
    ),
    Case(
        "odd: the end marker in the event of the finish",
        (
            *text("a"),
            'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\ndata: [DONE]\n\n',
        ),
        {"text": "a", "finish_reason": "stop", "truncated": False},
    ),
    Case(
        "odd: an end marker in quotes is told",
        (*text("a"), chunk("stop"), 'data: "[DONE]"\n\n'),
        {"text": "a", "truncated": False},
        "could not be read",
    ),
    Case(
        "odd: events with names, ids and waits of their own",
        (
            'id: 1\nretry: 5\nevent: completion\ndata: {"choices":[{"delta":'
            '{"content":"a"}}]}\n\n',
            *STOP,
        ),
        {"text": "a"},
    ),
    Case(
        "odd: lines of JSON with no data before them",
        (
            b'{"choices":[{"delta":{"content":"a"}}]}\n',
            b'{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}]}\n',
        ),
        {"text": "ab", "finish_reason": "stop"},
        "ignored stream=True",
    ),
    Case(
        "odd: error is there and empty",
        (
            *(
                {**c, "error": none}
                for c, none in zip(text(*"abc"), (None, False, {}), strict=True)
            ),
            *STOP,
        ),
        {"text": "abc"},
    ),
    Case(
        "odd: control characters stand raw in the JSON",
        (b'data: {"choices":[{"delta":{"content":"a\tb"}}]}\n\n', *STOP),
        {"text": "a\tb"},
    ),
)

ALL = (*USAGES, *TOOLS, *STREAMS, *ODD)


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
