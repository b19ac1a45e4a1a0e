"""A widget to pick points of a sweep and read their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kimikit import html
from kimikit.display.marimo import in_marimo
from kimikit.display.renderable import Table
from kimikit.sweeps.cells import SHOWN_BYTES, label_texts
from kimikit.sweeps.metrics import text_of
from kimikit.sweeps.side_by_side import compare
from kimikit.sweeps.values import Outcome

ANY = object()
"""The choice of all labels; no label is it."""

ANSWERS_SHOWN = 50
"""Answers of a page of the explorer."""

LABELS_SHOWN = 300
"""Labels that a menu offers."""


def filtered(sweep: Outcome, picked: dict[str, Any], least: dict[str, float]) -> str:
    """Return the answers that fit as HTML.

    Args:
        sweep: The sweep.
        picked: For each axis the one label to show; axes left out show all.
        least: For each metric the least value to show; true counts as 1.
    """
    rows: list[list[object]] = []
    found, room = 0, SHOWN_BYTES
    names = {axis: label_texts([*labels, None]) for axis, labels in sweep.axes.items()}
    for place, trial in enumerate(sweep.trials):
        scores = {name: values[place] for name, values in sweep.scores.items()}
        if any(trial.params.get(axis) != label for axis, label in picked.items()):
            continue
        known = {name: value for name, value in scores.items() if value is not None}
        if any(known.get(name, -math.inf) < low for name, low in least.items()):
            continue
        found += 1
        if len(rows) == ANSWERS_SHOWN or len(rows) < found - 1:
            continue
        text = text_of(trial.reply) if trial.reply else f"failed: {trial.error}"
        rich = html.pre(html.cut(text))
        room -= len(rich.encode())
        if room < 0:
            continue
        shown = [texts.get(trial.params.get(axis), "") for axis, texts in names.items()]
        judged = ["" if value is None else str(value) for value in scores.values()]
        rows.append([*shown, trial.repeat + 1, *judged, html.Cell(text, rich)])
    heads = [*sweep.axes, "repeat", *sweep.scores, "answer"]
    note = f"{found} of {len(sweep.trials)} trials"
    if len(rows) < found:
        note += f", the first {len(rows)} shown"
    return html.wrap(Table(heads, rows, [len(sweep.axes)], note).rich)


class Explorer:
    """The widget, and ``compare`` beside it for where widgets do not live.

    Attributes:
        widget: The ipywidgets box.
        rows: Every different answer as a dict with its labels and how often it came.
    """

    def __init__(self, sweep: Outcome) -> None:
        import ipywidgets as widgets

        self._sweep = sweep
        self._still = compare(sweep, 6)
        self.rows = self._still.rows
        style = {"description_width": "initial"}
        self._picks = {
            axis: widgets.Dropdown(
                description=axis,
                style=style,
                options=_options(labels),
            )
            for axis, labels in sweep.axes.items()
        }
        self._least = {
            name: widgets.FloatText(description=f"{name} ≥", style=style)
            for name in sweep.scores
        }
        self._filter = widgets.Checkbox(description="filter by metric", value=False)
        self._page = widgets.HTML()
        judged = [self._filter, *self._least.values()] if self._least else []
        controls = widgets.HBox([*self._picks.values(), *judged])
        controls.layout.flex_flow = "row wrap"
        for control in controls.children:
            control.observe(self._show, names="value")
        self._show()
        self.widget = widgets.VBox([controls, self._page])

    def _show(self, _change: Any = None) -> None:
        picked = {a: c.value for a, c in self._picks.items() if c.value is not ANY}
        least = {name: c.value for name, c in self._least.items() if self._filter.value}
        self._page.value = filtered(self._sweep, picked, least)

    def __reduce__(self) -> Any:
        return Explorer, (self._sweep,)

    def __repr__(self) -> str:
        return repr(self._still)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        still = {"text/html": self._still._repr_html_(), "text/plain": repr(self)}
        return still if in_marimo() else {**self.widget._repr_mimebundle_(), **still}


def _options(labels: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return the choices of a menu, as many as a menu bears."""
    shown = labels[:LABELS_SHOWN]
    any_ = "any"
    if len(labels) > len(shown):
        any_ += f" (the first {len(shown)} of {len(labels):,} are listed)"
    texts = label_texts([any_, *shown])
    return [(any_, ANY), *((texts[label], label) for label in shown)]
