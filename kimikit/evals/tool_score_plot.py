"""Plot what hosts do with tool calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimikit import html
from kimikit.display.plots import canvas, legend_beside, name, plain


def figure(rates: Mapping[str, Mapping[str, Any]], n: int, *, ax: Any) -> Any:
    """Draw each rate of each host as a point with its interval; return the figure."""
    names = list(next(iter(rates.values()), {}))
    ax = canvas(ax, 7, 1 + 0.3 * len(names) * max(1, len(rates) / 2))
    for place, (host, row) in enumerate(rates.items()):
        shift = (place - (len(rates) - 1) / 2) * 0.8 / len(rates)
        known = [(i + shift, r) for i, r in enumerate(row.values()) if r.n]
        heights = [height for height, _ in known]
        low, high = ([100 * rate.interval[end] for _, rate in known] for end in (0, 1))
        colour = html.PALETTE[place % 6]
        ax.hlines(heights, low, high, linewidth=1.5, color=colour)
        shares = [100 * (rate.value or 0) for _, rate in known]
        marker = "osD^vP"[place % 6]
        ax.plot(shares, heights, marker, color=colour, label=name(host))
    ax.set_yticks(range(len(names)), [name(each) for each in names])
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(-2, 102)
    ax.set_xlabel(f"% of cases, 95 % Wilson intervals, n = {n} per host")
    legend_beside(ax)
    plain(ax)
    return ax.figure
