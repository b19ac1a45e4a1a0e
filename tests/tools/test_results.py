"""What a tool returned is told to the model without a loss, or the loss is said."""

import dataclasses
import datetime
import enum
from collections import Counter, deque, namedtuple
from itertools import count

import numpy as np
import pandas as pd
import polars as pl
import pytest
from support.scripts import Scripted, call, calls

from kimikit.display.plots import canvas
from kimikit.tools import run, tool
from kimikit.tools.results import RESULT_LIMIT, Content, text_of
from kimikit.types import Reply

FRAME = pd.DataFrame({"city": ["Oslo", "Lagos"], "pop": [1.0, 15.0]})
Place = namedtuple("Place", "city pop")
TWICE = [1]
for _ in range(60):
    TWICE = [TWICE, TWICE]
DEEP = 1
for _ in range(5_000):
    DEEP = [DEEP]


class Colour(str, enum.Enum):  # noqa: UP042 - unlike a StrEnum its str is its name
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    when: object


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (FRAME, "city,pop\nOslo,1.0\nLagos,15.0\n"),
        (FRAME.groupby("city")["pop"].mean(), "city,pop\nLagos,15.0\nOslo,1.0\n"),
        (FRAME.groupby("city").mean(), "city,pop\nLagos,15.0\nOslo,1.0\n"),
        (FRAME.set_index("city"), "city,pop\nOslo,1.0\nLagos,15.0\n"),
        (FRAME.loc[[1]], ",city,pop\n1,Lagos,15.0\n"),
        (pd.Series([1, 2], index=["a", "b"]), ",0\na,1\nb,2\n"),
        ({"mean": FRAME.groupby("city")["pop"].mean()},
         '{"mean":"city,pop\\nLagos,15.0\\nOslo,1.0\\n"}'),
        (pd.DataFrame({"n": [1]}, pd.MultiIndex.from_tuples([("a", 1)], names=["k", "l"])),
         "k,l,n\na,1,1\n"),
        (pd.Index([1, 2]), "[1,2]"),
        (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
        ({Colour.RED: 1, enum.Enum("Size", {"S": 2}).S: Colour.RED}, '{"red":1,"2":"red"}'),
        (np.float64(1.5), "1.5"),
        (np.int64(3), "3"),
        ([np.bool_(True), np.float32(0.1)], "[true,0.1]"),
        (pl.Series([0.1], dtype=pl.Float32), "[0.1]"),
        (np.array([[0.7], [np.nan]], dtype=np.float32), '[[0.7],["nan"]]'),
        ({"x": np.array(0.3, dtype=np.float16)}, '{"x":0.3}'),
        (np.array([[1, 2]]), "[[1,2]]"),
        (Place("Oslo", 1), '{"city":"Oslo","pop":1}'),
        ([Place("Oslo", 1)], '[{"city":"Oslo","pop":1}]'),
        (float("nan"), "nan"),
        ([float("inf"), 1.5], '["inf",1.5]'),
        (Point(float("nan"), datetime.date(2026, 1, 2)), '{"x":"nan","when":"2026-01-02"}'),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe\x00", "[3 bytes that are no text]"),
        (Colour.RED, "red"),
        ([Colour.RED], '["red"]'),
        ({(1, 2): 3}, '{"(1, 2)":3}'),
        (Counter("aab"), '{"a":2,"b":1}'),
        (10**5_000, "1" + "0" * 5_000),
        ({"n": -(10**5_000)}, '{"n":"-1' + "0" * 5_000 + '"}'),
        (10**100_000, "[a whole number of about 100,000 digits]"),
        (Content("words"), "words"),
        (range(3), "[0,1,2]"),
        (deque("ab"), '["a","b"]'),
        ({"a": 1}.keys(), '["a"]'),
    ],
    ids=lambda value: str(type(value).__name__),
)  # fmt: skip
def test_a_value_keeps_its_meaning(value, told):
    assert text_of(value) == told


@pytest.mark.parametrize(
    "value",
    [TWICE, np.arange(100_000), FRAME.sample(9_999, replace=True)],
    ids=["twice", "array", "frame"],
)
def test_what_is_too_long_is_said_to_be_cut(value):
    told = text_of(value)
    assert len(told) < RESULT_LIMIT + 100
    assert "\n[cut here: 20,000 of " in told


def test_what_is_nested_without_end_is_told_as_far_as_python_writes_it():
    assert text_of(DEEP).startswith(("[[[", "[a list that is nested too deeply"))


def test_a_frame_of_polars_is_told_as_csv():
    class Frame:
        columns = ("a",)

        def write_csv(self):
            return "a\n1\n"

    assert text_of(Frame()) == "a\n1\n"


def told_of(value):
    @tool
    def give():
        """Give."""
        return value

    done = run(Scripted(calls(call("give", 0)), Reply(text="ok")), "go", [give])
    (result,) = done.steps[0].results
    return done, result


@pytest.mark.parametrize(
    "value",
    [FRAME.groupby("city").mean(), FRAME, 10**5_000, [{"n": 10**5_000}], TWICE],
    ids=["index", "frame", "number", "table", "twice"],
)
def test_a_view_never_costs_the_run(value):
    done, result = told_of(value)
    assert not result.failed
    assert done._repr_html_()
    assert repr(done)
    if isinstance(value, pd.DataFrame):
        assert "Oslo" in done._repr_html_()


