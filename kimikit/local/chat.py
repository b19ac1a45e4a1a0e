"""The way of a chat: tool calls first, then an answer from results or from memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kimikit.local.checks import (
    ChatRequest,
    Function,
    Message,
    NamedChoice,
    Refused,
    as_json,
    usage,
)
from kimikit.local.engine import Engine
from kimikit.local.needle import GATE, Decision, Needle
from kimikit.local.relay import DONE, event, relay, while_connected

PATH = "/v1/chat/completions"

DEFAULT_TOKENS = 1024
"""Length of an answer if none is asked for: a small model may never come to an end."""

_RESULT_CHARACTERS = 2000
_OWN = {"tools", "tool_choice", "parallel_tool_calls", "n", "model", "messages"}

_INSTRUCTION = "Answer the question in one sentence from the tool results."
_EXAMPLES = (
    (
        "Question: Who painted the Mona Lisa?\nTool results:\n"
        'search(query="Mona Lisa"): '
        '[{"title": "Mona Lisa", "artist": "Leonardo da Vinci", "year": 1503}]',
        "Leonardo da Vinci painted the Mona Lisa in 1503.",
    ),
    (
        "Question: Which is taller, the Eiffel Tower or Big Ben?\nTool results:\n"
        'get_height(name="Eiffel Tower"): {"metres": 330}\n'
        'get_height(name="Big Ben"): {"metres": 96}',
        "The Eiffel Tower is taller: it has 330 metres and Big Ben has 96 metres.",
    ),
    (
        "Question: What is the weather like in Rome?\nTool results:\n"
        'get_weather(city="Rome"): '
        '{"city": "Rome", "temp": 21, "unit": "celsius", "sky": "cloudy"}',
        "It is cloudy in Rome, at 21 degrees celsius.",
    ),
)
_ERROR_EXAMPLE = (
    "Question: How many people live in Narnia?\nTool results:\n"
    'get_population(place="Narnia"): Error: unknown place',
    "The tool failed with the error: unknown place.",
)
# Only shown where a result is an error: with it in sight, SmolLM2 calls everything
# unknown. Order and wording were chosen by 14 questions with 23 facts to repeat.


async def chat(
    request: Request,
    engine: Engine,
    needle: Needle,
    asked: ChatRequest,
    raw: Mapping[str, Any],
    model_id: str,
) -> Response:
    """Answer ``POST /v1/chat/completions``."""
    answering = asked.messages[-1].role == "tool"
    forced = asked.tool_choice not in (None, "auto", "none")
    if asked.tools and asked.tool_choice != "none" and (forced or not answering):
        work = _decide(engine, needle, asked, forced=forced)
        decision = await while_connected(request, work)
        if decision.calls:
            return _calls(asked, decision, model_id)
    body = {
        key: value
        for key, value in raw.items()
        if value is not None and key not in _OWN
    }
    if "max_tokens" not in body and "max_completion_tokens" not in body:
        body["max_tokens"] = DEFAULT_TOKENS
    if answering:
        # At higher temperatures a model of this size makes figures up.
        body |= {"messages": grounded(asked.messages), "temperature": 0}
    else:
        body["messages"] = plain(asked.messages)
    return await relay(request, engine, PATH, repeated(body, asked.n))


def repeated(body: dict[str, Any], n: int | None) -> list[dict[str, Any]]:
    """Return a body for each of ``n`` answers, each with a seed of its own."""
    seed = body.get("seed")
    if seed is None:
        return [body] * (n or 1)
    return [body | {"seed": seed + index} for index in range(n or 1)]


async def _decide(
    engine: Engine, needle: Needle, asked: ChatRequest, *, forced: bool
) -> Decision:
    tools = [tool.function for tool in asked.tools or ()]
    if isinstance(asked.tool_choice, NamedChoice):
        wanted = asked.tool_choice.function.name
        tools = [tool for tool in tools if tool.name == wanted]
    query = next((m.text for m in reversed(asked.messages) if m.role == "user"), "")
    decision = await needle.decide(query, tools, score=not forced)
    names = {tool.name for tool in tools}
    calls = [call for call in decision.calls if call.get("name") in names]
    if not forced and decision.confidence < GATE:
        calls = []
    if forced and not calls:
        calls = [await _filled(engine, query, tools[0])]
    if asked.parallel_tool_calls is False:
        calls = calls[:1]
    return msgspec.structs.replace(decision, calls=calls)


async def _filled(engine: Engine, query: str, tool: Function) -> dict[str, Any]:
    """Return a call of ``tool`` whose arguments SmolLM2 writes under its grammar."""
    schema = tool.parameters or {}
    if not schema.get("properties"):
        return {"name": tool.name, "arguments": {}}
    body = {
        "messages": [
            {
                "role": "system",
                "content": f"Write the arguments of {tool.name} as JSON.",
            },
            {"role": "user", "content": query},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "temperature": 0,
        "max_tokens": 512,
    }
    async with engine.post(PATH, body) as answer:
        said = msgspec.json.decode(await answer.read())
    try:
        text = said["choices"][0]["message"]["content"]
        return {"name": tool.name, "arguments": msgspec.json.decode(text)}
    except (KeyError, msgspec.DecodeError) as exc:
        why = said.get("error", {}).get("message", "the arguments came out too long")
        msg = f"The local model cannot fill in the arguments of {tool.name}: {why}."
        raise Refused(msg, param="tools") from exc


def _calls(asked: ChatRequest, decision: Decision, model_id: str) -> Response:
    """Return the calls as a completion or as the chunks of one."""
    count = sum(len(message.tool_calls or ()) for message in asked.messages)
    calls = [
        {
            "id": f"functions.{call['name']}:{count + index}",
            "type": "function",
            "function": {
                "name": call["name"],
                "arguments": msgspec.json.encode(call.get("arguments") or {}).decode(),
            },
        }
        for index, call in enumerate(decision.calls)
    ]
    took = usage(decision.prompt_tokens, decision.completion_tokens)
    head = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "created": int(time.time()),
        "model": model_id,
        "system_fingerprint": "needle-3",
    }
    places = range(asked.n or 1)
    if not asked.stream:
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        choices = [
            {"index": place, "message": message, "finish_reason": "tool_calls"}
            for place in places
        ]
        whole = {"object": "chat.completion", "choices": choices, "usage": took}
        return as_json(head | whole)
    head["object"] = "chat.completion.chunk"
    events = [
        event(head | {"choices": [{"index": place, **part}]})
        for place in places
        for part in _parts(calls)
    ]
    if asked.stream_options and asked.stream_options.include_usage:
        events.append(event(head | {"choices": [], "usage": took}))
    # They were all made at once, so they are sent at once.
    return Response(b"".join([*events, DONE]), media_type="text/event-stream")


def _parts(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps in which a choice with ``calls`` streams."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index, call in enumerate(calls):
        function = call["function"]
        opened = call | {"index": index, "function": function | {"arguments": ""}}
        rest = {"index": index, "function": {"arguments": function["arguments"]}}
        deltas += [{"tool_calls": [opened]}, {"tool_calls": [rest]}]
    parts = [{"delta": delta, "finish_reason": None} for delta in deltas]
    return [*parts, {"delta": {}, "finish_reason": "tool_calls"}]


def plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return a history that a model without tools understands."""
    out = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            text = _result(messages[:index], message)
            out.append({"role": "user", "content": f"Tool results:\n{text}"})
        elif message.content is not None or not message.tool_calls:
            role = "system" if message.role == "developer" else message.role
            out.append({"role": role, "content": message.text})
    return out


