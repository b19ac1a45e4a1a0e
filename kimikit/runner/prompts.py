"""Read many prompts: texts, conversations, or rows for a template."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from kimikit.errors import BadInput, nearest
from kimikit.json_values import short
from kimikit.types import Message, Reply

PROMPT = "prompt"
"""The column that holds the prompts of a frame which has no template."""

_GIVE = (
    "Give a list of texts or of conversations, or rows (a frame, a list of dicts) with "
    "template='... {column} ...'."
)


class Prompts(NamedTuple):
    """Prompts, each with the row of the input that it was made of.

    Attributes:
        asked: A text or messages for each.
        rows: The columns of the input for each.
        frame: The pandas frame that was given, if one was.
    """

    asked: list[Any]
    rows: list[dict[str, Any]]
    frame: Any = None


def read_prompts(given: Any, template: str | None) -> Prompts:
    """Return the prompts that a user gave, in their order.

    Args:
        given: Texts, conversations, rows (dicts, a frame of pandas or polars, a table
            of pyarrow), or a column of a frame.
        template: What to ask of each row, with the names of its columns in braces; of
            a text with one name in braces.

    Raises:
        BadInput: If a prompt cannot be made of each of them.
    """
    frame = given if hasattr(given, "itertuples") else None
    rows = frame_rows(given)
    items = _listed(given) if rows is None else rows
    if template is not None:
        pieces = _parsed(template)
        if rows is None:
            items = _as_rows(items, pieces)
        columns = {name for row in items for name in row}
        asked = [
            _filled(pieces, row, place, columns) for place, row in enumerate(items)
        ]
        return Prompts(asked, items, frame)
    if rows is not None:
        name = _column_of_prompts(rows)
        asked = [present(row, name, place) for place, row in enumerate(rows)]
        return Prompts(asked, rows, frame)
    _check_items(items)
    return Prompts(items, [{PROMPT: item} for item in items])


def column_in(given: Any) -> str:
    """Return the column that a text such as ``{picture}`` names, empty for none."""
    found = re.fullmatch(r"\{([^{}]+)\}", given) if isinstance(given, str) else None
    return "" if found is None else found[1]


def frame_rows(given: Any) -> list[dict[str, Any]] | None:
    """Return the rows of a frame, of whatever library; ``None`` for anything else."""
    if hasattr(given, "to_native"):  # narwhals' own
        given = given.to_native()
    names = getattr(given, "columns", getattr(given, "column_names", None))
    if names is None or isinstance(given, Mapping):
        return None
    for name, arguments in (
        ("to_dicts", ()),
        ("to_pylist", ()),
        ("to_dict", ["records"]),
    ):
        if hasattr(given, name):
            names = list(getattr(given, "column_names", names))
            if len(set(map(str, names))) < len(names):
                raise BadInput("Two columns have one name.", "Rename one of them.")
            rows: list[Any] = getattr(given, name)(*arguments)
            _shorten(given, names, rows)
            return [{str(key): value for key, value in row.items()} for row in rows]
    return None


_SINGLE = {
    "float32": "f4", "float": "f4", "float[pyarrow]": "f4",
    "float16": "f2", "halffloat": "f2", "halffloat[pyarrow]": "f2",
}  # fmt: skip
"""What libraries call columns of fewer digits; those without numbers are Arrow's."""


def _shorten(given: Any, names: list[Any], rows: list[dict[Any, Any]]) -> None:
    """Write float32's 0.1 as 0.1, which is 0.10000000149011612 as Python's float."""
    for name in names:
        column = given[name]
        kind = str(getattr(column, "dtype", getattr(column, "type", ""))).lower()
        if kind in _SINGLE:
            import numpy as np

            short_of = np.dtype(_SINGLE[kind]).type
            for row in rows:
                if isinstance(row[name], float):
                    row[name] = float(str(short_of(row[name])))


def _listed(given: Any) -> list[Any]:
    """Return what is no frame as a list."""
    if isinstance(given, str | Message | Reply):
        raise BadInput("This is one prompt.", "Use kimi.chat, or give a list.")
    for name in ("to_list", "tolist", "to_pylist"):  # columns and arrays
        if hasattr(given, name):
            given = getattr(given, name)()
    if isinstance(given, Mapping | bytes) or not isinstance(given, Iterable):
        raise BadInput(f"The prompts are {short(given)}.", _GIVE)
    return list(given)


