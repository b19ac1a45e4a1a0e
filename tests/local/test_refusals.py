"""What the local host refuses, each with an error in OpenAI's form."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from kimikit import local

HELLO = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "now"}}
CHAT, EMBED = "chat/completions", "embeddings"


@pytest.fixture(scope="module")
def http(local_host: local.Running) -> Any:
    headers = {"Authorization": f"Bearer {local_host.api_key}"}
    with httpx.Client(
        base_url=local_host.base_url, headers=headers, timeout=300
    ) as client:
        yield client


def chat(**options: Any) -> dict[str, Any]:
    return {"messages": HELLO, "max_tokens": 1, **options}


def allowed(*names: str, mode: str = "auto") -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        (CHAT, {}, None, "missing required field `messages`"),
        (CHAT, [1], None, "Expected `object`"),
        (CHAT, chat(messages=[]), "messages", "length >= 1"),
        (CHAT, chat(messages="hello"), "messages", "Expected `array`"),
        (CHAT, chat(messages=[{"role": "user"}]), "messages[0]", "needs content"),
        (CHAT, chat(messages=[{"role": "x", "content": "y"}]), None, "Invalid enum"),
        (CHAT, chat(messages=[{"role": "user", "content": 1}]), None, "Expected"),
        (
            CHAT,
            chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
            "messages[0].content[0]",
            "not image_url",
        ),
        (CHAT, chat(temperature=-0.1), "temperature", ">= 0"),
        (CHAT, chat(temperature=2.1), "temperature", "<= 2"),
        (CHAT, chat(temperature="warm"), "temperature", "Expected `float"),
        (CHAT, chat(max_tokens=0), "max_tokens", ">= 1"),
        (CHAT, chat(n=0), "n", ">= 1"),
        (CHAT, chat(n=17), "n", "<= 16"),
        (CHAT, chat(stream="yes"), "stream", "Expected `bool"),
        (CHAT, chat(response_format={"type": "xml"}), None, "Invalid enum"),
        (
            CHAT,
            chat(response_format={"type": "json_schema", "json_schema": {}}),
            "response_format",
            "json_schema.schema",
        ),
        (
            CHAT,
            chat(
                response_format={
                    "type": "json_schema",
                    "json_schema": {"schema": {"type": "zork"}},
                }
            ),
            None,
            "zork",
        ),
        (CHAT, chat(grammar="root ::= ("), None, "grammar"),
        (CHAT, chat(tools=[{"type": "builtin_function"}]), None, "function"),
        (CHAT, chat(tools=[TOOL, TOOL]), "tools", "same name"),
        (CHAT, chat(tool_choice="required"), "tool_choice", "no tools"),
        (CHAT, chat(tools=[TOOL], tool_choice="any"), "tool_choice", "any"),
        (
            CHAT,
            chat(
                tools=[TOOL],
                tool_choice={"type": "function", "function": {"name": "then"}},
            ),
            "tool_choice",
            "'then'",
        ),
        (CHAT, chat(model="wordllama-l2-supercat-256"), "model", "only embeds"),
        ("completions", {"prompt": ""}, "prompt", "length >= 1"),
        ("completions", {"prompt": ["a", 1]}, "prompt", "a list of texts"),
        ("completions", {"prompt": [[1], "a"]}, "prompt", "a list of texts"),
        ("completions", {"prompt": [[]]}, "prompt", "a list of texts"),
        ("completions", {"prompt": [1.5]}, None, "Expected"),
        ("completions", {"prompt": []}, "prompt", "length >= 1"),
        ("completions", {"prompt": ["a"] * 9, "n": 16}, "prompt", "at most 128"),
        ("completions", {"prompt": "a", "suffix": "b"}, "suffix", "not serve suffix"),
        ("completions", {"prompt": "a", "best_of": 3}, "best_of", "not serve best_of"),
        ("completions", {"prompt": "a", "echo": True, "logprobs": 1}, "echo", "echoed"),
        (CHAT, chat(modalities=["text", "audio"]), "modalities", "not serve"),
        (CHAT, chat(audio={"voice": "x"}), "audio", "not serve audio"),
        (CHAT, chat(web_search_options={}), "web_search_options", "not serve"),
        (CHAT, chat(functions=[TOOL["function"]] * 2), "tools", "same name"),
        (
            CHAT,
            chat(functions=[TOOL["function"]], tools=[TOOL]),
            "functions",
            "not both",
        ),
        (CHAT, chat(function_call={"name": "now"}), "function_call", "none are"),
        (
            CHAT,
            chat(functions=[TOOL["function"]], function_call={"name": "then"}),
            "tool_choice",
            "'then'",
        ),
        (
            CHAT,
            chat(tools=[TOOL], tool_choice=allowed("then")),
            "tool_choice",
            "'then'",
        ),
        (CHAT, chat(tool_choice=allowed("now")), "tool_choice", "'now'"),
        (CHAT, chat(tools=[TOOL], tool_choice=allowed()), None, "length >= 1"),
        ("completions", {"prompt": [99_999_999]}, None, "invalid tokens"),
        (CHAT, chat(stop=""), "stop", "length >= 1"),
        ("completions", {"prompt": "a", "stop": ["b", ""]}, "stop[1]", "length >= 1"),
        (EMBED, {"input": []}, "input", "length >= 1"),
        (EMBED, {"input": ["a", ""]}, "input[1]", "length >= 1"),
        (EMBED, {"input": "a", "dimensions": 7}, "dimensions", "(64, 128, 256)"),
        ("rerank", {"query": "a", "documents": []}, "documents", "length >= 1"),
        ("rerank", {"query": "a", "documents": [1]}, None, "Expected"),
        (
            "rerank",
            {"query": "a", "documents": [{"a": "b"}], "rank_fields": ["c"]},
            "rank_fields",
            "none of the fields",
        ),
    ],
)
def test_bad_requests_are_named(
    http: httpx.Client, path: str, body: Any, param: str | None, words: str
) -> None:
    answer = http.post(path, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert param is None or error["param"] == param


def test_what_is_not_json_is_refused(http: httpx.Client) -> None:
    for raw in (b"{bad", b"", b"\xff", b'{"x":' + b"[" * 100_000):
        answer = http.post(CHAT, content=raw)
        assert answer.status_code == 400
        assert "not JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_the_context_is_refused_as_such(
    http: httpx.Client, stream: bool
) -> None:
    long = [{"role": "user", "content": "word " * 9000}]
    error = http.post(CHAT, json=chat(messages=long, stream=stream)).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "8192" in error["message"]
    assert "90" in error["message"]


def test_a_tool_that_cannot_be_filled_in_is_refused(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "zork"}}}
    tool = {"type": "function", "function": {"name": "odd", "parameters": schema}}
    body = chat(tools=[tool], tool_choice="required")
    answer = http.post(CHAT, json=body)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert "odd" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [CHAT, "completions", EMBED, "rerank"])
def test_unknown_models_are_404_and_say_what_is_there(
    http: httpx.Client, path: str
) -> None:
    body = {
        "model": "moonshotai/Kimi-K2-Instruct",
        "messages": HELLO,
        "prompt": "a",
        "input": "a",
        "query": "a",
        "documents": ["a"],
    }
    answer = http.post(path, json=body)
    error = answer.json()["error"]
    assert answer.status_code == 404
    assert error["code"] == "model_not_found"
    assert "smollm2-135m-instruct" in error["message"]
    assert "wordllama-l2-supercat-256" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "images/generations", 404),
        ("GET", "nothing", 404),
        ("GET", CHAT, 405),
        ("DELETE", "models", 405),
    ],
)
def test_other_paths_and_methods_are_refused(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert "not among the endpoints" in answer.json()["error"]["message"]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}])
def test_without_the_key_nothing_is_answered(
    local_host: local.Running, header: dict[str, str]
) -> None:
    for path in ("models", "../health", CHAT):
        answer = httpx.post(f"{local_host.base_url}/{path}", headers=header)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert local_host.api_key not in answer.text
