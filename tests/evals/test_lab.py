"""The same questions in several ways, and one table that says what it is worth."""

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import get_type_hints

import pytest
from matplotlib.figure import Figure
from support.contrast import faint_in
from support.prompting import FakeClient, FakeStore, answer, last, press_stop

from kimikit.errors import (
    AuthenticationFailed,
    BadInput,
    MissingDependency,
    StreamError,
    TimedOut,
)
from kimikit.evals import PATTERNS, Lab, Task, lab
from kimikit.evals.outcomes import Outcome
from kimikit.evals.scorers import as_read
from kimikit.evals.task import is_right
from kimikit.types import Reply

DATA = Path(__file__).parents[2] / "notebooks" / "data"


def task(n=10, **fields):
    rows = tuple((f"What is {i} + {i}?", 2 * i) for i in range(n))
    values = {"instruction": "Compute.", "shots": (("1 + 1?", 2),), "name": "sums"}
    return Task(rows=rows, **{**values, **fields})


def solve(messages, params):
    number = re.findall(r"\d+", last(messages))[0]
    if "response_format" in params:
        return json.dumps({"answer": 2 * int(number)})
    if "step by step" in (params.get("system") or ""):
        return f"{number} and {number}\nAnswer: {2 * int(number)}"
    return "No idea." if isinstance(messages, str) else str(2 * int(number))


def test_every_pattern_answers_every_question():
    client = FakeClient(solve)
    result = lab(client, task(), progress=False, max_tokens=99)
    assert result.patterns == tuple(PATTERNS)
    points = {point["pattern"]: point for point in result.summary()}
    assert points["zero-shot"]["right"] == 0
    for name in ("few-shot", "step by step", "vote of 5", "structured"):
        assert (points[name]["right"], points[name]["n"]) == (10, 10), name
        assert points[name]["low"] > 0.7
    assert points["vote of 5"]["cost"] == 5 * points["step by step"]["cost"]
    assert points["vote of 5"]["seconds"] == 2.5
    assert points["zero-shot"]["cost_per_right"] is None
    assert points["few-shot"]["cost_per_right"] == Decimal("0.001")
    assert len(client.calls) == 10 * (1 + 1 + 1 + 5 + 1)
    assert all(call["max_tokens"] == 99 for call in client.calls)
    assert {call["meta"]["pattern"] for call in client.calls} == set(PATTERNS)


def test_the_table_is_text_and_html():
    result = lab(FakeClient(solve), task(), progress=False)
    text = str(result)
    assert re.search(r"few-shot +100% \[72%, 100%\] +10 ", text)
    assert "none right" in text
    assert "sums: On 10 questions few-shot beats zero-shot (p = 0.0078)" in text
    assert "fake \u00b7 fake-1" in text
    page = result._repr_html_()
    assert "100% <small>[72%,\u00a0100%]</small>" in page
    assert repr(result) == text


def outcomes(base, other):
    return tuple(
        Outcome(pattern=name, row=row, right=right, reply=answer("x"))
        for name, marks in (("base", base), ("other", other))
        for row, right in enumerate(marks)
    )


@pytest.mark.parametrize(
    ("gains", "losses", "verdict"),
    [
        # Two-sided binomial tests: 2 * (1/2)**6 = 0.031, 2 * (1/2)**5 = 0.063,
        # and with 1 of 9 against: 2 * (1 + 9) / 2**9 = 0.039.
        (6, 0, "other beats base (p = 0.031)"),
        (0, 6, "other does worse than base (p = 0.031)"),
        (5, 0, "no pattern differs"),
        (8, 1, "other beats base (p = 0.039)"),
        (0, 0, "no pattern differs"),
    ],
)
def test_the_verdict_is_mcnemars(gains, losses, verdict):
    base = [False] * gains + [True] * losses + [True] * 5
    other = [True] * gains + [False] * losses + [True] * 5
    result = Lab(
        task=task(len(base)), patterns=("base", "other"), outcomes=outcomes(base, other)
    )
    assert verdict in result.verdict


def test_the_verdict_pays_for_the_number_of_comparisons():
    marks = {"base": [False] * 6, "a": [True] * 6, "b": [False] * 6}
    made = tuple(
        Outcome(pattern=name, row=row, right=right, reply=answer("x"))
        for name, rights in marks.items()
        for row, right in enumerate(rights)
    )
    result = Lab(task=task(6), patterns=tuple(marks), outcomes=made)
    assert "no pattern differs" in result.verdict


