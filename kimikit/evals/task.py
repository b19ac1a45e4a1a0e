"""Describe a labelled set: what to do with each row, and when an answer is right."""

from __future__ import annotations

import itertools
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
from kimikit.evals.rows import labelled, question, read_rows
from kimikit.json_values import check_count, is_number, plain, short
from kimikit.prompting.answers import (
    final_answer,
    last_number,
    one_of,
    true_or_false,
)
from kimikit.prompting.extract import find_fitting
from kimikit.prompting.numbers import numbers
from kimikit.runner.prompts import frame_rows

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
        metrics: What judges an answer, as ``lab`` takes it; by default the answer is
            found by its type and compared with the right one.
        variants: The same rows asked in several ways, by name: prompts, instructions.
        written: Whether the questions are whole prompts, to be asked as they are.
        columns: What else is known of each row, such as how hard it is.

    Example:
        >>> rows = [("Capital of Italy?", "Rome"), ("Capital of Spain?", "Madrid")]
        >>> task = Task(instruction="Name the city.", rows=rows)
        >>> task.extract("It is Rome.")
        'Rome'
    """

    instruction: str
    rows: tuple[tuple[str, Any], ...]
    shots: tuple[tuple[str, Any], ...] = ()
    name: str = "task"
    metrics: Any = None
    variants: Mapping[str, Task] = {}
    written: bool = False
    columns: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name in ("rows", "shots"):
            pairs = _pairs(name, getattr(self, name))
            msgspec.structs.force_setattr(self, name, pairs)

    @classmethod
    def load(
        cls,
        source: Any,
        instruction: str | Mapping[str, str] = "",
        *,
        prompt: str | Mapping[str, str] | None = None,
        answer: str = "answer",
        metrics: Any = None,
        limit: int | None = None,
        shots: int = 4,
        seed: int = 0,
        name: str | None = None,
    ) -> Task:
        """Read a labelled set, and make a question of each row.

        Args:
            source: The path of a JSONL or CSV file; or rows: a frame of any library,
                a list of dicts.
            instruction: What to do with a row, which goes before it as system prompt.
                Several by name are an axis.
            prompt: What to ask of each row, with its columns in braces: ``"Translate
                {text} into {language}."`` Several by name are an axis. Without, the
                column ``input`` is the question.
            answer: The column of the right answers.
            metrics: What judges an answer, as ``lab`` takes it.
            limit: Score only so many rows, drawn at random.
            shots: How many rows to set aside as examples.
            seed: Draws the same rows again.
            name: What to call it; a file's own name if left out.

        Raises:
            BadInput: If the file is not there, a row lacks what a prompt names, or no
                row is left beside the examples.

        Example:
            >>> rows = [{"country": "France", "city": "Paris"}]
            >>> ways = {"short": "Capital of {country}?", "kind": "Dear, {country}?"}
            >>> task = Task.load(rows, prompt=ways, answer="city", shots=0)
            >>> {name: each.rows for name, each in task.variants.items()}
            {'short': (('Capital of France?', 'Paris'),),
             'kind': (('Dear, France?', 'Paris'),)}
        """
        _check_counts(limit, shots, seed)
        rows = read_rows(source, answer)
        random.Random(seed).shuffle(rows)
        path = isinstance(source, str | Path)
        prompts, systems = _named("prompt", prompt), _named("instruction", instruction)
        made: dict[str, Task] = {}
        for (one, asked), (two, system) in itertools.product(prompts, systems):
            pairs = labelled(rows, asked, answer)
            made[" · ".join(filter(None, [one, two]))] = cls(
                instruction=system or "",
                rows=tuple(pairs[shots:][:limit]),
                shots=tuple(pairs[:shots]),
                written=asked is not None,
                metrics=metrics,
                columns=tuple(rows[shots:][:limit]),
                name=name or (Path(source).stem if path else "task"),
            )
        if shots and shots >= len(rows):
            raise BadInput(
                f"shots={shots} sets all {len(rows)} rows aside as examples.",
                "Pass shots=0, or more rows.",
            )
        first = next(iter(made.values()))
        several = made if len(made) > 1 else {}
        return msgspec.structs.replace(first, variants=several)

    @property
    def truths(self) -> list[Any]:
        """All right answers, those of the examples too."""
        return [answer for _, answer in (*self.rows, *self.shots)]

    @property
    def hint(self) -> Any:
        """The type of the answers."""
        answers = self.truths
        if answers and all(isinstance(a, bool) for a in answers):
            return bool
        if all(is_number(a) for a in answers):
            return float
        if all(isinstance(a, list) for a in answers):
            return list
        if all(isinstance(a, dict) for a in answers):
            return TypedDict("Answer", _fields(answers))  # type: ignore[operator]
        labels = tuple(sorted({question(a) for a in answers}))
        return Literal[labels] if len(labels) <= MOST_LABELS else str

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the answers are, none where they are no labels."""
        return tuple(get_args(self.hint)) if self.hint not in _FORMS else ()

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
            return self._as_given(_READ[hint](text))
        if labels := get_args(hint):
            return self._as_given(one_of(text, labels))
        try:
            return find_fitting(text, lambda value: schema.convert(value, hint))[0]
        except (ValueError, RecursionError):
            return None

    def _as_given(self, said: Any) -> Any:
        """Return a text that says a right answer of another type as that answer.

        ``null`` stays a text: ``None`` is no answer at all.
        """
        if not isinstance(said, str):
            return said
        found = list(itertools.islice(numbers(said, alone=True), 2))
        alone = len(found) == 1 and not any(map(str.isalpha, said))
        for truth in self.truths:
            if truth is None or isinstance(truth, str):
                continue
            same = alone and is_number(truth) and near(found[0], truth)
            if same or _folded(truth) == _folded(said):
                return truth
        return said


