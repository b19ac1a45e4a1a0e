"""Calls and characters whose pieces come in any way are whole again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.both import Both
from support.fault_server import DONE, FaultServer, event, sse

from kimikit.types import Call, Host, Reply
from kimikit.wire.answer import Answer
from kimikit.wire.calls import Assembler, tidy
from kimikit.wire.leaks import name_in

HOST = Host(name="h", base_url="http://h")
OFFERED = frozenset(("get_weather", "get_news", "get", "now"))
OSLO = '{"city": "Oslo"}'


def piece(
    text: str | None = None, name: str | None = None, **more: object
) -> dict[str, Any]:
    function = {"name": name, "arguments": text}
    kept = {key: value for key, value in function.items() if value is not None}
    return {**more, "function": kept}


def made(*pieces: dict[str, Any], offered: frozenset[str] = OFFERED) -> list[Any]:
    assembler = Assembler(offered)
    for each in pieces:
        assembler.add([each])
    calls, _ = assembler.finish(complete=True)
    return [(name_in(call.name), json.loads(call.arguments)) for call in calls]


WEATHER = ("get_weather", {"city": "Oslo"})
PIECES = {
    "a name in two pieces": (
        piece(name="get_", index=0, id="a"),
        piece(name="weather", index=0),
        piece(OSLO, index=0),
    ),
    "a name in three pieces, the id with each": (
        piece(name="get", index=0, id="a"),
        piece(name="_wea", index=0, id="a"),
        piece(name="ther", index=0, id="a"),
        piece(OSLO, index=0, id="a"),
    ),
    "a name in pieces, no index": (
        piece(name="get_wea", id="a"),
        piece(name="ther", id="a"),
        piece(OSLO, id="a"),
    ),
    "a name in pieces, no index and a new id each": (
        piece(name="get_wea", id="a"),
        piece(name="ther", id="b"),
        piece(OSLO, id="c"),
    ),
    "a name in pieces, K2's id": (
        piece(name="functions.get_", index=0),
        piece(name="weather:0", index=0),
        piece(OSLO, index=0),
    ),
    "a name that grows": (
        piece(name="get_", index=0),
        piece(name="get_weather", index=0),
        piece(OSLO, index=0),
    ),
    "a new id with each piece": (
        piece('{"city"', "get_weather", index=0, id="a"),
        piece(": ", index=0, id="b"),
        piece('"Oslo"}', index=0, id="c"),
    ),
    "a new id with each piece, the name too": (
        piece('{"city"', "get_weather", index=0, id="a"),
        piece(": ", "get_weather", index=0, id="b"),
        piece('"Oslo"}', "get_weather", index=0, id="c"),
    ),
    "a new id with each piece, no index": (
        piece('{"city"', "get_weather", id="a"),
        piece(": ", id="b"),
        piece('"Oslo"}', id="c"),
    ),
    "a new id with each piece, no index, the name too": (
        piece('{"city"', "get_weather", id="a"),
        piece(": ", "get_weather", id="b"),
        piece('"Oslo"}', "get_weather", id="c"),
    ),
    "a new index with each piece": (
        piece('{"city"', "get_weather", index=0, id="a"),
        piece(": ", index=1),
        piece('"Oslo"}', index=2),
    ),
    "arguments sent twice": (piece(OSLO, "get_weather", index=0), piece(OSLO, index=0)),
    "arguments sent again, spaced otherwise": (
        piece(OSLO, "get_weather", index=0, id="a"),
        piece('{"city":"Oslo"}', "get_weather", index=0, id="a"),
    ),
    "arguments sent again, quoted": (
        piece(OSLO, "get_weather", index=0, id="a"),
        piece(json.dumps(OSLO), "get_weather", index=0, id="a"),
    ),
    "arguments sent again, quoted first": (
        piece(json.dumps(OSLO), "get_weather", index=0, id="a"),
        piece(OSLO, index=0, id="a"),
    ),
    "arguments sent three times": (
        piece(OSLO, "get_weather", index=0),
        piece("\n" + OSLO, index=0),
        piece('{ "city":"Oslo" }', index=0),
    ),
    "all that came so far with each piece": (
        piece('{"ci', "get_weather", index=0, id="a"),
        piece('{"city": "Os', index=0, id="a"),
        piece(OSLO, index=0, id="a"),
    ),
    "flat, whole": ({"index": 0, "id": "x", "name": "get_weather", "arguments": OSLO},),
    "flat, in pieces": (
        {"index": 0, "id": "x", "type": "function", "name": "get_weather"},
        {"index": 0, "arguments": '{"city"'},
        {"index": 0, "arguments": ': "Oslo"}'},
    ),
    "flat, the object empty": (
        {"id": "x", "function": None, "name": "get_weather", "arguments": OSLO},
    ),
    "an object in place of text": (
        piece(None, "get_weather")
        | {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}},
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_one_call(name: str) -> None:
    assert made(*PIECES[name]) == [WEATHER]


@pytest.mark.parametrize(
    "name", [n for n in PIECES if "name in" not in n and "new index" not in n]
)
def test_one_call_of_unknown_tools(name: str) -> None:
    assert made(*PIECES[name], offered=frozenset()) == [WEATHER]


@pytest.mark.parametrize("name", PIECES)
def test_one_call_over_http(name: str, server: FaultServer, both: Both) -> None:
    steps = [
        {"id": "c", "choices": [{"delta": {"tool_calls": [p]}}]} for p in PIECES[name]
    ]
    server.play(
        sse(*steps, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, DONE)
    )
    tools = [{"type": "function", "function": {"name": tool}} for tool in OFFERED]
    (call,) = both.chat(server.url, tools=tools).tool_calls
    assert (call.name, call.parsed) == WEATHER


EMPTY = {"name": "", "arguments": ""}
FIRST = {"name": "get_weather", "arguments": ""}
OLD = {
    "in pieces": [FIRST, {"arguments": '{"city"'}, {"arguments": ': "Oslo"}'}],
    "whole, and empty ones": [EMPTY, {"name": "get_weather", "arguments": OSLO}, EMPTY],
}


@pytest.mark.parametrize("name", OLD)
def test_openais_first_shape_of_a_call(
    name: str, server: FaultServer, both: Both
) -> None:
    steps = [{"choices": [{"delta": {"function_call": part}}]} for part in OLD[name]]
    end = {"choices": [{"delta": {}, "finish_reason": "function_call"}]}
    server.play(sse(*steps, end, DONE))
    reply = both.chat(server.url)
    (call,) = reply.tool_calls
    assert (call.name, call.parsed) == WEATHER
    assert (reply.finish_reason, reply.notes) == ("tool_calls", ())


def test_openais_first_shape_in_a_whole_answer() -> None:
    message = {"content": None, "function_call": {**FIRST, "arguments": OSLO}}
    choice = {"message": message, "finish_reason": "function_call"}
    (call,) = fold(event({"choices": [choice]})).tool_calls
    assert (call.name, call.parsed) == WEATHER


TWO = {
    "one place, two tools": (
        piece(OSLO, "get_weather", index=0, id="a"),
        piece("{}", "now", index=0, id="b"),
    ),
    "one place, two tools, no ids": (
        piece(OSLO, "get_weather", index=0),
        piece("{}", "now", index=0),
    ),
    "one place, a tool whose name begins another's": (
        piece(OSLO, "get", index=0, id="a"),
        piece("{}", "get_news", index=0, id="b"),
    ),
    "one place, the same tool twice": (
        piece(OSLO, "get_weather", index=0, id="a"),
        piece('{"city": "Rome"}', "get_weather", index=0, id="b"),
    ),
    "no index, the same tool twice": (
        piece(OSLO, "get_weather", id="a"),
        piece('{"city": "Rome"}', "get_weather", id="b"),
    ),
    "the same call at two places": (
        piece(OSLO, "get_weather", index=0, id="a"),
        piece(OSLO, "get_weather", index=1, id="b"),
    ),
    "ids before names": (
        piece(id="a", index=0),
        piece(id="b", index=1),
        piece(OSLO, "get_weather", index=0),
        piece("{}", "now", index=1),
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_two_calls(name: str) -> None:
    assert len(made(*TWO[name])) == 2


def test_a_piece_of_a_name_is_not_shown_as_a_name() -> None:
    assembler = Assembler(OFFERED)
    pieces = PIECES["a name in two pieces"]
    shown = [part for each in pieces for part in assembler.add([each])]
    assert [(part.name, part.arguments) for part in shown] == [
        ("get_weather", ""),
        ("get_weather", OSLO),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1}{"a": 2}', "more than one value"),
        ('{"a": 1}{"a": true}', "more than one value"),
        ('{"a": 1}{"a": 1} x', "more than one value"),
        ('{"a": 1,, }', "not JSON"),
        ('{"a": ",}"', "not JSON"),
        ('{"a": [1,], "b": {"c": ",}",},}', "a comma too many"),
    ],
)
def test_what_is_repaired_is_told(text: str, says: str) -> None:
    arguments, note = tidy(text)
    assert says in note
    if "comma" in says:
        assert json.loads(arguments) == {"a": [1], "b": {"c": ",}"}}
    else:
        assert arguments == text


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.text(max_size=9)), st.integers(1, 6))
def test_arguments_that_grow_are_the_last(value: dict[str, str], size: int) -> None:
    text = json.dumps(value)
    ends = [*range(1, len(text), size), len(text)]
    pieces = [piece(text[:end], index=0) for end in ends]
    assert made(piece(name="now", index=0, id="a"), *pieces) == [("now", value)]


# Halves of characters.

HIGH, LOW = "\\ud83d", "\\ude00"
EMOJI = "\U0001f600"


def half(path: str, text: str) -> bytes:
    """Return a chunk whose delta holds ``text``, escapes and all, at a place."""
    places = {
        "content": f'{{"content":"{text}"}}',
        "parts": f'{{"content":[{{"type":"text","text":"{text}"}}]}}',
        "reasoning": f'{{"reasoning_content":"{text}"}}',
        "arguments": '{"tool_calls":[{"index":0,"id":"a","function":{"name":"now",'
        f'"arguments":"{text}"}}}}]}}',
        "refusal": f'{{"refusal":"{text}"}}',
    }
    return f'data: {{"id":"c","choices":[{{"delta":{places[path]}}}]}}\n\n'.encode()


END = event({"choices": [{"delta": {}, "finish_reason": "stop"}]}) + event(DONE)


def said(reply: Reply, path: str) -> str:
    if path == "reasoning":
        return reply.reasoning
    if path == "arguments":
        return reply.tool_calls[0].arguments
    return reply.text


def fold(*events: bytes) -> Reply:
    asked = Call(id="1", endpoint="chat", host=HOST, model="m", body={}, created=0.0)
    with Answer(asked) as answer:
        for each in events:
            answer.feed(each)
        answer.finish()
    return answer.reply


@pytest.mark.parametrize("path", ["content", "parts", "reasoning", "arguments"])
@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ((f"a {HIGH}", f"{LOW}!"), f"a {EMOJI}!"),
        ((HIGH, LOW, HIGH, LOW), EMOJI * 2),
        ((f"a{HIGH}", "b"), "a\ufffdb"),
        ((f"a{HIGH}", f"{HIGH}{LOW}b"), f"a\ufffd{EMOJI}b"),
        ((f"a{LOW}", "b"), "a\ufffdb"),
        ((f"a{HIGH}", "", f"{LOW}b"), f"a{EMOJI}b"),
        ((f"a{HIGH}",), "a\ufffd"),
        (("a\xe9月", f"{HIGH}", f"{LOW}"), f"aé月{EMOJI}"),
    ],
)
def test_halves_of_a_character(
    path: str, pieces: tuple[str, ...], whole: str, server: FaultServer, both: Both
) -> None:
    data = b"".join(half(path, text) for text in pieces)
    reply = fold(data, END)
    assert said(reply, path) == whole
    json.dumps(reply.raw, ensure_ascii=False).encode()
    server.play(sse(*(half(path, text) for text in pieces), END))
    assert said(both.chat(server.url), path) == whole


def test_halves_in_a_refusal() -> None:
    reply = fold(half("refusal", f"No {HIGH}"), half("refusal", LOW), END)
    raw: Any = reply.raw
    assert raw["choices"][0]["message"]["refusal"] == f"No {EMOJI}"


def test_halves_beside_each_other_do_not_mix() -> None:
    mixed = [
        ("content", HIGH),
        ("reasoning", HIGH),
        ("reasoning", LOW),
        ("content", LOW),
    ]
    reply = fold(*(half(*each) for each in mixed), END)
    assert (reply.text, reply.reasoning) == (EMOJI, EMOJI)


def test_halves_in_two_answers_do_not_mix() -> None:
    def part(index: int, text: str) -> bytes:
        choice = f'{{"index":{index},"delta":{{"content":"{text}"}}}}'
        return f'data: {{"id":"c","choices":[{choice}]}}\n\n'.encode()

    asked = Call(
        id="1", endpoint="chat", host=HOST, model="m", body={"n": 2}, created=0.0
    )
    with Answer(asked) as answer:
        for each in (part(0, HIGH), part(1, "x"), part(0, LOW), part(1, "y")):
            answer.feed(each)
        answer.finish()
    assert answer.reply.text == EMOJI
    assert [other.text for other in answer.reply.alternatives] == ["xy"]


def test_halves_in_logprobs() -> None:
    def part(*tokens: str) -> bytes:
        entries = ",".join(f'{{"token":"{t}","logprob":-0.1}}' for t in tokens)
        choice = f'{{"delta":{{"content":""}},"logprobs":{{"content":[{entries}]}}}}'
        return f'data: {{"id":"c","choices":[{choice}]}}\n\n'.encode()

    raw: Any = fold(part("a", HIGH), part(LOW), part(HIGH, LOW), END).raw
    tokens = [entry["token"] for entry in raw["choices"][0]["logprobs"]["content"]]
    assert "".join(tokens) == f"a{EMOJI}{EMOJI}"
    assert len(tokens) == 5


def test_characters_as_java_writes_them() -> None:
    """Each half as three bytes, which is no UTF-8."""
    data = b'data: {"id":"c","choices":[{"delta":{"content":"\xed\xa0\xbd"}}]}\n\n'
    more = data.replace(b"\xed\xa0\xbd", b"\xed\xb8\x80")
    assert fold(data, more, END).text == EMOJI


def test_a_whole_answer_with_halves() -> None:
    body = f'{{"choices":[{{"message":{{"content":"{HIGH}{LOW} {HIGH}"}}}}]}}'.encode()
    assert fold(body).text == f"{EMOJI} \ufffd"


@settings(deadline=None)
@given(st.text(max_size=30), st.data())
def test_text_in_halves_anywhere(text: str, data: st.DataObject) -> None:
    units = text.encode("utf-16-be", "surrogatepass")
    escapes = [f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)]
    ends = sorted(data.draw(st.lists(st.integers(0, len(escapes)), max_size=6)))
    cuts = zip([0, *ends], [*ends, len(escapes)], strict=True)
    pieces = ["".join(escapes[a:b]) for a, b in cuts]
    assert (
        fold(
            *(half("content", "x" + p if not i else p) for i, p in enumerate(pieces)),
            END,
        ).text
        == "x" + text
    )