def test_own_patterns_are_functions():
    def shout(client, task, question, **params):
        return client.chat(question.upper(), **params)

    client = FakeClient(lambda m, p: "2")
    result = lab(client, task(2), {"shout": shout}, progress=False)
    assert set(client.texts) == {"WHAT IS 0 + 0?", "WHAT IS 1 + 1?"}
    assert result.summary()[0]["right"] == 1


def test_a_failed_question_is_left_out_and_said():
    def sometimes(messages, params):
        failing = "3 + 3" in last(messages)
        return (
            TimedOut("Silence for 60 s.", "Again.")
            if failing
            else solve(messages, params)
        )

    ways = {name: PATTERNS[name] for name in ("few-shot",)}
    result = lab(FakeClient(sometimes), task(), ways, progress=False)
    (point,) = result.summary()
    assert (point["n"], point["failed"], point["right"]) == (9, 1, 9)
    assert "1 failed and left out: TimedOut: Silence for 60 s." in str(result)


def test_an_answer_of_no_type_is_wrong_and_paid():
    ways = {"structured": PATTERNS["structured"]}
    result = lab(FakeClient(lambda m, p: "hm"), task(2), ways, progress=False)
    (point,) = result.summary()
    assert (point["n"], point["right"], point["cost"]) == (2, 0, Decimal("0.006"))


def test_what_broke_off_is_paid_too():
    """Two of five answers of a vote break off: four whole ones and their parts cost."""
    seen = iter(range(99))

    def chat(messages, params):
        if next(seen) in (1, 6):
            half = answer("Answer:", cost=Decimal("0.0004"))
            return StreamError("It broke.", "Again.", reply=half)
        return solve(messages, params)

    ways = {"vote": PATTERNS["vote of 5"]}
    result = lab(FakeClient(chat), task(4), ways, progress=False, concurrency=1)
    (point,) = result.summary()
    assert (point["n"], point["failed"], point["right"]) == (2, 2, 2)
    whole, halves = 2 * 5 + 1 + 4, 2
    paid = whole * Decimal("0.001") + halves * Decimal("0.0004")
    assert point["cost"] == paid
    assert point["cost_per_right"] == paid / 2


def test_the_price_of_a_right_answer_has_an_interval():
    ways = {name: PATTERNS[name] for name in ("zero-shot", "few-shot")}
    result = lab(FakeClient(solve), task(), ways, progress=False)
    none, all_right = result.summary()
    assert none["cost_per_right"] is none["cost_per_right_high"] is None
    # Of 0 of 10 up to 27.75 % may be right, of 10 of 10 as few as 72.25 %.
    assert float(none["cost_per_right_low"]) == pytest.approx(0.001 / 0.2775, rel=1e-3)
    low, high = (all_right[f"cost_per_right_{end}"] for end in ("low", "high"))
    assert low <= all_right["cost_per_right"] == Decimal("0.001") <= high
    assert float(high) == pytest.approx(0.001 / 0.7225, rel=1e-3)
    assert "none right, at least $0.0036" in str(result)
    assert "$0.0010 [$0.0010, $0.0014]" in str(result)


def test_a_question_that_was_stopped_counts_by_its_cost():
    client = FakeClient(lambda m, p: answer("Answer: 2", partial=True))
    result = lab(client, task(2), {"vote": PATTERNS["vote of 5"]}, progress=False)
    (point,) = result.summary()
    assert point["n"] == 0
    assert point["cost"] == len(client.calls) * Decimal("0.001")


def test_a_wrong_key_ends_it_at_once():
    client = FakeClient(
        lambda m, p: AuthenticationFailed("No.", "Check it.", status=401)
    )
    with pytest.raises(AuthenticationFailed):
        lab(client, task(50), progress=False, concurrency=1)
    assert len(client.calls) == 1


def test_all_failed_is_no_accuracy():
    client = FakeClient(lambda m, p: TimedOut("Silence.", "Again."))
    result = lab(client, task(3), {"zero-shot": PATTERNS["zero-shot"]}, progress=False)
    (point,) = result.summary()
    assert point["accuracy"] is None
    assert point["seconds"] is None
    assert "3 failed" in str(result)
    assert "[0%, 100%]" in str(result)


def test_stop_keeps_what_was_finished():
    def chat(messages, *, watch, **params):
        if "4 + 4" in last(messages):
            return press_stop(watch)
        return answer(solve(messages, params))

    client = FakeClient([])
    client.chat = chat
    ways = {name: PATTERNS[name] for name in ("few-shot", "vote of 5")}
    result = lab(client, task(), ways, progress=False, concurrency=1)
    assert [o.row for o in result.outcomes] == [0, 1, 2, 3]
    assert "16 not asked: stopped" in str(result)


