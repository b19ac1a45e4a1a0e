"""Tables of a sweep, as HTML that survives saving and as plain text."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.shown import Shown, Table
from kimikit.sweeps import summary
from kimikit.sweeps.intervals import LEAST
from kimikit.sweeps.metrics import normal, text_of
from kimikit.sweeps.values import Outcome
from kimikit.sweeps.verdict import verdict

SHOWN = ("diversity", "agreement", "words")
"""Figures of the short table, then the user's metrics; the fold below holds all."""

POINTS_SHOWN = 6
"""Points that ``compare`` lays side by side."""

WORDS_MARKED = 400
"""Words of an answer in which differences are marked."""

HEADS = {
    "self_bleu": "self-BLEU",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
}

BARS = ("diversity", "agreement")
"""Figures that are drawn too."""

DIGITS = {"tokens": 0, "words": 1, "seconds": 1}
"""Digits of a figure after the point, where they are not two."""

ANY = object()
"""The choice of all labels; no label is it."""

ANSWERS_SHOWN = 50
"""Answers of a page of the explorer."""

MARK = (
    '<mark style="background:rgba(230,159,0,.28);color:inherit;'
    'text-decoration:underline">{}</mark>'
)


Rows = Sequence[dict[str, Any]]
Blocks = Sequence[Table | html.Cell]


class Page(Shown, msgspec.Struct, frozen=True):
    """A view with its two forms; ``rows`` holds its values, where it has any."""

    blocks: Blocks
    foot: str
    rows: list[dict[str, Any]] = []

    def _parts(self) -> tuple[str, Blocks, str]:
        return "", self.blocks, self.foot


def bar(share: float) -> str:
    """Return a share from 0 to 1 as ten blocks, readable anywhere."""
    return ("█" * round(min(max(share, 0.0), 1.0) * 10)).ljust(10, "░")


