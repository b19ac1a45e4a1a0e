"""Hold what a lab found per pattern: right answers, tokens, time and money."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from kimikit import errors, html
from kimikit.display.footer import footer, total_cost, total_usage, total_usd
from kimikit.display.renderable import Renderable, Table
from kimikit.evals import lab_views
from kimikit.evals.cells import not_asked, share, sign_test
from kimikit.evals.outcomes import Outcome, asked, rounds
from kimikit.evals.scorers import Score, said
from kimikit.evals.task import Task
from kimikit.files import pandas
from kimikit.json_values import writable
from kimikit.sweeps.cells import each_right
from kimikit.sweeps.data import as_csv
from kimikit.sweeps.settled import Settled, settled
from kimikit.sweeps.shares import (
    ENDS,
    NO_INTERVAL,
    RightPrice,
    in_row,
    of_mean,
    right_price,
    wilson,
)
from kimikit.types import Reply


class Lab(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What each pattern got right and what it took.

    Attributes:
        task: What was asked.
        patterns: Their names; the first is what the others are compared with.
        outcomes: One for each question and pattern that was finished.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``settled``, ``interrupted``, ``max_cost`` or ``error``.
        stopped: Questions that were begun and not finished; they count by their cost.
        metrics: What judged the answers; the first says what is right.
        metric_errors: What metrics raised, by their names; such answers are kept.
        until: Half the width of intervals that it was bought for, if it was.

    Example:
        >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"))
        >>> task = Task(instruction="Name the city.", rows=rows)
        >>> from kimikit.evals import PATTERNS
        >>> patterns = {"bare": PATTERNS["zero-shot"]}
        >>> found = kimi.lab(task, patterns, metrics=["includes"], progress=False)
        >>> found.to_csv().splitlines()[0]
        'pattern,row,question,truth,answer,includes,right,text,...'
    """

    task: Task
    patterns: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    reused: int = 0
    stop_reason: str = "done"
    stopped: tuple[Outcome, ...] = ()
    metrics: tuple[str, ...] = ("right",)
    metric_errors: dict[str, list[str]] = {}
    until: float | None = None

    @property
    def settled(self) -> Settled:
        """What is known by ``until=``, with intervals that hold at every look.

        Raises:
            BadInput: If the lab was asked without ``until=``.
        """
        if self.until is None:
            raise errors.BadInput(
                "The lab was not asked until something was settled.",
                "Give until=0.05, or see summary() and verdict.",
            )
        found = rounds(self.outcomes, self.patterns, len(self.task.rows))
        return settled(self.metrics[0], self.until, found)

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict per pattern.

        ``accuracy`` has its 95 % Wilson interval in ``low`` and ``high``, with
        ``until=`` one that holds at every look; ``tokens`` and ``seconds`` are a
        question's mean and median. ``cost`` is of all that was
        asked, in US dollars, also of what broke off, ``None`` where unpriced;
        ``cost_per_right`` is that for each right answer, with its 95 % interval in
        ``cost_per_right_low`` and ``cost_per_right_high``. Each further metric has its
        mean under its name, with ``_low``, ``_high`` and ``_n``.
        """
        rows = [self._point(pattern) for pattern in self.patterns]
        for one in self.settled.settings if self.until is not None else ():
            row = rows[self.patterns.index(one.settings[0])]
            value = row["accuracy"] if row["n"] else one.value
            row |= {"low": min(one.low, value), "high": max(one.high, value)}
        return rows

    def _point(self, pattern: str) -> dict[str, Any]:
        own = [o for o in self.outcomes if o.pattern == pattern]
        replies = [o.reply for o in own if o.reply is not None]
        marks = [o.right for o in own if o.right is not None]
        n, good, asked = len(marks), sum(marks), len(replies)
        low, high = wilson(good, n)
        begun = [*own, *(o for o in self.stopped if o.pattern == pattern)]
        costs = [o.cost for o in begun]
        tokens = total_usage(replies).total_tokens / asked if asked else None
        point = {
            "pattern": pattern,
            "n": n,
            "right": good,
            "failed": len(own) - asked,
            "accuracy": good / n if n else None,
            "low": low,
            "high": high,
            "tokens": tokens,
            "seconds": statistics.median(r.duration_s for r in replies)
            if asked
            else None,
            "cost": total_usd(costs),
            **in_row("cost_per_right", right_price(costs, good)),
        }
        for name in self.metrics[1:]:
            point |= _figure(name, [o.scores.get(name) for o in own])
        return point

    @property
    def verdict(self) -> str:
        """Which patterns differ from the first, by McNemar's exact test.

        Both answered the same questions, so only those count that one got right and
        the other wrong; p is multiplied by the number of comparisons (Bonferroni).
        That test is for one look: with ``until=`` it is what is settled.
        """
        if self.until is not None:
            return self.settled.sentence
        if not self.patterns:
            return "No pattern was asked."
        base, *others = self.patterns
        marks = {(o.pattern, o.row): o.right for o in self.outcomes}
        rows = range(len(self.task.rows))
        found = []
        for other in others:
            pairs = [(marks.get((base, i)), marks.get((other, i))) for i in rows]
            gains, losses = pairs.count((False, True)), pairs.count((True, False))
            p = len(others) * sign_test(gains, losses)
            if p < 0.05:
                verb = "beats" if gains > losses else "does worse than"
                chance = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
                found.append(f"{other} {verb} {base} ({chance})")
        asked = len({o.row for o in self.outcomes})
        nothing = f"no pattern differs from {base} beyond chance"
        return f"On {html.many(asked, 'question')} {'; '.join(found) or nothing}."

    @property
    def judge_cost(self) -> Decimal | None:
        """Dollars that judges took, which are part of no other cost here."""
        return total_cost([reply for one in self._begun for reply in one.judged])

    @property
    def _begun(self) -> tuple[Outcome, ...]:
        return self.outcomes + self.stopped

    def _parts(self) -> tuple[str, list[Table], str]:
        more = self.metrics[1:]
        columns = ["pattern", *(f"{name} [95 %]" for name in self.metrics), "n"]
        columns += ["tokens per question", "seconds per question", "cost"]
        rows = []
        for point in self.summary():
            price = RightPrice(*(point[f"cost_per_right{end}"] for end in ENDS))
            none = point["cost"] is not None and not point["right"]
            few = none and price.low is None
            each = "none right" if few else each_right(price)
            ends = point["low"], point["high"]
            row = [point["pattern"], share(point["right"], point["n"], ends)]
            row += [_cell(point, name) for name in more] + [point["n"]]
            row += [f"{point['tokens'] or 0:,.0f}", f"{point['seconds'] or 0:.1f}"]
            rows.append([*row, html.money(point["cost"]), each])
        paid = [reply for one in self.outcomes for reply in one.took]
        numeric = range(1, len(columns) + 1)
        caption = html.footer_line([*self._remarks()])
        table = Table([*columns, "per right answer"], rows, numeric, caption)
        return "", [table], footer(paid)

    def _remarks(self) -> Iterator[str]:
        """Yield what the table's caption says."""
        yield f"{self.task.name}: {self.verdict}"
        failed = [o.error for o in self.outcomes if o.reply is None]
        if failed:
            yield f"{len(failed)} failed and left out: {failed[0]}"
        for name, told in self.metric_errors.items():
            yield f"{name} could not tell of {len(told)} answers: {told[0]}"
        missing = len(self.patterns) * len(self.task.rows) - len(self.outcomes)
        if self.stop_reason != "settled":
            yield not_asked(missing, self.stop_reason)
        yield f"{self.reused} answers paid before" if self.reused else ""
        points = [point for point in self.summary() if point["n"]]
        if any(p[f"{name}_low"] is None for p in points for name in self.metrics[1:]):
            yield NO_INTERVAL
        if any(one.judged for one in self._begun):
            yield f"judging cost {html.money(self.judge_cost)} apart"

    def questions(self, most: int = 20) -> Renderable:
        """Return one row per question, which opens to all of its answers.

        Those that one way got right and another wrong stand first, then the hardest.

        Args:
            most: How many questions to show.
        """
        return lab_views.questions(self.task, self.patterns, self.outcomes, most)

    def mistakes(self) -> Renderable:
        """Return the wrong answers sorted by kind, each kind with an example."""
        return lab_views.mistakes(self.task, self.patterns, self.outcomes)

    def to_judge(self, way: str, other: str | None = None) -> list[dict[str, Any]]:
        """Return the answers of a way as rows for ``judge``, labelled.

        Args:
            way: Whose answers; the label says whether each is ``right`` or ``wrong``.
            other: Whose answers they are compared with; the label then says which one
                is right, ``tie`` where both or none are.

        Raises:
            BadInput: If there is no such way.
        """
        for name in filter(None, [way, other]):
            if name not in self.patterns:
                known = ", ".join(self.patterns)
                raise errors.BadInput(f"There is no way {name!r}.", f"Ways: {known}.")
        came = {(o.pattern, o.row): o for o in self.outcomes if o.right is not None}
        both = [
            (one, came.get((other or way, one.row)))
            for (name, _), one in came.items()
            if name == way
        ]
        labelled = [(a, b) for a, b in both if b is not None]
        return [
            _judgeable(self.task, a, b, pair=other is not None) for a, b in labelled
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict per question and pattern: what was asked and what came."""
        return [self._row(outcome) for outcome in self.outcomes]

    def _row(self, one: Outcome) -> dict[str, Any]:
        reply, (question, truth) = one.reply or Reply(), asked(self.task, one)
        known: Mapping[str, Any] = {}
        if len(self.task.columns) > one.row:
            known = self.task.columns[one.row]
        row = {"pattern": one.pattern, "row": one.row, "question": question}
        row |= {"truth": truth, "answer": one.answer}
        row |= {name: one.scores.get(name) for name in self.metrics}
        row |= {"right": one.right, "text": reply.text, "error": one.error}
        row |= {"finish_reason": reply.finish_reason, "seconds": reply.duration_s}
        row |= {"cost": one.cost, "judge_cost": total_cost(one.judged)}
        row |= msgspec.structs.asdict(reply.usage)
        row.pop("cost_usd", None)
        return row | {name: known[name] for name in known if name not in row}

    def to_pandas(self) -> Any:
        """Return one row for each question and pattern as a ``DataFrame``.

        The task's other columns stand beside them.
        """
        return pandas().DataFrame(writable(self.rows()))

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return one line per question and pattern as CSV, or write it to a file.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            BadInput: If the file cannot be written.
        """
        return as_csv(self.rows(), path, heads=("pattern", "row"))

    def to_inspect(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write one log per pattern in the format of Inspect, which opens them.

        Args:
            folder: Where to; it is made if it is not there.

        Returns:
            The files. ``inspect view --log-dir FOLDER`` shows them.

        Raises:
            BadInput: If a file cannot be written.
        """
        from kimikit.evals.inspect_log import write_logs

        known = (self.task, self.summary(), self.outcomes, self.metrics)
        return write_logs(*known, self.stop_reason, folder)

    def plot(self, ax: Any = None) -> Any:
        """Draw each pattern's share of right answers with its interval.

        Args:
            ax: Matplotlib axes to draw on, new ones if left out.

        Returns:
            The axes.
        """
        return lab_views.shares(self.summary(), self.task.name, ax)

    def heatmap(self, ax: Any = None) -> Any:
        """Draw which question was right in which way, the hardest question on top.

        Args:
            ax: Matplotlib axes to draw on, new ones if left out.

        Returns:
            The axes.
        """
        marks = {(o.row, o.pattern): o.right for o in self.outcomes}
        asked = sorted({row for row, _ in marks})
        grid = [[marks.get((row, name)) for name in self.patterns] for row in asked]
        return lab_views.heatmap(grid, self.patterns, self.task.name, ax)


def _judgeable(task: Task, a: Outcome, b: Outcome, *, pair: bool) -> dict[str, Any]:
    """Return a row for ``judge``."""
    question, truth = asked(task, a)
    texts = [said(one.reply or Reply()) for one in (a, b)]
    if not pair:
        label = "right" if a.right else "wrong"
        return {
            "question": question,
            "answer": texts[0],
            "truth": truth,
            "label": label,
        }
    label = "tie" if a.right == b.right else "a" if a.right else "b"
    return {"question": question, "a": texts[0], "b": texts[1], "label": label}


def _figure(name: str, values: list[Score]) -> dict[str, Any]:
    """Return a metric's mean with its 95 % interval: Wilson's of a share."""
    known = [value for value in values if value is not None]
    n = len(known)
    mean = sum(known) / n if n else None
    low: float | None
    high: float | None
    is_share = all(isinstance(value, bool) for value in known)
    if is_share:
        low, high = wilson(sum(known), n)
    else:
        low, high = of_mean(known)
    named = in_row(name, (mean, low, high))
    return named | {f"{name}_n": n, f"{name}_is_share": is_share}


def _cell(point: Mapping[str, Any], name: str) -> html.Cell | str:
    """Return a further metric's figure with its interval."""
    value, low, high = (point[f"{name}{end}"] for end in ENDS)
    if value is None:
        return "none"
    style = ".0%" if point[f"{name}_is_share"] else ".2f"
    if low is None:
        return f"{value:{style}}"
    return html.interval(*(f"{part:{style}}" for part in (value, low, high)))
