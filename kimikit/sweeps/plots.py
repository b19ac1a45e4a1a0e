"""Plot a sweep: four panels against temperature, or against another axis."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kimikit import html
from kimikit.display.plots import GREY, as_text, name, plain, subplots
from kimikit.errors import BadInput
from kimikit.json_values import is_number
from kimikit.sweeps.cells import label_text
from kimikit.sweeps.figures import figure_named
from kimikit.sweeps.summary import common_answers, summarise
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.verdict import recommend

Key = tuple[tuple[str, str], ...]
"""Types and values of some labels."""

NAME_HEIGHT = 0.08
"""The part of an axis' height that a name at the end of a line needs."""

WIDEST = 10_000
"""More characters than any label has: names are shortened once all are known."""

NAMED = 24
"""Characters of a name beside a line or below an axis."""

SHORT = 14
"""The same of one that stands upwards, or aslant in wide letters."""

ROOM, ASLANT, UPWARDS = 42, 8, 30
"""Letters below a panel side by side, and names of which each has one line's height."""

WIDE = "\u2e7f"
"""The last letter before those of China, Japan and Korea, which are twice as wide."""

NAMED_SERIES = 12
"""Series that a legend names before it hides the lines."""


class Panels(np.ndarray[Any, Any]):
    """Axes in rows and columns, of which a notebook shows the figure, and no list."""

    def _ipython_display_(self) -> None:
        """Show nothing: the figure is shown by itself."""


def panels_of(
    axes: Any, shape: tuple[int, int], size: tuple[float, float], **options: Any
) -> tuple[Any, Any]:
    """Return the axes to draw on, those given or of a new figure, and each in a row.

    Args:
        axes: What the user gave, ``None`` for a new figure.
        shape: Rows and columns of panels.
        size: Width and height of a new figure, in inches.
        **options: What else ``plt.subplots`` takes.

    Raises:
        BadInput: If there are not as many as panels.
    """
    if axes is None:
        axes = subplots(*shape, size=size, **options).view(Panels)
    panels = np.asarray(axes, dtype=object).ravel()
    count = math.prod(shape)
    if len(panels) != count:
        word = {2: "two", 4: "four"}.get(count, count)
        raise BadInput(
            f"plot() draws {word} panels and was given {len(panels)} axes.",
            f"Give the {word} axes of plt.subplots{shape}, or none.",
        )
    return axes, panels


NOTE_SHOWN = 600
"""Characters of the line below; matplotlib takes seconds to wrap a very long one."""


def plot(sweep: Outcome, axes: Any = None) -> Any:
    """Draw the figure; see ``Sweep.plot``."""
    others = [axis for axis in sweep.axes if axis != "prompt"]
    if not others or not sweep.answered:
        raise BadInput(
            "There is nothing to plot: the sweep has no axis or no answer.",
            "Give a parameter a list, such as temperature=[0, 0.6, 1.2].",
        )
    x_name = "temperature" if "temperature" in others else others.pop(0)
    series: dict[Key, list[dict[str, Any]]] = {}
    for row in summarise(sweep):
        paid = row["n"] and row["cost"] is not None
        row["cost_each"] = 1000 * float(row["cost"]) / row["n"] if paid else None
        key = _key([row[axis] for axis in others if axis != x_name])
        series.setdefault(key, []).append(row)
    priced = any(row["cost_each"] for rows in series.values() for row in rows)
    last = next(iter(sweep.metrics), "cost_each" if priced else "tokens")
    axes, panels = panels_of(axes, (2, 2), (9, 6))
    note = f"{sweep.answered:,} answers, {sweep.repeats} per point, 95 % intervals."
    note += f" Agreement is of {common_answers(sweep)} answers."
    x = Places(row[x_name] for rows in series.values() for row in rows)
    names = distinct(
        ", ".join(label_text(rows[0][a], WIDEST) for a in others if a != x_name)
        for rows in series.values()
    )
    drawn = dict(zip(names, series.values(), strict=True))
    figures = ("diversity", "agreement", "words", last)
    for ax, figure_name in zip(panels, figures, strict=True):
        _panel(ax, drawn, x, x_name, figure_name)
    _name_series(panels[0], len(series))
    if x_name == "temperature":
        told = recommend(sweep)
        best = told.temperature
        note += f" Dashed: {told}" if best is not None else f" {told}"
        for ax in panels if best is not None else ():
            ax.axvline(x.of(best), color=GREY, ls="--", lw=1)
    if origin := sweep.origin:
        note += f" {origin[:1].upper()}{origin[1:]}."
    note = name(note, NOTE_SHOWN)
    below = panels[0].figure.supxlabel(note, fontsize="small", wrap=True)
    as_text(below)
    return axes


def _key(labels: Sequence[Any]) -> Key:
    """Return what tells a point from others: values, and not how they are shown."""
    return tuple((type(label).__name__, repr(label)) for label in labels)