def test_a_stop_inside_a_vote_counts_for_nothing():
    client = FakeClient(lambda m, p: answer("Answer: 2", partial=True))
    result = lab(client, task(2), {"vote": PATTERNS["vote of 5"]}, progress=False)
    assert result.outcomes == ()


def test_what_was_paid_is_not_asked_again():
    store, client = FakeStore(), FakeClient(solve)
    client.chat = store.keep(client.chat)
    first = lab(client, task(4), store=store, name="l", progress=False)
    again = lab(client, task(4), store=store, name="l", progress=False)
    assert again.reused == 4 * 9
    assert len(client.calls) == 4 * 9
    assert again.summary() == first.summary()
    assert "36 answers paid before" in str(again)


def test_a_frame_has_a_row_for_each_question_and_pattern():
    frame = lab(FakeClient(solve), task(3), progress=False).to_pandas()
    assert len(frame) == 15
    assert frame.groupby("pattern")["right"].sum()["few-shot"] == 3
    assert {"question", "truth", "answer", "seconds", "cost", "prompt_tokens"} <= set(
        frame
    )


def test_without_pandas_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependency, match=r"pip install .*pandas"):
        Lab(task=task(1), patterns=("a",), outcomes=()).to_pandas()


def test_the_plot_has_a_bar_a_pattern():
    result = lab(FakeClient(solve), task(4), progress=False)
    ax = result.plot()
    assert faint_in(ax.figure) == []
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(PATTERNS)[::-1]
    assert "100 % of 4, $0.0010 a right answer" in {t.get_text() for t in ax.texts}
    given = Figure().subplots()
    assert result.plot(ax=given) is given


def test_nothing_to_compare_is_refused():
    for rows, ways in ((0, None), (2, {})):
        with pytest.raises(BadInput, match="nothing to compare"):
            lab(FakeClient([]), task(rows), ways)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"rows": [("2 + 2?", 4), ("", 5)]}, r"rows\[1\]"),
        ({"rows": [("2 + 2?", 4)], "shots": [(" \n", 5)]}, r"shots\[0\]"),
    ],
)
def test_an_empty_question_is_refused_before_the_others_are_paid(given, named):
    with pytest.raises(BadInput, match=f"{named} has an empty question"):
        Task(**{"instruction": "Add.", "rows": [], **given})


def test_a_template_of_blank_cells_is_refused_too():
    rows = [{"text": "", "answer": 1}, {"text": " ", "answer": 2}]
    with pytest.raises(BadInput, match="empty question"):
        Task.load(rows, prompt="{text}", shots=0)


@pytest.mark.parametrize(
    ("given", "ways", "remedy"),
    [
        ([{"input": "2 + 2?", "answer": 4}], None, r"Task\.load"),
        ("set.jsonl", None, r"Task\.load"),
        (None, ["zero-shot"], "functions by name.*zero-shot"),
        (None, {"direct": "zero-shot"}, "functions by name.*zero-shot"),
    ],
)
def test_what_is_no_task_or_pattern_is_refused_with_what_makes_one(given, ways, remedy):
    asked = FakeClient([])
    with pytest.raises(BadInput, match=remedy):
        lab(asked, given or task(2), ways, progress=False)


@pytest.mark.parametrize(
    ("answers", "hint", "form"),
    [
        ([1, 2.5], float, "the number"),
        (["b", "a", "b"], None, "one of: a, b"),
        ([str(i) for i in range(13)], str, "as few words as possible"),
    ],
)
def test_the_type_is_read_off_the_answers(answers, hint, form):
    made = Task(instruction="", rows=tuple(("?", a) for a in answers))
    assert hint is None or made.hint is hint
    assert made.form == form


def test_objects_have_their_fields():
    made = Task(instruction="", rows=(("?", {"city": "Oslo", "people": 1}),))
    assert get_type_hints(made.hint) == {"city": str, "people": int}
    assert made.form == 'JSON of the form {"city": "str", "people": "int"}'
    assert made.extract('So: {"city": "Rome", "people": 2}') == {
        "city": "Rome",
        "people": 2,
    }
    assert made.extract('{"city": "Rome"}') is None
    assert made.extract("Rome") is None


