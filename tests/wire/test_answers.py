"""Whatever a host streams, both clients make the same right answer of it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.answers import Case, check
from support.both import Both
from support.cases import ALL
from support.fault_server import FaultServer, event, plain, sse

from kimikit.types import Call, Delta, Host, Reply
from kimikit.wire.answer import Answer

SMALL = [case for case in ALL if len(case.events) < 100]


def by_name(case: Case) -> str:
    return case.name


def raw(case: Case) -> bytes:
    return b"".join(map(event, case.events))


def fold(pieces: list[bytes], case: Case) -> tuple[list[Delta], Reply]:
    """Feed an answer without any network."""
    body = {"model": "m", "stream": True, "tools": list(case.tools), **case.asked}
    host = Host(name="h", base_url="http://h")
    asked = Call(id="1", endpoint="chat", host=host, model="m", body=body, created=0.0)
    with Answer(asked) as answer:
        deltas = [delta for piece in pieces for delta in answer.feed(piece)]
        deltas += answer.finish()
    return deltas, answer.reply


@pytest.mark.parametrize("case", ALL, ids=by_name)
def test_over_http(case: Case, server: FaultServer, both: Both) -> None:
    server.play(sse(*case.events))
    tools = list(case.tools) or None
    shown, reply = both.steps(server.url, tools=tools, **case.asked)
    check(reply, case)
    if "no opening tag" not in (case.note or "") and "only the tail" not in case.name:
        main = [delta for delta in shown if delta.choice == 0]
        assert "".join(delta.text for delta in main) == reply.text
        assert "".join(delta.reasoning for delta in main) == reply.reasoning


@pytest.mark.parametrize("case", SMALL, ids=by_name)
def test_one_byte_at_a_time(case: Case) -> None:
    data = raw(case)
    _, reply = fold([data[i : i + 1] for i in range(len(data))], case)
    check(reply, case)


@pytest.mark.parametrize("case", SMALL, ids=by_name)
def test_in_one_piece(case: Case) -> None:
    _, reply = fold([raw(case)], case)
    check(reply, case)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_cut_anywhere(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(SMALL))
    whole = raw(case)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    ends = [*cuts, len(whole)]
    pieces = [whole[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
    _, reply = fold(pieces, case)
    check(reply, case)


ERROR = b'data: {"error": "x", "choices": []}\n\n'
MORE = b'data: {"choices": [{"delta": {"content": "b"}}]}\n\n'
FOUND = {
    "fuzz: a byte order mark and nothing else": b"\xef\xbb\xbf",
    "fuzz: events after an error": event(ALL[0].events[0])
    + ERROR
    + MORE
    + b"data: [DONE]\n\n",
    "fuzz: many blanks before the stream": b"\n" * 40 + raw(ALL[0]),
    "fuzz: many blanks before plain JSON": b" " * 40 + b'{"choices": [{"text": "a"}]}',
}


@pytest.mark.parametrize("name", FOUND)
def test_found_by_fuzzing(name: str) -> None:
    """These once became something else when they were cut."""
    data = FOUND[name]

    def kept(pieces: list[bytes]) -> object:
        deltas, reply = fold(pieces, ALL[0])
        return deltas, reply.text, reply.notes, reply.usage, reply.truncated

    whole = kept([data])
    assert kept([data[i : i + 1] for i in range(len(data))]) == whole
    assert kept([data[:2], data[2:]]) == whole
    if "blanks" in name:
        assert whole[1] == "a"


def test_s8_gzip(server: FaultServer, both: Both) -> None:
    import gzip

    case = next(c for c in ALL if c.name.startswith("S5 a chunk"))
    server.play(plain(gzip.compress(raw(case)), 200, "content-encoding: gzip"))
    check(both.chat(server.url), case)


def test_raw_is_what_the_host_said(server: FaultServer, both: Both) -> None:
    case = next(c for c in ALL if c.name.startswith("T2 markers split"))
    server.play(sse(*case.events))
    raw_ = both.chat(server.url, tools=list(case.tools)).raw
    message = raw_["choices"][0]["message"]
    assert raw_["object"] == "chat.completion"
    assert message["content"].startswith("I'll check <|tool_calls_section_begin|>")
    assert "tool_calls" not in message


def test_views_see_recovered_calls(server: FaultServer, both: Both) -> None:
    case = next(c for c in ALL if c.name.startswith("T2 K2 markers"))
    server.play(sse(*case.events))
    shown, _ = both.steps(server.url, tools=list(case.tools))
    assert [part.name for delta in shown for part in delta.calls] == ["get_weather"]
