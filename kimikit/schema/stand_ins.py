"""Read classes that are made of other fields than msgspec asks for.

It asks for each field of a dataclass, those too that its ``__init__`` does not take,
refuses ``InitVar`` and ``ReadOnly``, and takes a named tuple as a list alone. Where a
type has such a class in it, an equal one stands in for it while JSON is read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from types import UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

Field = tuple[str, str, Any, tuple[Any, ...]]
"""An argument, its name in JSON, its type, and its default if it has one."""

_AROUND = ("Required", "NotRequired", "ReadOnly")
_TOLD = (str, int, float, bool, type(None))
"""Types of defaults that stand in a schema."""
_open: dict[str, Any] = {}
"""Stand-ins for classes that hold themselves, by the names in their annotations."""


def stand_in(hint: Any, *, objects: bool = False) -> Any:
    """Return a type that JSON is read as, of which ``built`` makes the one wanted.

    Args:
        hint: The type wanted.
        objects: Whether a named tuple may be an object too.
    """
    try:
        found = _cached(hint, objects=objects)
    except TypeError:  # what stands in an Annotated cannot always be hashed
        return _Maker(objects=objects).made(hint)
    return hint if found == hint else found  # equal ones may list labels otherwise


def built(value: Any) -> Any:
    """Return what was read with the classes themselves in the places of stand-ins."""
    kind = type(value)
    if made_of := getattr(kind, "__stands_for__", None):
        names = kind._fields if _is_named(kind) else kind.__struct_fields__
        given = {name: getattr(value, name) for name in names}
        return made_of(
            **{n: built(v) for n, v in given.items() if v is not msgspec.UNSET}
        )
    if kind is dict:
        return {built(name): built(one) for name, one in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(built, value))
    return value


def rebuilt(hint: Any, change: Callable[[Any], Any]) -> Any:
    """Return a type with what it is made of changed, as ``int`` of ``list[int]``."""
    args, origin = get_args(hint), get_origin(hint)
    if not args or origin is Literal:
        return hint
    rest = args[1:] if origin is Annotated else tuple(map(change, args[1:]))
    made = (change(args[0]), *rest)
    generic: Any = Union if origin is UnionType else origin
    return generic[made] if made != args else hint


def parts_of(hint: Any, *, inside: bool = False, seen: Any = None) -> Iterator[Any]:
    """Yield all that a type is made of, and whether a class's field holds it."""
    seen = set() if seen is None else seen
    if id(hint) in seen:
        return
    seen.add(id(hint))
    yield hint, inside
    hint = getattr(hint, "__supertype__", getattr(hint, "__value__", hint))
    inner: list[tuple[Any, bool]] = []
    if get_origin(hint) is not Literal:
        some = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
        inner = [(one, inside) for one in some]
    if isinstance(hint, type) and not hasattr(hint, "__pydantic_validator__"):
        with contextlib.suppress(Exception):  # names that are not there, told later
            fields = get_type_hints(hint, include_extras=True)
            inner += [(one, True) for one in fields.values()]
    for one, deeper in inner:
        yield from parts_of(one, inside=deeper, seen=seen)


@functools.lru_cache(maxsize=256)
def _cached(hint: Any, *, objects: bool) -> Any:
    return _Maker(objects=objects).made(hint)