_FORMS: dict[Any, str] = {
    bool: "true or false", float: "the number", list: "a JSON list",
    str: "as few words as possible",
}  # fmt: skip
_READ: dict[Any, Any] = {bool: true_or_false, float: last_number, str: final_answer}


def _check_counts(limit: Any, shots: Any, seed: Any) -> None:
    """Refuse numbers of rows that are none."""
    if limit is not None:
        check_count("limit", limit)
    check_count("shots", shots, 0)
    if not isinstance(seed, int):
        raise BadInput(f"seed is {short(seed)}.", "Give a whole number.")


def _pairs(name: str, given: Any) -> tuple[tuple[str, Any], ...]:
    """Return pairs of question and answer, from pairs or from a frame's columns."""
    if hasattr(given, "columns"):
        if not {"input", "answer"} <= set(given.columns):
            raise BadInput(
                f"{name} is a frame with the columns {list(given.columns)}.",
                "Name two of them 'input' and 'answer', or give pairs.",
            )
        rows = frame_rows(given) or []
        given = [(row["input"], row["answer"]) for row in rows]
    made = []
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping):
        raise BadInput(f"{name} is {short(given)}.", "Give question-answer pairs.")
    for number, row in enumerate(given):
        match row:
            case (asked, answer) if not isinstance(row, str | Mapping):
                where = f"{name}[{number}]"
                text = question(plain(asked, where))
                if not text.strip():  # as chat would refuse it, but before any is paid
                    raise BadInput(
                        f"{where} has an empty question.", "Leave the row out."
                    )
                made.append((text, plain(answer, where)))
            case _:
                raise BadInput(
                    f"{name}[{number}] is {short(row)}, no question with its answer.",
                    "Give pairs, or a frame with the columns 'input' and 'answer'.",
                )
    return tuple(made)


def _named(name: str, given: Any) -> list[tuple[str, Any]]:
    """Return the texts of an axis by name; one text has no name."""
    if given is None or isinstance(given, str):
        return [("", given)]
    texts = isinstance(given, Mapping) and all(
        isinstance(t, str) for t in given.values()
    )
    if not texts or not given:
        raise BadInput(
            f"{name} is {short(given)}.", "Give a text, or several as {'name': text}."
        )
    return [(str(key), text) for key, text in given.items()]


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
        return is_number(answer) and near(answer, truth)
    return _folded(answer) == _folded(truth)


def near(one: float, two: float, tolerance: float = 1e-6) -> bool:
    """Tell whether two numbers are the same but for this share of them."""
    try:
        return math.isclose(one, two, rel_tol=tolerance)
    except OverflowError:  # a whole number beyond any float
        return one == two


def _folded(value: Any) -> str:
    text = value if isinstance(value, str) else question(value)
    return unicodedata.normalize("NFKC", text).strip().casefold()
