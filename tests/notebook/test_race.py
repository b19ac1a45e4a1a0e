"""Races over real HTTP: columns side by side, one failure apart, Stop keeps all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import pytest
from support.fault_server import DONE, FaultServer, plain, sse
from support.kernel import Kernel, running_kernel
from support.races import SETUP

from kimikit.errors import BadInput, StatusError
from kimikit.notebook.lanes import Lane
from kimikit.notebook.race_view import Race, race
from kimikit.wire import AsyncClient


def answer(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 20}
    return sse({"model": "kimi-k2", "choices": [choice], "usage": usage}, DONE)


def entry(server: FaultServer, prompt: object = "Hi") -> Lane:
    make = partial(
        AsyncClient,
        "local",
        base_url=server.url,
        model="k2",
        api_key="k",
        max_retries=0,
    )
    return Lane(make, prompt)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with running_kernel() as kernel:
        kernel.run(SETUP)
        yield kernel


def test_one_failing_host_does_not_stop_the_others() -> None:
    out = io.StringIO()
    with FaultServer() as good, FaultServer() as bad:
        good.play(answer("Fine, <b>thanks</b>."))
        bad.play(plain({"error": {"message": "no such model"}}, 404))
        result = race({"good": entry(good), "bad": entry(bad)}, show=True, out=out)
    assert result.replies["good"].text == "Fine, <b>thanks</b>."
    assert isinstance(result.errors["bad"], StatusError)
    assert "bad" not in result.replies
    first, *_ = result.rows()
    assert first[0] == "good"
    assert first[3:] == ("20", "unpriced", "stop")
    assert out.getvalue() == f"{result}\n"
    assert "&lt;b&gt;thanks" in result._repr_html_()
    assert "<b>thanks" not in result._repr_html_()


def test_a_wrong_question_is_refused_at_once() -> None:
    with FaultServer() as server, pytest.raises(BadInput):
        race({"a": entry(server, 3), "b": entry(server, 3)})
    assert server.requests == []
    with pytest.raises(BadInput, match="nobody"):
        race({})


def test_nothing_is_shown_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultServer() as server:
        server.play(answer("Hi."))
        assert isinstance(race({"a": entry(server)}), Race)
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
