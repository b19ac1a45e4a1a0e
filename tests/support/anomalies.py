"""Anomalies of streams (S), and answers odd in other ways."""

from __future__ import annotations

from support.answers import (
    DONE,
    K2,
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
    usage,
    used,
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
    *(
        Case(
            f"S an end in the words of others: {word}",
            (*text("a"), chunk(word), DONE),
            {"text": "a", "finish_reason": means, "truncated": False},
            note,
        )
        for word, means, note in (
            ("max_tokens", "length", None),
            ("MAX_TOKENS", "length", None),
            ("model_length", "length", None),
            ("STOP", "stop", None),
            ("sensitive", "content_filter", "content filter ended"),
            ("SAFETY", "content_filter", "content filter ended"),
            ("end_turn", "end_turn", None),
            ("unexpected_state", "unexpected_state", None),
        )
    ),
    *(
        Case(
            f"S a host broke the answer off: {word}",
            (*text("a"), chunk(word), DONE),
            {"text": "a", "finish_reason": word, "truncated": True},
            f"broke the answer off ({word})",
        )
        for word in ("abort", "insufficient_system_resource", "network_error")
    ),
    Case(
        "S a gateway that reads each token as JSON",
        (*text("a "), chunk(content=5), chunk(content=0.5), *STOP),
        {"text": "a 50.5"},
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
            (*text("a"), {**chunk("stop"), "usage": used(cost=cost)}, DONE),
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
