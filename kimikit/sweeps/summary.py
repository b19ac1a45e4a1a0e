"""The rows of a summary: trials grouped by point, measured, and pooled over prompts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgspec
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
from kimikit.sweeps.values import Outcome, kept, total_cost
from kimikit.types import Reply

Point = tuple[Any, ...]

BLEU_PAIRS = 1500
"""Pairs of a sweep that self-BLEU looks at: sacrebleu takes 0.2 ms for each."""

LEAST_BLEU = 4
"""Answers of a group that it looks at however many groups there are."""

PASS_AT = (2, 5, 10, 100)
"""The k of pass@k: the largest of these that every prompt has answers for."""

SHARES = {
    "unique_share", "agreement", "exact_match", "distinct_1", "distinct_2",
    "self_bleu", "similarity", "diversity", "semantic_similarity",
}  # fmt: skip
"""Figures from 0 to 1; the others of ours are at least 0."""


class Group(msgspec.Struct, frozen=True, eq=False):
    """The trials of one prompt at one point.

    Attributes:
        labels: All parameters they were asked with.
        places: Where they stand in the sweep.
        replies: The answers among them.
        texts: The texts of these.
        words: Each of these in words.
    """

    labels: dict[str, Any]
    places: list[int]
    replies: list[Reply]
    texts: list[str]
    words: list[list[str]]


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
    return [
        dict(zip(axes, point, strict=True))
        | _counts(sweep, some)
        | _pooled(sweep, some)
        for point, some in points(sweep, axes).items()
    ]


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
        yours = figures(other, theirs.get(point, []), length)
        for name, mine in figures(sweep, some, length).items():
            gap = minus(yours.get(name, {}), mine, _bounds(sweep, name))
            if gap is not None:
                _put(row, name, gap)
                row["prompts"] = len(mine.keys() & yours[name].keys())
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
    grid = itertools.product(*sweep.axes.values())
    found: dict[Point, list[int]] = {} if sweep.pinned else {at: [] for at in grid}
    for place, trial in enumerate(sweep.trials):
        at = tuple(trial.params.get(axis) for axis in sweep.axes)
        found.setdefault(at, []).append(place)
    out = []
    for at, places in found.items():
        labels = {**sweep.fixed, **dict(zip(sweep.axes, at, strict=True))}
        tried = [sweep.trials[place].reply for place in places]
        replies = [reply for reply in tried if reply is not None]
        texts = [metrics.text_of(reply) for reply in replies]
        words = [metrics.words(text) for text in texts]
        out.append(Group(labels, places, replies, texts, words))
    return out


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
    lengths = [[len(words) for words in group.words] for group in groups(sweep)]
    return max(1, int(min((np.median(some) for some in lengths if some), default=1)))


def figures(
    sweep: Outcome, some: Sequence[Group], length: int
) -> dict[str, dict[Any, list[Part]]]:
    """Return for each figure and prompt the parts of these groups."""
    out: dict[str, dict[Any, list[Part]]] = {}
    for group in some:
        for name, part in measured(sweep, group, length).items():
            prompts = out.setdefault(name, {})
            prompts.setdefault(group.labels.get("prompt"), []).append(part)
    return out


@kept
def measured(sweep: Outcome, group: Group, length: int) -> dict[str, Part]:
    """Return the figures of a group, wording measured on so many words an answer."""
    texts, meaning = group.texts, vectors(sweep)
    if not texts:
        return {}
    parts = metrics.agreement(texts)
    if len(texts) > 1:
        parts |= metrics.variety(
            [metrics.cut(text, length) for text in texts],
            [words[:length] for words in group.words],
            np.stack([meaning[text] for text in texts]) if meaning else None,
            max(LEAST_BLEU, math.isqrt(BLEU_PAIRS // len(groups(sweep)))),
        )
    parts["words"] = mean([len(words) for words in group.words])
    parts["tokens"] = mean([r.usage.completion_tokens for r in group.replies])
    parts["seconds"] = mean([reply.duration_s for reply in group.replies])
    for name, scores in sweep.scores.items():
        values = [v for place in group.places if (v := scores[place]) is not None]
        if values:
            parts[name] = metrics.of_metric(values)
    return parts


@kept
def vectors(sweep: Outcome) -> dict[str, Any]:
    """Return the embedding of each different answer; none if ``embed`` fails."""
    texts = sorted({text for group in groups(sweep) for text in group.texts} - {""})
    if sweep.embed is None or not texts:
        return {}
    try:
        rows = np.asarray(sweep.embed(texts), dtype=np.float32)
        known = dict(zip(texts, rows, strict=True))
        return known | {"": np.zeros_like(rows[0])}
    except Exception as error:  # the wording's figures stand without meaning
        sweep.blame("embed", error)
        return {}


def _counts(sweep: Outcome, some: Sequence[Group]) -> dict[str, Any]:
    replies = [reply for group in some for reply in group.replies]
    asked = sum(len(group.places) for group in some)
    return {
        "n": len(replies),
        "failed": asked - len(replies),
        "missing": 0 if sweep.pinned else len(some) * sweep.repeats - asked,
        "cost": total_cost(replies),
    }


def _pooled(sweep: Outcome, some: Sequence[Group]) -> dict[str, Any]:
    """Return each figure over all prompts; for a rate also pass@k and its price."""
    row: dict[str, Any] = {}
    replies = [reply for group in some for reply in group.replies]
    priced = all(reply.cost is not None for reply in replies)
    for name, prompts in figures(sweep, some, common_length(sweep)).items():
        parts = list(prompts.values())
        _put(row, name, pool(parts, _bounds(sweep, name)))
        hits = [part.hits for each in parts for part in each if part.hits is not None]
        if name in sweep.scores and len(hits) == sum(map(len, parts)):
            _put_pass(row, name, parts)
            cost, right = total_cost(replies), int(sum(hits))
            known = priced and right
            row[f"{name}_usd"] = cost / right if cost is not None and known else None
    return row


def _put_pass(
    row: dict[str, Any], name: str, prompts: Sequence[Sequence[Part]]
) -> None:
    """Add pass@k.

    Of one or two prompts its interval follows from that of the rate. Of more it is
    that of a rate over prompts: answers to one prompt are alike, so k of them are
    fewer than k chances.
    """
    least = min(part.n for parts in prompts for part in parts)
    for k in [k for k in PASS_AT if k <= least][-1:]:
        found = pool(
            [[metrics.pass_at(k, part) for part in parts] for parts in prompts]
        )
        if len(prompts) < LEAST:
            ends = [row[f"{name}_low"], row[f"{name}_high"]]
            low, high = (None if end is None else 1 - (1 - end) ** k for end in ends)
            found = Estimate(found.value, low, high)
        _put(row, f"{name}_pass@{k}", found)


def _bounds(sweep: Outcome, name: str) -> tuple[float, float]:
    if name in SHARES:
        return 0.0, 1.0
    return (-math.inf if name in sweep.scores else 0.0), math.inf


def _put(row: dict[str, Any], name: str, estimate: Estimate) -> None:
    row[name] = estimate.value
    row[f"{name}_low"], row[f"{name}_high"] = estimate.low, estimate.high
