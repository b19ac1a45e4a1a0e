"""Read the rows of a labelled set, from a file or a frame, as questions and answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kimikit.errors import BadInput, nearest
from kimikit.files import csv_rows
from kimikit.json_values import decoder, plain, short
from kimikit.runner.prompts import frame_rows, present, read_prompts

_WORDS = {"True": True, "False": False, "TRUE": True, "FALSE": False}
"""How frames and spreadsheets write what is true."""


def read_rows(source: Any, answer: str) -> list[dict[str, Any]]:
    """Return the rows of a JSONL or CSV file, of a frame, or of a list of dicts.

    In a CSV file an empty cell is missing, and answers are numbers, truths or objects
    where all of them are such.

    Raises:
        BadInput: If it holds no rows.
    """
    if isinstance(source, str | Path):
        rows = _file_rows(Path(source), answer)
    else:
        rows = frame_rows(source) or _dicts(source)
    if not rows:
        raise BadInput("The labelled set has no rows.", "Give at least one row.")
    return rows


def labelled(
    rows: list[dict[str, Any]], prompt: str | None, answer: str
) -> list[tuple[str, Any]]:
    """Return for each row its question and its right answer.

    Raises:
        BadInput: If a row lacks what the prompt names, or its answer.
    """
    columns = {name for row in rows for name in row}
    for name, option in (("input", "prompt"), (answer, "answer")):
        if name not in columns and not (option == "prompt" and prompt):
            raise BadInput(
                f"This is no labelled set: it has no column {name!r}."
                f"{nearest(name, columns)}",
                f"Say with {option}= what to take of {', '.join(sorted(columns))}.",
            )
    if prompt is None:
        asked = [present(row, "input", place) for place, row in enumerate(rows)]
    else:
        asked = read_prompts(rows, prompt).asked
    truths = [present(row, answer, place) for place, row in enumerate(rows)]
    return [
        (question(plain(one, "a question")), plain(truth, answer))
        for one, truth in zip(asked, truths, strict=True)
    ]


def question(asked: Any) -> str:
    """Return a question as text: an object is written as JSON."""
    return asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False)


def _dicts(source: Any) -> list[dict[str, Any]]:
    rows = source if isinstance(source, list | tuple) else None
    if rows is None or not all(isinstance(row, Mapping) for row in rows):
        raise BadInput(
            f"The labelled set is {short(source)}.",
            "Give the path of a JSONL or CSV file, a frame, or a list of dicts.",
        )
    return [{str(key): value for key, value in row.items()} for row in rows]


def _file_rows(path: Path, answer: str) -> list[dict[str, Any]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if path.suffix.lower() == ".csv":
            return _csv(text, answer)
        # Only \n ends a line of JSONL; U+2028 and U+0085 are letters of a text.
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise TypeError(f"row {number} is {short(row)}")
    except (OSError, ValueError, TypeError, RecursionError, csv.Error) as exc:
        raise BadInput(
            f"{path} is no labelled set: {exc!r}.",
            "Give a JSONL file of objects such as {'input': ..., 'answer': ...}, or a "
            "CSV file with a line of names.",
        ) from exc
    return rows


def _csv(text: str, answer: str) -> list[dict[str, Any]]:
    names, lines = csv_rows(text.lstrip("\r\n"), strict=True)
    if len(set(names)) < len(names):
        raise ValueError("two columns have one name")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines):
        # The reader fills a short row with None, and has what is too much under None.
        cells = len(names) - [*line.values()].count(None) + len(line.get(None, ()))
        if cells != len(names):
            raise ValueError(f"row {number} has {cells} cells, not {len(names)}")
        rows.append({name: cell or None for name, cell in line.items()})
    if answer in names:
        typed = _typed([row[answer] for row in rows])
        rows = [{**row, answer: one} for row, one in zip(rows, typed, strict=True)]
    return rows


def _typed(cells: list[str | None]) -> list[Any]:
    """Return answers as numbers, truths or objects if each of them is one."""
    read = decoder().decode
    try:
        return [
            None if cell is None else _WORDS[cell] if cell in _WORDS else read(cell)
            for cell in cells
        ]
    except ValueError:
        return list(cells)
