"""What a grid takes, and what it refuses before anything is sent."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimikit.errors import BadInput
from kimikit.sweeps.grid import difference, digest, make_grid
from kimikit.types import Message

TURN = {"role": "user", "content": "Hello"}


def points(prompt: Any = "q", repeats: int = 1, **params: Any) -> list[dict[str, Any]]:
    return [values for _, values in make_grid(prompt, repeats, params).points()]


def test_lists_tuples_ranges_and_arrays_are_axes():
    for values in ([0, 1], (0, 1), range(2), np.array([0, 1])):
        assert [p["temperature"] for p in points(temperature=values)] == [0, 1]


def test_other_values_are_the_same_at_every_point():
    grid = make_grid("q", 2, {"top_p": 0.9, "temperature": [0, 1]})
    assert list(grid.axes) == ["temperature"]
    assert grid.fixed == {"prompt": "q", "top_p": 0.9}


def test_axes_cross():
    assert len(points(["a", "b"], temperature=[0, 0.5, 1], model=["x", "y"])) == 12


@pytest.mark.parametrize(
    "prompt",
    [
        "text",
        TURN,
        [TURN, {"role": "assistant", "content": "Hi"}],
        Message("user", "x"),
    ],
)
def test_one_prompt_is_no_axis(prompt):
    assert "prompt" not in make_grid(prompt, 1, {}).axes


def test_prompts_are_an_axis_as_texts_conversations_or_by_name():
    assert list(make_grid(["a", "b"], 1, {}).axes["prompt"]) == ["a", "b"]
    assert len(make_grid([[TURN], [TURN, TURN]], 1, {}).axes["prompt"]) == 2
    named = make_grid({"short": "Hi", "long": [TURN]}, 1, {})
    assert named.axes["prompt"] == {"short": "Hi", "long": [TURN]}


def test_a_list_of_tools_is_one_value_and_lists_of_tools_are_an_axis():
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert "tools" not in make_grid("q", 1, {"tools": [tool]}).axes
    axis = make_grid("q", 1, {"tools": [[tool], [tool, tool]]}).axes["tools"]
    assert list(axis) == ["f", "f, f"]


@pytest.mark.parametrize(
    ("prompt", "repeats", "params", "names"),
    [
        ("q", 0, {}, "repeats"),
        ("q", True, {}, "repeats"),
        ("q", 2.0, {}, "repeats"),
        ("q", 1, {"temperature": []}, "temperature is an empty list"),
        ("q", 1, {"temperature": [0, "hot"]}, "mixes numbers and texts"),
        ("q", 1, {"temperature": [True, 0.5]}, "mixes numbers and true or false"),
        ("q", 1, {"temperature": [0, 0.0]}, "twice"),
        ("q", 1, {"temperature": math.nan}, "cannot be sent"),
        ("q", 1, {"top_p": {1, 2}}, "top_p holds"),
        ("q", 1, {"n": 3}, "n cannot be part"),
        ("q", 1, {"messages": "x"}, "messages cannot be part"),
        ("", 1, {}, "empty"),
        (["a", " "], 1, {}, "empty"),
        ([], 1, {}, "no prompt"),
        ({}, 1, {}, "no prompt"),
        (["a", TURN], 1, {}, "no prompt"),
        (["a", [TURN]], 1, {}, "no prompt"),
        (3, 1, {}, "no prompt"),
    ],
)
def test_bad_grids_are_refused_by_name(prompt, repeats, params, names):
    with pytest.raises(BadInput) as caught:
        make_grid(prompt, repeats, params)
    assert names in str(caught.value)
    assert caught.value.remedy


def test_a_fingerprint_is_of_what_is_asked_not_of_how_it_is_written():
    one = make_grid("q", 3, {"temperature": [0, 0.5], "top_p": 1.0})
    two = make_grid("q", 9, {"top_p": 1, "temperature": (0.5, 0.0)})
    assert one.fingerprint() == two.fingerprint()


def test_a_difference_names_what_changed():
    old = make_grid("q", 1, {"temperature": [0, 0.5], "top_p": 1}).fingerprint()
    new = make_grid("p", 1, {"temperature": [0, 0.7], "seed": 3}).fingerprint()
    said = difference(old, new)
    assert "temperature was 0,0.5, is 0,0.7" in said
    assert "prompt is another" in said
    assert "seed was not given, is 3" in said


scalars = st.one_of(st.floats(0, 2), st.integers(0, 9), st.text(max_size=9), st.none())


@given(
    st.dictionaries(st.sampled_from(["top_p", "stop_at", "style", "seed"]), scalars),
    st.lists(st.floats(0, 2), min_size=1, max_size=5, unique=True),
    st.text(min_size=1, max_size=30).filter(str.strip),
)
def test_any_grid_has_its_product_of_points_and_a_safe_fingerprint(fixed, axis, prompt):
    grid = make_grid(prompt, 2, {**fixed, "temperature": axis})
    found = list(grid.points())
    assert len(found) == len(axis)
    assert {values["temperature"] for _, values in found} == set(axis)
    assert all(labels.keys() == values.keys() for labels, values in found)
    text = grid.fingerprint()
    assert "/" not in text
    assert text.isascii()
    assert not difference(text, text)


@given(st.dictionaries(st.text(max_size=5), scalars, max_size=5))
def test_digests_do_not_depend_on_the_order_of_keys(value):
    assert digest(value) == digest(dict(reversed(value.items())))
