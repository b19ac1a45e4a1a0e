"""Pitfalls of tool calls (T), as hosts really stream them."""

from __future__ import annotations

from support.answers import (
    ADD,
    DONE,
    K2,
    K3,
    LEAKED,
    ONE,
    OSLO,
    STOP,
    TOOL,
    Case,
    call,
    calls,
    chunk,
    text,
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
