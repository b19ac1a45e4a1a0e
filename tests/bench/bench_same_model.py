"""Measure how often ``same_model`` accuses the local model of not being itself.

Run: ``python tests/bench/run.py same_model``. The local host answers a few prompts many
times at some temperatures; each run of the test draws its answers from these without
putting any back, so that no answer is on both sides. It fails where the model is told from
itself in more than one of twenty runs, by more than chance.

GGUF files that are named after it, such as ``requantise.py`` makes, are other sides.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from kimikit import Kimi, Reply  # noqa: E402
from kimikit.sweeps.shares import wilson  # noqa: E402
from kimikit.verify.same import PROMPTS, compared  # noqa: E402

USED = PROMPTS[:4]
POOL, RUNS, TOKENS, BASE = 48, 300, 12, 0.7

Pool = dict[str, list[Reply]]


def pool(kimi: Kimi, temperature: float) -> Pool:
    """Return many answers to each prompt."""
    asked = {"temperature": temperature, "max_tokens": TOKENS}
    asked |= {"logprobs": True, "top_logprobs": 5}
    return {p: list(kimi.map([p] * POOL, progress=False, **asked)) for p in USED}


def rate(mine: Pool, yours: Pool, n: int) -> tuple[int, float, float]:
    """Return how many of the runs tell two pools apart, with limits of the share."""
    hits = 0
    for seed in range(RUNS):
        rng = random.Random(seed)
        first, second = {}, {}
        for prompt in USED:
            if mine is yours:
                some = rng.sample(mine[prompt], 2 * n)
                first[prompt], second[prompt] = some[:n], some[n:]
            else:
                first[prompt] = rng.sample(mine[prompt], n)
                second[prompt] = rng.sample(yours[prompt], n)
        hits += any(row.corrected < 0.05 for row in compared(first, second))
    return hits, *wilson(hits, RUNS)


def other_model(path: str) -> Pool:
    """Return answers of another GGUF file, by a local host of its own."""
    runtime = tempfile.mkdtemp(prefix="same-model-")
    os.environ |= {"KIMIKIT_LOCAL_MODEL": path, "KIMIKIT_RUNTIME": runtime}
    kimi = Kimi("local", show=False)
    try:
        return pool(kimi, BASE)
    finally:
        kimi.close()


def main() -> int:
    """Print a table."""
    with_bad = 0
    kimi = Kimi("local", show=False)
    heats = {heat: pool(kimi, heat) for heat in (BASE, 0.2, 1.2)}
    kimi.close()
    pools = {f"temperature {h:g} for {BASE:g}": each for h, each in heats.items()}
    pools = {"the same": heats[BASE], **dict(list(pools.items())[1:])}
    pools |= {Path(path).stem: other_model(path) for path in sys.argv[1:]}
    print(f"| other side | answers per prompt and host | told apart, % of {RUNS} |")
    print("|---|--:|--:|")
    for what, other in pools.items():
        for n in (4, 8):
            hits, low, high = rate(heats[BASE], other, n)
            shown = f"{hits / RUNS:.1%} [{low:.1%}, {high:.1%}]"
            print(f"| {what} | {n} | {shown} |", flush=True)
            with_bad += other is heats[BASE] and low > 0.05
    return int(with_bad > 0)


if __name__ == "__main__":
    sys.exit(main())
