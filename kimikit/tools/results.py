"""Tell the model what a tool returned: all of it, or what was left out."""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from kimikit.json_values import without_noise

RESULT_LIMIT = 20_000
"""Characters of a tool's result that the model gets."""

_DEPTH = 100
_METHODS = ("tolist", "to_list", "to_pylist", "model_dump", "to_dict")
"""How values of numpy, polars, pyarrow and pydantic give themselves as plain ones."""


class Content(msgspec.Struct, frozen=True):
    """A result in words and pictures.

    Attributes:
        text: What the model is told, with a mention of each picture.
        pictures: The files of the pictures, which the views show.
    """

    text: str
    pictures: tuple[bytes, ...] = ()


def text_of(value: Any) -> str:
    """Return what the model is told of a tool's value.

    Text goes as it is, tables as CSV with the index that has a meaning, pictures as a
    mention, the rest as JSON where it has a JSON form and as ``str`` where not; longer
    than ``RESULT_LIMIT`` it is cut, and says so.
    """
    plain = _Plain()
    text = _whole(value, plain)
    text = _sent(text)
    if len(text) <= RESULT_LIMIT:
        return text
    size = f"more than {len(text):,}" if plain.left <= 0 else f"{len(text):,}"
    return f"{text[:RESULT_LIMIT]}\n[cut here: {RESULT_LIMIT:,} of {size} characters]"


def whole_text_of(value: Any, limit: int) -> str | None:
    """Return all that ``text_of`` would tell of a value, ``None`` if it is longer."""
    plain = _Plain(limit)
    text = _whole(value, plain)
    return None if plain.left <= 0 or len(text) > limit else text


def is_frame(value: Any) -> bool:
    """Tell whether ``value`` is a data frame of pandas."""
    return hasattr(value, "to_csv") and hasattr(value, "columns")


def is_picture(value: Any) -> bool:
    """Tell whether ``value`` is a figure or an image that can be shown as PNG."""
    return figure(value) is not None or png_of(value) is not None


def png_of(value: Any) -> bytes | None:
    """Return the picture that an image says it is; many objects say they are none.

    Such are all formulas of sympy, and what has no program to draw itself.
    """
    with contextlib.suppress(Exception):  # whatever is not there for drawing
        data = value._repr_png_()
        return bytes(data) or None
    return None


def figure(value: Any) -> Any:
    """Return the figure that ``value`` is, or whose axes it is; else None.

    pandas' ``plot()`` returns axes, or an array of them where it draws several.
    """
    if isinstance(getattr(value, "flat", None), Iterator) and value.size:
        value = value.flat[0]
    if hasattr(value, "savefig"):
        return value
    drawn = getattr(value, "figure", None)
    return drawn if hasattr(drawn, "savefig") else None


def _whole(value: Any, plain: _Plain) -> str:
    if isinstance(value, str) and not isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, Content):
        return value.text
    try:
        if is_picture(value):
            return "A picture, which is shown to the user."
        made = plain.of(value, 0)
        return made if isinstance(made, str) else msgspec.json.encode(made).decode()
    # The call went well, so what its value does to who looks is no error of the tool:
    # the model would call it again.
    except Exception:
        with contextlib.suppress(RecursionError):
            return _written(value)
        return f"[a {type(value).__name__} that is nested too deeply to be told]"


def _written(value: Any) -> str:
    """Return how a value writes itself, or that it does not."""
    try:
        return str(value)
    except RecursionError:
        raise
    except Exception as exc:
        kind = type(exc).__name__
        return f"[a {type(value).__name__} that does not write itself: {kind}]"


def _sent(text: str) -> str:
    """Return a text without lone surrogates, which cannot be sent."""
    return text.encode("utf-8", "replace").decode()


