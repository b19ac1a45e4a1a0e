"""Give all notebooks the answers of a real host, recorded for those who have no key.

``make record HOST=together USD=5`` says what the run is likely to cost there, asks, runs
every notebook, and leaves its outputs in ``notebooks/`` and its recording in
``notebooks/recordings/``. It ends where the amount is spent: a real model may go on for
longer than the local one, so that no estimate is a bound, and the amount is.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec
import nbformat
from support import notebooks
from support.lab import ARTIFACTS

from kimikit.errors import KimiError
from kimikit.html import money, text_table
from kimikit.money.budget import PER_DAY
from kimikit.money.ledger import Ledger
from kimikit.replay import RecordingFile
from kimikit.types import Host, Usage
from kimikit.wire import hosts

LOCAL = ARTIFACTS / "recordings"


_USAGE = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


class Size(msgspec.Struct):
    """What a notebook took on the local host.

    Attributes:
        calls: How many answers it was given.
        usage: Their tokens.
    """

    calls: int = 0
    usage: Usage = msgspec.field(default_factory=Usage)


def size(recording: Path) -> Size:
    """Return what a recording took, by what the host said of its answers."""
    found = Size()
    for _, _, answer in RecordingFile(recording).rows():
        found.calls += 1
        # The last that an answer says of it; one that was stopped says nothing.
        said = _USAGE.findall(b"".join(piece for _, piece in answer.pieces))
        if said:
            tokens = msgspec.json.decode(said[-1])
            found.usage += Usage(
                prompt_tokens=tokens.get("prompt_tokens", 0),
                completion_tokens=tokens.get("completion_tokens") or 0,
            )
    return found


def plan(host: Host, sizes: dict[str, Size]) -> str:
    """Return a table of what the notebooks would likely cost at a host's price."""
    price = Ledger().prices.lookup(host.name, host.model or "", time.time())
    costs = {
        name: None if price is None else price.cost(each.usage)
        for name, each in sizes.items()
    }
    rows = [
        [
            name,
            f"{each.calls:,}",
            f"{each.usage.prompt_tokens:,}",
            f"{each.usage.completion_tokens:,}",
            "unpriced" if costs[name] is None else money(costs[name]),
        ]
        for name, each in sizes.items()
    ]
    total = sum((cost for cost in costs.values() if cost is not None), Decimal(0))
    return (
        text_table(["notebook", "calls", "prompt", "answer", "likely"], rows)
        + f"\nTogether {'unpriced' if price is None else money(total)} on {host.name} "
        f"({host.model or 'its model'}) for as many tokens as on the local model. "
        "Answers of a large model are often several times as long."
    )


def sizes() -> Iterator[tuple[str, Size]]:
    """Yield the size of each notebook, by the recordings of ``make notebooks``."""
    for path in notebooks.all_notebooks():
        if (recording := LOCAL / f"{path.stem}.kimi").exists():
            yield path.stem, size(recording)


def record(path: Path, host: str) -> None:
    """Run a notebook on a host; keep its outputs and its recording.

    What was there stays until the whole notebook has run.
    """
    kept = path.parent / "recordings" / f"{path.stem}.kimi"
    kept.parent.mkdir(exist_ok=True)
    new = kept.with_suffix(".new.kimi")
    new.unlink(missing_ok=True)
    os.environ |= {"KIMIKIT_HOST": host, "KIMIKIT_RECORD": str(new)}
    book = notebooks.tidy(notebooks.execute(path))
    nbformat.write(book, path)
    new.replace(kept)
    print(path.name, *notebooks.faults(path), sep="  ", flush=True)


def main(name: str, usd: str, *only: str) -> None:
    """Say what it costs, ask, and record all notebooks, or those named."""
    try:
        limit = Decimal(usd)
        possible = bool(name) and 0 < limit < 10_000
    except InvalidOperation:
        possible = False
    if not possible:
        sys.exit(
            "Name the host and US dollars to spend: make record HOST=together USD=5"
        )
    try:
        host = hosts.resolve(name)
        hosts.key_of(host)
    except KimiError as error:
        sys.exit(str(error))
    found = dict(sizes())
    if not found:
        sys.exit("Nothing to reckon with: run make notebooks first.")
    chosen = [p for p in notebooks.all_notebooks() if not only or p.stem in only]
    if not chosen:
        sys.exit(f"No notebook has such a name: {', '.join(only)}.")
    print(plan(host, {p.stem: found[p.stem] for p in chosen if p.stem in found}))
    print(f"At most ${limit}: the run ends where that is spent.")
    if input("Record? [y/N] ").strip().lower() not in ("y", "yes"):
        sys.exit("Nothing was asked.")
    today = Ledger().total(by="day").get(time.strftime("%Y-%m-%d"))
    spent = Decimal(today.cost_pico + today.at_most_pico) / 10**12 if today else 0
    os.environ[PER_DAY] = str(limit + spent)
    for path in chosen:
        record(path, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
