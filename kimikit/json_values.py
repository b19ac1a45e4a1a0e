"""Turn values of any library into the JSON values that a host is sent.

Frames, arrays, enumerations and decimals carry the same numbers and texts as Python's
own types but encode as something else: float32 0.7 as 0.699999988079071, a ``Decimal``
as a text. All that goes out, is compared or becomes part of a key passes here once.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import json
import math
import numbers
import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, TypeGuard

import msgspec

from kimikit.errors import BadInput
from kimikit.secrets import Secret, encoded

_MOST_DIGITS = 400
"""Digits of a whole number that is still taken: more than any float has."""

_MISSING = " Use None for a value that is missing."
_AS_JSON = "Use numbers, texts, true, false, None, and lists or dicts of them."


def plain(value: Any, name: str = "a parameter") -> Any:
    """Return ``value`` as JSON has it, numbers as the shortest that are the same.

    Args:
        value: Anything made of numbers, texts, dates, enumerations, lists, dicts,
            arrays and series; also what has a ``schema`` (a tool) or is a ``Message``.
        name: What the value is called in an error.

    Raises:
        BadInput: If a part is no JSON value: NaN, bytes, a set, a frame, a cycle.
    """
    try:
        return _plain(value)
    except (TypeError, ValueError, ArithmeticError, RecursionError) as exc:
        why = str(exc) if isinstance(exc, _Unfit) else ""
        raise BadInput(
            f"{name} holds {short(value)}, which cannot be sent as JSON.{why}",
            _AS_JSON,
        ) from exc


def as_json(value: Any, name: str = "a parameter") -> str:
    """Return ``value`` as JSON text in which equal values are equal: 1.0 is 1."""
    try:
        return encoded(_same(plain(value, name)), order="sorted").decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadInput(
            f"{name} holds {short(value)}, which cannot be sent as JSON.", _AS_JSON
        ) from exc


def saved(value: Any) -> bytes:
    """Return JSON of structs and what they hold, for a file; see ``writable``."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(writable(msgspec.to_builtins(value)))


def digest(*parts: Any) -> str:
    """Return a short stable hash of JSON-like values."""
    return hashlib.sha256(as_json(parts).encode()).hexdigest()[:16]


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_within(value: object, low: float, high: float = math.inf) -> TypeGuard[float]:
    """Tell whether a value is a number from ``low`` to ``high``."""
    return is_number(value) and low <= value <= high


def is_count(value: object, least: int = 1) -> bool:
    """Tell whether a value is a whole number, numpy's too, not below another."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        return False
    return int(value) >= least


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse an option that has to be a whole number.

    Raises:
        BadInput: If it is none, or below ``least``.
    """
    if not is_count(value, least):
        remedy = f"Give a whole number from {least}."
        raise BadInput(f"{name} is {short(value)}.", remedy)


def check_above_0(name: str, value: object, most: float = math.inf) -> None:
    """Refuse an option that has to be a number above 0, numpy's too.

    Raises:
        BadInput: If it is none, or above ``most``.
    """
    fits = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (fits and 0 < value <= most):  # type: ignore[operator]
        limit = "" if most == math.inf else f", at most {most:,.0f}"
        raise BadInput(f"{name} is {short(value)}.", f"Give a number above 0{limit}.")


def decoder(*, strict: bool = True, exact: bool = False) -> json.JSONDecoder:
    """Return a reader of JSON that refuses what Python takes and JSON does not have.

    Those are ``NaN`` and ``Infinity``, and ``1e400``, which Python reads as infinity
    and which could be sent, saved and compared nowhere.

    Args:
        strict: Whether raw control characters in texts are refused too.
        exact: Whether a number with a point is a ``Decimal``, with all its digits.
    """
    kind = Decimal if exact else float
    return json.JSONDecoder(
        strict=strict, parse_constant=_decline, parse_float=partial(_finite_one, kind)
    )


def _decline(constant: str) -> Any:
    raise ValueError(f"{constant:.20} is no number of JSON")


def _finite_one(kind: type, number: str) -> Any:
    return kind(number) if math.isfinite(float(number)) else _decline(number)


