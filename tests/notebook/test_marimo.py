"""Views in marimo, by its own headless export of a notebook that runs."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import without_iri

from kimikit import StreamError
from kimikit.notebook.marimo_view import MarimoView
from kimikit.types import Delta, Reply, Wait

NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    from support.fault_server import FaultServer, sse
    from support.answers import DONE, chunk, text
    from kimikit import Kimi
    server = FaultServer().__enter__()
    server.play(sse(*text("**Hello** <b>there</b>", " friend."), chunk("stop"), DONE))
    kimi = Kimi("vllm", base_url=server.url, model="m")
    return (kimi,)

@app.cell
def _(kimi):
    reply = kimi.chat("Hi")
    return (reply,)

@app.cell
def _(reply):
    reply
    return

@app.cell
def _(kimi):
    kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2, progress=False)
    return

@app.cell
def _(kimi):
    colours = kimi.sweep("Name a colour.", temperature=[0, 1], progress=False)
    colours.explore()
    return

@app.cell
def _(kimi):
    race = kimi.race("Hi", {"cold": {"temperature": 0}, "warm": {"temperature": 1}})
    return

@app.cell
def _(kimi):
    run = kimi.run("Hi", [])
    return

@app.cell
def _(kimi):
    app = kimi.playground()
    app.form.prompt.value = "Hi"
    app.run()
    app.wait()
    app
    return

@app.cell
def _(kimi):
    kimi.ledger
    return

if __name__ == "__main__":
    app.run()
"""

START = without_iri.program("marimo._cli.cli")


def test_every_view_shows_in_an_exported_notebook(tmp_path: Path) -> None:
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    tests = str(Path(__file__).parents[1])
    env = {
        **os.environ,
        "KIMIKIT_LEDGER": str(tmp_path / "l.db"),
        "HOME": str(tmp_path),
    }
    env["PYTHONPATH"] = os.pathsep.join([tests, *sys.path[1:], str(Path(tests).parent)])
    done = subprocess.run(
        [sys.executable, "-c", START, "export", "ipynb", "notebook.py",
         "--include-outputs", "-o", "out.ipynb"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    shown = ["".join("".join(o.get("data", {}).get("text/html", "")) for o in c["outputs"])
             for c in cells]  # fmt: skip
    _, streamed, value, sweep, explored, race, run, playground, ledger = shown
    for answer in (streamed, value):
        assert "<strong>Hello</strong> &lt;b&gt;there&lt;/b&gt; friend." in answer
        assert answer.count("vllm") == 1  # one footer
    assert "diversity" in sweep
    assert "Equal answers" in explored
    assert "cold" in race  # also where it is no cell's value, as the run below
    assert "<strong>Hello</strong>" in run
    assert "Jupyter" in playground
    assert "<strong>Hello</strong>" in playground
    assert "history: 1" in playground
    assert "ledger: " in ledger
    assert "Traceback" not in html.unescape(" ".join(shown))


def test_the_answer_grows_and_stays() -> None:
    put: list[str] = []
    view = MarimoView(lambda reply: "the footer", put.append)
    with view:
        view(Wait(2.0, "busy", 1))
        view(Delta("One **two**"))
        view(Delta(" three"))
        view.finish(Reply(text="One **two** three", notes=("odd",)))
    assert "busy, trying again in 2 s" in put[0]
    assert "One <strong>two</strong>" in put[1]
    assert len(put) == 3  # the last piece came too soon to be drawn alone
    assert re.search("two</strong> three.*odd.*the footer", put[2], re.S)


def test_what_arrived_before_an_error_stays() -> None:
    put: list[str] = []
    with pytest.raises(StreamError), MarimoView(lambda _: "cut off", put.append):
        raise StreamError("It broke.", "Ask again.", reply=Reply(text="half"))
    assert "half" in put[-1]
