"""The check of the notebooks' rules finds what it is there to find."""

import nbformat
import pytest
from nbformat.v4 import new_output
from support import notebooks

BOOKS = notebooks.all_notebooks()
PATH = BOOKS[0]


def out_of_order(book):
    code = notebooks.code_cells(book)
    code[0].execution_count, code[1].execution_count = 2, 1


def without_title(book):
    book.cells[0].source = book.cells[0].source.removeprefix("# ")


def without_an_end(book):
    del book.cells[-1]


def without_source(book):
    for cell in notebooks.code_cells(book):
        cell.outputs = []


def with_code_alone(book):
    del book.cells[2]


def saying(words):
    def spoil(book):
        book.cells[2].source += f"\n{words}"

    return spoil


def running(code):
    def spoil(book):
        cell = notebooks.code_cells(book)[0]
        cell.source = f"{code}\n{cell.source}"

    return spoil


def printing_nothing(book):
    cell = notebooks.code_cells(book)[0]
    cell.source, cell.outputs = "try:\n    pass\nexcept OSError:\n    print('no')", []


def giving(**output):
    def spoil(book):
        notebooks.code_cells(book)[0].outputs.append(new_output(**output))

    return spoil


FAULTS = {
    "execution counts": out_of_order,
    "no title": without_title,
    "no '## Key findings'": without_an_end,
    "no '(01-hosts-and-endpoints.ipynb)'": without_an_end,
    "no output names its source": without_source,
    "are both code": with_code_alone,
    "an install cell": running("%pip install kimikit"),
    "eval": running("eval('1')"),
    "a key": saying("sk-0123456789abcdef"),
    "an absolute path": giving(output_type="stream", name="stdout", text="/home/me/x"),
    "dead link": saying("[next](99-nothing.ipynb)"),
    "dead link images/none.png": saying("![plot](images/none.png)"),
    "an error output": giving(output_type="error", ename="E", evalue="", traceback=[]),
    "a warning": giving(output_type="stream", name="stderr", text="Warning: old"),
    "an empty output": giving(output_type="display_data", data={}),
    "prints, and has no output": printing_nothing,
    "lines of code": running("pass\n" * 15),
    "bytes": giving(output_type="stream", text="x" * notebooks.LIMIT_BYTES),
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_is_found(words, tmp_path, monkeypatch):
    book = nbformat.read(PATH, as_version=4)
    FAULTS[words](book)
    spoiled = tmp_path / PATH.name
    nbformat.write(book, spoiled)
    monkeypatch.setattr(notebooks, "all_notebooks", lambda: [spoiled, *BOOKS[1:]])
    assert any(words in fault for fault in notebooks.faults(spoiled))
