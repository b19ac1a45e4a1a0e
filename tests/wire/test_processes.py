"""Forked workers and event loops have connections of their own."""

import asyncio
import gc
import multiprocessing
import os
import socketserver
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, event, sse

from kimikit import Kimi, errors
from kimikit.money.ledger import Ledger
from kimikit.wire import AsyncClient, Client

GOOD = sse(*text("ok"), chunk("stop"), DONE)
FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# Of a loop that has ended, nobody could close the connections.
LEFT_OPEN = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
# Python 3.12 warns of forks in a process with threads, such as the server's.
QUIET = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def left_open() -> Iterator[None]:
    """Collect the connections of loops that have ended: nobody can close them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class _Echo(socketserver.StreamRequestHandler):
    """Answers each question by itself, after a moment, on a connection that stays."""

    def handle(self) -> None:
        import json

        while self.rfile.readline():
            size = 0
            while (line := self.rfile.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    size = int(line.split(b":")[1])
            asked = json.loads(self.rfile.read(size))["messages"][-1]["content"]
            self.server.ports[asked] = self.client_address[1]  # type: ignore[attr-defined]
            time.sleep(0.02)
            body = b"".join(
                map(event, (*text(f"answer to {asked}"), chunk("stop"), DONE))
            )
            self.wfile.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[Any]:
    server = _Server(("127.0.0.1", 0), _Echo)
    server.ports = {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


def _address(echo: Any) -> str:
    return f"http://127.0.0.1:{echo.server_address[1]}/v1"


def _in_children(work: Any, count: int = 4) -> list[Any]:
    """Return what ``work(number)`` returns in that many forked children at once."""
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(count), context.Queue()

    def child(number: int) -> None:
        start.wait(10)
        try:
            answers.put((number, work(number)))
        except Exception as exc:
            answers.put((number, repr(exc)))

    children = [context.Process(target=child, args=(n,)) for n in range(count)]
    for one in children:
        one.start()
    found = dict(answers.get(timeout=300) for _ in children)
    for one in children:
        one.join(10)
        one.close()
    answers.close()
    answers.join_thread()
    return [found[number] for number in range(count)]


@FORKS
@QUIET
@pytest.mark.parametrize("turn", range(3))
def test_forked_children_get_their_own_answers(turn: int, echo: Any) -> None:
    with Client(base_url=_address(echo), api_key="k", model="m") as client:
        assert client.chat("parent").text == "answer to parent"
        found = _in_children(lambda n: client.chat(f"child {n}").text)
        assert found == [f"answer to child {n}" for n in range(4)]
        assert client.chat("again").text == "answer to again"
        ports = echo.ports
        assert ports["again"] == ports["parent"], "the parent keeps its connection"
        assert len({ports[f"child {n}"] for n in range(4)} - {ports["parent"]}) == 4


@FORKS
@QUIET
def test_a_child_that_closes_ends_nothing_of_its_parent(echo: Any) -> None:
    with Client(base_url=_address(echo), api_key="k", model="m") as client:
        client.chat("parent")
        assert _in_children(lambda n: client.close() or "closed", 2) == ["closed"] * 2
        client.chat("again")
        assert echo.ports["again"] == echo.ports["parent"]


@FORKS
@QUIET
def test_forked_children_share_the_ledger(echo: Any, tmp_path: Any) -> None:
    ledger = Ledger(tmp_path / "l.sqlite3")
    kimi = Kimi(
        base_url=_address(echo), api_key="k", model="m", show=False, ledger=ledger
    )
    kimi.chat("parent")
    found = _in_children(lambda n: kimi.chat(f"child {n}").text)
    assert found == [f"answer to child {n}" for n in range(4)]
    kimi.chat("again")
    assert [row.state for row in ledger.calls(None)] == ["complete"] * 6
    kimi.close()
    ledger.close()


@FORKS
@QUIET
def test_a_budget_works_in_a_child_whose_parent_was_in_it(echo: Any) -> None:
    """A lock that another thread held at the fork would never be opened again."""
    from kimikit.money import budget

    kimi = Kimi(base_url=_address(echo), api_key="k", model="m", show=False)

    def ask(number: int) -> str:
        with kimi.budget(tokens=100_000):
            return kimi.chat(f"child {number}").text

    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with budget._LOCK:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        assert _in_children(ask, 2) == ["answer to child 0", "answer to child 1"]
    finally:
        done.set()
        thread.join()
    kimi.close()
    kimi.ledger.close()


@FORKS
@QUIET
def test_an_async_client_in_forked_children(echo: Any) -> None:
    client = AsyncClient(base_url=_address(echo), api_key="k", model="m")

    def ask(number: int) -> str:
        return asyncio.run(client.chat(f"child {number}")).text

    assert _in_children(ask) == [f"answer to child {n}" for n in range(4)]


# Event loops.


@LEFT_OPEN
@pytest.mark.usefixtures("left_open")
def test_one_async_client_in_one_loop_after_another(server: FaultServer) -> None:
    server.play(GOOD)
    client = AsyncClient(base_url=server.url, api_key="k", model="m")
    for _ in range(4):
        assert asyncio.run(client.chat("q")).text == "ok"
    assert server.connections == 4


@LEFT_OPEN
@pytest.mark.usefixtures("left_open")
def test_one_async_client_in_loops_at_once(server: FaultServer) -> None:
    server.play(GOOD)
    client = AsyncClient(base_url=server.url, api_key="k", model="m")
    found: list[str] = []

    async def ask() -> None:
        for _ in range(5):
            found.append((await client.chat("q")).text)

    threads = [threading.Thread(target=asyncio.run, args=(ask(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == ["ok"] * 20
    assert server.connections == 4, "each loop keeps its connection"


@LEFT_OPEN
@pytest.mark.usefixtures("left_open")
def test_a_closed_async_client_says_so_in_every_loop(server: FaultServer) -> None:
    server.play(GOOD)
    client = AsyncClient(base_url=server.url, api_key="k", model="m")
    asyncio.run(client.chat("q"))
    asyncio.run(client.close())
    with pytest.raises(errors.BadInput, match="closed"):
        asyncio.run(client.chat("q"))


@LEFT_OPEN
@pytest.mark.usefixtures("left_open")
def test_loops_that_ended_are_forgotten(server: FaultServer) -> None:
    server.play(GOOD)
    client = AsyncClient(base_url=server.url, api_key="k", model="m")
    for _ in range(4):
        asyncio.run(client.chat("q"))
    assert len(client._made) <= 2
