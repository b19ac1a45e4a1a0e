"""Types to JSON Schema and back, in the dialect that every host takes.

Hosts validate tool schemas, and no two alike. The rules here are what these three have
in common: Moonshot's validator (MoonshotAI/walle, ``docs/mfjs-spec.md``), OpenAI's and
llama.cpp's grammar converter:

* every property has a ``type``, or an ``anyOf`` of branches that each have one, with
  only ``description`` and ``default`` beside it;
* values of an ``enum`` are all of the one type that stands next to it;
* arrays have ``items``, also beside the ``prefixItems`` of a tuple;
* references are put in place, so a type cannot hold itself;
* a ``pattern`` is anchored at both ends; no ``$schema``, no ``title``.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from kimikit.errors import BadInput

_KEPT = {
    "type", "description", "default", "enum", "properties", "required", "items",
    "additionalProperties", "prefixItems", "minItems", "maxItems", "uniqueItems",
    "minLength", "maxLength", "pattern", "format", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "contentEncoding",
}  # fmt: skip
_RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
_SCALARS = [{"type": t} for t in ("string", "number", "boolean", "object", "null")]
_ANYTHING = [*_SCALARS, {"type": "array", "items": {"anyOf": _SCALARS}}]
_JSON_TYPES = {
    str: "string", bool: "boolean", int: "integer", float: "number",
    type(None): "null", list: "array", dict: "object",
}  # fmt: skip
_IMPLIED = {
    "properties": "object", "items": "array", "prefixItems": "array",
    "minLength": "string", "pattern": "string", "minimum": "number",
}  # fmt: skip
_BOUNDS = (
    "ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern",
)  # fmt: skip
_FORMATS = {datetime.datetime: "date-time", datetime.time: "time"}


def of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a Python type.

    Args:
        hint: Anything that ``convert`` can make: plain types, ``Optional``, ``Union``,
            ``Literal``, enums, containers, ``TypedDict``, dataclasses, msgspec Structs,
            pydantic models, dates, ``Path``, ``Annotated`` with constraints.

    Raises:
        BadInput: If the type has no JSON form, or holds itself.
    """
    try:
        schema = msgspec.json.schema(_plain(hint), schema_hook=_custom_schema)
    except (TypeError, NotImplementedError, RecursionError) as exc:
        reason = str(exc).splitlines()[-1] or "it is not supported"
        raise BadInput(
            f"There is no JSON Schema for {hint!r}: {reason}.",
            "Use plain types, Literal, list, dict, TypedDict, a dataclass, a Struct or "
            "a pydantic model.",
        ) from exc
    return _tidy(schema, {})


def accepted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Rewrite a finished schema of parameters into what every host takes.

    Keywords that some host refuses are put in other words, or left out where there are
    none (``not``, ``if``); the caller still validates against the original.

    Raises:
        BadInput: If the root is not an object, or a part refers to itself.
    """
    root = _tidy(schema, {})
    branches = root.get("anyOf", [root])
    if any(branch["type"] != "object" for branch in branches):
        raise BadInput(
            "The schema of a tool's parameters must describe an object.",
            'Give {"type": "object", "properties": {...}}.',
        )
    if len(branches) > 1:
        properties: dict[str, Any] = {}
        for branch in branches:
            properties = {**branch.get("properties", {}), **properties}
        required = [set(branch.get("required", ())) for branch in branches]
        common = sorted(set.intersection(*required))
        whole = {"type": "object", "properties": properties, "required": common}
        root = _tidy(whole, {})
    return {**root, "properties": root.get("properties", {})}


def convert(value: Any, hint: Any, *, at: str = "$") -> Any:
    """Validate a JSON value and return it as the hinted Python type.

    What fits as it is stays as it is; only what does not is tried again with the
    allowances models need: numbers and booleans as strings, 3.0 for 3.

    Args:
        value: A decoded JSON value.
        hint: The type to make.
        at: How the error calls the place of ``value``.

    Raises:
        BadInput: With the path and what was expected there.
    """
    for strict in (True, False):
        try:
            return msgspec.convert(
                value,
                _plain(hint),
                strict=strict,
                str_keys=True,
                dec_hook=_custom_value,
            )
        except msgspec.ValidationError as exc:
            error = exc
    what, _, path = str(error).partition(" - at `$")
    raise BadInput(
        f"{what} - at `{at}{path or '`'}.", "Give a value that fits."
    ) from error


def _plain(hint: Any) -> Any:
    """Replace what other libraries put into ``Annotated`` by msgspec's own words."""
    if isinstance(hint, type) and hint in _FORMATS:
        extra = {"format": _FORMATS[hint]}
        return Annotated[hint, msgspec.Meta(extra_json_schema=extra)]
    args = get_args(hint)
    origin: Any = get_origin(hint)
    if not args or origin is Literal:
        return hint
    if origin is Annotated:
        plain = (_plain(args[0]), *map(_meta, args[1:]))
    else:
        plain = tuple(map(_plain, args))
    if origin is UnionType:
        origin = Union
    return origin[plain] if plain != args else hint


