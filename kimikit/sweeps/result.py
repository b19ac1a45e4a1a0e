"""Hold a sweep as users do: what came back, with a method for every view of it."""

from __future__ import annotations

import functools
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kimikit import html
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput
from kimikit.json_values import saved
from kimikit.sweeps.data import SweepData
from kimikit.sweeps.trial import Metric
from kimikit.sweeps.values import Embed, Outcome, check_metrics

if TYPE_CHECKING:  # numpy stands behind all of these; import kimikit goes without it
    from kimikit.sweeps.cells import Page
    from kimikit.sweeps.power import PowerPlan
    from kimikit.sweeps.settled import Settled
    from kimikit.sweeps.verdict import Recommendation, Verdict
    from kimikit.sweeps.views import Explorer


class Sweep(Renderable, SweepData, frozen=True, kw_only=True, dict=True):
    """A finished, stopped or merely planned sweep; ``Outcome`` lists its attributes.

    Example:
        >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
        >>> len(sweep.replies), sweep.stop_reason
        (4, 'done')
        >>> axes = sweep.plot()
    """

    def summary(self, by: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return one row per point: counts, costs, and each figure with its interval.

        Args:
            by: The axes that make a point; all but ``prompt`` unless given. Prompts
                of one point are pooled, and from three on they are what intervals
                resample.

        Returns:
            Rows with the axes, ``n failed missing tokens seconds cost words`` and
            the figures, each with ``_low`` and ``_high`` (``None`` where n < 3 or where
            nothing varied in a figure without bounds; ``entropy_high`` is infinite, as
            answers not seen yet may be any number). Figures that depend on the number
            of answers are of as many at every point. ``cost``, and ``NAME_usd`` for a
            right answer by the metric ``NAME``, count all that was paid, also for
            answers that broke off, and is ``None`` when any of them is unpriced.
        """
        from kimikit.sweeps.summary import summarise

        return summarise(self, by)

    @property
    def verdict(self) -> Verdict:
        """Whether temperature changed anything, in a sentence with its test."""
        from kimikit.sweeps.verdict import verdict

        return verdict(self)

    @functools.cached_property
    def settled(self) -> Settled:
        """What is known by ``until=``, with intervals that hold at every look.

        Raises:
            BadInput: If the sweep was asked without ``until=``.

        Example:
            >>> short = {"short": lambda reply: len(reply.text) < 200}
            >>> sweep = kimi.sweep("Name a colour.", metrics=short, until=0.2,
            ...                    repeats=40)
            >>> sweep.settled.narrow, sweep.stop_reason, len(sweep) < 40
            (True, 'settled', True)
        """
        from kimikit.sweeps.settled import of_sweep

        return of_sweep(self)

    @property
    def recommended(self) -> Recommendation:
        """Which temperature to take and why, as far as the sweep can say."""
        from kimikit.sweeps.verdict import recommend

        return recommend(self)

    def recommend(self, *, margin: float | None = None) -> Recommendation:
        """Return which temperature to take, by the first metric.

        Args:
            margin: How much of the metric may be given away for more varied answers,
                such as 0.05: then it is the most varied temperature that is sure to
                lose no more against the best, by the lower limit of its 95 % interval.
                Without it, it is the best one.

        Raises:
            BadInput: If the margin is no number from 0.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2,
            ...                    metrics={"short": lambda r: len(r.text) < 20})
            >>> sweep.recommend(margin=0.05).temperature in (0, 1)
            True
        """
        from kimikit.sweeps.verdict import recommend

        return recommend(self, margin)

    def plan_for(
        self,
        difference: float,
        metric: str | None = None,
        *,
        power: float = 0.8,
        alpha: float = 0.05,
        questions: int | None = None,
    ) -> PowerPlan:
        """Plan a comparison of two settings from this sweep as its pilot.

        Args:
            difference: The difference of a metric's means that is to be found, such
                as 0.05 in the share of right answers.
            metric: Which one; the first if left out.
            power: Chance to find the difference where it is there.
            alpha: Chance to find one where there is none.
            questions: How many questions there are, where they are limited.

        Returns:
            How many questions are needed with how many repeats, what they cost, and
            which split takes the fewest calls.

        Raises:
            BadInput: If the sweep has no such metric, fewer than five prompts or no
                variance, or a number is out of its range.

        Example:
            >>> pilot = kimi.sweep(["Name a colour.", "Name a tree.", "Name a pet.",
            ...                     "Name a city.", "Name a tool."], temperature=1,
            ...                    repeats=2, metrics={"size": lambda r: len(r.text)})
            >>> plan = pilot.plan_for(20)
            >>> plan.best.calls == 2 * plan.best.questions * plan.best.repeats
            True
        """
        from kimikit.sweeps.power import plan_for

        return plan_for(
            self, difference, metric, power=power, alpha=alpha, questions=questions
        )

    def diff(self, other: Outcome) -> Page:
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

    def compare(self, *, most: int = 6) -> Page:
        """Lay the answers side by side, equal ones folded, what differs marked.

        Args:
            most: Different answers shown for each point.
        """
        from kimikit.sweeps.side_by_side import compare

        return compare(self, most)

    def explore(self) -> Explorer:
        """Return a widget to pick points and read answers; saved, it is ``compare``."""
        from kimikit.sweeps.views import Explorer

        return Explorer(self)

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
        return html.without_secrets(saved(out).decode())

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
            kinds = dict[str, list[bool | float | None]]
            scores = msgspec.convert(data.pop("scores"), kinds)
            data["metrics"] = dict.fromkeys(data["metrics"])
            for trial in data["trials"]:
                trial["params"] = {**data["fixed"], **trial["params"]}
            sweep = msgspec.convert({**data, "embed": None}, cls, strict=False)
            if any(len(some) != len(sweep.trials) for some in scores.values()):
                raise TypeError("scores are of other trials")
            for one in sweep.trials:
                hash(tuple(one.params.get(axis) for axis in sweep.axes))
            hash(tuple(sweep.axes.values()))
        except (
            msgspec.MsgspecError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as exc:
            raise BadInput(
                f"The text is not a saved sweep ({exc}).",
                "Give what sweep.to_json() returned.",
            ) from exc
        sweep = msgspec.structs.replace(sweep, embed=embed)
        sweep.__dict__["scores"] = scores
        return sweep

    @classmethod
    def from_results(
        cls,
        folder: str | os.PathLike[str],
        *,
        metrics: Mapping[str, Metric] | None = None,
        embed: Embed | None = None,
    ) -> Sweep:
        """Return the sweep whose answers are in a folder, without asking anybody.

        Args:
            folder: What ``kimi.sweep(..., results=folder)`` wrote.
            metrics: Judgements of one answer, instead of those that are there.
            embed: From texts to vectors, for figures of meaning.

        Raises:
            MissingDependency: If pyarrow is not installed.
            BadInput: If the folder holds no sweep.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2,
            ...                    results="colours")
            >>> [trial.repeat for trial in Sweep.from_results("colours")]
            [0, 1, 0, 1]
        """
        from kimikit.sweeps.on_disk import open_sweep

        trials, fields = open_sweep(folder, Outcome, judged=metrics is None)
        check_metrics(metrics, {*fields["axes"], *fields["fixed"]})
        judged = dict.fromkeys(fields["metrics"]) if metrics is None else dict(metrics)
        fields |= {"trials": trials, "metrics": judged, "embed": embed}
        found = cls(**fields)
        if metrics is None:
            found.__dict__["metric_errors"] = trials.known.metric_errors
        return found

    def to_batch_file(self, path: str | os.PathLike[str]) -> Path:
        """Write all that the sweep asks as a file for ``vllm run-batch`` and others.

        Args:
            path: The file; an existing one is replaced. Its answers, in a file too,
                make a sweep again by ``Sweep.from_batch_file(path, answers)``.

        Raises:
            BadInput: If the sweep was loaded: what it asked is not part of it then.

        Example:
            >>> plan = kimi.sweep("Name a colour.", temperature=[0, 1], dry_run=True)
            >>> plan.to_batch_file("requests.jsonl").read_text().count("custom_id")
            10
        """
        from kimikit.sweeps.batch_files import write_requests

        requests = self.__dict__.get("requests")
        if requests is None:
            raise BadInput(
                "A sweep that was loaded does not know its requests any more.",
                "Plan it again: kimi.sweep(..., dry_run=True).to_batch_file(path).",
            )
        return write_requests(path, requests())

    @classmethod
    def from_batch_file(
        cls,
        requests: str | os.PathLike[str],
        answers: str | os.PathLike[str],
        *,
        metrics: Mapping[str, Metric] | None = None,
        embed: Embed | None = None,
    ) -> Sweep:
        """Return the sweep of a batch that was run elsewhere.

        Args:
            requests: What was asked, as ``to_batch_file`` writes it.
            answers: What came of it: the output of ``vllm run-batch``, or of a host.
            metrics: Judgements of one answer.
            embed: From texts to vectors, for figures of meaning.

        Raises:
            BadInput: If a file cannot be read, or they do not belong together.
        """
        from kimikit.sweeps.batch_files import read_sweep

        found = read_sweep(requests, answers)
        check_metrics(metrics, {*found["axes"], *found["fixed"]})
        return cls(**found, metrics=dict(metrics or {}), embed=embed)

    def __reduce__(self) -> Any:
        """Travel as its values; functions that cannot are left out, scores stay."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        fields["metrics"] = {k: _travelling(v) for k, v in self.metrics.items()}
        fields["embed"] = _travelling(self.embed)
        facts = {"scores": self.scores, "metric_errors": self.metric_errors}
        facts |= {"_asked": self._asked}
        return _arrived, (type(self), fields, facts)

    def __deepcopy__(self, memo: Any) -> Sweep:
        twin = msgspec.structs.replace(self)
        facts = {"scores": self.scores, "metric_errors": self.metric_errors}
        twin.__dict__.update(facts, _asked=self._asked)
        return twin

    def _parts(self) -> tuple[str, Sequence[Table | html.Cell], str]:
        from kimikit.sweeps.views import overview

        return overview(self)


def _travelling(function: Any) -> Any:
    """Return a function that can be pickled, ``None`` for one that cannot."""
    try:
        pickle.dumps(function)
    except Exception:  # each kind of function has its own error
        return None
    return function


def _arrived(kind: type[Sweep], fields: dict[str, Any], facts: dict[str, Any]) -> Sweep:
    sweep = kind(**fields)
    sweep.__dict__.update(facts)
    return sweep
