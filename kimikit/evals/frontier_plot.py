"""The drawing of a frontier: right answers against money and against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kimikit import html
from kimikit.display.plots import INK, apart, as_text, name, plain
from kimikit.evals.settings import Setting
from kimikit.sweeps.plots import panels_of

NAMED = 8
"""Settings beside whose points a name has room; of more, those of the frontier."""

_LABELS = {
    "cost_usd": "US$ per question",
    "tokens": "Tokens per question",
    "seconds": "Seconds per question",
}


def plot(
    settings: Sequence[Setting], on: Mapping[str, Sequence[Setting]], axes: Any
) -> Any:
    """Draw a panel for each currency; see ``Frontier.plot``.

    Args:
        settings: All of them.
        on: For each currency the settings that no other beats.
        axes: Two matplotlib axes to draw on, or ``None``.
    """
    axes, panels = panels_of(axes, (1, 2), (9, 3.6), sharey=True)
    panels[0].set_ylabel("Right answers (%), 95 % interval")
    for ax, (by, best) in zip(panels, on.items(), strict=True):
        _panel(ax, settings, best, by)
    for ax in panels:
        apart(ax)
    return axes


def _panel(
    ax: Any, settings: Sequence[Setting], on: Sequence[Setting], by: str
) -> None:
    names = {one.name for one in on}
    line = [(getattr(one, by).value, 100 * one.right.value) for one in on]
    ax.step(*zip(*line, strict=True), where="post", color=html.PALETTE[0], lw=1)
    for one in settings:
        cost = getattr(one, by)
        x, y = cost.value, 100 * one.right.value
        best = one.name in names
        colour = html.PALETTE[0] if best else INK
        low, high = one.right.low, one.right.high
        if low is not None and high is not None:
            ax.plot([x, x], [100 * low, 100 * high], color=colour, lw=1, alpha=0.5)
        if cost.low is not None and cost.high is not None:
            ax.plot([cost.low, cost.high], [y, y], color=colour, lw=1, alpha=0.5)
        ax.plot(x, y, "o" if best else "x", color=colour, ms=5)
        if best or len(settings) <= NAMED:
            line_to = {"arrowstyle": "-", "color": INK, "lw": 0.5, "shrinkA": 0}
            note = ax.annotate(
                name(one.name), (x, y), fontsize="x-small", arrowprops=line_to
            )
            as_text(note)
    ax.set_ylim(-2, 102)
    ax.set_xlim(left=0)
    as_text(ax.set_xlabel(_LABELS[by]))
    plain(ax)
