"""What a notebook shows is on paper as well, and on pages that run no scripts."""

from __future__ import annotations

import io
import re
import unicodedata
from html import unescape
from typing import Any

import nbformat
import pytest
from pypdf import PdfReader
from support import notebooks
from support.contrast import page_of
from support.hostile import values

from kimikit import html

pytestmark = pytest.mark.browser

PAPER = {"width": 640, "height": 900}

CUT = """
(root) => [...root.querySelectorAll('*')].filter(e => {
  const style = getComputedStyle(e);
  const cut = axis => style['overflow' + axis] !== 'visible';
  return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    || (cut('X') && e.clientWidth > 1 && e.scrollWidth > e.clientWidth + 1)
    || (cut('Y') && e.clientHeight > 1 && e.scrollHeight > e.clientHeight + 1);
}).map(e => `${e.tagName}: ${e.textContent.trim().slice(0, 60)}`)
"""


def test_nothing_of_a_view_is_cut_on_paper(chromium: Any) -> None:
    words = [f"word{n}" for n in range(1_000, 3_000)]
    wide = html.table(["some column"] * 12, [["answer " * 4] * 12])
    shown = [view._repr_html_() for view in values("Some text.").values()]
    shown += [
        html.wrap(html.fold("a fold", f"<pre>{' '.join(words)}</pre>")),
        html.wrap(wide),
    ]
    page = chromium.new_page(viewport=PAPER)
    page.set_content(page_of("".join(shown), dark=False))
    body = page.locator("body")
    assert body.evaluate(CUT), "on a screen it scrolls"
    page.emulate_media(media="print")
    assert body.evaluate(CUT) == []
    told = printed(page.pdf())
    assert [word for word in words if word not in told] == []
    page.close()


def printed(pdf: bytes) -> str:
    """Return the text of a PDF without blanks, as words are parted between lines."""
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    return "".join(unicodedata.normalize("NFKC", text).split())  # and ligatures undone


def words_shown(path: Any) -> set[str]:
    """Return the words of the outputs of a notebook that are HTML, folds included."""
    cells = notebooks.code_cells(nbformat.read(path, as_version=4))
    outputs = [o.get("data", {}).get("text/html", "") for c in cells for o in c.outputs]
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", " ".join(outputs), flags=re.S)
    return set(re.findall(r"\b[A-Za-z]{4,}\b", unescape(text)))


@pytest.mark.parametrize("name", ["00-start", "13-coding-and-debugging"])
@pytest.mark.parametrize("template", ["webpdf", "lab"])
def test_a_notebook_converts_with_all_words(
    chromium: Any, name: str, template: str
) -> None:
    path = notebooks.FOLDER / f"{name}.ipynb"
    from nbconvert import HTMLExporter  # half a second, for each worker that reads it

    made, _ = HTMLExporter(template_name=template).from_filename(str(path))
    made = re.sub(r"<script\b.*?</script\s*>", "", made, flags=re.DOTALL)
    page = chromium.new_page(viewport=PAPER, java_script_enabled=False)
    page.set_content(made)
    if template == "webpdf":
        told = printed(page.pdf())
    else:
        told = page.locator("body").text_content()
    page.close()
    words = words_shown(path)
    assert len(words) > 50
    assert {word for word in words if word not in told} == set()
