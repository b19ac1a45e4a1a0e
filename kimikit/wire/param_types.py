"""Refuse a parameter of a type that no host takes, before a request is sent with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from kimikit.errors import BadInput
from kimikit.json_values import is_number, short
from kimikit.params import CompletionParams

_ELSEWHERE = frozenset({"extra_headers", "extra_body"})
"""Parameters that are checked where they are taken apart."""


_KINDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Mapping: "a dict",
    Sequence: "a list of texts",
}
"""What each type is called that an annotation names."""

_TAKEN = {
    name: [get_origin(one) or one for one in (get_args(hint) or (hint,))[:-1]]
    for name, kind in CompletionParams.__annotations__.items()
    if name not in _ELSEWHERE and (hint := get_args(kind)[0]) is not Any
}
"""Each parameter of a known type with what may be given; ``None`` is left out."""


def refuse_other_types(params: Mapping[str, Any]) -> None:
    """Refuse a value of another type than its parameter has.

    Raises:
        BadInput: With the value, and what to pass.
    """
    for name, value in params.items():
        kinds = _TAKEN.get(name)
        if value is None or not kinds or any(_is_of(value, kind) for kind in kinds):
            continue
        takes = " or ".join(map(_KINDS.__getitem__, kinds))
        raise BadInput(f"{name} is {short(value)}.", f"Pass {takes}.")


def _is_of(value: Any, kind: Any) -> bool:
    if kind is Sequence:
        listed = isinstance(value, list | tuple)
        return listed and all(isinstance(each, str) for each in value)
    if kind in (int, float):
        return is_number(value) and (kind is float or isinstance(value, int))
    return isinstance(value, kind)
