"""Say whether temperature changed anything, and which value we would take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import is_number
from kimikit.sweeps import summary
from kimikit.sweeps.answers import Group
from kimikit.sweeps.intervals import (
    Estimate,
    Limits,
    Prompts,
    minus,
    one_thread,
    pool,
)
from kimikit.sweeps.permutation import holm, permutation_tests
from kimikit.sweeps.values import Outcome, kept

LEVEL = 0.05
"""A p below this counts as a change."""

MOST = 300
"""Answers that the test looks at, the first ones of each point."""


class Verdict(msgspec.Struct, frozen=True):
    """What a sweep says about temperature; ``str`` of it is a sentence.

    Attributes:
        changed: Whether the answers changed with temperature, in how varied they are or
            in what they are; ``None`` if untested.
        p: Chance of a trend in how varied they are as strong as this one, if
            temperature did nothing; corrected for all tests of the sweep (Holm 1979).
        p_answers: Likewise, of answers that are so much others at another temperature.
        low: Lowest temperature asked.
        high: Highest.
        n: Answers the tests looked at.
        tests: Tests of the sweep that were corrected for.
        gain: Diversity at the highest temperature minus at the lowest.
        noise_floor: Share of pairs equal to the letter at the lowest temperature.
        sentence: All of this in words.
        parts: One verdict for each host and model, where there are several.
    """

    changed: bool | None = None
    p: float | None = None
    p_answers: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    tests: int = 0
    gain: Estimate | None = None
    noise_floor: float | None = None
    sentence: str = ""
    parts: tuple[Verdict, ...] = ()

    def __str__(self) -> str:
        return self.sentence


Stratum = dict[float, Group]
"""For each temperature its answers, all else equal."""


@kept
@one_thread()
def verdict(sweep: Outcome) -> Verdict:
    """Return the verdict of a sweep, one part for each host and model.

    Each part takes two tests, and of many tests one in twenty finds something by
    chance; so every p is corrected for all of them together (Holm 1979, A Simple
    Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 6).
    """
    if len(sweep.axes.get("temperature", ())) < 2 and not sweep.pinned:
        return Verdict(sentence="Temperature was not swept.")
    hosts: dict[summary.Point, dict[summary.Point, Stratum]] = {}
    for group in summary.groups(sweep):
        host = tuple(group.labels[a] for a in ("host", "model") if a in sweep.axes)
        rest = tuple(group.labels[a] for a in sweep.axes if a != "temperature")
        stratum = hosts.setdefault(host, {}).setdefault(rest, {})
        temperature = group.labels.get("temperature")
        if temperature is not None and group.count >= 2:
            stratum[float(temperature)] = group
    each = {
        host: [stratum for stratum in strata.values() if len(stratum) >= 2]
        for host, strata in hosts.items()
    }
    tested = [host for host, strata in each.items() if strata]
    found = [_tested(each[host], 2 * len(tested)) for host in tested]
    corrected = holm([p for spread, answers, _ in found for p in (spread, answers)])
    chances = {
        host: (corrected[2 * place], corrected[2 * place + 1], found[place][2])
        for place, host in enumerate(tested)
    }
    parts = []
    for host, strata in each.items() or [((), [])]:
        start = f"On {' '.join(map(str, host))}, " if host else ""
        part = _judge(sweep, strata, *chances[host]) if strata else Verdict()
        part = msgspec.structs.replace(part, tests=len(corrected))
        said = start + (part.sentence or UNTESTED)
        said = said[:1].upper() + said[1:]
        parts.append(msgspec.structs.replace(part, sentence=said))
    if len(parts) == 1:
        return parts[0]
    changed = {part.changed for part in parts}
    agreed = changed.pop() if len(changed) == 1 else None
    sentence = " ".join(part.sentence for part in parts)
    sentence += f" All p are corrected for the {len(corrected)} tests (Holm)."
    return Verdict(
        changed=agreed, tests=len(corrected), sentence=sentence, parts=tuple(parts)
    )


UNTESTED = "temperature could not be tested: it needs two answers at two values."


def _tested(strata: Sequence[Stratum], tests: int) -> tuple[float, float, int]:
    """Return both p of the strata of one host, and how many answers they are of."""
    most = max(2, MOST // sum(map(len, strata)))
    return permutation_tests(
        [{t: group.texts[:most] for t, group in sorted(s.items())} for s in strata],
        tests=tests,
    )


def _judge(
    sweep: Outcome, strata: Sequence[Stratum], p: float, p_answers: float, n: int
) -> Verdict:
    """Return the verdict on strata of two temperatures or more."""
    low, high = min(map(min, strata)), max(map(max, strata))
    length = summary.common_length(sweep)
    size = summary.common_answers(sweep)

    def at(end: float, name: str) -> Prompts:
        return {
            place: [summary.measured(sweep, stratum[end], length, size)[name]]
            for place, stratum in enumerate(strata)
            if end in stratum
        }

    gain = minus(at(high, "diversity"), at(low, "diversity"), (0.0, 1.0))
    floor = pool(list(at(low, "exact_match").values())).value
    what = _said(p, p_answers, n, low, high)
    if gain is not None and gain.low is not None:
        ends_of = f"[{gain.low:+z.2f}, {gain.high:+z.2f}]"
        what += f"; diversity {gain.value:+z.2f} {ends_of} from {low:g} to {high:g}"
    said = f"{what}; at {low:g}, {floor:.0%} of pairs were equal to the letter."
    return Verdict(
        changed=min(p, p_answers) < LEVEL,
        p=p,
        p_answers=p_answers,
        low=low,
        high=high,
        n=n,
        gain=gain,
        noise_floor=floor,
        sentence=said,
    )


def _said(p: float, p_answers: float, n: int, low: float, high: float) -> str:
    """Return what both tests say, each named by what it looked at."""
    varied, others = (
        f"p {'<' if chance <= 0.001 else '='} {max(chance, 0.001):.2g}"
        for chance in (p, p_answers)
    )
    if p < LEVEL and p_answers < LEVEL:
        return (
            f"temperature changed how varied the answers are ({varied}, n = {n}) and "
            f"what they are ({others})"
        )
    if p < LEVEL:
        return (
            f"temperature changed how varied the answers are ({varied}, n = {n}); "
            f"no change in what they are was seen ({others})"
        )
    if p_answers < LEVEL:
        return (
            f"temperature changed what the answers are ({others}, n = {n}); no change "
            f"in how varied they are was seen ({varied})"
        )
    return (
        "no change with temperature was seen, neither in how varied the answers are "
        f"({varied}, n = {n}) nor in what they are ({others}): those at {low:g} and "
        f"{high:g} may come from one distribution, so the host may ignore it, or the "
        "prompt leaves no choice, or n is too small"
    )


class Recommendation(msgspec.Struct, frozen=True):
    """A temperature to take and the reason, or why there is none.

    Attributes:
        temperature: The value, or ``None``.
        reason: A sentence or two.
        gap: The metric at this temperature minus at the best one, where it is another.
    """

    temperature: float | None
    reason: str
    gap: Estimate | None = None

    def __str__(self) -> str:
        return self.reason


@kept
@one_thread()
def recommend(sweep: Outcome, margin: float | None = None) -> Recommendation:
    """Return the temperature to take, as far as the sweep can say.

    Diversity alone has no best value. With a metric, it is the temperature at which
    that is highest; with a margin, the most varied of those which, compared by prompt,
    lose no more than that against it at the lower limit of the 95 % interval
    (non-inferiority). Without a metric, it is the value the model's maker gives, if it
    lies within the sweep.

    Args:
        sweep: The sweep.
        margin: How much of the metric may be given away for more varied answers.

    Raises:
        BadInput: If the margin is no number from 0.
    """
    if margin is not None and not (is_number(margin) and 0 <= margin < math.inf):
        raise BadInput(
            f"margin is {margin!r}.",
            "Give how much of the metric may be lost, such as 0.05.",
        )
    values = [v for v in sweep.axes.get("temperature", ()) if v is not None]
    if len(values) < 2 or sweep.pinned:
        return Recommendation(None, "Temperature was not swept.")
    length, size = summary.common_length(sweep), summary.common_answers(sweep)
    parts = {
        temperature: summary.figures(sweep, some, length, size)
        for (temperature,), some in summary.points(sweep, ["temperature"]).items()
    }
    for name in sweep.metrics:
        scored = {t: parts[t][name] for t in values if name in parts.get(t, {})}
        if len(scored) > 1:
            varied = {
                t: pool([*parts[t].get("diversity", {}).values()]).value
                for t in scored
                if parts[t].get("diversity")
            }
            bounds = summary.bounds(sweep, name)
            return _best(name, scored, varied, bounds, margin)
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


def _best(
    name: str,
    scored: Mapping[float, Prompts],
    varied: Mapping[float, float],
    bounds: Limits,
    margin: float | None,
) -> Recommendation:
    """Return the best temperature by a metric, or a more varied one that fits."""
    found = {t: pool([*prompts.values()], bounds) for t, prompts in scored.items()}
    # Of those that are level the most varied one, which costs nothing.
    best = max(found, key=lambda t: (found[t].value, varied.get(t, 0.0)))
    told = f"{name} is highest there, {_figure(found[best])}"
    many = f"the best of {len(found)}, so that chance flatters it"
    gaps = {t: minus(scored[t], scored[best], bounds) for t in found if t != best}
    level = [t for t, e in found.items() if e.value == found[best].value]
    if margin is None:
        rest = " Others may be as good: margin= lets a more varied one be taken."
        if len(level) > 1:
            many += f", and the most varied of the {len(level)} that are level"
        return Recommendation(best, f"{best:g}: {told}, {many}.{rest}")
    fit = {
        t: gap
        for t, gap in gaps.items()
        if gap is not None and gap.low is not None and gap.low >= -margin
    }
    taken = max([best, *fit], key=lambda t: varied.get(t, 0.0))
    if taken == best:
        return Recommendation(
            best,
            f"{best:g}: {told}, {many}. No more varied temperature is sure to lose at "
            f"most {margin:g}.",
        )
    gap = fit[taken]
    assert gap.low is not None
    lost = max(0.0, -gap.low)
    return Recommendation(
        taken,
        f"{taken:g}: the most varied answers of those that lose at most {margin:g} of "
        f"{name} against the best (at {best:g}, {many}): {_figure(gap, '+z')}, so up "
        f"to {lost:.2g} may be lost.",
        gap,
    )


def _figure(estimate: Estimate, sign: str = "z") -> str:
    """Return a figure with its interval, where it has one."""
    values = (estimate.value, estimate.low, estimate.high)
    value, *ends = (f"{v:{sign}.2f}" for v in values if v is not None)
    return f"{value} [{', '.join(ends)}]" if len(ends) == 2 else value
