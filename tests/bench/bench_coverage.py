"""Simulate how often each interval of a sweep holds the truth, and print a table.

Run: ``python tests/bench/run.py coverage``; takes three minutes of CPU. The worlds are
those of ``tests/support/coverage.py``. The lowest of some 500 cells is low by chance too: a
cell that holds the truth less than 90 % of the time is drawn anew, six times as often, and
it fails where that is below 90 % again.
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

RUNS = 320
"""Intervals in each cell and world, whatever comes of them."""

SEED = 1

AGAIN = range(50, 56)
"""Seeds of the draws by which a cell that was low is judged."""

PRICE = "what a right answer costs"
VOTE = "votes, tool calls and judges"

Job = tuple[str, int]
"""A world, and the number of answers to each prompt."""


def measured(job: Job, seed: int = SEED) -> tuple[Job, dict[int, Found]]:
    """Return for each number of prompts how often each figure of a world is held."""
    name, n = job
    with one_thread():
        if name == VOTE:
            found = share_coverage(n, 2 * RUNS, seed)
            return job, {1: found | kappa_coverage(n, 2 * RUNS, seed)}
        if name == PRICE:
            return job, {c: price_coverage(n, c, RUNS, seed) for c in PROMPTS}
        return job, coverage(WORLDS[name], n, RUNS, seed)


def drawn_anew(
    pool: ProcessPoolExecutor, world: str, figure: str, at: tuple[int, int]
) -> float:
    """Return how often, in %, a cell holds the truth in other draws."""
    count, n = at
    jobs = [(world, n)] * len(AGAIN)
    found = [cells[count][figure] for _, cells in pool.map(measured, jobs, AGAIN)]
    return 100 * sum(held for _, held in found) / sum(shown for shown, _ in found)


def main() -> None:
    """Print the lowest coverage of each figure over all worlds; fail where it is low."""
    jobs = [(name, n) for n in NS[::-1] for name in (*WORLDS, PRICE, VOTE)]
    cells: dict[str, dict[tuple[int, int], tuple[float, str, int]]] = defaultdict(dict)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for (world, n), counts in pool.map(measured, jobs):
            for count, found in counts.items():
                for figure, (shown, held) in found.items():
                    if shown:
                        cell = 100 * held / shown, world, shown
                        before = cells[figure].get((count, n), cell)
                        cells[figure][count, n] = min(before, cell)
        levels = list(pool.map(verdict_level, (1, 5, 20), (100, 60, 20), (1, 1, 1)))
        low = sorted(
            (cell, figure, at, drawn_anew(pool, cell[1], figure, at))
            for figure, found in cells.items()
            for at, cell in found.items()
            if cell[0] < 100 * LEAST
        )
    table(cells)
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
    for (value, world, runs), figure, (count, n), again in low:
        where = f"{count} x {n} answers, {world}, {runs} intervals"
        what = f"{value:.1f} % of {figure.replace('_', ' ')}, {where}"
        print(f"- low: {what}; {again:.1f} % of {len(AGAIN)} other draws of as many")
    failed = sum(again < 100 * LEAST for *_, again in low)
    if failed:
        sys.exit(f"{failed} cells are below {LEAST:.0%}.")


def table(cells: dict[str, dict[tuple[int, int], tuple[float, str, int]]]) -> None:
    """Print the table of the lowest coverage of each figure."""
    print(
        "How often an interval that says 95 % holds the truth, in %: the lowest of "
        f"{len(WORLDS) + 2} kinds of answers\n(`tests/support/coverage.py`), with "
        f"{' / '.join(map(str, PROMPTS))} prompts and, in each cell, "
        f"{', '.join(map(str, NS))} answers\nto each. A dash: no interval is shown. "
        '"Of the model" is what all its answers would give, else the truth\nis of n '
        f"answers. A cell is of {RUNS} intervals per kind (a difference of 1 or 2 "
        f"prompts {RUNS // 2}), as many whatever\nthey hold; so the lowest of several "
        "kinds is a point or two below what it is of.\n"
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
