"""Find calls in the raw blocks of a text: K2's markers, K3's typed tags."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Any

import msgspec

from kimikit.types import ToolCall
from kimikit.wire.calls import decoded, tidy
from kimikit.wire.coerce import as_dict, as_list, as_str

CALL_END = "<|tool_call_end|>"
ARGUMENTS = "<|tool_call_argument_begin|>"
K2_END = r"<\|tool_call(?:s?_section)?_end\|>"
_BEGIN = "<|tool_call_begin|>"
_NAMELESS = re.compile(
    r"(?:functions\.?)?:?\d*|[\da-f-]{16,}(?::\d+)?"
    r"|(?:call|tool|toolu|tooluse|fc|chatcmpl-tool)[_-][\w-]*(?::\d+)?"
)
"""Ids that name no function: bare counters, OpenAI's, vLLM's, Anthropic's, UUIDs."""
_HEAD = 2000
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "array": (list,), "object": (dict,), "null": (type(None),),
}  # fmt: skip


def tools_in(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters of all tools that a request offers, by name.

    K3 also takes tools inside a system message (K2 vendor verifier).
    """
    around = [body, *map(as_dict, as_list(body.get("messages")))]
    tools = [tool for one in around for tool in as_list(one.get("tools"))]
    functions = [as_dict(as_dict(tool).get("function")) for tool in tools]
    named = [(as_str(f.get("name")), as_dict(f.get("parameters"))) for f in functions]
    return {name: parameters for name, parameters in named if name}


def calls_in(
    block: str,
    tools: Mapping[str, Mapping[str, Any]] | frozenset[str],
    *,
    stopped: bool = False,
) -> Iterator[ToolCall]:
    """Yield the whole calls of a leaked block.

    Args:
        block: The text from its first marker on.
        tools: Parameters of the offered tools by name, or their names alone.
        stopped: Whether the model ended of its own will. Then a call that lacks
            nothing but its end marker is whole; one that was cut off is no call.
    """
    offered = tools if isinstance(tools, Mapping) else {name: {} for name in tools}
    for said, body, ended in _tags("call", block):
        arguments, whole = _xtml(body)
        if ended or (stopped and whole):
            name = said.get("tool", "")
            id_ = f"functions.{name}:{said.get('index', 0)}"
            yield ToolCall(id_, name, arguments, id_)
    pieces = block.split(_BEGIN)
    for number, piece in enumerate(pieces, start=1):
        head, found, rest = piece.partition(ARGUMENTS)
        arguments, *end = re.split(K2_END, rest, maxsplit=1)
        over = stopped or number < len(pieces)
        if found and (end or (over and isinstance(decoded(arguments), dict))):
            id_ = (head.split() or [""])[-1]
            yield _k2_call(id_, arguments.strip(), offered)


def name_in(id_: str) -> str:
    """Return the name in an id of K2's form, ``functions.name:index``."""
    name = id_.removeprefix("functions.")
    before, colon, number = name.rpartition(":")
    return before if colon and number.isdigit() else name


def _k2_call(
    id_: str, arguments: str, offered: Mapping[str, Mapping[str, Any]]
) -> ToolCall:
    name, arguments = name_in(id_), tidy(arguments)[0]
    inside = as_dict(decoded(arguments))
    if name not in offered and as_str(inside.get("name")) in offered:
        # vLLM once wrote an id of OpenAI's form, and the name among the arguments.
        name = inside.pop("name")
        arguments = msgspec.json.encode(inside.get("arguments", inside)).decode()
    elif name not in offered and _NAMELESS.fullmatch(id_):
        fitting = [
            tool
            for tool, parameters in offered.items()
            if len(offered) == 1 or _fits(inside, parameters)
        ]
        name = fitting[0] if len(fitting) == 1 else name
    return ToolCall(id_, name, arguments, id_)


def _fits(arguments: dict[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Say whether arguments, at least one, are what a tool's schema asks for."""
    properties = as_dict(parameters.get("properties"))
    required = {key for key in as_list(parameters.get("required")) if key}
    return (
        bool(arguments)
        and required <= arguments.keys() <= properties.keys()
        and all(_is_of(value, properties[key]) for key, value in arguments.items())
    )


def _is_of(value: object, schema: object) -> bool:
    kinds = as_dict(schema).get("type")
    if kinds is None:
        return True
    allowed = [_JSON_TYPES.get(as_str(k), (object,)) for k in as_list(kinds) or [kinds]]
    if isinstance(value, bool):
        return any(bool in types or object in types for types in allowed)
    return any(isinstance(value, types) for types in allowed)


def _tags(name: str, text: str) -> Iterator[tuple[dict[str, str], str, bool]]:
    """Yield K3's tags of a name: attributes, content, and whether they end."""
    for piece in re.split(rf"<\|open\|> ?{name}\b", text)[1:]:
        head, _, rest = piece.partition("<|sep|>")
        content, *end = re.split(rf"<\|close\|> ?{name} ?<\|sep\|>", rest, maxsplit=1)
        said = re.findall(r'(?<!\w)(\w+)="([^"]*)"', head[:_HEAD])
        yield {key: unescape(value) for key, value in said}, content, bool(end)


def _xtml(body: str) -> tuple[str, bool]:
    """Return K3's arguments as JSON text, and whether some came and all have ended.

    Types but string are JSON already; ``json`` holds all arguments as one object.
    """
    values: dict[str, Any] = {}
    ends = []
    for _, value, ended in _tags("json", body):
        values |= as_dict(decoded(value))
        ends.append(ended)
    for said, value, ended in _tags("argument", body):
        key = said.get("key", "")
        values[key] = value
        ends.append(ended)
        if said.get("type") != "string":
            with contextlib.suppress(msgspec.DecodeError, RecursionError):
                values[key] = msgspec.json.decode(value)
    return msgspec.json.encode(values).decode(), bool(ends) and all(ends)
