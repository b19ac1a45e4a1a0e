"""Did temperature change anything, and which one would we take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from kimikit.sweeps.intervals import Array, Estimate, Part, minus, one_thread
from kimikit.sweeps.metrics import codes, lexical, of_metric, text_of
from kimikit.sweeps.summary import diversity, summarise
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


Stratum = Sequence[tuple[float, Sequence[str]]]
"""For each temperature its answers, all else equal."""

Places = dict[float, list[int]]
"""For each temperature where its answers stand among the trials, all else equal."""


@kept
@one_thread()
def verdict(sweep: Outcome) -> Verdict:
    """Return the verdict of a sweep, one part for each host and model."""
    if len(sweep.axes.get("temperature", ())) < 2 and not sweep.pinned:
        return Verdict(sentence="Temperature was not swept.")
    hosts: dict[tuple[Any, ...], dict[tuple[Any, ...], Places]] = {}
    for place, trial in enumerate(sweep.trials):
        params, temperature = trial.params, trial.params.get("temperature")
        host = tuple(params[a] for a in ("host", "model") if a in sweep.axes)
        rest = tuple(params[a] for a in sweep.axes if a != "temperature")
        stratum = hosts.setdefault(host, {}).setdefault(rest, {})
        if temperature is not None and trial.reply is not None:
            stratum.setdefault(float(temperature), []).append(place)
    parts = []
    for host, strata in sorted(hosts.items(), key=repr) or [((), {})]:
        start = f"On {' '.join(str(each) for each in host)}, " if host else ""
        part = _judge(sweep, [dict(sorted(s.items())) for s in strata.values()])
        said = start + part.sentence
        said = said[:1].upper() + said[1:]
        parts.append(msgspec.structs.replace(part, sentence=said))
    if len(parts) == 1:
        return parts[0]
    changed = {part.changed for part in parts}
    agreed = changed.pop() if len(changed) == 1 else None
    sentence = " ".join(part.sentence for part in parts)
    return Verdict(changed=agreed, sentence=sentence, parts=tuple(parts))


def _judge(sweep: Outcome, strata: Sequence[Places]) -> Verdict:
    usable = [{t: p for t, p in s.items() if len(p) >= 2} for s in strata]
    usable = [stratum for stratum in usable if len(stratum) >= 2]
    if not usable:
        why = "temperature could not be tested: it needs two answers at two values."
        return Verdict(sentence=why)
    low, high = min(min(s) for s in usable), max(max(s) for s in usable)
    most = max(2, MOST // sum(len(stratum) for stratum in usable))
    texts = [
        [(t, [_text(sweep, p) for p in places[:most]]) for t, places in s.items()]
        for s in usable
    ]
    p, n = permutation_test(texts)
    ends = [s for s in usable if low in s and high in s]
    gain = None
    if ends:
        above = [[diversity(sweep, s[high])] for s in ends]
        gain = minus(above, [[diversity(sweep, s[low])] for s in ends], (0.0, 1.0))
    floor = _equal_pairs(texts, low)
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


def _text(sweep: Outcome, place: int) -> str:
    reply = sweep.trials[place].reply
    return text_of(reply) if reply is not None else ""


def permutation_test(strata: Sequence[Stratum], *, seed: int = 0) -> tuple[float, int]:
    """Test whether the spread of answers goes with temperature.

    The statistic is the covariance of temperature with the mean lexical distance
    between answers of one temperature, all temperatures taking part: what a rising
    temperature promises. Labels are shuffled within strata (prompts and other
    parameters alike), so the test is exact whatever the answers look like (Phipson
    and Smyth 2010 for the added one). In simulation with 8 answers at each of five
    temperatures it finds a change twice as often as comparing the two ends alone.

    Returns:
        The two-sided p and the number of answers.
    """
    rng = np.random.default_rng(seed)
    total, shuffled, n = 0.0, np.zeros(SHUFFLES), 0
    for stratum in strata:
        texts = [text for _, some in stratum for text in some]
        groups = np.repeat(np.arange(len(stratum)), [len(some) for _, some in stratum])
        distance = 1.0 - lexical(texts)
        np.fill_diagonal(distance, 0.0)
        sizes = np.bincount(groups)
        slope = np.array([t for t, _ in stratum])
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


def _equal_pairs(strata: Sequence[Stratum], temperature: float) -> float:
    shares = []
    for stratum in strata:
        for value, texts in stratum:
            if value == temperature:
                counts, n = np.bincount(codes(texts)), len(texts)
                shares.append((counts * (counts - 1)).sum() / (n * (n - 1)))
    return float(np.mean(shares)) if shares else 0.0


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
    rows = [row for row in summarise(sweep, "temperature") if row["n"]]
    for name in sweep.metrics:
        scored = [row for row in rows if row.get(f"{name}_low") is not None]
        if not scored:
            continue
        best = max(scored, key=lambda row: float(row[name]))
        parts = _scored(sweep, name)
        first = parts[best["temperature"]]
        level = [r for r in scored if not _beats(first, parts[r["temperature"]])]
        taken = max(level, key=lambda row: float(row.get("diversity") or 0.0))
        return Recommendation(
            taken["temperature"],
            f"{taken['temperature']:g}: the most varied answers among the temperatures "
            f"whose {name} cannot be told from the best (at {best['temperature']:g}).",
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


def _scored(sweep: Outcome, name: str) -> dict[Any, dict[Any, Part]]:
    """Return a metric at each temperature for each prompt."""
    found: dict[Any, dict[Any, list[float | bool]]] = {}
    for trial, score in zip(sweep.trials, sweep.scores[name], strict=True):
        if score is not None:
            prompts = found.setdefault(trial.params["temperature"], {})
            prompts.setdefault(trial.params.get("prompt"), []).append(score)
    return {
        temperature: {prompt: of_metric(some) for prompt, some in prompts.items()}
        for temperature, prompts in found.items()
    }


def _beats(mine: dict[Any, Part], yours: dict[Any, Part]) -> bool:
    """Tell whether a metric is higher on the same prompts, beyond chance."""
    shared = [prompt for prompt in mine if prompt in yours]
    if not shared:
        return False
    a, b = ([[side[prompt]] for prompt in shared] for side in (mine, yours))
    gap = minus(a, b, (-math.inf, math.inf))
    return (gap.value if gap.low is None else gap.low) > 0
