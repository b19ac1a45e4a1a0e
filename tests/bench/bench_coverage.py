"""Simulate how often each interval of a sweep holds the truth, and print a table.

Run: ``python tests/bench/run.py coverage``; takes some minutes on two cores. The worlds
are those of ``tests/support/coverage.py``.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.coverage import (  # noqa: E402
    NS,
    PROMPTS,
    WORLDS,
    Found,
    coverage,
    price_coverage,
    share_coverage,
    verdict_level,
)

from kimikit.sweeps.intervals import one_thread  # noqa: E402

AGAIN = 0.92
"""Below this a cell is measured again, with four times the runs."""

PRICE = "what a right answer costs"


def measured(job: tuple[str, int, int]) -> tuple[str, int, int, Found]:
    """Return the figures of a world with so many answers to so many prompts."""
    name, count, n = job
    runs = 200 if name == PRICE else WORLDS[name].runs
    with one_thread():
        for seed, times in ((1, 1), (2, 4)):
            if name == PRICE:
                found = price_coverage(n, count, runs * times, seed)
            else:
                found = coverage(WORLDS[name], n, count, runs * times, seed)
            if all(held >= AGAIN * shown for shown, held in found.values()):
                break
    return name, count, n, found


def main() -> None:
    """Print the lowest coverage of each figure over all worlds, and where it is low."""
    jobs = [
        (name, count, n) for name in [*WORLDS, PRICE] for count in PROMPTS for n in NS
    ]
    jobs.sort(key=lambda job: -job[1] * job[2])
    cells: dict[str, dict[tuple[int, int], tuple[float, str]]] = defaultdict(dict)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for world, count, n, found in pool.map(measured, jobs):
            for figure, (shown, held) in found.items():
                if shown:
                    cell = 100 * held / shown, world
                    before = cells[figure].get((count, n), cell)
                    cells[figure][count, n] = min(before, cell)
        for n in NS:
            for figure, (shown, held) in share_coverage(n, 2000, 1).items():
                cells[figure][1, n] = 100 * held / shown, "the worst of four"
        levels = list(pool.map(verdict_level, (1, 5, 20), (100, 60, 20), (1, 1, 1)))
    columns = [(count, n) for count in PROMPTS for n in NS]
    print(
        "How often an interval that says 95 % holds the truth, in %: the lowest of "
        f"{len(WORLDS)} kinds of answers\n(`tests/support/coverage.py`), with "
        f"{' / '.join(map(str, PROMPTS))} prompts and, in each cell, "
        f"{', '.join(map(str, NS))} answers\nto each. A dash: no interval is shown. "
        '"Of the model" is what all its answers would give, else the truth\nis of n '
        "answers. 100 runs a cell, 20 to 30 where answers are long; cells below 92 "
        "are measured\nagain with four times as many.\n"
    )
    print("| figure |" + "".join(f" {count} |" for count in PROMPTS))
    print("|---|" + "--:|" * len(PROMPTS))
    for figure in sorted(cells):
        texts = []
        for count in PROMPTS:
            row = [cells[figure].get((count, n)) for n in NS]
            texts.append(" ".join("-" if c is None else f"{c[0]:.0f}" for c in row))
        print(f"| {figure.replace('_', ' ')} | " + " | ".join(texts) + " |")
    low = sorted(
        (cells[figure][at], figure, at)
        for figure in cells
        for at in columns
        if at in cells[figure] and cells[figure][at][0] < 100 * AGAIN
    )
    print(
        "\nThe rate of one prompt has Wilson's interval, which is right on average over "
        "all rates: just\nbeside 0 or 1 it may hold 84 % (Brown, Cai and DasGupta 2001, "
        "doi 10.1214/ss/1009213286)."
    )
    print("\nThe lowest:")
    for (value, world), figure, (count, n) in low or []:
        print(f"- {value:.1f} %: {figure.replace('_', ' ')} of {n} x {count}, {world}")
    print(
        "\nSweeps in which the verdict accuses a model of obeying where temperature does"
        "\nnothing (at most 5 % of them should): "
        + ", ".join(
            f"{100 * level:.0f} % of those with {models} model{'s' * (models > 1)}"
            for models, level in zip((1, 5, 20), levels, strict=True)
        )
        + "."
    )


if __name__ == "__main__":
    main()
