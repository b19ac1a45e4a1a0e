"""A server that was given without a model: its only one is taken, several are named."""

from __future__ import annotations

from typing import Any

import pytest
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, plain, sse

from kimikit import AuthenticationFailed, BadInput, ConnectionFailed, Kimi
from kimikit.wire import hosts

OK = sse(*text("ok"), chunk("stop"), DONE)


def listed(*names: str) -> bytes:
    return plain({"object": "list", "data": [{"id": name} for name in names]})


@pytest.fixture
def server() -> Any:
    with FaultServer() as server:
        yield server


def test_the_only_model_is_taken_once(server: FaultServer) -> None:
    for answer in (listed("kimi-k2"), OK, OK):
        server.play(answer)
    kimi = Kimi(base_url=server.url)
    kimi.chat("Hi")
    kimi.chat("Again")
    assert kimi.host.model == "kimi-k2"
    assert [request.method for request in server.requests] == ["GET", "POST", "POST"]
    assert server.requests[1].json["model"] == "kimi-k2"
    assert kimi.ledger.calls()[0].model == "kimi-k2"


def test_a_sweep_takes_it_too(server: FaultServer) -> None:
    for answer in (listed("m"), OK):
        server.play(answer)
    kimi = Kimi(base_url=server.url)
    sweep = kimi.sweep("Hi", temperature=[0, 1], repeats=1, progress=False)
    assert [reply.model for reply in sweep.replies] == ["m", "m"]
    assert [r.method for r in server.requests].count("GET") == 1


def test_who_names_a_model_asks_for_no_list(server: FaultServer) -> None:
    server.play(OK)
    kimi = Kimi("vllm", base_url=server.url)
    kimi.sweep("Hi", model=["a", "b"], repeats=1, progress=False)
    kimi.map(["Hi"], model="a", progress=False)
    kimi.race("Hi", models=["a", "b"], show=False)
    assert {r.method for r in server.requests} == {"POST"}


def test_another_host_is_asked_for_its_list_once(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.play(listed("m"))
    server.play(OK)
    address = server.url.removeprefix("http://").removesuffix("/v1")
    monkeypatch.setenv("OLLAMA_HOST", address)
    kimi = Kimi("vllm", base_url="http://127.0.0.1:9/v1", model="not asked")
    grid = {"temperature": [0, 1, 2], "repeats": 4, "concurrency": 12}
    sweep = kimi.sweep("Hi", host="ollama", progress=False, **grid)
    assert len(sweep.replies) == 12
    assert [r.method for r in server.requests].count("GET") == 1


def test_several_are_named(server: FaultServer) -> None:
    server.play(listed(*(f"model-{n}" for n in range(30))))
    kimi = Kimi("ollama", base_url=server.url)
    with pytest.raises(
        BadInput, match=r"30 models.*model-0, model-1.*and 20 more.*model="
    ):
        kimi.chat("Hi")
    server.play(OK)
    assert kimi.chat("Hi", model="model-3").text == "ok"


def test_none_says_how_to_get_one(server: FaultServer) -> None:
    server.play(listed())
    with pytest.raises(BadInput, match="lists no model"):
        Kimi("ollama", base_url=server.url).chat("Hi")


def test_a_server_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    kimi = Kimi("ollama", max_retries=0)
    with pytest.raises(ConnectionFailed, match=r"Start the server.*127\.0\.0\.1:9"):
        kimi.chat("Hi")


@pytest.mark.parametrize(
    "ask",
    [
        lambda kimi: kimi.chat("Hi"),
        lambda kimi: kimi.sweep("Hi", temperature=[0], repeats=1, progress=False),
        lambda kimi: kimi.map(["Hi"], progress=False),
    ],
    ids=["chat", "sweep", "map"],
)
def test_all_work_says_what_is_wrong_before_it_asks(
    ask: Any, server: FaultServer
) -> None:
    server.play(listed("one", "two"))
    with pytest.raises(BadInput, match=r"2 models and none is chosen: one, two"):
        ask(Kimi(base_url=server.url))
    server.play(plain({"error": {"message": "Invalid key"}}, status=401))
    with pytest.raises(AuthenticationFailed):
        ask(Kimi(base_url=server.url, api_key="wrong"))
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize(
    "message",
    ["Missing scopes: api.model.read", "This key is not allowed to list models"],
)
def test_a_key_that_may_not_list_models_is_not_called_wrong(
    message: str, server: FaultServer
) -> None:
    server.play(plain({"error": {"message": message}}, status=403))
    kimi = Kimi(base_url=server.url, api_key="k")
    with pytest.raises(BadInput, match=r"No model is named.*Pass model="):
        kimi.chat("Hi")
    server.play(OK)
    assert kimi.chat("Hi", model="m").text == "ok"


@pytest.mark.parametrize("name", ["ollama", "llamacpp"])
def test_a_running_server_is_found(
    name: str, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"id": "smollm2:135m", "object": "model", "created": 1764400000}
    shapes = {
        "ollama": {"object": "list", "data": [{**entry, "owned_by": "library"}]},
        "llamacpp": {
            "models": [{"name": "smollm2:135m", "type": "model", "capabilities": []}],
            "object": "list",
            "data": [{**entry, "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192}}],
        },
    }
    server.play(plain(shapes[name]))
    server.play(OK)
    address = server.url.removeprefix("http://").removesuffix("/v1")
    if name == "ollama":
        monkeypatch.setenv("OLLAMA_HOST", address)
    else:
        monkeypatch.setenv("LLAMA_ARG_PORT", address.rpartition(":")[2])
    kimi = Kimi(name)
    assert kimi.chat("Hi").host == name
    assert server.requests[1].json["model"] == kimi.host.model == "smollm2:135m"


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", "http://localhost:11434/v1"),
        ("10.0.0.5", "http://10.0.0.5:11434/v1"),
        ("0.0.0.0:1234", "http://127.0.0.1:1234/v1"),
        ("http://box:80/", "http://box:80/v1"),
        ("https://box", "https://box:443/v1"),
        ("::1", "http://localhost:11434/v1"),
        ("what is this", "http://localhost:11434/v1"),
    ],
)
def test_the_variable_of_ollama(
    given: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert hosts.resolve("ollama").base_url == address
    assert hosts.resolve("ollama", base_url="http://x/v1").base_url == "http://x/v1"
