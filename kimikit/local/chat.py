"""Answer a chat: by tool calls first, then from their results or from memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from kimikit.local.checks import (
    ChatRequest,
    Function,
    Message,
    NamedChoice,
    Refused,
    usage,
)
from kimikit.local.engine import Engine
from kimikit.local.needle import GATE, NO_CALL, Decision, Needle
from kimikit.local.relay import DONE, as_json, event, relay, whole

PATH = "/v1/chat/completions"

_RESULT_CHARACTERS = 2000
_OWN = {
    "model", "tools", "tool_choice", "parallel_tool_calls", "functions",
    "function_call",
}  # fmt: skip

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
    engine: Engine,
    needle: Needle,
    model_id: str,
    asked: ChatRequest,
    body: Mapping[str, Any],
) -> Response:
    """Answer ``POST /v1/chat/completions``, checked and as it came."""
    answering = asked.messages[-1].role == "tool"
    forced = asked.tool_choice not in (None, "auto", "none")
    if engine.calls_tools and asked.tools and not (forced or asked.functions):
        return await relay(engine, PATH, _with_tools(asked, body))
    if asked.tools and asked.tool_choice != "none" and (forced or not answering):
        decision = await _decide(engine, needle, asked, forced=forced)
        if decision.calls:
            return _called(asked, decision, model_id)
    kept = {key: value for key, value in body.items() if key not in _OWN}
    if answering:
        # At higher temperatures a model of this size makes figures up.
        kept |= {"messages": grounded(asked.messages), "temperature": 0}
    else:
        kept["messages"] = plain(asked.messages)
    return await relay(engine, PATH, kept)


def _with_tools(asked: ChatRequest, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body for a model that calls tools itself, by its own template.

    A call that is forced is not left to it: llama.cpp's grammar does not hold it.
    """
    kept = {key: value for key, value in body.items() if key not in _OWN}
    as_system = {"role": "system"}
    kept["messages"] = [
        message | (as_system if message["role"] == "developer" else {})
        for message in body["messages"]
    ]
    kept["tools"] = msgspec.to_builtins(asked.tools)
    kept["tool_choice"] = asked.tool_choice or "auto"
    if asked.parallel_tool_calls is not None:
        kept["parallel_tool_calls"] = asked.parallel_tool_calls
    return kept


async def _decide(
    engine: Engine, needle: Needle, asked: ChatRequest, *, forced: bool
) -> Decision:
    tools = [tool.function for tool in asked.tools or ()]
    if isinstance(asked.tool_choice, NamedChoice):
        wanted = asked.tool_choice.function.name
        tools = [tool for tool in tools if tool.name == wanted]
    query = next((m.text for m in reversed(asked.messages) if m.role == "user"), "")
    if forced and len(tools) == 1 and not tools[0].parameters:
        decision = NO_CALL  # there is nothing to decide, nor to fill in
    else:
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
    told = f"Write the arguments of {tool.name} as JSON."
    body = {
        "messages": [
            {"role": "system", "content": told},
            {"role": "user", "content": query},
        ],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
        "temperature": 0,
        "max_tokens": 512,
    }
    try:
        answer = await whole(engine.ask(PATH, body))
        text = answer["choices"][0]["message"]["content"]
        return {"name": tool.name, "arguments": msgspec.json.decode(text)}
    except (Refused, msgspec.DecodeError) as exc:  # not JSON where it grew too long
        msg = f"The local model cannot fill in the arguments of {tool.name}: {exc}."
        raise Refused(msg, param="tools") from exc


def _called(asked: ChatRequest, decision: Decision, model_id: str) -> Response:
    """Return the calls as a completion or as the chunks of one."""
    count = sum(len(message.tool_calls or ()) for message in asked.messages)
    calls = [
        {
            "index": index,
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
        "object": "chat.completion.chunk" if asked.stream else "chat.completion",
        "created": int(time.time()),
        "model": model_id,
        "system_fingerprint": "needle-3",
    }
    message: dict[str, Any] = {"role": "assistant", "content": None}
    reason = "tool_calls"
    if asked.functions:  # as it was before there were tools
        reason = "function_call"
    message[reason] = calls[0]["function"] if asked.functions else calls
    steps: list[dict[str, Any]] = [{"message": message, "finish_reason": reason}]
    if asked.stream:
        steps = [
            {"delta": message, "finish_reason": None},
            {"delta": {}, "finish_reason": reason},
        ]
    choices = [
        {"index": index, **step} for index in range(asked.n or 1) for step in steps
    ]
    if not asked.stream:
        return as_json(head | {"choices": choices, "usage": took})
    parts: list[dict[str, Any]] = [{"choices": [choice]} for choice in choices]
    if asked.stream_options and asked.stream_options.include_usage:
        parts.append({"choices": [], "usage": took})
    # They were all made at once, so they are sent at once.
    events = [event(head | part) for part in parts]
    return Response(b"".join([*events, DONE]), media_type="text/event-stream")


def plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return a history that a model without tools understands."""
    results = _results(messages)
    turns = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            text = f"Tool results:\n{results[index]}"
            turns.append({"role": "user", "content": text})
        elif message.content is not None or not message.tool_calls:
            role = "system" if message.role == "developer" else message.role
            turns.append({"role": role, "content": message.text})
    return turns


def grounded(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the few-shot prompt that makes SmolLM2 answer from the tool results."""
    roles = [message.role for message in messages]
    start = max((i for i, role in enumerate(roles) if role == "user"), default=-1)
    question = messages[start].text if start >= 0 else ""
    results = [text for index, text in _results(messages).items() if index > start]
    failed = any(": Error" in result for result in results)
    examples = [*_EXAMPLES[:2], _ERROR_EXAMPLE] if failed else _EXAMPLES
    turns = [{"role": "system", "content": _INSTRUCTION}]
    for told, answer in examples:
        turns.append({"role": "user", "content": told})
        turns.append({"role": "assistant", "content": answer})
    told = "\n".join([f"Question: {question}", "Tool results:", *results])
    return [*turns, {"role": "user", "content": told}]


def _results(messages: Sequence[Message]) -> dict[int, str]:
    """Return tool results as ``name(arguments): result``, by their places."""
    calls: dict[str | None, str] = {}
    results = {}
    for index, message in enumerate(messages):
        for call in message.tool_calls or ():
            calls[call.id] = f"{call.function.name}({_shown(call.function.arguments)})"
        if message.role == "tool":
            text = message.text[:_RESULT_CHARACTERS]
            results[index] = f"{calls.get(message.tool_call_id, 'tool')}: {text}"
    return results


def _shown(arguments: str) -> str:
    """Return a call's arguments as in code, nothing where they are no JSON object."""
    try:
        given = msgspec.json.decode(arguments, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return ""
    return ", ".join(f"{name}={bytes(value).decode()}" for name, value in given.items())
