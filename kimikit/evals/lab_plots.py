"""Plots of a lab: shares of right answers, and questions against ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kimikit import html
from kimikit.display.plots import INK, as_text, name, plain

NAMED = 25
"""Questions up to which a heat map has a mark in each of its fields."""


def shares(points: Sequence[Mapping[str, Any]], title: str, ax: Any) -> Any:
    """Draw one bar per pattern; return the axes."""
    points = points[::-1]
    ax = _canvas(ax, 1.2 + 0.45 * len(points))
    for y, point in enumerate(points):
        value = 100 * (point["accuracy"] or 0)
        ends = [100 * point["low"], 100 * point["high"]]
        ax.plot(ends, [y, y], color=html.PALETTE[4], linewidth=5, alpha=0.6)
        ax.plot(value, y, "o", color=html.PALETTE[0])
        each = html.money(point["cost_per_right"])
        price = "" if each == "unpriced" else f", {each} a right answer"
        label = f"{value:.0f} % of {point['n']}{price}"
        ax.annotate(
            label, (value, y), (0, 7), textcoords="offset points", color=INK,
            ha="center", fontsize=8,
        )  # fmt: skip
    ax.set_yticks(range(len(points)), [name(point["pattern"]) for point in points])
    ax.set(xlim=(-2, 102), ylim=(-0.5, len(points) - 0.3))
    ax.set_xlabel("Right answers (%), 95 % interval")
    as_text(ax.set_title(name(title), fontsize=10))
    plain(ax)
    return ax


def heatmap(
    grid: Sequence[Sequence[bool | None]], ways: Sequence[str], title: str, ax: Any
) -> Any:
    """Draw one row per question and one column per way; return the axes."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    ordered = sorted(grid, key=lambda marks: sum(mark is True for mark in marks))
    numbers = [[2 if mark is None else int(mark) for mark in row] for row in ordered]
    ax = _canvas(ax, min(8.0, 1.6 + 0.12 * max(len(grid), 10)))
    looks = {"wrong": "#E69F00", "right": "#0072B2", "no answer": "#B0B0B0"}
    colours = ListedColormap(list(looks.values()))
    ax.imshow(
        numbers or [[2]], cmap=colours, vmin=0, vmax=2, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    if len(grid) <= NAMED:
        signs = ("✗", "✓", "")
        for y, row in enumerate(numbers):
            for x, kind in enumerate(row):
                style = {"ha": "center", "va": "center", "fontsize": 8}
                as_text(ax.text(x, y, signs[kind], color="white", **style))
    turned = {"rotation": 30, "ha": "right"} if len(ways) > 4 else {}
    ax.set_xticks(range(len(ways)), [name(way) for way in ways], **turned)
    ax.set_yticks([])
    ax.set_ylabel(f"{len(grid)} questions, the hardest on top")
    seen = {number for row in numbers for number in row}
    marks = [
        Patch(color=c, label=w) for i, (w, c) in enumerate(looks.items()) if i in seen
    ]
    ax.legend(
        handles=marks, frameon=False, labelcolor=INK, loc="upper left",
        bbox_to_anchor=(1, 1),
    )  # fmt: skip
    as_text(ax.set_title(name(title), fontsize=10))
    plain(ax, sides=())
    return ax


def _canvas(ax: Any, height: float) -> Any:
    import matplotlib.pyplot as plt

    if ax is not None:
        return ax
    _, ax = plt.subplots(figsize=(6.4, height), layout="constrained")
    return ax
