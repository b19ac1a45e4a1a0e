"""The sample tools do what they say and nothing else."""

import math
import os
import socket
import sys
import threading
import time

import pytest

from kimikit.errors import BadInput
from kimikit.tools import samples

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("17*23", 391),
        (" 2**0.5 * sqrt(4) ", 2 * math.sqrt(2)),
        ("-(1 + 2) // 2 % 5", 3),
        ("min(3, pi) - abs(-e)", 3 - math.e),
        ("round(10 / 3, 2)", 3.33),
        ("+1", 1),
    ],
)
def test_the_calculator_calculates(text, value):
    assert samples.calculator(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "(1).__class__",
        "[x for x in (1,)]",
        "open",
        "9**9**9",
        "2**4096 * 2**4096",
        "'a' * 3",
        "True",
        "1 if 1 else 2",
        "1 < 2",
        "sqrt(x=4)",
        "1+" * 300 + "1",
    ],
)
def test_the_calculator_only_calculates(text):
    with pytest.raises(ValueError, match=r"only arithmetic|grow too large|longer than"):
        samples.calculator(text)


def test_the_clock_knows_zones():
    assert samples.clock().endswith("UTC")
    assert samples.clock("Asia/Tokyo").endswith("JST")
    with pytest.raises(KeyError):
        samples.clock("Mars/Base")


@pytest.fixture
def query(tmp_path):
    path = tmp_path / "cities.csv"
    path.write_text('\ufeffcity,"pop ""m""",area\nLagos,15.5,1171\nParis,2,105\nX\n')
    return samples.table(path)


def test_a_table_is_described_and_queried(query):
    assert "3 rows, columns city, pop" in query.description
    assert query(sql="SELECT city FROM data WHERE area > 200") == [{"city": "Lagos"}]
    assert query(sql='SELECT sum("pop ""m""") AS s FROM data') == [{"s": 17.5}]
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 500)"
    assert len(query(sql=f"{numbers} SELECT x FROM c")) == 100


def test_a_cell_without_a_value_is_no_zero(tmp_path):
    path = tmp_path / "birds.csv"
    path.write_text("bird,grams\na,3000\nb,NA\nc,\nd,5000\n")
    averaged = samples.table(path)(
        sql="SELECT avg(grams) AS m, max(grams) AS x FROM data"
    )
    assert averaged == [{"m": 4000, "x": 5000}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM data",
        "DROP TABLE data",
        "ATTACH 'other.db' AS o",
        "PRAGMA query_only = 0",
        "INSERT INTO data VALUES (1, 2, 3)",
        "SELECT load_extension('x')",
        "SELECT zeroblob(100000000)",
        "SELECT 1; SELECT 2",
        "nonsense",
    ],
)
def test_a_table_can_only_be_read(query, sql):
    with pytest.raises(Exception, match=r"authorized|too big|one statement|syntax"):
        query(sql=sql)
    assert len(query(sql="SELECT * FROM data")) == 3


def test_an_endless_query_is_stopped(query, monkeypatch):
    monkeypatch.setattr(samples, "_QUERY_S", 0.2)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
    start = time.monotonic()
    with pytest.raises(Exception, match="interrupted"):
        query(sql=f"{endless} SELECT count(*) FROM c")
    assert time.monotonic() - start < 3


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no file"):
        samples.table(tmp_path / "none.csv")
    for text in ("", "a,a\n1,2\n"):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(BadInput, match="no header"):
            samples.table(tmp_path / "bad.csv")


def test_files_are_read_inside_the_folder_only(tmp_path):
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "a.txt").write_text("hello" * 10)
    (tmp_path / "secret.txt").write_text("key")
    (inside / "link.txt").symlink_to(tmp_path / "secret.txt")
    read = samples.reader(inside, limit=12)
    assert read() == "a.txt\nlink.txt\nsub/"
    assert read("a.txt") == "hellohellohe"
    for path in (
        "../secret.txt",
        "link.txt",
        str(tmp_path / "secret.txt"),
        "/etc/hosts",
    ):
        with pytest.raises(PermissionError, match="outside"):
            read(path)
    with pytest.raises(BadInput, match="no folder"):
        samples.reader(tmp_path / "none")


