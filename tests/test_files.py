"""Files written whole, and columns of Arrow: any values become what they are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.files import arrow_columns, replace_whole, taking_place

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


def test_threads_that_write_one_file_leave_what_one_of_them_wrote(tmp_path: Path):
    target, texts = tmp_path / "x.json", [letter * 100_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:  # raises what a thread raised
        for _ in pool.map(lambda text: replace_whole(target, text), texts * 20):
            pass
    assert target.read_text() in texts
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["写" * 84, "é" * 125 + ".txt", "x" * 255])
def test_a_file_is_written_under_any_name_that_a_disk_takes(tmp_path: Path, name: str):
    replace_whole(tmp_path / name, "whole")
    assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("fault", [OSError, KeyboardInterrupt])
def test_a_file_whose_writing_ended_early_is_as_before(tmp_path: Path, fault: type):
    target = tmp_path / "x"
    target.write_text("before")

    def cut() -> None:
        with taking_place(target) as fresh:
            fresh.write_text("ha")
            raise fault

    with pytest.raises(fault):
        cut()
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
