"""Examples become turns, and the nearest ones are chosen."""

import dataclasses
import datetime
import enum

import numpy as np
import pydantic
import pytest

from kimikit.errors import BadInput
from kimikit.prompting import few_shot

EXAMPLES = [
    ("The soup was cold.", "negative"),
    {"input": "The train left at nine.", "output": "neutral"},
    ("The bread was warm and the soup hot.", "positive"),
]


def test_examples_become_turns_before_the_question():
    messages = few_shot(EXAMPLES, "Fine weather.", instruction="Name the mood.")
    assert [m["role"] for m in messages] == [
        "system",
        *["user", "assistant"] * 3,
        "user",
    ]
    assert messages[1:3] == [
        {"role": "user", "content": "The soup was cold."},
        {"role": "assistant", "content": "negative"},
    ]
    assert messages[-1]["content"] == "Fine weather."


def test_without_a_question_the_examples_stand_alone():
    assert [m["role"] for m in few_shot(EXAMPLES[:1])] == ["user", "assistant"]


def test_answers_that_are_not_text_become_json():
    (_, shown) = few_shot([("Anna, 30", {"name": "Ann\u00e9", "age": 30})])
    assert shown["content"] == '{"name": "Ann\u00e9", "age": 30}'


def test_the_nearest_examples_come_last():
    messages = few_shot(EXAMPLES, "The soup was cold again.", k=2)
    assert [m["content"] for m in messages[::2]] == [
        "The bread was warm and the soup hot.",
        "The soup was cold.",
        "The soup was cold again.",
    ]


def test_an_embedding_chooses_by_meaning():
    def embed(texts):
        return [[1.0, 0.0] if "train" in t or "bus" in t else [0.0, 1.0] for t in texts]

    messages = few_shot(EXAMPLES, "A bus stops here.", k=1, embed=embed)
    assert messages[0]["content"] == "The train left at nine."


def test_no_examples_at_all_are_allowed_with_k():
    assert few_shot(EXAMPLES, "?", k=0) == [{"role": "user", "content": "?"}]
    assert few_shot([("", "nothing")], "?", k=3)[0]["content"] == ""


@pytest.mark.parametrize(
    ("examples", "options", "named"),
    [
        (["no pair"], {}, "examples\\[0\\]"),
        ([("a", "b"), {"input": "a"}], {}, "examples\\[1\\]"),
        ([3], {}, "examples\\[0\\]"),
        (EXAMPLES, {"k": 2}, "k=2"),
        (EXAMPLES, {"k": -1, "query": "?"}, "k=-1"),
    ],
)
def test_bad_examples_are_refused(examples, options, named):
    with pytest.raises(BadInput, match=named):
        few_shot(examples, **options)


@dataclasses.dataclass
class City:
    name: str
    people: int


class Model(pydantic.BaseModel):
    day: datetime.date


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (City("Oslo", 700_000), '{"name": "Oslo", "people": 700000}'),
        (Model(day=datetime.date(2026, 1, 2)), '{"day": "2026-01-02"}'),
        (np.float64(1.5), "1.5"),
        (enum.Enum("Kind", {"A": "a"}).A, "a"),
        ({"é": [1, None]}, '{"é": [1, null]}'),
    ],
)
def test_values_of_any_kind_are_shown_as_the_model_would_write_them(value, text):
    messages = few_shot([("q", value)])
    assert messages[-1]["content"] == text


def test_what_is_no_json_is_refused_by_name():
    with pytest.raises(BadInput, match="an example holds"):
        few_shot([("q", {"a": {1, 2}})])


@pytest.mark.parametrize("examples", [None, 5, few_shot])
def test_examples_come_in_a_list(examples):
    with pytest.raises(BadInput, match="Give a list of pairs"):
        few_shot(examples, "q")