@pytest.fixture(scope="module")
def python():
    return samples.python(seconds=4, memory_mb=512)


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("1 + 1", "2"),
        ("print('a')\nx = 3\nx", "a\n3"),
        ("x = 3", "[no output]"),
        ("", "[no output]"),
        ("import statistics, json, re, datetime; statistics.mean([1, 3])", "2"),
        ("open('a.txt', 'w').write('hi'); open('a.txt').read()", "'hi'"),
        ("import threading; t = threading.Thread(target=print, args=('t',)); t.start()",
         "t"),
        ("print('é')", "é"),
    ],
)  # fmt: skip
def test_code_runs_and_its_last_value_is_told(python, code, output):
    assert python(code) == output


def test_errors_are_told_with_the_line_in_the_code(python):
    told = python("x = 1\ny = x / 0")
    assert 'File "<code>", line 2' in told
    assert "ZeroDivisionError" in told
    assert "sandbox.py" not in told
    assert "SyntaxError" in python("def f(:")


def test_nothing_is_kept_and_no_key_is_seen(python, monkeypatch):
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-secret")
    assert "sk-secret" not in python("import os; dict(os.environ)")
    python("open('a.txt', 'w').write('x')")
    assert python("import os; os.listdir()") == "[]"


def test_an_endless_loop_is_stopped():
    start = time.monotonic()
    told = samples.python(seconds=1)("print('begun', flush=True)\nwhile True: pass")
    assert told == "begun\n\n[stopped after 1 s]"
    assert time.monotonic() - start < 4


def test_endless_output_is_bounded(python):
    assert len(python("while True: print('x' * 1000)")) <= samples._OUTPUT + 100


def test_memory_is_bounded(python):
    assert "MemoryError" in python("x = bytearray(1 << 31)")


REFUSED = "not allowed in the sandbox|is outside the sandbox|Operation not permitted"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import multiprocessing as m; m.Process(target=print).start()",
        "import os; os.kill(os.getppid(), 9)",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.socket()",
        "import urllib.request as u; u.urlopen('http://127.0.0.1:9')",
        "open('/etc/passwd').read()",
        "open('../x', 'w')",
        "import os; os.listdir('/')",
        "import os; os.remove('/tmp/none')",
        "import os; os.symlink('/etc/passwd', 'p'); open('p').read()",
        "import os; os.rename('/etc/hostname', 'h')",
        "import pathlib; pathlib.Path.home().parent.joinpath('x').write_text('a')",
        "import ctypes; ctypes.CDLL(None).getpid()",
        f"open({__file__!r}).read()",
    ],
)
def test_processes_network_and_other_files_are_out_of_reach(python, code):
    told = python(code)
    assert any(part in told for part in REFUSED.split("|")), told


FORK = (
    "import _posixsubprocess as p, os\n"
    "args = [b'/bin/sh', b'-c', b'echo ran']\n"
    "r, w = os.pipe(); w = os.dup(os.dup(w)); i = 0\n"
    "p.fork_exec(args, [b'/bin/sh'], True, (), None, None, *[-1] * 6, r, w,"
    " False, False, 0, None, None, None, -1, None, True)\n"
)


@LINUX
@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        (FORK, "Operation not permitted"),
        ("import sqlite3\nsqlite3.connect(':memory:').execute("
         "\"ATTACH '/tmp/kimikit-outside.db' AS x\")", "unable to open database"),
        ("import resource as r; r.setrlimit(r.RLIMIT_AS, (-1, -1))", "not allowed"),
        ("open('big', 'wb').write(b'x' * (64 << 20))", "File too large"),
    ],
    ids=["fork", "file", "limits", "size"],
)  # fmt: skip
def test_the_kernel_holds_the_walls_where_the_interpreter_does_not_look(
    python, code, refusal
):
    assert refusal in python(code)


@LINUX
def test_threads_without_end_are_contained(python):
    told = python(
        "import threading, time\n"
        "n = 0\n"
        "try:\n"
        "    while n < 5000:\n"
        "        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "        n += 1\n"
        "except (RuntimeError, MemoryError):\n"
        "    print('contained')\n"
        "import os; os._exit(0) if n == 5000 else None"
    )
    assert "contained" in told or "stopped" in told


@LINUX
def test_what_contains_it_is_told():
    assert samples.containment() == {
        "memory": True,
        "files": True,
        "processes and network": True,
    }


def test_nothing_is_left_behind(python):
    before = set(os.listdir("/tmp")) if os.name == "posix" else set()
    python("open('a', 'w').write('x')")
    left = set(os.listdir("/tmp")) - before if os.name == "posix" else set()
    assert not [name for name in left if name.startswith("tmp")]
    assert threading.active_count() < 20
    assert socket.getdefaulttimeout() is None
