"""Recordings and scripts that strangers made: refused or bounded, never obeyed."""

import json
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from kimikit import Kimi
from kimikit.errors import BadInput, KimiError
from kimikit.replay import RecordingFile, Script
from kimikit.replay.commands import show
from kimikit.replay.file import Question
from kimikit.replay.script import _answer, _Results
from kimikit.types import Host, Price
from kimikit.wire.recorder import Recorded

HOST = Host(name="h", base_url="http://h.test/v1", model="m")
BODY = b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.kimi"
    file = RecordingFile(made, new=True)
    asked = Question("k", "h", "POST", "/chat/completions", '{"messages":[]}')
    kind = [("content-type", "text/event-stream")]
    given = Recorded(1e9, 200, kind, 0.0, [(0.1, BODY)], None, 0.0, True)
    price = Price(1, 2)  # type: ignore[arg-type]
    file.add(asked, given, HOST, {"m": price})
    file.close()
    return made


def change(path: Path, *statements: str, values: tuple[Any, ...] = ()) -> None:
    db = sqlite3.connect(path)
    for trigger in ("answers", "questions", "hosts", "prices", "readme"):
        db.execute(f"DROP TRIGGER {trigger}_UPDATE")
    for statement in statements:
        db.execute(statement, values if "?" in statement else ())
    for table in ("answers", "questions", "hosts", "prices", "readme"):
        db.execute(
            f"CREATE TRIGGER {table}_UPDATE BEFORE UPDATE ON {table} BEGIN"
            " SELECT RAISE(ABORT, 'a recording only grows'); END"
        )
    db.commit()
    db.close()


ENDLESS = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c"
)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TRIGGER more AFTER INSERT ON answers BEGIN DELETE FROM readme; END",),
        ("CREATE VIEW more AS SELECT 1",),
        ("CREATE TABLE more (a)",),
        ("ALTER TABLE questions RENAME TO old", f"CREATE VIEW questions AS {ENDLESS}",
         "CREATE TABLE t2 (a)"),
        ("ALTER TABLE answers ADD COLUMN more AS (zeroblob(1000000))",),
    ],
)  # fmt: skip
def test_what_would_run_as_it_is_read_is_refused(
    statements: tuple[str, ...], path: Path
) -> None:
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()
    with pytest.raises(BadInput, match="more than a recording"):
        RecordingFile(path)


ODD: dict[str, tuple[str, Any]] = {
    "a bomb": ("body", zlib.compress(bytes(60 * 2**20), 9)),
    "a time that never comes": ("cuts", json.dumps([[1e300, 5]])),
    "a time before its question": ("cuts", json.dumps([[-5.0, 5]])),
    "no number": ("cuts", "[[NaN, 5]]"),
    "a negative length": ("cuts", "[[0.1, -5]]"),
    "deep": ("cuts", "[" * 100_000),
    "digits": ("cuts", "[[0.1," + "9" * 5_000 + "]]"),
    "a day that is none": ("created", 1e300),
    "a text for a time": ("created", "soon"),
    "a status that is none": ("status", 10**9),
    "a head that never comes": ("head_s", 1e12),
    "headers that are none": ("headers", '[["a"]]'),
    "a failure that is none": ("failure", "[]"),
    "a body that is no bytes": ("body", "text"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_that_cannot_be_is_damaged(name: str, path: Path) -> None:
    column, value = ODD[name]
    change(path, f"UPDATE answers SET {column} = ?", values=(value,))
    file = RecordingFile(path)
    with pytest.raises(BadInput, match="damaged"):
        file.find(Question("k", "", "", "", ""), 0, good=False)
    with pytest.raises(KimiError, match="damaged"):
        list(file.rows())
    assert "1 answers to 1 questions" in show(str(path))
    file.close()


@pytest.mark.parametrize("value", [b"\xff\xfe", 5, "[" * 100_000, "9" * 5_000, "{}"])
def test_a_question_of_another_kind_hides_no_other(value: Any, path: Path) -> None:
    change(path, "UPDATE questions SET body = ?, host = ?", values=(value, value))
    kimi = Kimi("replay", path=path, speed=None, show=False)
    with pytest.raises(KimiError, match=r"does not have|holds no answer"):
        kimi.chat("something else")
    assert show(str(path))
    kimi.close()


@pytest.mark.parametrize("value", ["{", "[]", "[" * 100_000, '{"name":5}'])
def test_a_host_that_cannot_be_read_is_none(value: str, path: Path) -> None:
    change(path, "UPDATE hosts SET host = ?", values=(value,))
    file = RecordingFile(path)
    assert file.hosts() == []
    with pytest.raises(KimiError, match="empty"):
        Kimi("replay", path=path)
    file.close()


@pytest.mark.parametrize("value", ["1e999999", "-1", "NaN", "1e30", "1e-999999"])
def test_a_price_that_no_model_has_is_none(value: str, path: Path) -> None:
    told = json.dumps({"input": value, "output": "1"})
    change(path, "UPDATE prices SET price = ?", values=(told,))
    assert RecordingFile(path).prices() == {}


def test_words_of_a_stranger_carry_no_escapes(path: Path) -> None:
    bad = "\x1b]0;x\x07\x9b31m\u202e"
    host = json.dumps({"name": f"h{bad}", "base_url": "http://h", "title": bad})
    change(
        path, "UPDATE hosts SET host = ?, name = ?", "UPDATE readme SET line = ? || ?",
        values=(host, "h"),
    )  # fmt: skip
    shown = show(str(path))
    assert "from h" in shown
    assert not [c for c in shown if not c.isprintable() and c not in "\n\t"]


HEAD = '[[turn]]\nuser = "q"\n[[turn]]\n'


@pytest.mark.parametrize(
    "hole",
    ["{{t:9999999999}}", "{{t.a:.999999999f}}", "{{t#" + "9" * 5_000 + "}}", "{{t}}" * 50_000],
)  # fmt: skip
def test_a_template_cannot_grow_without_end(hole: str, tmp_path: Path) -> None:
    source = tmp_path / "s.toml"
    source.write_text(f"{HEAD}assistant = '{hole}'\n")
    (_, turn) = Script(source).turns
    told = json.dumps({"a": 1.5, "b": "x" * 20_000})
    call = {"id": "1", "function": {"name": "t"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": told},
    ]
    try:
        made = _answer(turn, _Results(messages), {}, "s.toml")
    except BadInput as exc:
        told = exc.what
    else:  # what is no hole stays as it is
        told = "".join(data.decode() for _, data in made.pieces)
    assert "cannot be filled" in told or "{{t" in told
    assert len(told) < 20_000


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 50_000, "x" * 2**21, "[a]\n" * 9, "\x00", f"{HEAD}assistant = 5"],
)
def test_what_is_no_script_is_refused(text: str, tmp_path: Path) -> None:
    source = tmp_path / "s.toml"
    source.write_text(text)
    with pytest.raises(BadInput, match="neither a recording nor a script"):
        Script(source)
