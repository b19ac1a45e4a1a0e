"""A person is asked by buttons in JupyterLab while the cell runs, or by ``input``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.contrast import faint
from support.lab import Cells, Lab, typed_and_pressed

pytestmark = pytest.mark.browser

SETUP = """
from support.scripts import Scripted, call, calls
from kimikit.notebook.approval import ask
from kimikit.notebook.trace_view import trace_view
from kimikit.tools import run, tool
from kimikit.types import Reply

@tool(confirm=True)
def drop(table: str, sure: bool = False) -> str:
    "Drop."
    return f"dropped {table} {sure}"
"""
GO = """
client = Scripted(calls(call("drop", 0, table="users\\u202e", sure=True)), Reply(text="Well."))
with trace_view() as view:
    done = run(client, "go", [drop], ask=ask, watch=view)
print(done.stop_reason, [m["content"] for m in done.messages if m["role"] == "tool"])
"""
EXACT = '{\n  "table": "users\\u202e",\n  "sure": true\n}'


@pytest.fixture(scope="module")
def cells(lab: Lab) -> Iterator[Cells]:
    cells = lab.open("approval", [SETUP, *[GO] * 10])
    cells.run(0)
    yield cells
    cells.close()


def asked(cells: Cells, index: int) -> Any:
    """Run a cell and return its question."""
    cells.start(index)
    question = cells.cell(index).locator(".kimikit-question")
    question.get_by_role("button", name="Run", exact=True).wait_for()
    return question


def press(question: Any, name: str) -> None:
    question.get_by_role("button", name=name, exact=True).click()


def ended(cells: Cells, index: int) -> str:
    """Return what a cell shows once it is over, which must hold no widget."""
    cells.wait_idle(index, 10)
    for output in cells.save().cells[index].outputs:
        assert not [kind for kind in output.get("data", {}) if "widget" in kind]
    assert cells.cell(index).locator(".kimikit-question").count() == 0
    return cells.text(index)


def test_a_click_on_run_goes_on_at_once(cells: Cells) -> None:
    question = asked(cells, 1)
    assert question.get_by_label("Arguments").input_value() == EXACT
    assert "drop asks to run with" in question.inner_text()
    cells.cell(1).get_by_text("asking whether drop may run").wait_for()
    start = time.monotonic()
    press(question, "Run")
    cells.cell(1).get_by_text("done [").wait_for()
    assert time.monotonic() - start < 10
    shown = ended(cells, 1)
    assert "allowed" in shown
    assert "dropped users" in shown


def test_what_was_edited_is_what_runs_once_it_fits(cells: Cells) -> None:
    question = asked(cells, 2)
    field, alert = question.get_by_label("Arguments"), question.get_by_role("alert")
    field.fill('{"table": ')
    press(question, "Run")
    alert.get_by_text("not valid JSON").wait_for()
    field.fill('{"tabel": "test"}')
    press(question, "Run")
    alert.get_by_text("there is no argument `tabel`").wait_for()
    field.fill('{"table": "test"}')
    press(question, "Run")
    shown = ended(cells, 2)
    assert 'allowed with other arguments: {"table": "test"}' in shown
    assert 'changed the arguments to {"table":"test"}.\\ndropped test False' in shown


def test_a_refusal_tells_the_model_why_and_goes_on(cells: Cells) -> None:
    question = asked(cells, 3)
    question.get_by_label("Reason").fill("not that table")
    press(question, "Refuse")
    shown = ended(cells, 3)
    assert "refused: not that table" in shown
    assert "done ['Error: denied by the user: not that table.']" in shown


def test_a_refusal_without_a_reason_ends_the_run(cells: Cells) -> None:
    press(asked(cells, 4), "Refuse")
    assert "denied ['Error: denied by the user.']" in ended(cells, 4)


def test_stop_while_it_waits_ends_the_run(cells: Cells) -> None:
    asked(cells, 5)
    cells.interrupt()
    shown = ended(cells, 5)
    assert "stopped before it was decided" in shown
    assert "interrupted ['Error: cancelled by the user.']" in shown


def test_by_keyboard_alone(cells: Cells) -> None:
    question = asked(cells, 6)
    keys = cells.page.keyboard
    cells.command("notebook:focus-output")
    for _ in range(12):
        keys.press("Tab")
        focused = cells.page.evaluate("document.activeElement.tagName")
        if focused == "TEXTAREA" and question.get_by_label("Arguments").evaluate(
            "e => e === document.activeElement"
        ):
            break
    keys.press("Control+A")
    keys.type('{"table": "keys"}')
    keys.press("Tab")
    keys.press("Tab")
    assert cells.page.evaluate("document.activeElement.textContent") == "Run"
    keys.press("Space")
    assert "dropped keys False" in ended(cells, 6)


RUN = ".kimikit-question .mod-primary"
REFUSE = ".kimikit-question button:not(.mod-primary)"


def test_what_stands_there_is_run_though_the_kernel_heard_of_less(
    cells: Cells,
) -> None:
    field = asked(cells, 8).get_by_label("Arguments")
    texts = ['{"table": "users"}', '{"table": "copy"}']
    typed_and_pressed(field, "input", texts, RUN)
    assert "dropped copy False" in ended(cells, 8)
    field = asked(cells, 9).get_by_label("Reason")
    typed_and_pressed(field, "input", ["not", "not that table"], REFUSE)
    assert "refused: not that table" in ended(cells, 9)


def test_it_can_be_read_in_light_and_dark(cells: Cells) -> None:
    question = asked(cells, 7)
    question.get_by_label("Arguments").fill("{}")
    press(question, "Run")
    question.get_by_role("alert").wait_for()
    for dark in (False, True):
        cells.theme(dark=dark)
        cells.page.locator("#jupyterlab-splash").wait_for(state="detached")
        assert faint(question) == []
        cells.picture(f"approval_{'dark' if dark else 'light'}", cells.cell(7))
    cells.theme(dark=False)
    press(question, "Refuse")
    ended(cells, 7)


SUBSHELLS = """
how => {
  const kernels = window.jupyterapp.serviceManager.kernels, was = kernels.commsOverSubshells;
  kernels.commsOverSubshells = how;
  return was;
}
"""


@pytest.fixture
def no_subshells(cells: Cells) -> Iterator[None]:
    """As in VS Code: a front end that sends nothing to subshells."""
    was = cells.page.evaluate(SUBSHELLS, "disabled")
    cells.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext"
        ".session.kernel.restart()"
    )
    yield
    cells.page.evaluate(SUBSHELLS, was)


@pytest.mark.usefixtures("no_subshells")
def test_input_asks_where_no_click_is_heard(cells: Cells) -> None:
    cells.run(0)
    cells.start(10)
    box = cells.cell(10).locator("input")
    box.wait_for()
    assert cells.cell(10).locator(".kimikit-question").count() == 0
    assert '"sure": true' in cells.text(10)
    box.fill('{"table": "typed"}')
    box.press("Enter")
    assert "dropped typed False" in ended(cells, 10)
