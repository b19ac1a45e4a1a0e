"""Refuse a parameter of a type that no host takes, before a request is sent with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

from kimikit.errors import BadInput
from kimikit.json_values import is_number, short
from kimikit.params import CompletionParams

_ELSEWHERE = frozenset({"extra_headers", "extra_body"})
"""Parameters that are checked where they are taken apart."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and is_number(value)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (_is_text, "text"),
    int: (_is_whole, "a whole number"),
    float: (is_number, "a number"),
    bool: (_is_truth, "True or False"),
    Mapping: (_is_dict, "a dict"),
    Sequence: (_is_texts, "a list of texts"),
}
"""For each type that an annotation names: what holds it, and what it is called."""

_TAKEN = {
    name: [_KINDS[get_origin(one) or one] for one in (get_args(hint) or (hint,))[:-1]]
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
        if value is None or not kinds or any(holds(value) for holds, _ in kinds):
            continue
        takes = " or ".join(words for _, words in kinds)
        raise BadInput(f"{name} is {short(value)}.", f"Pass {takes}.")
