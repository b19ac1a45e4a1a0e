"""Read values of a host's JSON, of any type, as the one wanted or as empty."""

from __future__ import annotations

import contextlib
import json
import sys
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from kimikit.json_values import writable

MOST = 2**53
"""The largest whole number that is believed: beyond it, floats skip numbers."""
_LONGEST = 400
"""Digits of a whole number that is decoded; Python refuses 4,300."""
_DIGITS = 40
"""The longest number written as text that is read at all."""


def as_dict(value: object) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return an array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_str(value: object) -> str:
    """Return text, an empty one for anything else."""
    return value if isinstance(value, str) else ""


def as_decimal(value: object, most: Decimal | int = MOST) -> Decimal | None:
    """Return a number from 0 to ``most``, also one written as text.

    This is the one reader of the figures that hosts report: nothing that it returns is
    negative, not finite, or too large for a sum or a column of 64 bits. ``None`` means
    that the figure is not known.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and not 0 <= value <= most:
        return None  # before it becomes text: Python refuses more than 4,300 digits
    text = str(value).strip()
    if len(text) > _DIGITS or not text.isascii() or "_" in text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number <= most else None


def as_count(value: object, most: int = MOST) -> int | None:
    """Return a whole number from 0 to ``most``; a fraction is rounded down."""
    if type(value) is int:
        return value if 0 <= value <= most else None
    number = as_decimal(value, most)
    return None if number is None else int(number)


def read_json(data: bytes | str) -> Any:
    """Decode JSON as hosts write it.

    Raw control characters, ``NaN``, numbers of thousands of digits (as 1e400) and
    halves of surrogate pairs are taken; the halves stay, as the other one may come in
    the next chunk: ``mend`` what is kept.

    Raises:
        ValueError: If it is no JSON.
        RecursionError: If it is nested too deep.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    # Their errors hold what was read, and with it a key that a host repeats.
    with contextlib.suppress(json.JSONDecodeError):
        try:
            return json.loads(text, strict=False, parse_int=_int)
        except RecursionError as exc:
            raise exc.with_traceback(None)  # noqa: B904
    raise ValueError("This is no JSON.")


def as_object(text: bytes | str) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else."""
    try:
        return as_dict(mend(read_json(text)))
    except (ValueError, RecursionError):
        return {}


def _int(digits: str) -> int:
    return int(digits) if len(digits) <= _LONGEST else 10**_LONGEST


def mend(value: Any) -> Any:
    """Return a value whose texts UTF-8 can hold: both halves of a pair are joined.

    Half of a surrogate pair could be shown, but never written down; it becomes U+FFFD.
    A whole number of over 64 bits becomes a float, the largest where it is larger, and
    what is nested too deep to be looked through is left out: all can be encoded.
    """
    if isinstance(value, str):
        return writable(value)
    if type(value) is int and value.bit_length() > 63:
        if value.bit_length() < 1024:
            return float(value)
        return sys.float_info.max if value > 0 else -sys.float_info.max
    try:
        if isinstance(value, dict):
            return {mend(name): mend(each) for name, each in value.items()}
        if isinstance(value, list):
            return [mend(each) for each in value]
    except RecursionError:
        return None
    return value
