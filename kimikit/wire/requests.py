"""Build requests: checked before anything is sent, shaped for the host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kimikit.errors import BadInput, BadTool
from kimikit.json_values import check_count, is_within, plain
from kimikit.key_shapes import is_key
from kimikit.params import COMPLETION, refuse_unknown
from kimikit.secrets import encoded
from kimikit.types import Host, Message, Reply
from kimikit.wire import dialects, features, thinking
from kimikit.wire.coerce import as_dict
from kimikit.wire.hosts import model_facts
from kimikit.wire.media import image_kind as image_kind  # as in 0.3.0
from kimikit.wire.media import image_part
from kimikit.wire.media import image_url as image_url  # as in 0.3.0
from kimikit.wire.param_types import refuse_other_types

ROLES = ("system", "developer", "user", "assistant", "tool")
MOST_TOOLS = 128
_ASK = "Pass a question as text, or a list of messages such as {'role': 'user', ...}."


def turns_of(messages: Any) -> list[dict[str, Any]]:
    """Return ``messages`` of any accepted form as dicts of their own.

    Raises:
        BadInput: If there is none, or a type or a role is wrong.
    """
    single = isinstance(messages, str | Mapping | Message | Reply)
    if not single and not isinstance(messages, Sequence):
        raise BadInput(f"messages is of type {type(messages).__name__}.", _ASK)
    listed = [_as_dict(m) for m in ([messages] if single else messages)]
    if not listed:
        raise BadInput("messages is an empty list.", _ASK)
    return listed


def as_messages(
    messages: Any, *, system: str | None = None, image: Any = None
) -> list[dict[str, Any]]:
    """Return ``messages`` of any accepted form as dicts of their own, checked.

    Raises:
        BadInput: If the type, a role, the order or an answer to a call is wrong.
    """
    listed = turns_of(messages)
    if system is not None:
        if not isinstance(system, str):
            raise BadInput(f"system is of type {type(system).__name__}.", "Pass text.")
        if listed[0]["role"] in ("system", "developer"):
            raise BadInput(
                "system= was given and the messages begin with a system message.",
                "Leave one of the two out.",
            )
        listed.insert(0, {"role": "system", "content": system})
    if image is not None:
        attach(listed, image)
    _check_calls(listed)
    last = listed[-1]
    content = last.get("content")
    blank = isinstance(content, str) and not content.strip()
    if last["role"] == "user" and (blank or not content):
        raise BadInput("The prompt is empty.", _ASK)
    return listed


def begins_with_system(messages: Any) -> bool:
    """Tell whether a conversation has a system message of its own."""
    first = messages[0] if isinstance(messages, list | tuple) and messages else messages
    role = first.get("role") if isinstance(first, Mapping) else None
    return getattr(first, "role", role) in ("system", "developer")


def _as_dict(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        given = {"role": "user", "content": given}
    elif isinstance(given, Message):
        given = given.to_dict()
    elif isinstance(given, Reply):
        given = given.message
    if not isinstance(given, Mapping):
        raise BadInput(
            f"A message is of type {type(given).__name__}: {given!r:.80}.", _ASK
        )
    message: dict[str, Any] = dict(given)
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        raise BadInput(
            f"A message has the role {role!r}.", f"Use one of {', '.join(ROLES)}."
        )
    if "tools" in message:
        return _declaration(message)
    if role == "tool" and not isinstance(content, str | list):
        # Hosts want the text of a result, and want the field to be there.
        message["content"] = (
            "" if content is None else _json(content, "a tool's result")
        )
    elif content is not None and not isinstance(content, str | list):
        raise BadInput(f"A {role} message holds {type(content).__name__}.", _ASK)
    return message


def _declaration(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message that declares tools; it holds nothing else."""
    tools = tool_schemas(message["tools"])
    if message["role"] != "system" or message.get("content") or not tools:
        raise BadInput(
            "A message declares tools, and is no system message of nothing but tools.",
            "Make it with kimikit.tools.declare(...).",
        )
    return {"role": "system", "tools": tools}


def _check_calls(messages: list[dict[str, Any]]) -> None:
    """Hold every call to one answer, before anything else is said."""
    waiting: dict[str, str] = {}
    for message in messages:
        if message["role"] == "tool":
            id_ = message.get("tool_call_id")
            if id_ not in waiting:
                raise BadInput(
                    f"A tool message answers {id_!r}, which no call before it asked.",
                    "Answer each call of an assistant message exactly once, by its id.",
                )
            message.setdefault("name", waiting.pop(id_))
            continue
        if waiting:
            break
        try:
            calls = message.get("tool_calls") or []
            waiting = {call["id"]: call["function"]["name"] for call in calls}
        except (TypeError, LookupError) as exc:
            raise BadInput(
                f"tool_calls of a message is {message['tool_calls']!r:.80}.",
                "Append reply.message to a history; it has the right form.",
            ) from exc
    if waiting:
        raise BadInput(
            f"The calls {', '.join(waiting)} have no answer.",
            "Add a tool message for each, with content 'cancelled' if it did not run.",
        )


def attach(messages: list[dict[str, Any]], image: Any) -> None:
    """Put a picture, or a list of them, into the last question of messages.

    Raises:
        BadInput: If there is no question.
    """
    asked, said = last_question(messages, "image")
    images = image if isinstance(image, list | tuple) else [image]
    asked["content"] = [*said, *map(image_part, images)]


def last_question(
    messages: list[dict[str, Any]], name: str
) -> tuple[dict[str, Any], list[Any]]:
    """Return the last question, to which something is given, and its own parts.

    Raises:
        BadInput: If there is no question.
    """
    asked = next((each for each in reversed(messages) if each["role"] == "user"), None)
    if asked is None:
        raise BadInput(f"{name}= was given and no user message to show it in.", _ASK)
    said = asked.get("content") or ""
    return asked, said if isinstance(said, list) else [{"type": "text", "text": said}]


