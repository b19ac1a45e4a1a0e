"""Before its first token a broken answer is asked for again; after it, never."""

from typing import Any

import pytest
from support.answers import DONE, OSLO, call, calls, chunk, text
from support.both import Both, Seen
from support.fault_server import CLOSE, END, RESET, FaultServer, event, head, plain, sse
from support.fault_server import chunk as http_chunk

from kimikit import errors
from kimikit.types import Wait

GOOD = sse(*text("Hello"), chunk("stop"), DONE)
PING = http_chunk(b": PROCESSING\n\n")
ROLE = http_chunk(event(chunk(role="assistant")))
BROKEN: dict[str, tuple[object, ...]] = {
    "closed before the status line": (CLOSE,),
    "closed after the head": (head(), CLOSE),
    "reset after the head": (head(), RESET),
    "an empty body": (head(), END),
    "an empty body with a length": (plain(b""),),
    "a comment, then closed": (head(), PING, CLOSE),
    "a comment, then the end": (head(), PING, END),
    "a role, then closed": (head(), ROLE, CLOSE),
    "a role, then the end": (head(), ROLE, END),
    "half an event": (head(), http_chunk(b'data: {"choices":[{"delta"'), CLOSE),
    "an overload as the first event": (
        sse({"error": {"message": "busy", "type": "engine_overloaded_error"}}),
    ),
    "an overload after the role": (
        sse(chunk(role="assistant"), {"error": {"message": "busy", "code": 503}}),
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", BROKEN)
def test_nothing_was_shown_so_it_is_asked_again(
    name: str, stream: bool, server: FaultServer, both: Both
) -> None:
    server.play(*BROKEN[name])
    server.play(GOOD)
    seen = Seen()
    client = {"observers": [seen]}
    shown, reply = both.steps(server.url, client=client, stream=stream)
    assert (reply.text, reply.truncated) == ("Hello", False)
    assert [step.attempt for step in shown if isinstance(step, Wait)] == [1]
    assert len(server.requests) == 2
    assert (len(seen.opened_), len(seen.closed_)) == (1, 1), "one call, one row"


@pytest.mark.parametrize("name", BROKEN)
def test_the_tries_end(name: str, server: FaultServer, both: Both) -> None:
    server.play(*BROKEN[name])
    with pytest.raises(errors.HostError):
        both.chat(server.url, client={"max_retries": 2})
    assert len(server.requests) == 3


def test_tries_before_and_after_the_status_are_counted_together(
    server: FaultServer, both: Both
) -> None:
    server.play(plain(b"", 503))
    server.play(head(), CLOSE)
    server.play(plain(b"", 503))
    server.play(GOOD)
    with pytest.raises(errors.Overloaded):
        both.chat(server.url, client={"max_retries": 2})
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "shown",
    [text("Hel"), (chunk(reasoning_content="Hm"),), (calls(call(args=OSLO[:5])),)],
)
def test_what_was_shown_is_not_asked_again(
    shown: tuple[Any, ...], server: FaultServer, both: Both
) -> None:
    server.play(head(), *(http_chunk(event(step)) for step in shown), CLOSE)
    server.play(GOOD)
    reply = both.chat(server.url)
    assert reply.truncated
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["a page", "a finish"])
def test_an_answer_or_a_refusal_is_not_asked_again(
    name: str, server: FaultServer, both: Both
) -> None:
    if name == "a finish":
        server.play(sse(chunk("stop"), DONE))
        assert "finished with nothing" in " ".join(both.chat(server.url).notes)
    else:
        server.play(plain(b"<html>no</html>"))
        with pytest.raises(errors.StatusError):
            both.chat(server.url)
    assert len(server.requests) == 1


def test_what_fell_away_leaves_nothing_in_the_answer(
    server: FaultServer, both: Both
) -> None:
    first = {
        **chunk(role="assistant"),
        "id": "lost",
        "x": 1,
        "usage": {"total_tokens": 9},
    }
    server.play(head(), http_chunk(event(first)), CLOSE)
    server.play(GOOD)
    reply = both.chat(server.url)
    assert (reply.id, reply.usage.estimated) == ("c", True)
    assert "x" not in reply.raw


@pytest.mark.parametrize("empty", [(plain(b""),), (head(), CLOSE), (head(), END)])
def test_other_endpoints_are_asked_again(
    empty: tuple[object, ...], server: FaultServer, both: Both
) -> None:
    server.play(*empty)
    server.play(plain({"data": [{"index": 0, "embedding": [1.0]}]}))
    assert both.call(server.url, "embed", "x", model="e").vectors == [[1.0]]
    assert len(server.requests) == 2


def test_half_of_another_endpoints_answer_is_not_paid_for_twice(
    server: FaultServer, both: Both
) -> None:
    server.play(head(), http_chunk(b'{"data": ['), CLOSE)
    with pytest.raises(errors.ConnectionFailed):
        both.call(server.url, "embed", "x", model="e")
    assert len(server.requests) == 1
