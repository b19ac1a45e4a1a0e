"""The index has every notebook with its title, its line and its picture."""

import nbformat
import pytest
from PIL import Image
from support import index, notebooks

by_name = pytest.mark.parametrize("path", index.lessons(), ids=lambda path: path.stem)


def colours(path):
    with Image.open(path) as picture:
        assert picture.size == index.SIZE
        return len(picture.convert("RGB").getcolors(1 << 16))


def test_the_index_is_made_from_the_notebooks_as_they_are():
    book = nbformat.read(index.INDEX, as_version=4)
    assert book.cells[1].source == index.table()


def test_every_notebook_is_in_the_output_that_names_who_answered():
    book = nbformat.read(index.INDEX, as_version=4)
    text = "".join(map(notebooks.output_text, notebooks.code_cells(book)))
    assert all(path.stem in text for path in index.lessons())


@by_name
def test_a_notebook_has_a_small_picture(path):
    picture = index.PICTURES / f"{path.stem}.png"
    assert picture.stat().st_size < 20_000
    assert colours(picture) > 8, "something is drawn"


@pytest.mark.browser
def test_pictures_are_drawn_from_the_outputs(chromium, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "PICTURES", tmp_path)
    index.draw(chromium)
    for path in index.lessons():
        assert colours(tmp_path / f"{path.stem}.png") > 8
