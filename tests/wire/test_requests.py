"""Requests are checked and shaped for their host before anything is sent (facts 1c)."""

from typing import Any

import pytest
from support.answers import ADD, DONE, TOOL, chunk, text
from support.both import Both
from support.fault_server import FaultServer, plain, sse

from kimikit import errors
from kimikit.types import Host, Message, Reply, ToolCall
from kimikit.wire import Client, hosts

GOOD = sse(*text("ok"), chunk("stop"), DONE)
PNG = b"\x89PNG\r\n\x1a\n"
ASKED = {
    "role": "assistant",
    "content": "",
    "tool_calls": [ToolCall("call_1", "add", "{}").to_dict()],
}
ANSWERED = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
TALK = [{"role": "user", "content": "hi"}, ASKED, ANSWERED]


@pytest.fixture
def sent(server: FaultServer) -> Any:
    """Return what a client of a host, moved to the server, sends."""
    server.play(GOOD)

    def send(messages: Any = "hi", host: str | None = None, **params: Any) -> Any:
        with Client(
            host, base_url=server.url, api_key="k", model=params.pop("model", "m")
        ) as c:
            c.chat(messages, **params)
        return server.requests[-1].json

    return send


# What a question may be.


@pytest.mark.parametrize(
    "question",
    [
        "hi",
        {"role": "user", "content": "hi"},
        Message("user", "hi"),
        ["hi"],
        [{"role": "user", "content": "hi"}],
        (Message("user", "hi"),),
        [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    ],
)
def test_questions(question: Any, sent: Any) -> None:
    (message,) = sent(question)["messages"]
    content = message["content"]
    assert message["role"] == "user"
    assert content == "hi" or content[0]["text"] == "hi"


def test_a_reply_goes_into_the_next_question(sent: Any) -> None:
    reply = Reply(text="", tool_calls=(ToolCall("call_1", "add", "{}"),))
    messages = sent(["hi", reply, ANSWERED])["messages"]
    assert messages[1]["role"] == "assistant"
    assert messages[1]["content"] == ""
    assert "reasoning_content" not in messages[1]


def test_system_goes_first(sent: Any) -> None:
    assert sent("hi", system="Be brief.")["messages"][0]["role"] == "system"


def test_the_callers_messages_stay_as_they_are(sent: Any) -> None:
    mine = [dict(m) for m in TALK]
    sent(mine, host="moonshot", image=PNG)
    assert mine == TALK


BAD = {
    "a number": (3, {}, "messages is of type int"),
    "nothing": (None, {}, "NoneType"),
    "no messages": ([], {}, "empty list"),
    "an empty prompt": (" \n", {}, "empty"),
    "an empty last message": ([{"role": "user", "content": ""}], {}, "empty"),
    "no parts": ([{"role": "user", "content": []}], {}, "empty"),
    "an unknown role": ([{"role": "human", "content": "hi"}], {}, "role 'human'"),
    "no role": ([{"content": "hi"}], {}, "role None"),
    "a wrong content": ([{"role": "user", "content": 3}], {}, "holds int"),
    "a wrong message": ([3], {}, "A message is of type int"),
    "two system prompts": (
        [{"role": "system", "content": "a"}, "b"],
        {"system": "c"},
        "system=",
    ),
    "a wrong system": ("hi", {"system": 3}, "system is of type int"),
    "a negative temperature": ("hi", {"temperature": -0.1}, "temperature is -0.1"),
    "a hot temperature": ("hi", {"temperature": 2.1}, "from 0 to 2"),
    "a temperature that is no number": ("hi", {"temperature": "hot"}, "'hot'"),
    "not a number": ("hi", {"temperature": float("nan")}, "nan"),
    "a true temperature": ("hi", {"temperature": True}, "True"),
    "top_p above 1": ("hi", {"top_p": 1.5}, "top_p is 1.5"),
    "a mistyped parameter": ("hi", {"temperatur": 1}, "Did you mean 'temperature'?"),
    "an underscore less": ("hi", {"topp": 0.9}, "Did you mean 'top_p'?"),
    "no tokens": ("hi", {"max_tokens": 0}, "max_tokens is 0"),
    "half a token": ("hi", {"max_tokens": 0.5}, "max_tokens is 0.5"),
    "no answers": ("hi", {"n": 0}, "n is 0"),
    "required without tools": ("hi", {"tool_choice": "required"}, "no tool is offered"),
    "not JSON": ("hi", {"stop": object()}, "cannot be sent"),
    "a call without answer": (TALK[:2], {}, "call_1 have no answer"),
    "talk before the answer": ([*TALK[:2], "well?"], {}, "have no answer"),
    "an answer without a call": ([*TALK[:1], ANSWERED], {}, "which no call"),
    "two answers to a call": ([*TALK, ANSWERED], {}, "which no call"),
    "a broken call": (
        [{"role": "assistant", "tool_calls": [{"function": "x"}]}],
        {},
        "tool_calls of a message",
    ),
    "an image and no question": (
        [{"role": "system", "content": "a"}],
        {"image": PNG},
        "no user message",
    ),
    "an image that is not there": ("hi", {"image": "/no/such.png"}, "cannot be read"),
    "bytes of no image": ("hi", {"image": b"hello"}, "no PNG"),
    "a wrong image": ("hi", {"image": 3}, "image is of type int"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_unsent(
    name: str, server: FaultServer, both: Both
) -> None:
    messages, params, said = BAD[name]
    server.play(GOOD)
    with pytest.raises(errors.BadInput) as caught:
        both.chat(server.url, messages, **params)
    assert said in str(caught.value)
    assert caught.value.remedy.endswith(".")
    assert server.requests == []


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([3], "A tool is of type int"),
        ([{"type": "function", "function": {"name": ""}}], "named ''"),
        ([{"type": "function", "function": {"name": "a b"}}], "named 'a b'"),
        ([{"type": "function", "function": {}}], "named None"),
        ([ADD, ADD], "Two tools"),
        (
            [{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)],
            "129",
        ),
    ],
)
def test_bad_tools(tools: Any, said: str, both: Both) -> None:
    with pytest.raises(errors.BadTool, match=said):
        both.chat("http://127.0.0.1:9", tools=tools)


def test_tools_are_dicts_or_have_a_schema(sent: Any) -> None:
    class Mine:
        schema = ADD

    builtin = {"type": "builtin_function", "function": {"name": "$web_search"}}
    assert sent(tools=[TOOL, Mine()])["tools"] == [TOOL, ADD]
    with pytest.raises(errors.BadTool):
        sent(tools=[builtin, {"type": "function", "function": {"name": "?"}}])


def test_a_client_checks_its_defaults() -> None:
    with pytest.raises(errors.BadInput, match="temperature is 7"):
        Client(base_url="http://127.0.0.1:9", model="m", temperature=7)
    with pytest.raises(errors.BadInput, match="soon"):
        Client(base_url="http://127.0.0.1:9", timeout={"soon": 1})
    with pytest.raises(errors.BadInput, match="connect=-1"):
        Client(base_url="http://127.0.0.1:9", timeout=-1)


def test_no_model_is_named(both: Both, server: FaultServer) -> None:
    """A server that lists none, as one that blocks is asked, leaves it to the user."""
    server.play(plain(b"", 404))
    with pytest.raises(errors.BadInput, match="No model is named"):
        both.chat(server.url, client={"model": None})
    assert all(each.path.endswith("/models") for each in server.requests)


# What is sent.


def test_a_stream_asks_for_usage(sent: Any) -> None:
    body = sent()
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert sent(stream_options={"include_usage": False})["stream_options"] == {
        "include_usage": False
    }


def test_defaults_and_parameters(server: FaultServer, both: Both) -> None:
    server.play(GOOD)
    client = {"temperature": 0.5, "max_tokens": 9, "top_p": 0.8, "seed": 3}
    both.chat(
        server.url, client=client, temperature=0.7, seed=None, extra_body={"x": 1}
    )
    body = server.requests[0].json
    assert (body["temperature"], body["max_tokens"], body["top_p"]) == (0.7, 9, 0.8)
    assert "seed" not in body
    assert body["x"] == 1
    assert "extra_body" not in body
    assert "prompt_cache_key" not in body, "1c: it has raised costs"


@pytest.mark.parametrize(
    ("host", "model", "want"),
    [
        ("novita", "moonshotai/kimi-k2-instruct", 0.6),
        ("novita", "moonshotai/kimi-k2-thinking", 1.0),
        ("huggingface", "moonshotai/Kimi-K2.6", 1.0),
        ("moonshot", "kimi-k3", None),
        ("together", "moonshotai/Kimi-K3", None),
        ("vllm", "my-kimi-k2-instruct", 0.6),
        ("vllm", "something", None),
    ],
)
def test_1c_the_default_temperature_is_the_model_cards(
    host: str, model: str, want: float | None, sent: Any
) -> None:
    assert sent(host=host, model=model).get("temperature") == want
    assert "temperature" not in sent(host=host, model=model, temperature=None)


KIMI_API = {
    "1c range is 0 to 1": (
        "moonshot-v1-8k",
        {"temperature": 1.5},
        errors.BadInput,
        "0 to 1",
    ),
    "1c n is at most 5": ("moonshot-v1-8k", {"n": 6}, errors.NotSupported, "at most 5"),
    "1c no n at temperature 0": (
        "moonshot-v1-8k",
        {"n": 2, "temperature": 0.001},
        errors.NotSupported,
        "refuses n=2",
    ),
    "1c seed": ("moonshot-v1-8k", {"seed": 3}, errors.NotSupported, "seed"),
    "1c top_k": ("moonshot-v1-8k", {"top_k": 3}, errors.NotSupported, "top_k"),
    "1c logprobs": (
        "moonshot-v1-8k",
        {"logprobs": True},
        errors.NotSupported,
        "logprobs",
    ),
    "1c temperature is pinned": (
        "kimi-k3.1-pro",
        {"temperature": 0.6},
        errors.FixedTemperature,
        "pins temperature",
    ),
    "1c top_p is pinned": ("kimi-k3", {"top_p": 0.5}, errors.FixedTemperature, "top_p"),
    "1c n is pinned": ("kimi-k2.6", {"n": 2}, errors.FixedTemperature, "pins n"),
    "1c penalties are pinned": (
        "kimi-k3",
        {"presence_penalty": 1},
        errors.FixedTemperature,
        "presence_penalty",
    ),
    "1c effort and thinking at once": (
        "kimi-k3",
        {"reasoning_effort": "low", "thinking": {"type": "enabled"}},
        errors.NotSupported,
        "both given",
    ),
    "1c effort none": (
        "kimi-k3",
        {"reasoning_effort": "none"},
        errors.NotSupported,
        "none",
    ),
    "1c K3 always thinks": (
        "kimi-k3.1-pro",
        {"thinking": {"type": "disabled"}},
        errors.NotSupported,
        "always thinks",
    ),
    "1c K2.5 has no keep": (
        "kimi-k2.5",
        {"thinking": {"type": "enabled", "keep": "all"}},
        errors.NotSupported,
        "keep",
    ),
    "1c K2 refuses required": (
        "kimi-k2.6",
        {"tool_choice": "required", "tools": [ADD]},
        errors.NotSupported,
        "tool_choice='required'",
    ),
    "1c K3 ignores a named function": (
        "kimi-k3",
        {
            "tool_choice": {"type": "function", "function": {"name": "add"}},
            "tools": [ADD],
        },
        errors.NotSupported,
        "ignores a tool_choice",
    ),
    "1c no pictures from the net": (
        "kimi-k3",
        {"image": "https://example.org/a.png"},
        errors.NotSupported,
        "fetches no pictures",
    ),
    "1c more tokens than the context": (
        "moonshot-v1-8k",
        {"max_tokens": 9000},
        errors.BadInput,
        "8,192",
    ),
}


@pytest.mark.parametrize("name", KIMI_API)
def test_what_moonshot_refuses_is_refused_unsent(
    name: str, server: FaultServer
) -> None:
    model, params, kind, said = KIMI_API[name]
    client = Client("moonshot", base_url=server.url, api_key="k", model=model)
    with client, pytest.raises(kind) as caught:
        client.chat("hi", **params)
    assert said in str(caught.value)
    assert server.requests == []


def test_fixed_temperature_by_the_table() -> None:
    client = Client("moonshot", api_key="k", model="kimi-k2.6")
    with client, pytest.raises(errors.FixedTemperature) as caught:
        client.chat("hi", temperature=0.6)
    assert caught.value.allowed == 1.0
    with client, pytest.raises(errors.FixedTemperature) as caught:
        client.chat("hi", temperature=1.0, thinking={"type": "disabled"})
    assert caught.value.allowed == 0.6


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 1},
        {"temperature": 1.0, "top_p": 0.95, "n": 1, "presence_penalty": 0},
        {"reasoning_effort": "low"},
        {"tool_choice": "required", "tools": [ADD]},
        {"image": PNG},
        {"image": "ms://file-1"},
    ],
)
def test_what_moonshot_takes(params: Any, sent: Any) -> None:
    assert sent(host="moonshot", model="kimi-k3", **params)["model"] == "kimi-k3"


