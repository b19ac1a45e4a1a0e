"""A labelled set: what to do with each row, and when an answer to it is right."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, get_args, get_origin

import msgspec

from kimikit import schema
from kimikit.errors import BadInput
from kimikit.plain import plain, short
from kimikit.prompting.answers import (
    final_answer,
    last_number,
    one_of,
    true_or_false,
)
from kimikit.prompting.extract import find_fitting

MOST_LABELS = 12
"""More different answers than this are free text."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with each row of a labelled set.

    Whether the answers are numbers, true or false, labels, free text or objects is
    read off all of them.

    Attributes:
        instruction: What to do, in a sentence or two.
        rows: Pairs of question and right answer, to be scored.
        shots: Pairs to show as examples, never scored.
        name: What the set is called.
    """

    instruction: str
    rows: tuple[tuple[str, Any], ...]
    shots: tuple[tuple[str, Any], ...] = ()
    name: str = "task"

    def __post_init__(self) -> None:
        for name in ("rows", "shots"):
            pairs = _pairs(name, getattr(self, name))
            msgspec.structs.force_setattr(self, name, pairs)

    @classmethod
    def load(
        cls,
        path: str | Path,
        instruction: str,
        *,
        limit: int | None = None,
        shots: int = 4,
        seed: int = 0,
    ) -> Task:
        """Read a JSONL file whose lines have ``input`` and ``answer``.

        Args:
            path: The file.
            instruction: What to do with an input.
            limit: Score only so many rows, drawn at random.
            shots: How many rows to set aside as examples.
            seed: Draws the same rows again.

        Raises:
            BadInput: If the file is not there or has other lines.
        """
        try:
            # Only \n ends a line of JSONL; U+2028 and U+0085 are letters of a text.
            lines = Path(path).read_bytes().decode("utf-8-sig").split("\n")
            found = [json.loads(line) for line in lines if line.strip()]
            pairs = [(_question(row["input"]), row["answer"]) for row in found]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
            raise BadInput(
                f"{path} is no labelled set: {exc!r}.",
                "Give a JSONL file whose lines have 'input' and 'answer'.",
            ) from exc
        random.Random(seed).shuffle(pairs)
        rows, examples = tuple(pairs[shots:][:limit]), tuple(pairs[:shots])
        name = Path(path).stem
        return cls(instruction=instruction, rows=rows, shots=examples, name=name)

    @property
    def hint(self) -> Any:
        """The type of the answers."""
        answers = [answer for _, answer in (*self.rows, *self.shots)]
        if answers and all(isinstance(a, bool) for a in answers):
            return bool
        if all(_is_number(a) for a in answers):
            return float
        if all(isinstance(a, dict) for a in answers):
            return TypedDict("Answer", _fields(answers))  # type: ignore[operator]
        labels = tuple(sorted({_label(a) for a in answers}))
        return Literal[labels] if len(labels) <= MOST_LABELS else str

    @property
    def form(self) -> str:
        """What an answer looks like, to end an instruction with."""
        hint = self.hint
        if hint in _FORMS:
            return _FORMS[hint]
        if labels := get_args(hint):
            return f"one of: {', '.join(labels)}"
        kinds = {k: _kind(v) for k, v in hint.__annotations__.items()}
        return f"JSON of the form {json.dumps(kinds, ensure_ascii=False)}"

    def extract(self, text: str) -> Any:
        """Return the answer in a text, ``None`` where there is none of this type."""
        hint = self.hint
        if hint in _READ:
            return _READ[hint](text)
        if labels := get_args(hint):
            return one_of(text, labels)
        try:
            return find_fitting(text, lambda value: schema.convert(value, hint))[0]
        except (ValueError, RecursionError):
            return None


_FORMS: dict[Any, str] = {
    bool: "true or false", float: "the number", str: "as few words as possible",
}  # fmt: skip
_READ: dict[Any, Any] = {bool: true_or_false, float: last_number, str: final_answer}


def _pairs(name: str, given: Any) -> tuple[tuple[str, Any], ...]:
    """Return pairs of question and answer, from pairs or from a frame's columns."""
    if hasattr(given, "columns"):
        if not {"input", "answer"} <= set(given.columns):
            raise BadInput(
                f"{name} is a frame with the columns {list(given.columns)}.",
                "Name two of them 'input' and 'answer', or give pairs.",
            )
        given = zip(given["input"], given["answer"], strict=True)
    made = []
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise BadInput(f"{name} is {short(given)}.", "Give question-answer pairs.")
    for number, row in enumerate(given):
        match row:
            case (asked, answer) if not isinstance(row, str | Mapping):
                where = f"{name}[{number}]"
                made.append((_question(plain(asked, where)), plain(answer, where)))
            case _:
                raise BadInput(
                    f"{name}[{number}] is {short(row)}, no question with its answer.",
                    "Give pairs, or a frame with the columns 'input' and 'answer'.",
                )
    return tuple(made)


def _question(asked: Any) -> str:
    return asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fields(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the type that each field has in all rows together."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(name for answer in answers for name in answer):
        some = [answer[name] for answer in answers if name in answer]
        kinds = {type(value) for value in some if value is not None}
        if kinds == {int, float}:
            kinds = {float}
        kind: Any = kinds.pop() if len(kinds) == 1 else (Any if kinds else None)
        lacking = len(some) < len(answers)
        if kind is not None and kind is not Any and (lacking or None in some):
            kind = kind | None
        out[name] = NotRequired[kind] if lacking else kind
    # msgspec 0.22 matches a name outside ASCII only if its UTF-8 form was made before.
    msgspec.json.encode(list(out))
    return out


def _kind(hint: Any) -> str:
    """Return what a field's type is called in an instruction."""
    if get_origin(hint) is NotRequired:
        return _kind(get_args(hint)[0])
    if hint in (None, type(None)):
        return "null"
    if kinds := get_args(hint):
        return f"{kinds[0].__name__} or null"
    return "any" if hint is Any else str(hint.__name__)


def is_right(answer: Any, truth: Any) -> bool:
    """Compare numbers within 1e-6, texts without case, objects field by field.

    A field that is missing is one that is ``None``.
    """
    if isinstance(truth, dict):
        return isinstance(answer, dict) and all(
            is_right(answer.get(key), truth.get(key)) for key in {**truth, **answer}
        )
    if isinstance(truth, list):
        same = isinstance(answer, list) and len(answer) == len(truth)
        return same and all(map(is_right, answer, truth))
    if truth is None or isinstance(truth, bool):
        return type(answer) is type(truth) and answer == truth
    if isinstance(truth, int | float):
        return _is_number(answer) and _close(answer, truth)
    return _folded(answer) == _folded(truth)


def _close(one: float, two: float) -> bool:
    try:
        return math.isclose(one, two, rel_tol=1e-6)
    except OverflowError:  # a whole number beyond any float
        return one == two


def _folded(value: Any) -> str:
    text = value if isinstance(value, str) else _label(value)
    return unicodedata.normalize("NFKC", text).strip().casefold()
