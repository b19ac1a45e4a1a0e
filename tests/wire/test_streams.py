"""A stream that breaks, stalls, lies or is stopped loses nothing and hangs nothing."""

import asyncio
import gzip
import os
import signal
import socket
import threading
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
from support.answers import K2, OSLO, TOOL, call, calls, chunk, text
from support.both import Both, Seen
from support.fault_server import (
    CLOSE,
    DONE,
    END,
    GATE,
    HOLD,
    RESET,
    FaultServer,
    Pause,
    event,
    head,
    plain,
    sse,
)
from support.fault_server import chunk as http_chunk

from kimikit import errors
from kimikit.types import Call, Delta, Reply, Usage
from kimikit.wire import AsyncClient, Client

OVERLOADED = {"error": {"message": "Engine is busy", "type": "engine_overloaded_error"}}
GOOD = sse(*text("fine"), chunk("stop"), DONE)


def parts(*values: object) -> bytes:
    """Return events as HTTP chunks, with no head and no end."""
    return b"".join(http_chunk(event(value)) for value in values)


BEGUN = (head(), parts(*text("Hel", "lo")))

ERRORS = {
    "S2 OpenRouter: finish_reason error": (
        {
            "id": "gen-1",
            "provider": "X",
            "error": {
                "code": 502,
                "message": "Upstream died",
                "metadata": {"error_type": "provider_unavailable"},
            },
            "choices": [
                {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
            ],
        },
        errors.Overloaded,
        "Upstream died",
    ),
    "S2 with empty choices": (
        {"error": {"code": 429, "message": "Slow down"}, "choices": []},
        errors.RateLimited,
        "Slow down",
    ),
    "S2 an error alone": (OVERLOADED, errors.Overloaded, "Engine is busy"),
    "S2 finish_reason error and nothing else": (
        chunk("error"),
        errors.StatusError,
        "",
    ),
    "S2 Groq: event error": (
        'event: error\ndata: {"error":{"message":"Failed to call a function",'
        '"code":"tool_use_failed","status_code":400}}\n\n',
        errors.BadRequest,
        "Failed to call a function",
    ),
    "S2 an error event that is no JSON": (
        "event: error\ndata: gone\n\n",
        errors.StatusError,
        "gone",
    ),
    "S2 an error event that is no text": (
        b"event: error\ndata: gone\xc6\n\n",
        errors.StatusError,
        "gone\ufffd",
    ),
    "S2 vLLM's envelope": (
        {"object": "error", "message": "Bad thing", "code": 400},
        errors.BadRequest,
        "Bad thing",
    ),
    "S2 success false": (
        {"success": False, "message": "No"},
        errors.StatusError,
        "No",
    ),
    "S2 the filter": (
        {"error": {"message": "no", "type": "content_filter"}},
        errors.ContentFiltered,
        "no",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_200_stream(name: str, server: FaultServer, both: Both) -> None:
    report, kind, said = ERRORS[name]
    server.play(*BEGUN, parts(report), END)
    seen = Seen()
    with pytest.raises(errors.StreamError) as caught:
        both.chat(server.url, client={"observers": [seen]})
    error = caught.value
    assert type(error.__cause__) is kind
    assert said in error.host_message
    assert (error.reply.text, error.reply.truncated) == ("Hello", True)
    assert error.reply.usage.estimated
    assert seen.closed_ == [(error.reply, error)]
    assert len(server.requests) == 1, "no retry once text was shown"


def test_an_error_in_a_stream_has_the_request_id(
    server: FaultServer, both: Both
) -> None:
    server.play(head(200, "x-request-id: req_7"), *BEGUN[1:], parts(OVERLOADED), END)
    with pytest.raises(errors.StreamError) as caught:
        both.chat(server.url)
    assert caught.value.request_id == "req_7"


def test_an_error_as_the_first_event_is_that_of_its_kind(
    server: FaultServer, both: Both
) -> None:
    """Nothing was shown, so it is what a status would have been, tries included."""
    server.play(sse(OVERLOADED))
    server.play(GOOD)
    with pytest.raises(errors.Overloaded, match="Engine is busy"):
        both.chat(server.url, client={"max_retries": 0})
    server.scripts[0] = (sse(chunk(role="assistant"), OVERLOADED),)
    server.requests.clear()
    assert both.chat(server.url).text == "fine"
    assert len(server.requests) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_as_a_200_of_json(
    stream: bool, server: FaultServer, both: Both
) -> None:
    server.play(plain(OVERLOADED))
    with pytest.raises(errors.Overloaded):
        both.chat(server.url, stream=stream)


BARE = {
    "S3 the body ends in order": (END,),
    "S3 the connection ends inside the body": (CLOSE,),
    "S3 inside an event": (http_chunk(b'data: {"choices":[{"delta"'), CLOSE),
}


@pytest.mark.parametrize("name", BARE)
def test_an_end_without_finish(name: str, server: FaultServer, both: Both) -> None:
    server.play(*BEGUN, *BARE[name])
    seen = Seen()
    reply = both.chat(server.url, client={"observers": [seen]})
    assert (reply.text, reply.truncated, reply.partial) == ("Hello", True, False)
    assert reply.finish_reason is None
    assert reply.usage.estimated
    assert str(reply.usage).startswith("~")
    assert [n for n in reply.notes if "without a finish" in n]
    assert seen.closed_ == [(reply, None)]


def test_a_call_cut_off_is_not_made(server: FaultServer, both: Both) -> None:
    """What parses may be half of it: 12 may have been the start of 123."""
    whole = call(0, "a", "get_weather", OSLO)
    half = call(1, "b", "get_weather", '{"city": 12}')
    server.play(head(), parts(calls(whole), calls(half)), END)
    reply = both.chat(server.url)
    assert [c.id for c in reply.tool_calls] == ["a"]
    assert [n for n in reply.notes if "not finished" in n]


def test_reset_keeps_the_text(server: FaultServer, both: Both) -> None:
    server.play(*BEGUN, GATE, RESET)

    def watch(_: object) -> None:
        server.gate.set()

    with pytest.raises(errors.StreamError) as caught:
        both.chat(server.url, watch=watch)
    assert isinstance(caught.value.__cause__, errors.ConnectionFailed)
    assert caught.value.reply.text == "Hello"


@pytest.mark.parametrize(
    ("begun", "kind"), [(BEGUN, errors.StreamError), ((head(),), errors.TimedOut)]
)
def test_s9_silence_ends(
    begun: tuple[bytes, ...],
    kind: type[errors.HostError],
    server: FaultServer,
    both: Both,
) -> None:
    """The gap counts between chunks, the first byte has its own, longer limit."""
    server.play(*begun, HOLD)
    server.play(GOOD)
    limits = {"gap": 0.15, "first_byte": 0.3}
    start = time.monotonic()

    def twice(client: Any) -> Any:
        return client.chat("hi")

    with pytest.raises(kind) as caught:
        both.use(server.url, twice, timeout=limits, max_retries=0)
    assert time.monotonic() - start < 10
    cause = caught.value if kind is errors.TimedOut else caught.value.__cause__
    assert isinstance(cause, errors.TimedOut)
    assert server.left.wait(10), "the connection is closed"


def test_s9_comments_keep_a_slow_start_alive(server: FaultServer, both: Both) -> None:
    ping = http_chunk(b": OPENROUTER PROCESSING\n\n")
    server.play(head(), *(ping, Pause(0.1)) * 6, parts(*text("a"), chunk("stop")), END)
    reply = both.chat(server.url, client={"timeout": {"gap": 0.3, "first_byte": 0.3}})
    assert reply.text == "a"


def test_s9_the_first_byte_may_take_longer_than_a_gap(
    server: FaultServer, both: Both
) -> None:
    server.play(Pause(0.3), head(), Pause(0.3), parts(*text("a"), chunk("stop")), END)
    reply = both.chat(server.url, client={"timeout": {"gap": 0.1, "first_byte": 5}})
    assert reply.text == "a"
    assert reply.first_token_s > 0.5


def test_no_first_byte(server: FaultServer, both: Both) -> None:
    server.play(HOLD)
    with pytest.raises(errors.TimedOut):
        both.chat(server.url, client={"timeout": 0.1})
    assert len(server.requests) == 1, "a model may have been thinking: not sent twice"


def test_connecting_has_its_own_limit(both: Both) -> None:
    """A port whose queue is full answers no one."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        start = time.monotonic()
        client = {"timeout": {"connect": 0.1}, "max_retries": 1}
        with pytest.raises(errors.TimedOut, match=r"within 0.1 s"):
            both.chat("http://{}:{}".format(*full.getsockname()), client=client)
        assert 0.2 <= time.monotonic() - start < 5, "tried twice: nothing was sent"
        for one in crowd:
            one.close()


def test_s4_an_end_marker_ends_though_the_connection_stays(
    server: FaultServer, both: Both
) -> None:
    """The host keeps the connection open after ``[DONE]``."""
    server.play(head(), parts(*text("a"), chunk("stop"), DONE), HOLD)
    start = time.monotonic()
    reply = both.chat(server.url)
    assert time.monotonic() - start < 10
    assert (reply.text, reply.truncated) == ("a", False)


def test_s4_a_host_that_goes_on_after_the_end(server: FaultServer, both: Both) -> None:
    server.play(head(), parts(*text("a"), chunk("stop"), DONE), parts(": x\n\n") * 999)
    assert both.chat(server.url).text == "a"


def test_s3_a_finish_then_silence_is_an_answer(
    server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half-open connection after the finish costs seconds, not minutes."""
    monkeypatch.setattr("kimikit.wire.answer.FINISH_S", 0.1)
    server.play(*BEGUN, parts(chunk("stop")), HOLD)
    reply = both.chat(server.url)
    assert (reply.text, reply.finish_reason, reply.truncated) == (
        "Hello",
        "stop",
        False,
    )


def test_a_reset_after_the_finish_is_an_answer(server: FaultServer, both: Both) -> None:
    server.play(*BEGUN, parts(chunk("stop")), GATE, RESET)
    reply = both.chat(
        server.url, watch=lambda step: step.finish_reason and server.gate.set()
    )
    assert reply.text == "Hello"


NO_ANSWER = {
    "S8 a page of HTML": (
        plain(b"<html><title>Just a moment</title></html>", kind="text/html"),
        errors.StatusError,
        "Just a moment",
    ),
    "S8 an HTML page said to be a stream": (
        plain(b"<!doctype html><title>Login</title>", kind="text/event-stream"),
        errors.StatusError,
        "Login",
    ),
    "S8 JSON that is no answer": (plain({"hello": 1}), errors.StatusError, ""),
    "S8 JSON cut off": (plain(b'{"choices":[{"mess'), errors.StatusError, "choices"),
    "S8 a proxy's words said to be a stream": (
        plain(b"upstream connect error\nreset", kind="text/event-stream"),
        errors.StatusError,
        "upstream connect error",
    ),
    "S8 JSON in UTF-16": (
        plain('{"choices": []}'.encode("utf-16")),
        errors.StatusError,
        "c\0h\0o\0i\0c\0e\0s",
    ),
    "S8 an empty body": (plain(b""), errors.ConnectionFailed, ""),
    "S8 an empty stream": (sse(), errors.ConnectionFailed, ""),
    "S8 comments alone": (sse(": hi\n\n" * 3), errors.ConnectionFailed, ""),
    "S8 an end marker alone": (sse(DONE), errors.ConnectionFailed, ""),
}


@pytest.mark.parametrize("name", NO_ANSWER)
def test_silence_is_never_success(name: str, server: FaultServer, both: Both) -> None:
    body, kind, said = NO_ANSWER[name]
    server.play(body)
    with pytest.raises(kind) as caught:
        both.chat(server.url, client={"max_retries": 0})
    assert said in caught.value.host_message
    assert server.url in caught.value.remedy


HELLO = b"".join(map(event, (*text("Hel", "lo"), chunk("stop"), DONE)))
ZIPPED = gzip.compress(HELLO)
HTTP = {
    "identity as encoding": plain(HELLO, 200, "content-encoding: identity"),
    "an encoding that was not used": plain(HELLO, 200, "content-encoding: br"),
    "gzip in small chunks": head(200, "content-encoding: gzip")
    + b"".join(http_chunk(ZIPPED[i : i + 7]) for i in range(0, len(ZIPPED), 7))
    + END,
    "a length that is too long": b"HTTP/1.1 200 X\r\ncontent-length: 9999\r\n\r\n"
    + HELLO,
    "HTTP/1.0 without a length": b"HTTP/1.0 200 X\r\n\r\n" + HELLO,
    "trailers": head() + http_chunk(HELLO) + b"0\r\nx-trailer: 1\r\n\r\n",
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + head() + http_chunk(HELLO) + END,
    "103 before": b"HTTP/1.1 103 Hints\r\na: b\r\n\r\n"
    + head()
    + http_chunk(HELLO)
    + END,
    "201": head(201) + http_chunk(HELLO) + END,
    "a header in Latin-1": head(200, "x-note: \xe9").decode().encode("latin-1")
    + http_chunk(HELLO)
    + END,
    "no content type": head(kind="") + http_chunk(HELLO) + END,
}


@pytest.mark.parametrize("name", HTTP)
def test_odd_http_that_is_right(name: str, server: FaultServer, both: Both) -> None:
    server.play(HTTP[name], CLOSE)
    reply = both.chat(server.url)
    assert (reply.text, reply.finish_reason, reply.notes) == ("Hello", "stop", ())


WRONG_HTTP = {
    "gzip said and not sent": plain(HELLO, 200, "content-encoding: gzip"),
    "no HTTP at all": b"hello there\r\n\r\n",
    "TLS on a plain port": b"\x15\x03\x01\x00\x02\x02\x16",
    "an endless header": b"HTTP/1.1 200 X\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
    "no content": b"HTTP/1.1 204 X\r\n\r\n",
    "a length that is too short": b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n"
    + HELLO,
}


@pytest.mark.parametrize("name", WRONG_HTTP)
def test_wrong_http_is_an_error(name: str, server: FaultServer, both: Both) -> None:
    server.play(WRONG_HTTP[name], CLOSE)
    with pytest.raises(errors.ConnectionFailed) as caught:
        both.chat(server.url, client={"max_retries": 0})
    assert server.url in caught.value.remedy


def test_a_broken_chunk_keeps_the_text(server: FaultServer, both: Both) -> None:
    server.play(*BEGUN, b"zz\r\nabc\r\n", CLOSE)
    reply = both.chat(server.url)
    assert (reply.text, reply.truncated) == ("Hello", True)


def test_gzip_cut_off_keeps_the_text(server: FaultServer, both: Both) -> None:
    server.play(plain(ZIPPED[:-20], 200, "content-encoding: gzip"))
    reply = both.chat(server.url)
    assert (reply.text, reply.truncated) == ("Hello", True)


def test_plain_answers(server: FaultServer, both: Both) -> None:
    answer = {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "message": {
                    "content": "a",
                    "reasoning_content": "Hm.",
                    "tool_calls": [call(..., "a", "get_weather", OSLO)],
                },
                "finish_reason": None,
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }
    server.play(plain(answer))
    reply = both.chat(server.url, stream=False)
    assert (reply.text, reply.reasoning) == ("a", "Hm.")
    assert [c.arguments for c in reply.tool_calls] == [OSLO]
    assert reply.raw == answer
    assert reply.first_token_s is None
    assert "stream" not in server.requests[0].json


# Stopping.


def test_leaving_a_stream_stops_it(server: FaultServer, both: Both) -> None:
    server.play(*BEGUN, HOLD)
    seen = Seen()
    start = time.monotonic()
    reply = both.stop_after(server.url, 2, observers=[seen])
    assert server.left.wait(10)
    assert server.left_at - start < 1
    assert (reply.text, reply.partial, reply.truncated) == ("Hello", True, False)
    assert reply.usage.estimated
    assert reply.footer().startswith("stopped")
    assert seen.closed_ == [(reply, None)]


def interrupt() -> None:
    """Do what the kernel does when Stop is pressed."""
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_in_chat_returns_what_arrived(server: FaultServer) -> None:
    """The notebook's Stop: a signal while the main thread waits for bytes."""
    server.play(*BEGUN, HOLD)
    server.play(GOOD)
    seen = Seen()
    waiting = threading.Timer(0.2, interrupt)
    with Client(base_url=server.url, model="m", observers=[seen]) as client:
        waiting.start()
        start = time.monotonic()
        reply = client.chat("hi")
        assert time.monotonic() - start < 10
        assert (reply.text, reply.partial) == ("Hello", True)
        assert server.left.wait(10)
        assert client.chat("hi").text == "fine", "the client works on"
    assert [error for _, error in seen.closed_] == [None, None]


def test_interrupt_before_the_first_byte(server: FaultServer) -> None:
    server.play(HOLD)
    with Client(base_url=server.url, model="m") as client:
        threading.Timer(0.1, interrupt).start()
        reply = client.chat("hi")
    assert (reply.text, reply.partial) == ("", True)
    assert server.left.wait(10)


def test_interrupt_in_a_stream_is_passed_on(server: FaultServer) -> None:
    server.play(*BEGUN, HOLD)
    with Client(base_url=server.url, model="m") as client:
        stream = client.stream("hi")
        next(stream)
        with pytest.raises(KeyboardInterrupt), stream:
            raise KeyboardInterrupt
        assert (stream.reply.text, stream.reply.partial) == ("Hel", True)
    assert server.left.wait(10)


def test_cancelling_a_task(server: FaultServer) -> None:
    server.play(*BEGUN, HOLD)
    server.play(GOOD)
    seen = Seen()

    async def run() -> tuple[Reply, Reply]:
        async with AsyncClient(base_url=server.url, model="m", observers=[seen]) as c:
            arrived = asyncio.Event()
            stream = c.stream("hi", watch=lambda _: arrived.set())

            async def read() -> None:
                async with stream:
                    async for _ in stream:
                        pass

            task = asyncio.create_task(read())
            await arrived.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return stream.reply, await c.chat("hi")

    stopped, after = asyncio.run(run())
    assert (stopped.text, stopped.partial) == ("Hello", True)
    assert after.text == "fine"
    assert server.left.wait(10)
    assert [error for _, error in seen.closed_] == [None, None]


def test_stop_keeps_what_was_held_back(server: FaultServer, both: Both) -> None:
    both_events = http_chunk(b"".join(map(event, text("a ", "<|tool_ca"))))
    server.play(head(), both_events, HOLD)
    reply = both.stop_after(server.url, 1)
    assert reply.text == "a <|tool_ca"


def test_stop_keeps_a_whole_leaked_call(server: FaultServer) -> None:
    server.play(head(), parts(*text("a ", K2, " b")), HOLD)
    with Client(base_url=server.url, model="m") as client:
        with client.stream("hi", tools=[TOOL]) as stream:
            assert [next(stream).text, next(stream).text] == ["a ", " b"]
        assert [c.name for c in stream.reply.tool_calls] == ["get_weather"]


def test_reply_at_any_moment(server: FaultServer) -> None:
    server.play(*BEGUN, GATE, parts(chunk("stop"), DONE), END)
    with Client(base_url=server.url, model="m") as client:
        stream = client.stream("hi")
        assert stream.reply.text == ""
        next(stream)
        now = stream.reply
        assert (now.text, now.partial, now.truncated) == ("Hel", False, False)
        assert now.notes == ()
        server.gate.set()
        assert list(stream.text()) == ["lo"]
        assert stream.reply.finish_reason == "stop"


def test_text_alone(server: FaultServer) -> None:
    server.play(GOOD)

    async def run() -> list[str]:
        async with AsyncClient(base_url=server.url, model="m") as client:
            return [piece async for piece in client.stream("hi").text()]

    assert asyncio.run(run()) == ["fine"]


# Connections.


def test_a_closed_client_says_so(server: FaultServer, both: Both) -> None:
    kept: list[Any] = []

    def sync(client: Client) -> None:
        kept.append(client)

    async def awaited(client: AsyncClient) -> None:
        kept.append(client)

    both.use(server.url, sync if both.kind == "sync" else awaited)

    def again() -> Any:
        made = kept[0].chat("hi")
        return asyncio.run(made) if both.kind == "async" else made

    with pytest.raises(errors.BadInput, match="closed"):
        again()


def test_an_answerless_connection_is_used_again(
    server: FaultServer, both: Both
) -> None:
    """The patience of one answer does not outlive it."""
    server.play(sse())
    server.play(Pause(0.3), GOOD)

    def sync(client: Client) -> str:
        with pytest.raises(errors.ConnectionFailed):
            client.chat("hi")
        return client.chat("hi").text

    async def awaited(client: AsyncClient) -> str:
        with pytest.raises(errors.ConnectionFailed):
            await client.chat("hi")
        return (await client.chat("hi")).text

    limits = {"gap": 0.1, "first_byte": 5}
    run = sync if both.kind == "sync" else awaited
    assert both.use(server.url, run, timeout=limits, max_retries=0) == "fine"


def test_a_connection_is_used_again(server: FaultServer, both: Both) -> None:
    server.play(GOOD)

    def sync(client: Client) -> None:
        for _ in range(5):
            assert client.chat("hi").text == "fine"

    async def awaited(client: AsyncClient) -> None:
        for _ in range(5):
            assert (await client.chat("hi")).text == "fine"

    both.use(server.url, sync if both.kind == "sync" else awaited)
    assert server.connections == 1


def test_a_connection_closed_while_idle_is_replaced(
    server: FaultServer, both: Both
) -> None:
    server.play(GOOD, CLOSE)

    def sync(client: Client) -> None:
        assert [client.chat("hi").text for _ in range(3)] == ["fine"] * 3

    async def awaited(client: AsyncClient) -> None:
        assert [(await client.chat("hi")).text for _ in range(3)] == ["fine"] * 3

    both.use(server.url, sync if both.kind == "sync" else awaited)


# Observers, prices and live views.


class Strict(Seen):
    """Refuses calls, or stops them after some progress."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__()
        self.at_once = at_once

    def opened(self, call: Call) -> None:
        super().opened(call)
        if self.at_once:
            raise errors.BudgetExceeded("It is spent.", "Raise the budget.")

    def progressed(self, call: Call, usage: Usage) -> None:
        raise errors.BudgetExceeded("It is spent.", "Raise the budget.")


def test_an_observer_refuses_before_anything_is_sent(
    server: FaultServer, both: Both
) -> None:
    first, strict = Seen(), Strict(at_once=True)
    with pytest.raises(errors.BudgetExceeded) as caught:
        both.chat(server.url, client={"observers": [first, strict]})
    assert server.requests == []
    assert caught.value.reply is None
    assert first.closed_ == [(None, caught.value)]
    assert strict.closed_ == []


def test_a_budget_stops_a_running_answer(
    server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kimikit.wire.answer.PROGRESS_S", -1.0)
    server.play(*BEGUN, HOLD)
    strict = Strict(at_once=False)
    with pytest.raises(errors.BudgetExceeded) as caught:
        both.chat(server.url, client={"observers": [strict]})
    assert caught.value.reply is not None
    assert caught.value.reply.text in ("Hel", "Hello")
    assert strict.closed_ == [(caught.value.reply, caught.value)]
    assert server.left.wait(10)


def test_observers_see_progress_a_few_times_a_second(
    server: FaultServer, both: Both
) -> None:
    server.play(head(), *(parts(*text("x" * 40)), Pause(0.05)) * 10, END)
    seen = Seen()
    both.chat(server.url, client={"observers": [seen]})
    figures = [usage.completion_tokens for usage in seen.progress]
    assert 1 <= len(figures) <= 4
    assert figures == sorted(figures)
    assert all(usage.estimated for usage in seen.progress)


def test_a_failing_observer_costs_no_answer(server: FaultServer, both: Both) -> None:
    class Broken(Seen):
        def closed(self, *_: object) -> None:
            raise OSError("disk full")

    server.play(GOOD)
    with pytest.warns(errors.KimiWarning, match="disk full"):
        assert both.chat(server.url, client={"observers": [Broken()]}).text == "fine"


def test_the_call_as_observers_see_it(server: FaultServer, both: Both) -> None:
    server.play(GOOD)
    seen = Seen()
    both.chat(server.url, meta={"key": "k"}, client={"observers": [seen]})
    (seen_call,) = seen.opened_
    assert (seen_call.endpoint, seen_call.model, seen_call.meta) == (
        "chat",
        "m",
        {"key": "k"},
    )
    assert seen_call.body == server.requests[0].json
    assert "key" not in server.requests[0].json


def test_prices(server: FaultServer, both: Both) -> None:
    def price(host: str, model: str, usage: Usage, created: float) -> Decimal | None:
        asked.append((host, model, usage.prompt_tokens, created > 0))
        return Decimal("0.5") if model == "other" else None

    asked: list[object] = []
    used = {"prompt_tokens": 3, "completion_tokens": 2}
    server.play(sse(*text("a"), {**chunk("stop"), "model": "other", "usage": used}))
    server.play(sse(*text("a"), {**chunk("stop"), "usage": {**used, "cost": 0.25}}))
    other = {"id": "x", "model": "other"}
    server.scripts[0] = (
        sse({**chunk(content="a"), **other}, {**chunk("stop"), "usage": used}),
    )
    reply = both.chat(server.url, client={"pricer": price})
    assert reply.cost == Decimal("0.5")
    name = server.url.removeprefix("http://").removesuffix("/v1")
    assert asked == [(name, "m", 3, True), (name, "other", 3, True)]
    reply = both.chat(server.url, client={"pricer": price})
    assert reply.cost == Decimal("0.25"), "the host's own figure wins"


def test_a_view_that_fails_ends_the_call(server: FaultServer, both: Both) -> None:
    def watch(step: Delta) -> None:
        raise ZeroDivisionError

    server.play(*BEGUN, HOLD)
    seen = Seen()
    with pytest.raises(ZeroDivisionError):
        both.chat(server.url, watch=watch, client={"observers": [seen]})
    assert seen.closed_[0][0].text.startswith("Hel")
    assert server.left.wait(10)


def test_an_unused_stream_sends_nothing(server: FaultServer) -> None:
    with Client(base_url=server.url, model="m") as client:
        client.stream("hi").close()
        client.stream("hi")
    assert server.requests == []


def test_no_proxy_leads_to_this_machine(
    server: FaultServer, both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.play(GOOD)
    assert both.chat(server.url).text == "fine"


def test_a_transport_takes_the_place_of_the_network(both: Both) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"].startswith("Bearer ")
        events = b"".join(map(event, (*text("fine"), chunk("stop"), DONE)))
        return httpx.Response(200, content=events)

    client = {"transport": httpx.MockTransport(answer)}
    assert both.chat("https://example.org/v1", client=client).text == "fine"


def test_many_threads_share_a_client(server: FaultServer) -> None:
    server.play(GOOD)
    found: list[str] = []
    with Client(base_url=server.url, model="m") as client:
        crew = [
            threading.Thread(target=lambda: found.append(client.chat("hi").text))
            for _ in range(24)
        ]
        for one in crew:
            one.start()
        for one in crew:
            one.join()
    assert found == ["fine"] * 24
