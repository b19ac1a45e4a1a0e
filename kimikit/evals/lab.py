"""Prompt patterns compared on one labelled set: right answers, tokens, time, money."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Unpack

import msgspec

from kimikit import errors, html
from kimikit.axes import INK, as_text, name, plain
from kimikit.evals.cells import each_right, not_asked, share
from kimikit.evals.patterns import PATTERNS, Meter, Pattern
from kimikit.evals.task import Task, is_right
from kimikit.footer import footer, total_cost, total_usage
from kimikit.intervals import RightPrice, right_price, wilson
from kimikit.params import LabParams, takes_chat_params
from kimikit.runner import Stopped, WorkOptions, run_jobs, runner_over
from kimikit.shown import Renderable, Table
from kimikit.types import AnswerStore, ChatClient, Reply


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One question asked in one way.

    Attributes:
        pattern: How it was asked.
        row: Its position in the task.
        answer: What was answered, ``None`` for nothing of the type.
        right: Whether that is right; ``None`` where the host failed.
        reply: The reply, ``None`` where the host failed.
        error: What failed.
        paid: What came of every call it took, also of those that broke off.
    """

    pattern: str
    row: int
    answer: Any = None
    right: bool | None = None
    reply: Reply | None = None
    error: str = ""
    paid: tuple[Reply, ...] = ()

    @property
    def cost(self) -> Decimal | None:
        """Dollars of all calls, ``None`` when one is unpriced; 0 where none began."""
        return total_cost(self.took)

    @property
    def took(self) -> tuple[Reply, ...]:
        """All answers that were paid for."""
        whole = (self.reply,) if self.reply is not None else ()
        return self.paid or whole


