"""Where a user's project makes warnings errors, kimikit goes on and says the same."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.answers import STOP, text
from support.fault_server import FaultServer, sse

from kimikit import errors, local

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "kimikit").rglob("*.py"))


def run(code, *arguments, options=(), **environment):
    """Run code where every warning is an error; also those that are hidden otherwise."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("COV", "KIMIKIT"))}
    cache = {n: v for n, v in os.environ.items() if n == "KIMIKIT_CACHE"}
    return subprocess.run(
        [sys.executable, *options, "-W", "error", "-c", code, *map(str, arguments)],
        env={**kept, **cache, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_function_warns_and_it_never_raises():
    texts = {path: path.read_text() for path in SOURCES}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, text in texts.items()
        if "warnings" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func) == "warnings.warn"
        and path.parent.name != "errors"
    ]
    assert found == [], "errors.warn"


def test_a_warning_names_the_line_that_caused_it():
    def careless():
        errors.warn("Something is slow; do less.")

    with pytest.warns(errors.KimiWarning, match="do less") as seen:
        careless()
    assert seen[0].filename == __file__


def test_where_warnings_are_errors_it_is_logged(caplog):
    errors.warn("Something is slow; do less.")  # they are errors in all tests
    assert caplog.messages == ["Something is slow; do less."]
    caplog.clear()  # else the test fails for it, as any does that warns unexpectedly


IMPORTS = """
import importlib, pkgutil, kimikit, warnings
with warnings.catch_warnings(action="ignore"):
    import matplotlib.figure  # an older one uses what its own libraries deprecate
for module in pkgutil.walk_packages(kimikit.__path__, "kimikit."):
    if "__main__" not in module.name:
        importlib.import_module(module.name)
"""


def test_nothing_that_is_imported_is_deprecated():
    done = run(IMPORTS)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Warning" not in done.stderr


CHATS = """
import gc, sys
from kimikit import Kimi
kimi = Kimi(base_url=sys.argv[1], api_key="sk-none", model="m")
assert kimi.chat("Hello").text == "fine"
assert kimi.chat("Hello", stream=False).text == "fine"
assert kimi.sweep("Hello", temperature=[0, 1], repeats=1).summary()
assert kimi.ledger.total().calls == 4
del kimi
gc.collect()
"""


@pytest.fixture
def host():
    with FaultServer() as server:
        server.play(sse(*text("fine"), *STOP))
        yield server


LIBRARIES = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot, pandas, scipy.stats, jsonschema, IPython.display
"""
VERBS = """
import gc, sys
import matplotlib
matplotlib.use("Agg")
from kimikit import Kimi, few_shot, tool, vote
from kimikit.prompting import brief, map_reduce

@tool
def add(a: int, b: int) -> int:
    "Add two numbers."
    return a + b

kimi = Kimi(base_url=sys.argv[1], api_key="sk-none", model="m", show=False)
kimi.set_price(input=1, output=2)
reply = kimi.chat("Hello")
found = kimi.sweep("Hello", temperature=[0, 1], system=["a", "b"], repeats=2)
made = kimi.run("Hello", [add])
with kimi.budget(usd=1) as budget, kimi.stream("Hello") as stream:
    assert [*stream]
shown = [reply, found, made, kimi.ledger, kimi.ledger.calls(), budget, kimi.meter()]
shown += [kimi.race("Hello", hosts={"one": {}, "two": {"temperature": 1}})]
shown += [kimi.map(["Hello", "Bye"]), vote(kimi.client, "Hello", 2)]
shown += [map_reduce(kimi.client, ["Hello"], "What?"), brief(["Hello"], "What?")]
talk = kimi.conversation("Be brief.")
talk.say("Hello")
for one in shown + [talk]:
    assert repr(one)
    if hasattr(one, "_repr_html_"):
        one._repr_html_()
found.plot(), made.timeline(), kimi.ledger.plot()
found.to_pandas(), kimi.ledger.to_pandas()
kimi.chat(few_shot([("one", "1")], "two"))
kimi.close()
del kimi, talk, shown, one, found, made, reply, stream, budget
gc.collect()
"""


def test_all_verbs_go_on_and_leave_nothing_open(host, tmp_path):
    """In a process of its own, where each library is imported for the first time."""
    ledger = str(tmp_path / "ledger.db")
    done = run(VERBS, host.url, options=("-X", "dev"), KIMIKIT_LEDGER=ledger)
    if done.returncode and run(LIBRARIES, options=("-X", "dev")).returncode:
        pytest.skip("libraries of this version warn of each other when imported")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


def test_a_ledger_that_cannot_be_written_costs_no_answer(host, tmp_path):
    (tmp_path / "file").touch()
    done = run(CHATS, host.url, KIMIKIT_LEDGER=str(tmp_path / "file" / "ledger.db"))
    assert done.returncode == 0, done.stderr
    assert "cannot be written" in done.stderr


STARTS = """
from kimikit import local
print(local.ensure().pid)
"""


def test_a_host_that_outlives_who_started_it_is_no_leak(
    local_host, tmp_path, monkeypatch
):
    monkeypatch.setenv("KIMIKIT_RUNTIME", str(tmp_path))
    done = run(STARTS, KIMIKIT_RUNTIME=str(tmp_path))
    try:
        assert done.returncode == 0, done.stderr
        assert "Warning" not in done.stderr
        assert local.status()["running"].pid == int(done.stdout), "it runs on"
    finally:
        local.stop()
