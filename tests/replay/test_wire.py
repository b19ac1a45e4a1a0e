"""What a client sees of a recorded answer is what it saw of the host's, to the byte."""

import asyncio
import contextlib
import gzip
import os
import signal
import threading
from typing import Any

import msgspec
import pytest
from replay.conftest import Twice
from support.answers import DONE, Case, chunk, text
from support.both import KEY, Both, Seen
from support.cases import ALL
from support.fault_server import (
    CLOSE,
    END,
    HOLD,
    RESET,
    FaultServer,
    event,
    head,
    plain,
    sse,
)
from support.fault_server import chunk as http_chunk

from kimikit import errors
from kimikit.replay import RecordingFile, Tape
from kimikit.types import Delta, Reply
from kimikit.wire import AsyncClient, Client

GOOD = sse(*text("Hel", "lo"), chunk("stop"), DONE)
BEGUN = (head(), http_chunk(event(chunk(content="Hel"))))
OF_A_CASE = [case for case in ALL if len(case.events) < 100]

TIMES = {"first_token_s": None, "duration_s": 0.0, "created": 0.0, "replayed": ""}


def same(reply: Reply) -> Reply:
    """Return a reply without when it was."""
    others = tuple(map(same, reply.alternatives))
    return msgspec.structs.replace(reply, alternatives=others, **TIMES)


def outcome(both: Both, url: str, tape: Tape, **params: Any) -> Any:
    """Return all steps with the reply, or with the error and its reply."""
    shown: list[Any] = []
    seen = Seen()
    client = {"observers": [seen], "recorder": tape}
    error: Any = None
    with contextlib.suppress(errors.KimiError):
        try:
            both.chat(url, client=client, watch=shown.append, **params)
        except errors.KimiError as exc:
            error = type(exc), exc.what.replace(url, ""), getattr(exc, "status", None)
            raise
    reply = seen.closed_[-1][0]
    deltas = [step for step in shown if isinstance(step, Delta)]
    return deltas, reply and same(reply), error


@pytest.mark.parametrize("case", OF_A_CASE, ids=str)
def test_an_answer_is_the_same(case: Case, server: FaultServer, twice: Twice) -> None:
    server.play(sse(*case.events))
    both = Both("sync")
    asked = {"tools": list(case.tools) or None, **case.asked}
    first, again = twice(lambda tape: outcome(both, server.url, tape, **asked))
    assert again == first
    assert len(server.requests) == 1