def grounded(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the few-shot prompt that makes SmolLM2 answer from the tool results."""
    asked = [i for i, message in enumerate(messages) if message.role == "user"]
    start = asked[-1] if asked else 0
    results = [
        _result(messages[:index], message)
        for index, message in enumerate(messages)
        if index > start and message.role == "tool"
    ]
    question = messages[start].text if asked else ""
    failed = any(": Error" in result for result in results)
    examples = [*_EXAMPLES[:2], _ERROR_EXAMPLE] if failed else _EXAMPLES
    turns = [{"role": "system", "content": _INSTRUCTION}]
    for told, answer in examples:
        turns.append({"role": "user", "content": told})
        turns.append({"role": "assistant", "content": answer})
    told = "\n".join([f"Question: {question}", "Tool results:", *results])
    return [*turns, {"role": "user", "content": told}]


def _result(before: Sequence[Message], message: Message) -> str:
    """Return a tool's result as ``name(arguments): result``."""
    text = message.text[:_RESULT_CHARACTERS]
    for earlier in reversed(before):
        for call in earlier.tool_calls or ():
            if call.id == message.tool_call_id:
                try:
                    given = msgspec.json.decode(call.function.arguments)
                except msgspec.DecodeError:
                    given = None
                shown = ", ".join(
                    f"{key}={msgspec.json.encode(value).decode()}"
                    for key, value in (given.items() if isinstance(given, dict) else ())
                )
                return f"{call.function.name}({shown}): {text}"
    return f"tool: {text}"
