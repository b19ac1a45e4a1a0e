"""Tables of a sweep, as HTML that survives saving and as plain text."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.sweeps.metrics import normal, text_of
from kimikit.sweeps.summary import common_length, differences, summarise
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

MARK = (
    '<mark style="background:rgba(230,159,0,.28);color:inherit;'
    'text-decoration:underline">{}</mark>'
)


class Page(msgspec.Struct, frozen=True):
    """A view with its two forms; ``rows`` holds its values, where it has any."""

    html: str
    text: str
    rows: list[dict[str, Any]] = []

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def bar(share: float) -> str:
    """Return a share from 0 to 1 as ten blocks, readable anywhere."""
    return ("█" * round(min(max(share, 0.0), 1.0) * 10)).ljust(10, "░")


def head(name: str) -> str:
    """Return the name of a figure as the field writes it."""
    return HEADS.get(name, name.replace("_", " "))


def is_number(value: Any) -> bool:
    """Tell whether a label is a number, on a scale of its own."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def label_text(value: Any, most: int = 40) -> str:
    """Return an axis label short enough for a table."""
    if is_number(value):
        return f"{value:g}"
    text = "not sent" if value is None else " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _digits(name: str) -> int:
    return 0 if name == "tokens" else 1 if name in ("words", "seconds") else 2


def figure(row: dict[str, Any], name: str) -> html.Cell:
    """Return a figure with its interval, where it has one."""
    value, low, high = (row.get(name + end) for end in ("", "_low", "_high"))
    if value is None:
        return html.Cell("", "")
    digits = _digits(name)
    shown = f"{value:z.{digits}f}"
    if low is None or high is None:
        return html.Cell(shown, shown)
    return html.interval(shown, f"{low:z.{digits}f}", f"{high:z.{digits}f}")


Cells = list[list[object]]


