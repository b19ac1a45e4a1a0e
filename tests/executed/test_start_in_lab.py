"""The newcomer's first notebook, in a real JupyterLab page, on the real local model."""

import itertools
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from support.lab import Lab
from support.notebooks import FOLDER

from kimikit import html

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def start(lab: Lab, local_host):
    """00-start as committed, open in JupyterLab."""
    shutil.copy(FOLDER / "00-start.ipynb", lab.root / "00-start.ipynb")
    shown = lab.open("00-start")
    yield shown
    shown.close()


def index_of(shown, words):
    return shown.page.evaluate(
        """words => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
             w => w.model.type === 'code'
               && w.model.sharedModel.getSource().includes(words))""",
        words,
    )


def test_the_committed_outputs_show_without_a_kernel_run(start):
    text = start.page.locator(".jp-NotebookPanel").inner_text()
    assert "local stand-in, not Kimi" in text
    assert start.page.locator(".jp-RenderedText[data-mime-type*=stderr]").count() == 0


GROWN = """
() => {
  const grown = window.seen.filter(step => step.running).map(step => step.length);
  return new Set(grown).size >= 5 && grown.at(-1) > 3 * grown[0];
}
"""


def test_the_answer_grows_in_the_page_before_it_ends(start):
    start.command("notebook:clear-all-cell-outputs")
    index = index_of(start, "kimi = Kimi()")
    start.watch(index)
    start.start(index)
    start.page.wait_for_function(GROWN)
    start.interrupt()  # the rest, some 100 tokens, is no more than the same
    start.wait_idle(index)
    growing = start.seen_to_grow()
    assert len(set(growing)) >= 5, "the answer was seen at several lengths"
    # What is shown may shrink by the marks of Markdown that a redraw has understood.
    assert all(b > a - 40 for a, b in itertools.pairwise(growing))
    assert growing[-1] > 3 * growing[0]
    cell = start.page.locator(".jp-Notebook-cell").nth(index)
    assert "local stand-in, not Kimi" in cell.inner_text()
    cell.scroll_into_view_if_needed()
    start.picture("start")


ALIGNED = """
() => [...document.querySelectorAll('.jp-OutputArea-output :is(caption, th, td)')]
  .map(e => getComputedStyle(e)).map(s => s.textAlign + ' ' + s.captionSide)
"""


def test_a_table_that_was_made_elsewhere_reads_as_here(lab: Lab):
    page = html.wrap(
        html.table(["model", "n"], [["kimi", 1]], caption="c", numeric=[1])
    )
    cell = new_code_cell("table", execution_count=1)
    cell.outputs = [
        new_output("execute_result", {"text/html": page}, execution_count=1)
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    book = new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(book, lab.root / "elsewhere.ipynb")
    shown = lab.open("elsewhere")
    assert shown.page.locator(".jp-OutputArea-output style").count() == 0
    caption, *cells = shown.page.evaluate(ALIGNED)
    assert caption == "left bottom"
    assert [each.split()[0] for each in cells] == ["left", "right", "left", "right"]
    shown.close()
