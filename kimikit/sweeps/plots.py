"""One figure of a sweep: four panels against temperature, or another axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kimikit import html
from kimikit.axes import INK, plain
from kimikit.errors import BadInput
from kimikit.sweeps.summary import summarise
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.verdict import recommend
from kimikit.sweeps.views import is_number, label_text

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

    x_name = _x_axis(sweep)
    rows = summarise(sweep)
    for row in rows:
        paid = row["n"] and row["cost"] is not None
        row["cost_each"] = 1000 * float(row["cost"]) / row["n"] if paid else None
    priced = any(row["cost_each"] for row in rows)
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
    for ax, name in zip(panels, ("diversity", "agreement", "words", last), strict=True):
        _panel(sweep, ax, rows, x_name, name)
    note = f"{len(sweep.replies)} answers, {sweep.repeats} a point, 95 % intervals."
    if x_name == "temperature":
        note += (
            f" Dashed: {recommend(sweep)}"
            if recommend(sweep).temperature is not None
            else f" {recommend(sweep)}"
        )
    if sweep.stand_in:
        note += " Local stand-in, not Kimi."
    panels[0].figure.supxlabel(note, fontsize="small", color=INK, wrap=True)
    return axes


def _x_axis(sweep: Outcome) -> str:
    others = [axis for axis in sweep.axes if axis != "prompt"]
    if not others or not sweep.replies:
        raise BadInput(
            "There is nothing to plot: the sweep has no axis or no answer.",
            "Give a parameter a list, such as temperature=[0, 0.6, 1.2].",
        )
    return "temperature" if "temperature" in others else others[0]


def _panel(
    sweep: Outcome, ax: Any, rows: Sequence[dict[str, Any]], x_name: str, name: str
) -> None:
    labels = list(dict.fromkeys(row[x_name] for row in rows))
    numeric = all(map(is_number, labels))
    others = [axis for axis in sweep.axes if axis not in ("prompt", x_name)]
    series: dict[str, list[dict[str, Any]]] = {}
    ends: list[tuple[float, float, str, str]] = []
    for row in rows:
        key = ", ".join(label_text(row[axis], 24) for axis in others)
        series.setdefault(key, []).append(row)
    for number, (key, some) in enumerate(series.items()):
        shown = [row for row in some if row.get(name) is not None]
        # Series stand a little apart, so that their intervals do not hide each other.
        step = (max(labels) - min(labels) or 1) if numeric else len(labels)
        apart = 0.008 * step * (number - (len(series) - 1) / 2)
        x = [(r[x_name] if numeric else labels.index(r[x_name])) + apart for r in shown]
        y = [float(row[name]) for row in shown]
        colour = html.PALETTE[number % 7]
        ends.append((y[-1] if y else 0.0, x[-1] if x else 0.0, key, colour))
        style = {"marker": "osD^vPX"[number % 7], "ms": 4, "ls": "-" if numeric else ""}
        ax.plot(x, y, color=colour, label=key, **style)
        for at, row in zip(x, shown, strict=True):
            low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
            if low is not None:
                ax.plot([at, at], [low, high], color=colour, lw=1.2, alpha=0.8)
    _dress(ax, x_name, name, labels, numeric=numeric)
    taken = recommend(sweep).temperature if x_name == "temperature" else None
    if taken is not None:
        ax.axvline(taken, color=INK, ls="--", lw=1)
    if name == "diversity" and len(series) > 4:
        ax.legend(fontsize="small", framealpha=0, labelcolor=INK)
    elif name == "diversity" and len(series) > 1:
        for place, (y_end, x_end, key, colour) in enumerate(sorted(ends)):
            apart = 10 * (place - (len(ends) - 1) / 2)
            ax.annotate(
                key,
                (x_end, y_end),
                (6, apart),
                textcoords="offset points",
                fontsize="small",
                color=colour,
                va="center",
            )


def _dress(
    ax: Any, x_name: str, name: str, labels: Sequence[Any], *, numeric: bool
) -> None:
    ax.set_ylabel(TITLES.get(name, name))
    ax.set_xlabel(x_name)
    plain(ax)
    if not numeric:
        ax.set_xticks(range(len(labels)), [label_text(v, 16) for v in labels])
    shares = ("diversity", "agreement")
    if name in shares:
        ax.set_ylim(0, 1.02)
    else:
        ax.set_ylim(bottom=0)
