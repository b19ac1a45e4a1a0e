"""The rows of a summary: trials grouped by point, measured, and pooled over prompts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from kimikit.errors import BadInput
from kimikit.sweeps import metrics
from kimikit.sweeps.intervals import (
    LEAST,
    Estimate,
    Part,
    mean,
    minus,
    one_thread,
    pool,
)
from kimikit.sweeps.values import Outcome, kept
from kimikit.types import Reply

BLEU_PAIRS = 1500
"""Pairs of a sweep that self-BLEU looks at: sacrebleu takes 0.2 ms for each."""

LEAST_PAIRS = 12
"""Pairs of a cell that it looks at however many cells there are."""

PASS_AT = (2, 5, 10, 100)
"""The k of pass@k: the largest of these that every prompt has answers for."""

SHARES = {
    "unique_share", "agreement", "exact_match", "distinct_1", "distinct_2",
    "self_bleu", "similarity", "diversity", "semantic_similarity",
}  # fmt: skip
"""Figures from 0 to 1; the others of ours are at least 0."""

Point = tuple[Any, ...]
Prompts = dict[Any, list[Part]]
"""For each prompt the parts of one figure."""


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
    return [dict(row) for row in _rows(sweep, tuple(axes))]


@kept
@one_thread()
def _rows(sweep: Outcome, by: tuple[str, ...]) -> list[dict[str, Any]]:
    figures = _figures(sweep, by, common_length(sweep))
    trials = _grouped(sweep, by)
    if not sweep.pinned:  # points that nothing has come of are rows too
        points = itertools.product(*(sweep.axes[axis] for axis in by))
        trials = {point: [] for point in points} | trials
    return [
        dict(zip(by, point, strict=True))
        | _counts(sweep, by, trials[point])
        | _pooled(sweep, figures.get(point, {}), trials[point])
        for point in sorted(trials, key=lambda point: _order(sweep, by, point))
    ]


@one_thread()
def differences(sweep: Outcome, other: Outcome) -> list[dict[str, Any]]:
    """Return ``other`` minus ``sweep`` at each point that both have; see ``diff``."""
    by = tuple(
        axis
        for axis in {**sweep.axes, **other.axes}
        if axis != "prompt" and _labels(sweep, axis) & _labels(other, axis)
    )
    length = min(common_length(sweep), common_length(other))
    ours, theirs = (_figures(each, by, length) for each in (sweep, other))
    rows = []
    for point in (point for point in ours if point in theirs):
        row = dict(zip(by, point, strict=True))
        for name in (name for name in ours[point] if name in theirs[point]):
            mine, yours = ours[point][name], theirs[point][name]
            shared = [prompt for prompt in mine if prompt in yours]
            if shared:
                a, b = [mine[p] for p in shared], [yours[p] for p in shared]
                _put(row, name, minus(b, a, _bounds(sweep, name)))
                row["prompts"] = len(shared)
        rows += [row] if "prompts" in row else []
    if not rows:
        raise BadInput(
            "The two sweeps have no prompt and point in common.",
            "Compare sweeps of the same prompts, and of at least one same point.",
        )
    return rows


def _labels(sweep: Outcome, axis: str) -> set[Any]:
    """Return the values of an axis, or the one of a parameter that is none."""
    fixed = (sweep.fixed[axis],) if axis in sweep.fixed else ()
    return set(sweep.axes.get(axis, fixed))


@kept
def common_length(sweep: Outcome) -> int:
    """Return the words of each answer that wording is measured on.

    It is the smallest of the cells' median lengths: at every setting at least half of
    the answers fill it, and no answer counts for more.
    """
    words = split(sweep)
    lengths = [
        [len(words[metrics.text_of(reply)]) for reply in _replies(sweep, places)]
        for places in _grouped(sweep, tuple(sweep.axes)).values()
    ]
    return max(1, int(min((np.median(some) for some in lengths if some), default=1)))


def _replies(sweep: Outcome, places: Sequence[int]) -> list[Reply]:
    found = (sweep.trials[place].reply for place in places)
    return [reply for reply in found if reply is not None]


def _grouped(sweep: Outcome, by: Sequence[str]) -> dict[Point, list[int]]:
    """Return the places of the trials at each setting of the axes ``by``."""
    groups: dict[Point, list[int]] = {}
    for place, trial in enumerate(sweep.trials):
        point = tuple(trial.params.get(axis) for axis in by)
        groups.setdefault(point, []).append(place)
    return groups


def _order(sweep: Outcome, by: Sequence[str], point: Point) -> list[int]:
    """Return where a point stands in the grid; an omitted parameter comes last."""
    axes = (list(sweep.axes[axis]) for axis in by)
    return [
        axis.index(value) if value in axis else len(axis)
        for axis, value in zip(axes, point, strict=True)
    ]


def _figures(
    sweep: Outcome, by: tuple[str, ...], length: int
) -> dict[Point, dict[str, Prompts]]:
    """Measure every cell, and sort its figures by point and prompt."""
    cells = _grouped(sweep, tuple(sweep.axes))
    pairs = max(LEAST_PAIRS, BLEU_PAIRS // max(len(cells), 1))
    out: dict[Point, dict[str, Prompts]] = {}
    for cell, places in cells.items():
        labels = {**sweep.fixed, **dict(zip(sweep.axes, cell, strict=True))}
        figures = out.setdefault(tuple(labels[axis] for axis in by), {})
        prompt = labels.get("prompt")
        for name, part in _measure(sweep, places, length, pairs).items():
            figures.setdefault(name, {}).setdefault(prompt, []).append(part)
    return out


def _answers(
    sweep: Outcome, replies: Sequence[Reply], length: int, pairs: int
) -> metrics.Answers:
    """Return what is measured of these answers."""
    meaning, words = vectors(sweep), split(sweep)
    texts = [metrics.text_of(reply) for reply in replies]
    return metrics.Answers(
        texts,
        [
            metrics.cut(text, length) if len(words[text]) > length else text
            for text in texts
        ],
        [words[text][:length] for text in texts],
        np.stack([meaning[text] for text in texts]) if meaning else None,
        pairs,
        sweep.seed,
    )


def diversity(sweep: Outcome, places: Sequence[int]) -> Part:
    """Return the diversity of the answers at these places alone."""
    replies = _replies(sweep, places)
    return metrics.diversity(_answers(sweep, replies, common_length(sweep), 0))


def _measure(
    sweep: Outcome, places: Sequence[int], length: int, pairs: int
) -> dict[str, Part]:
    replies = _replies(sweep, places)
    if not replies:
        return {}
    answers = _answers(sweep, replies, length, pairs)
    parts = metrics.measure(answers)
    words = split(sweep)
    parts["words"] = mean([len(words[text]) for text in answers.texts])
    parts["tokens"] = mean([reply.usage.completion_tokens for reply in replies])
    parts["seconds"] = mean([reply.duration_s for reply in replies])
    for name, scores in sweep.scores.items():
        values = [v for place in places if (v := scores[place]) is not None]
        if values:
            parts[name] = metrics.of_metric(values)
    return parts


@kept
def split(sweep: Outcome) -> dict[str, list[str]]:
    """Return the words of each different answer."""
    texts = {metrics.text_of(reply) for reply in sweep.replies}
    return {text: metrics.words(text) for text in texts}


@kept
def vectors(sweep: Outcome) -> dict[str, Any]:
    """Return the embedding of each different answer; none if ``embed`` fails."""
    texts = sorted({metrics.text_of(reply) for reply in sweep.replies} - {""})
    if sweep.embed is None or not texts:
        return {}
    try:
        rows = np.asarray(sweep.embed(texts), dtype=np.float32)
        known = dict(zip(texts, rows, strict=True))
        return known | {"": np.zeros_like(rows[0])}
    except Exception as error:  # the wording's figures stand without meaning
        kind = f"{type(error).__name__}: {error}"
        sweep.metric_errors.setdefault("embed", []).append(kind)
        return {}


def _counts(sweep: Outcome, by: Sequence[str], places: Sequence[int]) -> dict[str, Any]:
    replies = _replies(sweep, places)
    costs = [reply.cost for reply in replies if reply.cost is not None]
    others = math.prod(len(sweep.axes[axis]) for axis in sweep.axes if axis not in by)
    planned = len(places) if sweep.pinned else others * sweep.repeats
    return {
        "n": len(replies),
        "failed": len(places) - len(replies),
        "missing": planned - len(places),
        "cost": sum(costs, Decimal(0)) if costs else None,
    }


def _pooled(
    sweep: Outcome, figures: dict[str, Prompts], places: Sequence[int]
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, prompts in figures.items():
        _put(row, name, pool(list(prompts.values()), _bounds(sweep, name)))
    for name in sweep.scores.keys() & figures.keys():
        parts = [part for some in figures[name].values() for part in some]
        if all(part.hits is not None for part in parts):
            _put_right(row, name, list(figures[name].values()))
            right = sum(part.hits or 0 for part in parts)
            costs = [reply.cost for reply in _replies(sweep, places)]
            paid = [cost for cost in costs if cost is not None]
            known = right and paid and len(paid) == len(costs)
            row[f"{name}_usd"] = sum(paid) / Decimal(right) if known else None
    return row


def _put_right(
    row: dict[str, Any], name: str, prompts: Sequence[Sequence[Part]]
) -> None:
    """Add pass@k.

    Of one or two prompts its interval follows from that of the rate. Of more it is
    that of a rate over prompts: answers to one prompt are alike, so k of them are
    fewer than k chances.
    """
    least = min(part.n for parts in prompts for part in parts)
    for k in [k for k in PASS_AT if k <= least][-1:]:
        passes = [[_pass(k, part) for part in parts] for parts in prompts]
        found = pool(passes)
        if len(prompts) < LEAST:
            ends = [row[f"{name}_low"], row[f"{name}_high"]]
            low, high = (None if end is None else 1 - (1 - end) ** k for end in ends)
            found = Estimate(found.value, low, high)
        _put(row, f"{name}_pass@{k}", found)


def _pass(k: int, part: Part) -> Part:
    chance = metrics.pass_at(k, int(part.hits or 0), part.n)
    return Part(chance, part.n, hits=chance * part.n)


def _bounds(sweep: Outcome, name: str) -> tuple[float, float]:
    if name in SHARES:
        return 0.0, 1.0
    return (-math.inf if name in sweep.scores else 0.0), math.inf


def _put(row: dict[str, Any], name: str, estimate: Estimate) -> None:
    row[name] = estimate.value
    row[f"{name}_low"], row[f"{name}_high"] = estimate.low, estimate.high
