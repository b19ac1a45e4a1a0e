"""A label is what it is; what it looks like is made unique, in tables and plots."""

import itertools
import random
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sweeps import FakeClient, reply

from kimikit.sweeps import Sweep, sweep
from kimikit.sweeps.cells import label_texts
from kimikit.sweeps.metrics import normal

matplotlib.use("Agg")
START = "You are a helpful assistant. Answer in one "


def ask(answer: Any = None, prompt: Any = "q", **options: Any) -> Sweep:
    fake = FakeClient(answer)
    given_ = {"repeats": 3, "progress": False, **options}
    return sweep(lambda _: fake, prompt, **given_)


labels = st.one_of(
    st.none(), st.text(max_size=60), st.integers(), st.sampled_from([START, START + "a"]),
    st.text("ab ", min_size=30, max_size=90),
)  # fmt: skip


@given(st.lists(labels, unique=True, max_size=30), st.sampled_from([16, 24, 40]))
def test_no_two_labels_look_the_same(values, most):
    texts = label_texts(values, most)
    assert list(texts) == values
    assert len(set(texts.values())) == len(values)
    assert all(
        len(text) <= most + 10 for v, text in texts.items() if isinstance(v, str)
    )


@pytest.mark.parametrize(
    "values",
    [
        [START + "word.", START + "long sentence."],
        [1234567, 1234568],
        [0.1, 0.1 + 1e-16],
        [1, "1"],
        [None, "not sent"],
        ["a b", "a  b"],
        ["x" * 90 + "a", "x" * 90 + "b"],
        ["any", "any "],
    ],
)
def test_labels_that_would_look_the_same_are_told_apart(values):
    one, two = label_texts(values, 24).values()
    assert one != two


def test_prompts_named_1_and_one_are_two():
    found = ask(prompt={1: "Name a colour.", "1": "Name a fruit."}, temperature=[0, 1])
    assert list(found.axes["prompt"]) == [1, "1"]
    assert len({trial.params["prompt"] for trial in found.trials}) == 2
    page = found.compare()._repr_html_()
    assert page.count("<summary>") == 2
    again = Sweep.from_json(found.to_json())
    assert again.axes == found.axes
    assert again.summary(["prompt"]) == found.summary(["prompt"])


def by_system(prompt: Any, *, system: str, **params: Any) -> str:
    return "blue" if system.endswith("word.") else "it is certainly a nice light blue"


def test_series_that_begin_alike_are_two_lines_with_two_names():
    found = ask(by_system, system=[START + "word.", START + "long sentence."],
                temperature=[0, 1])  # fmt: skip
    panel = np.ravel(found.plot())[2]
    lines = [line for line in panel.lines if line.get_linestyle() != "--"]
    assert [len(line.get_xdata()) for line in lines] == [2, 2]
    assert len({line.get_label() for line in lines}) == 2
    rows = str(found).splitlines()[2:6]
    assert len({row.split("  ")[0] for row in rows}) == 2


def test_series_of_near_numbers_are_two_lines():
    found = ask(seed=[1234567, 1234568], temperature=[0, 1])
    panel = np.ravel(found.plot())[2]
    lines = [line for line in panel.lines if line.get_linestyle() != "--"]
    assert [len(line.get_xdata()) for line in lines] == [2, 2]
    assert "1234567" in str(found)
    assert "1234568" in str(found)


@pytest.mark.parametrize("temperatures", [[None, 0.3, 0.6], [0.6, None, 0.3]])
def test_the_mark_stands_where_its_value_is_drawn(temperatures):
    number = itertools.count()
    found = ask(lambda p, **k: f"answer {next(number) % 3}", temperature=temperatures,
                repeats=4, metrics={"right": lambda r: True})  # fmt: skip
    panel = np.ravel(found.plot())[0]
    marks = [
        line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"
    ]
    ticks = [text.get_text() for text in panel.get_xticklabels()]
    told = found.recommended.temperature
    assert marks == ([] if told is None else [ticks.index(f"{told:g}")])


def test_an_axis_of_numbers_is_marked_at_its_value():
    found = ask(temperature=[0, 0.3, 0.6], repeats=4, metrics={"right": lambda r: True})
    panel = np.ravel(found.plot())[0]
    marks = [
        line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"
    ]
    assert marks == [found.recommended.temperature]


