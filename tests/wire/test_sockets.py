"""Connections of an event loop: used again, given back, never in anybody's way."""

import asyncio
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.both import KEY, Both
from support.fault_server import CLOSE, HOLD, FaultServer, event, head, sse
from support.fault_server import chunk as http_chunk
from support.tls import certificate, serving

from kimikit import errors
from kimikit.wire import AsyncClient

GOOD = sse(*text("fine"), chunk("stop"), DONE)
BEGUN = head() + b"".join(http_chunk(event(value)) for value in text("Hel", "lo"))


def asking(url: str, **settings: Any) -> AsyncClient:
    return AsyncClient(base_url=url, api_key=KEY, model="m", max_retries=0, **settings)


def test_a_connection_is_used_again_but_not_one_that_the_host_closed(
    server: FaultServer,
) -> None:
    server.play(GOOD)
    server.play(GOOD, CLOSE)
    server.play(GOOD)

    async def ask() -> None:
        async with asking(server.url) as client:
            for _ in range(2):
                await client.chat("x")
            server._threads[-1].join(5)  # it has hung up, and asyncio cannot know it
            await client.chat("x")

    asyncio.run(ask())
    assert [each.connection for each in server.requests] == [1, 1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows")
def test_the_event_loop_of_uvloop_asks_by_httpx(server: FaultServer) -> None:
    import uvloop

    server.play(GOOD)

    async def ask() -> list[str]:
        async with asking(server.url) as client:
            both = await asyncio.gather(client.chat("x"), client.chat("x"))
            return [reply.text for reply in (*both, await client.chat("x"))]

    assert uvloop.run(ask()) == ["fine"] * 3


def test_calls_at_once_have_a_connection_each_and_share_them_later(
    server: FaultServer,
) -> None:
    server.play(GOOD)

    async def ask() -> None:
        async with asking(server.url) as client:
            for _ in range(2):
                await asyncio.gather(*(client.chat("x") for _ in range(3)))

    asyncio.run(ask())
    assert server.connections == 3


def test_a_long_question_and_a_long_answer_that_is_read_slowly(
    server: FaultServer, both: Both
) -> None:
    question, said = "q" * 1_000_000, "a" * 10_000
    answer = b"".join(http_chunk(event(value)) for value in text(*[said] * 150))
    server.play(head() + answer + http_chunk(event(chunk("stop"))) + http_chunk(b""))
    reply = both.chat(server.url, question)
    assert reply.text == said * 150
    assert server.requests[0].json["messages"][0]["content"] == question


def test_what_comes_while_nobody_reads_waits_at_the_host(server: FaultServer) -> None:
    more = [http_chunk(event(value)) for value in text(*["a" * 10**6] * 32)]
    server.play(BEGUN, *more, CLOSE)

    async def ask() -> None:
        async with (
            asking(server.url) as client,
            client.stream("x") as stream,
        ):
            await anext(stream)
            for _ in range(200):
                await asyncio.sleep(0)  # a turn of the loop reads what has come
            assert server._threads[-1].is_alive(), "the host waits until it is read"

    asyncio.run(ask())


def test_closing_the_client_breaks_off_what_is_under_way(server: FaultServer) -> None:
    server.play(BEGUN, HOLD)

    async def ask() -> None:
        client = asking(server.url)
        async with client.stream("x") as stream:
            await anext(stream)
            await client.close()
            async for _ in stream:
                pass

    with pytest.raises(errors.StreamError) as caught:
        asyncio.run(ask())
    assert caught.value.reply.text == "Hello"
    assert server.left.wait(5)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_tls_is_no_connection(first: bytes, both: Both) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up() -> None:
            one, _ = listening.accept()
            with one:
                one.recv(1)
                one.sendall(first)

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(errors.ConnectionFailed, match="The connection to"):
            both.chat(url, client={"max_retries": 0})
        thread.join(5)


def test_tls_that_never_comes_is_waited_for_as_long_as_was_asked(both: Both) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        settings = {"max_retries": 0, "timeout": {"connect": 0.1}}
        with pytest.raises(errors.TimedOut, match="No connection"):
            both.chat(url, client=settings)


def test_an_answer_over_tls_is_whole_though_the_host_hangs_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, both: Both
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    body = b"".join(map(event, (*text(*["a" * 10_000] * 60), chunk("stop"), DONE)))
    with serving(pem, body, "text/event-stream") as url:
        assert len(both.chat(url).text) == 600_000
