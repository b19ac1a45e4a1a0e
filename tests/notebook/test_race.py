"""Races over real HTTP: columns side by side, one failure apart, Stop keeps all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from support.fault_server import DONE, FaultServer, plain, sse
from support.kernel import Kernel, running_kernel
from support.races import SETUP

from kimikit.errors import BadInput, StatusError
from kimikit.notebook.race_view import Race, columns, race
from kimikit.runner import Request
from kimikit.wire import AsyncClient
from kimikit.wire.hosts import resolve


def answer(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 20}
    return sse({"model": "kimi-k2", "choices": [choice], "usage": usage}, DONE)


def ask(servers: dict[str, FaultServer], prompt: object = "Hi", **options: Any) -> Race:
    def client_for(name: str | None) -> AsyncClient:
        url = servers[str(name)].url
        return AsyncClient(
            "local", base_url=url, model="k2", api_key="k", max_retries=0
        )

    requests = {name: Request(messages=prompt, host=name) for name in servers}
    return race(requests, client_for, **options)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        kernel.run(SETUP)
        yield kernel


def test_one_failing_host_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FaultServer() as good, FaultServer() as bad:
        good.play(answer("Fine, <b>thanks</b>."))
        bad.play(plain({"error": {"message": "no such model"}}, 404))
        result = ask({"good": good, "bad": bad}, show=True)
    assert result.replies["good"].text == "Fine, <b>thanks</b>."
    assert isinstance(result.errors["bad"], StatusError)
    assert "bad" not in result.replies
    first, *_ = result.rows()
    assert first[0] == "good"
    assert first[3:] == ("20", "unpriced", "stop")
    assert capsys.readouterr().out == f"{result}\n"
    assert "&lt;b&gt;thanks" in result._repr_html_()
    assert "<b>thanks" not in result._repr_html_()


def test_a_host_that_is_busy_is_waited_for() -> None:
    with FaultServer() as busy:
        slow_down = {"error": {"message": "slow down, try again in 20ms"}}
        busy.play(plain(slow_down, 429))
        busy.play(answer("Now."))
        result = ask({"a": busy})
        assert len(busy.requests) == 2
    assert result.replies["a"].text == "Now."
    assert result.errors == {}


class Counting:
    """An observer that counts the calls under way."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def opened(self, call: object) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    def progressed(self, call: object, usage: object) -> None:
        pass

    def closed(self, call: object, reply: object, error: object) -> None:
        self.now -= 1


def test_columns_of_one_host_share_its_pace() -> None:
    """The local host serves four at once; a race of six waits for two of them."""
    counting = Counting()
    with FaultServer() as server:
        server.play(answer("Hi."))
        given = {"base_url": server.url, "model": "k2", "api_key": "k"}
        make = partial(AsyncClient, "local", observers=(counting,), **given)
        requests = {f"column {i}": Request(messages="Hi") for i in range(6)}
        result = race(requests, lambda _: make())
    assert len(result.replies) == 6
    assert 1 <= counting.most <= 4


def test_a_wrong_question_is_refused_at_once() -> None:
    with FaultServer() as server, pytest.raises(BadInput):
        ask({"a": server, "b": server}, 3)
    assert server.requests == []
    with pytest.raises(BadInput, match="nobody"):
        ask({})


def test_nothing_is_shown_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer() as server:
        server.play(answer("Hi."))
        assert isinstance(ask({"a": server}), Race)
    assert capsys.readouterr().out == ""


def test_columns_are_seen_to_grow_and_end_as_one_table(kernel: Kernel) -> None:
    ran = kernel.run("go(fast=fast, slow=slow)")
    live = [
        m["data"]["text/plain"] for m in ran.of("display_data", "update_display_data")
    ]
    assert any("slow: answering · first token" in text for text in live)
    (shown,) = ran.outputs()
    assert "Fast answer." in shown["text/html"]
    assert "word0 word1" in shown["text/html"]
    assert shown["text/plain"].splitlines()[0].split("  ")[0] == ""
    assert ran.most_in_a_second <= 12


def test_stop_keeps_what_arrived_in_each_column(kernel: Kernel) -> None:
    key = kernel.start("r = go(fast=fast, stuck=stuck)", value="r.replies['stuck']")
    kernel.until(key, "update_display_data")
    kernel.interrupt()
    ran = kernel.wait(key)
    assert ran.seconds < 10
    assert "stopped" in ran.result
    (shown,) = ran.outputs()
    assert "Half an ans" in shown["text/html"]
    assert "Fast answer." in shown["text/html"]


def test_columns_are_hosts_models_or_both() -> None:
    own = resolve("together")
    listed = own.models[0].id
    assert columns(["groq", listed, "a/b"], own=own) == {
        "groq": {"host": "groq"},
        listed: {"model": listed},
        "a/b": {"model": "a/b"},
    }
    assert columns(None, ["x", "y"]) == {"x": {"model": "x"}, "y": {"model": "y"}}
    assert columns(["vllm"], ["x"]) == {"vllm x": {"host": "vllm", "model": "x"}}
    assert columns(["togehter"], own=own) == {"togehter": {"host": "togehter"}}
    for hosts, models in ((3, None), (None, None), (None, "x"), (["vllm"], [3])):
        with pytest.raises(BadInput, match=r"hosts=|models="):
            columns(hosts, models)


def test_a_race_of_models_asks_each_and_a_refused_one_leaves_nothing(
    kernel: Kernel,
) -> None:
    code = (
        "from support.fault_server import FaultServer, sse\n"
        "from support.answers import DONE, chunk, text\n"
        "from kimikit import Kimi\n"
        "served = FaultServer().__enter__()\n"
        "served.play(sse(*text('ok'), chunk('stop'), DONE))\n"
        "k = Kimi('vllm', base_url=served.url)\n"
        "r = k.race('Hi', models=['x', 'y'])"
    )
    asked = "q.json['model'] for q in served.requests if q.method == 'POST'"
    ran = kernel.run(code, value=f"sorted({asked})")
    assert ran.result == "['x', 'y']", ran.messages
    refused = kernel.run("k.race(3, models=['x', 'y'])")
    assert [error["ename"] for error in refused.of("error")] == ["BadInput"]
    assert [o for o in refused.outputs() if "text/html" in o] == []


def test_a_name_that_is_given_twice_has_two_columns() -> None:
    assert columns(None, ["a", "b", "a", "a"]) == {
        "a": {"model": "a"},
        "b": {"model": "b"},
        "a (2)": {"model": "a"},
        "a (3)": {"model": "a"},
    }
    assert list(columns(["local", "local"])) == ["local", "local (2)"]
    assert list(columns(["local"], ["a", "a"])) == ["local a", "local a (2)"]
    assert list(columns(["x/a (2)", "x/a", "x/a"])) == ["x/a (2)", "x/a", "x/a (3)"]


def test_many_columns_of_one_name_are_named_in_linear_time() -> None:
    labels = list(columns(None, ["a", "b (2)", "b"] * 20_000))
    assert len(set(labels)) == 60_000
    assert labels[-3:] == ["a (20000)", "b (2) (20000)", "b (20001)"]
