"""Measure how often ``kimi.verify`` accuses an honest host, and how often it finds a liar.

Run: ``python tests/bench/run.py``, or this file alone. The host is the one that the tests
simulate over HTTP, with other random numbers in each run. It fails where an honest host is
accused in more than 5 % of the runs, by more than chance, or a lie is not found in 80 %.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.simulated import MODEL, Simulated  # noqa: E402
from verify.test_verify import CASES, LIES  # noqa: E402

from kimikit import Kimi  # noqa: E402
from kimikit.sweeps.shares import wilson  # noqa: E402
from kimikit.verify.run import CHECKS  # noqa: E402

HONEST, LYING = 60, 5


def asked(lie: str, seed: int) -> set[str]:
    """Return what a host is accused of."""
    wanted = LIES.get(lie, set())
    groups = [n for n in CHECKS.values() if not lie or wanted & {*n}]
    with Simulated(lie, seed=seed) as host:
        kimi = Kimi(base_url=host.url, api_key="k" * 20, model=MODEL, show=False)
        found = kimi.verify(
            checks=[name for names in groups for name in names],
            cases=CASES,
            context_tokens=4_000,
            progress=False,
        )
        kimi.close()
    return {name for names in found.faults.values() for name in names}


def main() -> int:
    """Print a table."""
    lines = [b"%b %d" % (base64.b64encode(bytes([byte])), byte) for byte in range(256)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bytes.tiktoken"
        path.write_bytes(b"\n".join(lines))
        os.environ["KIMIKIT_TOKENIZER"] = str(path)
        os.environ["KIMIKIT_LEDGER"] = str(Path(folder) / "ledger.db")
        accused = [asked("", seed) for seed in range(HONEST)]
        found = {lie: [asked(lie, seed) for seed in range(LYING)] for lie in LIES}
    bad = sum(map(bool, accused))
    low, high = wilson(bad, HONEST)
    hits = {lie: sum(LIES[lie] <= each for each in some) for lie, some in found.items()}
    others = sum(bool(each - LIES[lie]) for lie, some in found.items() for each in some)
    total, runs = sum(hits.values()), LYING * len(LIES)
    print("| host | runs | result |")
    print("|---|--:|--:|")
    print(f"| honest, all checks | {HONEST} | accused {bad} [{low:.1%}, {high:.1%}] |")
    low, high = wilson(total, runs)
    shown = f"found {total} [{low:.1%}, {high:.1%}]"
    print(f"| one of {len(LIES)} lies | {runs} | {shown}, accused of more {others} |")
    print(
        "\nEvery accusation of an honest host:", *sorted(set().union(*accused)) or "-"
    )
    missed = min(hits.values()) < 0.8 * LYING
    return int(missed or wilson(bad, HONEST)[0] > 0.05)


if __name__ == "__main__":
    sys.exit(main())
