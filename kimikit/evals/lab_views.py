"""Show a lab: questions with their answers, mistakes by kind, and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kimikit import html
from kimikit.display import plots
from kimikit.display.footer import footer
from kimikit.display.renderable import Table
from kimikit.evals.outcomes import Outcome, asked
from kimikit.evals.scorers import as_text, includes
from kimikit.evals.task import Task, is_right
from kimikit.json_values import is_number
from kimikit.sweeps.cells import Page

WIDTH = 60
"""Characters of a question or an answer in a row."""
ANSWER_SHOWN = 400
"""Characters of each answer that a row opens to."""
_MARKS = {True: "✓", False: "✗", None: "–"}


def questions(
    task: Task, ways: Sequence[str], outcomes: Sequence[Outcome], most: int
) -> Page:
    """Return one row per question: where ways differ, then the hardest."""
    by_row: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_row.setdefault(outcome.row, []).append(outcome)

    def rank(row: int) -> tuple[bool, float]:
        marks = [one.right for one in by_row[row] if one.right is not None]
        return len({*marks}) < 2, sum(marks) / len(marks) if marks else 2.0

    order = sorted(by_row, key=rank)
    rows = []
    for row in order[:most]:
        own = by_row[row]
        question, truth = asked(task, own[0])
        good = sum(one.right is True for one in own)
        line = html.one_line(question, WIDTH)
        opened = html.table(
            ["way", "", "answer"],
            [[one.pattern, _MARKS[one.right], _told(one)] for one in own],
        )
        body = html.pre(html.cut(question, ANSWER_SHOWN)) + opened
        marks = " ".join(_MARKS[one.right] for one in own)
        right = html.cut(as_text(truth), WIDTH)
        told = html.Cell(line, html.fold(line, body))
        rows.append([row, told, right, f"{good} of {len(own)}", marks])
    heads = ["row", "question", "right answer", "right", "by way"]
    caption = html.footer_line(
        [
            f"ways: {', '.join(ways)}",
            f"{most} of {len(order)}" if len(order) > most else "",
            "first where ways differ, then the hardest" if len(ways) > 1 else "",
        ]
    )
    return Page([Table(heads, rows, (0,), caption)], _foot(outcomes))


def _told(one: Outcome) -> html.Cell:
    text = one.reply.text if one.reply is not None else one.error
    text = html.cut(text or "(empty)", ANSWER_SHOWN)
    return html.Cell(text, html.pre(text))


def mistakes(task: Task, ways: Sequence[str], outcomes: Sequence[Outcome]) -> Page:
    """Return the wrong answers by kind, the most frequent first."""
    found: dict[str, list[Outcome]] = {}
    for one in outcomes:
        if not one.right:
            found.setdefault(_kind(one, task), []).append(one)
    rows = []
    for kind, some in sorted(found.items(), key=lambda item: -len(item[1])):
        question, truth = asked(task, some[0])
        reply = some[0].reply
        said = reply.text if reply is not None else some[0].error
        example = f"{question} — said: {said or '(empty)'} — right: {as_text(truth)}"
        each = Counter(one.pattern for one in some)
        counts = [each[way] for way in ways]
        rows.append([kind, len(some), *counts, html.opening(example, WIDTH)])
    heads = ["kind", "all", *ways, "an example"]
    wrong = sum(map(len, found.values()))
    caption = f"{wrong} of {len(outcomes)} answers are not right"
    table = Table(heads, rows, range(1, 2 + len(ways)), caption)
    return Page([table], _foot(outcomes))


def _foot(outcomes: Sequence[Outcome]) -> str:
    return footer([reply for one in outcomes for reply in one.took])


def _kind(one: Outcome, task: Task) -> str:
    """Return in which way an answer is wrong, as far as a program can tell."""
    if one.reply is None:
        return f"failed: {one.error.partition(':')[0]}"
    if one.right is None:
        return "not judged"
    _, truth = asked(task, one)
    if one.answer is None:
        cut = one.reply.finish_reason == "length"
        return "cut before an answer" if cut else "no answer of the type"
    if isinstance(truth, dict) and isinstance(one.answer, dict):
        return _fields(one.answer, truth)
    if is_right(one.answer, truth):
        return "right, and not in the form asked"
    if task.labels:
        return f"{as_text(one.answer)} for {as_text(truth)}"
    if includes(one.reply, truth):
        return "right one named, another one given"
    if one.reply.finish_reason == "length":
        return "another answer, and cut at max_tokens"
    return _number(one.answer, truth) if is_number(truth) else "another answer"


def _fields(answer: dict[str, Any], truth: dict[str, Any]) -> str:
    wrong = [key for key in truth if not is_right(answer.get(key), truth[key])]
    more = [key for key in answer if key not in truth]
    told = ", ".join([*wrong, *more][:3])
    return f"wrong in {told}" if told else "right, and not in the form asked"


def _number(answer: Any, truth: float) -> str:
    if not is_number(answer):
        return "no number"
    off = abs(answer - truth)
    if off == 1:
        return "off by one"
    return "less than a tenth off" if off < 0.1 * abs(truth) else "far off"


NAMED = 25
"""Questions up to which a heat map has a mark in each of its fields."""


def shares(points: Sequence[Mapping[str, Any]], title: str, ax: Any) -> Any:
    """Draw one bar per pattern; return the axes."""
    points = points[::-1]
    ax = plots.canvas(ax, 6.4, 1.2 + 0.45 * len(points), shown=True)
    for y, point in enumerate(points):
        value = 100 * (point["accuracy"] or 0)
        ends = [100 * point["low"], 100 * point["high"]]
        ax.plot(ends, [y, y], color=html.PALETTE[4], linewidth=5, alpha=0.6)
        ax.plot(value, y, "o", color=html.PALETTE[0])
        each = html.money(point["cost_per_right"])
        price = "" if each == "unpriced" else f", {each} a right answer"
        label = f"{value:.0f} % of {point['n']}{price}"
        ax.annotate(
            label, (value, y), (0, 7), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip
    ax.set_yticks(
        range(len(points)), [plots.name(point["pattern"]) for point in points]
    )
    ax.set(xlim=(-2, 102), ylim=(-0.5, len(points) - 0.3))
    ax.set_xlabel("Right answers (%), 95 % interval")
    plots.as_text(ax.set_title(plots.name(title), fontsize=10))
    plots.plain(ax)
    return ax


def heatmap(
    grid: Sequence[Sequence[bool | None]], ways: Sequence[str], title: str, ax: Any
) -> Any:
    """Draw one row per question and one column per way; return the axes."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    ordered = sorted(grid, key=lambda marks: sum(mark is True for mark in marks))
    numbers = [[2 if mark is None else int(mark) for mark in row] for row in ordered]
    height = min(8.0, 1.6 + 0.12 * max(len(grid), 10))
    ax = plots.canvas(ax, 6.4, height, shown=True)
    looks = {"wrong": "#E69F00", "right": "#0072B2", "no answer": "#B0B0B0"}
    colours = ListedColormap(list(looks.values()))
    ax.imshow(
        numbers or [[2]], cmap=colours, vmin=0, vmax=2, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    if len(grid) <= NAMED:
        signs = (("✗", plots.ON_LIGHT), ("✓", "white"), ("", plots.ON_LIGHT))
        for y, row in enumerate(numbers):
            for x, kind in enumerate(row):
                sign, colour = signs[kind]
                style = {"ha": "center", "va": "center", "fontsize": 8}
                plots.as_text(ax.text(x, y, sign, color=colour, **style))
    turned = {"rotation": 30, "ha": "right"} if len(ways) > 4 else {}
    ax.set_xticks(range(len(ways)), [plots.name(way) for way in ways], **turned)
    ax.set_yticks([])
    ax.set_ylabel(f"{len(grid)} questions, the hardest on top")
    seen = {number for row in numbers for number in row}
    marks = [
        Patch(color=c, label=w) for i, (w, c) in enumerate(looks.items()) if i in seen
    ]
    ax.legend(
        handles=marks, frameon=False, loc="upper left",
        bbox_to_anchor=(1, 1),
    )  # fmt: skip
    plots.as_text(ax.set_title(plots.name(title), fontsize=10))
    plots.plain(ax, sides=())
    return ax
