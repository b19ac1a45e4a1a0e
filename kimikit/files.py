"""Keep rows as columns: as Parquet files, for SQL, and as frames of other libraries."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from kimikit import html
from kimikit.display.renderable import Renderable, Table
from kimikit.errors import BadInput, needed
from kimikit.json_values import writable
from kimikit.paths import path_of, writing

Kind = Literal["bool", "int", "float", "money", "text", "time", "bytes"]
"""What a column holds; ``money`` is exact to a pico-dollar."""

SHOWN = 10
"""Rows of a table that a view shows."""

AT_ONCE = 2_048
"""Rows that are made columns at once."""

CAST = "Cast its column, such as in: select cast(x as varchar)."
"""What to do about a column of a query that another library cannot hold."""

_PICO = Decimal("1e-12")
_LIMIT = threading.Lock()
_LONGEST = 2**31 - 1
"""A limit that Python's csv can hold on every system."""


def csv_rows(text: str, **options: Any) -> tuple[list[str], list[dict[Any, Any]]]:
    """Return the header and the rows of a CSV text, however long its cells are.

    Args:
        text: The whole text.
        options: For ``csv.DictReader``.
    """
    lines = csv.DictReader(io.StringIO(text, newline=""), **options)
    # The limit of a cell belongs to the whole process, whose own it gets back.
    with _LIMIT:
        before = csv.field_size_limit()
        limit = max(before, min(len(text), _LONGEST))
        csv.field_size_limit(limit)
        try:
            return list(lines.fieldnames or ()), list(lines)
        finally:
            if csv.field_size_limit() == limit:
                csv.field_size_limit(before)


def packages(purpose: str) -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module.

    Raises:
        MissingDependency: If pyarrow is not installed.
    """
    with needed("pyarrow", purpose, "scale"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet


def pandas() -> Any:
    """Return pandas, for a ``to_pandas()``.

    Raises:
        MissingDependency: If it is not installed.
    """
    with needed("pandas", "to_pandas()", "pandas"):
        import pandas
    return pandas


def kind_of(values: Iterable[Any]) -> Kind:
    """Return the one kind of column that holds all these values."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return "text"
    if kinds == {bool}:
        return "bool"
    if kinds <= {int, float}:
        whole = kinds == {int} and all(
            -(2**63) <= v < 2**63 for v in values if v is not None
        )
        return "int" if whole else "float"
    return "money" if kinds == {Decimal} else "text"


def _plain(values: Sequence[Any], kind: Kind) -> Sequence[Any]:
    """Return values as a column of a kind holds them."""
    if kind == "money":
        return [None if v is None else v.quantize(_PICO) for v in values]
    if kind == "float":
        return [None if v is None else float(v) for v in values]
    return (
        [None if v is None else _text(v) for v in values] if kind == "text" else values
    )


def _array(values: Sequence[Any], kind: Kind, of: Any) -> Any:
    """Return a column of pyarrow; what it cannot hold, such as 2**64, is unknown."""
    pa, _ = packages("A table of columns")
    odd = ArithmeticError, UnicodeEncodeError, pa.ArrowException
    if kind != "text" or {*map(type, values)} <= {str, type(None)}:
        with contextlib.suppress(*odd):
            return pa.array(values, of)  # most values are plain already
    try:
        return pa.array(_plain(values, kind), of)
    except odd:
        if len(values) == 1:
            return pa.nulls(1, of)
    half = len(values) // 2
    return pa.concat_arrays(
        [_array(v, kind, of) for v in (values[:half], values[half:])]
    )


def _are_alike(values: Sequence[Any]) -> bool:
    """Tell whether a column holds one text alone, or nothing."""
    first = values[0]
    alike = type(first) is str or first is None
    return alike and values.count(first) == len(values)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    text: str = writable(value if type(value) is str else str(value))
    return text


def arrow_table(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> Any:
    """Return rows as a table of pyarrow."""
    return arrow_columns(
        {name: [row.get(name) for row in rows] for name in kinds}, kinds
    )


def arrow_columns(
    columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, Kind]
) -> Any:
    """Return columns as a table of pyarrow; values that all are alike are made once."""
    pa, _ = packages("A table of columns")
    types = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "money": pa.decimal128(38, 12),
        "text": pa.string(),
        "time": pa.timestamp("us"),
        "bytes": pa.binary(),
    }
    arrays = {}
    for name, kind in kinds.items():
        values, count = columns[name], 1
        if len(values) > 1 and _are_alike(values):
            values, count = values[:1], len(values)
        made = _array(values, kind, types[kind])
        arrays[writable(name)] = made if count == 1 else pa.repeat(made[0], count)
    return pa.table(arrays)


def write_file(
    path: str | os.PathLike[str],
    rows: Iterable[Mapping[str, Any]],
    kinds: Mapping[str, Kind],
) -> Path:
    """Write rows as one Parquet file, some at a time.

    Raises:
        MissingDependency: If pyarrow is not installed.
        BadInput: If the file cannot be written.
    """
    _, pq = packages("A Parquet file")
    schema = arrow_table([], kinds).schema
    left = iter(rows)
    with (
        writing(path) as fresh,
        pq.ParquetWriter(fresh, schema, compression="zstd") as out,
    ):
        while some := list(itertools.islice(left, AT_ONCE)):
            out.write_table(arrow_table(some, kinds))
    return path_of(path)


