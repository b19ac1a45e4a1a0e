"""Scorers by name, sets from files and frames, and what a lab shows and exports."""

import csv
import json
from functools import partial

import pandas as pd
import polars as pl
import pytest
from support.contrast import faint_in
from support.prompting import FakeClient, FakeStore, answer, last

from kimikit import Kimi
from kimikit.errors import BadInput, TimedOut
from kimikit.evals import PATTERNS, Task, lab
from kimikit.evals.scorers import (
    choice,
    code_passes,
    exact,
    includes,
    json_schema,
    number,
    regex,
    similarity,
)

SCHEMA = {
    "$ref": "#/$defs/City",
    "$defs": {"City": {"type": "object", "required": ["city"]}},
}
CODE = "Here:\n```python\ndef double(x):\n    return 2 * x\n```\nDone."
SHADOW = "```python\ndef print(*_):\n    pass\ndef double(x):\n    return 0\n```"
ENDLESS = "```python\nwhile True:\n    pass\n```"


def letters(texts):
    return [[text.count(letter) for letter in "abcdefgh"] for text in texts]


@pytest.mark.parametrize(
    ("scorer", "text", "truth", "right"),
    [
        (exact, '"PARIS."', "Paris", True),
        (exact, "Paris, France", "Paris", False),
        (exact, " 7 ", 7.0, True),
        (exact, "７", 7, True),
        (includes, "It is Paris!", "paris", True),
        (includes, "Parisian", "Paris", False),
        (includes, "It is not Paris.", "Paris", False),
        (includes, "of 1,234.50 euros", 1234.5, True),
        (includes, "18", 8, False),
        (regex, "on 2026-11-29", r"\d{4}-\d\d-\d\d", True),
        (regex, "a" * 50_000 + "!", "(a+)+$", False),
        (number, "3 + 4 = 7 apples", 7, True),
        (number, "seven", 7, False),
        (partial(number, tolerance=0.1), "about 95", 100, True),
        (partial(choice, labels=["good", "bad"]), "Not bad, good.", "good", True),
        (partial(choice, labels=["good", "bad"]), "neither", "good", False),
        (partial(json_schema, schema=SCHEMA), 'So: {"city": "Rome"}', None, True),
        (partial(json_schema, schema=SCHEMA), 'So: {"town": "Rome"}', None, False),
        (partial(json_schema, schema={"type": "array"}), "[1, 2]", None, True),
        (partial(json_schema, schema={"type": "array"}), "none", None, False),
        (code_passes, CODE, "assert double(4) == 8", True),
        (code_passes, CODE, "assert double(4) == 9", False),
        (code_passes, "def double(x): return 2 * x", "assert double(1) == 2", True),
        (code_passes, SHADOW, "assert double(4) == 8", False),
        (partial(code_passes, seconds=0.2), ENDLESS, "assert True", False),
        (partial(similarity, embed=letters), "abc", "cab", True),
        (partial(similarity, embed=letters), "abc", "fgh", False),
    ],
)
def test_a_scorer_tells_right_from_wrong(scorer, text, truth, right):
    assert scorer(answer(text), truth) is right


def test_a_similarity_without_a_limit_is_a_figure():
    near = similarity(answer("aab"), "ab", embed=letters, at_least=None)
    assert near == pytest.approx(3 / 10**0.5)


def test_what_was_read_from_an_answer_counts_as_what_it_says():
    reply = answer('{"answer": 7}', parsed=7)
    assert [score(reply, 7) for score in (exact, includes, number)] == [True] * 3


def sums(n=4, **fields):
    return Task(
        instruction="", rows=[(f"{i} + {i}?", 2 * i) for i in range(n)], **fields
    )


def say(messages, _):
    first = last(messages).split()[0]
    return f"{first} and {first} make {2 * int(first)}."


