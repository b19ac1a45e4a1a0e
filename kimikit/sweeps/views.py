"""Show a sweep: by tables, and by a widget to read its answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kimikit import html
from kimikit.display.marimo import in_marimo
from kimikit.display.renderable import Table
from kimikit.json_values import is_number
from kimikit.sweeps import summary
from kimikit.sweeps.cells import (
    POINTS_SHOWN,
    SHOWN_BYTES,
    Blocks,
    Page,
    Rows,
    bar,
    each_right,
    footer_line,
    label_text,
    label_texts,
)
from kimikit.sweeps.figures import SHORT, figure_named
from kimikit.sweeps.metrics import text_of
from kimikit.sweeps.settled import of_sweep
from kimikit.sweeps.shares import ENDS, LEAST, RightPrice
from kimikit.sweeps.side_by_side import compare
from kimikit.sweeps.side_by_side import marked as marked  # as in 0.3.0
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.verdict import verdict

ROWS_TOLD = 100
"""Points of a table; ``summary()`` has them all."""

ENDED = {
    "interrupted": "Stopped",
    "max_cost": "Stopped at max_cost",
    "error": "Ended by an error",
}
"""What a view says of a sweep that did not come to its end."""


def figure(row: dict[str, Any], name: str, *, bars: bool = False) -> html.Cell:
    """Return a figure with its interval, where it has one."""
    values = [row.get(name + end) for end in ENDS]
    if name.endswith("_usd") and values != [None] * 3:
        return each_right(RightPrice(*values))
    known = figure_named(name)
    texts = [f"{v:z.{known.digits}f}" for v in values if v is not None]
    shown = [text.replace("inf", "∞") for text in texts]
    if not shown:
        return html.Cell("", "")
    text, rich = html.interval(*shown) if len(shown) == 3 else (shown[0], shown[0])
    drawn = f"{bar(row[name])} " if bars and known.drawn else ""
    return html.Cell(text, drawn + rich)


Names = dict[str, dict[Any, str]]
"""For each axis the text of each of its labels."""


def _names(rows: Rows, axes: Sequence[str]) -> Names:
    return {axis: label_texts(row[axis] for row in rows) for axis in axes}


def _line(rows: Rows, name: str, axes: Names, *, bars: bool = False) -> list[object]:
    """Return the head of an axis, count, cost or figure, and its cell of each point."""
    if name in axes:
        return [name, *(axes[name][row[name]] for row in rows)]
    if not all(name in row for row in rows) or any(f"{name}_low" in r for r in rows):
        plain = name.replace("_", " ")
        if name.endswith("_usd"):
            plain = f"US$ for each {plain.removesuffix(' usd')}"
        head = figure_named(name).head or plain
        return [head, *(figure(row, name, bars=bars) for row in rows)]
    shown = html.money if name == "cost" else label_text
    return [name, *(shown(row[name]) for row in rows)]


def _across(rows: Rows, names: Sequence[str], axes: Names) -> Table:
    """Return a table with a line for each name and a column per point."""
    heads, *cells = (_line(rows, name, axes) for name in names)
    return Table([str(head) for head in heads], cells, range(1, len(heads)))


def _figures(sweep: Outcome, rows: Rows) -> list[str]:
    """Return the names of all figures, those of the short table first."""
    keys = {key for row in rows for key in row if key.endswith("_low")}
    names = [*_short(sweep), *(key for row in rows for key in row)]
    return [name for name in dict.fromkeys(names) if f"{name}_low" in keys]


def _short(sweep: Outcome) -> list[str]:
    return [*SHORT, *(sweep.metrics or ["seconds"])]


def caption(sweep: Outcome) -> str:
    """Return what a reader must know to read the figures."""
    size = summary.common_answers(sweep)
    fewest = min((g.count for g in summary.groups(sweep) if g.count), default=0)
    fewer = " (points with fewer do not compare in these)" if fewest < size else ""
    prompts = len(sweep.axes.get("prompt", ("",)))
    few = (
        "Intervals are for prompts like these"
        if prompts >= LEAST
        else "Intervals are for these prompts; the compression ratio has none"
    )
    length = summary.common_length(sweep)
    words = "word" if length == 1 else f"{length} words"
    looks = ""
    if sweep.until is not None:
        metric = next(iter(sweep.metrics))
        looks = f", of {metric} for these prompts and however often one looks"
    return (
        f"{sweep.answered:,} answers, {sweep.repeats} asked per point. In brackets "
        f"95 % intervals{looks}; none where n < 3, and none where nothing varied in a "
        f"figure that has no upper end. {few}. Agreement, unique share, entropy, "
        "distinct-1 and -2 and compression depend on the number of answers, and are of "
        f"{size} answers{fewer}; entropy of so many is at most "
        f"{math.log(size or 1):.2f}, of all it has no upper limit. Wording is measured "
        f"on the first {words} of each answer. Seed {sweep.seed}."
    )


def remarks(sweep: Outcome) -> list[str]:
    """Return the verdict and everything that looked odd, a sentence each."""
    ended = ENDED.get(sweep.stop_reason)
    out = [f"{ended}: what was finished is kept."] if ended else []
    if sweep.until is not None:
        out.append(f"{of_sweep(sweep).sentence} .settled has the intervals.")
    if "temperature" in sweep.axes:
        out.append(str(verdict(sweep)))
    reasons = sweep.failures().most_common(3)
    out += [f"Failed {_times(n)}: {why}" for why, n in reasons]
    sweep.scores  # noqa: B018 - judges the answers, which fills metric_errors
    for name, errors in sweep.metric_errors.items():
        out.append(f"{name} raised {_times(len(errors))}, first {errors[0]}.")
    return out + list(sweep.notes)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def overview(sweep: Outcome) -> tuple[str, Blocks, str]:
    """Return the sweep as a table with small bars, its verdict and its notes."""
    if not sweep.trials:
        ended = ENDED.get(sweep.stop_reason)
        said = [f"{ended} before the first answer." if ended else "", *sweep.notes]
        told = [html.Cell(line, html.footer(line)) for line in filter(None, said)]
        return "", told, f"Sweep {sweep.name}: {sweep.plan}"
    whole = summary.summarise(sweep)
    rows, left = whole[:ROWS_TOLD], len(whole) - ROWS_TOLD
    every = _figures(sweep, rows)
    short = [name for name in _short(sweep) if name in every]
    first = [*(axis for axis in sweep.axes if axis in rows[0]), "n"]
    first += [name for name in ("failed", "missing") if any(row[name] for row in rows)]
    cost = [] if sweep.stand_in and not sweep.cost else ["cost"]
    names = [*first, *short, *cost]
    axes = _names(rows, [axis for axis in sweep.axes if axis in rows[0]])
    table = [_line(rows, name, axes, bars=True) for name in names]
    heads, *lines = zip(*table, strict=True)
    numeric = [
        place
        for place, name in enumerate(names)
        if name not in sweep.axes or all(map(is_number, sweep.axes[name]))
    ]
    said = remarks(sweep)
    if left > 0:
        said.append(f"{left:,} more points are in summary() and to_pandas().")
    items = "".join(f"<li>{html.esc(each)}</li>" for each in said)
    tables = [
        _across(rows[start : start + POINTS_SHOWN], [*first, *every], axes).rich
        for start in range(0, len(rows), POINTS_SHOWN)
    ]
    blocks: Blocks = [
        Table(heads, lines, numeric, caption(sweep)),
        html.Cell("\n".join(said), f"<ul>{items}</ul>" if said else ""),
        html.Cell("", html.fold("All figures", "".join(tables))),
    ]
    return "", blocks, footer_line(sweep)


def difference_table(sweep: Outcome, other: Outcome) -> Page:
    """Return how another sweep differs, one line per figure, one column per point."""
    rows = summary.differences(sweep, other)
    axes = [axis for axis in {**sweep.axes, **other.axes} if axis in rows[0]]
    prompts = rows[0]["prompts"]
    many = sum(value is not None for r in rows for k, value in r.items() if "_low" in k)
    note = (
        f"{other.name or 'other'} minus {sweep.name or 'this'}, paired over {prompts} "
        f"prompt{'s' if prompts > 1 else ''}, 95 % intervals; figures that depend on "
        "the number of answers are of n on both sides. An interval without 0 tells "
        f"them apart; of {many} intervals about {many / 20:.0f} do so by chance alone."
    )
    names = [*axes, "prompts", "n", *_figures(sweep, rows)]
    told = rows[:ROWS_TOLD]
    if len(rows) > len(told):
        note += f" {len(rows) - len(told):,} more points are in .rows."
    return Page([_across(told, names, _names(rows, axes))], note, rows)


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
