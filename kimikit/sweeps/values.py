"""Hold what a sweep asked and what came back, and know nothing of its views."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import msgspec

from kimikit import html
from kimikit.display.footer import origin, total_cost, total_usage
from kimikit.errors import BadInput
from kimikit.json_values import writable
from kimikit.sweeps.figures import FIGURES
from kimikit.sweeps.judge import Judge
from kimikit.sweeps.trial import Metric, Spent, Trial
from kimikit.types import Reply, Usage

if TYPE_CHECKING:  # pyarrow and numpy stand behind it
    from kimikit.sweeps.on_disk import TrialsOnDisk

F = TypeVar("F", bound=Callable[..., Any])

Embed = Callable[[list[str]], Any]
"""Makes vectors of texts, one row per text."""


class Plan(msgspec.Struct, frozen=True):
    """What a sweep will ask, known before it asks.

    Attributes:
        calls: Answers in all.
        stored: How many of them are paid for already.
        likely_usd: Likely cost of the others, ``None`` if a price is unknown.
        upper_usd: The most they can cost.
        minutes: How long the requests-per-minute limit makes it, if there is one.
        least_calls: Answers before which ``until=`` cannot be reached, ``None``
            without it; then the other figures are of all that may be asked.
        judged: Whether a judge asks too, which none of these figures has in it.
    """

    calls: int = 0
    stored: int = 0
    likely_usd: Decimal | None = None
    upper_usd: Decimal | None = None
    minutes: float | None = None
    least_calls: int | None = None
    judged: bool = False

    def __str__(self) -> str:
        likely, most = html.money(self.likely_usd), html.money(self.upper_usd)
        cost = f"likely {likely}, at most {most}"
        calls = html.many(self.calls, "call")
        if self.least_calls is not None:
            calls = f"{self.least_calls} to {calls}"
            cost = f"at most {most}"
        return html.footer_line(
            [
                calls,
                f"{self.stored} stored already" if self.stored else "",
                "unpriced" if self.upper_usd is None else cost,
                "judging costs apart" if self.judged else "",
                f"at least {self.minutes:.1f} min" if self.minutes else "",
            ]
        )


class Progress(msgspec.Struct, frozen=True):
    """How far a running sweep is.

    Attributes:
        done: Answers there are.
        failed: Cells that have none for good.
        calls: Answers in all.
        cost: US dollars spent in this run.
        seconds_left: ``None`` before the first answer.
        upper_usd: The most it can cost, if known.
        judged: Trials that all metrics have judged, ``None`` where there is none.
    """

    done: int
    failed: int
    calls: int
    cost: Decimal
    seconds_left: float | None = None
    upper_usd: Decimal | None = None
    judged: int | None = None

    def __str__(self) -> str:
        left = self.seconds_left
        wait = "" if left is None else f"{left:.0f} s left"
        if left is not None and left >= 90:
            wait = f"{left / 60:.0f} min left"
        return html.footer_line([f"{self.done} of {self.calls} done", self.note, wait])

    @property
    def note(self) -> str:
        """What failed, what was judged and the money so far, where there is any."""
        most = self.upper_usd
        cost = html.money(self.cost) if self.cost or most else ""
        return html.footer_line(
            [
                f"{self.failed} failed" if self.failed else "",
                "" if self.judged is None else f"{self.judged} judged",
                f"{cost} of at most {html.money(most)}" if most else cost,
            ]
        )


class Outcome(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that a sweep knows; a ``Sweep`` is one with figures and views.

    Attributes:
        trials: Answers and failures in the order of the grid.
        axes: For each axis its labels.
        fixed: The parameters that were the same throughout.
        repeats: Answers asked of each point.
        name: What to call it again by, to buy only what is missing.
        seed: Seed of the order in which cells were asked.
        plan: What was known before.
        stop_reason: Why it ended.
        notes: What looked odd, a sentence each.
        pinned: Whether a host pinned a parameter that was then left out.
        stand_in: Whether the local stand-in answered.
        maker_temperature: The value that the model's maker recommends.
        metrics: The user's own.
        embed: Makes vectors of texts, for the semantic figures.
        until: Half the width of intervals that it was bought for, if it was.
    """

    trials: tuple[Trial, ...] = ()
    axes: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}
    repeats: int = 1
    name: str = ""
    seed: int = 0
    plan: Plan = Plan()
    stop_reason: Literal[
        "done", "settled", "interrupted", "max_cost", "error", "dry_run"
    ] = "done"
    notes: tuple[str, ...] = ()
    pinned: bool = False
    stand_in: bool = False
    maker_temperature: float | None = None
    metrics: dict[str, Metric | None] = {}
    embed: Embed | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        if self.until is not None and not 0 < self.until < 0.5:  # of a stranger's file
            raise ValueError(f"until is {self.until}")

    @property
    def replies(self) -> list[Reply]:
        """The answers that came whole."""
        return [trial.reply for trial in self.trials if trial.reply is not None]

    @property
    def origin(self) -> str:
        """What every view must say of who answered; empty for a live Kimi."""
        return origin(self.spent, stand_in=self.stand_in)

    @property
    def cost(self) -> Decimal | None:
        """US dollars of all answers, ``None`` when any of them is unpriced.

        Broken ones count. The footer says what the priced ones cost at least.
        """
        return total_cost(self.spent)

    @property
    def judge_costs(self) -> list[Decimal | None]:
        """US dollars that each judge among the metrics took, part of no other cost."""
        return costs_of_judges(self.metrics)

    @property
    def usage(self) -> Usage:
        """Tokens of all answers, also broken ones."""
        return total_usage(self.spent)

    @property
    def paid(self) -> list[Reply]:
        """All answers that were paid for, also broken ones."""
        both = (trial.reply or trial.partial for trial in self.trials)
        return [reply for reply in both if reply is not None]

    @property
    def on_disk(self) -> TrialsOnDisk | None:
        """The trials where they are in a folder, ``None`` where they are in memory."""
        trials: Any = self.trials
        return None if isinstance(trials, tuple | list) else trials

    @property
    def spent(self) -> Sequence[Reply | Spent]:
        """What was paid for, answer by answer or in sums."""
        return self.paid if self.on_disk is None else self.on_disk.known.spent

    @property
    def silent(self) -> bool:
        """Whether it was asked for without a bar, so that its figures show none."""
        return bool(self.__dict__.get("silent"))

    @property
    def answered(self) -> int:
        """How many answers came whole."""
        if self.on_disk is not None:
            return self.on_disk.known.answered
        return sum(trial.reply is not None for trial in self.trials)

    def failures(self) -> Counter[str]:
        """Return why trials failed, and how often.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=1)
            >>> sweep.failures()
            Counter()
        """
        if self.on_disk is not None:
            return self.on_disk.failures()
        return Counter(trial.error for trial in self.trials if trial.error)

    @functools.cached_property
    def scores(self) -> dict[str, list[float | bool | None]]:
        """For each metric its value of each trial, ``None`` where it has none.

        Most are known by the end of the sweep; a metric is asked about the others now.
        """
        if self.on_disk is not None:
            if self.on_disk.judged:
                return self.on_disk.scores()
            return Judge(self.metrics, self.metric_errors).each(self.trials)
        judge = self.__dict__.get("judge")
        if judge is None:
            judge = self.__dict__["judge"] = Judge(self.metrics, self.metric_errors)
        return judge.all(self.trials, silent=self.silent)

    @functools.cached_property
    def _asked(self) -> list[str | None]:
        """For each trial what was asked, ``None`` where its label says the same."""
        from kimikit.sweeps.rows import Asked

        if self.on_disk is not None:
            return self.on_disk.asked()
        return Asked().of(self.trials)

    @functools.cached_property
    def metric_errors(self) -> dict[str, list[str]]:
        """What metrics raised, by their names, and what ``embed`` did."""
        return {}


