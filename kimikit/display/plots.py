"""Give all plots one look: in the style that matplotlib has, names as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kimikit import html
from kimikit.display.fonts import as_written, lend

GREY = "#808080"
"""Of lines that are not data. Words have the colour of matplotlib's style or of the
page: one ink for all pages is too faint on light ones or on dark ones.
"""

ON_LIGHT = "#010101"
"""Of words on a light colour: not quite black, which notebooks make the page's ink."""

_BESIDE = [
    (x, y, side)
    for y in (7, -7, 0, 15, -15, 23, -23, 31, -31)
    for x, side in ((7, "left"), (-7, "right"))
]
"""Where a note may stand, in points from what it names, the best first."""

NAME_SHOWN = 40
"""Characters of a name in a plot."""


def subplots(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any
) -> Any:
    """Return the axes of a new figure, which notebooks show in the page's colours.

    Args:
        rows: Of axes.
        columns: Of axes.
        size: Width and height, in inches.
        **options: What else ``plt.subplots`` takes.
    """
    import matplotlib.pyplot as plt

    from kimikit.display.themed import ThemedFigure

    look: dict[str, Any] = {"FigureClass": ThemedFigure, "layout": "constrained"}
    return plt.subplots(rows, columns, figsize=size, **look, **options)[1]


def canvas(ax: Any, width: float, height: float, *, shown: bool = False) -> Any:
    """Return the axes to draw on: those given, or the ones of a new figure.

    Args:
        ax: What the user gave.
        width: Of a new figure, in inches.
        height: The same.
        shown: Whether a notebook is to show the new figure by itself. Where a function
            returns the figure it would show it twice.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        ax = subplots(size=(width, height))
        if not shown:
            plt.close(ax.figure)
    return ax


def legend_beside(axes: Any) -> None:
    """Name what axes show on their right, if they show anything.

    Args:
        axes: Of matplotlib.
    """
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def plain(axes: Any, sides: Sequence[str] = ("left", "bottom")) -> None:
    """Make axes plain, and show what names them as it is, once they have their labels.

    Args:
        axes: Of matplotlib.
        sides: Which lines around the axes stay.
    """
    from matplotlib.ticker import FixedLocator

    for part in (axes.xaxis, axes.yaxis):
        as_text(part.label)
        if isinstance(part.get_major_locator(), FixedLocator):  # names
            as_text(*part.get_ticklabels())
    for legend in filter(None, (axes.get_legend(), *axes.figure.legends)):
        legend.get_frame().set_alpha(0)
        for text in legend.get_texts():
            as_text(text)
    for side, spine in axes.spines.items():
        spine.set(color=GREY, visible=side in sides)


def apart(axes: Any) -> None:
    """Move the notes of axes, each beside its point, until none lies on another.

    Args:
        axes: Of matplotlib, with all that they show.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    for note in axes.texts:
        note.set_in_layout(False)  # they stay inside, and nothing moves for them
    axes.figure.canvas.figure.draw_without_rendering()  # all is in its place then
    frame, reach = axes.get_window_extent(), 4 * axes.figure.dpi / 72
    points = [axes.transData.transform(note.xy) for note in axes.texts]
    taken = [Bbox([point - reach, point + reach]) for point in points]
    for note in axes.texts:
        tried = []
        for x, y, side in _BESIDE:
            note.set(position=(x, y), ha=side, va="center")
            note.anncoords = "offset points"
            note.get_window_extent()  # which moves it there, and counts its line too
            box = Text.get_window_extent(note)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0
            tried.append((box.count_overlaps(taken) + (not inside), (x, y), side, box))
            if not tried[-1][0]:
                break
        _, place, side, box = min(tried, key=lambda one: one[0])
        note.set(position=place, ha=side)
        taken.append(box)


def name(text: str, most: int = NAME_SHOWN) -> str:
    """Return a name for a plot: on one line, short, and never hidden.

    matplotlib leaves what begins with an underscore out of its legends.
    """
    line = html.one_line(text, most)
    return f" {line}" if line.startswith("_") else line


def as_text(*texts: Any) -> None:
    """Draw texts as they are: a dollar is no TeX, and letters find a font with them.

    Args:
        *texts: ``Text``s of matplotlib.
    """
    for text in texts:
        as_written(text)
        text.set_usetex(False)
        lend(text)
