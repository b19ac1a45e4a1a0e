"""What a sweep found: its trials, its price and the doors to every view."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from kimikit import html
from kimikit.errors import BadInput, MissingDependency
from kimikit.types import Reply, Usage

if TYPE_CHECKING:
    from kimikit.sweeps.verdict import Recommendation, Verdict

Metric = Callable[..., "float | bool | None"]
"""A user's judgement of one answer: ``fn(reply)`` or ``fn(reply, params)``."""

Embed = Callable[[list[str]], Any]
"""From texts to vectors, one row a text."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of a sweep, or the reason why it is missing.

    Attributes:
        params: All parameters it was asked with, by the labels of the axes.
        repeat: Which repeat of its point, from 0.
        reply: The answer, or ``None`` where it failed.
        error: Why it failed.
        partial: What had come before it failed.
        stored: Whether it was paid for in an earlier run.

    Example:
        >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
        >>> trial = sweep.trials[0]
        >>> trial.params["temperature"], trial.repeat, trial.error
        (0, 0, None)
    """

    params: dict[str, Any]
    repeat: int
    reply: Reply | None = None
    error: str | None = None
    partial: Reply | None = None
    stored: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What a sweep will ask, known before it asks.

    Attributes:
        calls: Answers in all.
        stored: How many of them are paid for already.
        likely_usd: Likely cost of the others, ``None`` if a price is unknown.
        upper_usd: The most they can cost.
        minutes: How long the requests-per-minute limit makes it, if there is one.
    """

    calls: int = 0
    stored: int = 0
    likely_usd: Decimal | None = None
    upper_usd: Decimal | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        likely, most = html.money(self.likely_usd), html.money(self.upper_usd)
        cost = f"likely {likely}, at most {most}"
        return html.footer_line(
            [
                f"{self.calls} calls",
                f"{self.stored} stored already" if self.stored else "",
                "unpriced" if self.upper_usd is None else cost,
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
    """

    done: int
    failed: int
    calls: int
    cost: Decimal
    seconds_left: float | None = None
    upper_usd: Decimal | None = None

    def __str__(self) -> str:
        left, most = self.seconds_left, self.upper_usd
        cost = html.money(self.cost) if self.cost or most else ""
        wait = "" if left is None else f"{left:.0f} s left"
        if left is not None and left >= 90:
            wait = f"{left / 60:.0f} min left"
        return html.footer_line(
            [
                f"{self.done} of {self.calls} done",
                f"{self.failed} failed" if self.failed else "",
                f"{cost} of at most {html.money(most)}" if most else cost,
                wait,
            ]
        )


