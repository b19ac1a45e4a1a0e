"""Measure how much of their wording two answers share, exactly at any length."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from kimikit.sweeps.intervals import Array

PIECE = 4
"""Characters of the pieces that lexical similarity compares."""

TABLE = 16
"""Numbers are looked up in a table of at most so many places for each, else sorted."""

LARGEST_TABLE = 1 << 25
"""Places of the largest table."""

FEW_TEXTS = 64
"""Texts up to which BLAS compares all that two of them have in common."""

COLUMNS = 8192
"""Pieces that go through one matrix product."""


def codes(items: Iterable[Hashable]) -> Array:
    """Return a number for each item, equal for equal ones."""
    number: dict[Hashable, int] = collections.defaultdict(itertools.count().__next__)
    return np.fromiter(map(number.__getitem__, items), np.int64)


def _different(values: Array) -> Array:
    """Return the different whole numbers, in order."""
    size = int(values.max(initial=0)) + 1
    if size > min(TABLE * (len(values) + TABLE), LARGEST_TABLE):
        ordered = np.sort(values)  # np.unique hashes, which takes thirty times as long
        return np.asarray(ordered[np.diff(ordered, prepend=-1) != 0])
    seen = np.zeros(size, dtype=bool)
    seen[values] = True
    return np.flatnonzero(seen)


def _counted(ordered: Array) -> Array:
    """Return equal numbers from 0 for equal ones, which stand beside each other."""
    return np.cumsum(np.diff(ordered, prepend=ordered[:1]) != 0)


def numbered(values: Array) -> Array:
    """Return equal numbers from 0 for equal whole numbers."""
    different = _different(values)
    size = int(values.max(initial=0)) + 1
    if size > min(TABLE * (len(values) + TABLE), LARGEST_TABLE):
        return np.searchsorted(different, values)
    place = np.zeros(size, dtype=np.int32)
    place[different] = np.arange(len(different))
    return place[values].astype(np.int64)


def in_order(values: Array) -> Array:
    """Return the places of whole numbers in their order, equal ones as they stand.

    What has 16 bits is sorted by counting, in a seventh of the time, and so twice.
    """
    order = np.argsort(values.astype(np.uint16), kind="stable")
    if int(values.max(initial=0)) >> 32:
        return np.argsort(values, kind="stable")
    high = (values >> 16).astype(np.uint16)[order]
    return order[np.argsort(high, kind="stable")] if high.any() else order


def lexical(texts: Sequence[str]) -> Array:
    """Return for each pair the Jaccard index of their pieces of four characters.

    It needs no corpus, so values of two sweeps compare, unlike TF-IDF. Pieces are
    compared themselves and not by a hash, so it is exact at any length.
    """
    from scipy import sparse

    once = codes(texts)
    different = list(dict.fromkeys(texts))
    n = len(different)
    padded = [
        f" {' '.join(text.casefold().split())} ".ljust(PIECE) for text in different
    ]
    lengths = np.array([len(text) for text in padded])
    joined = "".join(padded).encode("utf-32-le", "surrogatepass")
    pieces = numbered(np.frombuffer(joined, dtype=np.uint32)).astype(np.int64)
    for half in (1, 2):  # a piece is two pairs, and a pair is two characters
        if (int(pieces.max()) + 1) ** 2 * n >= 1 << 63:
            pieces = numbered(pieces)
        pieces = pieces[:-half] * (int(pieces.max()) + 1) + pieces[half:]
    row = np.repeat(np.arange(n), lengths)[: len(pieces)]
    # A piece that begins in one text and ends in the next belongs to neither.
    inside = np.arange(len(pieces)) + PIECE <= np.cumsum(lengths)[row]
    found = _different(pieces[inside] * n + row[inside])
    numbers, row = _counted(found // n), found % n
    sizes, texts_of = np.bincount(row, minlength=n), np.bincount(numbers)
    # What one text alone has is shared by none; what many have goes faster by BLAS.
    often, most = texts_of[numbers], n // 8 if n > FEW_TEXTS else 1
    few = (often > 1) & (often <= most)
    shared = np.zeros((n, n), dtype=np.float32)
    if few.any():
        table = (np.ones(few.sum(), dtype=np.float32), (row[few], numbers[few]))
        rare = sparse.csr_array(table, shape=(n, len(texts_of)))
        shared += (rare @ rare.T).toarray()
    column, row = _counted(numbers[often > most]), row[often > most]
    count = int(column.max(initial=-1)) + 1
    for first in range(0, count, COLUMNS):
        own = slice(*np.searchsorted(column, (first, first + COLUMNS)))
        block = np.zeros((n, min(COLUMNS, count - first)), dtype=np.float32)
        block[row[own], column[own] - first] = 1
        shared += block @ block.T
    np.fill_diagonal(shared, sizes)
    alike = shared / (sizes[:, None] + sizes[None, :] - shared)
    out: Array = alike[np.ix_(once, once)]
    return out