def is_number(value: Any) -> bool:
    """Tell whether a label is a number, on a scale of its own."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def label_text(value: Any, most: int = 40) -> str:
    """Return an axis label short enough for a table."""
    if is_number(value):
        return f"{value:g}"
    text = "not sent" if value is None else " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def figure(row: dict[str, Any], name: str, *, bars: bool = False) -> html.Cell:
    """Return a figure with its interval, where it has one."""
    values = [row.get(name + end) for end in ("", "_low", "_high")]
    if name.endswith("_usd"):
        return _price(values)
    digits = DIGITS.get(name, 2)
    texts = [f"{v:z.{digits}f}" for v in values if v is not None]
    shown = [text.replace("inf", "∞") for text in texts]
    if not shown:
        return html.Cell("", "")
    text, rich = html.interval(*shown) if len(shown) == 3 else (shown[0], shown[0])
    drawn = f"<code>{bar(row[name])}</code> " if bars and name in BARS else ""
    return html.Cell(text, drawn + rich)


def _price(values: Sequence[Any]) -> html.Cell:
    """Return what a right answer cost; where none is right, the least it costs."""
    value, low, high = values
    if low is None:
        text = "" if value is None else html.money(value)
        return html.Cell(text, html.esc(text))
    if value is None:
        text = f"none right, at least {html.money(low)}"
        return html.Cell(text, html.esc(text))
    most = "∞" if high is None else html.money(high)
    return html.interval(html.money(value), html.money(low), most)


def _line(rows: Rows, name: str, *, bars: bool = False) -> list[object]:
    """Return the head of an axis, count, cost or figure, and its cell of each point."""
    if any(f"{name}_low" in row for row in rows):
        plain = name.replace("_", " ")
        if name.endswith("_usd"):
            plain = f"US$ for each {plain.removesuffix(' usd')}"
        head = HEADS.get(name, plain)
        return [head, *(figure(row, name, bars=bars) for row in rows)]
    shown = html.money if name == "cost" else label_text
    return [name, *(shown(row[name]) for row in rows)]


def _across(rows: Rows, names: Sequence[str]) -> Table:
    """Return a table with a line for each name and a column a point."""
    heads, *cells = (_line(rows, name) for name in names)
    return Table([str(head) for head in heads], cells, range(1, len(heads)))


def _figures(sweep: Outcome, rows: Rows) -> list[str]:
    """Return the names of all figures, those of the short table first."""
    keys = {key for row in rows for key in row if key.endswith("_low")}
    names = [*_short(sweep), *(key for row in rows for key in row)]
    return [name for name in dict.fromkeys(names) if f"{name}_low" in keys]


def _short(sweep: Outcome) -> list[str]:
    return [*SHOWN, *(sweep.metrics or ["seconds"])]


def caption(sweep: Outcome) -> str:
    """Return what a reader must know to read the figures."""
    size = summary.common_answers(sweep)
    fewest = min((len(g.texts) for g in summary.groups(sweep) if g.texts), default=0)
    fewer = " (points with fewer do not compare in these)" if fewest < size else ""
    prompts = len(sweep.axes.get("prompt", ("",)))
    few = (
        "Intervals are for prompts like these"
        if prompts >= LEAST
        else "Intervals are for these prompts; the compression ratio has none"
    )
    return (
        f"{len(sweep.replies)} answers, {sweep.repeats} asked a point. In brackets "
        "95 % intervals; none where n < 3, and none where nothing varied in a figure "
        f"that has no upper end. {few}. Agreement, unique share, entropy, distinct-1 "
        "and -2 and compression depend on the number of answers, and are of "
        f"{size} answers{fewer}; entropy of so many is at most "
        f"{math.log(size or 1):.2f}, of all it has no upper limit. Wording is measured "
        "on the first "
        f"{summary.common_length(sweep)} words of each answer. Seed {sweep.seed}."
    )


def remarks(sweep: Outcome) -> list[str]:
    """Return the verdict and everything that looked odd, a sentence each."""
    ends = {
        "interrupted": "Stopped: what was finished is kept.",
        "max_cost": "Stopped at max_cost: what was finished is kept.",
        "error": "Ended by an error: what was finished is kept.",
    }
    out = [ends[sweep.stop_reason]] if sweep.stop_reason in ends else []
    if "temperature" in sweep.axes:
        out.append(str(verdict(sweep)))
    reasons = Counter(trial.error for trial in sweep.trials if trial.error)
    out += [f"Failed {count} times: {why}" for why, count in reasons.most_common(3)]
    sweep.scores  # noqa: B018 - judges the answers, which fills metric_errors
    for name, errors in sweep.metric_errors.items():
        out.append(f"{name} raised {len(errors)} times, first {errors[0]}.")
    return out + list(sweep.notes)


def footer_line(sweep: Outcome) -> str:
    """Return the line that says where this came from and what it cost."""
    replies = sweep.replies
    hosts, models = ({getattr(r, key): 0 for r in replies} for key in ("host", "model"))
    unpriced = sum(reply.cost is None for reply in replies)
    cost = html.money(sweep.cost, estimated=sweep.usage.estimated)
    partly = unpriced and sweep.cost is not None
    free = sweep.stand_in and sweep.cost is None
    return html.footer_line(
        [
            ", ".join(hosts),
            ", ".join(models),
            str(sweep.usage),
            f"at least {cost}, {unpriced} unpriced" if partly else "" if free else cost,
            f"sweep {sweep.name}" if sweep.name else "",
            "local stand-in, not Kimi" if sweep.stand_in else "",
        ]
    )


def overview(sweep: Outcome) -> tuple[str, Blocks, str]:
    """Return the sweep as a table with small bars, its verdict and its notes."""
    if not sweep.trials:
        return "", [], f"Sweep {sweep.name}: {sweep.plan}"
    rows = summary.summarise(sweep)
    every = _figures(sweep, rows)
    short = [name for name in _short(sweep) if name in every]
    first = [*(axis for axis in sweep.axes if axis in rows[0]), "n"]
    first += [name for name in ("failed", "missing") if any(row[name] for row in rows)]
    cost = [] if sweep.stand_in and not sweep.cost else ["cost"]
    names = [*first, *short, *cost]
    heads, *lines = zip(*(_line(rows, name, bars=True) for name in names), strict=True)
    numeric = [
        place
        for place, name in enumerate(names)
        if name not in sweep.axes or all(map(is_number, sweep.axes[name]))
    ]
    said = remarks(sweep)
    items = "".join(f"<li>{html.esc(each)}</li>" for each in said)
    tables = [
        _across(rows[start : start + POINTS_SHOWN], [*first, *every]).rich
        for start in range(0, len(rows), POINTS_SHOWN)
    ]
    blocks: Blocks = [
        Table(heads, lines, numeric, caption(sweep)),
        html.Cell("\n".join(said), f"<ul>{items}</ul>" if said else ""),
        html.Cell("", html.fold("All figures", "".join(tables))),
    ]
    return "", blocks, footer_line(sweep)


def difference_table(sweep: Outcome, other: Outcome) -> Page:
    """Return how another sweep differs, one line a figure, one column a point."""
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
    return Page([_across(rows, names)], note, rows)


def compare(sweep: Outcome, most: int) -> Page:
    """Return the answers side by side, one table a prompt, one column a point."""
    blocks: list[html.Cell] = []
    for (prompt,), some in summary.points(sweep, ["prompt"]).items():
        text, rich = _side_by_side(sweep, some, most)
        if "prompt" in sweep.axes:
            title = label_text(prompt, 80)
            text = f"{title}\n{text}"
            rich = html.fold(title, rich, shown=not blocks)
        blocks.append(html.Cell(text, rich))
    note = (
        "Equal answers are folded into one; marked words differ from the first answer."
    )
    blocks.append(html.Cell(note, html.footer(note)))
    return Page(blocks, footer_line(sweep))


def _side_by_side(
    sweep: Outcome, some: Sequence[summary.Group], most: int
) -> html.Cell:
    """Return the answers of each point, the most frequent ones first."""
    axes = [axis for axis in sweep.axes if axis != "prompt"]
    heads, cells, texts = [], [], []
    first: str | None = None
    for group in some[:POINTS_SHOWN]:
        counts = Counter(map(normal, group.texts))
        spelled = {normal(text): html.clean(text) for text in reversed(group.texts)}
        point = ", ".join(f"{axis} {label_text(group.labels[axis])}" for axis in axes)
        heads.append(f"{point or 'answers'} (n = {len(group.texts)})")
        texts.append(heads[-1])
        rich = ""
        for key, count in counts.most_common(most):
            answer = spelled[key]
            first = answer if first is None else first
            times = f"<b>{count} ×</b> " if count > 1 else ""
            rich += f"<p>{times}{marked(first, answer)}</p>"
            texts.append(f"  {count} × {' '.join(answer.split())}")
        rest = len(counts) - most
        rich += f"<p>and {rest} more</p>" if rest > 0 else ""
        cells.append(html.Cell("", rich))
    left = len(some) - POINTS_SHOWN
    note = f"{left} more points are not shown." if left > 0 else ""
    return html.Cell("\n".join(texts), html.table(heads, [cells], caption=note))


def marked(first: str, answer: str) -> str:
    """Return ``answer`` as HTML with the words marked that ``first`` has not."""
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (first, answer))
    rest = "".join(new[WORDS_MARKED:])
    new = new[:WORDS_MARKED]
    out = []
    matcher = difflib.SequenceMatcher(None, old[:WORDS_MARKED], new, autojunk=False)
    for kind, _, _, start, end in matcher.get_opcodes():
        text = html.esc("".join(new[start:end]))
        strange = kind in ("replace", "insert") and text.strip()
        out.append(MARK.format(text) if strange else text)
    return ("".join(out) + html.esc(rest)).replace("\n", "<br>")


def filtered(sweep: Outcome, picked: dict[str, Any], least: dict[str, float]) -> str:
    """Return the answers that fit as HTML.

    Args:
        sweep: The sweep.
        picked: For each axis the one label to show; axes left out show all.
        least: For each metric the least value to show; true counts as 1.
    """
    rows = []
    for place, trial in enumerate(sweep.trials):
        scores = {name: values[place] for name, values in sweep.scores.items()}
        if any(trial.params.get(axis) != label for axis, label in picked.items()):
            continue
        known = {name: value for name, value in scores.items() if value is not None}
        if any(known.get(name, -math.inf) < low for name, low in least.items()):
            continue
        text = text_of(trial.reply) if trial.reply else f"failed: {trial.error}"
        shown = [label_text(trial.params.get(axis)) for axis in sweep.axes]
        judged = ["" if value is None else str(value) for value in scores.values()]
        rows.append(
            [*shown, trial.repeat + 1, *judged, html.Cell(text, html.pre(text))]
        )
    heads = [*sweep.axes, "repeat", *sweep.scores, "answer"]
    note = f"{len(rows)} of {len(sweep.trials)} trials"
    if len(rows) > ANSWERS_SHOWN:
        note += f", the first {ANSWERS_SHOWN} shown"
    numeric = [len(sweep.axes)]
    return html.wrap(Table(heads, rows[:ANSWERS_SHOWN], numeric, note).rich)


class Explorer:
    """The widget, and ``compare`` beside it for where widgets do not live.

    Attributes:
        widget: The ipywidgets box.
    """

    def __init__(self, sweep: Outcome) -> None:
        import ipywidgets as widgets

        self._sweep = sweep
        self._still = compare(sweep, 6)
        style = {"description_width": "initial"}
        self._picks = {
            axis: widgets.Dropdown(
                description=axis,
                style=style,
                options=[("any", ANY), *((label_text(v), v) for v in labels)],
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

    def __repr__(self) -> str:
        return repr(self._still)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        still = {"text/html": self._still._repr_html_(), "text/plain": repr(self)}
        return {**self.widget._repr_mimebundle_(), **still}
