"""What hosts say of tool schemas, as code: an empty list means accepted.

The rules of Moonshot are those of MoonshotAI/walle at its level ``strict``
(docs/mfjs-spec.md and validator.go, v0.1.9), of OpenAI and of llama.cpp what their
errors say.
"""

import datetime
from typing import Any

from hypothesis import strategies as st

_RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
_OF_TYPE = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def problems(schema: dict[str, Any]) -> list[str]:
    found = [] if schema.get("type") == "object" else ["root: not of type object"]
    return found + _node(schema, "root", 0)


def _node(node: Any, at: str, depth: int) -> list[str]:
    if not isinstance(node, dict):
        return [f"{at}: not an object"]
    found = [
        f"{at}: {key} is not taken"
        for key in ("$schema", "$ref", "$defs", "oneOf", "allOf", "const", "title")
        if key in node
    ]
    if depth > 10:
        found.append(f"{at}: too deep")
    if "anyOf" in node:
        if more := set(node) - {"anyOf", "description", "default"}:
            found.append(f"{at}: {more} beside anyOf")
        for i, branch in enumerate(node["anyOf"]):
            if "default" in branch and "default" in node:
                found.append(f"{at}: default twice")
            found += _node(branch, f"{at}.anyOf{i}", depth)
        return found
    kind = node.get("type")
    if not isinstance(kind, str):
        return [*found, f"{at}: type is not defined"]
    if "enum" in node:
        values = node["enum"]
        type_ = _OF_TYPE.get(kind, ())  # objects and arrays are no values of an enum
        if not values or not all(isinstance(v, type_) for v in values):
            found.append(f"{at}: enum does not match its type")
    if kind == "array":
        found += _node(node.get("items"), f"{at}.items", depth)
    if "pattern" in node and node["pattern"][0] + node["pattern"][-1] != "^$":
        found.append(f"{at}: llama.cpp wants the pattern anchored")
    properties = node.get("properties", {})
    found += [f"{at}: {name} is reserved" for name in _RESERVED & set(properties)]
    found += [
        f"{at}: {name} is required and not there"
        for name in node.get("required", ())
        if name not in properties
    ]
    for name, one in properties.items():
        found += _node(one, f"{at}.{name}", depth + 1)
    rest = node.get("additionalProperties")
    return found + (_node(rest, f"{at}.*", depth) if isinstance(rest, dict) else [])


_FORMATS = {
    "date-time": st.datetimes(
        datetime.datetime(1900, 1, 1), timezones=st.just(datetime.UTC)
    ).map(lambda d: d.astimezone(datetime.UTC).isoformat()),
    "date": st.dates().map(lambda d: d.isoformat()),
    "time": st.times().map(lambda t: t.isoformat()),
    "duration": st.integers(0, 10**6).map(lambda s: f"PT{s}S"),
    "uuid": st.uuids().map(str),
    "decimal": st.decimals(allow_nan=False, allow_infinity=False).map(str),
}
_CHARACTERS = st.characters(codec="utf-8")


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy of JSON values that are valid against one of our schemas."""
    if "anyOf" in schema:
        return st.one_of([values(branch) for branch in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        if "prefixItems" in schema:
            return st.tuples(*map(values, schema["prefixItems"])).map(list)
        unique = (lambda v: repr(v)) if schema.get("uniqueItems") else None
        low, high = schema.get("minItems", 0), schema.get("maxItems", 4)
        items = values(schema["items"])
        return st.lists(items, min_size=low, max_size=high, unique_by=unique)
    if kind == "string":
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        if "contentEncoding" in schema:
            return st.just("a2ltaQ==")
        low, high = schema.get("minLength", 0), schema.get("maxLength")
        bounded = st.text(_CHARACTERS, min_size=low, max_size=high)
        return _FORMATS.get(schema.get("format", ""), bounded)
    low, high = schema.get("minimum"), schema.get("maximum")
    if kind == "integer":
        low = schema.get("exclusiveMinimum", (low or -(2**53)) - 1) + 1
        high = schema.get("exclusiveMaximum", (2**53 if high is None else high) + 1) - 1
        step = schema.get("multipleOf", 1)
        return st.integers(-(-low // step), high // step).map(lambda n: n * step)
    if kind == "number":
        return st.floats(
            schema.get("exclusiveMinimum", low),
            schema.get("exclusiveMaximum", high),
            allow_nan=False,
            allow_infinity=False,
            exclude_min="exclusiveMinimum" in schema,
            exclude_max="exclusiveMaximum" in schema,
        )
    return st.booleans() if kind == "boolean" else st.none()


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    if not properties and isinstance(schema.get("additionalProperties"), dict):
        return st.dictionaries(
            st.text("abc", max_size=3),
            values(schema["additionalProperties"]),
            max_size=3,
        )
    return st.fixed_dictionaries(
        {k: values(v) for k, v in properties.items() if k in required},
        optional={k: values(v) for k, v in properties.items() if k not in required},
    )
