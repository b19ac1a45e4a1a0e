"""Documents as a notebook has them: frames, paths, tables, code; citations likewise."""

import math
import pathlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.prompting import FakeClient

from kimikit.errors import BadInput
from kimikit.prompting import Conversation, brief, check_citations, map_reduce, split
from kimikit.prompting.history import estimate_tokens

FRAME = pd.DataFrame({
    "date": ["1 May", "2 May"], "note": ["The pump failed.", None],
    "litres": np.array([0.7, 3], dtype=np.float32),
})  # fmt: skip


def test_a_frame_is_a_document_for_each_row():
    parts = split(FRAME)
    assert [part.title for part in parts] == ["row 0", "row 1"]
    assert parts[0].text == "date: 1 May\nnote: The pump failed.\nlitres: 0.7"
    assert parts[1].text == "date: 2 May\nlitres: 3.0"
    named = FRAME.set_index("date")
    assert [part.title for part in split(named)] == ["row 1 May", "row 2 May"]
    assert [part.text for part in split(FRAME[["note"]])] == ["The pump failed."]


class Polars:
    """As much of a polars frame as is looked at."""

    columns = ("a", "b")

    def iter_rows(self):
        return iter([(1, "x"), (2, None)])


def test_frames_of_others_and_series_and_arrays_are_read_too():
    assert [part.text for part in split(Polars())] == ["a: 1\nb: x", "a: 2"]
    series = pd.Series(["One.", "Two."], index=["log", "diary"])
    assert [(p.title, p.text) for p in split(series)] == [
        ("log", "One."), ("diary", "Two."),
    ]  # fmt: skip
    assert [p.text for p in split(np.array(["One.", "Two."]))] == ["One.", "Two."]
    assert [p.text for p in split(text for text in ("a", "b"))] == ["a", "b"]


def test_paths_are_read_by_title_in_lists_and_alone(tmp_path):
    log = tmp_path / "log.txt"
    log.write_bytes("\ufeffThe pump failed.".encode())
    for documents, title in (({"log": log}, "log"), ([log], "log.txt"), (log, "log.txt"),
                             (pd.Series({"the log": log}), "the log")):  # fmt: skip
        (part,) = split(documents)
        assert (part.title, part.text) == (title, "The pump failed.")


@pytest.mark.parametrize(
    "documents",
    [
        None, 3, b"text", math.nan, {"log": math.nan}, {"log": None}, {"log": 3},
        {"log": ["a"]}, ["a", None], ["a", math.nan], pd.Series(["a", None]), pd.NA,
        np.array([1, 2]), {"log": pathlib.Path("none.txt")}, [[1]], object(), {},
        pd.DataFrame(), pathlib.Path("."),
    ],
    ids=lambda value: type(value).__name__,  # an address differs in each worker
)  # fmt: skip
@pytest.mark.parametrize("ask", [brief, map_reduce])
def test_what_is_no_document_is_refused_before_anything_is_asked(documents, ask):
    client = FakeClient([])
    given_ = (documents,) if ask is brief else (client, documents)
    with pytest.raises(BadInput, match="document"):
        ask(*given_, "What failed?")
    assert client.calls == []


@pytest.mark.parametrize("question", [None, 3, "", " ", ["What?"]])
def test_a_question_is_a_text(question):
    for ask in (brief, lambda *given: map_reduce(FakeClient([]), *given)):
        with pytest.raises(BadInput, match="question="):
            ask("It rained.", question)


def test_the_name_of_a_file_is_not_taken_for_a_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.txt").write_text("The pump failed.")
    with pytest.raises(BadInput, match="Path"):
        brief("log.txt", "What failed?")
    assert split("other.txt")[0].text == "other.txt"


def yaml(hosts):
    lines = (f"  host{i}:\n    port: {i}\n    user: admin\n" for i in range(hosts))
    return "servers:\n" + "".join(lines)


def python(functions):
    body = "    for x in y:\n\t\tif x:\n            return x\n\n"
    return "".join(f"def f{i}(y):\n{body}" for i in range(functions))


@pytest.mark.parametrize("text", [yaml(60), python(60), yaml(60).replace("\n", "\r\n")])
@pytest.mark.parametrize("most", [20, 40, 100])
def test_lines_keep_their_indentation(text, most):
    parts = split(text, part_tokens=most)
    lines = set(text.replace("\r", "").split("\n"))
    for part in parts:
        assert part.tokens <= most
        assert part.text.split("\n")[0].rstrip("\r") in lines
    joined = "\n".join(part.text for part in parts)
    said, meant = (
        [x.rstrip() for x in t.split("\n") if x.strip()] for t in (joined, text)
    )
    assert said == meant


