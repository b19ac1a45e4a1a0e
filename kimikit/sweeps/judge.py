"""Ask the user's metrics about each answer once, and keep what they said.

A metric may be another model that is paid for. So answers are judged as they arrive, in
the user's own thread, where Stop ends a judgement and loses none of the others.
"""

from __future__ import annotations

import inspect
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from kimikit.display.progress import slowly
from kimikit.errors import BadInput
from kimikit.sweeps.trial import Metric, Trial

Score = float | bool | None

MOST_FIGURE = 1e100
"""Above it a variance, of squares and their sums, would not be a number any more."""


class Judge:
    """Asks metrics about trials.

    Args:
        metrics: By name; ``None`` for one whose values were saved without it.
        errors: Where to note what a metric raised, by its name.

    Attributes:
        waiting: Trials that have arrived and are not judged yet.
        judged: How many trials are.
        errors: What metrics raised, by their names.
        names: Names of the metrics.
    """

    def __init__(
        self, metrics: Mapping[str, Metric | None], errors: dict[str, list[str]]
    ) -> None:
        self.waiting: deque[Trial] = deque()
        self.judged = 0
        self.errors = errors
        self._metrics = {
            name: None if metric is None else callable_with_both(name, metric)
            for name, metric in metrics.items()
        }
        self.names = tuple(metrics)
        self._said: dict[int, dict[str, Score]] = {}

    def judge_for(self, seconds: float, then: Callable[[Trial], None]) -> None:
        """Judge trials that wait, and go on no longer than so many seconds.

        Args:
            seconds: How long.
            then: Told of each that is judged.
        """
        end = time.monotonic() + seconds
        while self.waiting:
            self.judge(self.waiting[0])
            then(self.waiting.popleft())
            if time.monotonic() > end:
                return

    def judge(self, trial: Trial) -> dict[str, Score]:
        """Return what each metric says of a trial, asking those that have not yet."""
        said = self._said.setdefault(id(trial), {})
        if len(said) < len(self._metrics):
            for name in self._metrics.keys() - said.keys():
                said[name] = self._score(name, trial)
            self.judged += 1
        return said

    def all(
        self, trials: Sequence[Trial], *, silent: bool = False
    ) -> dict[str, list[Score]]:
        """Return for each metric its value of each trial; a bar shows long work."""
        if self._metrics:
            for trial in slowly(trials, "judging answers", silent=silent):
                self.judge(trial)
        return {
            name: _of_one_kind([self._said[id(trial)][name] for trial in trials])
            for name in self._metrics
        }

    def each(self, trials: Iterable[Trial]) -> dict[str, list[Score]]:
        """Return the same of trials that are read one after another, and keep none."""
        said: dict[str, list[Score]] = {name: [] for name in self._metrics}
        for trial in trials:
            for name, values in said.items():
                values.append(self._score(name, trial))
        return {name: _of_one_kind(values) for name, values in said.items()}

    def take(self, trial: Trial) -> dict[str, Score]:
        """Return what was said of a trial, which is asked about no more."""
        return self._said.pop(id(trial), {})

    def _score(self, name: str, trial: Trial) -> Score:
        metric = self._metrics[name]
        if trial.reply is None or metric is None:
            return None
        try:
            return as_score(metric(trial.reply, trial.params))
        except Exception as error:  # a user's code: one bad answer must not end it all
            said = f"{type(error).__name__}: {error}"
            self.errors.setdefault(name, []).append(sys.intern(said))  # most are alike
            return None


def _of_one_kind(scores: list[Score]) -> list[Score]:
    """Return scores as figures, unless all of them are true or false."""
    if all(score is None or isinstance(score, bool) for score in scores):
        return scores
    return [None if score is None else float(score) for score in scores]


def as_score(value: Any) -> Score:
    """Return what a user's function said of an answer.

    Raises:
        ValueError: If it is neither true, false, ``None`` nor a number.
        TypeError: Likewise.
    """
    value = value.item() if hasattr(value, "item") else value  # numpy's own
    if value is None or isinstance(value, bool):
        return value
    figure = float(value)
    if not abs(figure) <= MOST_FIGURE:
        huge = f": give one of {MOST_FIGURE} at most" if math.isfinite(figure) else ""
        raise ValueError(f"{figure} is no figure{huge}")
    return figure


def callable_with_both(
    name: str, metric: Metric, place: str = "params"
) -> Callable[[Any, Any], Any]:
    """Return a metric as a function of a reply and what else is known of it.

    It is given that if it has a second place for it that must be filled or has its
    name, by default ``params``; other options of it keep their defaults.

    Raises:
        BadInput: If it can be called with neither, or is to be awaited.
    """
    if inspect.iscoroutinefunction(metric):
        raise BadInput(
            f"metrics[{name!r}] is async, so that its answer would never be awaited.",
            "Give a plain function, which may call asyncio.run(...).",
        )
    try:
        signature = inspect.signature(metric)
    except (ValueError, TypeError):  # some built-in functions do not tell
        return lambda reply, _: metric(reply)
    places = [
        each
        for each in signature.parameters.values()
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    second = places[1] if len(places) > 1 else None
    wanted = second is not None and second.default is second.empty
    if wanted or (second is not None and second.name == place):
        if _takes(signature, None, None):
            return metric
    elif _takes(signature, None):
        return lambda reply, _: metric(reply)
    elif _takes(signature, None, **{place: None}):
        return lambda reply, known: metric(reply, **{place: known})
    raise BadInput(
        f"metrics[{name!r}] cannot be called with a reply, nor with a reply and "
        f"{place}: it takes {signature}.",
        f"Give fn(reply) or fn(reply, {place}); functools.partial fills in the rest.",
    )


def _takes(signature: inspect.Signature, *given: None, **named: None) -> bool:
    try:
        signature.bind(*given, **named)
    except TypeError:
        return False
    return True
