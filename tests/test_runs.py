"""How the tests themselves are run: what a run cannot try is skipped with its reason."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
CONFTEST = str(ROOT / "tests" / "conftest.py")
STOPPED = "tests/wire/test_streams.py::test_interrupt_in_chat_returns_what_arrived"


def stops():
    """Mention SIGINT."""


def test_where_interrupts_are_heard_nothing_is_skipped(request):
    plugins = request.config.pluginmanager.get_plugins()
    (own,) = [p for p in plugins if getattr(p, "__file__", "") == CONFTEST]
    own.pytest_runtest_setup(SimpleNamespace(function=stops))


@pytest.mark.skipif(os.name == "nt", reason="signals are another thing there")
def test_where_interrupts_are_ignored_their_tests_are_skipped():
    """As in ``pytest &`` of a script, where such a test would wait for ever."""
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", STOPPED]
    done = subprocess.run(
        ["sh", "-c", f"trap '' INT; exec {shlex.join(pytest_)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 skipped" in done.stdout
    assert "SIGINT is ignored" in done.stdout