def test_escapes_of_a_terminal_do_not_reach_it():
    done, result = told_of("\x1b]0;owned\x07\x1b[2Jbad\u202e")
    assert "\x1b" in result.text, "the model is told what came"
    assert "\x1b" not in repr(done)
    assert "\u202e" not in repr(done)
    assert "\x1b" not in done._repr_html_()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (map(str.upper, "ab"), '["A","B"]'),
        (iter([{"a": 1}]), '[{"a":1}]'),
        (zip("ab", [1, 2], strict=True), '[["a",1],["b",2]]'),
        (count(), "\n[cut here: 20,000 of "),
        ((1 / n for n in (1, 0)), "Error: ZeroDivisionError"),
    ],
    ids=["map", "iterator", "zip", "endless", "failing"],
)
def test_what_an_iterator_yields_is_told(value, told):
    _, result = told_of(value)
    assert told in result.text


@pytest.mark.parametrize("several", [False, True])
def test_axes_are_shown_as_the_picture_that_they_are_in(several):
    axes = FRAME.plot(subplots=several)
    done, result = told_of(axes)
    assert result.text == "A picture, which is shown to the user."
    assert "data:image/png;base64," in done._repr_html_()


def test_a_figure_of_ours_follows_the_page_inside_a_result_too():
    ax = canvas(ax=None, width=2, height=2)
    ax.set_xlabel("bill length")
    done, _ = told_of(ax.figure)
    assert "<svg" in done._repr_html_()
    assert "Figure: bill length" in done._repr_html_()


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("x" * 100_000), "[cut here: 20,000 of 100,019 characters]"),
        (ValueError("half \ud800"), "Error: ValueError: half ?"),
        (Mute(), "Error: Mute: (it does not say what)"),
    ],
    ids=["long", "surrogate", "mute"],
)
def test_an_error_of_any_kind_is_told(error, told):
    @tool
    def fail():
        """Fail."""
        raise error

    done = run(Scripted(calls(call("fail", 0)), Reply(text="ok")), "go", [fail])
    assert done.steps[0].results[0].text.endswith(told)
    assert done.stop_reason == "done"


class Dumb:
    def __repr__(self):
        raise ValueError("no words")


class Shy:
    def to_dict(self, depth):
        return {"depth": depth}

    def __repr__(self):
        return "Shy()"


class Prickly:
    def __getattr__(self, name):
        if name == "__name__":  # which pytest asks for
            raise AttributeError
        raise RuntimeError(name)


class Formula:
    """Like those of sympy, which say that they have no picture."""

    def __init__(self, png=None):
        self.png = png

    def _repr_png_(self):
        if isinstance(self.png, Exception):
            raise self.png
        return self.png

    def __repr__(self):
        return "x**2"


SILENT = "[a Dumb that does not write itself: ValueError]"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Dumb(), SILENT),
        ({"sent": True, "by": Dumb()}, f'{{"sent":true,"by":"{SILENT}"}}'),
        ({Dumb(): 1}, f'{{"{SILENT}":1}}'),
        ([Shy(), None], '["Shy()",null]'),
        (Prickly(), f"<{__name__}.Prickly object"),
        (Formula(), "x**2"),
        (Formula(OSError("no dot")), "x**2"),
        (["half \ud800", None], '["half ?",null]'),
        ({"half \ud800": True}, '{"half ?":true}'),
    ],
)  # fmt: skip
def test_a_value_that_is_hard_to_tell_is_no_error_of_its_tool(value, told):
    """The model would call it again, and the mail would be sent twice."""
    done, result = told_of(value)
    assert not result.failed
    assert result.text.startswith(told)
    assert done._repr_html_()


@pytest.mark.parametrize("columns", [1, 20])
def test_of_a_long_frame_only_what_is_told_is_written(columns):
    written = []

    class Frame(pd.DataFrame):
        @property
        def _constructor(self):
            return Frame

        def to_csv(self, **options):
            written.append(len(self))
            return super().to_csv(**options)

    frame = Frame([[0] * columns] * 50_000)
    done, result = told_of(frame)
    assert written[0] <= 20_000 // columns + 1
    assert "20,000 of more than" in result.text
    assert "100 of 50,000 rows" in done._repr_html_()
    assert text_of(FRAME) == FRAME.to_csv(index=False)


class Steps:
    """What an asynchronous library returns for its caller to go through."""

    async def __aiter__(self):
        for number in count():
            yield number


def test_what_is_yielded_asynchronously_is_told():
    async def some():
        yield 1
        yield 2

    assert told_of(some())[1].text == "[1,2]"
    assert told_of(Steps().__aiter__())[1].text.startswith("[0,1,2,3,")


@pytest.mark.parametrize("groups", [1, 2])
def test_errors_of_a_group_are_told(groups):
    error = ExceptionGroup("unhandled", [ValueError("disk full"), KeyError()])
    for _ in range(groups - 1):
        error = ExceptionGroup("outer", [error])

    @tool
    async def fail():
        """Fail."""
        raise error

    done = run(Scripted(calls(call("fail", 0)), Reply(text="ok")), "go", [fail])
    told = done.steps[0].results[0].text
    assert "; ValueError: disk full; KeyError: (it does not say what)" in told
