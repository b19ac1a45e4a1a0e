"""The playground in JupyterLab, by mouse and by keyboard, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.contrast import faint
from support.lab import Cells, Lab, typed_and_pressed

pytestmark = pytest.mark.browser

SETUP = """
from functools import partial
from kimikit.notebook.playground import Playground
from kimikit.wire import AsyncClient, hosts
from support.fault_server import HOLD, FaultServer, Pause, chunk, event, head, plain
from support.files import TakesFiles
from support.streamed import piece, played

class Session(TakesFiles):
    host = hosts.resolve("together")
    def sweep(self, prompt, **grid):
        assert grid.pop("dry_run")
        return f"{len(grid['temperature']) * grid['repeats']} calls, about $0.05"

def thought(text):
    delta = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
    return chunk(event({"model": "moonshotai/Kimi-K3", "choices": [delta]}))

server = FaultServer().__enter__()
opener = partial(AsyncClient, base_url=server.url, api_key="k", max_retries=0)
begin, *answer = played('Bees **dance** to tell. ' * 5, .02, 'moonshotai/Kimi-K3')
"""
PLAY = [
    SETUP,
    "app = Playground(Session(), opener)\napp",
    "server.play(begin, thought('Hmm, bees. ' * 40), Pause(.5), *answer)",
    "server.requests[-1].json",
    "server.scripts.clear(); server.play(head(), chunk(event(piece('Half an ans'))), HOLD)",
    "server.scripts.clear(); server.play(plain({'error': {'message': 'no such model'}}, 404))",
    "server.scripts.clear(); server.play(*played('Again.', .02, 'moonshotai/Kimi-K3'))",
]


@pytest.fixture(scope="module")
def app(lab: Lab) -> Iterator[Cells]:
    cells = lab.open("playground", PLAY)
    cells.run(0)
    cells.run(1)
    box(cells).get_by_label("Prompt").wait_for()
    yield cells
    cells.close()


def box(app: Cells) -> Any:
    """The live app, apart from the copy that is kept for the saved notebook."""
    return app.cell(1).locator(".kimikit-playground")


def press(app: Cells, name: str) -> None:
    box(app).get_by_role("button", name=name, exact=True).click()


def asked(app: Cells, count: int) -> None:
    """Wait until so many runs are in the history, and shown."""
    option = box(app).locator(f"option[value^='{count}: ']")
    option.wait_for(state="attached")
    app.page.wait_for_function("!document.querySelector('.kimikit-run').disabled")


def test_every_control_has_a_name(app: Cells) -> None:
    cell = box(app)
    run = cell.get_by_role("button", name="Run")
    assert run.get_attribute("title") == "Ask (Ctrl+Enter)"
    cell.get_by_role("group", name="Column A").get_by_label("Model").wait_for()
    for label in ("Prompt", "Columns", "Samples", "Blind vote", "Host", "System"):
        assert cell.get_by_label(label, exact=True).count() == 1, label
    cell.get_by_role("slider", name="Temperature").wait_for()
    cell.get_by_text("More parameters").click()
    for label in ("Max tokens", "Seed", "More"):
        cell.get_by_label(label, exact=True).wait_for()
    cell.get_by_role("slider", name="Top p").wait_for()
    assert cell.locator("[title=null]:visible").count() == 0
    for region in (".kimikit-status", ".kimikit-said"):
        live = cell.locator(f"{region}[role=status][aria-live=polite]")
        live.wait_for(state="attached")


def test_by_keyboard_alone(app: Cells) -> None:
    app.run(2)
    keys = app.page.keyboard
    box(app).get_by_label("Prompt").focus()
    keys.type("How do bees tell?")
    keys.press("Control+Enter")
    box(app).get_by_text("thinking").first.wait_for()
    box(app).locator("strong").first.wait_for()
    asked(app, 1)
    shown = box(app).inner_text()
    assert "20 tokens" in shown
    assert "first token" in shown
    assert "Hmm, bees." not in shown, "reasoning is folded"
    said = box(app).locator(".kimikit-said")
    assert "Bees **dance** to tell." in said.text_content()
    app.run(3)
    sent = eval(app.text(3))
    assert sent["messages"] == [{"role": "user", "content": "How do bees tell?"}]
    assert sent["temperature"] == 0.6
    app.run(4)
    box(app).get_by_role("button", name="Run", exact=True).focus()
    keys.press("Space")
    box(app).get_by_text("Half an ans").first.wait_for()
    keys.press("Escape")  # Run is disabled by now, and has lost the focus
    asked(app, 2)
    shown = box(app).inner_text()
    assert "Half an ans" in shown
    assert "stopped" in shown


def test_run_asks_what_was_typed_last_though_the_kernel_heard_of_less(
    app: Cells,
) -> None:
    app.run(6)
    field = box(app).get_by_label("Prompt")
    typed_and_pressed(field, "input", ["H", "How", "How do bees tell?"], ".kimikit-run")
    asked(app, 3)
    app.run(3)
    assert eval(app.text(3))["messages"] == [
        {"role": "user", "content": "How do bees tell?"}
    ]
    most = box(app).get_by_label("Max tokens")
    most.fill("123")
    most.press("Control+Enter")  # a number is sent as its field is left
    asked(app, 4)
    app.run(3)
    assert eval(app.text(3))["max_tokens"] == 123


def test_errors_stand_beside_their_fields_and_the_next_run_works(app: Cells) -> None:
    app.run(5)
    press(app, "Run")
    box(app).get_by_text("ModelNotFound").wait_for()
    asked(app, 5)
    seed = box(app).get_by_label("Seed")
    seed.fill("many")
    press(app, "Run")
    said = box(app).get_by_role("alert").get_by_text("Give a whole number.")
    said.wait_for()
    below = said.bounding_box()["y"] - seed.bounding_box()["y"]
    assert 0 < below < 60, "it is said right below"
    seed.fill("7")
    app.run(6)
    box(app).get_by_label("Samples").fill("2")
    box(app).get_by_label("Samples").press("Tab")
    press(app, "Run")
    asked(app, 6)
    assert box(app).get_by_text("Again.", exact=True).count() == 2
    app.run(3)
    assert eval(app.text(3))["seed"] == 7
    box(app).get_by_label("Samples").fill("1")
    box(app).get_by_label("Samples").press("Tab")


def test_columns_files_and_a_blind_vote(app: Cells, tmp_path: Path) -> None:
    note = tmp_path / "notes.txt"
    note.write_text("Waggle.")
    with app.page.expect_file_chooser() as chooser:
        box(app).get_by_role("button", name="Files (0)").click()
    chooser.value.set_files(note)
    box(app).get_by_label("Columns").fill("2")
    box(app).get_by_label("Columns").press("Tab")
    second = box(app).get_by_role("group", name="Column B")
    second.get_by_role("slider", name="Temperature").press("ArrowRight")
    second.get_by_label("System").fill("Sing.")
    second.get_by_label("System").press("Tab")
    box(app).get_by_label("Blind vote").check()
    box(app).get_by_text("Files (1)").wait_for()
    press(app, "Run")
    asked(app, 7)
    assert "Kimi-K3 ·" not in box(app).inner_text(), "nobody is named before the vote"
    press(app, "Answer 1 is best")
    box(app).get_by_text("1 blind vote; Bradley-Terry").wait_for()
    assert "Kimi-K3 ·" in box(app).inner_text()
    app.run(3)
    text = eval(app.text(3))["messages"][-1]["content"]
    assert text == '<file name="notes.txt">\nWaggle.\n</file>\n\nHow do bees tell?'
    press(app, "As code")
    box(app).get_by_text("kimi.race").wait_for()
    press(app, "As sweep")
    box(app).get_by_text("system=").wait_for()


def test_history_restores_what_was_asked(app: Cells) -> None:
    from playwright.sync_api import expect

    box(app).get_by_label("History").select_option(index=6)
    box(app).get_by_text("20 tokens").first.wait_for()
    app.page.wait_for_function(
        "document.querySelectorAll('.kimikit-column').length === 1"
    )
    expect(box(app).get_by_label("Blind vote")).not_to_be_checked()
    expect(box(app).get_by_label("Seed")).to_have_value("")


def test_it_looks_right_and_survives_saving(app: Cells, lab: Lab) -> None:
    for dark in (False, True):
        app.theme(dark=dark)
        assert faint(box(app)) == []
        app.picture(f"playground_{'dark' if dark else 'light'}", app.cell(1))
    app.theme(dark=False)
    live, kept = app.save().cells[1].outputs
    assert "come back when its cell is run" in live.data["text/html"]
    for text in ("How do bees tell?", "Hmm, bees.", "history: 9"):
        assert text in kept.data["text/html"], text
    app.close()
    again = lab.open("playground")
    again.cell(1).get_by_text("How do bees tell?").first.wait_for()
    assert again.cell(1).get_by_text("dance").first.is_visible()
