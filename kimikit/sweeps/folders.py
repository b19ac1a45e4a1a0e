"""Keep rows in a folder of Parquet files, and read them in their order."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kimikit.errors import BadInput
from kimikit.files import Kind, arrow_table, packages
from kimikit.paths import path_of, taking_place
from kimikit.sweeps.merging import SCRATCH, merge

PART_ROWS = 4_096
PART_BYTES = 16_000_000
"""Rows, and bytes of them, of a file that is written while answers arrive."""

TITLE = "kimikit.json"
"""The file of a folder that says what is in it."""

_PART = re.compile(r"[0-9a-z-]{1,60}\.parquet")
_RUN = r"\d{8}-\d{6}-[0-9a-f]{6}-\d{5,9}(-all)?\.parquet"
_LEFT = re.compile(
    rf"\.[0-9a-z-]+-all\.parquet\..+|\{SCRATCH}.*|\.{re.escape(TITLE)}\..+"
)
OURS = re.compile(rf"{_RUN}|\.{_RUN}\..+|{_LEFT.pattern}")
"""What is left where one who put it in order was killed; and all that a run leaves."""


class Title(msgspec.Struct, kw_only=True):
    """What a folder holds.

    Attributes:
        kind: Of what work.
        name: What the work is called.
        columns: What is in a row, by name.
        order: The columns that rows stand in the order of, once they are put in order.
        parts: The files of the last run that was finished or stopped.
        ordered: Whether its rows are in order, in one file.
        facts: What else is known of the work.
    """

    kind: str
    name: str
    columns: dict[str, Kind] = {}
    order: list[str] = []
    parts: list[str] = []
    ordered: bool = False
    facts: dict[str, Any] = {}


def read_title(folder: Path) -> Title | None:
    """Return what a folder says that it holds, ``None`` if it says nothing.

    Raises:
        BadInput: If it cannot be read, or is not what we write.
    """
    try:
        title = msgspec.json.decode((folder / TITLE).read_bytes(), type=Title)
        if all(_PART.fullmatch(part) for part in title.parts):
            return title
        why: object = "it names files elsewhere"
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        why = exc
    raise BadInput(
        f"{folder / TITLE} cannot be read: {why}.", "Give another folder."
    )  # fmt: skip


def write_title(folder: Path, title: Title) -> None:
    """Write at once, or not at all, what a folder holds."""
    with taking_place(folder / TITLE) as fresh:
        fresh.write_bytes(msgspec.json.encode(title))


def delete(files: Iterable[Path], before: float = math.inf) -> None:
    """Delete files and folders; what is newer, another kernel may be writing."""
    for file in files:
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < before:
                shutil.rmtree(file) if file.is_dir() else file.unlink()


class Folder:
    """Rows in a folder, in their order. The folder may be anybody's.

    Args:
        path: The folder.
        full: The columns in which no row may lack a value.

    Raises:
        MissingDependency: If pyarrow is not installed.
        BadInput: If it holds no rows of ours.
    """

    def __init__(
        self, path: str | os.PathLike[str], full: Collection[str] = ()
    ) -> None:
        _, self._pq = packages("results=")
        self.path = path_of(path).absolute()
        title = read_title(self.path)
        if title is None:
            raise BadInput(
                f"The folder {self.path} holds no results.",
                "Give the folder that results= named.",
            )
        self.title, self._full = title, full
        self._file: Any = None
        self._lock = threading.RLock()
        self._checked: set[str] = set()

    @property
    def count(self) -> int:
        """How many rows there are."""
        if self._file is not None:
            return int(self._file.metadata.num_rows)
        with self._readable():
            files = [self.path / part for part in self._parts()]
            return sum(self._pq.read_metadata(file).num_rows for file in files)

    def _parts(self) -> list[str]:
        """Return the files as they are now: others may have put them in order."""
        now = read_title(self.path)
        if now is not None and now.ordered:
            self.title.parts, self.title.ordered = now.parts, True
        expected = arrow_table([], self.title.columns).schema
        for part in self.title.parts:
            if part not in self._checked:
                if not self._pq.read_schema(self.path / part).equals(expected):
                    raise OSError(f"{part} has other columns than it should")
                self._checked.add(part)
        return self.title.parts

    def _whole(self, table: Any) -> Any:
        """Return a table, unless a value is missing where one must be."""
        for name in self._full:
            if name in table.column_names and table.column(name).null_count:
                raise OSError(f"the column {name} lacks values")
        return table

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        pa, _ = packages("results=")
        try:
            yield
        except (OSError, pa.ArrowException) as exc:
            raise BadInput(
                f"The rows in {self.path} cannot be read: {exc}.",
                "Ask again by the same name=, into another folder.",
            ) from exc

    @property
    def file(self) -> Any:
        """The one file whose rows are in order; it is made at the first call."""
        with self._lock, self._readable():
            if self._file is None:
                if self._parts() and not self.title.ordered:
                    self._put_in_order()
                for part in self.title.parts:
                    self._file = self._pq.ParquetFile(self.path / part)
        return self._file

    def _put_in_order(self) -> None:
        files = [self.path / part for part in self.title.parts]
        name = files[0].name.replace(".parquet", "-all.parquet")
        began = time.time()
        try:
            with taking_place(self.path / name) as fresh:
                merge(files, self.title.order, fresh)
                now = read_title(self.path)
                if now is None or now.parts != self.title.parts:
                    raise OSError("others have written it anew")
        except OSError:  # or they have put it in order, and deleted what was read here
            self._parts()
            if not self.title.ordered:
                raise
            return
        self.title.parts, self.title.ordered = [name], True
        write_title(self.path, self.title)
        delete(files)
        delete([f for f in self.path.iterdir() if _LEFT.fullmatch(f.name)], began)

    @property
    def data(self) -> Any:
        """All rows as a dataset of pyarrow."""
        from pyarrow import dataset

        with self._readable():
            if self.file is None:
                return dataset.dataset(arrow_table([], self.title.columns))
            return dataset.dataset([self.path / part for part in self.title.parts])

    def groups(self) -> list[int]:
        """Return how many rows are read at once, for each such group of them."""
        if self.file is None:
            return []
        meta = self.file.metadata
        return [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]

    def read(self, group: int, columns: Sequence[str]) -> Any:
        """Return some columns of a group of rows, as a table of pyarrow."""
        # A ParquetFile is for one thread at a time.
        with self._lock, self._readable():
            return self._whole(self.file.read_row_group(group, columns=list(columns)))

    def column(self, name: str) -> Any:
        """Return a whole column."""
        with self._lock, self._readable():
            if self.file is None:
                return arrow_table([], self.title.columns).column(name)
            return self._whole(self.file.read(columns=[name])).column(name)