def test_names_of_scorers_become_columns_and_the_first_says_what_is_right():
    ways = {"plain": lambda client, task, question, **p: client.chat(question, **p)}
    metrics = {"right": "number", "exact": "exact", "size": lambda r: len(r.text)}
    found = lab(FakeClient(say), sums(), ways, metrics=metrics, progress=False)
    (point,) = found.summary()
    assert (point["right"], point["n"], point["exact"]) == (4, 4, 0.0)
    assert (point["exact_low"], point["exact_n"]) == (0.0, 4)
    assert point["size"] == len("1 and 1 make 2.")
    text = str(found)
    assert "right [95 %]" in text
    assert "exact [95 %]" in text
    assert "15.00 " in text
    assert "[15.00" not in text  # all alike: no interval can be told


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ("exat", "There is no metric 'exat'. Did you mean 'exact'"),
        (["number", "nubmer"], "no metric 'nubmer'"),
        ([], "metrics is empty"),
        (3, "metrics is 3"),
        (["exact", "exact"], "Two metrics have one name"),
        ("similarity", "needs what makes vectors"),
        ("code_passes", "wants tests"),
        ("regex", "cannot use the right answer 0"),
        ({"mine": lambda: True}, "cannot be called with a reply"),
    ],
)
def test_a_metric_that_cannot_judge_is_refused_before_paying(metrics, words):
    client = FakeClient(say)
    with pytest.raises(BadInput, match=words):
        lab(client, sums(), metrics=metrics, progress=False)
    assert client.calls == []


def test_a_scorer_that_raises_on_one_answer_loses_neither_it_nor_the_others():
    def fussy(reply, truth):
        if truth == 2:
            raise ValueError("I do not like 2")
        return True

    ways = {"plain": lambda client, task, question, **p: client.chat(question, **p)}
    found = lab(FakeClient(say), sums(), ways, metrics={"fussy": fussy}, progress=False)
    assert len(found.outcomes) == 4
    (point,) = found.summary()
    assert (point["right"], point["n"], point["failed"]) == (3, 3, 0)
    assert "fussy could not tell of 1 answers: ValueError: I do not like 2" in str(
        found
    )
    assert found.rows()[1]["text"] == "1 and 1 make 2."
    figure = {"far": lambda reply: 0.5}
    found = lab(FakeClient(say), sums(2), ways, metrics=figure, progress=False)
    assert found.summary()[0]["n"] == 0
    assert "0.5 is neither true nor false" in str(found)


def test_an_answer_of_no_type_is_wrong_for_every_scorer_that_can_tell():
    metrics = {"number": "number", "exact": "exact", "size": lambda r: len(r.text)}
    ways = {"typed": PATTERNS["structured"]}
    client = FakeClient(lambda *_: "No JSON.")
    (point,) = lab(client, sums(2), ways, metrics=metrics, progress=False).summary()
    assert (point["right"], point["n"]) == (0, 2)
    assert (point["exact"], point["exact_n"], point["size"]) == (0, 2, 8)


ROWS = [
    {"text": "Good morning", "language": "French", "right": "Bonjour", "level": 1},
    {"text": "Thank you, all", "language": "German", "right": "Danke", "level": 2},
]
PROMPTS = {"short": "{text} in {language}?", "long": "Say '{text}' in {language}."}


def sources(tmp_path):
    lines = tmp_path / "words.jsonl"
    lines.write_text("\n".join(map(json.dumps, ROWS)))
    pd.DataFrame(ROWS).to_csv(tmp_path / "words.csv", index=False)
    return [
        lines,
        str(tmp_path / "words.csv"),
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
        ROWS,
    ]


def test_a_set_comes_from_files_and_frames_and_prompts_are_an_axis(tmp_path):
    asked = set()
    for source in sources(tmp_path):
        task = Task.load(source, prompt=PROMPTS, answer="right", shots=0)
        client = FakeClient(lambda *_: "Bonjour")
        found = lab(client, task, progress=False, metrics="exact")
        assert found.patterns == ("short", "long")
        assert [point["right"] for point in found.summary()] == [1, 1]
        assert {row["level"] for row in found.rows()} <= {1, 2, "1", "2"}
        asked |= set(client.texts)
    assert asked == {
        "Good morning in French?",
        "Thank you, all in German?",
        "Say 'Good morning' in French.",
        "Say 'Thank you, all' in German.",
    }


def test_instructions_are_an_axis_beside_prompts_and_patterns():
    systems = {"none": "", "clerk": "You are a clerk."}
    task = Task.load(ROWS, systems, prompt=PROMPTS, answer="right", shots=0)
    assert list(task.variants) == [
        "short · none",
        "short · clerk",
        "long · none",
        "long · clerk",
    ]
    client = FakeClient(lambda *_: "Danke")
    ways = dict.fromkeys("ab", ask)
    found = lab(client, task, ways, progress=False)
    assert len(found.patterns) == 8
    assert found.patterns[1] == "short · none · b"
    assert {call.get("system", "") for call in client.calls} == set(systems.values())


