"""Two answers side by side."""

import time

import pytest

import kimikit
from kimikit import BadInput, Reply, diff


def test_what_differs_is_marked_on_both_sides() -> None:
    first = Reply(text="The <b>sky</b> is blue.", host="a", model="m", created=1.0)
    second = Reply(
        text="The <b>sky</b> was deep blue.", host="b", model="m", created=2.0
    )
    found = diff(first, second)
    assert repr(found).startswith("The <b>sky</b> [-is-]{+was deep+} blue.\n")
    rich = found._repr_html_()
    assert rich.count("<u ") == 2
    assert ">is</u>" in rich
    assert "<b>sky" not in rich
    assert "a · m" in rich
    assert "b · m" in rich
    assert not found.same


def test_equal_answers_say_so() -> None:
    found = diff("Same.", "Same.")
    assert found.same
    assert repr(found) == "Same.\n\nno difference"


def test_hostile_and_long_texts_are_bounded() -> None:
    begun = time.process_time()
    shown = diff("a b " * 50_000, "b a " * 50_000)._repr_html_()
    assert time.process_time() - begun < 4
    assert len(shown) < 200_000
    with pytest.raises(BadInput, match="was given a int"):
        diff("a", 3)
    assert kimikit.diff is diff