def distinct(texts: Iterable[str], most: int = NAMED) -> list[str]:
    """Return texts as names of a plot, of which no two look the same.

    Those that begin alike show where they differ.

    Args:
        texts: The texts.
        most: Characters of a name.
    """
    whole = [" ".join(text.split()) for text in texts]
    names = [name(text, most) for text in whole]
    for text, count in Counter(names).items():
        alike = [i for i, other in enumerate(names) if other == text]
        if count == 1:
            continue
        letters = zip(*(whole[i] for i in alike), strict=False)
        same = itertools.takewhile(lambda column: len(set(column)) == 1, letters)
        begin = len(list(same))
        begin = max(0, min(begin, *(len(whole[i]) - 1 for i in alike)) - 4)
        for number, i in enumerate(alike, 1):
            end = f"…{whole[i][begin:]}" if begin else whole[i]
            names[i] = name(end, most)
            if [names[k] for k in alike[:number]].count(names[i]) > 1:
                names[i] = f"{names[i]} ({number})"
    return names


class Places:
    """Where the labels of an axis stand: on their own scale, or one beside the other.

    Args:
        labels: All of them, in order.
    """

    def __init__(self, labels: Iterable[Any]) -> None:
        self.labels = list({_key([label]): label for label in labels}.values())
        self.numeric = all(map(is_number, self.labels))
        self._order = [_key([label]) for label in self.labels]

    @property
    def width(self) -> float:
        """How long the axis is."""
        if not self.numeric:
            return len(self.labels)
        return float(max(self.labels) - min(self.labels)) or 1.0

    @property
    def gap(self) -> float:
        """How far the two nearest labels are apart."""
        if not self.numeric or len(self.labels) < 2:
            return 1.0
        ordered = sorted(map(float, self.labels))
        return min(more - less for less, more in itertools.pairwise(ordered))

    def of(self, label: Any) -> float:
        """Return where a label stands."""
        return float(label) if self.numeric else self._order.index(_key([label]))


def _panel(
    ax: Any,
    series: dict[str, list[dict[str, Any]]],
    places: Places,
    x_name: str,
    figure_name: str,
) -> None:
    heights = [0.0]
    # Series stand a little apart, so that their intervals do not hide each other, and
    # all of them nearer to their own place than to the next.
    step = min(0.008 * places.width, 0.5 * places.gap / len(series))
    for number, (key, rows) in enumerate(series.items()):
        shown = [row for row in rows if _is_finite(row.get(figure_name))]
        apart = step * (number - (len(series) - 1) / 2)
        x = [places.of(row[x_name]) + apart for row in shown]
        colour = html.PALETTE[number % 7]
        marker = "osD^vPX"[(number + number // 7) % 7]  # 49 looks, not seven
        line = "-" if places.numeric else ""
        y = [float(row[figure_name]) for row in shown]
        heights += y
        ax.plot(x, y, color=colour, label=key, marker=marker, ms=4, ls=line)
        for at, row in zip(x, shown, strict=True):
            ends = row.get(f"{figure_name}_low"), row.get(f"{figure_name}_high")
            if all(map(_is_finite, ends)):
                heights += [row[f"{figure_name}_low"], row[f"{figure_name}_high"]]
                ax.vlines(at, *ends, color=colour, lw=1.2, alpha=0.8)
    known = figure_named(figure_name)
    ax.set_ylabel(known.title or name(figure_name))
    ax.set_xlabel(name(x_name))
    if not places.numeric:
        _name_places(ax, [label_text(v, WIDEST) for v in places.labels])
    plain(ax)
    if min(heights) >= 0:
        ax.set_ylim(0, 1.02 if known.drawn else None)


def _name_places(ax: Any, labels: Sequence[str]) -> None:
    """Name the places of an axis: upright, aslant or upwards, as there is room."""
    count, names = len(labels), distinct(labels)
    width = max(sum(1 + (c > WIDE) for c in each) for each in names) + 1
    every = -(-count // UPWARDS)
    if count * width <= ROOM:
        ax.set_xticks(range(count), names)
    elif count <= ASLANT:
        names = names if width <= NAMED + 1 else distinct(labels, SHORT)
        look = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(range(count), names, fontsize="small", **look)
    else:
        names = distinct(labels, SHORT)[::every]
        ax.set_xticks(range(0, count, every), names, fontsize="x-small", rotation=90)


def _is_finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _name_series(ax: Any, count: int) -> None:
    """Name the series: a few of them at their ends, others in a legend."""
    lines = [line for line in ax.lines if len(line.get_xdata())]
    ends = sorted(float(line.get_ydata()[-1]) for line in lines)
    low, high = ax.get_ylim()
    # Names in ink are told apart by where they stand, so none may be on another.
    room = NAME_HEIGHT * (high - low)
    apart = all(more - less >= room for less, more in itertools.pairwise(ends))
    if count > 4 or (count > 1 and not apart):
        more = f"and {count - NAMED_SERIES + 1} more"
        if count > NAMED_SERIES:
            lines[NAMED_SERIES - 1 :] = ax.plot([], [], ls="", label=more)
        legend = ax.legend(handles=lines, fontsize="small", framealpha=0)
        as_text(*legend.get_texts())
    elif count > 1:
        for line in lines:
            told = ax.annotate(
                line.get_label(),
                (line.get_xdata()[-1], line.get_ydata()[-1]),
                (6, 0),
                textcoords="offset points",
                fontsize="small",
                va="center",
            )
            as_text(told)
