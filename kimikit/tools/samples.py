"""A few safe tools to try things with.

``calculator`` and ``clock`` are tools; ``table``, ``reader`` and ``python`` make one
for a file, a folder or a set of limits.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import datetime
import json
import math
import operator
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zoneinfo
from pathlib import Path
from typing import Any

from kimikit.errors import BadInput
from kimikit.tools.tool import Tool, tool

_OPERATORS: dict[type[ast.AST], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip
_FUNCTIONS = {
    name: getattr(math, name)
    for name in ("sqrt", "log", "log2", "log10", "exp", "sin", "cos", "tan", "atan",
                 "floor", "ceil")
} | {"abs": abs, "round": round, "min": min, "max": max}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e}
_MISSING = {"", "NA", "N/A", "NaN", "nan"}
"""Cells that hold no value; as texts they would count as 0 in an average."""

_BITS = 4096
_ROWS = 100
_QUERY_S = 5.0
_OUTPUT = 10_000


@tool
def calculator(expression: str) -> float:
    """Calculate the value of an arithmetic expression.

    Args:
        expression: Numbers with + - * / // % ** and parentheses; also sqrt, log, log2,
            log10, exp, sin, cos, tan, atan, floor, ceil, abs, round, min, max, pi, e.
    """
    if len(expression) > 500:
        raise ValueError("the expression is longer than 500 characters")
    value: float = _value(ast.parse(expression.strip(), mode="eval").body)
    return value


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=number) if type(number) in (int, float):
            return number
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            one, two = _value(left), _value(right)
            if isinstance(op, ast.Pow):
                size = math.log2(abs(one) + 2) * abs(two)
            else:
                size = sum(math.log2(abs(v) + 2) for v in (one, two))
            if size > _BITS:
                raise ValueError("the numbers grow too large")
            return _OPERATORS[type(op)](one, two)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if (
            name in _FUNCTIONS
        ):
            return _FUNCTIONS[name](*map(_value, args))
    raise ValueError(f"only arithmetic is allowed, not {ast.unparse(node)}")


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
        BadInput: If there is no such file, or no header.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"There is no file {path}.", "Give the path of a CSV file.")
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file)
        rows, head = list(lines), list(lines.fieldnames or ())
    if len(set(head)) != len(head) or not head:
        raise BadInput(f"{path} has no header of distinct names.", "Add one.")
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    columns = ", ".join('"{}" NUMERIC'.format(c.replace('"', '""')) for c in head)
    memory.execute(f"CREATE TABLE data ({columns})")
    cells = ([None if row[c] in _MISSING else row[c] for c in head] for row in rows)
    memory.executemany(f"INSERT INTO data VALUES ({','.join('?' * len(head))})", cells)
    memory.row_factory = sqlite3.Row
    memory.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    reading = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION,
               sqlite3.SQLITE_RECURSIVE)  # fmt: skip
    allowed = dict.fromkeys(reading, sqlite3.SQLITE_OK)
    memory.set_authorizer(lambda action, *_: allowed.get(action, sqlite3.SQLITE_DENY))
    lock = threading.Lock()

    def query_table(sql: str) -> list[dict[str, Any]]:
        """Query the table.

        Args:
            sql: One SQLite SELECT statement.
        """
        with lock:
            deadline = time.monotonic() + _QUERY_S
            memory.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
            return [dict(row) for row in memory.execute(sql).fetchmany(_ROWS)]

    described = (
        f"Query the table data, made from {path.name}: {len(rows)} rows, columns "
        f"{', '.join(head)}. Returns at most {_ROWS} rows."
    )
    return tool(query_table, description=described)


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
            return "\n".join(
                f"{entry.relative_to(root)}{'/' if entry.is_dir() else ''}"
                for entry in sorted(place.iterdir())
            )
        with place.open(encoding="utf-8", errors="replace") as file:
            return file.read(limit)

    return tool(read_file)


def python(*, seconds: float = 5, memory_mb: int = 1024) -> Tool:
    """Make a tool, ``run_python``, that runs Python code in a process of its own.

    Each call starts anew in an empty temporary folder, with an empty environment (no
    keys), the time and memory given, and the installed packages to import. On Linux the
    kernel refuses it network, processes and other files; elsewhere only the interpreter
    does, which stops mistakes but not a determined attacker: see ``containment`` and
    ``kimikit/tools/sandbox.py``. What it may always do: use the CPU for ``seconds``,
    and fill files of 16 MB each in its folder, which is deleted.

    Args:
        seconds: Wall time of one call.
        memory_mb: Address space in MB; not enforced on macOS and Windows.
    """

    def run_python(code: str) -> str:
        """Run Python code and return what it prints, and its last expression's value.

        Nothing is kept between calls; there is no network.

        Args:
            code: The Python code.
        """
        return _contained(code, seconds, memory_mb)

    return tool(run_python)


def containment() -> dict[str, bool]:
    """Tell which walls of ``python`` the kernel holds on this machine."""
    held: dict[str, bool] = json.loads(_contained("", 5, 1024, "probe"))
    return held


def _contained(code: str, seconds: float, memory_mb: int, *options: str) -> str:
    limits = json.dumps({"seconds": seconds, "memory_mb": memory_mb})
    sandbox = str(Path(__file__).with_name("sandbox.py"))
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as output,
    ):
        # One thread, as each of OpenBLAS's reserves memory of its own.
        kept = {"HOME": folder, "TMPDIR": folder, "OPENBLAS_NUM_THREADS": "1"}
        if "SYSTEMROOT" in os.environ:
            kept["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", sandbox, limits, *options],
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
            cwd=folder, env=kept, start_new_session=True,
        )  # fmt: skip
        note = ""
        try:
            process.communicate(code.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            note = f"\n[stopped after {seconds:g} s]"
        finally:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            process.communicate()
        output.seek(0)
        text = output.read(_OUTPUT).decode(errors="replace")
    if not note and process.returncode < 0:
        note = f"\n[stopped by signal {-process.returncode}]"
    return (text + note).strip() or "[no output]"