def check_callable(wanted: Mapping[str, Any]) -> None:
    """Refuse what cannot be called, by the names that it was given by.

    Raises:
        BadInput: Naming the first.
    """
    for name, value in wanted.items():
        if not callable(value):
            raise BadInput(
                f"{name} is {value!r}, which cannot be called.", "Give a function."
            )


def check_metrics(metrics: Any, parameters: Collection[str]) -> None:
    """Refuse metrics that are no functions, or would hide another figure.

    Raises:
        BadInput: Saying which.
    """
    if not isinstance(metrics, dict | None):
        raise BadInput(
            f"metrics is {metrics!r}.", "Give a dict of names and functions of a reply."
        )
    if not metrics:
        return
    from kimikit.sweeps.rows import HIDDEN, kinds

    check_callable({f"metrics[{name!r}]": metric for name, metric in metrics.items()})
    # What rows of a summary, a frame or a folder hold.
    taken = {*FIGURES, "n", "failed", "missing", *HIDDEN, *kinds({}, {}, ())}
    taken |= {*parameters, *(f"used_{name}" for name in parameters)}
    for name in metrics:
        named = isinstance(name, str) and name.strip()
        named = named and html.without_secrets(writable(name)) == name
        if not named or name in taken:
            raise BadInput(
                f"metrics holds {name!r}, which is no text or names another figure.",
                "Give the metric a name of its own, such as 'right'.",
            )


def in_order(
    axes: Mapping[str, Iterable[Hashable]], trials: list[Trial]
) -> tuple[Trial, ...]:
    """Put trials in the order of a grid; one whose label was left out comes last."""
    places = {name: {v: n for n, v in enumerate(some)} for name, some in axes.items()}

    def place(labels: dict[str, Any]) -> list[int]:
        return [axis.get(labels[name], len(axis)) for name, axis in places.items()]

    labels = {id(trial.params): trial.params for trial in trials}
    order = sorted(labels, key=lambda one: place(labels[one]))
    rank = {one: number for number, one in enumerate(order)}
    trials.sort(key=lambda trial: (rank[id(trial.params)], trial.repeat))
    return tuple(trials)


def costs_of_judges(metrics: Mapping[str, Metric | None]) -> list[Decimal | None]:
    """Return what each metric took that asks a model, and so tells its cost."""
    given = metrics.values()
    judges = [m for m in given if isinstance(getattr(type(m), "cost", None), property)]
    return [judge.cost for judge in judges]  # type: ignore[union-attr]


def kept(function: F) -> F:
    """Work out a fact of an outcome once, and keep it there for whoever asks again."""

    @functools.wraps(function)
    def once(found: Outcome, *args: Hashable) -> Any:
        facts = found.__dict__.setdefault("_facts", {})
        key = function.__name__, args
        if key not in facts:
            facts[key] = function(found, *args)
        return facts[key]

    return cast(F, once)