def written(value: Any) -> bytes:
    """Return JSON of a value that ``decoder`` has read, numbers as they stood there."""
    try:
        return _write(value)
    except UnicodeEncodeError:
        return _write(writable(value))


_write = msgspec.json.Encoder(decimal_format="number").encode


def short(value: Any) -> str:
    """Return what a value looks like, in at most 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr is a user's code
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."


class _Unfit(TypeError):
    """A value that has no JSON form, with the reason as a sentence."""


def _plain(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is float:
        return _finite(value)
    if kind is int:
        if value.bit_length() > _MOST_DIGITS * 4:
            raise _Unfit(" It has too many digits.")
        return value
    if kind is str:
        return writable(value)
    if kind is dict:
        return _mapping(value)
    if kind is list or kind is tuple:
        return [_plain(each) for each in value]
    return _other(value)


def _other(value: Any) -> Any:
    """Return a value that is of no type of JSON's own."""
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return writable(str.__str__(value))
    if hasattr(value, "dtype") or hasattr(value, "to_list"):
        return _array(value)
    if isinstance(value, numbers.Number):
        return _number(value)
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas marks what is missing
        raise _Unfit(_MISSING)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple | range):
        return [_plain(each) for each in value]
    schema = getattr(value, "schema", None)
    if isinstance(schema, dict):
        return _plain(schema)
    if isinstance(value, msgspec.Struct) and hasattr(value, "to_dict"):
        return _plain(value.to_dict())
    raise _Unfit


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _Unfit(_MISSING)
    return value


def _number(value: Any) -> Any:
    """Return a number of another type as an int or as the nearest float."""
    if isinstance(value, numbers.Integral):
        return _plain(int(value))
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
            raise _Unfit
        whole = value == value.to_integral_value() and value.as_tuple().exponent == 0
        return int(value) if whole else _finite(float(value))
    if isinstance(value, numbers.Real):
        return _finite(float(value))
    raise _Unfit(" It is a complex number.")


def _array(value: Any) -> Any:
    """Return an array, a series or one number of numpy's, without its type's noise."""
    if getattr(value, "ndim", 1) > 1 and hasattr(value, "columns"):
        raise _Unfit(" Give one column, or frame.to_dict('records').")
    if getattr(value, "ndim", None) == 0:
        return _scalar(value[()] if hasattr(value, "__getitem__") else value)
    if not isinstance(value, Iterable):
        raise _Unfit
    return [_plain(each) for each in without_noise(value)]


def without_noise(value: Any) -> Any:
    """Return a series of float32 as numpy's, whose numbers are written as 0.1.

    Those of pandas and polars give Python's floats, such as 0.10000000149011612.
    """
    short_floats = str(getattr(value, "dtype", "")).lower() in ("float32", "float16")
    return value.to_numpy() if short_floats and hasattr(value, "to_numpy") else value


def _scalar(value: Any) -> Any:
    """Return one number, text or time of numpy's."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "f":
        return _finite(float(str(value)))  # numpy writes the shortest that is it
    if kind and kind in "mM":
        if str(value) == "NaT":
            raise _Unfit(_MISSING)
        return str(value)
    item = value.item() if hasattr(value, "item") else value
    if type(item) is type(value):
        raise _Unfit
    return _plain(item)


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    out = {_name(key): _plain(each) for key, each in value.items()}
    if len(out) < len(value):
        raise _Unfit(" Two of its keys are the same text.")
    return out


def _name(key: Any) -> str:
    made = _plain(key)
    if isinstance(made, str):
        return made
    if isinstance(made, list | dict):
        raise _Unfit(" Keys are texts in JSON.")
    return str(made)


def writable(value: Any) -> Any:
    """Return a text, or dicts and lists of texts, that UTF-8 can hold.

    Half of a surrogate pair becomes U+FFFD.
    """
    if isinstance(value, dict):
        return {writable(name): writable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        made = [writable(each) for each in value]
        return made if isinstance(value, list) else tuple(made)
    if not isinstance(value, str) or value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def _same(value: Any) -> Any:
    """Return plain JSON in which 1.0 is 1."""
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is list:
        return [_same(each) for each in value]
    if type(value) is dict:
        return {key: _same(each) for key, each in value.items()}
    return value
