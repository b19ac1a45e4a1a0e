"""One figure of a sweep: four panels against temperature, or another axis."""

from __future__ import annotations

from typing import Any

from kimikit import html
from kimikit.axes import INK, plain
from kimikit.errors import BadInput
from kimikit.sweeps.summary import common_answers, summarise
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.verdict import recommend
from kimikit.sweeps.views import BARS, is_number, label_text

TITLES = {
    "diversity": "Diversity (1 − similarity)",
    "agreement": "Agreement (modal share)",
    "words": "Length (words)",
    "cost_each": "Cost of 1,000 answers (US dollars)",
    "tokens": "Answer (tokens)",
}


def plot(sweep: Outcome, axes: Any = None) -> Any:
    """Draw the figure; see ``Sweep.plot``."""
    import matplotlib.pyplot as plt
    import numpy as np

    others = [axis for axis in sweep.axes if axis != "prompt"]
    if not others or not sweep.replies:
        raise BadInput(
            "There is nothing to plot: the sweep has no axis or no answer.",
            "Give a parameter a list, such as temperature=[0, 0.6, 1.2].",
        )
    x_name = "temperature" if "temperature" in others else others.pop(0)
    series: dict[str, list[dict[str, Any]]] = {}
    for row in summarise(sweep):
        paid = row["n"] and row["cost"] is not None
        row["cost_each"] = 1000 * float(row["cost"]) / row["n"] if paid else None
        key = ", ".join(label_text(row[a], 24) for a in others if a != x_name)
        series.setdefault(key, []).append(row)
    priced = any(row["cost_each"] for rows in series.values() for row in rows)
    last = next(iter(sweep.metrics), "cost_each" if priced else "tokens")
    if axes is None:
        figure, axes = plt.subplots(2, 2, figsize=(9, 6), layout="constrained")
        figure.patch.set_alpha(0.0)
    panels = np.asarray(axes, dtype=object).ravel()
    if len(panels) != 4:
        raise BadInput(
            f"plot() draws four panels and was given {len(panels)} axes.",
            "Give the four axes of plt.subplots(2, 2), or none.",
        )
    note = f"{len(sweep.replies)} answers, {sweep.repeats} a point, 95 % intervals."
    note += f" Agreement is of {common_answers(sweep)} answers."
    for ax, name in zip(panels, ("diversity", "agreement", "words", last), strict=True):
        _panel(ax, series, x_name, name)
    _name_series(panels[0], len(series))
    if x_name == "temperature":
        told = recommend(sweep)
        note += f" Dashed: {told}" if told.temperature is not None else f" {told}"
        for ax in panels if told.temperature is not None else ():
            ax.axvline(told.temperature, color=INK, ls="--", lw=1)
    if sweep.stand_in:
        note += " Local stand-in, not Kimi."
    panels[0].figure.supxlabel(note, fontsize="small", color=INK, wrap=True)
    return axes


def _panel(
    ax: Any, series: dict[str, list[dict[str, Any]]], x_name: str, name: str
) -> None:
    labels = list(
        dict.fromkeys(row[x_name] for rows in series.values() for row in rows)
    )
    numeric = all(map(is_number, labels))
    step = (max(labels) - min(labels) or 1) if numeric else len(labels)
    for number, (key, rows) in enumerate(series.items()):
        shown = [row for row in rows if row.get(name) is not None]
        # Series stand a little apart, so that their intervals do not hide each other.
        apart = 0.008 * step * (number - (len(series) - 1) / 2)
        x = [(r[x_name] if numeric else labels.index(r[x_name])) + apart for r in shown]
        colour, marker = html.PALETTE[number % 7], "osD^vPX"[number % 7]
        line = "-" if numeric else ""
        y = [float(row[name]) for row in shown]
        ax.plot(x, y, color=colour, label=key, marker=marker, ms=4, ls=line)
        for at, row in zip(x, shown, strict=True):
            if row.get(f"{name}_low") is not None:
                ends = row[f"{name}_low"], row[f"{name}_high"]
                ax.vlines(at, *ends, color=colour, lw=1.2, alpha=0.8)
    ax.set_ylabel(TITLES.get(name, name))
    ax.set_xlabel(x_name)
    plain(ax)
    if not numeric:
        ax.set_xticks(range(len(labels)), [label_text(v, 16) for v in labels])
    ax.set_ylim(0, 1.02 if name in BARS else None)


def _name_series(ax: Any, count: int) -> None:
    """Name the series: a few of them at their ends, more in a legend."""
    lines = [line for line in ax.lines if len(line.get_xdata())]
    if count > 4:
        ax.legend(fontsize="small", framealpha=0, labelcolor=INK)
    elif count > 1:
        lines.sort(key=lambda line: float(line.get_ydata()[-1]))
        for place, line in enumerate(lines):
            ax.annotate(
                line.get_label(),
                (line.get_xdata()[-1], line.get_ydata()[-1]),
                (6, 10 * (place - (len(lines) - 1) / 2)),
                textcoords="offset points",
                fontsize="small",
                color=line.get_color(),
                va="center",
            )
