"""Sum a sweep up: trials grouped by point, measured, and pooled over prompts."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from kimikit.display.footer import total_cost, total_usd
from kimikit.display.progress import slowly
from kimikit.errors import BadInput
from kimikit.sweeps import metrics, settled
from kimikit.sweeps.answers import Answers, Group, text_of
from kimikit.sweeps.figures import SHARES
from kimikit.sweeps.intervals import (
    SHARE,
    Estimate,
    Limits,
    Part,
    mean,
    minus,
    of_shares,
    one_thread,
    pool,
)
from kimikit.sweeps.shares import LEAST, around, in_row, right_price
from kimikit.sweeps.values import Outcome, kept

if TYPE_CHECKING:
    from kimikit.sweeps.on_disk import TrialsOnDisk

Point = tuple[Any, ...]

BLEU_PAIRS = 1500
"""Pairs of a sweep that self-BLEU looks at: sacrebleu takes 0.2 ms for each."""

LEAST_BLEU = 4
"""Answers of a group that it looks at however many groups there are."""

PASS_AT = (2, 5, 10, 100)
"""The k of pass@k: the largest of these that every prompt has answers for."""


@one_thread()
def summarise(
    sweep: Outcome, by: Sequence[str] | str | None = None
) -> list[dict[str, Any]]:
    """Return a row for each setting of the axes ``by``; see ``Sweep.summary``."""
    axes = [axis for axis in sweep.axes if axis != "prompt"] if by is None else by
    axes = [axes] if isinstance(axes, str) else axes
    for axis in axes:
        if axis not in sweep.axes:
            raise BadInput(
                f"{axis!r} is not an axis of this sweep.",
                f"Its axes are {', '.join(sweep.axes) or 'none'}.",
            )
    rows = [dict(row) for row in _rows(sweep, *axes)]
    if sweep.until is not None and by is None:
        _hold(sweep, rows)
    return rows


@kept
def _rows(sweep: Outcome, *axes: str) -> list[dict[str, Any]]:
    """Return the rows of a summary, which are kept: a million answers take 15 s."""
    if sweep.on_disk is None:
        _measure(sweep)
    return [
        dict(zip(axes, point, strict=True))
        | _counts(sweep, some)
        | _pooled(sweep, some)
        for point, some in points(sweep, axes).items()
    ]


def _hold(sweep: Outcome, rows: Sequence[dict[str, Any]]) -> None:
    """Put limits that hold at every look where buying ended by a look at them."""
    found = settled.of_sweep(sweep)
    known = {one.settings: one for one in found.settings}
    for row in rows:
        value = row.get(found.metric)
        one = known.get((settled.setting(row, sweep.axes),))
        if value is not None:
            low, high = (one.low, one.high) if one else SHARE
            ends = value, min(low, value), max(high, value)
            _put(row, found.metric, Estimate(*ends))


def _measure(sweep: Outcome) -> None:
    """Measure all groups, which is kept; a bar is shown where that takes a while."""
    size = common_length(sweep), common_answers(sweep)
    few = len(sweep.axes.get("prompt", ())) < LEAST
    for group in slowly(groups(sweep), "measuring answers", silent=sweep.silent):
        for name, part in measured(sweep, group, *size).items():
            if few:  # its interval will be asked for, and then lets go of all words
                part.limits(bounds(sweep, name))


@one_thread()
def differences(sweep: Outcome, other: Outcome) -> list[dict[str, Any]]:
    """Return ``other`` minus ``sweep`` at each point that both have; see ``diff``."""
    by = [
        axis
        for axis in {**sweep.axes, **other.axes}
        if axis != "prompt" and _labels(sweep, axis) & _labels(other, axis)
    ]
    length = min(common_length(sweep), common_length(other))
    theirs = points(other, by)
    rows = []
    for point, some in points(sweep, by).items():
        row = dict(zip(by, point, strict=True))
        both = [*some, *theirs.get(point, [])]
        size = min((group.count for group in both if group.count), default=0)
        yours = figures(other, theirs.get(point, []), length, size)
        for name, mine in figures(sweep, some, length, size).items():
            gap = minus(yours.get(name, {}), mine, bounds(sweep, name))
            if gap is not None:
                _put(row, name, gap)
                row["prompts"] = len(mine.keys() & yours[name].keys())
                row["n"] = size
        rows += [row] if "prompts" in row else []
    if not rows:
        raise BadInput(
            "The two sweeps have no prompt and point in common.",
            "Compare sweeps of the same prompts, and of at least one same point.",
        )
    return rows


def _labels(sweep: Outcome, axis: str) -> set[Any]:
    """Return the values of an axis, or the one of a parameter that is none."""
    return {group.labels[axis] for group in groups(sweep) if axis in group.labels}


@kept
def groups(sweep: Outcome) -> list[Group]:
    """Return all trials by prompt and point, in the order of the grid.

    Groups that nothing has come of are among them, unless a parameter was left out:
    then not all of the grid was to be asked.
    """
    if sweep.on_disk is not None:
        return _groups_on_disk(sweep, sweep.on_disk)
    grid = itertools.product(*sweep.axes.values())
    split = functools.cache(metrics.words)  # many answers are alike
    found: dict[Point, list[int]] = {} if sweep.pinned else {at: [] for at in grid}
    for place, trial in enumerate(sweep.trials):
        at = tuple(trial.params.get(axis) for axis in sweep.axes)
        found.setdefault(at, []).append(place)
    out = []
    for at, places in found.items():
        labels = {**sweep.fixed, **dict(zip(sweep.axes, at, strict=True))}
        trials = [sweep.trials[place] for place in places]
        replies = [trial.reply for trial in trials if trial.reply is not None]
        both = (trial.reply or trial.partial for trial in trials)
        paid = [reply for reply in both if reply is not None]
        answers = Answers(
            [text_of(reply) for reply in replies],
            [reply.usage.completion_tokens for reply in replies],
            [reply.duration_s for reply in replies],
            [reply.cost for reply in paid],
            split,
        )
        median = float(np.median([len(w) for w in answers.words])) if replies else None
        read = functools.partial(lambda kept: kept, answers)
        cost = total_cost(paid)
        out.append(Group(labels, places, len(replies), median, cost, read))
    return out


def _groups_on_disk(sweep: Outcome, trials: TrialsOnDisk) -> list[Group]:
    """Return the groups of a sweep whose answers are read when they are asked for."""
    out: dict[Point, Group] = {}
    if not sweep.pinned:
        for at in itertools.product(*sweep.axes.values()):
            labels = {**sweep.fixed, **dict(zip(sweep.axes, at, strict=True))}
            out[at] = Group(labels, (), 0, None, Decimal(0), Answers)
    for labels, places, count, length, cost in trials.parts():
        at = tuple(labels.get(axis) for axis in sweep.axes)
        read = functools.partial(trials.answers, places.start, places.stop)
        out[at] = Group(labels, places, count, length, cost, read)
    return list(out.values())


def points(sweep: Outcome, by: Sequence[str]) -> dict[Point, list[Group]]:
    """Return the groups at each setting of the axes ``by``."""
    out: dict[Point, list[Group]] = {}
    for group in groups(sweep):
        out.setdefault(tuple(group.labels.get(axis) for axis in by), []).append(group)
    return out


@kept
def common_length(sweep: Outcome) -> int:
    """Return the words of each answer that wording is measured on.

    It is the smallest of the groups' median lengths: at every setting at least half of
    the answers fill it, and no answer counts for more.
    """
    lengths = [group.length for group in groups(sweep) if group.length is not None]
    return max(1, int(min(lengths, default=1)))


@kept
def common_answers(sweep: Outcome) -> int:
    """Return how many answers the figures are of that depend on how many there are.

    It is the smallest number that any group has, so that no point looks less varied for
    the answers it lacks. Groups too small for an interval do not count.
    """
    counts = [group.count for group in groups(sweep)]
    return min((n for n in counts if n >= LEAST), default=max(counts, default=0))


def figures(
    sweep: Outcome, some: Sequence[Group], length: int, size: int
) -> dict[str, dict[Any, list[Part]]]:
    """Return for each figure and prompt the parts of these groups."""
    out: dict[str, dict[Any, list[Part]]] = {}
    for group in some:
        for name, part in measured(sweep, group, length, size).items():
            prompts = out.setdefault(name, {})
            prompts.setdefault(group.labels.get("prompt"), []).append(part)
    return out


def measured(sweep: Outcome, group: Group, length: int, size: int) -> dict[str, Part]:
    """Return the figures of a group; those of answers in memory are kept there."""
    how = _measured if sweep.on_disk is not None else kept(_measured)
    return how(sweep, group, length, size)


def _measured(sweep: Outcome, group: Group, length: int, size: int) -> dict[str, Part]:
    """Return the figures of a group.

    Args:
        sweep: What it is of.
        group: The group.
        length: Words of each answer that wording is measured on.
        size: Answers that figures are of which depend on how many there are.
    """
    if not group.count:
        return {}
    meaning, answers = vectors(sweep), group.read()
    texts, words = answers.texts, answers.words
    parts = metrics.agreement(texts, size)
    lengths = list(map(len, words))
    if len(texts) > 1:
        shorten = functools.cache(metrics.cut)
        parts |= metrics.variety(
            [  # no more are looked at in letters
                shorten(text, length) if count > length else text
                for text, count in zip(
                    texts[: metrics.PAIR_ANSWERS], lengths, strict=False
                )
            ],
            [some[:length] for some in words] if max(lengths) > length else words,
            np.stack([meaning[text] for text in texts]) if meaning else None,
            max(LEAST_BLEU, math.isqrt(BLEU_PAIRS // len(groups(sweep)))),
            size,
        )
    parts["words"] = mean(lengths)
    parts["tokens"] = mean(answers.tokens)
    parts["seconds"] = mean(answers.seconds)
    for name, scores in sweep.scores.items():
        values = [v for place in group.places if (v := scores[place]) is not None]
        values.sort()
        if values:
            parts[name] = metrics.of_metric(values)
    return parts


@kept
def vectors(sweep: Outcome) -> dict[str, Any]:
    """Return the embedding of each different answer; none if ``embed`` fails."""
    if sweep.embed is None:
        return {}
    texts = sorted({text for group in groups(sweep) for text in group.texts} - {""})
    if not texts:
        return {}
    try:
        rows = np.asarray(sweep.embed(texts), dtype=np.float32)
        known = dict(zip(texts, rows, strict=True))
        return known | {"": np.zeros_like(rows[0])}
    except Exception as error:  # the wording's figures stand without meaning
        said = f"{type(error).__name__}: {error}"
        sweep.metric_errors.setdefault("embed", []).append(said)
        return {}


def _counts(sweep: Outcome, some: Sequence[Group]) -> dict[str, Any]:
    answers = sum(group.count for group in some)
    asked = sum(len(group.places) for group in some)
    return {
        "n": answers,
        "failed": asked - answers,
        "missing": 0 if sweep.pinned else len(some) * sweep.repeats - asked,
        "cost": total_usd([group.cost for group in some]),
    }


def _pooled(sweep: Outcome, some: Sequence[Group]) -> dict[str, Any]:
    """Return each figure over all prompts; for a rate also pass@k and its price."""
    row: dict[str, Any] = {}
    size = common_answers(sweep)
    for name, prompts in figures(sweep, some, common_length(sweep), size).items():
        parts = list(prompts.values())
        _put(row, name, pool(parts, bounds(sweep, name)))
        if name in sweep.scores and all(p.hits is not None for e in parts for p in e):
            _put_pass(row, name, parts)
            _put_price(row, name, sweep.scores[name], some)
    if "distinct_1" in row and "distinct_2" not in row:  # no answer has two words
        row |= in_row("distinct_2", [None] * 3)
    return row


def _put_price(
    row: dict[str, Any], name: str, scores: Sequence[Any], some: Sequence[Group]
) -> None:
    """Add what a right answer costs; all count that were asked for and paid."""
    prompts: dict[Any, list[Group]] = {}
    for group in some:
        if group.places:
            prompts.setdefault(group.labels.get("prompt"), []).append(group)
    costs: list[Decimal | None] = []
    hits, means, shares = 0, [], []
    for own in prompts.values():
        places = [place for group in own for place in group.places]
        paid = [cost for group in own for cost in group.read().paid]
        right = sum(scores[place] is True for place in places)
        # What failed before it gave anything took nothing that is known of.
        costs += [*paid, *[Decimal(0)] * (len(places) - len(paid))]
        hits += right
        shares.append(right / len(places))
        means.append(float(sum(cost or 0 for cost in paid)) / len(places))
    share = mean_cost = None
    if len(shares) >= LEAST:
        share = of_shares(np.array(shares), len(costs))
        mean_cost = around(means, positive=True)
    row |= in_row(f"{name}_usd", right_price(costs, hits, share, mean_cost))


def _put_pass(
    row: dict[str, Any], name: str, prompts: Sequence[Sequence[Part]]
) -> None:
    """Add pass@k.

    It is the mean of each prompt's estimate, and its interval is of the same: of one
    or two prompts it follows from their rates, of more from how prompts differ, as k
    answers to one prompt are alike and so fewer than k chances.
    """
    least = min(part.n for parts in prompts for part in parts)
    for k in [k for k in PASS_AT if k <= least][-1:]:
        found = [[metrics.pass_at(k, part) for part in parts] for parts in prompts]
        _put(row, f"{name}_pass@{k}", pool(found))


@kept
def bounds(sweep: Outcome, name: str) -> Limits:
    """Return what a figure cannot leave."""
    if name in SHARES:
        return SHARE
    if name not in sweep.scores:
        return 0.0, math.inf
    values = [value for value in sweep.scores[name] if value is not None]
    return SHARE if all(isinstance(v, bool) for v in values) else (-math.inf, math.inf)


def _put(row: dict[str, Any], name: str, estimate: Estimate) -> None:
    row |= in_row(name, (estimate.value, estimate.low, estimate.high))
