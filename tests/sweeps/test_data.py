"""A sweep as data: trials, parts of it, and files of rows."""

from __future__ import annotations

import csv
import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sweeps import FakeClient, of_texts

from kimikit import BadInput, MissingDependency, Sweep
from kimikit.sweeps import sweep
from kimikit.sweeps.values import Outcome


@pytest.fixture(scope="module")
def found() -> Sweep:
    client = FakeClient(lambda prompt, **p: "blue" if p["temperature"] == 0 else "red")
    return sweep(
        lambda host: client,
        {"colour": "Name a colour.", "animal": "Name an animal."},
        temperature=[0, 0.5, 1],
        model=["a", "b"],
        repeats=3,
        progress=False,
        metrics={"calm": lambda r: "blue" in r.text},
    )


def test_trials_are_counted_taken_and_gone_through(found: Sweep) -> None:
    assert len(found) == len(found.trials) == 36
    assert found[0] is found.trials[0]
    assert found[-1] is found.trials[-1]
    assert list(found) == list(found.trials)
    assert len(found[2:7]) == 5
    assert bool(Sweep())
    with pytest.raises(IndexError):
        found[36]


def test_a_part_is_a_sweep_of_its_own(found: Sweep) -> None:
    part = found.where(temperature=0, model="b")
    assert isinstance(part, Sweep)
    assert len(part) == 6
    assert {(t.params["temperature"], t.params["model"]) for t in part} == {(0, "b")}
    assert part.axes["temperature"] == (0,)
    assert [row["n"] for row in part.summary()] == [6]
    assert part.scores == {"calm": [t.reply.text == "blue" for t in part]}
    assert part.cost == sum((t.reply.cost for t in part), Decimal(0))
    assert "n = 6" in repr(part) or "6 answers" in repr(part)
    several = found.where(temperature=[0, 1], prompt=lambda name: name == "animal")
    assert len(several) == 12
    assert several.axes["temperature"] == (0, 1)
    assert len(found.where()) == 36
    assert len(found.where(temperature=0).where(model="a")) == 6


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"temperatur": 0}, r"no parameter 'temperatur'.*temperature"),
        ({"temperature": 0.3}, r"Nothing was asked with temperature=0\.3.*0, 0\.5, 1"),
        ({"model": ["a", "c"]}, "Nothing was asked with model='c'"),
    ],
)
def test_what_is_not_there_is_refused(found: Sweep, labels: dict, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        found.where(**labels)


def test_rows_hold_prompts_tokens_and_times(found: Sweep, tmp_path: Path) -> None:
    rows = found.rows()
    frame = found.to_pandas()
    read = list(csv.DictReader(io.StringIO(found.to_csv(tmp_path / "a.csv"))))
    assert (tmp_path / "a.csv").read_bytes().decode() == found.to_csv()
    wanted = ["prompt", "temperature", "model", "repeat", "text", "cost", "tokens",
              "seconds", "first_token_s", "prompt_tokens", "completion_tokens",
              "cached_tokens", "reasoning_tokens", "estimated", "calm"]  # fmt: skip
    for names in (rows[0], frame.columns, read[0]):
        assert set(wanted) <= set(names)
    assert [row["prompt"] for row in rows] == list(frame["prompt"])
    assert {row["prompt"] for row in read} == {"colour", "animal"}
    assert {row["cost"] for row in read} == {"0.001"}
    assert {row["used_model"] for row in read} == {"m"}


def test_a_file_that_cannot_be_written_is_refused(found: Sweep, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be written.*Give another path"):
        found.to_csv(tmp_path / "no" / "a.csv")
    assert Sweep().to_csv() == "repeat\r\n"


def test_parquet_needs_its_package(
    found: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingDependency, match=r"pip install .*pyarrow"):
            found.to_parquet(tmp_path / "a.parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(found.to_parquet(tmp_path / "a.parquet"))
    assert table.num_rows == 36
    assert table.column("temperature").to_pylist()[:3] == [0, 0, 0]


def test_stopped_before_the_first_answer_says_so() -> None:
    for reason, said in (
        ("interrupted", "Stopped before the first answer"),
        ("max_cost", "max_cost"),
        ("error", "error"),
    ):
        shown = repr(Sweep(name="mine", stop_reason=reason))
        assert said in shown
        assert "0 calls" in shown
    assert issubclass(Sweep, Outcome)


def test_a_name_that_pyarrow_cannot_open_is_written_and_what_is_none_refused(
    tmp_path: Path,
) -> None:
    pytest.importorskip("pyarrow")
    sweep = of_texts({0: ["blue"]})
    sweep.to_parquet(tmp_path / "a\udc80.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a\udc80.parquet"]
    with pytest.raises(BadInput, match="is no path"):
        sweep.to_parquet(tmp_path / "\ud800")


class Counting(float):
    """A number that counts how often it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counting.compared += 1
        return float(self) == other

    __hash__ = float.__hash__


@pytest.mark.parametrize(
    "part",
    [
        lambda s: s[5:],
        lambda s: s.where(temperature=lambda value: value >= 5),
        lambda s: s.where(temperature=[float(n) for n in range(5, 300)]),
    ],
)
def test_a_part_of_a_sweep_is_found_with_a_few_looks_at_each_label(part: Any) -> None:
    found = of_texts({Counting(n): ["blue"] for n in range(300)})
    Counting.compared = 0
    some = part(found)
    assert some.axes["temperature"] == tuple(range(5, 300))
    assert len(some) == 295
    assert Counting.compared < 3000


@pytest.mark.parametrize("odd", [[[1]], [(1, [2])], {"a": 1}, [np.zeros(2)], "0", None])
def test_what_is_no_label_was_not_asked(odd: Any) -> None:
    found = of_texts({0: ["blue"], 0.5: ["red"]})
    with pytest.raises(BadInput, match="Nothing was asked with"):
        found.where(temperature=odd)
    assert len(found.where(temperature=np.array([0, 0.5]))) == 2
    assert len(found.where(temperature=False)) == 1
    assert len(found.where(temperature=lambda value: False)) == 0
