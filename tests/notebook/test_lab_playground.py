"""The playground in JupyterLab, by mouse and by keyboard, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.lab import Cells, Lab

pytestmark = pytest.mark.browser

SETUP = """
from functools import partial
from kimikit.notebook.playground import Playground
from kimikit.wire import AsyncClient, hosts
from support.fault_server import HOLD, FaultServer, chunk, event, head, plain
from support.streamed import piece, played

class Session:
    host = hosts.resolve("together")
    def sweep(self, prompt, **grid):
        assert grid.pop("dry_run")
        return f"{len(grid['temperature']) * grid['repeats']} calls, about $0.05"

server = FaultServer().__enter__()
opener = partial(AsyncClient, base_url=server.url, api_key="k", max_retries=0)
"""
PLAY = [
    SETUP,
    "app = Playground(Session(), opener)\napp",
    "server.play(*played('Bees **dance** to tell. ' * 12, .02, 'moonshotai/Kimi-K3'))",
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
    cells.page.close()


def box(app: Cells) -> Any:
    """The live app, apart from the copy that is kept for the saved notebook."""
    return app.cell(1).locator(".kimikit-playground")


def press(app: Cells, name: str) -> None:
    box(app).get_by_role("button", name=name, exact=True).click()


def test_every_control_has_a_label(app: Cells) -> None:
    cell = box(app)
    for label in ("Prompt", "System", "Host", "Model", "Max tokens", "Seed", "Samples"):
        assert cell.get_by_label(label, exact=True).count() == 1, label
    for label in ("Temperature", "Top p"):
        cell.get_by_role("slider", name=label).wait_for()
    assert cell.locator("[title=null]:visible").count() == 0
    run = cell.get_by_role("button", name="Run")
    assert run.get_attribute("title") == "Ask (Ctrl+Enter)"


def test_by_keyboard_alone(app: Cells) -> None:
    app.run(2)
    keys = app.page.keyboard
    box(app).get_by_label("Prompt").focus()
    keys.type("How do bees tell?")
    keys.press("Control+Enter")
    box(app).locator("strong").first.wait_for()
    assert "first token" in box(app).inner_text()
    box(app).get_by_text("history: 1").wait_for()
    assert "20 tokens" in box(app).inner_text()
    app.run(3)
    sent = eval(app.text(3))
    assert sent["messages"] == [{"role": "user", "content": "How do bees tell?"}]
    assert sent["temperature"] == 0.6
    box(app).get_by_label("Samples").focus()
    keys.press("Tab")
    assert app.page.evaluate("document.activeElement.textContent") == "Run"
    keys.press("Space")
    box(app).get_by_text("history: 2").wait_for()


def test_stop_by_mouse_keeps_what_arrived(app: Cells) -> None:
    app.run(4)
    press(app, "Run")
    box(app).get_by_text("Half an ans").wait_for()
    press(app, "Stop")
    box(app).get_by_text("history: 3").wait_for(timeout=1500)
    text = box(app).inner_text()
    assert "Half an ans" in text
    assert "stopped" in text


def test_an_error_appears_inside_and_the_next_run_works(app: Cells) -> None:
    app.run(5)
    press(app, "Run")
    box(app).get_by_text("ModelNotFound").wait_for()
    box(app).get_by_label("Seed").fill("many")
    press(app, "Run")
    box(app).get_by_text("invalid literal").wait_for()
    box(app).get_by_label("Seed").fill("7")
    app.run(6)
    box(app).get_by_label("Samples").fill("2")
    box(app).get_by_label("Samples").press("Tab")
    press(app, "Run")
    box(app).get_by_text("history: 6").wait_for()
    assert box(app).get_by_text("Again.").count() == 2
    app.run(3)
    assert eval(app.text(3))["seed"] == 7


def test_the_same_as_code_and_as_a_sweep(app: Cells) -> None:
    press(app, "As code")
    box(app).get_by_text("kimi.chat").wait_for()
    shown = box(app).inner_text()
    assert "'How do bees tell?'," in shown
    assert "temperature=0.6," in shown
    assert "for _ in range(2)" in shown
    press(app, "Sweep this")
    box(app).get_by_text("25 calls, about $0.05").wait_for()
    assert "temperature=[0.0, 0.3, 0.6, 0.9, 1.2]," in box(app).inner_text()


def test_another_host_offers_its_models(app: Cells) -> None:
    box(app).get_by_label("Host").select_option("novita")
    model = box(app).get_by_label("Model")
    app.page.wait_for_function(
        "e => e.value && !e.value.includes('K3')", arg=model.element_handle()
    )
    press(app, "As code")
    box(app).get_by_text("Kimi('novita').chat").wait_for()
    box(app).get_by_label("Host").select_option("together")


def test_it_looks_right_and_survives_saving(app: Cells, lab: Lab) -> None:
    box(app).get_by_label("Samples").fill("1")
    press(app, "Run")
    box(app).get_by_text("history: 7").wait_for()
    for dark in (False, True):
        app.theme(dark=dark)
        app.picture(f"playground_{'dark' if dark else 'light'}", app.cell(1))
    app.theme(dark=False)
    assert box(app).get_by_text("Again.").count() == 1, "the static copy is hidden"
    live, kept = app.save().cells[1].outputs
    assert "come back when its cell is run" in live.data["text/html"]
    assert "How do bees tell?" in kept.data["text/html"]
    assert "Again." in kept.data["text/html"]
    assert "history: 7" in kept.data["text/html"]
    end = "() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
    app.page.evaluate(end)
    app.page.reload()
    again = lab.open("playground", page=app.page)
    assert again.cell(1).get_by_text("How do bees tell?").first.is_visible()
    assert again.cell(1).get_by_text("Again.").is_visible()
