"""Columns of Arrow: any values become the texts, figures and gaps that they are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.files import arrow_columns

anything = st.none() | st.text() | st.integers() | st.booleans() | st.binary()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("月", "月"),
        ("\ud800 half", "\ufffd half"),
        (None, None),
        (b"bytes", "b'bytes'"),
        (3, "3"),
        (["a", {"b": 1}], '["a", {"b": 1}]'),
    ],
)
def test_a_column_of_texts_takes_any_value(value, text):
    made = arrow_columns({"a": ["plain", value]}, {"a": "text"})
    assert made.column("a").to_pylist() == ["plain", text]


@given(st.lists(anything, max_size=6))
def test_a_column_of_texts_loses_no_row(values: list[Any]):
    made = arrow_columns({"a": values}, {"a": "text"}).column("a").to_pylist()
    assert [text is None for text in made] == [value is None for value in values]
