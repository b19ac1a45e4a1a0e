"""How plots look: no background, and ink for light and dark pages alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INK = "#767676"
_TICKS = {"x": INK, "y": "#808080"}
# Were the tick labels of both axes as light, Jupyter would put a box behind the figure
# on pages of the other kind.


def plain(axes: Any, sides: Sequence[str] = ("left", "bottom")) -> None:
    """Make axes legible on any page, once they have their labels.

    Args:
        axes: Of matplotlib.
        sides: Which lines around the axes stay.
    """
    axes.patch.set_alpha(0)
    for side, grey in _TICKS.items():
        axes.tick_params(axis=side, colors=grey)
    for part in (axes.xaxis, axes.yaxis):
        part.label.set_color(INK)
        part.get_offset_text().set_color(INK)
    axes.title.set_color(INK)
    for side, spine in axes.spines.items():
        spine.set(color=INK, visible=side in sides)
