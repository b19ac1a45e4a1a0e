"""Rewrite JSON Schemas in the dialect that every host takes.

Hosts validate tool schemas, and no two alike. The rules here are what these three have
in common: Moonshot's validator (MoonshotAI/walle, ``docs/mfjs-spec.md``), OpenAI's and
llama.cpp's grammar converter:

* every property has a ``type``, or an ``anyOf`` of branches that each have one, with
  only ``description`` and ``default`` beside it;
* values of an ``enum`` are all of the one type that stands next to it, and there are
  some; objects and arrays are told in words;
* arrays have ``items``, also beside the ``prefixItems`` of a tuple;
* references are put in place; what holds itself is written out twice, then in words;
* nothing is nested deeper than ten objects, or larger than ``PARTS``;
* a ``pattern`` is anchored at both ends and of the plain kind that all engines read;
* a few names are words of the language, so a property called so gets another one;
* no ``$schema``, no ``title``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kimikit.errors import BadInput

PARTS = 3_000
"""Parts of a schema that are written out; the rest is only named by its type."""
DEPTH = 10
"""Objects inside each other that Moonshot takes."""
UNROLLED = 2
"""How often a part that holds itself is written out."""
_TOLD = 1_000
"""Characters of values that are told in words."""

_NUMERIC = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "format",
}  # fmt: skip
_OF_TYPE = {
    "string": {"minLength", "maxLength", "pattern", "format", "contentEncoding"},
    "integer": _NUMERIC,
    "number": _NUMERIC,
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
}
_OF_ALL = {"type", "description", "default", "enum"}
_KEPT = _OF_ALL.union(*_OF_TYPE.values())
RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
"""Names that Moonshot refuses for a property."""
_COMBINED = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}
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
_BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
_DIALECT = re.compile(
    r"\\[a-zA-CE-RT-VX-Ze-rt-vx-z0-9]|\(\?|\[\^?\[|&&|\|\||~~|--|\{\d{4}|,\d{4,}\}"
)
r"""What engines read in different ways: escapes of letters but ``\d``, ``\s`` and
``\w``, groups with options, classes in classes, and repetitions by the thousand."""

Path = tuple[int, ...]


class Rewritten(msgspec.Struct, frozen=True):
    """A schema in the words that hosts take.

    Attributes:
        schema: The schema.
        renamed: The names of its properties that had to be changed, and the real ones.
    """

    schema: dict[str, Any]
    renamed: dict[str, str]

    def original(self, value: Any) -> Any:
        """Return a value of the schema under the real names."""
        return with_names(value, self.renamed) if self.renamed else value


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value whose keys are changed, at every depth."""
    if isinstance(value, Mapping):
        return {names.get(k, k): with_names(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [with_names(one, names) for one in value]
    return value


def rewritten(schema: Any) -> Rewritten:
    """Put any schema into the words that hosts take.

    Raises:
        BadInput: If it refers to something that is not in it.
    """
    rewriter = _Rewriter(schema)
    try:
        return Rewritten(rewriter.whole(), rewriter.renamed)
    except RecursionError:
        raise BadInput(
            "The schema is nested too deeply.", "Give one of fewer levels."
        ) from None


def accepted(schema: Mapping[str, Any]) -> Rewritten:
    """Put a finished schema of parameters into what every host takes.

    Keywords that some host refuses are put in other words, or left out where there are
    none (``not``, ``if``); the caller still validates against the original.

    Raises:
        BadInput: If the root is no object, or it refers to something not in it.
    """
    if not _COMBINED.intersection(schema):
        schema = {**schema, "type": "object"}
    made = rewritten(schema)
    root = made.schema
    branches = [b for b in root.get("anyOf", [root]) if b["type"] == "object"]
    if not branches:
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
        root = {"type": "object", "properties": properties}
        if common:
            root["required"] = common
    else:
        root = branches[0]
    return Rewritten({**root, "properties": root.get("properties", {})}, made.renamed)


class _Rewriter:
    """Rewrites one schema, and knows how much of it has been written."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = PARTS
        self.renamed: dict[str, str] = {}

    def whole(self) -> dict[str, Any]:
        return self._tidy(self._root, None, (id(self._root),), 0)

    def _looked_up(self, name: Any, resolver: Any) -> tuple[Any, Any]:
        """Return what a reference names; nothing is ever fetched for it."""
        # Here, for a schema without references to load none of it.
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012

        if resolver is None:
            root = Resource.from_contents(self._root, DRAFT202012)
            resolver = Registry().resolver_with_root(root)
        try:
            found = resolver.lookup(str(name))
        except RecursionError:
            raise
        # Not all that is wrong with a reference has an error of its own there.
        except Exception as exc:
            raise BadInput(
                f"The schema part {str(name)[:200]} refers to nothing in the schema, "
                "and nothing is fetched.",
                "Put what it names under $defs.",
            ) from exc
        return found.contents, found.resolver

    def _tidy(
        self, node: Any, resolver: Any, within: Path, depth: int
    ) -> dict[str, Any]:
        """Rewrite one (sub)schema; ``within`` holds the parts it stands inside."""
        self._left -= 1
        if not isinstance(node, Mapping):
            node = {}
        if self._left < 0:
            return _shallow(node)
        for word in ("$ref", "$dynamicRef", "$recursiveRef"):
            if word in node:
                found, inner = self._looked_up(node[word], resolver)
                beside = {key: value for key, value in node.items() if key != word}
                if within.count(id(found)) >= UNROLLED:
                    known = found if isinstance(found, Mapping) else {}
                    return _shallow({**known, **_shared(beside)})
                if isinstance(found, Mapping):
                    within, beside = (*within, id(found)), {**found, **beside}
                return self._tidy(beside, inner, within, depth)
        for other in node.get("allOf") or ():
            node = _merged(self._tidy(other, resolver, within, depth), node)
        return self._alternatives(_modern(node), resolver, within, depth)

    def _alternatives(
        self, node: Mapping[str, Any], resolver: Any, within: Path, depth: int
    ) -> dict[str, Any]:
        kept = {key: value for key, value in node.items() if key in _KEPT}
        branches = node.get("anyOf") or node.get("oneOf")
        if not branches:
            kinds = _kinds(node)
            if len(kinds) == 1:
                return self._filled({**kept, **kinds[0]}, resolver, within, depth)
            if not kinds:
                kept = _shared(kept)
            branches = kinds or _ANYTHING
        # What stands beside alternatives goes into each of them.
        shared = _shared(kept)
        common = {key: value for key, value in kept.items() if key not in shared}
        flat: dict[bytes, dict[str, Any]] = {}
        for branch in branches:
            if flat and self._left < 0:
                break
            whole = _merged(common, branch) if isinstance(branch, Mapping) else branch
            tidy = self._tidy(whole, resolver, within, depth)
            for one in tidy.get("anyOf", [tidy]):
                one = {key: value for key, value in one.items() if key != "default"}
                flat[msgspec.json.encode(one, order="sorted")] = one
        if len(flat) == 1:
            return {**next(iter(flat.values())), **shared}
        return {**shared, "anyOf": list(flat.values())}

    def _filled(
        self, node: dict[str, Any], resolver: Any, within: Path, depth: int
    ) -> dict[str, Any]:
        """Rewrite what stands inside an object, an array or a string."""
        own = _OF_ALL | _OF_TYPE.get(node["type"], set())
        node = {key: value for key, value in node.items() if key in own}
        if node["type"] == "null":
            return {"type": "null", **_shared(node)}
        if node["type"] in ("object", "array") and "enum" in node:
            # Moonshot takes no such values; the model is told of them.
            values = msgspec.json.encode(node.pop("enum")).decode()
            text = f"{node.get('description', '')} It must be one of {values[:_TOLD]}"
            node["description"] = text.strip()
        if node["type"] == "object":
            return self._object(node, resolver, within, depth)
        if node["type"] == "array":
            leading = [
                self._tidy(one, resolver, within, depth)
                for one in node.get("prefixItems", ())
            ]
            if leading:
                node["prefixItems"] = leading
            items = node.get("items")
            if not isinstance(items, Mapping):
                items = {"anyOf": leading or _SCALARS}
                # What was rewritten holds no references any more.
            node["items"] = self._tidy(items, resolver, within, depth)
        elif "pattern" in node:
            return _plain_pattern(node)
        return node

    def _object(
        self, node: dict[str, Any], resolver: Any, within: Path, depth: int
    ) -> dict[str, Any]:
        properties = node.pop("properties", None) or {}
        if properties and depth >= DEPTH:
            return _shallow(node)
        names = {name: self._named(name, properties) for name in properties}
        if properties:
            node["properties"] = {
                names[name]: self._tidy(one, resolver, within, depth + 1)
                for name, one in properties.items()
            }
        required = [names[n] for n in node.pop("required", ()) if n in names]
        if required:
            node["required"] = required
        rest = node.get("additionalProperties")
        if isinstance(rest, Mapping):
            tidy = self._tidy(rest, resolver, within, depth + 1) if rest else True
            node["additionalProperties"] = tidy if depth < DEPTH else True
        return node

    def _named(self, name: str, properties: Mapping[str, Any]) -> str:
        """Return a name that hosts take, and remember what it stands for."""
        if name not in RESERVED:
            return name
        other = f"{name}_"
        while other in properties or self.renamed.get(other, name) != name:
            other += "_"
        self.renamed[other] = name
        return other


def _modern(node: Mapping[str, Any]) -> dict[str, Any]:
    """Put the words of older drafts into those of 2020-12, and drop empty ones."""
    out = {
        key: value
        for key, value in node.items()
        if value is not None or key in ("default", "const")
    }
    if "const" in out:
        out["enum"] = [out["const"]]
    if out.get("enum") in ([], ()):
        del out["enum"]  # nothing fits it, which hosts refuse to be told
    for plain, exclusive in _BOUNDS:
        if isinstance(out.get(exclusive), bool) and out.pop(exclusive) and plain in out:
            out[exclusive] = out.pop(plain)
    if isinstance(out.get("items"), Sequence):
        out["prefixItems"] = out.pop("items")
        if isinstance(out.get("additionalItems"), Mapping):
            out["items"] = out["additionalItems"]
    if not isinstance(out.get("description", ""), str):
        del out["description"]
    return out


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


def _shallow(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the type of a part without what is inside it."""
    kinds = _kinds(_modern(node)) or [{"type": "object"}]
    text = node.get("description")
    words = text if isinstance(text, str) else "Nested further in the same way."
    out: dict[str, Any] = {"type": kinds[0]["type"], "description": words}
    if out["type"] == "array":
        out["items"] = {"anyOf": _SCALARS}
    return out


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that asks for both; where they differ the second wins."""
    out = {**one, **other}
    if one.get("properties") and other.get("properties"):
        out["properties"] = {**one["properties"], **other["properties"]}
    if one.get("required") and other.get("required"):
        out["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return out


def _plain_pattern(node: dict[str, Any]) -> dict[str, Any]:
    """Anchor a pattern; one that not every engine reads is told in words."""
    pattern = str(node.pop("pattern")).replace("(?:", "(")
    portable = not _DIALECT.search(pattern)
    try:
        if portable:
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        portable = False
    if not portable:
        text = f"{node.get('description', '')} It must match the pattern {pattern}"
        return {**node, "description": text.strip()}
    if not (pattern.startswith("^") and pattern.endswith("$")):
        start = "^(" if pattern.startswith("^") else "^.*("
        end = ")$" if pattern.endswith("$") else ").*$"
        pattern = start + pattern.removeprefix("^").removesuffix("$") + end
    return {**node, "pattern": pattern}