FAULTS: dict[str, tuple[tuple[object, ...], ...]] = {
    "429, then an answer": (
        (plain({"error": {"message": "slow down"}}, 429, "retry-after: 0.01"),),
        (GOOD,),
    ),
    "a used-up balance": ((plain({"error": {"message": "no credits"}}, 402),),),
    "an error in a stream": (
        (sse(*text("Hel"), {"error": {"message": "boom", "code": 500}}),),
    ),
    "a cut stream": ((*BEGUN, CLOSE),),
    "a reset stream": ((*BEGUN, RESET),),
    "closed, then an answer": ((head(), CLOSE), (GOOD,)),
    "a page of HTML": ((plain(b"<html>no</html>", kind="text/html"),),),
    "half a character": (
        (head(), http_chunk(event(chunk(content="né"))[:-7]), http_chunk(b"\xa9"), END),
    ),
    "packed": (
        (
            head(200, "content-encoding: gzip"),
            http_chunk(gzip.compress(b"".join(map(event, (*text("Hi"), DONE))))),
            END,
        ),
    ),
    "badly packed": (
        (head(200, "content-encoding: gzip"), http_chunk(b"\x1f\x8bxxxx"), END),
    ),
    "in small pieces": ((sse(*text("Hel", "lo"), chunk("stop"), DONE, size=3),),),
    "in one piece": (
        (plain({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}),),
    ),
    "moved": (
        (plain(b"", 307, "location: /v1/elsewhere"),),
        (GOOD,),
    ),
    "unknown model": (
        (plain({"error": {"message": "model not found: m"}}, 404),),
        (plain({"data": [{"id": "kimi-k2"}]}),),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_the_same(
    name: str, server: FaultServer, both: Both, twice: Twice
) -> None:
    for script in FAULTS[name]:
        server.play(*script, *(() if CLOSE in script or RESET in script else (CLOSE,)))
    asked = []

    def what(tape: Tape) -> Any:
        found = outcome(both, server.url, tape)
        asked.append(len(server.requests))
        return found

    first, again = twice(what)
    assert again == first
    assert asked[0] == asked[1], "nobody was asked again"


def test_the_pieces_are_those_of_the_host(
    server: FaultServer, both: Both, tmp_path: Any
) -> None:
    events = [event(each) for each in (*text("Hel", "lo"), chunk("stop"), DONE)]
    server.play(head(), *map(http_chunk, events), END)
    file = RecordingFile(tmp_path / "x.kimi", new=True)
    both.chat(server.url, client={"recorder": Tape(file=file)})
    ((_, question, answer),) = file.rows()
    assert b"".join(data for _, data in answer.pieces) == b"".join(events)
    times = [at for at, _ in answer.pieces]
    assert times == sorted(times)
    assert answer.good
    assert (question.method, question.path) == ("POST", "/chat/completions")


def test_nothing_listens_and_it_fails_the_same(twice: Twice, both: Both) -> None:
    def what(tape: Tape) -> Any:
        return outcome(both, "http://127.0.0.1:9/v1", tape)

    first, again = twice(what)
    assert first[2][0] is errors.ConnectionFailed
    assert again == first


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_is_the_same(server: FaultServer, tmp_path: Any) -> None:
    server.play(*BEGUN, HOLD)
    path = tmp_path / "x.kimi"
    known = {"base_url": server.url, "model": "m"}
    with Client(**known, recorder=Tape(file=RecordingFile(path, new=True))) as client:
        threading.Timer(0.2, interrupt).start()
        first = client.chat("hi")
    tape = Tape(RecordingFile(path), speed=None)
    with Client(**known, recorder=tape) as client:
        again = client.chat("hi")
    assert (first.text, first.partial) == ("Hel", True)
    assert same(again) == same(first)
    assert again.footer().startswith("stopped")


def test_a_cancelled_task_is_the_same(server: FaultServer, twice: Twice) -> None:
    server.play(*BEGUN, HOLD)

    async def ask(tape: Tape) -> Reply:
        known = {"base_url": server.url, "model": "m", "recorder": tape}
        async with AsyncClient(**known) as client:
            arrived = asyncio.Event()
            stream = client.stream("hi", watch=lambda _: arrived.set())

            async def follow() -> None:
                async with stream:
                    async for _ in stream:
                        pass

            task = asyncio.create_task(follow())
            await arrived.wait()
            if not tape.offline:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return stream.reply

    first, again = twice(lambda tape: asyncio.run(ask(tape)))
    assert (first.text, first.partial) == ("Hel", True)
    assert same(again) == same(first)


def test_a_stream_that_is_left_is_the_same(
    server: FaultServer, both: Both, twice: Twice
) -> None:
    server.play(*BEGUN, http_chunk(event(chunk(content="lo"))), HOLD)
    first, again = twice(lambda tape: both.stop_after(server.url, 2, recorder=tape))
    assert same(again) == same(first)


def test_it_streams_at_the_speed_it_had(server: FaultServer, tmp_path: Any) -> None:
    from support.fault_server import Pause

    server.play(*BEGUN, Pause(0.3), http_chunk(event(chunk("stop"))), END)
    path = tmp_path / "x.kimi"
    known = {"base_url": server.url, "model": "m"}
    with Client(**known, recorder=Tape(file=RecordingFile(path, new=True))) as client:
        client.chat("hi")
    took = {}
    for speed in (1.0, 10.0, None):
        tape = Tape(RecordingFile(path), speed=speed)
        with Client(**known, recorder=tape) as client:
            import time

            start = time.perf_counter()
            reply = client.chat("hi")
            took[speed] = time.perf_counter() - start
            assert 0.25 < reply.duration_s < 5, "the time that it took the host"
    assert took[1.0] > 0.25
    assert took[10.0] < took[1.0]


@pytest.mark.parametrize(
    "place", ["whole", "in two events", "in a head", "in an error", "packed"]
)
def test_no_key_is_recorded(
    place: str, server: FaultServer, both: Both, tmp_path: Any
) -> None:
    half = len(KEY) // 2
    said: dict[str, tuple[object, ...]] = {
        "whole": (sse(*text(f"it is {KEY}."), chunk("stop"), DONE),),
        "in two events": (sse(*text(KEY[:half], KEY[half:]), chunk("stop"), DONE),),
        "in a head": (
            head(200, f"x-request-id: {KEY}"),
            http_chunk(event(chunk("stop", content="x"))),
            END,
        ),
        "in an error": (plain({"error": {"message": f"{KEY} is wrong"}}, 401),),
        "packed": (
            head(200, "content-encoding: gzip"),
            http_chunk(gzip.compress(b"".join(map(event, (*text(KEY), DONE))))),
            END,
        ),
    }
    server.play(*said[place])
    path = tmp_path / "x.kimi"
    file = RecordingFile(path, new=True)
    with contextlib.suppress(errors.KimiError):
        both.chat(server.url, f"my key is {KEY}", client={"recorder": Tape(file=file)})
    ((_, question, answer),) = file.rows()
    raw = b"".join(data for _, data in answer.pieces).decode()
    kept = question.body + raw + str(answer.headers)
    assert KEY not in kept
    assert KEY[half:] not in kept
    assert "***" in kept
    tape = Tape(RecordingFile(path), speed=None)
    with contextlib.suppress(errors.HostError):
        client = {"recorder": tape}
        reply = both.chat(server.url, f"my key is {KEY}", client=client)
        assert KEY not in reply.text
    assert len(server.requests) == 1
