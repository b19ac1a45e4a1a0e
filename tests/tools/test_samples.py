"""The sample tools do what they say and nothing else."""

import math
import os
import time

import pytest
from support.scripts import Scripted, call

from kimikit.errors import BadInput
from kimikit.tools import run, samples
from kimikit.types import Reply

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs pipes and links")


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
        "round(1, -1000000000)",
        "round(2.5, 10**9)",
        "max('a', 'b')",
        "pi.real",
        "(lambda: 1)()",
        "sqrt(*(1,))",
        "3 if 2 else 1",
        "x = 3",
        "10**-100000",
        "-(2**4000) * 2**4000",
        "2**4095 + 2**4095 + 2**4095",
        "1j",
        "f'{1}'",
        "1 and 2",
        "~1",
        "1 << 9",
        "",
    ],
)
def test_the_calculator_only_calculates(text):
    refusals = r"only arithmetic|grow too large|longer than|invalid syntax"
    with pytest.raises((ValueError, SyntaxError), match=refusals):
        samples.calculator(text)


def test_a_hostile_sum_holds_nobody_up():
    """`round(1, -10**9)` once held the interpreter lock through every limit of time."""
    asked = Reply(tool_calls=(call("calculator", 0, expression="round(1, -10**9)"),))
    client = Scripted(asked, Reply(text="too large"))
    (told,) = run(client, "go", [samples.calculator]).steps[0].results
    assert "grow too large" in told.text


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
        "SELECT json_group_array(hex(randomblob(400000))) FROM data",
        "SELECT json_group_object(city, hex(randomblob(400000))) FROM data",
        "SELECT jsonb_group_array(1) FROM data",
        "nonsense",
    ],
)
def test_a_table_can_only_be_read(query, sql):
    with pytest.raises(Exception, match=r"authorized|too big|one stat|syntax|no such"):
        query(sql=sql)
    assert len(query(sql="SELECT * FROM data")) == 3


@pytest.mark.parametrize(
    "columns", ["hex(zeroblob(490000))", ", ".join(["hex(zeroblob(400))"] * 500)]
)
def test_a_flood_of_text_is_refused_before_it_is_gathered(query, columns):
    rows = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
    with pytest.raises(ValueError, match="longer than 100,000 characters: select"):
        query(sql=f"{rows} SELECT {columns} FROM c")


def test_an_endless_query_is_stopped(query, monkeypatch):
    monkeypatch.setattr(samples, "_QUERY_S", 0.2)
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)"
    start = time.monotonic()
    with pytest.raises(Exception, match="interrupted"):
        query(sql=f"{endless} SELECT count(*) FROM c")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("count", [2_000, 2_001, 40_000])
def test_a_wide_table_is_read_or_refused_with_the_limit(tmp_path, count):
    path = tmp_path / "wide.csv"
    names = ",".join(f"c{n}" for n in range(count))
    path.write_text(f"{names}\n{','.join('7' * count)}\n")
    if count == 2_000:
        assert samples.table(path)(sql="SELECT c1999 FROM data") == [{"c1999": 7}]
        return
    with pytest.raises(BadInput, match=f"{count:,} columns.*2,000 at most"):
        samples.table(path)


@pytest.mark.parametrize("names", ["a,A", "a\0b,c"])
def test_names_that_sqlite_does_not_take_are_told(tmp_path, names):
    (tmp_path / "odd.csv").write_text(f"{names}\n1,2\n")
    with pytest.raises(BadInput, match="makes no table in SQLite"):
        samples.table(tmp_path / "odd.csv")


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no file"):
        samples.table(tmp_path / "none.csv")
    for text in ("", "a,a\n1,2\n"):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(BadInput, match="no header"):
            samples.table(tmp_path / "bad.csv")
    for data in ("città\nRoma\n".encode("latin-1"), "a\n1\n".encode("utf-16")):
        (tmp_path / "bad.csv").write_bytes(data)
        with pytest.raises(
            BadInput, match=r"cannot be read: .* Save it as CSV in UTF-8"
        ):
            samples.table(tmp_path / "bad.csv")


def test_a_table_may_hold_whole_documents(tmp_path):
    (tmp_path / "papers.csv").write_text(f"name,paper\na,{'word ' * 40_000}\n")
    found = samples.table(tmp_path / "papers.csv")(
        sql="SELECT length(paper) n FROM data"
    )
    assert found == [{"n": 200_000}]


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


@POSIX
@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_blocks_nobody(tmp_path, make):
    make(tmp_path / "odd")
    with pytest.raises(PermissionError, match=r"no regular file|outside"):
        samples.reader(tmp_path)("odd")


@POSIX
def test_a_file_that_becomes_a_link_after_the_check_is_not_followed(
    tmp_path, monkeypatch
):
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "a.txt").write_text("mine")
    (tmp_path / "a.txt").write_text("secret")
    read = samples.reader(inside)
    real = samples._opened

    def late(root, place):
        (inside / "sub").rename(inside / "old")
        (inside / "sub").symlink_to(tmp_path)
        return real(root, place)

    monkeypatch.setattr(samples, "_opened", late)
    with pytest.raises(OSError, match=r"symbolic|Not a directory"):
        read("sub/a.txt")


def test_a_folder_of_many_files_is_listed_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "_NAMES", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    told = samples.reader(tmp_path)().splitlines()
    assert len(told) == 4
    assert told[-1] == "[more than 3 names]"
