"""A recording only grows, survives its process, and takes many writers."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from kimikit.errors import BadInput
from kimikit.replay import RecordingFile
from kimikit.replay.file import Question
from kimikit.replay.questions import not_recorded
from kimikit.types import Host, Price
from kimikit.wire.recorder import Recorded

HOST = Host(name="h", base_url="http://h/v1")


def question(text: str = "hi") -> Question:
    return Question(text, "h", "POST", "/chat/completions", f'{{"q":"{text}"}}')


def answer(text: str = "x", created: float = 1e9) -> Recorded:
    pieces = [(0.1, text.encode()), (0.2, b"!")]
    return Recorded(
        created, 200, [("content-type", "a/b")], 0.05, pieces, None, 0.0, True
    )


def test_what_is_added_is_read(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "x.kimi", new=True)
    for text in ("one", "two"):
        file.add(question(), answer(text), HOST, {})
    file.close()
    found = RecordingFile(tmp_path / "x.kimi")
    assert found.find(question(), 0, good=False) == answer("one")
    assert found.find(question(), 1, good=True) == answer("two")
    assert found.find(question(), 2, good=False) is None
    assert (found.count(question()), found.hosts()) == (2, [HOST])
    assert [path.name for path in tmp_path.iterdir()] == ["x.kimi"], "one file"


def test_answers_are_in_the_order_of_their_questions_and_new_ones_last(
    tmp_path: Path,
) -> None:
    file = RecordingFile(tmp_path / "x.kimi", new=True)

    def found() -> list[str]:
        each = [file.find(question(), n, good=True) for n in range(9)]
        return [one.pieces[0][1].decode() for one in each if one]

    for asked in (3, 1, 2):
        file.add(question(), answer(f"{asked}", asked), HOST, {})
    assert found() == ["1", "2", "3"]
    file.add(question(), answer("late", 0), HOST, {})  # a clock was set back
    assert found() == ["1", "2", "3", "late"]


@pytest.mark.parametrize(
    "sql", ["DELETE FROM answers", "UPDATE answers SET status = 1"]
)
def test_nothing_is_changed(sql: str, tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "x.kimi", new=True)
    file.add(question(), answer(), HOST, {})
    file.close()
    db = sqlite3.connect(tmp_path / "x.kimi")
    with pytest.raises(sqlite3.IntegrityError, match="only grows"):
        db.execute(sql)
    db.close()


WRITE = """
import sys
from decimal import Decimal
from replay.test_file import HOST, answer, question
from kimikit.replay import RecordingFile
file = RecordingFile(sys.argv[1], new=True)
for n in range(int(sys.argv[2])):
    file.add(question(f"{sys.argv[3]}{n % 7}"), answer(f"{n}"), HOST, {})
    print(n, flush=True)
"""


def writer(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    tests = Path(__file__).parent.parent
    code = f"import sys; sys.path.insert(0, {str(tests)!r})\n{WRITE}"
    told = [sys.executable, "-c", code, str(path), str(count), name]
    return subprocess.Popen(told, stdout=subprocess.PIPE, text=True)


def test_a_killed_process_loses_nothing_that_was_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.kimi"
    with writer(path, 100_000, "q") as running:
        assert running.stdout is not None
        for _ in range(50):
            running.stdout.readline()
        os.kill(running.pid, signal.SIGKILL)
        told = 50 + len(running.stdout.read().splitlines())
    found = RecordingFile(path)
    rows = [row[2] for row in found.rows()]
    assert rows[: told - 1] == [answer(f"{n}") for n in range(told - 1)]
    RecordingFile(path, new=True).add(question("later"), answer(), HOST, {})
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "x.kimi"
    running = [writer(path, 40, name) for name in "abc"]
    for each in running:
        each.communicate(timeout=300)
    assert RecordingFile(path).size()[:2] == (21, 120)


@pytest.mark.parametrize("raw", [b"", b"SQLite format 3\0" + b"x" * 200])
def test_what_is_no_recording_says_so(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.kimi"
    path.write_bytes(raw)
    with pytest.raises(BadInput, match=r"x\.kimi"):
        RecordingFile(path)


def read_all(path: Path) -> None:
    file = RecordingFile(path)
    file.find(question(), 0, good=False)
    file.prices()
    file.hosts()


@pytest.mark.parametrize("table", ["answers", "prices", "hosts"])
def test_a_damage_found_while_it_is_read_is_told(tmp_path: Path, table: str) -> None:
    path = tmp_path / "x.kimi"
    file = RecordingFile(path, new=True)
    price = Price(input=Decimal(1), output=Decimal(2))
    file.add(question(), answer(), HOST, {"m": price})
    file.close()
    db = sqlite3.connect(path)
    sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    ((page,),) = db.execute(sql, (table,))
    ((size,),) = db.execute("PRAGMA page_size")
    db.close()
    raw = bytearray(path.read_bytes())
    raw[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="get it again"):
        read_all(path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x.db")
    db.execute("CREATE TABLE mine (x)")
    db.commit()
    db.close()
    with pytest.raises(BadInput, match="another program"):
        RecordingFile(tmp_path / "x.db", new=True)


def test_a_file_that_cannot_be_written_is_replayed(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "x.kimi", new=True)
    file.add(question(), answer(), HOST, {})
    file.close()
    (tmp_path / "x.kimi").chmod(0o400)
    assert RecordingFile(tmp_path / "x.kimi").count(question()) == 1


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ('{"a": "x"}', '{"a": "x"}', "no answer to it that can be read"),
        ('{"a": "x"}', '{"a": "x", "": ""}', "no answer to it that can be read"),
        ('{"a": "x"}', '{"a": "y", "": ""}', r"differs in: a \[-x-\]{\+y\+}\.$"),
    ],
)
def test_a_question_that_is_nearly_there_says_what_differs_or_that_nothing_does(
    was: str, now: str, told: str
) -> None:
    near, asked = (Question("k", "h", "POST", "/", body) for body in (was, now))
    error = not_recorded(asked, [near], name="x.kimi")
    assert re.search(told, error.what)
