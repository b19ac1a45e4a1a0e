"""Did temperature change anything, and which one would we take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from kimikit.sweeps import summary
from kimikit.sweeps.intervals import (
    Array,
    Estimate,
    Prompts,
    minus,
    one_thread,
    pool,
)
from kimikit.sweeps.metrics import lexical
from kimikit.sweeps.values import Outcome, kept

SHUFFLES = 1999
"""Permutations; the smallest p is one in 2,000."""

BATCH = 100
"""Permutations that go through one matrix product."""

LEVEL = 0.05
"""A p below this counts as a change."""

MOST = 300
"""Answers that the test looks at, the first ones of each point."""


class Verdict(msgspec.Struct, frozen=True):
    """What a sweep says about temperature; ``str`` of it is a sentence.

    Attributes:
        changed: Whether the answers changed with temperature; ``None`` if untested.
        p: Chance of a trend this strong if temperature did nothing.
        low: Lowest temperature asked.
        high: Highest.
        n: Answers the test looked at.
        gain: Diversity at the highest temperature minus at the lowest.
        noise_floor: Share of pairs equal to the letter at the lowest temperature.
        sentence: All of this in words.
        parts: One verdict for each host and model, where there are several.
    """

    changed: bool | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    gain: Estimate | None = None
    noise_floor: float | None = None
    sentence: str = ""
    parts: tuple[Verdict, ...] = ()

    def __str__(self) -> str:
        return self.sentence


Stratum = dict[float, summary.Group]
"""For each temperature its answers, all else equal."""


@kept
@one_thread()
def verdict(sweep: Outcome) -> Verdict:
    """Return the verdict of a sweep, one part for each host and model."""
    if len(sweep.axes.get("temperature", ())) < 2 and not sweep.pinned:
        return Verdict(sentence="Temperature was not swept.")
    hosts: dict[summary.Point, dict[summary.Point, Stratum]] = {}
    for group in summary.groups(sweep):
        host = tuple(group.labels[a] for a in ("host", "model") if a in sweep.axes)
        rest = tuple(group.labels[a] for a in sweep.axes if a != "temperature")
        stratum = hosts.setdefault(host, {}).setdefault(rest, {})
        temperature = group.labels.get("temperature")
        if temperature is not None and len(group.texts) >= 2:
            stratum[float(temperature)] = group
    parts = []
    for host, strata in hosts.items() or [((), {})]:
        start = f"On {' '.join(map(str, host))}, " if host else ""
        part = _judge(sweep, [s for s in strata.values() if len(s) >= 2])
        said = start + part.sentence
        said = said[:1].upper() + said[1:]
        parts.append(msgspec.structs.replace(part, sentence=said))
    if len(parts) == 1:
        return parts[0]
    changed = {part.changed for part in parts}
    agreed = changed.pop() if len(changed) == 1 else None
    sentence = " ".join(part.sentence for part in parts)
    return Verdict(changed=agreed, sentence=sentence, parts=tuple(parts))


def _judge(sweep: Outcome, strata: Sequence[Stratum]) -> Verdict:
    """Return the verdict on strata of two temperatures or more."""
    if not strata:
        why = "temperature could not be tested: it needs two answers at two values."
        return Verdict(sentence=why)
    low, high = min(map(min, strata)), max(map(max, strata))
    most = max(2, MOST // sum(map(len, strata)))
    length = summary.common_length(sweep)
    p, n = permutation_test(
        [{t: group.texts[:most] for t, group in sorted(s.items())} for s in strata]
    )

    def at(end: float, name: str) -> Prompts:
        return {
            place: [summary.measured(sweep, stratum[end], length)[name]]
            for place, stratum in enumerate(strata)
            if end in stratum
        }

    gain = minus(at(high, "diversity"), at(low, "diversity"), (0.0, 1.0))
    floor = pool(list(at(low, "exact_match").values())).value
    chance = f"p {'<' if p <= 0.001 else '='} {max(p, 0.001):.2g}, n = {n}"
    if p < LEVEL:
        what = f"temperature changed how varied the answers are ({chance})"
    else:
        what = (
            f"no change with temperature was seen ({chance}): the answers at {low:g} "
            f"and {high:g} may come from one distribution, so the host may ignore it, "
            "or the prompt leaves no choice, or n is too small"
        )
    if gain is not None and gain.low is not None:
        ends_of = f"[{gain.low:+z.2f}, {gain.high:+z.2f}]"
        what += f"; diversity {gain.value:+z.2f} {ends_of} from {low:g} to {high:g}"
    said = f"{what}; at {low:g}, {floor:.0%} of pairs were equal to the letter."
    return Verdict(p < LEVEL, p, low, high, n, gain, floor, said)


def permutation_test(
    strata: Sequence[Mapping[float, Sequence[str]]], *, seed: int = 0
) -> tuple[float, int]:
    """Test whether the spread of answers goes with temperature.

    The statistic is the covariance of temperature with the mean lexical distance
    between answers of one temperature, all temperatures taking part: what a rising
    temperature promises. Labels are shuffled within strata (prompts and other
    parameters alike), so the test is exact whatever the answers look like (Phipson
    and Smyth 2010 for the added one). In simulation with 8 answers at each of five
    temperatures it finds a change twice as often as comparing the two ends alone.

    Args:
        strata: For each temperature its answers, all else equal.
        seed: Of the shuffles.

    Returns:
        The two-sided p and the number of answers.
    """
    rng = np.random.default_rng(seed)
    total, shuffled, n = 0.0, np.zeros(SHUFFLES), 0
    for stratum in strata:
        texts = [text for some in stratum.values() for text in some]
        groups = np.repeat(np.arange(len(stratum)), [*map(len, stratum.values())])
        distance = 1.0 - lexical(texts)
        np.fill_diagonal(distance, 0.0)
        sizes = np.bincount(groups)
        slope = np.array([*stratum])
        weight = (slope - slope.mean()) / (sizes * (sizes - 1))
        orders = np.array([rng.permutation(groups) for _ in range(SHUFFLES)])
        total += float(_within(distance, groups[None, :], weight)[0])
        for first in range(0, SHUFFLES, BATCH):
            some = slice(first, first + BATCH)
            shuffled[some] += _within(distance, orders[some], weight)
        n += len(texts)
    extreme = int((np.abs(shuffled) >= abs(total) - 1e-6).sum())
    return (1 + extreme) / (1 + SHUFFLES), n


def _within(distance: Array, orders: Array, weight: Array) -> Array:
    """Return the weighted sum of distances within groups, for each order of labels."""
    member = (orders[:, :, None] == np.arange(len(weight))).astype(np.float32)
    batch, n, groups = member.shape
    flat = member.transpose(1, 0, 2).reshape(n, batch * groups)
    sums = ((distance @ flat) * flat).sum(axis=0)
    return np.asarray(sums.reshape(batch, groups) @ weight)


class Recommendation(msgspec.Struct, frozen=True):
    """A temperature to take and the reason, or why there is none.

    Attributes:
        temperature: The value, or ``None``.
        reason: A sentence.
    """

    temperature: float | None
    reason: str

    def __str__(self) -> str:
        return self.reason


@kept
def recommend(sweep: Outcome) -> Recommendation:
    """Return the temperature to take, as far as the sweep can say.

    Diversity alone has no best value. With a metric, it is the most varied of the
    temperatures whose difference from the best, paired by prompt, has an interval
    that holds 0; without one, it is the value the model's maker gives, if it lies
    within the sweep.
    """
    values = [v for v in sweep.axes.get("temperature", ()) if v is not None]
    if len(values) < 2 or sweep.pinned:
        return Recommendation(None, "Temperature was not swept.")
    rows = {row["temperature"]: row for row in summary.summarise(sweep, "temperature")}
    length = summary.common_length(sweep)
    parts = {
        temperature: summary.figures(sweep, some, length)
        for (temperature,), some in summary.points(sweep, ["temperature"]).items()
    }
    for name in sweep.metrics:
        scored = [t for t in values if rows[t].get(f"{name}_low") is not None]
        if not scored:
            continue
        best = max(scored, key=lambda t: float(rows[t][name]))
        level = [t for t in scored if not _beats(parts[best][name], parts[t][name])]
        taken = max(level, key=lambda t: float(rows[t].get("diversity") or 0.0))
        return Recommendation(
            taken,
            f"{taken:g}: the most varied answers among the temperatures "
            f"whose {name} cannot be told from the best (at {best:g}).",
        )
    made = sweep.maker_temperature
    if made is not None and min(values) <= made <= max(values):
        return Recommendation(
            made,
            f"{made:g}: the value the model's maker gives; without metrics= a sweep "
            "cannot say what is better.",
        )
    return Recommendation(
        None, "No recommendation: more varied is not better. Give metrics= to have one."
    )


def _beats(mine: Prompts, yours: Prompts) -> bool:
    """Tell whether a metric is higher on the same prompts, beyond chance."""
    gap = minus(mine, yours, (-math.inf, math.inf))
    return gap is not None and (gap.value if gap.low is None else gap.low) > 0
