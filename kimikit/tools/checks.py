"""Check a call's arguments against its tool's schema, whoever wrote that.

A schema from a server is hostile until it is known better: nothing is fetched for its
references, its patterns are matched in linear time, and the whole work is bounded.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import importlib.util
import re
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from kimikit.json_values import written
from kimikit.schema.for_hosts import Rewritten

_REFERENCES_FOLLOWED = 20_000
"""In one check; alternatives that refer to alternatives could go on for ever."""
_REFERENCES_DEEP = 50
"""Inside each other; more would use up the stack."""
_TOO_DEEP = "they or their schema are nested too deeply to be checked"
_PROBLEMS_TOLD = 10
_WORDS_TOLD = 300
_MENDINGS = 20
_QUOTED = 50
"""Arguments of a call that are tried without quotes."""
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_HOLDERS = ("properties", "$defs", "definitions", "patternProperties")
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\s"}
_IN_CLASS = re.compile(r"\\(.)|([\[&~])", re.DOTALL)

_followed: contextvars.ContextVar[list[int]] = contextvars.ContextVar("followed")


def tried(
    check: Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[str]]],
    arguments: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    """Return what a check makes of arguments, and what is wrong with them.

    Kimi K2 writes some lists and objects as a text that holds their JSON. Such a one
    is read where it fits and the text does not.
    """
    values, problems = check(arguments)
    for name, value in islice(arguments.items(), _QUOTED if problems else 0):
        if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
            continue
        with contextlib.suppress(msgspec.DecodeError, RecursionError, UnicodeError):
            bare = {**arguments, name: _DECODER.decode(value)}
            found, left = check(bare)
            if len(left) < len(problems):
                arguments, values, problems = bare, found, left
    return values, problems


def problems(validator: Any, value: Any) -> list[str]:
    """Return what is wrong with a call's arguments, one sentence each."""
    from referencing.exceptions import Unresolvable

    token = _followed.set([0, 0])
    try:
        errors = islice(validator.iter_errors(value), _PROBLEMS_TOLD)
        return [f"{_short(e.message)} - at `{e.json_path}`" for e in errors]
    except RecursionError:
        return [_TOO_DEEP]
    except OverflowError as exc:
        return [str(exc)]
    except Unresolvable as exc:  # beside a reference to the whole that stands in itself
        return [f"their schema refers to {_short(exc.ref)}, which it does not have"]
    except BaseException as exc:
        # What a library in Rust makes of a RecursionError inside it.
        if type(exc).__name__ != "PanicException":
            raise
        return [_TOO_DEEP]
    finally:
        _followed.reset(token)


