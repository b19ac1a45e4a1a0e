"""Find the settings that are worth their price, in dollars and in seconds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.display import plots
from kimikit.display.footer import footer
from kimikit.display.renderable import Renderable, Section, Table
from kimikit.errors import BadInput
from kimikit.evals.settings import Setting, gap, settings_of
from kimikit.evals.task import Task
from kimikit.json_values import is_count, is_number, short
from kimikit.runner.jobs import Job
from kimikit.sweeps.intervals import Estimate
from kimikit.sweeps.plots import panels_of
from kimikit.sweeps.result import Sweep
from kimikit.sweeps.shares import NO_INTERVAL, in_row


class Choice(msgspec.Struct, frozen=True):
    """A setting to take and the reason; ``str`` of it is a sentence.

    Attributes:
        setting: The cheapest that is sure to lose no more than the margin.
        best: The one with most right answers.
        gap: Its share of right answers minus the best one's, ``None`` if it is that.
        sentence: All of this in words.
    """

    setting: Setting
    best: Setting
    gap: Estimate | None
    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Frontier(Renderable, msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What each setting got right and what that took.

    Attributes:
        task: What was asked.
        votes: Numbers of answers that decided by majority.
        margin: How much of the share of right answers may be given away.
        sweep: All answers.

    Example:
        >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"),
        ...         ("Capital of Germany?", "Berlin"))
        >>> task = Task(instruction="Name the city.", rows=rows)
        >>> found = kimi.frontier(task, max_tokens=[1, 4], progress=False)
        >>> [setting.n for setting in found.settings]
        [3, 3]
    """

    task: Task
    votes: tuple[int, ...]
    margin: float
    sweep: Sweep

    @functools.cached_property
    def settings(self) -> list[Setting]:
        """All settings, the cheapest first."""
        made = settings_of(self.sweep, self.task, self.votes)
        by = _currency(made)
        return sorted(made, key=lambda setting: price(setting, by).value)

    @property
    def currency(self) -> str:
        """What settings are paid in: ``cost_usd``, or ``tokens`` where that is 0."""
        return _currency(self.settings)

    def pareto(self, by: str | None = None) -> list[Setting]:
        """Return the settings that no other beats in both, the cheapest first.

        Args:
            by: ``cost_usd``, ``tokens`` or ``seconds``; what is paid if left out.
        """
        by = self.currency if by is None else by
        some = sorted(self.settings, key=lambda s: (price(s, by).value, -s.right.value))
        out: list[Setting] = []
        for one in some:
            if not out or one.right.value > out[-1].right.value:
                out.append(one)
        return out

    @property
    def recommended(self) -> Choice | None:
        """The cheapest setting within the margin of the best; ``None`` of no answer.

        It is one whose loss against the best, question by question, is at most the
        margin by the limits of 95 % intervals that hold for all settings together
        (non-inferiority, Bonferroni).
        """
        if not self.settings:
            return None
        by = self.currency
        best = max(self.settings, key=lambda s: (s.right.value, -price(s, by).value))
        others = [one for one in self.settings if one is not best]
        gaps = [(one, gap(one, best, len(others))) for one in others]
        fit = {
            one.name: (one, lost)
            for one, lost in gaps
            if lost is not None and lost.low is not None and lost.low >= -self.margin
        }
        most = price(best, by).value
        cheaper = [pair for pair in fit.values() if price(pair[0], by).value < most]
        if not cheaper:
            return Choice(best, best, None, _no_other(self, best))
        taken, lost = min(cheaper, key=lambda pair: price(pair[0], by).value)
        return Choice(taken, best, lost, _why(self, taken, best, lost))

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict per setting: its parameters, ``n``, and each figure.

        ``right cost_usd tokens seconds reasoning`` each have ``_low`` and ``_high``;
        ``pareto`` tells whether no other is both cheaper and better.
        """
        on = [one.name for one in self.pareto()]
        rows = []
        for one in self.settings:
            row: dict[str, Any] = {**one.labels, "n": one.n}
            for name in FIGURES:
                found = getattr(one, name) or Estimate(None)  # type: ignore[arg-type]
                row |= in_row(name, (found.value, found.low, found.high))
            rows.append(row | {"pareto": one.name in on})
        return rows

    def plot(self, axes: Any = None) -> Any:
        """Draw right answers against what they cost and how long they take.

        Args:
            axes: Two matplotlib axes to draw on, new ones if left out.

        Returns:
            The two axes.
        """
        if not self.settings:
            raise BadInput("There is nothing to plot: no answer.", "Ask first.")
        on = {by: self.pareto(by) for by in (self.currency, "seconds")}
        return _drawn(self.settings, on, axes)

    def _parts(self) -> tuple[str, list[Section], str]:
        foot = footer(self.sweep.paid, stand_in=self.sweep.stand_in)
        if not self.settings:
            said = f"Frontier of {self.task.name}: {self.sweep.plan}"
            return "", [html.Cell(said, html.esc(said))], foot
        said = str(self.recommended)
        axes = list(self.settings[0].labels)
        heads = [*axes, "right [95 %]", _HEADS[self.currency], "seconds", "thinking"]
        on = {one.name for one in self.pareto()}
        rows = []
        for one in self.settings:
            thought = one.reasoning
            rows.append(
                [
                    *(str(one.labels[axis]) for axis in axes),
                    _cell(one.right, "{:.0%}"),
                    _cell(price(one, self.currency), _FORMATS[self.currency]),
                    _cell(one.seconds, "{:.1f}"),
                    "not told" if thought is None else _cell(thought, "{:,.0f}"),
                    one.n,
                    "✓" if one.name in on else "",
                ]
            )
        table = Table(
            [*heads, "n", "frontier"], rows, range(len(axes), len(heads) + 1),
            html.footer_line(self._notes()),
        )  # fmt: skip
        return "", [html.Cell(said, html.esc(said)), table], foot

    def _notes(self) -> list[str]:
        """Return what a reader of the table must know."""
        hosts = {reply.host for reply in self.sweep.replies}
        told = {r.host for r in self.sweep.replies if r.usage.reasoning_tokens}
        mute = ", ".join(sorted(hosts - told))
        missing = self.sweep.plan.calls - len(self.sweep.trials)
        shown = [
            getattr(one, name)
            for one in self.settings
            for name in ("right", self.currency, "seconds", "reasoning")
        ]
        return [
            "per question, 95 % intervals",
            NO_INTERVAL if any(e and e.low is None for e in shown) else "",
            "votes are asked at once" if max(self.votes) > 1 else "",
            f"{mute}: no tokens of thinking are reported" if mute else "",
            f"{missing} answers missing: {self.sweep.stop_reason}"
            if missing > 0
            else "",
            *self.sweep.notes,
        ]


FIGURES = ("right", "cost_usd", "tokens", "seconds", "reasoning")
_HEADS = {"cost_usd": "US$", "tokens": "tokens", "seconds": "seconds"}
_FORMATS = {"cost_usd": "{:.2g}", "tokens": "{:,.0f}", "seconds": "{:.1f}"}


def _currency(settings: Sequence[Setting]) -> str:
    costs = [one.cost_usd for one in settings]
    paid = [cost for cost in costs if cost is not None]
    known = len(paid) == len(costs) and any(cost.value for cost in paid)
    return "cost_usd" if known else "tokens"


def price(setting: Setting, by: str) -> Estimate:
    """Return what a setting takes per question."""
    found: Estimate | None = getattr(setting, by)
    if found is None:
        raise BadInput(
            "What the settings cost is not known.", "Compare by 'tokens' or 'seconds'."
        )
    return found


def _cell(found: Estimate, form: str) -> html.Cell | str:
    if found.low is None or found.high is None:
        return form.format(found.value)
    return html.interval(*map(form.format, (found.value, found.low, found.high)))


def _no_other(found: Frontier, best: Setting) -> str:
    right = f"{best.right.value:.0%} of {best.n} questions"
    first = f"{best.name} has most right answers ({right})"
    if best is found.settings[0]:
        return f"{first}, and none is cheaper."
    return (
        f"{first}. No cheaper setting is sure to lose at most {found.margin:g}: ask "
        "more questions, or give a larger margin=."
    )


def _why(found: Frontier, taken: Setting, best: Setting, lost: Estimate) -> str:
    by = found.currency
    values = (lost.value, lost.low, lost.high)
    gap, low, high = (f"{v:+z.2f}" for v in values if v is not None)
    mine, its = (_FORMATS[by].format(price(one, by).value) for one in (taken, best))
    many = f"the best of {len(found.settings)}, so that chance flatters it"
    return (
        f"{taken.name} is the cheapest that loses at most {found.margin:g} of right "
        f"answers against {best.name} ({many}): {gap} [{low}, {high}], for {mine} "
        f"instead of {its} {_HEADS[by]} per question."
    )


def frontier(
    ask: Callable[..., Any],
    task: Task,
    *,
    votes: int | Sequence[int] = 1,
    margin: float = 0.05,
    metrics: Any = None,
    grid: Mapping[str, Any],
    **how: Any,
) -> Any:
    """Ask a task at every setting of a grid; see ``Kimi.frontier``.

    Args:
        ask: Sweeps, or returns the job of a sweep.
        task: The labelled set.
        votes: Numbers of answers that decide by majority.
        margin: How much of the share of right answers may be given away.
        metrics: What judges an answer; the first says what is right.
        grid: The parameters.
        **how: How the sweep is asked.

    Raises:
        BadInput: If there is nothing to compare, before anything is paid for.
    """
    counts = tuple(votes) if isinstance(votes, list | tuple | range) else (votes,)
    if not counts or not all(map(is_count, counts)) or len({*counts}) < len(counts):
        raise BadInput(
            f"votes is {short(votes)}.", "Give whole numbers from 1, such as [1, 3, 5]."
        )
    if not (is_number(margin) and 0 <= margin < 1):
        raise BadInput(f"margin is {short(margin)}.", "Give a share such as 0.05.")
    if not isinstance(task, Task) or task.variants:
        raise BadInput(
            f"{short(task)} is no task of one prompt.",
            "Give a Task; kimi.lab(task) compares prompts.",
        )
    cold = grid.get("temperature")
    cold = cold if isinstance(cold, list | tuple) else [cold]
    if max(counts) > 1 and any(value == 0 for value in cold):
        raise BadInput(
            "At temperature=0 all votes are meant to be the same.",
            "Ask with temperature=0.6 or so, or votes=1.",
        )
    found = ask(task, repeats=max(counts), metrics=metrics, **how, **grid)
    weigh = functools.partial(_weighed, task, counts, float(margin))
    return found.then(weigh) if isinstance(found, Job) else weigh(found)


def _weighed(
    task: Task, votes: tuple[int, ...], margin: float, found: Sweep
) -> Frontier:
    """Return what the answers of a sweep say, if its metric is one of shares."""
    metric, scores = next(iter(found.scores.items()))
    wrong = [s for s in scores if s is not None and not 0 <= s <= 1]
    if wrong:
        error = BadInput(
            f"{metric} is {wrong[0]:g} of an answer, and a frontier is of shares.",
            "Give a metric that is true or false, or from 0 to 1; this error's .sweep "
            "has the answers.",
        )
        error.sweep = found  # type: ignore[attr-defined]
        raise error
    return Frontier(task=task, votes=votes, margin=margin, sweep=found)


NAMED = 8
"""Settings beside whose points a name has room; of more, those of the frontier."""

_LABELS = {
    "cost_usd": "US$ per question",
    "tokens": "Tokens per question",
    "seconds": "Seconds per question",
}


def _drawn(
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
        plots.apart(ax)
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
        colour = html.PALETTE[0] if best else plots.GREY
        low, high = one.right.low, one.right.high
        if low is not None and high is not None:
            ax.plot([x, x], [100 * low, 100 * high], color=colour, lw=1, alpha=0.5)
        if cost.low is not None and cost.high is not None:
            ax.plot([cost.low, cost.high], [y, y], color=colour, lw=1, alpha=0.5)
        ax.plot(x, y, "o" if best else "x", color=colour, ms=5)
        if best or len(settings) <= NAMED:
            line_to = {"arrowstyle": "-", "color": plots.GREY, "lw": 0.5, "shrinkA": 0}
            note = ax.annotate(
                plots.name(one.name), (x, y), fontsize="x-small", arrowprops=line_to
            )
            plots.as_text(note)
    ax.set_ylim(-2, 102)
    ax.set_xlim(left=0)
    plots.as_text(ax.set_xlabel(_LABELS[by]))
    plots.plain(ax)
