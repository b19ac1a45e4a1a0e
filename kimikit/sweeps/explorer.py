"""A widget to pick points of a sweep and read their answers."""

from __future__ import annotations

import math
from typing import Any

from kimikit import html
from kimikit.sweeps.metrics import text_of
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.views import compare, label_text

ANY = object()
"""The choice of all labels; no label is it."""

ANSWERS_SHOWN = 50
"""Answers of a page."""


def answers(
    sweep: Outcome, picked: dict[str, Any], least: dict[str, float], words: str = ""
) -> str:
    """Return the answers that fit as HTML.

    Args:
        sweep: The sweep.
        picked: For each axis the one label to show; axes left out show all.
        least: For each metric the least value to show; true counts as 1.
        words: What the answer must contain, whatever the case.
    """
    rows = []
    for place, trial in enumerate(sweep.trials):
        if any(trial.params.get(axis) != label for axis, label in picked.items()):
            continue
        scores = {name: values[place] for name, values in sweep.scores.items()}
        known = {name: value for name, value in scores.items() if value is not None}
        if any(known.get(name, -math.inf) < low for name, low in least.items()):
            continue
        text = text_of(trial.reply) if trial.reply else f"failed: {trial.error}"
        if words.casefold() not in text.casefold():
            continue
        shown = [label_text(trial.params.get(axis)) for axis in sweep.axes]
        judged = ["" if v is None else str(v) for v in scores.values()]
        whole = html.Cell(text, html.pre(text))
        rows.append([*shown, trial.repeat + 1, *judged, whole])
    heads = [*sweep.axes, "repeat", *sweep.scores, "answer"]
    note = f"{len(rows)} of {len(sweep.trials)} trials" + (
        f", the first {ANSWERS_SHOWN} shown" if len(rows) > ANSWERS_SHOWN else ""
    )
    repeat = [len(sweep.axes)]
    return html.wrap(
        html.table(heads, rows[:ANSWERS_SHOWN], caption=note, numeric=repeat)
    )


class Explorer:
    """The widget, and ``compare`` beside it for where widgets do not live.

    Attributes:
        widget: The ipywidgets box.
    """

    def __init__(self, sweep: Outcome) -> None:
        import ipywidgets as widgets

        self._sweep = sweep
        self._still = compare(sweep, 6)
        self._picks = {
            axis: widgets.Dropdown(
                description=axis,
                style={"description_width": "initial"},
                options=[("any", ANY), *((label_text(v), v) for v in labels)],
            )
            for axis, labels in sweep.axes.items()
        }
        self._least = {
            name: widgets.FloatText(
                description=f"{name} ≥", style={"description_width": "initial"}
            )
            for name in sweep.scores
        }
        self._filter = widgets.Checkbox(description="filter by metric", value=False)
        self._words = widgets.Text(description="contains", continuous_update=False)
        self._page = widgets.HTML()
        judged = [self._filter, *self._least.values()] if self._least else []
        controls = [*self._picks.values(), *judged, self._words]
        for control in controls:
            control.observe(self._show, names="value")
        self._show()
        self.widget = widgets.VBox([widgets.HBox(controls), self._page])
        self.widget.children[0].layout.flex_flow = "row wrap"

    def _show(self, _change: Any = None) -> None:
        picked = {a: c.value for a, c in self._picks.items() if c.value is not ANY}
        least = {name: control.value for name, control in self._least.items()}
        judged = least if self._filter.value else {}
        self._page.value = answers(self._sweep, picked, judged, self._words.value)

    def __repr__(self) -> str:
        return self._still.text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle = self.widget._repr_mimebundle_() or {}
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        still = {"text/html": self._still.html, "text/plain": self._still.text}
        return {**data, **still}
