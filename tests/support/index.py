"""Make the index from the notebooks themselves.

``make index`` takes each notebook's title, what one knows after it, and its most telling
output as a picture, and rewrites ``notebooks/index.ipynb``.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image
from support import notebooks
from support.lab import running_chromium

INDEX = notebooks.FOLDER / "index.ipynb"
PICTURES = notebooks.FOLDER / "images"
SIZE = (320, 180)
COLOURS = 48
"""Of a picture's palette: text stays readable, and a picture takes a few KB."""

GROUPS = {
    "Start": ("Ask, and see who can answer.", "00 01"),
    "Explore": ("What an answer is, and what it could have been.", "02 03 10 18"),
    "Compare": (
        "Models, prompts and ways to ask, on questions of yours.",
        "04 08 14 16",
    ),
    "Build": ("Tools, values, long texts and whole tasks.", "06 09 11 12 13 15"),
    "Trust": ("Whether a host does what it says.", "07"),
    "Scale": ("What it costs, and how to ask thousands of times.", "05 17"),
}
"""What one may want: in a line, and the numbers of the notebooks for it."""

_PAGE = """<meta charset="utf-8"><style>
body {{ margin: 0; width: 640px; height: 360px; overflow: hidden; background: white;
  box-sizing: border-box; border: 2px solid #ccc; font: 15px system-ui, sans-serif;
  display: grid; align-content: safe center; }}
main {{ padding: 12px; width: max-content; max-width: 600px; box-sizing: border-box; }}
pre {{ margin: 0; font: 15px/1.35 ui-monospace, monospace; white-space: pre-wrap;
  max-width: 520px; }}
img {{ display: block; width: 616px; height: 332px; object-fit: contain; }}
</style><main>{}</main>"""


_FIT = """() => {
  const main = document.querySelector('main');
  const wide = main.scrollWidth, fit = Math.min(636 / wide, 356 / main.offsetHeight);
  main.style.zoom = Math.min(Math.max(fit, 636 / Math.max(wide, 636)), 1.7);
}"""
"""Fills the card, and cuts what is long off at the bottom, never at the side."""


def lessons() -> list[Path]:
    """Return all notebooks but the index, in order."""
    return [path for path in notebooks.all_notebooks() if path != INDEX]


def opening(book: Any) -> tuple[str, str]:
    """Return a notebook's title, and what its reader knows or can do after it."""
    text = book.cells[0].source
    title = text.splitlines()[0].removeprefix("# ")
    found = re.search(r"After this notebook you (.+?)\.(?:\s|$)", text, re.DOTALL)
    assert found, f"{title}: the first cell says what you know after it"
    return title, " ".join(found[1].split())


def table() -> str:
    """Return the index: for each group a table of cards, two per row."""
    cards = {path.stem[:2]: _card(path) for path in lessons()}
    groups = {name: numbers.split() for name, (_, numbers) in GROUPS.items()}
    listed = sorted(n for numbers in groups.values() for n in numbers)
    assert listed == [*cards], "each notebook is in one group"
    return "\n\n".join(
        f"## {name}\n\n{GROUPS[name][0]}\n\n{_rows([cards[n] for n in numbers])}"
        for name, numbers in groups.items()
    )


def _card(path: Path) -> str:
    """Return a notebook's picture, title and what its reader knows after it."""
    title, after = opening(nbformat.read(path, as_version=4))
    picture = f"[![{path.stem}](images/{path.stem}.png)]({path.name})"
    link = f"[**{path.stem[:2]} · {title}**]({path.name})"
    return f"{picture}<br>{link}<br>After it you {after}."


def _rows(cards: list[str]) -> str:
    cards = cards + [""] * (len(cards) % 2)
    rows = zip(cards[::2], cards[1::2], strict=True)
    return "\n".join(["| | |", "|:---|:---|", *(f"| {a} | {b} |" for a, b in rows)])


def telling(book: Any) -> str:
    """Return the output that shows best what a notebook is about, as HTML.

    A plot before all else, then what stands under the heading that promises the surprise,
    then a table before printed lines; of several such the longest.
    """
    return max(_outputs(book), key=lambda found: found[:2])[2]


def _outputs(book: Any) -> Iterator[tuple[int, int, str]]:
    surprise = False
    for cell in book.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"(?m)^## (.+)$", cell.source):
                surprise = "surprise" in heading.lower()
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            page = re.sub(r"(?s)<details.*?</details>", "", data.get("text/html", ""))
            if "image/png" in data:
                source = f"data:image/png;base64,{data['image/png'].strip()}"
                yield 3 + surprise, 0, f'<img src="{source}">'
            elif "<table" in page:
                yield 2 if surprise else 1, len(page), page
            elif text := output.get("text") or data.get("text/markdown"):
                yield 2 * surprise, len(text), f"<pre>{html.escape(text)}</pre>"


def draw(browser: Any) -> None:
    """Write a small picture of each notebook's most telling output."""
    page = browser.new_page(viewport={"width": 640, "height": 360})
    for path in lessons():
        shown = telling(nbformat.read(path, as_version=4))
        page.set_content(_PAGE.format(shown))
        page.evaluate(_FIT)
        picture = Image.open(io.BytesIO(page.screenshot()))
        small = picture.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
        small.quantize(COLOURS).save(PICTURES / f"{path.stem}.png", optimize=True)
    page.close()


def main() -> None:
    """Draw the pictures, put the table into the index, execute and rewrite it."""
    with running_chromium() as browser:
        draw(browser)
    book = nbformat.read(INDEX, as_version=4)
    book.cells[1].source = table()
    nbformat.write(book, INDEX)
    notebooks.main([str(INDEX)])


if __name__ == "__main__":
    main()
