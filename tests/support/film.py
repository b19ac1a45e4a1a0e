"""Film an answer of the local model growing in JupyterLab, for the README.

Run: ``python tests/support/film.py [notebooks/images/stream.gif]``. It opens a notebook
in a JupyterLab of its own, runs its cells, takes screenshots while the answer comes,
and writes those that differ as one GIF, each shown for as long as it was seen.
"""

from __future__ import annotations

import io
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image, ImageChops
from support.lab import REPO, Cells, running_chromium, running_lab

CELLS = [
    "from kimikit import Kimi\n\nkimi = Kimi()",
    "reply = kimi.chat(\n"
    '    "List three tips for writing clear code, with a bold title for each.",\n'
    "    seed=1,\n"
    ")",
]
WIDTH, HEIGHT = 830, 800
COLOURS = 128
EVERY_S = 0.1
LAST_S = 5.0


def shots(book: Cells, index: int) -> list[tuple[float, Image.Image]]:
    """Run a cell; return the moments of its life and how the page looked at them."""
    panel = book.page.locator(".jp-NotebookPanel:visible")
    taken: list[tuple[float, Image.Image]] = []
    book.start(index)
    settled = 0
    while settled < 3:
        settled += not _is_busy(book, index)
        picture = Image.open(io.BytesIO(panel.screenshot(animations="disabled")))
        taken.append((time.monotonic(), picture.convert("RGB")))
        book.page.wait_for_timeout(1000 * EVERY_S)
    return taken


def _is_busy(book: Cells, index: int) -> bool:
    return "*" in book.cell(index).locator(".jp-InputPrompt").inner_text()


def differing(
    taken: list[tuple[float, Image.Image]],
) -> tuple[list[Image.Image], list[int]]:
    """Drop pictures that show nothing new; return the rest, and for how many ms each."""
    kept = taken[:1]
    for moment, picture in taken[1:]:
        if ImageChops.difference(picture, kept[-1][1]).getbbox() is not None:
            kept.append((moment, picture))
    times = [moment for moment, _ in kept] + [kept[-1][0] + LAST_S]
    shown = [round(1000 * (b - a)) for a, b in itertools.pairwise(times)]
    return [picture for _, picture in kept], shown


def write(path: Path, pictures: list[Image.Image], shown_ms: list[int]) -> None:
    """Write a GIF that repeats, all pictures in the colours of the last."""
    palette = pictures[-1].quantize(COLOURS)
    flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=shown_ms, loop=0)


def film(path: Path) -> None:
    """Make the picture, and print what it weighs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_chromium() as browser,
        running_lab(Path(folder), browser) as lab,
    ):
        lab.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        book = lab.open("stream", CELLS)
        lab.page.evaluate(
            "() => { const a = window.jupyterapp; a.shell.mode = 'single-document';"
            " a.shell.collapseLeft(); a.shell.collapseRight(); }"
        )
        book.run(0, 120)
        pictures, shown = differing(shots(book, 1))
    write(path, pictures, shown)
    print(f"{path}: {len(pictures)} pictures, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    film(Path(sys.argv[1] if sys.argv[1:] else REPO / "notebooks/images/stream.gif"))
