"""A race in JupyterLab: columns side by side that grow, and a table that reads well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.contrast import faint
from support.lab import Cells, Lab
from support.races import SETUP

pytestmark = pytest.mark.browser

LOOK = """
cell => {
  const style = getComputedStyle(cell);
  return [style.textAlign, style.backgroundColor, getComputedStyle(cell.parentElement)
    .backgroundColor];
}
"""
# In one step in the page, since each redraw replaces the columns.
GROWING = """
index => {
  const cell = window.jupyterapp.shell.currentWidget.content.widgets[index].node;
  const box = e => [e.innerText, e.getBoundingClientRect().y, e.offsetWidth];
  return cell.innerText.includes('word0') && cell.innerText.includes('answering')
    && [...cell.querySelectorAll('th')].map(box);
}
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Cells]:
    cells = lab.open("race", [SETUP, "go(fast=fast, slow=slow)"])
    cells.run(0)
    yield cells
    cells.close()


def test_columns_grow_side_by_side(book: Cells) -> None:
    book.start(1)
    heads = book.page.wait_for_function(GROWING, arg=1).json_value()
    assert [name for name, _, _ in heads] == ["fast", "slow"]
    (_, fast_y, fast_width), (_, slow_y, slow_width) = heads
    assert fast_y == slow_y
    assert abs(fast_width - slow_width) < 10
    book.wait_idle(1)
    assert "word11" in book.text(1)
    assert book.outputs(1).count() == 1


def test_the_table_reads_well_in_light_and_dark(book: Cells) -> None:
    clear = "rgba(0, 0, 0, 0)"
    for dark in (False, True):
        book.theme(dark=dark)
        assert faint(book.outputs(1)) == []
        book.picture(f"race_{'dark' if dark else 'light'}", book.cell(1))
        cells = book.cell(1).locator("td")
        assert cells.nth(0).evaluate(LOOK) == ["left", clear, clear]
        assert cells.nth(1).evaluate(LOOK) == ["right", clear, clear]
    book.theme(dark=False)
