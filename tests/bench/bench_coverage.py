"""Simulate how often each interval of a sweep holds the truth, and print a table.

Run: ``python tests/bench/run.py coverage``; takes three minutes of CPU. The worlds are
those of ``tests/support/coverage.py``. It fails where an interval that says 95 % holds the
truth less than 90 % of the time.
"""

from __future__ import annotations

import os
import resource
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
    kappa_coverage,
    price_coverage,
    share_coverage,
    verdict_level,
)

from kimikit.sweeps.intervals import one_thread  # noqa: E402

LEAST = 0.9
"""An interval must hold the truth so often."""

SEEDS = (1, 2)
"""Each draws worlds of its own; what both find is added up."""

MORE = range(3, 21)
"""More seeds for a cell that is below ``LEAST``, six at a time; all of them count."""

SHARES = {1: 0.6, 2: 0.6, 5: 0.4, 20: 0.15}
"""For each number of prompts the share of a world's runs: many take longer."""

PRICE = "what a right answer costs"
VOTE = "votes, tool calls and judges"

Job = tuple[str, int, int]
"""A world, and the number of prompts and of answers to each."""


def found_by(job: Job, seed: int) -> Found:
    """Return how often each figure of a job's world is held, by one seed."""
    name, count, n = job
    if name == VOTE:
        return share_coverage(n, 500, seed) | kappa_coverage(n, 500, seed)
    if name == PRICE:
        return price_coverage(n, count, 200, seed)
    runs = round(WORLDS[name].runs * SHARES[count])
    return coverage(WORLDS[name], n, count, runs, seed)


def measured(job: Job) -> tuple[Job, Found]:
    """Return the same of all seeds together, of more seeds where it is low."""
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    with one_thread():
        for seed in (*SEEDS, *MORE):
            for figure, (shown, held) in found_by(job, seed).items():
                before = sums[figure]
                sums[figure] = before[0] + shown, before[1] + held
            enough = all(held >= LEAST * shown for shown, held in sums.values())
            if enough and seed in (SEEDS[-1], *MORE[5::6]):
                break
    return job, dict(sums)


def main() -> None:
    """Print the lowest coverage of each figure over all worlds; fail where it is low."""
    names = [*WORLDS, PRICE]
    jobs = [(name, count, n) for name in names for count in PROMPTS for n in NS]
    jobs += [(VOTE, 1, n) for n in NS]
    jobs.sort(key=lambda job: -job[1] * job[2])
    cells: dict[str, dict[tuple[int, int], tuple[float, str, int]]] = defaultdict(dict)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for (world, count, n), found in pool.map(measured, jobs):
            for figure, (shown, held) in found.items():
                if shown:
                    cell = 100 * held / shown, world, shown
                    before = cells[figure].get((count, n), cell)
                    cells[figure][count, n] = min(before, cell)
        levels = list(pool.map(verdict_level, (1, 5, 20), (100, 60, 20), (1, 1, 1)))
    table(cells)
    low = sorted(
        (cell, figure, at)
        for figure, found in cells.items()
        for at, cell in found.items()
        if cell[0] < 100 * LEAST
    )
    accused = ", ".join(
        f"{100 * level:.0f} % of those with {models} model{'s' * (models > 1)}"
        for models, level in zip((1, 5, 20), levels, strict=True)
    )
    print(
        "\nSweeps in which the verdict accuses a model of obeying where temperature does"
        f"\nnothing (at most 5 % of them should): {accused}."
    )
    took = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    took += resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"\nAll of it took {took:.0f} s of CPU.")
    for (value, world, runs), figure, (count, n) in low:
        where = f"{count} x {n} answers, {world}, {runs} intervals"
        print(f"- too low: {value:.1f} % of {figure.replace('_', ' ')}, {where}")
    if low:
        sys.exit(f"{len(low)} cells are below {LEAST:.0%}.")


def table(cells: dict[str, dict[tuple[int, int], tuple[float, str, int]]]) -> None:
    """Print the table of the lowest coverage of each figure."""
    print(
        "How often an interval that says 95 % holds the truth, in %: the lowest of "
        f"{len(WORLDS) + 2} kinds of answers\n(`tests/support/coverage.py`), with "
        f"{' / '.join(map(str, PROMPTS))} prompts and, in each cell, "
        f"{', '.join(map(str, NS))} answers\nto each. A dash: no interval is shown. "
        '"Of the model" is what all its answers would give, else the truth\nis of n '
        "answers. Two seeds with worlds of their own are added up: 120 runs of 1 and 2 "
        "prompts, 80 of 5, 30\nof 20, fewer where answers are long. A cell below "
        f"{LEAST:.0%} gets six more seeds, up to 20, and all count.\n"
    )
    print("| figure |" + "".join(f" {count} |" for count in PROMPTS))
    print("|---|" + "--:|" * len(PROMPTS))
    for figure in sorted(cells):
        texts = []
        for count in PROMPTS:
            row = [cells[figure].get((count, n)) for n in NS]
            texts.append(" ".join("-" if c is None else f"{c[0]:.0f}" for c in row))
        print(f"| {figure.replace('_', ' ')} | " + " | ".join(texts) + " |")


if __name__ == "__main__":
    main()
