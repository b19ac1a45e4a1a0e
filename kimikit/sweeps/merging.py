"""Put the rows of Parquet files in order as one file, in bounded memory.

Rows that came in any order are read twice: once the columns that tell their order, from
which each row's place is known, and once whole. What is in memory then is put in order
and laid aside in pieces, one for each stretch of places; the pieces of a stretch make
a part of the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kimikit.files import packages

GROUP_ROWS = 8_192
LEAST_ROWS = 64
"""Rows of a finished file that are read at once: fewer where their texts are long."""

AT_ONCE_BYTES = 40_000_000

SCRATCH = ".sorting"
"""What the names of the folders begin with that pieces are laid aside in."""

Places = np.ndarray[Any, np.dtype[np.int64]]


def merge(
    files: Sequence[Path],
    order: Sequence[str],
    target: Path,
    at_once: int = AT_ONCE_BYTES,
) -> None:
    """Write the rows of some files, all with the same columns, in order as one.

    Args:
        files: The files, each of which fits into memory.
        order: The columns whose values are the order.
        target: The file to write, in a folder that has room for as much again.
        at_once: Bytes of rows that are put in order at once, about.
    """
    pa, pq = packages("results=")
    places = _places(files, order)
    sizes = [_bytes_of(pq.read_metadata(file)) for file in files]
    # As many rows as fit, in groups that fit too where texts are long.
    fit = min(len(places), len(places) * at_once // max(1, sum(sizes)))
    group = min(GROUP_ROWS, max(LEAST_ROWS, fit))
    rows = group * max(1, fit // group)
    ends = np.arange(0, len(places) + rows, rows)
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=SCRATCH) as scratch,
        pq.ParquetWriter(target, pq.read_schema(files[0]), compression="zstd") as out,
    ):
        runs: list[tuple[Path, Places]] = []
        for table, own in _runs(files, sizes, places, at_once):
            by_place = np.argsort(own)
            runs.append((Path(scratch, f"{len(runs)}.arrow"), own[by_place]))
            _lay_aside(table.take(by_place), *runs[-1], ends)
        for number, stretch in enumerate(pairwise(ends)):
            pieces, here = [], []
            for file, all_places in runs:
                pieces.append(_piece(file, number))
                start, end = np.searchsorted(all_places, stretch)
                here.append(all_places[start:end])
            by_place = np.argsort(np.concatenate(here))
            table = pa.Table.from_batches(pieces).combine_chunks().take(by_place)
            out.write_table(table, row_group_size=group)


def _bytes_of(meta: Any) -> int:
    """Return how many bytes a file has in memory."""
    return sum(meta.row_group(n).total_byte_size for n in range(meta.num_row_groups))


def _read(file: Path, columns: Sequence[str] | None = None) -> Any:
    _, pq = packages("results=")
    with pq.ParquetFile(file) as opened:
        return opened.read(columns, use_threads=False)


def _places(files: Sequence[Path], order: Sequence[str]) -> Places:
    """Return for each row, in the order of the files, its place in the whole."""
    pa, _ = packages("results=")
    from pyarrow import compute

    keys = pa.concat_tables([_read(file, order) for file in files])
    ranked = compute.sort_indices(keys, [(name, "ascending") for name in order])
    places = np.empty(len(ranked), np.int64)
    places[ranked.to_numpy()] = np.arange(len(ranked))
    return places


def _runs(
    files: Sequence[Path], sizes: Sequence[int], places: Places, at_once: int
) -> Iterator[tuple[Any, Places]]:
    """Yield the rows of as many files as are put in order at once, and their places."""
    pa, _ = packages("results=")
    some: list[Any] = []
    size = start = 0
    for number, file in enumerate(files):
        some.append(_read(file))
        size += sizes[number]
        if size >= at_once or number == len(files) - 1:
            table = pa.concat_tables(some).combine_chunks()
            yield table, places[start : start + len(table)]
            start += len(table)
            some, size = [], 0


def _lay_aside(table: Any, file: Path, own: Places, ends: Places) -> None:
    """Write rows that are in order, a piece for each stretch of places."""
    pa, _ = packages("results=")
    cuts = np.searchsorted(own, ends)
    with pa.ipc.new_file(file, table.schema) as out:
        for start, end in pairwise(cuts):
            piece = table.slice(start, end - start).combine_chunks().to_batches()
            out.write_batch(
                piece[0] if piece else pa.RecordBatch.from_pylist([], table.schema)
            )


def _piece(file: Path, number: int) -> Any:
    pa, _ = packages("results=")
    with pa.OSFile(str(file)) as source:
        return pa.ipc.open_file(source).get_batch(number)