class _Maker:
    """Makes the stand-ins of one type."""

    def __init__(self, *, objects: bool) -> None:
        self._objects = objects
        self._known: dict[Any, Any] = {}

    def made(self, hint: Any) -> Any:
        hint = getattr(hint, "__supertype__", hint)  # of a NewType
        kind = get_origin(hint) or hint
        if not _is_record(kind):
            return rebuilt(hint, self.made)
        if hint in self._known:
            return self._known[hint]
        parts = (*parts_of(kind), *parts_of(hint))
        if not any(self._is_odd(part) for part, _ in parts):
            return hint
        name = f"{kind.__qualname__} {id(hint)} {self._objects}"
        self._known[hint] = ForwardRef(f"_open[{name!r}]")
        try:
            found = self._class(hint, kind)
        except Exception:  # names that are not there, told by msgspec
            found = hint
        self._known[hint] = _open[name] = found
        return found

    def _is_odd(self, kind: Any) -> bool:
        """Tell whether msgspec reads a class itself in another way than it is made."""
        if not _is_record(kind):
            return False
        hints: Any = ()
        fields = getattr(kind, "__attrs_attrs__", ())
        if dataclasses.is_dataclass(kind):
            fields, hints = dataclasses.fields(kind), _hints(kind).values()
        elif _is_typed(kind):
            hints = _hints(kind).values()
        odd = any(
            isinstance(hint, dataclasses.InitVar) or "ReadOnly" in _words(hint)
            for hint in hints
        )
        unasked = any(not field.init for field in fields)
        return odd or unasked or (self._objects and _is_named(kind))

    def _class(self, hint: Any, kind: Any) -> Any:
        make: Any
        if _is_typed(kind):
            fields, required = {}, kind.__required_keys__
            for name, entry in _hints(hint).items():
                needed = "NotRequired" not in _words(entry)
                form: Any = Required if needed and name in required else NotRequired
                fields[name] = form[self.made(_bare(entry))]
            make = TypedDict
            typed = make(kind.__name__, fields)
            typed.__module__ = __name__
            return typed
        options: dict[str, Any] = {}
        if issubclass(kind, msgspec.Struct):
            names = ("tag", "tag_field", "array_like", "forbid_unknown_fields")
            options = {n: getattr(kind.__struct_config__, n) for n in names}
        every = [(n, t, self.made(f), d) for n, t, f, d in _fields(hint, kind)]
        if _is_named(kind):
            make = NamedTuple
            listed = make(kind.__name__, [(name, form) for name, _, form, _ in every])
            listed._field_defaults = kind._field_defaults
            listed.__new__.__defaults__ = tuple(kind._field_defaults.values())
            listed.__stands_for__, listed.__module__ = kind, __name__
            if not self._objects:
                return listed
        made = msgspec.defstruct(
            kind.__name__,
            [(name, form, *default) for name, _, form, default in every],
            module=__name__,
            namespace={"__stands_for__": kind},
            frozen=True,
            kw_only=True,
            rename={name: told for name, told, _, _ in every},
            **options,
        )
        return Union[listed, made] if _is_named(kind) else made  # noqa: UP007


def _fields(hint: Any, kind: Any) -> Iterator[Field]:
    """Yield what a class is made of: what its ``__init__`` takes."""
    if issubclass(kind, msgspec.Struct):
        for one in msgspec.structs.fields(hint):
            default = () if one.required else _told(one.default)
            yield one.name, one.encode_name, one.type, default
        return
    hints = _hints(hint)
    attributes = {f.alias: f.name for f in getattr(kind, "__attrs_attrs__", ())}
    for name, parameter in inspect.signature(kind).parameters.items():
        told = attributes.get(name, name)
        form = hints.get(told, Any) if _is_named(kind) else hints[told]
        if isinstance(form, dataclasses.InitVar):
            form = form.type
        own = parameter.default
        yield name, told, form, () if own is parameter.empty else _told(own)


def _told(default: Any) -> tuple[Any]:
    """Return a default for the schema; any other the class puts in its place itself."""
    return (default if isinstance(default, _TOLD) else msgspec.UNSET,)


def _hints(hint: Any) -> dict[str, Any]:
    """Return the types of a class's fields, those that it is generic in as given."""
    kind = get_origin(hint) or hint
    given = dict(zip(getattr(kind, "__parameters__", ()), get_args(hint), strict=False))
    hints = get_type_hints(kind, include_extras=True)
    for name, form in hints.items() if given else ():
        if names := getattr(form, "__parameters__", ()):
            form = form[tuple(given.get(one, one) for one in names)]
        hints[name] = given.get(form, form)
    return hints


def _is_record(kind: Any) -> bool:
    """Tell whether a type is a class with fields, and none that pydantic reads."""
    if not isinstance(kind, type) or hasattr(kind, "__pydantic_validator__"):
        return False
    fields = any(hasattr(kind, n) for n in ("__attrs_attrs__", "__struct_fields__"))
    return (
        fields or dataclasses.is_dataclass(kind) or _is_typed(kind) or _is_named(kind)
    )


def _is_typed(kind: type) -> bool:
    return issubclass(kind, dict) and hasattr(kind, "__total__")


def _is_named(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _words(hint: Any) -> list[str]:
    """Return what stands around the type of a TypedDict's entry."""
    named = getattr(get_origin(hint), "_name", None)
    inner = get_args(hint)[0] if named in _AROUND else None
    return [named, *_words(inner)] if named in _AROUND else []


def _bare(hint: Any) -> Any:
    while getattr(get_origin(hint), "_name", None) in _AROUND:
        hint = get_args(hint)[0]
    return hint
