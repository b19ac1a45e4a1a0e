"""What servers' parsers are tested with comes out right where no parser was used."""

import json
import re
from typing import Any

import pytest
from support.both import Both
from support.fault_server import DONE, FaultServer, event, plain, sse
from support.parsers import PARSED, Parsed

from kimikit.types import Call, Delta, Host, Reply
from kimikit.wire.answer import Answer

SOME = [p for p in PARSED if len(p.tools) > 1][::6]


def chunks(pieces: list[str], parsed: Parsed) -> list[object]:
    deltas = [{"delta": {parsed.channel: piece}} for piece in pieces]
    choices = [*deltas, {"delta": {}, "finish_reason": parsed.finish}]
    return [*({"id": "c", "model": "m", "choices": [c]} for c in choices), DONE]


def by_markers(text: str) -> list[str]:
    """Return the text as tokens cut it: a special one never in two."""
    return [p for p in re.split(r"(<\|\w+\|>|</?think>|\s)", text) if p]


def called(reply: Reply) -> list[tuple[str, Any]]:
    found = []
    for call in reply.tool_calls:
        try:
            found.append((call.name, json.loads(call.arguments)))
        except ValueError:
            found.append((call.name, call.arguments))
    return found


def check(reply: Reply, parsed: Parsed) -> None:
    assert (reply.text, called(reply)) == (parsed.shown, list(parsed.calls))
    assert reply.reasoning == parsed.thought


def fold(pieces: list[str], parsed: Parsed) -> tuple[list[Delta], Reply]:
    body = {"model": "m", "stream": True, "tools": list(parsed.tools)}
    host = Host(name="h", base_url="http://h")
    asked = Call(id="1", endpoint="chat", host=host, model="m", body=body, created=0.0)
    with Answer(asked) as answer:
        deltas = [d for c in chunks(pieces, parsed) for d in answer.feed(event(c))]
        deltas += answer.finish()
    return deltas, answer.reply


@pytest.mark.parametrize("parsed", PARSED, ids=[p.name for p in PARSED])
def test_however_it_is_cut(parsed: Parsed) -> None:
    by_letters = list(parsed.text) if len(parsed.text) < 3000 else [parsed.text]
    for pieces in ([parsed.text], by_letters, by_markers(parsed.text)):
        deltas, reply = fold(pieces, parsed)
        check(reply, parsed)
        if "no opening tag" not in str(reply.notes):
            assert "".join(delta.text for delta in deltas) == parsed.shown


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("parsed", SOME, ids=[p.name for p in SOME])
def test_over_http(
    parsed: Parsed, server: FaultServer, both: Both, stream: bool
) -> None:
    message = {"role": "assistant", "content": "", parsed.channel: parsed.text}
    whole = {"choices": [{"message": message, "finish_reason": parsed.finish}]}
    steps = chunks(by_markers(parsed.text), parsed)
    server.play(sse(*steps) if stream else plain(json.dumps(whole).encode()))
    tools = list(parsed.tools) or None
    check(both.chat(server.url, tools=tools, stream=stream), parsed)


def test_an_answer_out_of_a_tag_is_told_and_streamed(
    server: FaultServer, both: Both
) -> None:
    parsed = next(p for p in PARSED if p.name.startswith("only the opening"))
    server.play(sse(*chunks(by_markers(parsed.text), parsed)))
    shown, reply = both.steps(server.url)
    assert shown[-1].text == reply.text == parsed.shown
    assert "A think tag never closed" in str(reply.notes)


@pytest.mark.parametrize("end", [None, "length", "content_filter", "error"])
def test_a_thought_that_was_cut_is_no_answer(end: str | None) -> None:
    parsed = Parsed("", "<think>It may be 4", finish=end or "")
    _, reply = fold([parsed.text], parsed)
    assert (reply.text, reply.reasoning) == ("", "It may be 4")


def test_a_thought_beside_the_hosts_own_call_is_no_answer() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "now", "arguments": "{}"}}
    deltas: list[dict[str, Any]] = [{"content": "<think>Now"}, {"tool_calls": [call]}]
    host = Host(name="h", base_url="http://h")
    asked = Call(id="1", endpoint="chat", host=host, model="m", body={}, created=0.0)
    with Answer(asked) as answer:
        for delta in deltas:
            answer.feed(event({"id": "c", "choices": [{"delta": delta}]}))
        answer.feed(event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        answer.finish()
    assert (answer.reply.text, answer.reply.reasoning) == ("", "Now")
    assert [c.name for c in answer.reply.tool_calls] == ["now"]


PARTS = {
    "Mistral": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}],
    "Anthropic": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}],
    "reasoning": [{"type": "reasoning", "text": "Hm."}],
    "OpenAI": [{"type": "reasoning", "summary": [{"type": "x", "text": "Hm."}]}],
    "two": [
        {"type": "thinking", "thinking": "H"},
        {"type": "thinking", "thinking": "m."},
    ],
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_reasoning_in_content_parts(
    name: str, server: FaultServer, both: Both, stream: bool
) -> None:
    said: list[Any] = [*PARTS[name], {"type": "text", "text": "4"}]
    whole = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
    steps = [{"id": "c", "choices": [{"delta": {"content": [part]}}]} for part in said]
    end = {"choices": [{"delta": {"content": "."}, "finish_reason": "stop"}]}
    server.play(sse(*steps, end, DONE) if stream else plain(json.dumps(whole).encode()))
    reply = both.chat(server.url, stream=stream)
    assert (reply.text, reply.reasoning) == ("4." if stream else "4", "Hm.")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize(
    "value", [[{"type": "text", "text": "Hm."}], {"content": "Hm."}, "Hm."]
)
def test_reasoning_beside_the_content_in_any_shape(
    server: FaultServer, name: str, value: Any
) -> None:
    end = {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]}
    server.play(sse({"id": "c", "choices": [{"delta": {name: value}}]}, end, DONE))
    reply = Both("sync").chat(server.url)
    assert (reply.text, reply.reasoning, reply.notes) == ("4", "Hm.", ())
