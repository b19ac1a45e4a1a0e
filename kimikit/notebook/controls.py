"""Make the controls of the playground and of questions from core widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

WIDGET = "application/vnd.jupyter.widget-view+json"


def dial(kind: Any, name: str, tip: str, *, width: str = "98%", **options: Any) -> Any:
    """Return a widget of this kind to set a value with."""
    layout = w.Layout(width=width, min_width="180px")
    style = {"description_width": "90px"}
    return kind(description=name, tooltip=tip, layout=layout, style=style, **options)


def noted(field: w.Widget, note: w.HTML) -> w.VBox:
    """Return a field with the place below it where what is wrong with it is said."""
    return w.VBox([field, note], layout=w.Layout(min_width="0"))


def button(name: str, tip: str, act: Callable[[], object], style: str = "") -> w.Button:
    """Return a button that calls ``act``."""
    narrow = w.Layout(width="auto")
    made = w.Button(description=name, tooltip=tip, button_style=style, layout=narrow)
    made.on_click(lambda _: act())
    return made


def view(widget: w.Widget) -> dict[str, Any]:
    """Return what a display needs to show the live widget, and nothing else."""
    return {WIDGET: (widget._repr_mimebundle_() or {})[WIDGET]}
