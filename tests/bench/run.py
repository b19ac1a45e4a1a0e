"""Measure everything and write the tables, with day and machine, into README.md.

Run: ``make bench``, on a machine that does nothing else. It makes the peers'
environments first; each contender is a process of its own, all against one server.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
from pathlib import Path

import setup

HERE = Path(__file__).parent
PARTS = {
    "Streams: a chunk, the first token, the import": ["bench_wire.py"],
    "Sweeps": ["bench_sweep.py"],
    "Scale: cells of a sweep": ["bench_scale.py"],
    "Coverage of the intervals": ["bench_coverage.py"],
    "Buying until it is settled": ["bench_until.py"],
    "The display in a notebook": ["bench_display.py"],
    "The ledger": ["bench_ledger.py"],
    "Recordings": ["bench_replay.py"],
    "The local host": ["bench_local.py"],
    "Hosts that are verified": ["bench_verify.py"],
    "One model told from itself": ["bench_same_model.py"],
}

HEAD = """# Measurements

Made by `make bench`: medians of fresh processes, ours and each peer against the same
server in the same run. Absolute times differ by machine; compare the ratios.
"""


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def known(readme: Path) -> dict[str, str]:
    """Return the sections that were measured before, by title."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    parts = [part.partition("\n") for part in text.split("\n## ")[1:]]
    return {title: body for title, _, body in parts}


def machine() -> str:
    """Return day and machine in a line, and how busy it was."""
    load = (
        f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    )
    return (
        f"{dt.date.today().isoformat()}, {os.cpu_count()} cores ({processor()}), "
        f"{platform.system()} {platform.release()}, Python "
        f"{platform.python_version()}{load}."
    )


def main() -> None:
    """Run the named parts (words of their titles), or all; keep the other tables.

    Options, such as ``--old=FOLDER --realtime`` of the sweeps, go to the named parts.
    """
    readme = HERE / "README.md"
    sections = known(readme)
    words = [word.lower() for word in sys.argv[1:] if not word.startswith("--")]
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    chosen = [t for t in PARTS if not words or any(w in t.lower() for w in words)]
    if not words:
        setup.make(setup.FOLDER)
    failed = []
    for title in chosen:
        where = machine()
        print(f"measuring: {title}", flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / PARTS[title][0]), *PARTS[title][1:], *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        failed += [title] if done.returncode else []
        print(done.stdout, flush=True)
        sections[title] = f"\n{where}\n\n{done.stdout.strip()}\n"
    titles = [
        *(t for t in PARTS if t in sections),
        *(t for t in sections if t not in PARTS),
    ]
    parts = [f"\n## {title}\n{sections[title]}" for title in titles]
    readme.write_text(HEAD + "".join(parts), encoding="utf-8")
    if failed:
        sys.exit(f"Out of bounds: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
