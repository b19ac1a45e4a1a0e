"""The streaming view in JupyterLab: seen to grow, stopped, saved, opened again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.lab import Cells, Lab
from support.streamed import SHOWCASE

pytestmark = pytest.mark.browser

SETUP = """
from support.streamed import SHOWCASE, FakeClient
from kimikit.display.cell import arm
from kimikit.notebook.stream_view import answer_view
arm()
def ask(prompt, per_s=0, wait_s=0):
    with answer_view() as view:
        reply = FakeClient(per_s, wait_s).chat(prompt, watch=view)
        view.finish(reply)
    return reply
"""
CELLS = [
    SETUP,
    "_ = ask(SHOWCASE, per_s=250)",
    "part = ask('# Long\\n\\n' + 'many words in **bold** follow. ' * 400, per_s=100)",
    "len(part.text), part.partial",
    "print('before'); _ = ask('one\\n\\ntwo\\n\\n```py\\nx\\n```')",
]
HEIGHT = "i => window.jupyterapp.shell.currentWidget.content.widgets[i].outputArea.node.offsetHeight"


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Cells]:
    cells = lab.open("stream", CELLS)
    cells.run(0)
    yield cells
    cells.close()


def test_the_answer_is_seen_to_grow_and_ends_as_one(book: Cells) -> None:
    book.watch(1)
    book.run(1)
    growing = book.seen_to_grow()
    assert len(set(growing)) >= 5, "it was on the page at several lengths"
    assert growing[-1] > 3 * growing[0]
    book.cell(1).locator(".kimikit").wait_for()
    assert book.outputs(1).count() == 2


def test_it_looks_right_in_light_and_dark(book: Cells) -> None:
    book.page.set_viewport_size({"width": 1100, "height": 1700})
    for dark in (False, True):
        book.theme(dark=dark)
        book.picture(f"answer_{'dark' if dark else 'light'}", book.cell(1))
    book.theme(dark=False)
    answer = book.outputs(1).first
    shown = answer.inner_text()
    assert "Sorting costs $5 and $10 an hour, never" in shown
    assert answer.locator("mjx-container").count() == 8
    assert answer.locator("mjx-merror").count() == 0
    assert answer.locator("table tr").count() == 3
    assert answer.locator("ol > li").count() == 3
    assert answer.locator("ul ul li").inner_text() == "then again"
    assert answer.locator("strong").all_inner_texts() == ["pivot", "注意：", "“引号”"]
    assert "H2O" in shown.replace("\n", "")
    assert answer.evaluate("e => e.scrollWidth <= e.clientWidth"), "nothing overflows"
    frame = book.cell(1).bounding_box()
    footer = book.cell(1).locator(".kimikit .muted").bounding_box()
    assert frame is not None
    assert footer is not None
    assert footer["x"] + footer["width"] <= frame["x"] + frame["width"]


def test_stop_keeps_the_part_and_the_next_cell_runs(book: Cells) -> None:
    book.start(2)
    book.cell(2).locator("strong").first.wait_for()
    book.interrupt()
    book.wait_idle(2, 5)
    text = book.text(2)
    assert "many words in bold" in text
    assert "stopped · together" in text
    assert book.outputs(2).count() == 2
    book.run(3)
    length, partial = eval(book.text(3))
    assert 0 < length < 4000
    assert partial


def test_what_is_saved_is_one_answer_and_one_footer(book: Cells) -> None:
    book.run(4)
    saved = book.save()
    kinds = [set(o.data) for o in saved.cells[1].outputs]
    assert kinds == [{"text/plain", "text/markdown"}, {"text/plain", "text/html"}]
    assert saved.cells[1].outputs[0].data["text/plain"] == SHOWCASE
    assert saved.cells[4].outputs[0].text == "before\n"


def test_a_reopened_notebook_shows_the_same(book: Cells, lab: Lab) -> None:
    before = [book.text(i) for i in (1, 2, 4)]
    book.close(keep_kernel=True)
    again = lab.open("stream")
    for i in (1, 2, 4):  # each is drawn when the page has time for it
        again.cell(i).locator(".kimikit").wait_for()
    again.cell(1).locator("mjx-container").nth(7).wait_for()
    assert [again.text(i) for i in (1, 2, 4)] == before
    assert again.page.evaluate(HEIGHT, 4) < 250, "emptied outputs leave no gap"
