"""Moonshot's own functions in its shape, counted, and refused by name elsewhere."""

import json
from decimal import Decimal

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, plain, sse

from kimikit import BadInput, BadTool, Client, Kimi, NotSupported, tool
from kimikit.tools import builtin

ASKED = '{"search_result": {"search_id": "a1"}, "usage": {"total_tokens": 900}}'
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def searching(*ids):
    calls = [
        {
            "index": n,
            "id": i,
            "type": "builtin_function",
            "function": {"name": "$web_search", "arguments": ASKED},
        }
        for n, i in enumerate(ids)
    ]
    first = {
        "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}}]
    }
    return sse(first, chunk("tool_calls"), {"choices": [], "usage": USAGE}, DONE)


def weather(city: str) -> str:
    "Weather of a city."
    return "fine"


@pytest.fixture
def server():
    with FaultServer() as made:
        yield made


def moonshot(server, model="kimi-k3"):
    kimi = Kimi(
        "moonshot", base_url=server.url, api_key="k" * 20, model=model, show=False
    )
    kimi.set_price(input=0, output=0, model=model)
    return kimi


@pytest.mark.parametrize("ids", [("c1",), ("c1", "c2")])
def test_the_loop_gives_back_what_it_was_called_with_and_counts_it(server, ids):
    server.play(searching(*ids))
    server.play(
        sse(*text("Here: news"), chunk("stop"), {"choices": [], "usage": USAGE}, DONE)
    )
    kimi = moonshot(server)
    run = kimi.run("What is new?", [builtin(), weather])
    kimi.close()
    assert run.reply.text == "Here: news"
    first, second = (request.json for request in server.requests)
    assert first["tools"][0] == {
        "type": "builtin_function",
        "function": {"name": "$web_search"},
    }
    assert first["tools"][1]["type"] == "function"
    back = [m for m in second["messages"] if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in back] == list(ids)
    assert all(json.loads(m["content"]) == json.loads(ASKED) for m in back)
    assert {m["name"] for m in back} == {"$web_search"}
    assert run.cost == Decimal("0.005") * len(ids)
    assert kimi.ledger.total().cost == run.cost


@pytest.mark.parametrize("host", ["together", "openrouter", "vllm"])
def test_elsewhere_it_is_refused_by_name(host, server):
    with (
        Client(host, base_url=server.url, api_key="k", model="m") as client,
        pytest.raises(NotSupported, match=r"\$web_search of its own.*moonshot"),
    ):
        client.chat("hi", tools=[builtin("$web_search")])
    with (
        Client("moonshot", base_url=server.url, api_key="k", model="kimi-k3") as client,
        pytest.raises(NotSupported, match=r"\$teleport of its own"),
    ):
        client.chat("hi", tools=[builtin("$teleport")])
    assert server.requests == []


def test_k2_6_searches_only_when_it_does_not_think(server):
    server.play(plain({"id": "x", "choices": [{"index": 0, "message": {"content": "ok"},
                                               "finish_reason": "stop"}]}))  # fmt: skip
    kimi = moonshot(server, "kimi-k2.6")
    with pytest.raises(NotSupported, match="reasoning_effort='off'"):
        kimi.chat("hi", tools=[builtin()])
    assert server.requests == []
    kimi.chat("hi", tools=[builtin()], reasoning_effort="off", stream=False)
    kimi.close()
    assert server.requests[0].json["thinking"] == {"type": "disabled"}


def test_a_budget_refuses_what_nobody_can_bound(server):
    kimi = moonshot(server)
    kimi.set_price(input=1, output=1, model="kimi-k3")
    with kimi.budget(usd=5), pytest.raises(BadInput, match="nobody knows"):
        kimi.chat("hi", tools=[builtin()], max_tokens=10)
    kimi.close()
    assert server.requests == []


@pytest.mark.parametrize("name", ["web_search", "$", "$a b", "", 7, "$web-search"])
def test_only_a_name_of_a_builtin_is_one(name):
    with pytest.raises(BadTool, match="no built-in function"):
        builtin(name)


def test_an_ordinary_tool_has_no_such_name(server):
    def search(query: str) -> str:
        "Search."

    with pytest.raises(BadTool):
        tool(search, name="$web_search")
