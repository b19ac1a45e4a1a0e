"""Try tools with a few safe ones.

``calculator`` and ``clock`` are tools; ``table``, ``reader`` and ``python`` make one
for a file, a folder or a set of limits.
"""

from __future__ import annotations

import ast
import csv
import datetime
import itertools
import math
import operator
import os
import sqlite3
import stat
import threading
import time
import weakref
import zoneinfo
from pathlib import Path
from typing import Any

from kimikit.errors import BadInput
from kimikit.files import csv_rows
from kimikit.tools import real_python, sandbox
from kimikit.tools.tool import Tool, tool

_FUNCTIONS = {
    name: getattr(math, name)
    for name in ("sqrt", "log", "log2", "log10", "exp", "sin", "cos", "tan", "atan",
                 "floor", "ceil")
} | {"abs": abs, "min": min, "max": max}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e}
_NODES = (ast.Expr, ast.Constant, ast.Name, ast.UnaryOp, ast.BinOp, ast.Call)
_MISSING = {"", "NA", "N/A", "NaN", "nan"}
"""Cells that hold no value; as texts they would count as 0 in an average."""

_BITS = 4096
_DIGITS = 300
_ROWS = 100
_NAMES = 1_000
_CHARACTERS = 100_000
_QUERY_S = 5.0


@tool
def calculator(expression: str) -> float:
    """Calculate the value of an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % ** and parentheses; also sqrt, log, log2,
            log10, exp, sin, cos, tan, atan, floor, ceil, abs, round, min, max, pi, e.
    """
    import simpleeval  # here, for `import kimikit` to stay light

    if len(expression) > 500:
        raise ValueError("the expression is longer than 500 characters")
    reckon = simpleeval.SimpleEval(
        operators={
            ast.Add: _bounded(operator.add), ast.Sub: _bounded(operator.sub),
            ast.Mult: _bounded(operator.mul), ast.Div: operator.truediv,
            ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: _power,
            ast.USub: operator.neg, ast.UAdd: operator.pos,
        },
        functions={**_FUNCTIONS, "round": _round},
        names=_CONSTANTS,
    )  # fmt: skip
    reckon.nodes = {kind: reckon.nodes[kind] for kind in _NODES} | {
        ast.Constant: _number
    }
    tree = ast.parse(expression.strip(), mode="eval").body
    try:
        value: float = reckon.eval(expression, tree)
    except simpleeval.InvalidExpression as exc:
        raise ValueError(f"only arithmetic is allowed: {exc}") from None
    return value


def _number(node: ast.Constant) -> Any:
    if type(node.value) not in (int, float):
        raise ValueError(f"only arithmetic is allowed, not {node.value!r}")
    return _small(node.value)


def _small(value: Any, bits: float = 0) -> Any:
    """Refuse a whole number, or one to come, that takes long to write or to reckon."""
    if max(bits, value.bit_length() if isinstance(value, int) else 0) > _BITS:
        raise ValueError("the numbers grow too large")
    return value


def _bounded(operation: Any) -> Any:
    return lambda one, two: _small(operation(one, two))


def _power(base: Any, exponent: Any) -> Any:
    whole = isinstance(base, int) and isinstance(exponent, int)
    _small(0, base.bit_length() * abs(exponent) if whole else 0)
    return operator.pow(base, exponent)


def _round(value: float, digits: int = 0) -> float:
    # round(1, -10**9) would reckon with a number of a billion digits.
    if abs(digits) > _DIGITS:
        raise ValueError("the numbers grow too large")
    return round(value, digits) if digits else round(value)


@tool
def clock(zone: str = "UTC") -> str:
    """Tell the date and time now.

    Args:
        zone: IANA name of a time zone, such as Europe/Paris.
    """
    now = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
    return now.strftime("%A %Y-%m-%d %H:%M:%S %Z")


def table(path: str | Path) -> Tool:
    """Make a tool that answers SQL queries over one CSV file, and changes nothing.

    The file is read into SQLite's memory once, with NULL where a cell is empty or reads
    NA or NaN; only SELECT is authorised, a query may take 5 s, and 100 rows come back
    at most. The model calls it ``query_table``; a second one needs another name, as in
    ``tool(table("birds.csv"), name="query_birds")``.

    Args:
        path: A CSV file with a header line.

    Raises:
        BadInput: If there is no such file, no header, or more than SQLite takes.
    """
    path = Path(path)
    head, rows = _read_table(path)
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        _fill(memory, head, rows)
    except (sqlite3.Error, ValueError) as exc:
        memory.close()
        raise BadInput(
            f"{path}, of {len(head):,} columns, makes no table in SQLite: {exc}.",
            "Keep fewer columns, 2,000 at most, with plain names that differ in more "
            "than capitals.",
        ) from exc
    memory.row_factory = sqlite3.Row
    memory.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    reading = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION,
               sqlite3.SQLITE_RECURSIVE)  # fmt: skip

    def allowed(action: int, _: Any, name: str | None, *__: Any) -> int:
        # The limit of a text's length is not held by what gathers JSON.
        gathers = action == sqlite3.SQLITE_FUNCTION and "_group_" in str(name)
        fine = action in reading and not gathers
        return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY

    memory.set_authorizer(allowed)
    lock = threading.Lock()

    def query_table(sql: str) -> list[dict[str, Any]]:
        """Query the table.

        Args:
            sql: One SQLite SELECT statement.
        """
        with lock:
            deadline = time.monotonic() + _QUERY_S
            memory.set_progress_handler(lambda: time.monotonic() > deadline, 1_000)
            return _taken(memory.execute(sql))

    weakref.finalize(query_table, memory.close)
    described = (
        f"Query the table data, made from {path.name}: {len(rows)} rows, columns "
        f"{', '.join(head)}. Returns at most {_ROWS} rows."
    )
    return tool(query_table, description=described)