def checked(
    validator: Any, taken: Rewritten, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Return a call's arguments as a tool wants them, and what is wrong with them.

    A ``Decimal``, which keeps a number's digits, is a float to servers and checks.
    """
    try:
        values = msgspec.json.decode(written(taken.original(arguments)))
    except RecursionError:
        return {}, [_TOO_DEEP]
    except msgspec.ValidationError as exc:  # a number out of range
        return {}, [str(exc)]
    return values, problems(validator, values)


def validator(schema: Mapping[str, Any]) -> Any:
    """Return what checks against a schema, by the rules of the draft it is written in.

    Raises:
        ValueError: If it is no JSON Schema; the message says why.
    """
    from referencing.jsonschema import EMPTY_REGISTRY

    first = ""
    for draft in _drafts(schema):
        found = next(_errors(draft, schema), None)
        if found is None:
            return draft(schema, registry=EMPTY_REGISTRY)
        first = first or found.message
    raise ValueError(_short(first))


def mended(schema: Any) -> dict[str, Any]:
    """Return a schema without the keywords that make it none.

    Servers send ``title: null`` or words that are in no draft; a tool is better used
    without them than not at all, and its server checks the call again.
    """
    made = copy.deepcopy(schema) if isinstance(schema, Mapping) else {}
    for _ in range(_MENDINGS):
        found = min(
            (list(_errors(draft, made)) for draft in _drafts(made)), key=len, default=[]
        )
        if not found:
            break
        places = {tuple(error.absolute_path) for error in found}
        for place in sorted(places, key=len, reverse=True):
            # What no longer stands there went with another one.
            with contextlib.suppress(KeyError, IndexError, TypeError):
                _leave_out(made, place)
    return dict(made)


def _leave_out(schema: Any, place: Sequence[Any]) -> None:
    if not place:
        schema.clear()
        return
    for step in place[:-1]:
        schema = schema[step]
    if len(place) > 1 and place[-2] in _HOLDERS:
        schema[place[-1]] = {}
    else:
        del schema[place[-1]]


def _drafts(schema: Any) -> list[Any]:
    """Return the drafts that a schema may be written in, the likeliest first."""
    _import_jsonschema()
    from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
    from jsonschema.validators import validator_for

    newest: Any = Draft202012Validator
    said = schema.get("$schema") if isinstance(schema, Mapping) else None
    named = (
        validator_for({"$schema": said}, newest) if isinstance(said, str) else newest
    )
    return list(
        dict.fromkeys(map(_careful, (named, newest, Draft7Validator, Draft4Validator)))
    )


@functools.cache
def _import_jsonschema() -> None:
    """Import it without what it loads for the format "iri" alone, in 3 s.

    JupyterLab brings that module. Whoever checks this format still gets it.
    """
    name = "rfc3987_syntax"
    if name in sys.modules or importlib.util.find_spec(name) is None:
        return
    later: Any = types.ModuleType(name)
    later.is_valid_syntax = lambda *args: importlib.import_module(name).is_valid_syntax(
        *args
    )
    sys.modules[name] = later
    try:
        import jsonschema  # noqa: F401 - for what it does to itself
    finally:
        sys.modules.pop(name, None)


def _errors(draft: Any, schema: Any) -> Iterator[Any]:
    found: Iterator[Any] = draft(draft.META_SCHEMA).iter_errors(schema)
    return found


@functools.cache
def _careful(draft: Any) -> Any:
    from jsonschema.validators import extend
    from referencing.exceptions import Unresolvable

    follow = draft.VALIDATORS["$ref"]

    def followed(validator: Any, ref: Any, instance: Any, schema: Any) -> Iterator[Any]:
        count = _followed.get(None) or [0, 0]
        count[0] += 1
        if count[0] > _REFERENCES_FOLLOWED:
            raise OverflowError("their schema is too involved to be checked")
        if count[1] > _REFERENCES_DEEP:
            raise OverflowError(_TOO_DEEP)
        count[1] += 1
        try:
            yield from follow(validator, ref, instance, schema) or ()
        except Unresolvable:
            pass  # what is not there is not fetched, and so not checked
        finally:
            count[1] -= 1

    words = {"$ref": followed, "pattern": _pattern, "patternProperties": _patterns}
    return extend(draft, words)


def _pattern(_: Any, pattern: Any, instance: Any, __: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _matches(pattern, instance, otherwise=True):
        yield ValidationError(f"{_short(repr(instance))} does not match {pattern!r}")


def _patterns(validator: Any, patterns: Any, instance: Any, _: Any) -> Iterator[Any]:
    if isinstance(instance, Mapping):
        for pattern, schema in patterns.items():
            for key, value in instance.items():
                if _matches(pattern, key, otherwise=False):
                    yield from validator.descend(
                        value, schema, path=key, schema_path=pattern
                    )


def _matches(pattern: Any, text: str, *, otherwise: bool) -> bool:
    engine = _engine(pattern) if isinstance(pattern, str) else None
    return otherwise if engine is None else bool(engine.isinstance_python(text))


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern is found in a text, in linear time.

    Raises:
        ValueError: If it is no pattern, or has look-aheads or back-references.
    """
    if (engine := _engine(pattern)) is None:
        raise ValueError(f"{_short(repr(pattern))} cannot be matched in linear time")
    return bool(engine.isinstance_python(text))


@functools.lru_cache(maxsize=1_000)
def _engine(pattern: str) -> Any:
    """Return what matches a pattern in linear time, ``None`` if nothing can.

    Such are look-aheads and back-references: only their author checks them.
    """
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        return SchemaValidator(
            core_schema.str_schema(pattern=_in_rust(pattern), regex_engine="rust-regex")
        )
    except SchemaError:
        return None


def _in_rust(pattern: str) -> str:
    r"""Write JavaScript's pattern in the words of Rust's engine.

    There classes of characters nest and ``\d`` means the digits of all scripts.
    """

    def put(match: re.Match[str]) -> str:
        escaped, bare = match.groups()
        if escaped:
            return _CLASSES.get(escaped, match[0])
        return f"\\{bare}"

    out: list[str] = []
    place = 0
    while place < len(pattern):
        if pattern[place] == "[":
            end = place + (2 if pattern[place + 1 : place + 2] == "^" else 1)
            begin = end
            while end < len(pattern) and pattern[end] != "]":
                end += 2 if pattern[end] == "\\" else 1
            inner = _IN_CLASS.sub(put, pattern[begin:end])
            out += [pattern[place:begin], inner, pattern[end : end + 1]]
            place = end + 1
        elif pattern[place] == "\\":
            two = pattern[place : place + 2]
            known = _CLASSES.get(two[1:], "") if two[1:] != "s" else ""
            out.append(f"[{known}]" if known else two)
            place += 2
        else:
            out.append(pattern[place])
            place += 1
    return "".join(out)


def _short(text: str) -> str:
    return text if len(text) <= _WORDS_TOLD else f"{text[:_WORDS_TOLD]}..."