def test_free_text_and_labels_are_extracted():
    labels = Task(instruction="", rows=(("?", "yes"), ("?", "no")))
    assert labels.extract("I think yes") == "yes"
    free = Task(instruction="", rows=tuple(("?", f"w{i}") for i in range(13)))
    assert free.extract("Answer: W1.") == "w1"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([[1, 2], [3]], "So: [1,2]"),
        ([[1, 2], [3]], "```json\n[\n  1,\n  2\n]\n```"),
        ([1000, *range(20), "n/a"], "Answer: 1,000"),
        ([1, "x"], "Answer: 1"),
        ([True, 5], "Answer: true"),
        ([None, "x"], "Answer: null"),
        ([{"a": 1}, None], 'It is {"a": 1}'),
    ],
)
def test_answers_of_several_types_can_be_right(answers, said):
    task = Task(instruction="", rows=tuple(("?", a) for a in answers))
    assert as_read(Reply(text=said), answers[0], task=task)
    assert not as_read(Reply(text=said), answers[-1], task=task)


@pytest.mark.parametrize("others", [["x"], [5], []])
def test_no_answer_is_right_where_none_is_wanted(others):
    task = Task(instruction="", rows=tuple(("?", a) for a in [None, *others]))
    assert not as_read(Reply(text="Who knows?"), None, task=task)


@pytest.mark.parametrize(
    ("given", "truth", "right"),
    [
        (2.0000001, 2, True),
        (2.1, 2, False),
        (None, 2, False),
        ("2", 2, False),
        (" Oslo", "oslo", True),
        ({"a": "X", "n": 1.0}, {"a": "x", "n": 1}, True),
        ({"a": "X"}, {"a": "x", "n": 1}, False),
        ("x", {"a": "x"}, False),
    ],
)
def test_what_counts_as_right(given, truth, right):
    assert is_right(given, truth) is right


@pytest.mark.parametrize(
    ("name", "rows", "kind"),
    [
        ("arithmetic_words", 104, float),
        ("sentiment", 105, str),
        ("extraction", 100, dict),
    ],
)
def test_our_sets_load(name, rows, kind):
    whole = Task.load(DATA / f"{name}.jsonl", "Do it.")
    assert len(whole.rows) + len(whole.shots) == rows
    assert {q for q, _ in whole.rows}.isdisjoint(q for q, _ in whole.shots)
    assert all(isinstance(a, kind | int) for _, a in whole.rows)
    levels = [row["level"] for row in whole.columns]
    assert min(levels.count(level) for level in (1, 2, 3)) >= 15
    some = Task.load(DATA / f"{name}.jsonl", "Do it.", limit=5, shots=2, seed=1)
    assert (len(some.rows), len(some.shots), some.name) == (5, 2, name)
    assert some == Task.load(DATA / f"{name}.jsonl", "Do it.", limit=5, shots=2, seed=1)


@pytest.mark.parametrize(
    "given",
    [{"shots": -1}, {"shots": True}, {"shots": "2"}, {"limit": 0}, {"limit": 2.5},
     {"seed": None}, {"seed": [1]}],
)  # fmt: skip
def test_a_set_is_not_cut_by_what_is_no_number(given):
    (name,) = given
    with pytest.raises(BadInput, match=f"{name} is"):
        Task.load(DATA / "sentiment.jsonl", "Do it.", **given)


def test_rows_with_other_columns_are_written_with_all_of_them(tmp_path):
    rows = [{"input": "2?", "answer": 2}, {"input": "3?", "answer": 3, "hard": "yes"}]
    found = lab(FakeClient(lambda m, p: "2"), Task.load(rows, shots=0), progress=False)
    lines = found.to_csv(tmp_path / "rows.csv").splitlines()
    assert lines[0].endswith(",hard")
    assert sum(line.endswith(",yes") for line in lines) == len(found.patterns)


def test_the_arithmetic_answers_are_what_their_expressions_give():
    lines = (DATA / "arithmetic_words.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        assert re.fullmatch(r"[\d+\-*/(). ]+", row["check"])
        assert eval(row["check"]) == pytest.approx(row["answer"]), row["id"]


def test_the_labels_are_balanced_and_the_items_are_in_the_texts():
    whole = Task.load(DATA / "sentiment.jsonl", "", shots=0)
    labels = [answer for _, answer in whole.rows]
    assert {label: labels.count(label) for label in labels} == {
        "positive": 35, "negative": 35, "neutral": 35,
    }  # fmt: skip
    for text, truth in Task.load(DATA / "extraction.jsonl", "", shots=0).rows:
        assert all(truth[key] in text for key in ("customer", "item", "city")), text


@pytest.mark.parametrize("content", [None, "no json", '{"input": 1}', "[1]"])
def test_a_file_that_is_no_set_is_refused(tmp_path, content):
    path = tmp_path / "set.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match="no labelled set"):
        Task.load(path, "Do it.")