def _fill(
    memory: sqlite3.Connection, head: list[str], rows: list[dict[Any, Any]]
) -> None:
    columns = ", ".join('"{}" NUMERIC'.format(c.replace('"', '""')) for c in head)
    memory.execute(f"CREATE TABLE data ({columns})")
    cells = ([None if row[c] in _MISSING else row[c] for c in head] for row in rows)
    memory.executemany(f"INSERT INTO data VALUES ({','.join('?' * len(head))})", cells)


def _read_table(path: Path) -> tuple[list[str], list[dict[Any, Any]]]:
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Give the path of a CSV file.")
    try:
        head, rows = csv_rows(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, csv.Error) as exc:
        raise BadInput(
            f"{path} cannot be read: {exc}.", "Save it as CSV in UTF-8."
        ) from exc
    if len(set(head)) != len(head) or not head:
        raise BadInput(f"{path} has no header of distinct names.", "Add one.")
    return head, rows


def _taken(found: Any) -> list[dict[str, Any]]:
    """Return the first rows, as long as they are no flood."""
    rows: list[dict[str, Any]] = []
    size = 0
    for row in found:
        rows.append(dict(row))
        size += sum(len(v) if isinstance(v, str | bytes) else 8 for v in row)
        if size > _CHARACTERS:
            raise ValueError(
                f"the result is longer than {_CHARACTERS:,} characters: select fewer "
                "columns or rows, or shorter texts"
            )
        if len(rows) == _ROWS:
            break
    return rows


def reader(folder: str | Path, *, limit: int = 20_000) -> Tool:
    """Make a tool, ``read_file``, that reads text files inside one folder and lists it.

    Links that lead outside are not followed.

    Args:
        folder: The folder to confine it to.
        limit: Characters of a file that are read.

    Raises:
        BadInput: If there is no such folder.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise BadInput(f"There is no folder {folder}.", "Give an existing folder.")

    def read_file(path: str = ".") -> str:
        """Read a text file, or list the files of a folder.

        Args:
            path: Relative path of the file, or . for the list.
        """
        place = (root / path).resolve()
        if not place.is_relative_to(root):
            raise PermissionError(f"{path} is outside the folder")
        if place.is_dir():
            names = sorted(
                f"{entry.relative_to(root)}{'/' if entry.is_dir() else ''}"
                for entry in itertools.islice(place.iterdir(), _NAMES + 1)
            )
            more = [f"[more than {_NAMES:,} names]"] if len(names) > _NAMES else []
            return "\n".join([*names[:_NAMES], *more])
        file = _opened(root, place)
        with os.fdopen(file, encoding="utf-8", errors="replace") as text:
            return text.read(limit)

    return tool(read_file)


def _opened(root: Path, place: Path) -> int:
    """Open a file for reading whose path was checked, however it changes meanwhile.

    Step by step from the folder, following no link: what was a file a moment ago may
    have become one to somewhere else. A pipe or a device would block for ever.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    if os.open not in os.supports_dir_fd:
        found = os.open(place, flags)
    else:
        found = os.open(root, os.O_RDONLY)
        for part in place.relative_to(root).parts:
            try:
                inner = os.open(part, flags, dir_fd=found)
            finally:
                os.close(found)
            found = inner
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise PermissionError(f"{place.name} is no regular file")
    return found


def python(*, seconds: float = 5, memory_mb: int = 1024, real: bool = False) -> Tool:
    """Make a tool, ``run_python``, that runs Python code which a model wrote.

    It runs in pydantic-monty, an interpreter that has no files, environment, network or
    processes to give, on every system. It starts anew in each call and knows most of
    the language and some of its modules (``json re math itertools collections``), but
    no packages.

    With ``real=True`` it is your own Python with all its packages instead, in a process
    with limits, an empty folder and no secrets in its environment, **and no wall**: it
    can read your files and use your network, so each call asks first. Where bubblewrap
    is installed and works, that keeps it from both. ``containment`` tells what holds.

    Args:
        seconds: Wall time of one call.
        memory_mb: Memory in MB; for the real Python not enforced on macOS and Windows.
        real: Whether to use your own Python.

    Raises:
        MissingDependency: Without the extra ``sandbox``, unless ``real``.
        BadInput: If a limit is not above 0.
    """
    limits = sandbox.Limits(seconds, memory_mb)
    runner = real_python.RealPython(limits) if real else sandbox.Sandbox(limits)

    def run_python(code: str) -> str:
        """Run Python code and return what it prints, and its last expression's value.

        Args:
            code: The Python code.
        """
        return runner.run(code)

    does = "Run Python code and return what it prints, and its last expression's value."
    kept = "Nothing is kept between calls"
    if real:
        held = "bubblewrap keeps it from network and other files"
        wall = held if real_python.bubblewrap() else "there is no wall around it"
        where = (
            f"It is the user's own Python, in a process with limits; {wall}. {kept}."
        )
        return tool(run_python, description=f"{does} {where}", confirm=True)
    where = (
        f"{kept}; there are no files, network or packages. These modules can be "
        f"imported: {', '.join(sandbox.MODULES)}."
    )
    return tool(run_python, description=f"{does} {where}")


def containment(*, real: bool = False) -> dict[str, bool]:
    """Try each wall of ``python`` on this machine, and tell which held.

    Args:
        real: Whether to try those of ``python(real=True)``.
    """
    return (real_python.RealPython() if real else sandbox.Sandbox()).walls()