def test_1c_max_completion_tokens(sent: Any) -> None:
    body = sent(host="moonshot", model="kimi-k3", max_tokens=99)
    assert body["max_completion_tokens"] == 99
    assert "max_tokens" not in body
    assert sent(host="together", max_tokens=99)["max_tokens"] == 99


def test_1c_reasoning_goes_back_where_it_is_demanded(sent: Any) -> None:
    called = sent(TALK, host="moonshot")["messages"][1]
    assert called["reasoning_content"] == ""
    thought = [TALK[0], {**ASKED, "reasoning_content": "Hm."}, ANSWERED]
    assert sent(thought, host="moonshot")["messages"][1]["reasoning_content"] == "Hm."
    assert "reasoning_content" not in sent(TALK)["messages"][1]


def test_1c_no_blank_content_beside_calls_where_it_is_refused(sent: Any) -> None:
    assert "content" not in sent(TALK, host="moonshot")["messages"][1]
    said = [TALK[0], {**ASKED, "content": "Let me add."}, ANSWERED]
    assert sent(said, host="moonshot")["messages"][1]["content"] == "Let me add."
    bare = [TALK[0], {k: v for k, v in ASKED.items() if k != "content"}, ANSWERED]
    assert sent(bare)["messages"][1]["content"] == "", "vLLM wants the key"
    assert sent(TALK, host="together")["messages"][1]["content"] == ""