@given(st.text("ab \n\t|-:`#é", max_size=300), st.integers(4, 30))
def test_nothing_is_lost_or_too_long_whatever_the_text(text, most):
    if not text.strip():
        return
    parts = split(text, part_tokens=most)
    assert all(part.tokens <= most or len(part.text.strip()) == 1 for part in parts)
    words = iter("".join(text.split()))
    said = "".join("".join(part.text.split()) for part in parts)
    if "|" not in text:
        assert said == "".join(words)


ROWS = "".join(f"| town {i} | {i * 1000} |\n" for i in range(200))
TABLE = f"Before.\n\n| town | people |\n|:-----|-------:|\n{ROWS}\nAfter, no table.\n"


def test_later_parts_of_a_table_have_its_head():
    parts = split(TABLE, part_tokens=100)
    rows = [part for part in parts if "| town 1" in part.text]
    assert len(rows) > 5
    for part in rows:
        assert part.text.startswith("| town | people |\n|:-----|-------:|\n| town ")
        assert part.text.count("| people |") == 1
        assert part.tokens <= 100
    assert parts[0].text == "Before."
    assert (
        "| people |" not in split(TABLE + "\n\nword " * 900, part_tokens=100)[-1].text
    )


@pytest.mark.parametrize("end", [".csv", ".tsv", ".CSV"])
def test_later_parts_of_a_csv_file_have_its_head(tmp_path, end):
    path = tmp_path / f"towns{end}"
    path.write_text("town,people\n" + "".join(f"t{i},{i}\n" for i in range(500)))
    parts = split(path, part_tokens=80)
    assert len(parts) > 5
    assert all(part.text.startswith("town,people\n") for part in parts)
    assert all(part.text.count("town,people") == 1 for part in parts)
    assert all(part.tokens <= 80 for part in parts)


def test_a_head_as_long_as_a_part_is_not_repeated():
    wide = " | ".join(f"column {i}" for i in range(60))
    text = f"| {wide} |\n|{'---|' * 60}\n" + "| 1 " * 60 + "|\n"
    assert all(part.tokens <= 50 for part in split(text, part_tokens=50))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("\uff3b1\uff3d", {1: 1}),
        ("\u3010\uff12\u3011", {2: 1}),
        ("\u30141\u3001 3\u3015", {1: 1, 3: 1}),
        ("\u30102\u2020source\u3011 \u30103\u2020L1-L9\u3011", {2: 1, 3: 1}),
        ("[1\uff0c2]", {1: 1, 2: 1}),
        ("[\u0661]", {1: 1}),
        ("[1~3]", {1: 1, 2: 1, 3: 1}),
        ("[3-1]", {1: 1, 2: 1, 3: 1}),
        ("[part 2]", {2: 1}),
        ("[Parts 1 and 3]", {1: 1, 3: 1}),
        ("[part 1, part 2]", {1: 1, 2: 1}),
        ("[^2]", {2: 1}),
        ("[" + "9" * 5000 + "]", {}),
        ("[1-" + "9" * 5000 + "] [2]", {2: 1}),
        ("[" * 5000 + "1" + "]" * 5000, {1: 1}),
    ],
)
def test_citations_in_brackets_of_any_keyboard(text, counts):
    assert check_citations(text, split(["a", "b", "c"])).counts == counts


def test_an_answer_of_many_ranges_is_counted_once_a_range():
    parts = split([f"text {i}" for i in range(1000)])
    found = check_citations("[1-1000]" * 20_000, parts)
    assert found.counts == dict.fromkeys(range(1, 1001), 20_000)


@pytest.mark.parametrize(
    "text", ["9" * 6000, "[" + "9" * 6000 + "]", "[" * 9999, "\x00"]
)
def test_an_odd_answer_is_reported_and_not_lost(text):
    report = brief(["The pump failed."], "What?").ask(FakeClient([text]))
    assert report.reply.text == text
    assert str(report)
    assert report._repr_html_()


def test_titles_stay_on_their_line():
    made = brief({'a "b"\n<c>': "x"}, "What?")
    assert "from=\"a 'b' <c>\">" in made.messages[0]["content"]
    assert estimate_tokens("") == 0


@pytest.mark.parametrize("given", [pd.Series(["a"]), np.array(["a", "b"]), 0, ""])
def test_what_is_no_question_is_refused_by_name(given):
    with pytest.raises(BadInput, match="Pass a question as text"):
        Conversation(FakeClient(["a"])).say(given)
