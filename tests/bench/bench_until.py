"""Simulate buying until it is settled, and frontiers: false claims, coverage, saving.

Run: ``python tests/bench/run.py until``; takes four minutes of CPU. It fails where
intervals that are looked at after every round miss in more than 5 % of the runs, beyond
what chance makes of so many.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.until import (  # noqa: E402
    MOST,
    UNTIL,
    WORLDS,
    bought,
    coins,
    ever_missed,
    ever_missed_by_wilson,
    ever_told_apart,
    falsely_close,
    fixed,
    fixed_pairs,
    vote_coverage,
)

RUNS = 1000
BUYS = 200


def percent(found: list[bool]) -> float:
    """Return the share of true ones in percent."""
    return 100 * sum(found) / len(found)


def claims(rng: np.random.Generator) -> list[str]:
    """Print how often a look at any round misses; return the rows that miss too much."""
    print(
        f"Runs of {MOST:,} rounds in which an interval misses at any of {MOST:,} looks, "
        f"in % (of {RUNS:,} runs;\nat most 5 should): of a mean; of the difference of 2 "
        "and of any two of 5 settings that are alike;\nand of Wilson's interval, which "
        f"is for one look.\n\n| answers | a mean | 2 alike | 5 alike | Wilson |"
        "\n|---|--:|--:|--:|--:|"
    )
    most = 5 + 300 * math.sqrt(0.05 * 0.95 / RUNS)
    high = []
    for name, world in WORLDS.items():
        cells = [
            percent([ever_missed(world, rng) for _ in range(RUNS)]),
            percent([ever_told_apart(world, rng, 2) for _ in range(RUNS)]),
            percent([ever_told_apart(world, rng, 5, 300) for _ in range(RUNS // 4)]),
        ]
        naive = "-"
        if name.startswith("right"):
            runs = [ever_missed_by_wilson(world.mean, rng) for _ in range(RUNS // 4)]
            naive = f"{percent(runs):.0f}"
        print(f"| {name} | {' | '.join(f'{c:.1f}' for c in cells)} | {naive} |")
        high += [name] if max(cells) > most else []
    return high


def width(rng: np.random.Generator) -> None:
    """Print what it takes to know a mean so well."""
    known = fixed(UNTIL)
    print(
        f"\nAnswers until a share is known to ± {UNTIL:g}, mean of {BUYS} runs, and how "
        "often the interval then holds it.\nA fixed size is of Wald's interval, for any "
        "share (0.5), or for one that were known before.\n\n| share | until | 90 % of "
        "runs below | x fixed for any | x fixed if known | holds % |"
        "\n|--:|--:|--:|--:|--:|--:|"
    )
    for share in (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995):
        runs = [bought([coins(share)], rng, UNTIL) for _ in range(BUYS)]
        counts = [run.rounds for run in runs]
        mean = float(np.mean(counts))
        print(
            f"| {share} | {mean:.0f} | {np.percentile(counts, 90):.0f} | "
            f"{mean / known:.2f} | {mean / fixed(UNTIL, share):.2f} | "
            f"{percent([run.held for run in runs]):.1f} |"
        )


def difference(rng: np.random.Generator) -> None:
    """Print what it takes to tell two settings apart."""
    planned = fixed_pairs(0.1, 0.5, 0.6)
    print(
        f"\nPairs of answers until two settings are told apart or both known to ± "
        f"{UNTIL:g}, beside a study of fixed size\nplanned for a difference of 0.1 "
        f"(power 80 %): {planned} pairs, whatever the difference is. Wrong: the interval"
        "\nof the difference misses it at the end.\n\n| shares | until | x fixed for "
        "0.1 | x fixed if known | told apart % | wrong % |\n|---|--:|--:|--:|--:|--:|"
    )
    for mine, yours in ((0.5, 0.5), (0.5, 0.6), (0.5, 0.7), (0.4, 0.8), (0.9, 0.97)):
        runs = [bought([coins(mine), coins(yours)], rng, UNTIL) for _ in range(BUYS)]
        mean = float(np.mean([run.rounds for run in runs]))
        gap = yours - mine
        own = f"{mean / fixed_pairs(gap, mine, yours):.2f}" if gap else "-"
        print(
            f"| {mine} and {yours} | {mean:.0f} | {mean / planned:.2f} | {own} | "
            f"{percent([run.told for run in runs]):.0f} | "
            f"{percent([run.wrong for run in runs]):.1f} |"
        )


def frontiers(rng: np.random.Generator) -> None:
    """Print what frontiers claim falsely, and how often their intervals hold."""
    print(
        f"\nFrontiers: runs, in % of {2 * BUYS}, in which a setting is recommended as "
        "within the margin that truly loses\nall of it (all but the best do), with "
        "answers of two settings to one question correlated by 0 / 0.5 / 0.9;\nat most "
        "5 should.\n\n| settings | 30 questions | 100 | 300 |\n|--:|--:|--:|--:|"
    )
    for settings in (2, 6, 12):
        cells = []
        for count in (30, 100, 300):
            each = (
                percent(
                    [falsely_close(rng, settings, count, a) for _ in range(2 * BUYS)]
                )
                for a in (0.0, 0.5, 0.9)
            )
            cells.append(" / ".join(f"{one:.1f}" for one in each))
        print(f"| {settings} | {' | '.join(cells)} |")
    print(
        f"\nHow often a frontier's interval holds the share of right votes, in % of "
        f"{2 * BUYS} runs (of 5 answers to each question):\n\n| questions | 1 vote | "
        "3 votes |\n|--:|--:|--:|"
    )
    for count in (10, 30, 100):
        held = vote_coverage(rng, count, 2 * BUYS)
        print(f"| {count} | {held[1]:.1f} | {held[3]:.1f} |")


def main() -> None:
    """Print all tables; fail where there are too many false claims."""
    rng = np.random.default_rng(21)
    high = claims(rng)
    width(rng)
    difference(rng)
    frontiers(rng)
    if high:
        sys.exit(f"More than 5 % false claims: {', '.join(high)}.")


if __name__ == "__main__":
    main()