class Lab(Renderable, msgspec.Struct, frozen=True, kw_only=True):
    """What each pattern got right and what it took.

    Attributes:
        task: What was asked.
        patterns: Their names; the first is what the others are compared with.
        outcomes: One for each question and pattern that was finished.
        reused: How many answers had been paid for before.
        stop_reason: ``done``, ``interrupted``, ``max_cost`` or ``error``.
        stopped: Questions that were begun and not finished; they count by their cost.
    """

    task: Task
    patterns: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    reused: int = 0
    stop_reason: str = "done"
    stopped: tuple[Outcome, ...] = ()

    def summary(self) -> list[dict[str, Any]]:
        """Return one dict per pattern.

        ``accuracy`` has its 95 % Wilson interval in ``low`` and ``high``; ``tokens``
        and ``seconds`` are a question's mean and median. ``cost`` is of all that was
        asked, in US dollars, also of what broke off, ``None`` where unpriced;
        ``cost_per_right`` is that for each right answer, with its 95 % interval in
        ``cost_per_right_low`` and ``cost_per_right_high``.
        """
        return [self._point(pattern) for pattern in self.patterns]

    def _point(self, pattern: str) -> dict[str, Any]:
        own = [o for o in self.outcomes if o.pattern == pattern]
        replies = [o.reply for o in own if o.reply is not None]
        n, good = len(replies), sum(o.right is True for o in own)
        low, high = wilson(good, n)
        asked = [*own, *(o for o in self.stopped if o.pattern == pattern)]
        costs = [o.cost for o in asked]
        known = [cost for cost in costs if cost is not None]
        price = right_price(costs, good)
        return {
            "pattern": pattern,
            "n": n,
            "right": good,
            "failed": len(own) - n,
            "accuracy": good / n if n else None,
            "low": low,
            "high": high,
            "tokens": total_usage(replies).total_tokens / n if n else None,
            "seconds": statistics.median(r.duration_s for r in replies) if n else None,
            "cost": sum(known, Decimal(0)) if len(known) == len(costs) else None,
            "cost_per_right": price.value,
            "cost_per_right_low": price.low,
            "cost_per_right_high": price.high,
        }

    @property
    def verdict(self) -> str:
        """Which patterns differ from the first, by McNemar's exact test.

        Both answered the same questions, so only those count that one got right and
        the other wrong; p is multiplied by the number of comparisons (Bonferroni).
        """
        base, *others = self.patterns
        marks = {(o.pattern, o.row): o.right for o in self.outcomes}
        rows = range(len(self.task.rows))
        found = []
        for other in others:
            pairs = [(marks.get((base, i)), marks.get((other, i))) for i in rows]
            gains, losses = pairs.count((False, True)), pairs.count((True, False))
            p = len(others) * _mcnemar(gains, losses)
            if p < 0.05:
                verb = "beats" if gains > losses else "does worse than"
                chance = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
                found.append(f"{other} {verb} {base} ({chance})")
        asked = len({o.row for o in self.outcomes})
        nothing = f"no pattern differs from {base} beyond chance"
        plural = "s" * (asked != 1)
        return f"On {asked} question{plural} {'; '.join(found) or nothing}."

    def _parts(self) -> tuple[str, list[Table], str]:
        columns = ["pattern", "right [95 %]", "n", "tokens per question"]
        columns += ["seconds per question", "cost", "per right answer"]
        rows = []
        for point in self.summary():
            ends = ("", "_low", "_high")
            price = RightPrice(*(point[f"cost_per_right{end}"] for end in ends))
            none = point["cost"] is not None and not point["right"]
            few = none and price.low is None
            each = "none right" if few else each_right(price)
            row = [point["pattern"], share(point["right"], point["n"]), point["n"]]
            row += [f"{point['tokens'] or 0:,.0f}", f"{point['seconds'] or 0:.1f}"]
            rows.append([*row, html.money(point["cost"]), each])
        failed = [o.error for o in self.outcomes if o.reply is None]
        missing = len(self.patterns) * len(self.task.rows) - len(self.outcomes)
        paid = [reply for one in self.outcomes for reply in one.took]
        remarks = [
            f"{self.task.name}: {self.verdict}",
            f"{len(failed)} failed and left out: {failed[0]}" if failed else "",
            not_asked(missing, self.stop_reason),
            f"{self.reused} answers paid before" if self.reused else "",
        ]
        table = Table(columns, rows, range(1, 7), html.footer_line(remarks))
        return "", [table], footer(paid)

    def to_pandas(self) -> Any:
        """Return one row for each question and pattern as a ``DataFrame``."""
        try:
            import pandas as pd
        except ImportError as exc:
            raise errors.MissingDependency.of("pandas", "to_pandas", "pandas") from exc
        rows = []
        for o in self.outcomes:
            reply, (question, truth) = o.reply or Reply(), self.task.rows[o.row]
            row = msgspec.structs.asdict(o)
            row |= {"question": question, "truth": truth, "text": reply.text}
            row |= {"seconds": reply.duration_s, "cost": o.cost}
            rows.append(row | msgspec.structs.asdict(reply.usage))
        return pd.DataFrame(rows).drop(
            columns=["reply", "paid", "cost_usd"], errors="ignore"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw each pattern's share of right answers with its interval.

        Args:
            ax: Matplotlib axes to draw on, new ones if left out.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        points = self.summary()[::-1]
        if ax is None:
            height = 1.2 + 0.45 * len(points)
            figure, ax = plt.subplots(figsize=(6.4, height), layout="constrained")
            figure.patch.set_alpha(0)
        for y, point in enumerate(points):
            value = 100 * (point["accuracy"] or 0)
            ends = [100 * point["low"], 100 * point["high"]]
            ax.plot(ends, [y, y], color=html.PALETTE[4], linewidth=5, alpha=0.6)
            ax.plot(value, y, "o", color=html.PALETTE[0])
            each = html.money(point["cost_per_right"])
            price = "" if each == "unpriced" else f", {each} a right answer"
            label = f"{value:.0f} % of {point['n']}{price}"
            ax.annotate(
                label, (value, y), (0, 7), textcoords="offset points", color=INK,
                ha="center", fontsize=8,
            )  # fmt: skip
        ax.set_yticks(range(len(points)), [point["pattern"] for point in points])
        ax.set(xlim=(-2, 102), ylim=(-0.5, len(points) - 0.3))
        ax.set_xlabel("Right answers (%), 95 % interval")
        as_text(ax.set_title(name(self.task.name), fontsize=10))
        plain(ax)
        return ax


def _mcnemar(gains: int, losses: int) -> float:
    """Return how likely chance alone splits the questions so unevenly."""
    n = gains + losses
    tail = sum(math.comb(n, i) for i in range(min(gains, losses) + 1))
    p: float = 2 * tail / 2**n
    return min(1.0, p)


def _ways(task: Task, patterns: Mapping[str, Pattern] | None) -> dict[str, Pattern]:
    ways = dict(PATTERNS if patterns is None else patterns)
    if not task.rows or not ways:
        raise errors.BadInput(
            f"{len(task.rows)} rows in {len(ways)} ways are nothing to compare.",
            "Give a task with rows, and at least one pattern.",
        )
    return ways


def _asked(
    client: ChatClient,
    task: Task,
    params: dict[str, Any],
    stopped: list[Outcome],
    way: tuple[str, Pattern],
    row: int,
) -> Outcome | None:
    """Ask one question in one way; what Stop ended is no outcome, but has its cost."""
    (name, pattern), (question, truth) = way, task.rows[row]
    meter = Meter(client)
    # Part of the key: step by step and a vote ask the same, and share no answers.
    meta = {**params.get("meta", {}), "pattern": name, "row": row}

    def made(**fields: Any) -> Outcome:
        return Outcome(pattern=name, row=row, paid=tuple(meter.paid), **fields)

    try:
        reply = pattern(meter, task, question, **{**params, "meta": meta})
    except errors.InvalidAnswer as exc:
        return made(right=False, reply=exc.reply)
    except (errors.AuthenticationFailed, errors.NoBalance, errors.ModelNotFound):
        raise
    except errors.HostError as exc:
        return made(error=f"{type(exc).__name__}: {exc.what}")
    except (KeyboardInterrupt, Stopped):
        if meter.paid:
            stopped.append(made())
        raise
    if reply.partial:
        stopped.append(made())
        return None
    answer = task.extract(reply.text) if reply.parsed is None else reply.parsed
    return made(answer=answer, right=is_right(answer, truth), reply=reply)


@takes_chat_params(hidden=("tools", "n"), also=("watch", "meta"))
def lab(
    client: ChatClient,
    task: Task,
    patterns: Mapping[str, Pattern] | None = None,
    *,
    concurrency: int = 4,
    store: AnswerStore | None = None,
    name: str | None = None,
    max_cost: Decimal | float | str | None = None,
    progress: bool = True,
    **params: Unpack[LabParams],
) -> Lab:
    """Ask every question of a labelled set in several ways.

    Args:
        client: Anything with ``chat``.
        task: The labelled set.
        patterns: Ways to ask by name, the baseline first; ``PATTERNS`` if left out.
        concurrency: How many questions are asked at once.
        store: Where paid answers are found again under ``name``.
        name: Makes it resumable: what was paid is not asked again.
        max_cost: US dollars that are not passed: no more is asked then.
        progress: Whether to show a bar.
        **params: What else ``chat`` takes, the same for every pattern.

    Returns:
        One table. An answer not of the task's type is wrong; where a host failed the
        question is left out and said so. Stop keeps what was finished.

    Raises:
        BadInput: If there is nothing to ask.
        StatusError: If the key, the balance or the model's name is no good. What was
            finished is the error's ``lab``.

    Example:
        >>> rows = (("Capital of France?", "Paris"), ("Capital of Italy?", "Rome"))
        >>> task = Task(instruction="Name the city.", rows=rows)
        >>> found = lab(client, task, {"typed": PATTERNS["structured"]}, progress=False)
        >>> [(point["pattern"], point["right"]) for point in found.summary()]
        [('typed', 2)]
    """
    ways = _ways(task, patterns)
    options = WorkOptions(concurrency, name, store, max_cost)
    runner, clients = runner_over({None: client}, "lab", options)
    stopped: list[Outcome] = []
    ask = partial(_asked, clients[None], task, {**params}, stopped)
    rows = range(len(task.rows))
    came = run_jobs(
        runner,
        [partial(ask, way, row) for way in ways.items() for row in rows],
        concurrency=concurrency,
        progress=task.name if progress else None,
    )
    found = Lab(
        task=task,
        patterns=tuple(ways),
        outcomes=tuple(one for one in came if one is not None),
        reused=runner.reused,
        stop_reason=runner.stop_reason,
        stopped=tuple(stopped),
    )
    runner.raise_for_error(found, "lab")
    return found