def _check_items(items: Sequence[Any]) -> None:
    """Refuse rows without a template, and one conversation taken for many prompts."""
    roles = {
        each["role"] for each in items if isinstance(each, Mapping) and "role" in each
    }
    roles |= {each.role for each in items if isinstance(each, Message)}
    if roles - {"user"}:
        raise BadInput(
            "These are the messages of one conversation, not many prompts.",
            "Use kimi.chat for it, or give a list of conversations: [messages, ...].",
        )
    for place, item in enumerate(items):
        if isinstance(item, Mapping) and "role" not in item:
            raise BadInput(
                f"Prompt {place} is a dict of {', '.join(map(str, item))[:80]}.",
                "Say what to ask of each with template='... {column} ...'.",
            )
        if not isinstance(item, str | Mapping | Message | Reply | Sequence):
            raise BadInput(f"Prompt {place} is {short(item)}.", _GIVE)


_Piece = tuple[str, str | None, str, str | None]
"""A text, then a column with its format and conversion, if one follows."""


def _parsed(template: Any) -> list[_Piece]:
    """Return the pieces of a template; it reaches the values of a row, nothing in them.

    Raises:
        BadInput: If it is no template, or names no column.
    """
    if not isinstance(template, str):
        raise BadInput(f"template is {short(template)}.", "Give a text.")
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as exc:
        raise BadInput(
            f"The template cannot be read: {exc}.",
            "Write {{ and }} for braces that are meant as such.",
        ) from exc
    fields = [name for _, name, _, _ in pieces if name is not None]
    if not fields or any("{" in (spec or "") for _, _, spec, _ in pieces):
        raise BadInput(
            f"template={template!r:.80} names no column in plain braces.",
            "Write the columns in braces, such as 'Translate {text} into {language}.'",
        )
    return [
        (text, name, spec or "", conversion) for text, name, spec, conversion in pieces
    ]


def _as_rows(items: list[Any], pieces: list[_Piece]) -> list[dict[str, Any]]:
    """Return dicts as they are, and texts under the one name that the template has."""
    fields = dict.fromkeys(name for _, name, _, _ in pieces if name is not None)
    rows = []
    for place, item in enumerate(items):
        if isinstance(item, Mapping):
            rows.append({str(key): value for key, value in item.items()})
        elif len(fields) == 1 and isinstance(item, str | int | float):
            rows.append(dict.fromkeys(fields, item))
        else:
            raise BadInput(
                f"Prompt {place} is {short(item)}, and the template wants "
                f"{', '.join(fields)}.",
                "Give dicts with these keys, or a frame with these columns.",
            )
    return rows


def _filled(
    pieces: list[_Piece], row: dict[str, Any], place: int, columns: Iterable[str]
) -> str:
    parts = []
    for text, name, spec, conversion in pieces:
        parts.append(text)
        if name is None:
            continue
        known(
            name, columns, "The template", " Braces of the text itself are {{ and }}."
        )
        value = present(row, name, place)
        try:
            value = string.Formatter().convert_field(value, conversion)
            # numpy writes a float32 as it is, and formats it as Python's float.
            told = hasattr(value, "dtype") and not spec
            parts.append(str(value) if told else format(value, spec))
        except (ValueError, TypeError) as exc:
            raise BadInput(
                f"Row {place}: {name!r} is {short(value)}, which has no format "
                f"{spec!r}: {exc}.",
                "Change the template, or the column's type.",
            ) from exc
    return "".join(parts)


def known(name: str, columns: Iterable[str], what: str, more: str = "") -> None:
    """Refuse a name that no column has."""
    if name not in columns:
        raise BadInput(
            f"{what} wants {name!r}, and no column has that name."
            f"{nearest(name, columns)}",
            f"Columns: {', '.join(columns)[:200]}.{more}",
        )


def present(row: Mapping[str, Any], name: str, place: int) -> Any:
    """Return a value of a row; what is missing would be asked as 'nan'."""
    value = row.get(name)
    missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    if missing or (isinstance(value, float) and math.isnan(value)):
        raise BadInput(
            f"Row {place} has no value for {name!r}.",
            f"Leave such rows out, as with frame.dropna(subset=[{name!r}]).",
        )
    return value


def _column_of_prompts(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the column to ask where there is no template."""
    names = list(rows[0]) if rows else [PROMPT]
    if PROMPT in names:
        return PROMPT
    if len(names) == 1:
        return names[0]
    raise BadInput(
        f"The frame has the columns {', '.join(names)[:200]}, and none is {PROMPT!r}.",
        "Say what to ask with template='... {column} ...', or give one column.",
    )
