"""Run Python code that a model wrote, out of reach of this machine.

It runs in pydantic-monty, an interpreter that was written for models' code: it has no
files, environment, network or processes to give, on every system, and its worker is a
process that can be ended.
"""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import msgspec

from kimikit.errors import MissingDependency, needed
from kimikit.json_values import check_above_0, check_count

OUTPUT_LIMIT = 10_000
"""Characters that code may print; what is beyond is dropped."""

MODULES = (
    "asyncio", "base64", "bisect", "collections", "copy", "csv", "dataclasses",
    "datetime", "decimal", "functools", "hashlib", "itertools", "json", "math",
    "random", "re", "typing", "unicodedata",
)  # fmt: skip
"""What code in the sandbox can import and use; a test holds it."""

_LONGEST_S = 1e6
_GRACE_S = 2.0
"""How long the worker may take to end itself before it is killed."""
_POLL_S = 0.2
"""Longest sleep of the waiting thread: on Windows only a timed wait hears Ctrl-C."""
_FRAMES = 10
_VALUE = "_last_value"


class Limits(msgspec.Struct, frozen=True):
    """What one run may take.

    Attributes:
        seconds: Wall time.
        memory_mb: Memory in MB.
    """

    seconds: float = 5.0
    memory_mb: int = 1024

    def __post_init__(self) -> None:
        check_above_0("seconds", self.seconds, _LONGEST_S)
        check_count("memory_mb", self.memory_mb)


class Sandbox(msgspec.Struct, frozen=True):
    """pydantic-monty: nothing of this machine is in reach of the code.

    Attributes:
        limits: What one run may take.
    """

    limits: Limits = Limits()

    def __post_init__(self) -> None:
        _monty()

    def run(self, code: str) -> str:
        """Return what the code prints, the value of its last line, or its error.

        Raises:
            MissingDependency: If the worker cannot be started.
        """
        try:
            return _interruptible(lambda workers: self._run(code, workers))
        except (OSError, RuntimeError) as exc:
            raise MissingDependency(
                f"pydantic-monty does not start: {exc}.",
                "Install it anew: pip install --force-reinstall pydantic-monty",
            ) from exc

    def _run(self, code: str, workers: list[int]) -> str:
        monty = _monty()
        output = Output()
        with (
            monty.Monty(
                min_processes=1,
                max_processes=1,
                request_timeout=self.limits.seconds + _GRACE_S,
            ) as pool,
            pool.checkout(
                print_flush_interval=0,  # what was printed before a kill is told
                limits={
                    "max_feed_duration_secs": self.limits.seconds,
                    "max_total_sleep_secs": self.limits.seconds,
                    "max_memory": self.limits.memory_mb << 20,
                    "max_recursion_depth": 500,
                },
            ) as session,
        ):
            workers += filter(None, [session.worker_pid])
            try:
                session.feed_run(_showing_last(code), print_callback=output.add)
            except monty.MontyCrashedError as exc:
                output.note(stopped(self.limits) if exc.timed_out else str(exc))
            except monty.MontyError as exc:
                said = exc.display("type-msg")
                late = said.startswith("TimeoutError: feed time limit")
                output.note(stopped(self.limits) if late else _trace(exc, said, code))
        return output.text()

    def walls(self) -> dict[str, bool]:
        """Try each wall, and tell which held."""
        small = Sandbox(Limits(min(self.limits.seconds, 0.2), 16))
        tries = {
            "time": ("while True: pass", "[stopped"),
            "memory": ("len('x' * (1 << 25))", "MemoryError"),
            "files": (f"open({__file__!r}).read()", "Error"),
            "environment": ("import os\nos.environ['PATH']", "Error"),
            "processes and network": (
                "try:\n  import socket\nexcept ImportError:\n  import subprocess",
                "ModuleNotFoundError",
            ),
        }
        return {name: said in small.run(code) for name, (code, said) in tries.items()}


class Output:
    """Keeps the beginning of what is printed, and what is to be said of the run."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = OUTPUT_LIMIT
        self._notes: list[str] = []

    def add(self, _: str, text: str) -> None:
        """Take what was printed to a stream."""
        if self._left > 0:
            self._parts.append(text[: self._left])
        elif "[cut here]" not in self._notes:
            self._notes.append("[cut here]")
        if len(text) > self._left > 0:
            self._notes.append("[cut here]")
        self._left = max(0, self._left - len(text))

    def note(self, text: str) -> None:
        """Take a sentence that stands below what was printed."""
        if text:
            self._notes.append(text[:OUTPUT_LIMIT])

    def text(self) -> str:
        """Return both as the model is told."""
        printed = "".join(self._parts).strip()
        return "\n".join(filter(None, [printed, *self._notes])) or "[no output]"


def _interruptible(work: Callable[[list[int]], str]) -> str:
    """Wait for work in another thread, so that Stop is heard; then its workers end."""
    done: Future[str] = Future()
    workers: list[int] = []

    def run() -> None:
        try:
            done.set_result(work(workers))
        except BaseException as exc:
            done.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    try:
        while not wait([done], _POLL_S).done:
            pass
    except BaseException:
        for worker in workers:
            with contextlib.suppress(OSError):
                os.kill(worker, getattr(signal, "SIGKILL", signal.SIGTERM))
        raise
    return done.result()


def stopped(limits: Limits) -> str:
    """Say that the time was over."""
    return f"[stopped after {limits.seconds:g} s]"


def _monty() -> Any:
    with needed("pydantic-monty", "Running a model's Python", "sandbox"):
        import pydantic_monty
    return pydantic_monty


def _showing_last(code: str) -> str:
    """Make the code print the value of its last line inside the sandbox.

    The value itself is not handed out: forty lists, each twice in the next, are small
    in there and endless to whoever writes them out here.
    """
    raw = code.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
    try:
        await_too = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        tree: Any = compile(raw, "<code>", "exec", await_too)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"{raw.decode()}\nNone"
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        return raw.decode()
    lines = raw.split(b"\n")
    begin, end = last.lineno - 1, (last.end_lineno or last.lineno) - 1
    before = b"\n".join([*lines[:begin], lines[begin][: last.col_offset]])
    whole = b"\n".join([*lines[begin:end], lines[end][: last.end_col_offset]])
    if begin == end:
        whole = lines[begin][last.col_offset : last.end_col_offset]
    else:
        whole = whole[last.col_offset :]
    shown = f"\n)\nif {_VALUE} is not None: print(repr({_VALUE}))\nNone"
    return f"{before.decode()}{_VALUE} = ({whole.decode()}{shown}"


def _trace(error: Any, said: str, code: str) -> str:
    """Return a traceback with the lines as they were written."""
    lines = code.splitlines()
    frames = [
        f'  File "<code>", line {frame.line}, in {frame.function_name or "<module>"}'
        + (f"\n    {lines[frame.line - 1].strip()}" if frame.line <= len(lines) else "")
        for frame in error.traceback()[-_FRAMES:]
    ]
    head = ["Traceback (most recent call last):"] if frames else []
    return "\n".join([*head, *frames, said])
