"""A row of the ledger tells what was asked and answered, and asks it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.both import KEY
from support.fault_server import FaultServer, plain, sse

from kimikit import BadInput, Kimi
from kimikit.money.ledger import Ledger

OK = sse(*text("Red, as far as I know."), chunk("stop"), DONE)


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("verb", ["chat", "complete"])
def test_code_of_a_host_that_is_not_open_says_to_open_it(
    verb: str, server: FaultServer
) -> None:
    choice = {"message": {"content": "ok"}, "text": "ok", "finish_reason": "stop"}
    server.play(plain({"choices": [choice]}))
    options: dict[str, Any] = {"base_url": server.url, "model": "m", "show": False}
    with Kimi("mine", **options) as kimi:
        getattr(kimi, verb)("Hi", stream=False)
        path = kimi.ledger.path
    (row,) = Ledger(path).calls()
    for write in (row.reply.curl, row.reply.python):
        with pytest.raises(BadInput, match="Open a Kimi of it first"):
            write()
    again = Kimi("mine", **options)
    reply = again.ledger.calls()[0].reply
    assert server.url in reply.curl()
    assert server.url in reply.python()


def test_a_row_has_its_request_its_answer_and_asks_again(server: FaultServer) -> None:
    server.play(OK)
    kimi = Kimi("together", base_url=server.url, api_key=KEY, model="m", seed=7)
    first = kimi.chat(f"Name a colour, not {KEY}.", temperature=0, system="Brief.")
    kimi = Kimi("together", base_url=server.url, api_key=KEY, max_tokens=9, top_p=0.5)
    (row,) = kimi.ledger.calls()
    assert row.request == first.request
    assert row.reply == first
    assert row.reply.request == first.request
    assert row.reply.curl() == first.curl()
    assert (row.prompt, row.answer) == ("Name a colour, not ***.", first.text)
    again = row.replay()
    asked = [request.json for request in server.requests]
    assert asked[1] == {**asked[0], "messages": first.request["messages"]}
    assert again.text == first.text
    assert len(kimi.ledger.calls()) == 2
    (same,) = kimi.ledger.calls(id=row.id[:8])
    assert same.id == row.id


def test_a_table_of_calls_shows_what_each_was(server: FaultServer) -> None:
    server.play(OK)
    server.play(plain({"error": {"message": "no such thing <b>"}}, 400))
    kimi = Kimi("vllm", base_url=server.url, model="m", max_retries=0)
    kimi.chat("Name a colour. " * 20)
    with pytest.raises(Exception, match="no such thing"):
        kimi.chat(
            [{"role": "user", "content": [{"type": "text", "text": "<i>Why</i>"}]}]
        )
    rows = kimi.ledger.calls()
    plain_, rich = repr(rows), rows._repr_html_()
    assert rows[0].id[:8] in plain_
    assert "Name a colour. Name a colour. N…" in plain_
    assert "Red, as far as I know." in plain_
    assert "<i>Why</i>" in plain_
    assert "&lt;i&gt;Why&lt;/i&gt;" in rich
    assert "<details><summary>Name a colour." in rich
    assert "no such thing <b>" in rows[0].answer
    heads = plain_.splitlines()[0].split()
    assert heads[:6] == ["id", "time", "host/model", "asked", "answered", "s"]
    assert heads[-1] == "state"  # nothing is tagged


def test_what_is_not_kept_is_not_asked_again(
    server: FaultServer, tmp_path: Path
) -> None:
    server.play(OK)
    numbers = Ledger(tmp_path / "numbers.db", store="usage")
    kimi = Kimi("vllm", base_url=server.url, model="m", ledger=numbers)
    kimi.chat("Name a colour.")
    (row,) = numbers.calls()
    assert (row.request, row.reply, row.prompt, row.answer) == (None, None, "", "")
    with pytest.raises(BadInput, match="request of this call is not kept"):
        row.replay()
    kimi = Kimi("together", base_url=server.url, api_key=KEY, model="m")
    server.play(plain({"data": [{"index": 0, "embedding": [1.0]}], "model": "m"}))
    kimi.embed(["a text"], model="e")
    (row,) = kimi.ledger.calls()
    assert row.prompt == "a text"
    with pytest.raises(BadInput, match=r"one of embed.*kimi\.embed\(\.\.\.\)"):
        row.replay()


def test_a_row_of_another_session_needs_a_kimi(server: FaultServer) -> None:
    server.play(OK)
    known = {"base_url": server.url, "model": "m"}
    Kimi("vllm", **known).chat("Name a colour.", prefill="Red")
    (row,) = Ledger().calls()
    assert row.reply.text == "RedRed, as far as I know."
    with pytest.raises(BadInput, match=r"No open Kimi asks vllm.*Kimi\('vllm'\)"):
        row.replay()
    assert row.replay(Kimi("vllm", **known)).text == row.reply.text
    first, second = (request.json for request in server.requests)
    assert first == second
