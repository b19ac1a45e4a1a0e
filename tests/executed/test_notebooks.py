"""Each notebook keeps the rules, and runs from top to bottom on the local host."""

import pytest
from support import notebooks
from support.lab import ARTIFACTS

BOOKS = notebooks.all_notebooks()
by_name = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert BOOKS


@by_name
def test_a_committed_notebook_keeps_the_rules(path):
    assert notebooks.faults(path) == []


@pytest.mark.notebook  # each takes its time; in `make test` a page opens the first one
@by_name
def test_a_notebook_runs_without_an_error(path, local_host):
    ARTIFACTS.mkdir(exist_ok=True)
    book = notebooks.execute(path, keep=ARTIFACTS / path.name)
    text = "\n".join(notebooks.output_text(c) for c in notebooks.code_cells(book))
    assert notebooks.SOURCE.search(text), "its outputs name their source"