def test_1c_schema_marks_are_left_out(sent: Any) -> None:
    schema = {"$schema": "https://x", "type": "object", "properties": {}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = sent(response_format=wanted)["response_format"]
    assert body["json_schema"] == {
        "name": "a",
        "schema": {"type": "object", "properties": {}},
    }
    assert "$schema" in schema


def test_1c_partial_mode_keeps_its_prefix_and_its_blanks(
    server: FaultServer, both: Both
) -> None:
    server.play(sse(*text(" there", "."), chunk("stop"), DONE))
    talk = ["hi", {"role": "assistant", "content": "Hello", "partial": True}]
    reply = both.chat(server.url, talk)
    assert reply.text == " there."
    assert server.requests[0].json["messages"][1]["partial"] is True


def test_1c_k3_takes_tools_in_a_system_message(server: FaultServer, both: Both) -> None:
    leak = "<|tool_call_begin|>functions.add:0<|tool_call_argument_begin|>{}"
    leak += "<|tool_call_end|>"
    server.play(sse(*text(leak), chunk("stop"), DONE))
    system = {"role": "system", "tools": [ADD]}
    talk = [system, {"role": "user", "content": "hi"}]
    reply = both.chat(server.url, talk, client={"host": "sglang"})
    assert [c.name for c in reply.tool_calls] == ["add"]


def test_groq_gets_only_the_fields_it_knows(sent: Any) -> None:
    talk = [TALK[0], {**ASKED, "reasoning_content": "", "cache": 1}, ANSWERED]
    called, answered = sent(talk, host="groq", model="x")["messages"][1:]
    assert set(called) == {"role", "content", "tool_calls"}
    assert answered["content"] == "3"


# Ids of calls, T1, and their answers, T7.


def conversation(*ids: str) -> list[dict[str, Any]]:
    talk: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
    for id_ in ids:
        entry = ToolCall(id_, "add", "{}").to_dict()
        talk.append({"role": "assistant", "content": None, "tool_calls": [entry]})
        talk.append({"role": "tool", "tool_call_id": id_, "content": "1"})
    return talk


@pytest.mark.parametrize(
    "ids",
    [
        ("call_abc", "call_def"),
        ("serach:0", "add:0"),
        ("functions.add:0", "functions.add:0"),
        ("functions_add_0", "chatcmpl-tool-9"),
    ],
)
def test_t1_history_reads_as_k2_was_trained_on(ids: tuple[str, ...], sent: Any) -> None:
    messages = sent(conversation(*ids), host="vllm", model="kimi-k2")["messages"]
    calls = [m["tool_calls"][0]["id"] for m in messages if "tool_calls" in m]
    answers = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert calls == answers == ["functions.add:0", "functions.add:1"]


@pytest.mark.parametrize(
    ("host", "model"), [("moonshot", "kimi-k2.6"), ("vllm", "llama")]
)
def test_t1_elsewhere_ids_go_back_unchanged(host: str, model: str, sent: Any) -> None:
    messages = sent(conversation("call_abc"), host=host, model=model)["messages"]
    assert messages[2]["tool_call_id"] == "call_abc"


def test_t1_the_hosts_own_id_is_kept_on_the_value(
    server: FaultServer, both: Both
) -> None:
    entry = {"index": 0, "id": "call_x", "function": {"name": "add", "arguments": "{}"}}
    server.play(sse(chunk(tool_calls=[entry]), chunk("tool_calls"), DONE))
    reply = both.chat(server.url, conversation("call_a"), model="moonshotai/kimi-k2")
    (called,) = reply.tool_calls
    assert (called.id, called.host_id) == ("functions.add:1", "call_x")


def test_t7_answers_carry_the_name_and_text(sent: Any) -> None:
    assert sent(TALK)["messages"][2]["name"] == "add"
    odd = [*TALK[:2], {**ANSWERED, "content": {"sum": 3}}]
    assert sent(odd)["messages"][2]["content"] == '{"sum":3}'
    none = [*TALK[:2], {"role": "tool", "tool_call_id": "call_1"}]
    assert sent(none)["messages"][2]["content"] == ""


# Pictures.


def test_pictures(sent: Any, tmp_path: Any) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    pictures = [path, str(path), PNG, "https://example.org/a.png"]
    (message,) = sent("What is this?", image=pictures)["messages"]
    first, *parts = message["content"]
    assert first == {"type": "text", "text": "What is this?"}
    urls = [part["image_url"]["url"] for part in parts]
    assert urls[0] == urls[1] == "data:image/jpeg;base64,/9j/4A=="
    assert urls[2].startswith("data:image/png;base64,")
    assert urls[3] == "https://example.org/a.png"


# Hosts.


def test_every_profile_is_whole() -> None:
    for name, host in hosts.profiles().items():
        assert host.name == name
        assert host.title
        assert bool(host.key_variable) == bool(host.key_url)
        assert host.base_url.startswith("http") or host.stand_in
        for model in host.models:
            assert model.source
            assert model.as_of
            assert model.family


def test_the_order_of_choice() -> None:
    assert hosts.resolve(env={}).name == "local"
    assert hosts.resolve(env={"MOONSHOT_API_KEY": "k"}).name == "moonshot"
    both_set = {"MOONSHOT_API_KEY": "k", "TOGETHER_API_KEY": "k"}
    assert hosts.resolve(env=both_set).name == "together"
    named = {**both_set, "KIMIKIT_HOST": "novita"}
    assert hosts.resolve(env=named).name == "novita"
    assert hosts.resolve("vllm", env=named).name == "vllm"
    assert hosts.resolve(env={"TOGETHER_API_KEY": " "}).name == "local"
    anonymous = hosts.resolve(base_url="http://localhost:1/v1/", env=named)
    assert (anonymous.name, anonymous.base_url) == (
        "localhost:1",
        "http://localhost:1/v1",
    )


@pytest.mark.parametrize(
    ("host", "model"),
    [
        ("novita", "moonshotai/kimi-k2-instruct"),
        ("huggingface", "moonshotai/Kimi-K2-Instruct"),
        ("nvidia", "moonshotai/kimi-k2-instruct-0905"),
        ("openrouter", "moonshotai/kimi-k2"),
        ("together", "moonshotai/Kimi-K3.1-Pro"),
        ("moonshot", "kimi-k3.1-pro"),
        ("moonshot-cn", "kimi-k3.1-pro"),
        ("fireworks", "accounts/fireworks/models/kimi-k3p1-pro"),
        ("baseten", "moonshotai/Kimi-K3"),
        ("deepinfra", "moonshotai/Kimi-K3"),
        ("nebius", "moonshotai/Kimi-K3"),
        ("siliconflow", "moonshotai/Kimi-K3"),
        ("chutes", "moonshotai/Kimi-K3-TEE"),
        ("arcee", "moonshotai/kimi-k3"),
        ("doubleword", "moonshotai/Kimi-K3.1-Pro"),
        ("groq", ""),
        ("vllm", ""),
    ],
)
def test_the_default_model(host: str, model: str) -> None:
    """K2 Instruct where it is served, else the newest served, else the likeliest."""
    assert hosts.resolve(host).model == model
    assert hosts.resolve(host, model="x").model == "x"


def test_hosts_that_are_not_there() -> None:
    with pytest.raises(errors.UnknownHost, match="Did you mean 'together'"):
        Client("togehter")
    for model in ("moonshotai/Kimi-K2-Instruct", "kimi-k2.6"):
        with pytest.raises(errors.UnknownHost, match="looks like a model") as caught:
            Client(model)
        assert "Pass it as model= (in a race: models=)" in caught.value.remedy
    with pytest.raises(errors.MissingKey) as caught:
        Client("together")
    assert "TOGETHER_API_KEY" in caught.value.what
    assert "https://api.together.ai" in caught.value.remedy
    with pytest.raises(errors.BadInput, match="no address"):
        Client("local")
    odd = "http://xn--:1/v1", "http://xn--a.b", "http://é\u200b.com", "http://x/\ud800"
    for url in ("localhost:8000", "ftp://x", "http://", 3, *odd):
        with pytest.raises(errors.BadInput, match="not an HTTP address"):
            Client(base_url=url)


def test_an_unknown_name_with_an_address_is_a_host_of_that_name(
    server: FaultServer, both: Both
) -> None:
    """UnknownHost itself says to pass base_url=."""
    server.play(GOOD)
    reply = both.chat(server.url, client={"host": " my-box "})
    assert reply.host == "my-box"
    assert "my-box" in reply.footer()
    host = hosts.resolve("my-box", base_url=server.url)
    assert host.endpoints == hosts.PLAIN_ENDPOINTS
    assert host.key_variable == ""
    moved = hosts.resolve("Together ", base_url=server.url)
    assert (moved.name, moved.base_url) == ("together", server.url)
    assert hosts.resolve(" ", base_url=server.url).name == server.url[7:-3]


@pytest.mark.parametrize("rest", ["/v1?key=secret", "/v1#secret"])
@pytest.mark.parametrize("who", ["", "me:secret@"])
def test_a_key_is_no_part_of_an_address(who: str, rest: str) -> None:
    with pytest.raises(errors.BadInput, match="api_key=") as caught:
        Client(base_url=f"http://{who}localhost{rest}")
    assert "secret" not in str(caught.value)


def test_a_host_of_ones_own() -> None:
    mine = Host(name="mine", base_url="http://127.0.0.1:9/v1", model="a")
    with Client(mine) as client:
        assert client.host is not None
        assert repr(client) == "Client('mine', model='a')"
    with Client(
        mine, model="b", base_url="http://127.0.0.1:9/v2/chat/completions"
    ) as c:
        assert (c.host.model, c.host.base_url) == ("b", "http://127.0.0.1:9/v2")