def _points(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Cells:
    """Return a line for each of ``names``, axes or counts, a cell a point."""
    return [
        [head(name), *(label_text(row.get(name)) for row in rows)] for name in names
    ]


def _counts(rows: Sequence[dict[str, Any]]) -> list[str]:
    return ["n", *(k for k in ("failed", "missing") if any(row[k] for row in rows))]


def _short(
    sweep: Outcome, rows: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[list[str], Cells]:
    """Return the heads and the cells of the short table, one line a point."""
    first = [*(axis for axis in sweep.axes if axis in rows[0]), *_counts(rows)]
    free = sweep.stand_in and not sweep.cost
    cells: Cells = []
    for row in rows:
        line: list[object] = [label_text(row[name]) for name in first]
        for name in names:
            cell = figure(row, name)
            if cell.text and name in ("diversity", "agreement"):
                drawn = f"<code>{bar(row[name])}</code> {cell.rich}"
                cell = html.Cell(cell.text, drawn)
            line.append(cell)
        cells.append(line if free else [*line, html.money(row["cost"])])
    return [*first, *map(head, names), *([] if free else ["cost"])], cells


def _across(
    rows: Sequence[dict[str, Any]], heads: Cells, names: Sequence[str]
) -> tuple[list[str], Cells]:
    """Return a table with a line a figure and a column a point."""
    top, *rest = heads or [["", *("" for _ in rows)]]
    rest += [[head(name), *(figure(row, name) for row in rows)] for name in names]
    return [str(cell) for cell in top], rest


def _all_figures(
    sweep: Outcome, rows: Sequence[dict[str, Any]], names: Sequence[str]
) -> str:
    """Return every figure, as many points side by side as are read with ease."""
    first = [*(axis for axis in sweep.axes if axis in rows[0]), *_counts(rows)]
    parts = []
    for start in range(0, len(rows), POINTS_SHOWN):
        some = rows[start : start + POINTS_SHOWN]
        heads, cells = _across(some, _points(some, first), names)
        parts.append(html.table(heads, cells, numeric=range(1, len(heads))))
    return "".join(parts)


def _names(
    sweep: Outcome, rows: Sequence[dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """Return the names of the figures for the short table, and of all."""
    every = [
        name.removesuffix("_low")
        for name in dict.fromkeys(key for row in rows for key in row)
        if name.endswith("_low")
    ]
    wanted = (*SHOWN, *(sweep.metrics or ["seconds"]))
    short = [name for name in wanted if name in every]
    return short, [*short, *(name for name in every if name not in short)]


def caption(sweep: Outcome) -> str:
    """Return what a reader must know to read the figures."""
    return (
        f"{len(sweep.replies)} answers, {sweep.repeats} asked a point. In brackets "
        "95 % intervals; none where n < 3. Wording is measured on the first "
        f"{common_length(sweep)} words of each answer. Seed {sweep.seed}."
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


def as_html(sweep: Outcome) -> str:
    """Return the sweep as a table with small bars, its verdict and its notes."""
    if not sweep.trials:
        return html.wrap(html.footer(f"Sweep {sweep.name}: {sweep.plan}"))
    rows = summarise(sweep)
    names, every = _names(sweep, rows)
    heads, cells = _short(sweep, rows, names)
    numbers = [
        place
        for place, name in enumerate(heads)
        if name not in sweep.axes or all(map(is_number, sweep.axes[name]))
    ]
    points = "".join(f"<li>{html.esc(each)}</li>" for each in remarks(sweep))
    return html.wrap(
        html.table(heads, cells, caption=caption(sweep), numeric=numbers),
        f"<ul>{points}</ul>" if points else "",
        html.fold("All figures", _all_figures(sweep, rows, every)),
        html.footer(footer_line(sweep)),
    )


def as_text(sweep: Outcome) -> str:
    """Return the same as plain text."""
    if not sweep.trials:
        return f"Sweep {sweep.name}: {sweep.plan}"
    rows = summarise(sweep)
    heads, cells = _short(sweep, rows, _names(sweep, rows)[0])
    lines = [html.text_table(heads, cells), caption(sweep), *remarks(sweep)]
    return "\n".join([*lines, footer_line(sweep)])


def difference_table(sweep: Outcome, other: Outcome) -> Page:
    """Return how another sweep differs, one line a figure, one column a point."""
    rows = differences(sweep, other)
    axes = [axis for axis in {**sweep.axes, **other.axes} if axis in rows[0]]
    names = _names(sweep, rows)[1]
    heads = _points(rows, axes)
    prompts = rows[0]["prompts"]
    note = (
        f"{other.name or 'other'} minus {sweep.name or 'this'}, paired over {prompts} "
        f"prompt{'s' if prompts > 1 else ''}, 95 % intervals. An interval without 0 "
        "tells them apart; of many figures one in twenty does so by chance."
    )
    top, cells = _across(rows, heads, names)
    page = html.table(top, cells, numeric=range(1, len(top))) + html.footer(note)
    text = html.text_table(top, cells)
    return Page(html.wrap(page), f"{text}\n{note}", rows)


def compare(sweep: Outcome, most: int) -> Page:
    """Return the answers side by side, one table a prompt, one column a point."""
    prompts = sweep.axes.get("prompt", (None,))
    tables, texts = [], []
    for number, prompt in enumerate(prompts):
        table, text = _side_by_side(sweep, prompt, most)
        title = label_text(prompt, 80) if prompt is not None else ""
        if len(prompts) > 1:
            table = html.fold(title, table, shown=number == 0)
        tables.append(table)
        texts.append(f"{title}\n{text}" if title else text)
    note = (
        "Equal answers are folded into one; marked words differ from the first answer."
    )
    end = footer_line(sweep)
    shown = html.wrap(*tables, html.footer(note), html.footer(end))
    return Page(shown, "\n\n".join([*texts, note, end]))


def _side_by_side(sweep: Outcome, prompt: Any, most: int) -> tuple[str, str]:
    points: dict[str, list[str]] = {}
    for trial in sweep.trials:
        if prompt is not None and trial.params.get("prompt") != prompt:
            continue
        names = [axis for axis in sweep.axes if axis != "prompt"]
        shown = [f"{name} {label_text(trial.params[name])}" for name in names]
        answers = points.setdefault(", ".join(shown) or "answers", [])
        if trial.reply is not None:
            answers.append(text_of(trial.reply))
    heads, columns, texts = [], [], []
    first: str | None = None
    for point, answers in list(points.items())[:POINTS_SHOWN]:
        counts = Counter(normal(answer) for answer in answers)
        spelled = {normal(answer): answer for answer in reversed(answers)}
        heads.append(f"{point} (n = {len(answers)})")
        cells, lines = [], []
        for key, count in counts.most_common(most):
            answer = html.clean(spelled[key])
            first = answer if first is None else first
            times = f"<b>{count} ×</b> " if count > 1 else ""
            cells.append(f"<p>{times}{marked(first, answer)}</p>")
            lines.append(f"  {count} × {' '.join(answer.split())}")
        rest = len(counts) - most
        cells += [f"<p>and {rest} more</p>"] if rest > 0 else []
        columns.append(html.Cell("\n".join(lines), "".join(cells)))
        texts.append("\n".join([heads[-1], *lines]))
    left = len(points) - POINTS_SHOWN
    note = f"{left} more points are not shown." if left > 0 else ""
    return html.table(heads, [columns], caption=note), "\n".join(texts)


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
