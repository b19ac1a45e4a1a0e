"""Rows of many files become one file in order, however little memory there is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from kimikit.sweeps.merging import GROUP_ROWS, LEAST_ROWS, merge

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

KINDS = {
    "point": pa.int64(), "repeat": pa.int64(), "text": pa.string(),
    "body": pa.binary(), "cost": pa.decimal128(38, 12), "right": pa.bool_(),
}  # fmt: skip


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows in any order, some of them with gaps and some with equal keys."""
    rng = random.Random(3)
    return [
        {
            "point": rng.randrange(7),
            "repeat": rng.choice([number, number // 2]),
            "text": rng.choice([None, "", "é" * (number % 9)]),
            "body": str(number).encode(),
            "right": rng.choice([None, True, False]),
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("at_once", [1, 200_000, 1 << 40])
@pytest.mark.parametrize("sizes", [[5], [9000, 0, 3, 9000, 2100], [0]])
def test_rows_of_files_are_put_in_order(
    tmp_path: Path, sizes: list[int], at_once: int
) -> None:
    table = pa.Table.from_pylist(rows(sum(sizes)), schema=pa.schema(KINDS))
    files: list[Path] = []
    start = 0
    for size in sizes:
        files.append(tmp_path / f"{len(files)}.parquet")
        pq.write_table(table.slice(start, size), files[-1])
        start += size
    target = tmp_path / "all.parquet"
    merge(files, ["point", "repeat"], target, at_once)
    keys = [("point", "ascending"), ("repeat", "ascending")]
    assert pq.read_table(target).equals(table.sort_by(keys))
    meta = pq.read_metadata(target)
    groups = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
    assert set(groups[:-1]) <= {LEAST_ROWS if at_once == 1 else GROUP_ROWS}
    assert {file.name for file in tmp_path.iterdir()} == {
        f.name for f in [*files, target]
    }
