"""Measure what a sweep takes of its own, from a thousand cells to a million.

Run: ``python tests/bench/bench_scale.py [--largest 1000000]``; prints Markdown tables.
The client answers at once with one of 10,000 texts of 12 words, so that all time is the
engine's own; each row is a process of its own. Beside it stands what bare asyncio takes
for the same calls, whose answers are kept in a list.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

SIZES = (1_000, 10_000, 100_000, 1_000_000)
WAYS = {
    "asyncio": "bare asyncio",
    "memory": "kimikit, answers in memory",
    "disk": "kimikit, answers on disk",
}


def replies() -> list[Any]:
    from kimikit.types import Reply, Usage

    rng = random.Random(1)
    words = [
        "".join(rng.choices("abcdefghij", k=rng.randint(2, 9))) for _ in range(999)
    ]
    return [
        Reply(text=" ".join(rng.choices(words, k=12)), host="fake", model="m",
              usage=Usage(10, 16), duration_s=rng.random())
        for _ in range(10_000)
    ]  # fmt: skip


class AtOnce:
    """A client that answers without a wait."""

    host = None

    def __init__(self) -> None:
        self.replies, self.asked = replies(), 0

    async def chat(self, messages: Any, **params: Any) -> Any:
        self.asked += 1
        return self.replies[self.asked * 7919 % 10_000]

    async def close(self) -> None:
        pass


async def bare(client: AtOnce, count: int) -> list[Any]:
    """Ask as everybody does: workers that take from one iterator."""
    left, found = iter(range(count)), []

    async def worker() -> None:
        for _ in left:
            found.append(await client.chat("q"))

    await asyncio.gather(*(worker() for _ in range(16)))
    return found


def peak() -> float:
    """Return the megabytes that this process had at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 if sys.platform != "darwin" else 1024**2)


def one(way: str, count: int) -> None:
    """Run one way once; print its figures as JSON."""
    from kimikit.sweeps import Sweep, sweep

    client = AtOnce()
    with tempfile.TemporaryDirectory() as folder:
        where = {"results": folder} if way == "disk" else {}
        before = peak()
        start = time.process_time()
        if way == "asyncio":
            found: Any = asyncio.run(bare(client, count))
        else:
            found = sweep(lambda _: client, "q", repeats=count // 100, concurrency=16,
                          top_k=list(range(100)), progress=False, **where)  # fmt: skip
        cell = (time.process_time() - start) / count * 1e6
        assert len(found) == count
        out = {"cell_us": cell, "peak_mb": peak(), "before_mb": before}
        if isinstance(found, Sweep):
            start = time.process_time()
            assert sum(row["n"] for row in found.summary()) == count
            out["summary_s"] = time.process_time() - start
            start = time.process_time()
            query = "select top_k, avg(words) from trials group by 1"
            assert len(found.sql(query)) == 100
            out["sql_s"] = time.process_time() - start
            out["peak_after_mb"] = peak()
            mb = sum(f.stat().st_size for f in Path(folder).iterdir()) / 2**20
            out["disk_mb"] = mb
    print(json.dumps(out))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*")
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    given = parser.parse_args()
    if given.what:
        one(given.what[0], int(given.what[1]))
        return
    print(
        "| cells | way | CPU us per cell | peak MB | summary, CPU s | SQL, CPU s "
        "| peak MB after both | MB on disk |\n|--:|---|--:|--:|--:|--:|--:|--:|"
    )
    for count in SIZES:
        for way, title in WAYS.items():
            if count > given.largest:
                continue
            done = subprocess.run(
                [sys.executable, __file__, way, str(count)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # bars
                text=True,
                check=True,
            )
            row = json.loads(done.stdout.splitlines()[-1])
            cells = [
                f"{row['cell_us']:.1f}",
                f"{row['peak_mb']:.0f}",
                *(f"{row[n]:.1f}" if n in row else "" for n in ("summary_s", "sql_s")),
                f"{row['peak_after_mb']:.0f}" if "peak_after_mb" in row else "",
                f"{row['disk_mb']:.0f}" if way == "disk" else "",
            ]
            print(f"| {count:,} | {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
