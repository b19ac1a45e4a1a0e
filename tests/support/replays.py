"""Compare what a notebook showed live with what it shows when it is replayed."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from support import notebooks

_CLOCK = re.compile(r"perf_counter|monotonic|time\(\)|_s\b|seconds|timeline")
"""What a cell's source says if it measures or draws how long something took."""

_PASSING = (
    (r"\d[\d,]* bytes\b", "<size>"),  # of a file that says who answered
    (r"127\.0\.0\.1:\d+", "<here>"),  # a server of the notebook gets another port
    (r"No key in the environment:[^\n]*", ""),  # a replay asks nobody
    (r"( · )?replayed, (recorded \d{4}-\d\d-\d\d|paid for when recorded)", ""),
    (r"\b\d{8}-\d{6}-[0-9a-f]+\b", "<id>"),
    (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d)?\b", "<day>"),
    (r"\bSeed \d+", "Seed"),
    (r"\d[\d.]* times as (long|fast)\b|\d+% of the time\b", "<time>"),
    (r"(?<![\w.])\d[\d,.]*( to \d[\d,.]*)? ?(ms|s|tokens/s|it/s)\b", "<time>"),
)

_SECONDS = re.compile(r"seconds?\b|time\b|first token|tokens/s")
"""A name of a figure that the clock makes."""

_ORDER = re.compile(r"(?m)^kimi\.ledger(\.calls\(.*\))?$")
"""A cell that shows the newest calls: which these are depends on the order."""

_CAPTION = 0.12
"""Share of a plot's height at its foot, where the caption names the source."""

_BLOCK = 12
"""Pixels of a block whose mean is compared: a longer caption moves lines a little."""

_INK = 0.2
"""Difference of two blocks' means, from 0 to 1, from which they show another thing."""


def differences(live: Any, again: Any) -> Iterator[str]:
    """Yield what a replay shows otherwise, but for times and for the order of words.

    Answers that came side by side come in another order; a cell that measures its own
    time measures the replay's.
    """
    pairs = zip(notebooks.code_cells(live), notebooks.code_cells(again), strict=True)
    for number, (cell, twin) in enumerate(pairs, 1):
        if _CLOCK.search(cell.source):
            continue
        before, after = (Counter(_words(each)) for each in (cell, twin))
        if _ORDER.search(cell.source):
            before, after = (Counter([bool(each)]) for each in (before, after))
        if before != after:
            gone, new = list(before - after), list(after - before)
            yield f"cell {number}: was {gone[:4]}, is {new[:4]}"
        plots, plots_again = _plots(cell), _plots(twin)
        if len(plots) != len(plots_again):
            yield f"cell {number}: {len(plots)} plots, then {len(plots_again)}"
        for one, other in zip(plots, plots_again, strict=False):
            if not _alike(one, other):
                yield f"cell {number}: another plot"


def _words(cell: Any) -> Iterator[str]:
    """Yield the words of a cell's plain outputs without what the clock wrote.

    What two processes print may stand in other lines.
    """
    for output in cell.outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        if output.get("name") == "stderr":
            continue  # progress
        for line in _without_seconds(text.splitlines()):
            for pattern, fill in _PASSING:
                line = re.sub(pattern, fill, line)
            yield from line.split()


def _without_seconds(lines: list[str]) -> Iterator[str]:
    """Cut columns and rows of seconds out of tables of text.

    A rule of dashes parts their columns.
    """
    columns: list[tuple[int, int]] = []
    for place, line in enumerate(lines):
        if place and re.fullmatch(r"-{2,}(  -+)+", line.rstrip()):
            spans = [match.span() for match in re.finditer("-+", line)]
            head = lines[place - 1]
            columns = [
                (start, end) for start, end in spans if _SECONDS.search(head[start:end])
            ]
        elif _SECONDS.match(line):
            continue
        elif not line.strip():
            columns = []
        shown = line
        for start, end in reversed(columns):
            shown = shown[:start] + shown[end:]
        yield shown


def _plots(cell: Any) -> list[Any]:
    found = [output.get("data", {}).get("image/png") for output in cell.outputs]
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGBA")) / 255
        for each in found
        if each
    ]


def _alike(one: Any, other: Any) -> bool:
    if one.shape != other.shape:
        return False
    return bool(np.abs(_blocks(one) - _blocks(other)).max() < _INK)


def _blocks(picture: Any) -> Any:
    """Return the mean of each block of a plot above its caption."""
    grey = picture[..., :3].mean(axis=-1) * picture[..., 3]
    rows, columns = (
        int(grey.shape[0] * (1 - _CAPTION)) // _BLOCK,
        grey.shape[1] // _BLOCK,
    )
    cut = grey[: rows * _BLOCK, : columns * _BLOCK]
    return cut.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