LIMIT = 300_000


def size(view: Any) -> int:
    return len(view._repr_html_().encode()) + len(repr(view).encode())


def wild(words: int, letters: str = "abc<&\"'é語\n"):
    rng = random.Random(1)

    def answer(prompt: Any, **params: Any) -> Any:
        letters_ = rng.choices(letters, k=6 * words)
        return reply(
            " ".join("".join(letters_[i : i + 6]) for i in range(0, 6 * words, 6))
        )

    return answer


@pytest.mark.parametrize(
    ("prompts", "words", "repeats"),
    [(300, 20, 2), (1, 20_000, 2), (1, 3, 200), (40, 400, 1)],
)
def test_views_are_bounded_say_what_they_leave_out_and_rows_have_all(
    prompts, words, repeats
):
    found = ask(wild(words), [f"prompt {i}" for i in range(prompts)], temperature=[0, 1],
                repeats=repeats)  # fmt: skip
    page = found.compare(most=1000)
    assert size(page) < LIMIT
    assert "Left out here" in str(page) or words < 100 or "more characters" in str(page)
    assert sum(row["count"] for row in page.rows) == len(found.replies)
    said, told = {row["answer"] for row in page.rows}, {r.text for r in found.replies}
    assert {normal(text) for text in said} == {normal(text) for text in told}
    view = found.explore()
    assert view.rows == page.rows
    bundle = view._repr_mimebundle_()
    assert len((bundle["text/html"] + bundle["text/plain"]).encode()) < LIMIT
    assert len(view._page.value.encode()) < LIMIT


def test_a_sweep_of_many_points_is_bounded_too():
    found = ask(repeats=1, seed=list(range(500)))
    assert size(found) < LIMIT
    assert "400 more points are in summary()" in str(found)
    assert len(found.summary()) == 500
    assert len(found.explore()._picks["seed"].options) <= 301


def test_a_page_of_few_answers_is_whole():
    found = ask(lambda p, **k: f"at {k['temperature']}", temperature=[0, 1])
    page = found.compare()
    assert "Left out" not in str(page)
    assert [row["answer"] for row in page.rows] == ["at 0", "at 1"]
    assert [row["count"] for row in page.rows] == [3, 3]


def test_work_on_a_display_grows_with_the_answers(monkeypatch):
    """Answers are marked as long as there is room for them, and no longer."""
    from kimikit.sweeps import side_by_side

    marked, calls = side_by_side.marked, []
    monkeypatch.setattr(
        side_by_side, "marked", lambda *given: calls.append(1) or marked(*given)
    )
    counts = []
    for prompts in (200, 400):
        calls.clear()
        found = ask(wild(60), [f"prompt {i}" for i in range(prompts)], repeats=3)
        found.compare()._repr_html_()
        counts.append(len(calls))
    assert counts[1] <= counts[0] + 40  # of 1,200 answers, after 600


def test_long_measuring_and_judging_show_a_bar(monkeypatch):
    import contextlib

    from kimikit.display import progress

    shown, progress_bar = [], progress.progress_bar

    @contextlib.contextmanager
    def seen(**options):
        with progress_bar(**options) as bar:
            yield bar
            shown.append((options["desc"], bar.n == options["total"]))

    monkeypatch.setattr(progress, "progress_bar", seen)
    monkeypatch.setattr(progress, "AFTER_S", 0)
    found = Sweep.from_json(ask(temperature=[0, 1]).to_json())
    found.summary()
    assert shown == [("measuring answers", True)]
    assert found.scores == {}
    import msgspec

    judged = msgspec.structs.replace(found, metrics={"good": lambda r: True})
    assert judged.scores["good"] == [True] * 6
    assert shown[-1] == ("judging answers", True)
    quiet = ask(temperature=[0, 1], metrics={"good": lambda r: True})
    for each in (quiet, quiet.where(temperature=1)):
        each.summary()
        assert each.scores["good"]
    assert len(shown) == 2, "none of a sweep that was asked without"


@pytest.mark.parametrize("most", [0, -1, True, "6", None])
def test_most_is_a_count(most):
    with pytest.raises(ValueError, match="most is"):
        ask().compare(most=most)