def ask(client, task, question, **params):
    return client.chat(question, system=task.instruction, **params)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (ROWS, {"prompt": "{txt}?", "answer": "right"}, "Did you mean 'text'"),
        (ROWS, {"prompt": "{text}?"}, "no column 'answer'"),
        (ROWS, {"prompt": {}, "answer": "right"}, "prompt is {}"),
        ([], {}, "no rows"),
        (ROWS[:2], {"prompt": "{text}?", "answer": "right"}, "Pass shots=0"),
        (ROWS[:3], {"prompt": "{text}?", "answer": "right", "shots": 9}, "rows aside as examples"),
        ("nowhere.csv", {}, "is no labelled set"),
        ([*ROWS, {"text": "x", "language": None, "right": "y"}],
         {"prompt": "{language}", "answer": "right"}, "Row . has no value"),
    ],
)  # fmt: skip
def test_a_set_that_cannot_be_asked_is_refused(rows, options, words):
    with pytest.raises(BadInput, match=words):
        Task.load(rows, **options)


def test_a_csv_file_has_typed_answers_and_texts_as_they_are(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text('﻿input,answer\n"1.50,\n2",7\n007,-2.5\n', "utf-8")
    task = Task.load(path, "Add.", shots=0)
    assert dict(task.rows) == {"1.50,\n2": 7, "007": -2.5}
    path.write_text("input,answer\nyes?,True\nno?,False\n")
    assert Task.load(path, "Say.", shots=0).hint is bool
    path.write_text("input,answer\na,007\nb,12\n")
    assert dict(Task.load(path, "Say.", shots=0).rows)["a"] == "007"
    for broken, said in {
        "input,input\na,b\n": "two columns have one name",
        "input,answer\na,b\na\n": "row 1 has 1 cells, not 2",
        "input,answer\na,b,c,d\n": "row 0 has 4 cells, not 2",
        'input,answer\n"a,b\n': "unexpected end of data",
    }.items():
        path.write_text(broken)
        with pytest.raises(BadInput, match=rf"is no labelled set: .*{said}"):
            Task.load(path, "Say.")


@pytest.mark.parametrize("document", ["word " * 40_000, 'a "b",\n' * 40_000])
def test_a_csv_file_may_hold_whole_documents(tmp_path, document):
    path, before = tmp_path / "papers.csv", csv.field_size_limit()
    pd.DataFrame({"input": [document], "answer": ["yes"]}).to_csv(path, index=False)
    assert Task.load(path, "Judge.", shots=0).rows == ((document, "yes"),)
    assert csv.field_size_limit() == before


def graded(n=12):
    """A lab in which two ways differ, one call fails and one answer is cut."""

    def mixed(messages, params):
        first = int(last(messages).split()[0])
        if first == 3 and params.get("system"):
            raise TimedOut("No answer came.", "Ask again.")
        if first == 4:
            return answer("Let me see: <script>", finish_reason="length")
        return str(2 * first + (first > 8))

    rows = [{"n": i, "twice": 2 * i, "level": i // 5} for i in range(n)]
    task = Task.load(
        rows, {"bare": "", "told": "Add."}, prompt="{n} + {n}?", answer="twice",
        shots=0, name="sums/of two",
    )  # fmt: skip
    return lab(FakeClient(mixed), task, metrics="number", progress=False)


def test_a_question_opens_to_all_its_answers_and_mistakes_have_kinds():
    found = graded()
    view = found.questions(5)
    assert "ways: bare, told · 5 of 12 · first where ways differ" in str(view)
    page = view._repr_html_()
    assert page.count("<details>") == 5
    assert "Let me see: &lt;script&gt;" in page
    assert "<script>" not in page
    table = str(found.mistakes())
    for kind in ("off by one", "cut before an answer", "failed: TimedOut"):
        assert kind in table
    assert "9 of 24 answers are not right" in table
    assert "(empty)" not in table


def test_the_heat_map_has_a_field_per_question_and_way():
    ax = graded().heatmap()
    assert faint_in(ax.figure) == []
    (image,) = ax.get_images()
    assert image.get_array().shape == (12, 2)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["bare", "told"]
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["wrong", "right", "no answer"]
    hardest, easiest = image.get_array()[0], image.get_array()[-1]
    assert list(hardest) == [0, 0]
    assert list(easiest) == [1, 1]


def read_eval_log(file):
    from inspect_ai import log  # its import takes seconds

    return log.read_eval_log(file)


def test_inspect_reads_what_is_exported(tmp_path):
    found = graded()
    files = found.to_inspect(tmp_path / "logs")
    assert len(files) == 2
    told = read_eval_log(str(files[1]))
    assert (told.status, told.eval.task) == ("success", "sums/of two")
    assert told.eval.metadata == {"pattern": "told"}
    (score,) = told.results.scores
    assert score.name == "number"
    point = found.summary()[1]
    assert score.metrics["accuracy"].value == pytest.approx(point["accuracy"])
    assert (told.results.completed_samples, score.scored_samples) == (11, 11)
    by_id = {sample.id: sample for sample in told.samples}
    assert len(by_id) == 12
    asked = {sample.input: sample for sample in told.samples}
    right, cut, late = (asked[f"{n} + {n}?"] for n in (1, 4, 3))
    assert right.scores["number"].value == "C"
    assert (right.target, right.output.completion) == ("2", "2")
    assert right.metadata["level"] == 0
    assert cut.scores["number"].value == "I"
    assert cut.output.stop_reason == "max_tokens"
    assert "TimedOut" in late.error.message
    assert told.stats.model_usage["fake/fake-1"].input_tokens == 110
    with pytest.raises(BadInput, match="cannot be made"):
        found.to_inspect(files[0])


@pytest.mark.parametrize("name", ["half \ud800", "\ud83d\ude00\ud83d"])
def test_inspect_reads_what_utf8_cannot_hold(name, tmp_path):
    """Half a surrogate pair comes from a file of JSON, or from a model."""
    task = Task(instruction="Add.", name=name, rows=[(f"1 + 1? {name}", name)])
    found = lab(FakeClient(lambda *_: name), task, progress=False)
    for file in found.to_inspect(tmp_path):
        assert "\ufffd" in read_eval_log(str(file)).eval.task


def test_a_csv_file_has_a_line_per_answer(tmp_path):
    found = graded()
    text = found.to_csv(tmp_path / "lab.csv")
    frame = pd.read_csv(tmp_path / "lab.csv")
    assert len(frame) == 24
    assert frame.groupby("pattern")["right"].sum().to_dict() == {"bare": 8, "told": 7}
    assert set(frame["level"]) == {0, 1, 2}
    assert text.splitlines()[0].startswith("pattern,row,question,truth,answer,number")


def test_a_lab_of_variants_is_resumed_by_its_name():
    store, client = FakeStore(), FakeClient(say)
    client.chat = store.keep(client.chat)
    task = Task.load(
        [{"n": i, "twice": 2 * i} for i in range(3)],
        prompt={"a": "{n} ?", "b": "{n} !"},
        answer="twice",
        shots=0,
    )
    first = lab(client, task, name="twice", store=store, progress=False)
    again = lab(client, task, name="twice", store=store, progress=False)
    assert len(client.calls) == 6
    assert (first.reused, again.reused) == (0, 6)
    assert again.summary()[0]["accuracy"] == 1.0


def test_a_sweep_takes_a_set_and_the_same_names(local_host):
    kimi = Kimi("local", max_tokens=8, show=False)
    rows = [("What is the capital of Germany?", "Berlin"), ("Say 4.", "4")]
    task = Task(instruction="", rows=rows, written=True)
    mine = {"seen": "includes", "far": "similarity", "long": lambda r: len(r.text) > 3}
    found = kimi.sweep(
        task, temperature=[0, 0.1], repeats=1, metrics=mine, progress=False
    )
    assert [trial.params["prompt"] for trial in found.trials[::2]] == ["q1", "q2"]
    assert found.trials[0].reply.request["messages"][0]["content"] == rows[0][0]
    berlin = [
        score
        for trial, score in zip(found.trials, found.scores["seen"], strict=True)
        if trial.params["prompt"] == "q1" and trial.params["temperature"] == 0
    ]
    assert berlin == [True]
    assert {type(score) for score in found.scores["far"]} == {bool}
    assert found.metric_errors == {}
    with pytest.raises(BadInput, match="needs right answers"):
        kimi.sweep("Hi", temperature=[0, 1], metrics=["exact"])
    with pytest.raises(BadInput, match="Did you mean 'exact'"):
        kimi.sweep(task, temperature=[0, 1], metrics={"a": "exakt"})
    lab = kimi.lab(task, metrics=["includes", "similarity"], progress=False)
    assert lab.metrics == ("includes", "similar")
    assert lab.summary()[0]["similar_n"] == 2
