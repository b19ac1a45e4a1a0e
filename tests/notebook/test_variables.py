"""A variable in a prompt is told whole, or refused; no view's dots stand for rows."""

import enum

import numpy as np
import pandas as pd
import pytest

from kimikit.errors import BadInput
from kimikit.notebook.magics import fill

SALES = pd.DataFrame({"sale": range(1000, 1200), "of": "x" * 80})


class Size(str, enum.Enum):  # noqa: UP042 - what users write
    BIG = "big"


@pytest.mark.parametrize(
    "value",
    [
        SALES, SALES["sale"], SALES.set_index("sale"), SALES.sale.to_numpy(),
        {"of": SALES.sale.to_numpy()}, [SALES.sale], list(range(1000, 1200)),
        SALES.groupby("of").sum().T.assign(sale=1100), np.arange(3000.0),
    ],
    ids=range(9),
)  # fmt: skip
def test_all_rows_are_sent(value):
    prompt = fill("Sum these: {df}", {"df": value})
    assert "1100" in prompt
    assert "..." not in prompt


def test_digits_and_long_texts_are_sent_whole():
    frame = pd.DataFrame({"x": [0.123456789012], "t": ["word " * 40 + "end"]})
    prompt = fill("{df}", {"df": frame})
    assert "0.123456789012" in prompt
    assert "end" in prompt
    assert "0.123456789012" in fill("{a}", {"a": np.array([0.123456789012])})


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a text...", "a text..."), (3, "3"), (0.1, "0.1"), ([1, "a"], "[1, 'a']"),
        (None, "None"), (Size.BIG, "big"), (np.float32(0.7), "0.7"), (np.int64(5), "5"),
    ],
)  # fmt: skip
def test_small_values_are_told_as_they_are(value, told):
    assert fill("{x}", {"x": value}) == told


def test_a_format_is_the_users_own():
    assert fill("{x:.1f} {y:>4}", {"x": 0.25, "y": "a"}) == "0.2    a"


@pytest.mark.parametrize("value", [np.arange(10**6), pd.DataFrame({"a": range(10**5)})])
def test_more_than_a_prompt_takes_is_refused(value):
    with pytest.raises(BadInput, match="200,000 characters"):
        fill("{df}", {"df": value})