class _Plain:
    """Makes plain values in which nothing loses its meaning on the way to JSON.

    Attributes:
        left: Values that may still be written; each takes two characters or more, so
            what comes after them is cut from the text anyway.
    """

    def __init__(self, left: int = RESULT_LIMIT) -> None:
        self.left = left

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth > _DEPTH:
            raise RecursionError
        if isinstance(value, enum.Enum):
            return self.of(value.value, depth + 1)
        if value is None or isinstance(value, bool):
            return value
        # Of numpy's kinds some are kinds of Python's, which msgspec does not know.
        if isinstance(value, str):
            return _sent(value)
        if isinstance(value, int):
            return _number(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(float(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return _text_in(bytes(value))
        if (table := _table(value, self.left)) is not None:
            if len(table) > self.left:  # its end may not be in it
                self.left = 0
            return table
        if isinstance(value, tuple) and hasattr(value, "_asdict"):
            value = value._asdict()
        if isinstance(value, Mapping):
            out: Any = {}
            for key, one in value.items():
                if self.left <= 0:
                    break
                out[_key(key)] = self.of(one, depth + 1)
            return out
        own = any(hasattr(value, method) for method in _METHODS)
        if isinstance(value, Collection) and not own:
            return self._listed(value, depth)
        return self._other(value, depth)

    def _listed(self, value: Iterable[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        for one in value:
            if self.left <= 0:
                break
            out.append(self.of(one, depth + 1))
        return out

    def _other(self, value: Any, depth: int) -> Any:
        """Return a date, a dataclass and what others make as plain values."""
        value = without_noise(value)
        if str(getattr(value, "dtype", "")) in ("float16", "float32"):
            if type(value).__name__ == "ndarray" and value.ndim:
                return self._listed(value, depth)
            if getattr(value, "ndim", 1) == 0:
                # numpy writes the shortest that is it: 0.1, not 0.10000000149011612.
                return self.of(float(str(value)), depth + 1)
        made = msgspec.to_builtins(value, enc_hook=_given)
        return self.of(made, depth + 1)


def _given(value: Any) -> Any:
    for method in _METHODS:
        with contextlib.suppress(Exception):  # a ``to_dict`` that wants arguments
            if callable(getattr(value, method, None)):
                return getattr(value, method)()
    table = _table(value, RESULT_LIMIT)
    return _written(value) if table is None else table


def _key(key: Any) -> Any:
    key = key.value if isinstance(key, enum.Enum) else key
    return key if isinstance(key, int) else _sent(_written(key))


def _number(value: int) -> Any:
    """Return a whole number, one that Python does not write out as its digits."""
    if value.bit_length() < 14_000:  # about 4,200 digits, below Python's limit
        return value
    if value.bit_length() > 4 * RESULT_LIMIT:
        return f"[a whole number of about {int(value.bit_length() * 0.30103):,} digits]"
    return format(Decimal(value), "f")


def _text_in(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"[{len(data):,} bytes that are no text]"


def _table(value: Any, most: int) -> str | None:
    """Return a data frame or a series as CSV, with its index where it has a meaning.

    Of a million rows only the first are written: each cell takes a character or more.

    Args:
        value: What may be one.
        most: Characters that are told.
    """
    frame = is_frame(value)
    polars = hasattr(value, "write_csv") and hasattr(value, "columns")
    if not (polars or frame or (hasattr(value, "to_csv") and hasattr(value, "index"))):
        return None
    if hasattr(value, "head"):
        columns = len(value.columns) if polars or frame else 1
        value = value.head(most // max(1, columns) + 1)
    if polars:
        return str(value.write_csv())
    if not hasattr(value, "index"):
        return str(value.to_csv(index=False))
    # The numbers that pandas gives to rows by itself.
    numbered = type(value.index).__name__ == "RangeIndex" and (
        value.index.start,
        value.index.step,
    ) == (0, 1)
    named = getattr(value.index, "name", None) is not None
    plain = numbered and not named and frame
    return str(value.to_csv(index=not plain))
