"""What JupyterLab leaves of a notebook that somebody else has run: it is not trusted."""

from __future__ import annotations

import io
from typing import Any

import nbformat
import pytest
from PIL import Image
from support.lab import Cells, Lab

from kimikit.display.plots import subplots
from kimikit.sweeps.cells import bar
from kimikit.sweeps.side_by_side import marked

pytestmark = pytest.mark.browser


def drawn() -> str:
    axes = subplots(size=(4, 3))
    axes.plot([1, 2], label="a label")
    axes.legend()
    return axes.figure.as_html() or ""


def inked(bar: Any) -> float:
    """Return the share of a bar's width that is dark in the middle of its height."""
    seen = Image.open(io.BytesIO(bar.screenshot())).convert("L")
    row = [seen.getpixel((x, seen.height // 2)) for x in range(seen.width)]
    return sum(grey < 128 for grey in row) / len(row)


@pytest.fixture
def opened(lab: Lab) -> Any:
    def open_with(*shown: str) -> Cells:
        outputs = [
            nbformat.v4.new_output("display_data", {"text/html": s}) for s in shown
        ]
        cell = nbformat.v4.new_code_cell("1", outputs=outputs, execution_count=1)
        notebook = nbformat.v4.new_notebook(cells=[cell])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Py"}
        nbformat.write(notebook, lab.root / "untrusted.ipynb")
        found.append(lab.open("untrusted"))
        return found[0]

    found: list[Cells] = []
    yield open_with
    found[0].close()


def test_a_figure_is_its_picture_without_stray_letters(opened: Any) -> None:
    page = opened(drawn())
    assert page.outputs(0).locator("img").is_visible()
    assert page.outputs(0).locator("svg").count() == 0
    assert page.text(0).strip() == ""


def test_a_bar_is_as_long_as_its_number(opened: Any) -> None:
    page = opened(f"<p>{bar(0.25)}</p><p>{bar(0)}</p>")
    quarter, none = (inked(page.outputs(0).locator("p > span").nth(i)) for i in (0, 1))
    assert 0.2 < quarter < 0.3
    assert none < 0.1


def test_marked_words_keep_the_colour_of_the_page(opened: Any) -> None:
    page = opened(f"<p>{marked('the sky', 'the sea')}</p>")
    inks = "each => getComputedStyle(each).color"
    words, marks = page.outputs(0).locator("p"), page.outputs(0).locator("p *")
    assert marks.count() == 1
    assert marks.evaluate(inks) == words.evaluate(inks)
    assert "underline" in marks.evaluate(
        "each => getComputedStyle(each).textDecoration"
    )
