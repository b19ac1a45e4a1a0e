"""Tools in the middle of a conversation, as Kimi K3 takes them at Moonshot."""

from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, plain, sse

from kimikit import BadInput, BadTool, Kimi, NotSupported
from kimikit.tools import declare, tool


def weather(city: str) -> str:
    """Current weather of a city."""
    return f"Sunny in {city}."


def find_tools(topic: str) -> list[Any]:
    """Tools for a topic."""
    return [tool(weather)]


def calling(name: str, arguments: str, id_: str = "call_1") -> bytes:
    call = {
        "id": id_,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return plain({"id": "x", "model": "kimi-k3", "choices": [choice]})


GOOD = sse(*text("It is sunny."), chunk("stop"), DONE)


@pytest.fixture
def server():
    with FaultServer() as made:
        yield made


def kimi_at(server, host="moonshot", model="kimi-k3"):
    known = {"base_url": server.url, "api_key": "k" * 20, "max_retries": 0}
    return Kimi(host, model=model, show=False, **known)


@pytest.mark.parametrize(
    "declared", [declare(weather), {"role": "system", "tools": [tool(weather).schema]}]
)
def test_a_declaration_stands_where_it_was_put_and_holds_nothing_else(declared, server):
    server.play(calling("weather", '{"city": "Lagos"}'))
    kimi = kimi_at(server)
    reply = kimi.chat(["Is it sunny?", declared], stream=False, tool_choice="required")
    kimi.close()
    sent = server.requests[-1].json
    assert sent["messages"] == [
        {"role": "user", "content": "Is it sunny?"},
        {"role": "system", "tools": [tool(weather).schema]},
    ]
    assert "tools" not in sent
    assert sent["tool_choice"] == "required"
    assert [call.name for call in reply.tool_calls] == ["weather"]


def test_a_run_calls_what_a_message_declares(server):
    server.play(calling("weather", '{"city": "Lagos"}'))
    server.play(GOOD)
    kimi = kimi_at(server)
    run = kimi.run(["Is it sunny in Lagos?", declare(weather)], [])
    assert run.steps[0].results[0].value == "Sunny in Lagos."
    server.play(GOOD)
    again = kimi.run(run, [])
    kimi.close()
    for request in server.requests:
        assert request.json["messages"][1] == {
            "role": "system",
            "tools": [tool(weather).schema],
        }
        assert "tools" not in request.json
    assert again.reply.text == "It is sunny."


@pytest.mark.parametrize(
    ("host", "model", "declares"),
    [
        ("moonshot", "kimi-k3", True),
        ("moonshot", "kimi-k3.1-pro", True),
        ("moonshot", "kimi-k2.6", False),
        ("together", "moonshotai/Kimi-K3", False),
        (None, "m", False),
    ],
)
def test_a_tool_that_returns_tools_gives_them_to_the_model(
    host, model, declares, server
):
    """Where no message may declare them, they go with the next request as others do."""
    server.play(calling("find_tools", '{"topic": "sky"}'))
    server.play(calling("weather", '{"city": "Lagos"}', "call_2"))
    server.play(GOOD)
    kimi = kimi_at(server, host, model)
    run = kimi.run("Is it sunny in Lagos?", [find_tools])
    kimi.close()
    assert run.steps[0].results[0].text == "These tools are there now: weather."
    assert run.steps[1].results[0].value == "Sunny in Lagos."
    last = server.requests[-1].json
    offered = [each["function"]["name"] for each in last["tools"]]
    roles = [message["role"] for message in last["messages"]]
    if declares:
        assert offered == ["find_tools"]
        assert roles[:4] == ["user", "assistant", "tool", "system"]
        assert last["messages"][3]["tools"] == [tool(weather).schema]
    else:
        assert offered == ["find_tools", "weather"]
        assert "system" not in roles


@pytest.mark.parametrize(
    ("host", "model", "words"),
    [
        ("together", "moonshotai/Kimi-K3", "Together AI is not known for tools that a message"),
        ("moonshot", "kimi-k2.6", "kimi-k2.6 is not known for tools that a message"),
        (None, "m", "Hosts that take it: moonshot, moonshot-cn"),
    ],
)  # fmt: skip
def test_elsewhere_it_is_refused_by_name(host, model, words, server):
    kimi = kimi_at(server, host, model)
    for ask in (kimi.chat, lambda goal: kimi.run(goal, [])):
        with pytest.raises(NotSupported, match=words):
            ask(["Is it sunny?", declare(weather)])
    kimi.close()
    assert server.requests == []


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        ({"role": "system", "tools": [tool(weather)], "content": "x"}, BadInput, "nothing but tools"),
        ({"role": "user", "tools": [tool(weather)]}, BadInput, "nothing but tools"),
        ({"role": "system", "tools": []}, BadInput, "nothing but tools"),
        ({"role": "system", "tools": ["weather"]}, BadTool, "of type str"),
        (declare(find_tools), BadTool, "Two tools are named 'find_tools'"),
    ],
)  # fmt: skip
def test_what_moonshot_would_refuse_is_refused_before(message, error, words, server):
    kimi = kimi_at(server)
    with pytest.raises(error, match=words):
        kimi.chat(["Is it sunny?", message], tools=[find_tools])
    kimi.close()
    assert server.requests == []


def test_nothing_is_declared():
    with pytest.raises(BadTool, match="Pass functions"):
        declare()
