"""Make JSON Schemas of types, and values of these types of what a model answers.

Enter at ``of`` and ``convert``; ``for_hosts`` brings a schema into what all hosts take.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import written
from kimikit.schema import for_hosts
from kimikit.schema.stand_ins import built, parts_of, rebuilt, stand_in

_SIMPLE = ("Gt", "Ge", "Lt", "Le", "Interval", "MultipleOf", "MinLen", "MaxLen", "Len")
_BOUNDS = (
    "ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern",
)  # fmt: skip
_FORMATS = {datetime.datetime: "date-time", datetime.time: "time"}
_ERRORS_TOLD = 10


def accepted(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Put a finished schema of parameters into what every host takes."""
    return for_hosts.accepted(schema).schema


def of(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of a Python type, in the words that hosts take.

    Args:
        hint: Anything that ``convert`` can make: plain types, ``Optional``, ``Union``,
            ``Literal``, enums, containers, ``TypedDict``, dataclasses, msgspec Structs,
            pydantic models and dataclasses and unions of them, dates, ``Path``,
            ``Annotated`` with constraints.

    Raises:
        BadInput: If the type has no JSON form.
    """
    return _form(hint).schema


def _form(hint: Any) -> for_hosts.Rewritten:
    try:
        if (adapter := _adapter(hint)) is not None:
            schema = adapter.json_schema()
        else:
            kind = _plain(stand_in(hint))
            schema = msgspec.json.schema(kind, schema_hook=_custom_schema)
    except BadInput:
        raise
    # Pydantic's own errors of schemas, and whatever a type's own code raises.
    except Exception as exc:
        reason = next(reversed(str(exc).splitlines()), "it is not supported")
        raise BadInput(
            f"There is no JSON Schema for {hint!r}: {reason}.",
            "Use plain types, Literal, list, dict, TypedDict, a dataclass, a Struct or "
            "a pydantic model.",
        ) from exc
    return for_hosts.rewritten(schema)


def convert(value: Any, hint: Any, *, at: str = "$") -> Any:
    """Validate a JSON value and return it as the hinted Python type.

    What fits as it is stays as it is; only what does not is tried again with the
    allowances models need: numbers and booleans as strings, 3.0 for 3. What only
    pydantic knows how to hold, pydantic holds, by its rules for JSON.

    Args:
        value: A decoded JSON value, its numbers as floats or as exact ``Decimal``.
        hint: The type to make.
        at: How the error calls the place of ``value``.

    Raises:
        BadInput: With the path and what was expected there.
    """
    try:
        if _holds_other_names(value):
            value = _form(hint).original(value)
        if (adapter := _adapter(hint)) is not None:
            return _validated(adapter, value)
        try:
            return _converted(value, hint, strict=True)
        except msgspec.ValidationError:
            return _converted(value, hint, strict=False)
    except BadInput:
        raise
    # A type's own code may raise anything; the model is told of it.
    except Exception as exc:
        what, _, path = str(exc).partition(" - at `$")
        raise BadInput(
            f"{what} - at `{at}{path or '`'}.", "Give a value that fits."
        ) from exc


def _converted(value: Any, hint: Any, *, strict: bool) -> Any:
    decode = functools.partial(
        msgspec.json.decode, written(value), strict=strict, dec_hook=_custom_value
    )
    try:
        found = decode(type=_plain(stand_in(hint, objects=True)))
    except TypeError:  # such as a union in which more than one type is an object
        found = decode(type=_plain(stand_in(hint)))
    return built(found)


def _holds_other_names(value: Any) -> bool:
    """Tell whether a key is one that stands for a name which hosts refuse."""
    if isinstance(value, Mapping):
        return any(
            (isinstance(key, str) and key.rstrip("_") in for_hosts.RESERVED)
            or _holds_other_names(one)
            for key, one in value.items()
        )
    return isinstance(value, list) and any(map(_holds_other_names, value))


def _adapter(hint: Any) -> Any:
    """Return pydantic's own reader of a type that only it can hold, else ``None``."""
    try:
        return _cached_adapter(hint)
    except TypeError:  # what stands in an Annotated cannot always be hashed
        return _cached_adapter.__wrapped__(hint)


@functools.lru_cache(maxsize=256)
def _cached_adapter(hint: Any) -> Any:
    parts = list(parts_of(hint))
    if not any(_of_pydantic(part, inside=inside) for part, inside in parts):
        return None
    if any(isinstance(p, type) and issubclass(p, msgspec.Struct) for p, _ in parts):
        if not any(_needs_more(part, inside=inside) for part, inside in parts):
            return None  # models alone, which msgspec hands to pydantic one by one
        raise BadInput(
            f"{hint!r} mixes a Struct with what only pydantic can check.",
            "Make the Struct a pydantic model or dataclass.",
        )
    from pydantic import TypeAdapter

    return TypeAdapter(_typed(hint))


def _of_pydantic(part: Any, *, inside: bool) -> bool:
    return hasattr(part, "__pydantic_validator__") or _needs_more(part, inside=inside)


def _needs_more(part: Any, *, inside: bool) -> bool:
    """Tell whether msgspec would pass over what pydantic must hold."""
    if get_origin(part) is Annotated:
        inside = inside or Decimal in get_args(part)  # msgspec bounds no Decimal
        return any(_is_foreign(one, inside=inside) for one in part.__metadata__)
    if get_origin(part) in (Union, UnionType):
        return any(hasattr(one, "__pydantic_validator__") for one in get_args(part))
    if hasattr(part, "__pydantic_validator__"):
        return dataclasses.is_dataclass(part)
    return hasattr(part, "__get_pydantic_core_schema__")


def _is_foreign(extra: Any, *, inside: bool) -> bool:
    """Tell whether something in ``Annotated`` has no words in msgspec.

    In the field of a class, which msgspec reads by itself, only its own words count.
    """
    if isinstance(extra, msgspec.Meta | str):
        return False
    if not type(extra).__module__.startswith(("pydantic", "annotated_types")):
        return hasattr(extra, "__get_pydantic_core_schema__")
    if inside or type(extra).__name__ not in ("FieldInfo", *_SIMPLE):
        return True
    special = ("discriminator", "alias", "validation_alias", "default_factory")
    return any(getattr(extra, name, None) is not None for name in special) or any(
        type(one).__name__ not in ("_PydanticGeneralMetadata", *_SIMPLE)
        or getattr(one, "strict", None) is not None
        for one in getattr(extra, "metadata", ())
    )


def _typed(hint: Any) -> Any:
    """Return the same type with each ``TypedDict`` as pydantic reads it anywhere.

    Before Python 3.12 it takes only those of ``typing_extensions``.
    """
    import typing_extensions

    if is_typeddict(hint):
        fields = get_type_hints(hint, include_extras=True)
        made = {
            name: (Required if name in hint.__required_keys__ else NotRequired)[
                _typed(one)
            ]
            for name, one in fields.items()
        }
        return typing_extensions.TypedDict(hint.__name__, made)  # type: ignore[operator]
    return rebuilt(hint, _typed)


def _validated(adapter: Any, value: Any) -> Any:
    """Validate as JSON: there a strict model takes a date or a UUID as text."""
    from pydantic import ValidationError

    try:
        return adapter.validate_json(written(_as_texts(value, adapter)))
    except ValidationError as exc:
        problems = [
            f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}"
            for e in exc.errors(include_url=False, include_context=False)[:_ERRORS_TOLD]
        ]
        raise ValueError("; ".join(problems)) from exc


