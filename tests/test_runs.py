"""How the tests themselves are run: what a run cannot try is skipped with its reason."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STOPPED = "tests/wire/test_streams.py::test_interrupt_in_chat_returns_what_arrived"


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
@pytest.mark.parametrize(
    ("before", "said"), [("trap '' INT; ", "1 skipped"), ("", "1 passed")]
)
def test_where_interrupts_are_ignored_their_tests_are_skipped(before, said):
    """As in ``pytest &`` of a script, where such a test would wait for ever."""
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", STOPPED]
    done = subprocess.run(
        ["sh", "-c", f"{before}exec {shlex.join(pytest_)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in done.stdout
    assert ("SIGINT is ignored" in done.stdout) == bool(before)