def _meta(extra: Any) -> msgspec.Meta:
    if isinstance(extra, msgspec.Meta):
        return extra
    if isinstance(extra, str):
        return msgspec.Meta(description=extra)
    found = {}
    for part in (extra, *getattr(extra, "metadata", ())):
        for bound in _BOUNDS:
            if (value := getattr(part, bound, None)) is not None:
                found[bound] = value
    description = getattr(extra, "description", None)
    if isinstance(description, str):
        found["description"] = description
    return msgspec.Meta(**found)


def _custom_schema(kind: type) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, Path):
        return {"type": "string", "description": "Path of a file or folder."}
    if hasattr(kind, "model_json_schema"):
        schema: dict[str, Any] = kind.model_json_schema()
        return schema
    raise NotImplementedError


def _custom_value(kind: type, value: Any) -> Any:
    if hasattr(kind, "model_validate"):
        from pydantic import ValidationError

        try:
            return kind.model_validate(value)
        except ValidationError as exc:
            problems = [
                f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}"
                for e in exc.errors()
            ]
            raise ValueError("; ".join(problems)) from exc
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    return kind(value)


def _tidy(
    node: Any, parts: Mapping[str, Any], within: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Rewrite one (sub)schema; ``within`` holds the references it stands inside."""
    if not isinstance(node, Mapping):
        node = {}
    parts = {**parts, **node.get("$defs", {}), **node.get("definitions", {})}
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        if name in within or name not in parts:
            raise BadInput(
                f"The schema part {name or '#'} refers to itself or to nothing.",
                "Hosts take no recursive types: nest to a fixed depth, or pass the "
                "inner part as a JSON string.",
            )
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _tidy({**parts[name], **beside}, parts, (*within, name))
    for other in node.get("allOf", ()):
        node = _merged(_tidy(other, parts, within), node)
    if "const" in node:
        node = {**node, "enum": [node["const"]]}
    kept = {key: value for key, value in node.items() if key in _KEPT}
    branches = node.get("anyOf") or node.get("oneOf")
    if not branches:
        kinds = _kinds(node)
        if len(kinds) == 1:
            return _filled({**kept, **kinds[0]}, parts, within)
        if not kinds:
            kept = _shared(kept)
        branches = kinds or _ANYTHING
    # What stands beside alternatives goes into each of them.
    shared = _shared(kept)
    common = {key: value for key, value in kept.items() if key not in shared}
    flat: list[dict[str, Any]] = []
    for branch in branches:
        whole = _merged(common, branch) if isinstance(branch, Mapping) else branch
        tidy = _tidy(whole, parts, within)
        for one in tidy.get("anyOf", [tidy]):
            one = {key: value for key, value in one.items() if key != "default"}
            if one not in flat:
                flat.append(one)
    if len(flat) == 1:
        return {**flat[0], **shared}
    return {**shared, "anyOf": flat}


def _kinds(node: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON types that ``node`` allows, each with its ``enum`` values."""
    values: dict[str, list[Any]] = {}
    for value in node.get("enum", ()):
        values.setdefault(_JSON_TYPES[type(value)], []).append(value)
    if values:
        return [{"type": kind, "enum": some} for kind, some in values.items()]
    implied = (kind for keyword, kind in _IMPLIED.items() if keyword in node)
    named: Any = node.get("type") or next(implied, [])
    return [{"type": one} for one in ([named] if isinstance(named, str) else named)]


def _shared(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: node[key] for key in ("description", "default") if key in node}


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that asks for both; where they differ the second wins."""
    out = {**one, **other}
    if "properties" in one and "properties" in other:
        out["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        out["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return out


def _filled(
    node: dict[str, Any], parts: Mapping[str, Any], within: tuple[str, ...]
) -> dict[str, Any]:
    """Rewrite what stands inside an object, an array or a string."""
    if node["type"] == "null":
        return {"type": "null", **_shared(node)}
    if node["type"] == "object":
        properties = node.pop("properties", {})
        if refused := _RESERVED.intersection(properties):
            raise BadInput(
                f"Moonshot refuses a property named {sorted(refused)[0]!r}.",
                "Give it another name.",
            )
        if properties:
            node["properties"] = {
                name: _tidy(one, parts, within) for name, one in properties.items()
            }
        node["required"] = [n for n in node.get("required", ()) if n in properties]
        if not node["required"]:
            del node["required"]
        rest = node.get("additionalProperties")
        if isinstance(rest, Mapping):
            node["additionalProperties"] = _tidy(rest, parts, within) if rest else True
    elif node["type"] == "array":
        leading = [_tidy(one, parts, within) for one in node.get("prefixItems", ())]
        if leading:
            node["prefixItems"] = leading
        items = node.get("items")
        if not isinstance(items, Mapping):
            items = {"anyOf": leading or _SCALARS}
        node["items"] = _tidy(items, parts, within)
    elif "pattern" in node:
        pattern = node["pattern"]
        if not (pattern.startswith("^") and pattern.endswith("$")):
            start = "^(" if pattern.startswith("^") else "^.*("
            end = ")$" if pattern.endswith("$") else ").*$"
            node["pattern"] = start + pattern.removeprefix("^").removesuffix("$") + end
    return node