def _as_texts(value: Any, adapter: Any) -> Any:
    """Return a value with numbers as texts where pydantic makes a ``Decimal`` of them.

    It reads numbers as floats, which lose digits, but texts whole. Where a ``Decimal``
    goes it says itself, of texts that are no numbers.
    """
    numbers: dict[str, Decimal] = {}

    def mark(one: Any) -> Any:
        if not isinstance(one, Decimal) or str(one) == repr(float(one)):
            return one
        numbers[name := f"\0{len(numbers)}"] = one
        return name

    marked = _mapped(value, mark)
    if not numbers:
        return value
    errors: list[Any] = []
    try:
        adapter.validate_json(written(marked))
    except Exception as exc:  # a type's own code may raise anything
        errors = getattr(exc, "errors", list)()
    exact = {e["input"] for e in errors if e["type"] == "decimal_parsing"}
    texts = {name: str(one) if name in exact else one for name, one in numbers.items()}
    return _mapped(marked, lambda one: texts.get(one, one))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {name: _mapped(one, change) for name, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return change(value)


def _plain(hint: Any) -> Any:
    """Replace what other libraries put into ``Annotated`` by msgspec's own words."""
    if isinstance(hint, type) and hint in _FORMATS:
        extra = {"format": _FORMATS[hint]}
        return Annotated[hint, msgspec.Meta(extra_json_schema=extra)]
    if get_origin(hint) is Annotated:
        kind, *extras = get_args(hint)
        return Annotated[(_plain(kind), *map(_meta, extras))]
    return rebuilt(hint, _plain)


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
    raise NotImplementedError  # msgspec then says which type it is


def _custom_value(kind: type, value: Any) -> Any:
    if hasattr(kind, "model_validate"):
        from pydantic import TypeAdapter

        return _validated(TypeAdapter(kind), value)
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    return kind(value)
