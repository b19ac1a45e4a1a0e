"""Values of other libraries as JSON has them, and what is refused."""

import datetime
import enum
import json
import math
import sys
import uuid
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import DONE, chunk, text
from support.fault_server import FaultServer, sse

from kimikit import Kimi
from kimikit.errors import BadInput
from kimikit.json_values import (
    as_json,
    check_count,
    digest,
    is_within,
    plain,
    short,
)
from kimikit.prompting import Conversation
from kimikit.sweeps import Sweep
from kimikit.types import Message


class Model(str, enum.Enum):  # noqa: UP042 - what users write
    K2 = "k2"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    def __str__(self) -> str:
        return "another"


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        (np.float32(0.7), 0.7),
        (np.float16(0.1), 0.1),
        (np.float64(0.7), 0.7),
        (np.longdouble("0.1"), 0.1),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(0.7, dtype=np.float32), 0.7),
        (np.array([0.1, 0.7], dtype=np.float32), [0.1, 0.7]),
        (np.array([1, None], dtype=object), [1, None]),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (pd.Series([0.1], dtype="float32"), [0.1]),
        (pd.Index([1.5, 2]), [1.5, 2.0]),
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
        (Decimal("0.05"), 0.05),
        (Decimal("5"), 5),
        (Fraction(1, 2), 0.5),
        (Model.K2, "k2"),
        (Level.HIGH, 3),
        (Word("own"), "own"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (range(3), [0, 1, 2]),
        ({1: (2, np.float32(0.3))}, {"1": [2, 0.3]}),
        ("\ud83d\ude00", "\N{GRINNING FACE}"),
        ("half \ud83d", "half \N{REPLACEMENT CHARACTER}"),
        (Message("user", "Hi"), {"role": "user", "content": "Hi"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_goes_out_as_the_shortest_json_that_is_the_same(given_, sent):
    made = plain(given_)
    assert made == sent
    assert type(made) is type(sent)
    json.dumps(made, allow_nan=False)


CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        math.nan, np.float32("inf"), pd.NA, pd.NaT, np.datetime64("NaT", "s"), b"x", {1},
        1j, object(), pd.DataFrame({"a": [1]}), {1: "a", "1": "b"}, pytest.param(10**5000, id="digits"),
        Decimal("1e9999"), Decimal("NaN"), CYCLE, {"deep": [math.nan]},
    ],
)  # fmt: skip
def test_what_is_no_json_value_is_refused_by_name(value):
    with pytest.raises(BadInput, match="min_p holds") as caught:
        plain(value, "min_p")
    assert caught.value.remedy


def test_equal_values_have_one_key_and_others_another():
    assert as_json({"b": 1.0, "a": np.float32(0.5)}) == '{"a":0.5,"b":1}'
    assert digest("q", {"a": 1, "b": 2}) == digest("q", {"b": 2.0, "a": 1})
    assert digest("1") != digest(1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_json_stays_what_it_is(value):
    made = plain(value)
    assert plain(made) == made
    assert msgspec.json.decode(msgspec.json.encode(made)) == made
    assert made == value or "\ufffd" in as_json(value)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_single_is_sent_as_a_number_that_reads_back_as_it(value):
    sent = plain(np.float32(value))
    assert np.float32(sent) == np.float32(value)
    assert sent == float(str(np.float32(value)))  # numpy writes the shortest that is it


def test_what_shows_badly_is_shown_all_the_same():
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

    assert short(Odd()) == "a value of type Odd"
    assert len(short("x" * 999)) == 80


HALF = "a\ud800b"
"""Half of a surrogate pair: a text of Python that no file can hold."""


@pytest.mark.parametrize("name", ["plain", HALF])
def test_half_a_character_is_written_as_one_everywhere(
    name: str, tmp_path: Path
) -> None:
    with FaultServer() as server:
        server.play(sse(*text("yes"), chunk("stop"), DONE))
        kimi = Kimi(base_url=server.url, model="m", show=False)
        sweep = kimi.sweep(
            {HALF: HALF, "b": "c"},
            temperature=[0, 1],
            name=name,
            metrics={"odd": lambda reply: float(HALF)},
            repeats=1,
            progress=False,
        )
        again = Sweep.from_json(sweep.to_json())
        assert len(again) == len(sweep) == 4
        assert "a\ufffdb" in sweep.to_csv(tmp_path / "s.csv")
        assert "a\ufffdb" in (tmp_path / "s.csv").read_text("utf-8")
        frames = [sweep.to_pandas(), kimi.map([HALF], name=name).to_pandas()]
        assert all("a\ufffdb" in frame.to_csv() for frame in frames)
        for path in (
            sweep.to_parquet(tmp_path / "p"),
            sweep.to_batch_file(tmp_path / "b"),
        ):
            assert "a\ufffdb".encode() in path.read_bytes()
        talk = kimi.conversation(system=HALF)
        talk.say(HALF)
        talk.save(tmp_path / "talk.json")
        assert "a\ufffdb" in repr(
            Conversation.load(tmp_path / "talk.json", kimi).tree()
        )
        for form in ("jsonl", "csv"):
            kimi.ledger.export(form, tmp_path / form)
            assert ("a\ufffdb" in (tmp_path / form).read_text("utf-8")) is (
                form != "csv"
            )
        assert kimi.ledger.search(HALF) is not None
        asked = len(server.requests)
        kimi.sweep(
            {HALF: HALF, "b": "c"},
            temperature=[0, 1],
            name=name,
            repeats=1,
            metrics={"odd": lambda reply: 1.0},
            progress=False,
        )
        assert len(server.requests) == asked, "it is found again by its name"
        kimi.close()
        kimi.ledger.close()


@pytest.mark.parametrize("value", [0, -1, True, 2.0, 1.5, "3", None, math.nan, [1]])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(BadInput, match=r"^repeats is .* Give a whole number from 1\.$"):
        check_count("repeats", value)


def test_a_number_lies_within_its_ends():
    check_count("shots", 0, 0)
    check_count("repeats", 10**400)
    assert is_within(1, 1, 2)
    assert is_within(10**400, 0)
    assert not is_within(10**400, 0, sys.float_info.max)
    assert not any(is_within(value, 0, 2) for value in (True, math.nan, "1", 2.1, None))