class Sweep(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A finished, stopped or merely planned sweep.

    Attributes:
        trials: Answers and failures in the order of the grid.
        axes: For each axis its labels.
        fixed: The parameters that were the same throughout.
        repeats: Answers asked of each point.
        name: What to call it again by, to buy only what is missing.
        seed: Seed of the order in which cells were asked, and of every sample.
        plan: What was known before.
        stop_reason: Why it ended.
        notes: What looked odd, a sentence each.
        pinned: Whether a host pinned a parameter that was then left out.
        stand_in: Whether the local stand-in answered.
        maker_temperature: The value that the model's maker recommends.
        metrics: The user's own.
        embed: Makes vectors of texts, for the semantic figures.

    Example:
        >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
        >>> len(sweep.replies), sweep.stop_reason
        (4, 'done')
        >>> axes = sweep.plot()
    """

    trials: tuple[Trial, ...] = ()
    axes: dict[str, tuple[Any, ...]] = {}
    fixed: dict[str, Any] = {}
    repeats: int = 1
    name: str = ""
    seed: int = 0
    plan: Plan = Plan()
    stop_reason: Literal["done", "interrupted", "max_cost", "error", "dry_run"] = "done"
    notes: tuple[str, ...] = ()
    pinned: bool = False
    stand_in: bool = False
    maker_temperature: float | None = None
    metrics: dict[str, Metric | None] = {}
    embed: Embed | None = None

    @property
    def interrupted(self) -> bool:
        """Whether Stop ended it."""
        return self.stop_reason == "interrupted"

    @property
    def replies(self) -> list[Reply]:
        """The answers that came whole."""
        return [trial.reply for trial in self.trials if trial.reply is not None]

    @property
    def cost(self) -> Decimal | None:
        """US dollars of all answers, also broken ones; ``None`` if none is priced."""
        costs = [reply.cost for reply in self._paid if reply.cost is not None]
        return sum(costs, Decimal(0)) if costs else None

    @property
    def usage(self) -> Usage:
        """Tokens of all answers, also broken ones."""
        return sum((reply.usage for reply in self._paid), Usage())

    @property
    def _paid(self) -> list[Reply]:
        both = (trial.reply or trial.partial for trial in self.trials)
        return [reply for reply in both if reply is not None]

    @functools.cached_property
    def scores(self) -> dict[str, list[float | bool | None]]:
        """For each metric its value of each trial, ``None`` where it has none."""
        return {
            name: [self._score(name, metric, trial) for trial in self.trials]
            for name, metric in self.metrics.items()
        }

    def _score(
        self, name: str, metric: Metric | None, trial: Trial
    ) -> float | bool | None:
        if trial.reply is None or metric is None:
            return None
        try:
            wanted = inspect.signature(metric).parameters.values()
            both = sum(each.default is each.empty for each in wanted) > 1
            given = (trial.reply, trial.params) if both else (trial.reply,)
            value: Any = metric(*given)
            value = value.item() if hasattr(value, "item") else value  # numpy's own
            return value if value is None or isinstance(value, bool) else float(value)
        except Exception as error:  # a user's code: one bad answer must not end it all
            kind = f"{type(error).__name__}: {error}"
            self.metric_errors.setdefault(name, []).append(kind)
            return None

    @functools.cached_property
    def metric_errors(self) -> dict[str, list[str]]:
        """What metrics raised, by their names."""
        return {}

    def summary(self, by: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row a point: counts, costs, and each figure with its interval.

        Args:
            by: The axes that make a point; all but ``prompt`` unless given. Prompts
                of one point are pooled, and from three on they are what intervals
                resample.

        Returns:
            Rows with the axes, ``n failed missing tokens seconds cost words`` and
            the figures, each with ``_low`` and ``_high`` (``None`` where n < 3).
        """
        from kimikit.sweeps.summary import summarise

        axes = [axis for axis in self.axes if axis != "prompt"] if by is None else by
        axes = [axes] if isinstance(axes, str) else axes
        for axis in axes:
            if axis not in self.axes:
                raise BadInput(
                    f"{axis!r} is not an axis of this sweep.",
                    f"Its axes are {', '.join(self.axes) or 'none'}.",
                )
        return summarise(self, tuple(axes))

    @functools.cached_property
    def verdict(self) -> Verdict:
        """Whether temperature changed anything, in a sentence with its test."""
        from kimikit.sweeps.verdict import verdict

        return verdict(self)

    @functools.cached_property
    def recommended(self) -> Recommendation:
        """Which temperature to take and why, as far as the sweep can say."""
        from kimikit.sweeps.verdict import recommend

        return recommend(self)

    def diff(self, other: Sweep) -> Any:
        """Compare with another sweep, paired by prompt: ``other`` minus this one.

        Returns:
            A table of differences with their intervals; ``.rows`` are its dicts.
        """
        from kimikit.sweeps.views import difference_table

        return difference_table(self, other)

    def plot(self, axes: Any = None) -> Any:
        """Draw diversity, agreement, length, and cost or your metric.

        Args:
            axes: Four matplotlib axes to draw on; a new figure unless given.

        Returns:
            The four axes.
        """
        from kimikit.sweeps.plots import plot

        return plot(self, axes)

    def compare(self, *, most: int = 6) -> Any:
        """Lay the answers side by side, equal ones folded, what differs marked.

        Args:
            most: Different answers shown for each point.
        """
        from kimikit.sweeps.views import compare

        return compare(self, most)

    def explore(self) -> Any:
        """Return a widget to pick points and read answers; saved, it is ``compare``."""
        from kimikit.sweeps.explorer import explore

        return explore(self)

    def to_pandas(self) -> Any:
        """Return one row a trial; ``pandas.DataFrame(sweep.summary())`` has points."""
        try:
            import pandas as pd
        except ImportError as exc:
            raise MissingDependency.of("pandas", "to_pandas()", "pandas") from exc
        rows = []
        for index, trial in enumerate(self.trials):
            reply = trial.reply
            row = {**trial.params, "repeat": trial.repeat, "error": trial.error}
            for key in ("text", "finish_reason", "cost", "model", "host"):
                row[f"used_{key}" if key in trial.params else key] = getattr(
                    reply, key, None
                )
            row["tokens"] = reply.usage.completion_tokens if reply else None
            row["seconds"] = reply.duration_s if reply else None
            row |= {name: values[index] for name, values in self.scores.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_json(self) -> str:
        """Return all of the sweep as JSON text; metrics stay as their values."""
        out = {f: getattr(self, f) for f in self.__struct_fields__}
        out |= {"metrics": list(self.metrics), "scores": self.scores, "embed": None}
        out["trials"] = [
            msgspec.structs.replace(
                trial, params={axis: trial.params.get(axis) for axis in self.axes}
            )
            for trial in self.trials
        ]
        return msgspec.json.encode(out).decode()

    @classmethod
    def from_json(cls, text: str | bytes, *, embed: Embed | None = None) -> Sweep:
        """Return the sweep that ``to_json`` wrote.

        Args:
            text: The JSON.
            embed: Makes vectors of texts again, for the semantic figures.

        Raises:
            BadInput: If ``text`` is not a saved sweep.
        """
        try:
            data = msgspec.json.decode(text)
            scores = data.pop("scores")
            data["metrics"] = dict.fromkeys(data["metrics"])
            for trial in data["trials"]:
                trial["params"] = {**data["fixed"], **trial["params"]}
            sweep = msgspec.convert({**data, "embed": None}, cls, strict=False)
        except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as exc:
            raise BadInput(
                f"The text is not a saved sweep ({exc}).",
                "Give what sweep.to_json() returned.",
            ) from exc
        sweep = msgspec.structs.replace(sweep, embed=embed)
        sweep.__dict__["scores"] = scores
        return sweep

    def __str__(self) -> str:
        from kimikit.sweeps.views import as_text

        return as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        from kimikit.sweeps.views import as_html

        return as_html(self)
