"""What real clients send beside the plain: lists of prompts, functions of old, echo."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.weather import FUNCTION, PARIS, TOOL, user

from kimikit import local
from kimikit.local import models, needle
from kimikit.local.checks import Function

CLOCK = {"name": "now", "description": "Tell the time of the day"}


@pytest.fixture
def http(local_host: local.Running) -> Any:
    headers = {"Authorization": f"Bearer {local_host.api_key}"}
    with httpx.Client(
        base_url=local_host.base_url, headers=headers, timeout=300
    ) as client:
        yield client


def ask(http: httpx.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def streamed(http: httpx.Client, path: str, **body: Any) -> list[Any]:
    answer = http.post(path, json={**body, "stream": True})
    lines = [x.removeprefix("data: ") for x in answer.text.splitlines() if x]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_several_prompts_have_their_answers_in_order(http: httpx.Client) -> None:
    asked: dict[str, Any] = {"max_tokens": 2, "temperature": 0}
    both = ask(http, "completions", prompt=["Once upon", "Two and"], **asked)
    alone = [
        ask(http, "completions", prompt=p, **asked) for p in ("Once upon", "Two and")
    ]
    assert [c["index"] for c in both["choices"]] == [0, 1]
    assert [c["text"] for c in both["choices"]] == [
        one["choices"][0]["text"] for one in alone
    ]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert both["usage"][name] == sum(one["usage"][name] for one in alone)


def test_prompts_of_token_ids_and_several_answers(http: httpx.Client) -> None:
    one = ask(http, "completions", prompt=[[504, 260], [504]], n=2, max_tokens=1)
    assert [c["index"] for c in one["choices"]] == [0, 1, 2, 3]
    assert one["usage"]["completion_tokens"] <= 4


def test_several_prompts_stream_side_by_side(http: httpx.Client) -> None:
    usage = {"include_usage": True}
    steps = streamed(
        http, "completions", prompt=["A", "B"], max_tokens=2, stream_options=usage
    )
    assert {c["index"] for s in steps for c in s["choices"]} == {0, 1}
    assert steps[-1]["usage"]["prompt_tokens"] >= 2


@pytest.mark.parametrize(
    "prompt", ["Once", ["Once", "Twice"], [504, 260], [[504], [260]]]
)
def test_an_echo_begins_with_the_prompt(http: httpx.Client, prompt: Any) -> None:
    asked = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
    plain = ask(http, "completions", **asked)["choices"]
    echoed = ask(http, "completions", echo=True, **asked)["choices"]
    for one, other in zip(plain, echoed, strict=True):
        assert other["text"].endswith(one["text"])
        assert len(other["text"]) > len(one["text"])
    if prompt == "Once":
        assert echoed[0]["text"].startswith("Once")
    steps = streamed(http, "completions", echo=True, **asked)
    texts = [""] * len(plain)
    for step in steps:
        for choice in step["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in echoed]


def test_a_model_by_its_name(http: httpx.Client, local_host: local.Running) -> None:
    for name in (local_host.model, "wordllama-l2-supercat-256"):
        assert http.get(f"models/{name}").json()["id"] == name
    answer = http.get("models/moonshotai/Kimi-K2-Instruct")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    with openai.OpenAI(
        base_url=local_host.base_url, api_key=local_host.api_key
    ) as client:
        assert client.models.retrieve(local_host.model).id == local_host.model


def allowed(mode: str, *names: str, flat: bool = False) -> dict[str, Any]:
    tools: list[dict[str, Any]] = [
        {"type": "function", "name": n}
        if flat
        else {"type": "function", "function": {"name": n}}
        for n in names
    ]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize("flat", [False, True])
def test_only_allowed_tools_are_called(http: httpx.Client, flat: bool) -> None:
    tools = [TOOL, {"type": "function", "function": CLOCK}]

    def called(choice: Any) -> list[str]:
        answer = ask(
            http,
            "chat/completions",
            messages=PARIS,
            tools=tools,
            tool_choice=choice,
            max_tokens=4,
        )
        message = answer["choices"][0]["message"]
        return [c["function"]["name"] for c in message.get("tool_calls") or ()]

    assert called(allowed("auto", "get_weather", flat=flat)) == ["get_weather"]
    assert called(allowed("required", "now", flat=flat)) == ["now"]
    assert "get_weather" not in called(allowed("auto", "now", flat=flat))


@pytest.mark.parametrize("choice", [None, "auto", {"name": "get_weather"}])
def test_functions_of_old_are_called_as_they_were(
    http: httpx.Client, choice: Any
) -> None:
    asked = {"messages": PARIS, "functions": [FUNCTION], "max_tokens": 8}
    if choice is not None:
        asked["function_call"] = choice
    if isinstance(choice, dict):
        asked["functions"].insert(0, CLOCK)
    first = ask(http, "chat/completions", **asked)["choices"][0]
    call = first["message"]["function_call"]
    assert (first["finish_reason"], call["name"]) == ("function_call", "get_weather")
    assert "Paris" in call["arguments"]
    assert "tool_calls" not in first["message"]
    result = {"role": "function", "name": "get_weather", "content": "sunny, 21 degrees"}
    asked["messages"] = [*PARIS, first["message"], result]
    asked.pop("function_call", None)
    answer = ask(http, "chat/completions", **asked, stop="\n")["choices"][0]
    assert "sunny" in answer["message"]["content"].lower()
    steps = streamed(
        http, "chat/completions", messages=PARIS, functions=[FUNCTION], max_tokens=8
    )
    assert steps[0]["choices"][0]["delta"]["function_call"]["name"] == "get_weather"
    assert steps[-1]["choices"][0]["finish_reason"] == "function_call"


def test_functions_may_be_off(http: httpx.Client) -> None:
    answer = ask(
        http,
        "chat/completions",
        messages=PARIS,
        functions=[FUNCTION],
        function_call="none",
        max_tokens=4,
    )
    assert answer["choices"][0]["message"]["content"]


PHRASES = {"Погода?": "auto", "Paris…": "required", "प?": "required", "🙂": "auto"}
"""Needle reads some and panics at others, of two, three and four bytes a letter."""


@pytest.mark.parametrize("question", PHRASES)
def test_a_question_in_any_letters_is_answered(
    http: httpx.Client, question: str
) -> None:
    answer = ask(
        http,
        "chat/completions",
        messages=user(question),
        tools=[TOOL],
        tool_choice=PHRASES[question],
        max_tokens=8,
    )
    message = answer["choices"][0]["message"]
    assert message.get("tool_calls") or message["content"]


NAMES = ["fïeld", "город", "🧑🏾\u200d🤝\u200d🧑", " 😀field", "field€"]
"""Needle reads each as ``field_0``, so it is asked once."""


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_may_have_any_name(http: httpx.Client, name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}}}
    function = FUNCTION | {"parameters": schema | {"required": [name]}}
    answer = ask(
        http,
        "chat/completions",
        messages=PARIS,
        tools=[{"type": "function", "function": function}],
        tool_choice="required",
        max_tokens=8,
    )
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {name}


def test_objects_are_ranked_by_what_they_say(http: httpx.Client) -> None:
    documents: list[Any] = [
        {"title": "Cooking", "text": "How to boil an egg"},
        {"title": "Llamas", "text": "Llamas are animals of the Andes"},
        "A text about rivers",
    ]
    asked: dict[str, Any] = {"query": "animals like llamas", "documents": documents}
    best = ask(http, "rerank", **asked)["results"][0]
    assert (best["index"], best["document"]) == (1, documents[1])
    documents.pop()
    bare = ask(http, "rerank", rank_fields=["title"], return_documents=False, **asked)
    assert "document" not in bare["results"][0]
    whole = [{"a": "boil eggs"}, {"b": {"c": "llamas are animals"}}]
    assert (
        ask(http, "rerank", **(asked | {"documents": whole}))["results"][0]["index"]
        == 1
    )


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bearer  "])
def test_the_scheme_of_the_key_in_any_case(
    local_host: local.Running, scheme: str
) -> None:
    url = f"{local_host.base_url}/models"
    given = {"authorization": f"{scheme} {local_host.api_key}"}
    assert httpx.get(url, headers=given).status_code == 200
    for wrong in (f"{scheme} x", f"Basic {local_host.api_key}", local_host.api_key):
        answer = httpx.get(url, headers={"authorization": wrong})
        assert answer.status_code == 401
        assert answer.headers["connection"] == "close"


def test_what_makes_needle_panic_is_no_call_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """No input is known that does so for ever, so another worker stands in for it."""
    worker = tmp_path / "needle_worker.py"
    worker.write_text("import os; os.write(2, b'panicked at x'); os.abort()")
    monkeypatch.setattr(needle, "__file__", str(tmp_path / "needle.py"))
    asked = needle.Needle(models.CALLS)
    with caplog.at_level(logging.WARNING, "kimikit.local"):
        decision = asyncio.run(asked.decide("q", [Function("f")], score=True))
    assert decision.calls == []
    assert "panicked at x" in caplog.text
