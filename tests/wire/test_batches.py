"""Batches by both clients in all dialects, and what hosts may say about them."""

import asyncio
import contextlib

import msgspec
import pytest
from support.batch_host import KEY, BatchHost
from support.fault_server import FaultServer, plain

from kimikit import AsyncClient, Client, errors
from kimikit.types import Call, Host
from kimikit.types.host import HostBatch
from kimikit.wire import batches, hosts
from kimikit.wire.batches import Batch, Line, encode_line, read_reply

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def host(tmp_path):
    with BatchHost(tmp_path) as server:
        yield server


@pytest.fixture
def blocking():
    """Make clients that block, and close them."""
    with contextlib.ExitStack() as stack:
        yield lambda *given: stack.enter_context(client(Client, *given))


def client(kind, url, dialect="files", **about):
    made = kind("own", base_url=url, api_key=KEY, model="m", max_retries=0)
    batch = HostBatch(dialect=dialect, **about)
    made.host = msgspec.structs.replace(made.host, batch=batch)
    return made


async def over(api, batch):
    while not batch.over:
        await asyncio.sleep(0.02)
        batch = await api.get(batch.id)
    return batch


@pytest.mark.parametrize("dialect", ["files", "together", "inline"])
def test_an_awaited_client_runs_a_batch(host, dialect):
    async def run():
        async with client(AsyncClient, host.url, dialect) as made:
            api, file, requests = made.batches, "", [("a", BODY), ("b", BODY)]
            if dialect != "inline":
                lines = [encode_line(name, body) for name, body in requests]
                file, requests = await api.upload(lines, "x.jsonl"), []
            batch = await api.create("m", file=file, requests=requests, label="mine")
            found = await over(api, batch)
            assert (found.total, found.done, found.failed) == (2, 2, 0)
            assert (await api.list())[0].id == batch.id
            return [line async for line in api.lines(found)]

    lines = asyncio.run(run())
    assert sorted(line.custom_id for line in lines) == ["a", "b"]
    assert {line.status for line in lines} == {200}


def test_the_list_goes_on_over_its_pages(host, blocking, monkeypatch):
    monkeypatch.setattr(batches, "PAGE", 2)
    made = blocking(host.url, "inline")
    names = [made.batches.create("m", requests=[("a", BODY)]).id for _ in range(5)]
    assert [batch.id for batch in made.batches.list()] == names[::-1]
    assert len(made.batches.list(most=2)) == 2


def test_a_batch_is_never_begun_twice(host, blocking):
    made = blocking(host.url, "inline")
    made.retries = 5
    host.lose = "POST /v1/batches"
    with pytest.raises(errors.HostError):
        made.batches.create("m", requests=[("a", BODY)])
    assert host.calls("POST", "/batches") == 1


@pytest.mark.parametrize(
    ("said", "want"),
    [
        ({"id": "b", "status": "COMPLETED", "progress": 100.0}, ("completed", True)),
        ({"job": {"id": "b", "status": "IN_PROGRESS"}}, ("in_progress", False)),
        ({"data": {"id": "b", "status": "Canceled"}}, ("cancelled", True)),
        ({"id": "b"}, ("validating", False)),
        ({"id": "b", "status": None, "request_counts": []}, ("validating", False)),
    ],
)
def test_a_batch_is_read_in_the_form_of_any_host(blocking, said, want):
    with FaultServer() as server:
        server.play(plain(said))
        found = blocking(server.url).batches.get("b")
    assert (found.status, found.over) == want


@pytest.mark.parametrize("said", [{}, [], "no", {"id": 7}, {"error": {"message": "x"}}])
def test_what_is_no_batch_is_an_error(blocking, said):
    with FaultServer() as server:
        server.play(plain(said))
        with pytest.raises(errors.HostError):
            blocking(server.url).batches.get("b")


@pytest.mark.parametrize(
    "words",
    [
        {"errors": {"data": [{"message": "line 1 is bad"}]}},
        {"errors": "line 1 is bad"},
        {"error": {"message": "line 1 is bad"}},
        {"errors": [{"message": "line 1 is bad"}]},
    ],
)
def test_why_a_batch_failed_is_told_in_the_hosts_words(blocking, words):
    with FaultServer() as server:
        server.play(plain({"id": "b", "status": "failed", **words}))
        assert blocking(server.url).batches.get("b").words == "line 1 is bad"


def test_an_id_of_the_host_reaches_no_other_path(blocking):
    with FaultServer() as server:
        server.play(plain({"id": "b"}))
        blocking(server.url).batches.get("../files?x=/y")
        assert server.requests[0].path == "/v1/batches/..%2Ffiles%3Fx%3D%2Fy"


def test_a_file_goes_nowhere_inside_this_machine(blocking):
    named = ("location: http://127.0.0.1:9/bucket", "x-together-file-id: file-1")
    with FaultServer() as host:
        host.play(plain({}, 302, *named))
        with pytest.raises(errors.ConnectionFailed, match="did not take a file"):
            blocking(host.url, "together").batches.upload([b"{}\n"], "x")
        assert len(host.requests) == 1


def test_the_profiles_say_how_hosts_take_batches():
    known = hosts.profiles()
    assert known["together"].batch.dialect == "together"
    assert known["openrouter"].batch.suffix == ":batch"
    assert "temperature" in known["moonshot"].batch.refuses
    assert known["nvidia"].batch is None
    assert all(h.batch is None or h.batch.source for h in known.values())
    assert hosts.resolve(None, base_url="http://127.0.0.1:9/v1").batch is not None


def test_a_line_that_was_not_asked_says_why():
    call = Call(
        id="1", endpoint="chat", host=Host(name="h", base_url=""), model="m",
        body=BODY, created=0.0,
    )  # fmt: skip
    line = Line("a", 0, {"error": {"code": "batch_expired", "message": "too late"}})
    with pytest.raises(errors.StatusError, match="batch_expired: too late"):
        read_reply(call, line)
    with pytest.raises(errors.StatusError, match="too large"):
        read_reply(call, Line("a", 413, {"error": {"message": "too large"}}))
    assert Batch(id="b").over is False