def dataset(tables: Iterable[Any]) -> Any:
    """Return tables of pyarrow that continue each other as a dataset, as files are."""
    pa, _ = packages("A table of columns")
    from pyarrow.dataset import dataset as made

    return made(pa.concat_tables(tables))


def copy_to(
    path: str | os.PathLike[str], data: Any, hidden: Collection[str] = ()
) -> Path:
    """Write a dataset as one Parquet file, some rows at a time.

    Raises:
        BadInput: If the file cannot be written.
    """
    pa, pq = packages("A Parquet file")
    names = [name for name in data.schema.names if name not in hidden]
    schema = pa.schema([data.schema.field(name) for name in names])
    with (
        writing(path) as fresh,
        pq.ParquetWriter(fresh, schema, compression="zstd") as out,
    ):
        for batch in data.to_batches(columns=names):
            out.write_batch(batch)
    return path_of(path)


def to_polars(table: Any) -> Any:
    """Return a table of pyarrow as a frame of polars.

    Raises:
        MissingDependency: If narwhals or polars is not installed.
        BadInput: If polars has no such kind of column, as for SQL's intervals.
    """
    with needed("narwhals", "to_polars()", "scale"):
        import narwhals
    with needed("polars", "to_polars()"):
        from polars.exceptions import PolarsError
    try:
        return narwhals.from_native(table, eager_only=True).to_polars()
    except PolarsError as exc:
        raise BadInput(f"polars has no such column: {exc}.", CAST) from exc


class SqlTable(Renderable):
    """What a query found; a cell shows its first rows.

    Attributes:
        arrow: The whole as a table of pyarrow.
    """

    def __init__(self, arrow: Any) -> None:
        names: dict[str, None] = {}
        for name in arrow.column_names:  # a join has two columns of one name
            others = (f"{name}_{number}" for number in itertools.count(2))
            known = itertools.chain([name], others)
            names[next(each for each in known if each not in names)] = None
        self.arrow = arrow.rename_columns(list(names))
        self._first = self._read(arrow.slice(0, SHOWN))

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.arrow.column_names)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict per row."""
        whole = self._read(self.arrow)
        return [dict(zip(self.columns, row, strict=True)) for row in whole]

    def _read(self, some: Any) -> list[tuple[Any, ...]]:
        """Return rows as values of Python.

        Raises:
            BadInput: If Python has no such value, such as a date after the year 9999.
        """
        pa, _ = packages("sql()")
        try:
            return list(zip(*(c.to_pylist() for c in some.columns), strict=True))
        except (ValueError, OverflowError, pa.ArrowException) as exc:
            raise BadInput(
                f"A value of the query is none in Python: {exc}.", CAST
            ) from exc

    def to_pandas(self) -> Any:
        """Return it as a frame of pandas.

        Raises:
            MissingDependency: If pandas is not installed.
        """
        pandas()
        return self.arrow.to_pandas()

    def to_polars(self) -> Any:
        """Return it as a frame of polars.

        Raises:
            MissingDependency: If narwhals or polars is not installed.
        """
        return to_polars(self.arrow)

    def _parts(self) -> tuple[str, list[Table], str]:
        rows = self._first
        shown = [[_cell(value) for value in row] for row in rows]
        kinds = [kind_of(values) for values in zip(*rows, strict=True)]
        numeric = [n for n, kind in enumerate(kinds) if kind not in ("text", "bool")]
        note = html.many(len(self), "row")
        if len(self) > len(rows):
            note += f", the first {len(rows)} shown"
        return "", [Table(self.columns, shown, numeric, note)], ""


def _cell(value: Any) -> object:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Decimal):
        return f"{value:f}".rstrip("0").rstrip(".") or "0"
    return "" if value is None else html.opening(str(value), 100)


def sql(query: str, name: str, data: Any, hidden: Collection[str] = ()) -> SqlTable:
    """Answer a query of SQL over one table; it reads no file and reaches no network.

    Args:
        query: The query.
        name: What it calls the table.
        data: The table, or the files, by pyarrow.
        hidden: Columns that it does not see.

    Raises:
        MissingDependency: If DuckDB is not installed.
        BadInput: If the query is wrong.
    """
    with needed("duckdb", "sql()", "scale"):
        import duckdb
    columns = [each for each in data.schema.names if each not in hidden]
    quoted = ", ".join('"' + each.replace('"', '""') + '"' for each in columns)
    with duckdb.connect(config={"python_enable_replacements": "false"}) as db:
        # The folder may be anybody's, and so may the query: they see these rows alone.
        db.register("_stored", data)
        db.execute("SET enable_external_access = false")
        db.execute("SET lock_configuration = true")
        try:
            db.execute(f"CREATE VIEW {name} AS SELECT {quoted} FROM _stored")
            found = db.sql(query)
            return SqlTable(
                packages("sql()")[0].table({}) if found is None
                else found.to_arrow_table()
            )  # fmt: skip
        except duckdb.Error as exc:
            raise BadInput(
                f"The query is not answered: {str(exc).strip()}",
                f"Ask of the table {name}, whose columns are {', '.join(columns)}.",
            ) from exc
