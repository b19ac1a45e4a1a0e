"""Labels, numbers and yes or no, as people and models write them in any script."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.errors import BadInput
from kimikit.evals.task import is_right
from kimikit.prompting import (
    Task,
    final_answer,
    last_number,
    one_of,
    true_or_false,
)

NUMBERS = [
    ("Answer: 1e-5", 1e-5),
    ("Answer: 6.02e23", 6.02e23),
    ("Answer: 2.5E+3", 2500),
    (r"Answer: $1.5 \times 10^{8}$", 1.5e8),
    ("Answer: 1.5 x 10^3 m", 1500),
    ("1.5×10⁻⁸", 1.5e-8),
    ("Answer: 10^6", 1e6),
    ("10**6", 1e6),
    ("so **2**.", 2),
    ("**42**", 42),
    ("2 ** 3", 8),
    ("10⁶", 1e6),
    ("2^10", 1024),
    ("5 m^2", 5),
    ("5 m²", 5),
    (r"\boxed{\frac{3}{4}}", 0.75),
    (r"\boxed{-\dfrac{1}{2}}", -0.5),
    (r"\boxed{2\frac12}", 2.5),
    (r"\boxed{x = \frac{1}{8}}", 0.125),
    (r"\boxed{\text{5 cm}}", 5),
    (r"\boxed{12{,}000}", 12000),
    (r"\boxed{\sqrt{2}} \approx 1.41", 1.41),
    ("Answer: 1/2", 0.5),
    ("Answer: 3 1/2", 3.5),
    ("Answer: ½", 0.5),
    ("Answer: 2½ cups", 2.5),
    ("Answer: 1,234.5", 1234.5),
    ("Answer: 1.234,5", 1234.5),
    ("Answer: 1.234.567", 1234567),
    ("Answer: 3,14", 3.14),
    ("Answer: 1 234 567 km", 1234567),
    ("Answer: 1\u202f234,56", 1234.56),
    ("Answer: 1'234", 1234),
    ("1,00,000", 100000),
    ("Answer: １２３．５", 123.5),
    ("الجواب: ٣٤", 34),
    ("Answer: १२", 12),
    ("答えは42です", 42),
    ("答案是 3.5 米", 3.5),
    ("Answer: \u22121,234.5", -1234.5),
    ("Cost: -$5.00", -5),
    ("Answer: - 3", -3),
    ("It is 5 - 3", 3),
    ("from 1990\u20132000", 2000),
    ("on 3/4/2020", 2020),
    ("1,2,3", 3),
    ("(1,5)", 5),
    ("2020,2021", 2021),
    ("Answer: _42_", 42),
    ("Answer: 2π", 6.283185307179586),
    ("CO2 and K2", None),
    ("192.168.1.1", None),
    ("Answer: 1e999", None),
    ("9" * 5000, None),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS, ids=[t[:20] for t, _ in NUMBERS])
def test_numbers_as_people_write_them(text, number):
    found = last_number(text)
    assert found == (number if number is None else pytest.approx(number, rel=1e-12))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_read_as_python_writes_it(value):
    assert last_number(f"First 3.\nAnswer: {value!r}") == value


@given(st.integers(-(10**12), 10**12), st.sampled_from("０٠०๐"))
def test_every_number_is_read_in_other_digits(value, zero):
    digits = {ord("0") + i: ord(zero) + i for i in range(10)}
    assert last_number(f"Answer: {value}".translate(digits)) == value


LABELS = [
    ("Answer: not spam", ["spam", "not spam"], "not spam"),
    ("very positive", ["positive", "very positive"], "very positive"),
    ("strongly disagree", ["agree", "disagree", "strongly disagree"],
     "strongly disagree"),
    ("Answer: New\nYork", ["York", "New York"], "New York"),
    (r"\boxed{\text{New York}}", ["York", "New York"], "New York"),
    ("**not** spam", ["spam", "not spam"], "not spam"),
    ("Answer: non-spam", ["spam", "ham"], None),
    ("spam's", ["spam"], None),
    ("_spam_", ["spam", "ham"], "spam"),
    ("It is C++.", ["C", "C++", "C#"], "C++"),
    ("C#", ["C", "C++", "C#"], "C#"),
    ("Answer: C", ["C", "C++"], "C"),
    ("I use C++ daily", ["C", "Java"], None),
    ("Answer: A+", ["A", "A+"], "A+"),
    ("Answer: +", ["+", "-"], "+"),
    ("well-known", ["+", "-"], None),
    ("(B)", ["A", "B"], "B"),
    ("Answer: -1", ["1", "-1", "0"], "-1"),
    ("Answer: -1", ["1", "0"], None),
    ("1.5", ["1", "5"], None),
    ("5,000", ["5", "5,000"], "5,000"),
    ("答えはpositiveです", ["positive", "negative"], "positive"),
    ("この文は肯定です", ["肯定", "否定"], "肯定"),
    ("非常积极", ["积极", "非常积极"], "非常积极"),
    ("答案：否定", ["肯定", "否定"], "否定"),
    ("ความรู้สึกบวกครับ", ["บวก", "ลบ"], "บวก"),
    ("긍정적입니다", ["긍정", "부정"], "긍정"),
    ("नहीं", ["न", "नहीं"], "नहीं"),
    ("नहीं", ["न"], None),
    ("Ｐｏｓｉｔｉｖｅ", ["positive"], "positive"),
    ("cafe\u0301", ["caf\u00e9"], "caf\u00e9"),
    ("Answer: non toxic", ["toxic", "non-toxic"], "non-toxic"),
    ("Answer: non toxic", ["toxic", "clean"], None),
    ("non\u2011toxic", ["toxic", "non-toxic"], "non-toxic"),
    ("Answer: Not spam", ["spam", "not_spam"], "not_spam"),
    ("Answer: very_positive", ["positive", "very positive"], "very positive"),
    ("Answer: a-b", ["a b", "a-b", "a_b"], "a-b"),
    ("Answer: 1 5", ["1-5", "5"], "5"),
    ("I don\u2019t know", ["know", "don't know"], "don't know"),
    ("I don't know", ["know", "don\u2019t know"], "don\u2019t know"),
    ("It isn\u2019t positive, but negative", ["positive", "negative"], "negative"),
    ('{"answer": "B", "reason": "A and C differ"}', ["A", "B", "C"], "B"),
    ("a", ["A", "a"], "a"),
    ("It is not positive", ["positive", "negative"], None),
    ("neither positive nor negative", ["positive", "negative"], None),
    ("It isn't positive, it is negative", ["positive", "negative"], "negative"),
    ("Answer: positive (rather than negative)", ["positive", "negative"], "positive"),
    ("Answer: 3", [1, 2, 3], "3"),
    ("", ["a"], None),
    ("x", ["", " "], None),
    ("x", [], None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ('{"answer": 42, "confidence": 0.9}', 42, "42"),
        ('```json\n{"final_answer": "7 km",\n "unit": 1}\n```', 7, "7 km"),
        ('{"answer": [3, 4]}', 4, '{"answer": [3, 4]}'),
    ],
)
def test_the_answer_in_json_is_that_of_its_name(text, number, words):
    assert (last_number(text), final_answer(text)) == (number, words)


@pytest.mark.parametrize(("text", "labels", "label"), LABELS)
def test_the_longest_label_that_stands_alone_and_is_not_denied(text, labels, label):
    assert one_of(text, labels) == label


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("True", True),
        ("false.", False),
        ("**Yes**", True),
        ("Answer: yes", True),
        ("Answer: No, it is not true", False),
        ("I think that is not correct", False),
        ("The answer is **not true**", False),
        ("untrue", False),
        ("There is no reason. The statement is true.", True),
        ("maybe", None),
        ("", None),
    ],
)
def test_true_and_false(text, said):
    assert true_or_false(text) is said


def test_a_task_of_true_and_false_asks_for_them_and_reads_them():
    rows = (("Is the sky blue?", True), ("Is grass red?", np.bool_(False)))
    task = Task(instruction="Judge.", rows=rows)
    assert task.form == "true or false"
    assert task.extract("True") is True
    assert is_right(task.extract("It is false"), False)
    assert not is_right(1, True)
    assert not is_right(True, 1)


@pytest.mark.parametrize(
    ("answers", "form"),
    [
        ([{"price": 5}, {"price": 5.5}], '{"price": "float"}'),
        ([{"unit": None}, {"unit": "kg"}], '{"unit": "str or null"}'),
        ([{"a": 1}, {"b": "x"}], '{"a": "int or null", "b": "str or null"}'),
        ([{"a": "x"}, {"a": 1}], '{"a": "any"}'),
        ([{"a": None}], '{"a": "null"}'),
        ([{"größe": [1]}], '{"größe": "list"}'),
    ],
)
def test_the_type_of_a_field_is_that_of_all_rows(answers, form):
    task = Task(instruction="", rows=tuple(("?", answer) for answer in answers))
    assert task.form == f"JSON of the form {form}"
    for answer in answers:
        assert is_right(task.extract(json.dumps(answer)), answer)


def test_a_task_takes_pairs_from_a_frame_and_refuses_what_is_none():
    frame = pd.DataFrame(
        {"input": ["a", "b"], "answer": pd.Series([1, 0.1], dtype="f4")}
    )
    assert Task(instruction="", rows=frame).rows == (("a", 1), ("b", 0.1))
    pairs = zip(frame.input, frame.answer, strict=True)
    assert Task(instruction="", rows=pairs).form == "the number"
    for bad in (frame[["input"]], "ab", None, {"a": 1}, ["ab"], [("a", float("nan"))]):
        with pytest.raises(BadInput, match="rows"):
            Task(instruction="", rows=bad)


@pytest.mark.parametrize("text", ["a\u2028b", "a\u0085b", "a\x0bb", "a\r", "\ufeffa"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_jsonl_is_cut_at_line_ends_alone(tmp_path, text, start, end):
    path = tmp_path / "set.jsonl"
    line = json.dumps({"input": text, "answer": "x"}, ensure_ascii=False)
    path.write_text(start + (line + end) * 2, encoding="utf-8", newline="")
    task = Task.load(path, "Name it.", shots=0)
    assert task.rows == ((text, "x"),) * 2


HOSTILE = [
    "1,", "111,", "1 234", " 123", "\\frac{", "answer ", "answer: ", "\\boxed{", "- 1",
    "1.1.", "{", "not ", "9", "1/2/", "^2", "'", "1'", "½", "a-", "not spam", "**",
    "\n", "\\boxed{1}", "1e", '"answer": "', '"answer": 1', "a_b-", "10^", "⁶", "·", "no-", "नी", "\u200b",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_work_on_hostile_answers_is_linear(piece, monkeypatch):
    """The characters that patterns and loops look at grow as the text does."""
    import sys

    def steps(length: int) -> int:
        text, count = piece * (length // len(piece)), 0

        def trace(frame, event, arg):
            nonlocal count
            count += event == "call"

        sys.setprofile(trace)
        try:
            last_number(text)
            final_answer(text)
            true_or_false(text)
            one_of(text, ["spam", "not spam", "a"])
        finally:
            sys.setprofile(None)
        return count

    assert steps(8_000) <= 2.5 * steps(4_000) + 100