def with_parts(messages: Any, parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with parts before the last question, as text where all are.

    Raises:
        BadInput: If there is no question.
    """
    chat = as_messages(messages)
    asked, said = last_question(chat, "file")
    asked["content"] = every = [*parts, *said]
    if all(part.get("type") == "text" for part in every):
        asked["content"] = "\n\n".join(part["text"] for part in every)
    return chat


def as_text(name: str, value: Any) -> str:
    """Return the argument ``name``, which must be text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{name} is {value!r:.40}.", "Pass text that is not empty.")
    return value


def tool_schemas(tools: Iterable[Any] | None) -> list[dict[str, Any]]:
    """Return the request's ``tools``; each is a dict or has one as ``.schema``.

    Raises:
        BadTool: If one is neither, has no name, or a name is taken twice.
    """
    schemas = []
    for tool in tools or ():
        schema = tool if isinstance(tool, dict) else getattr(tool, "schema", None)
        if not isinstance(schema, dict):
            raise BadTool(
                f"A tool is of type {type(tool).__name__}.",
                "Make it one with @kimikit.tool.",
            )
        schemas.append(schema)
    named = [s for s in schemas if "function" in s]
    names = [as_dict(s["function"]).get("name") for s in named]
    for name, each in zip(names, named, strict=True):
        form = r"\$\w{1,63}" if features.is_builtin(each) else r"[\w.-]{1,64}"
        if not isinstance(name, str) or not re.fullmatch(form, name):
            raise BadTool(
                f"A tool is named {name!r}.",
                "Use 1 to 64 letters, digits, underscores, hyphens or dots.",
            )
        if names.count(name) > 1:
            raise BadTool(f"Two tools are named {name!r}.", "Rename one of them.")
    if len(schemas) > MOST_TOOLS:
        raise BadTool(
            f"{len(schemas)} tools were given.", f"Hosts take at most {MOST_TOOLS}."
        )
    return schemas


def refuse_key(model: str) -> None:
    """Refuse a key in a model's place, which hosts and footers would tell.

    Raises:
        BadInput: If it looks like one.
    """
    if not isinstance(model, str):
        raise BadInput(
            f"model is of type {type(model).__name__}.", "Pass a model's id as text."
        )
    if is_key(model):
        raise BadInput(
            "The model is named by what looks like a key.",
            "Pass a key as api_key=, and the name of a model as model=.",
        )


def check_params(params: Mapping[str, Any], host: Host, model: str) -> None:
    """Check the sampling parameters against what the host and model take.

    Raises:
        BadInput: If a value is impossible anywhere.
        NotSupported: If the host is known not to take it.
        FixedTemperature: If the host is known to pin it to another value.
    """
    refuse_key(model)
    facts = model_facts(host, model)
    spans = {"temperature": host.temperature_range, "top_p": (0.0, 1.0)}
    for name, (low, high) in spans.items():
        value = params.get(name)
        if value is not None and not is_within(value, low, high):
            where = host.title or host.name
            raise BadInput(
                f"{name} is {value!r}.",
                f"On {where} it is a number from {low:g} to {high:g}.",
            )
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if params.get(name) is not None:
            check_count(name, params[name])
    refuse_other_types(params)
    limit = params.get("max_tokens") or params.get("max_completion_tokens") or 0
    if facts.context and limit > facts.context:
        raise BadInput(
            f"max_tokens is {limit:,} and the context of {model} is {facts.context:,}.",
            "Lower it; prompt and answer share the context.",
        )
    dialects.check(params, host, model)


def build(
    subject: Mapping[str, Any],
    *,
    host: Host,
    model: str,
    stream: bool,
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the JSON of a request, checked, in the dialect of ``host``.

    Args:
        subject: ``messages`` and ``tools``, or a ``prompt``.
        host: Where it goes.
        model: Which model it asks.
        stream: Whether to ask for a stream.
        params: All else; what is ``None`` is left out, a default temperature too.

    Raises:
        BadInput: If a value is impossible, or not JSON.
    """
    refuse_unknown(params, (), taken=COMPLETION)
    given = {**params, **(params.get("extra_body") or {}), "extra_body": None}
    params = {name: plain(value, name) for name, value in given.items()}
    params = thinking.mapped(params, host, model)
    params = features.lifetime(params, host, model)
    check_params(params, host, model)
    declared = features.declared(subject.get("messages") or (), host, model)
    every = tool_schemas([*(subject.get("tools") or ()), *declared])
    if params.get("tool_choice") == "required" and not every:
        raise BadInput(
            "tool_choice is 'required' and no tool is offered.", "Pass tools=."
        )
    body: dict[str, Any] = {"model": plain(model)}
    body |= {name: plain(value, name) for name, value in subject.items() if value}
    if "messages" in body:
        features.prefill(body, params.pop("prefill", None), host, params)
    features.check_builtins(every, host, model, params)
    facts = model_facts(host, model)
    if "temperature" not in params and facts.temperature is not None:
        body["temperature"] = facts.temperature
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    for name, value in params.items():
        if value is None:
            body.pop(name, None)  # what is added here by default, too
        else:
            body[name] = value
    if "messages" in body:
        body = dialects.adapt(body, host)
    _json(body, "the request")
    return body


def _json(value: Any, what: str) -> str:
    try:
        return encoded(value).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadInput(
            f"{what.capitalize()} cannot be sent: {exc}.", "Pass JSON."
        ) from exc
