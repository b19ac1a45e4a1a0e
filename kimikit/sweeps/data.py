"""Take a sweep as data: trials one by one, a part of them, rows for other tools."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import msgspec

from kimikit.errors import BadInput, nearest
from kimikit.files import pandas
from kimikit.json_values import writable
from kimikit.paths import writing
from kimikit.sweeps.trial import Trial
from kimikit.sweeps.values import Outcome

if TYPE_CHECKING:
    from kimikit.files import SqlTable


class SweepData(Outcome, frozen=True, kw_only=True, dict=True):
    """The half of a ``Sweep`` that other tools read."""

    def __len__(self) -> int:
        return len(self.trials)

    def __bool__(self) -> bool:
        return True  # a sweep that was only planned is one

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    @overload
    def __getitem__(self, place: int) -> Trial: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> Trial | Self:
        if isinstance(place, slice):
            return self._part(range(len(self.trials))[place])
        return self.trials[place]

    def where(self, **labels: Any) -> Self:
        """Return the part of the sweep that was asked with these values.

        Args:
            **labels: For each parameter a value, a list of values, or a function that
                is given a value and says whether to keep it.

        Raises:
            BadInput: If the sweep has no such parameter, or nothing has the value.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> [trial.repeat for trial in sweep.where(temperature=0)]
            [0, 1]
        """
        tests: dict[str, Callable[[Any], bool]] = {}
        for name, wanted in labels.items():
            known = self._labels(name)
            if callable(wanted):
                tests[name] = wanted
                continue
            some, all_known = _wanted(wanted), frozenset(known)
            if absent := [v for v in some if not _is_in(v, all_known)]:
                shown = ", ".join(f"{value!r:.60}" for value in known[:20])
                raise BadInput(
                    f"Nothing was asked with {name}={absent[0]!r:.60}.",
                    f"It was asked with {shown}.",
                )
            tests[name] = frozenset(some).__contains__
        return self._part(
            place
            for place, trial in enumerate(self.trials)
            if all(test(trial.params.get(name)) for name, test in tests.items())
        )

    def _labels(self, name: str) -> tuple[Any, ...]:
        """Return the values of a parameter, in order."""
        known = {**{key: (value,) for key, value in self.fixed.items()}, **self.axes}
        if name not in known:
            raise BadInput(
                f"The sweep has no parameter {name!r}.{nearest(name, known)}",
                f"Use one of {', '.join(known)}.",
            )
        return known[name]

    def _part(self, places: Any) -> Self:
        """Return the sweep with some of its trials, and what was judged of them."""
        places = list(places)
        trials = tuple(self.trials[place] for place in places)
        axes = {}
        for name, labels in self.axes.items():
            there = {trial.params.get(name) for trial in trials}
            axes[name] = tuple(label for label in labels if label in there)
        part = msgspec.structs.replace(self, trials=trials, axes=axes)
        scores = {
            name: [values[place] for place in places]
            for name, values in self.scores.items()
        }
        facts = {"metric_errors": self.metric_errors, "silent": self.silent}
        facts |= {"scores": scores, "_asked": [self._asked[place] for place in places]}
        part.__dict__.update(facts)
        return part

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat dict per trial: parameters, answer, tokens, cost and scores.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> row = sweep.rows()[0]
            >>> row["temperature"], row["repeat"], row["prompt"]
            (0, 0, 'Name a colour.')
        """
        rows = [self._row(place, trial) for place, trial in enumerate(self.trials)]
        names = dict.fromkeys(name for row in rows for name in row)
        return [{name: row.get(name) for name in names} for row in rows]

    def _row(self, place: int, trial: Trial) -> dict[str, Any]:
        from kimikit.sweeps.rows import flat

        text = self._asked[place]
        row = flat(trial, self.fixed)
        row |= {} if text is None else {"prompt_text": text}
        return row | {name: values[place] for name, values in self.scores.items()}

    def _columns(self) -> Any:
        """Return all rows as columns, from memory or from the folder."""
        if self.on_disk is not None:
            return self.on_disk.folder.data
        from kimikit.files import dataset
        from kimikit.sweeps.rows import tables

        given = self.trials, self.axes, self.fixed, self.scores, self._asked
        return dataset(tables(*given))

    def sql(self, query: str) -> SqlTable:
        """Answer a query of SQL about the trials, by DuckDB.

        It sees nothing but the table ``trials``, one row each, which has the columns
        of ``rows()``: no file, no network.

        Args:
            query: The query.

        Returns:
            The rows found: ``.rows``, ``.to_pandas()``, ``.to_polars()``.

        Raises:
            MissingDependency: If DuckDB or pyarrow is not installed.
            BadInput: If the query is wrong.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> query = "select temperature, count(*) as n from trials group by 1"
            >>> sweep.sql(f"{query} order by 1").rows
            [{'temperature': 0, 'n': 2}, {'temperature': 1, 'n': 2}]
        """
        from kimikit.files import sql
        from kimikit.sweeps.rows import HIDDEN

        return sql(query, "trials", self._columns(), HIDDEN)

    def to_polars(self) -> Any:
        """Return one row per trial as a frame of polars.

        Raises:
            MissingDependency: If polars, narwhals or pyarrow is not installed.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=2)
            >>> sweep.to_polars()["temperature"].to_list()
            [0, 0, 1, 1]
        """
        from kimikit.files import to_polars

        return to_polars(self._visible())

    def _visible(self) -> Any:
        """Return all rows as one table of columns."""
        from kimikit.sweeps.rows import HIDDEN

        data = self._columns()
        return data.to_table([n for n in data.schema.names if n not in HIDDEN])

    def to_pandas(self) -> Any:
        """Return one row per trial; ``pandas.DataFrame(sweep.summary())`` has points.

        Raises:
            MissingDependency: If pandas is not installed.
        """
        pd = pandas()
        if self.on_disk is not None:
            return self._visible().to_pandas()
        return pd.DataFrame(writable(self.rows()))

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return one line per trial as CSV, or write it to a file.

        Args:
            path: The file; an existing one is replaced. Without it, only the text is
                returned.

        Raises:
            BadInput: If the file cannot be written.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=1)
            >>> sweep.to_csv().splitlines()[0]
            'prompt,...temperature,...'
        """
        return as_csv(self.rows(), path, heads=("repeat",))

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write one row per trial to a Parquet file; an existing one is replaced.

        Args:
            path: The file.

        Raises:
            MissingDependency: If pyarrow is not installed.
            BadInput: If the file cannot be written.

        Example:
            >>> sweep = kimi.sweep("Name a colour.", temperature=[0, 1], repeats=1)
            >>> sweep.to_parquet("trials.parquet").name
            'trials.parquet'
        """
        from kimikit.files import copy_to
        from kimikit.sweeps.rows import HIDDEN

        return copy_to(path, self._columns(), HIDDEN)


def _wanted(wanted: Any) -> list[Any]:
    """Return a value, or several, as a list."""
    many = isinstance(wanted, Collection) and not isinstance(wanted, str | bytes | dict)
    return list(wanted) if many else [wanted]


def _is_in(value: Any, labels: Collection[Any]) -> bool:
    """Tell whether a value is a label; a list is none."""
    try:
        return value in labels
    except TypeError:
        return False


def _plain(value: Any) -> Any:
    """Return a value as a file of columns holds it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return writable(str(value))


def as_csv(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str] | None = None,
    *,
    heads: Sequence[str],
) -> str:
    """Return rows as CSV, or write them to a file; ``heads`` where there are none.

    Raises:
        BadInput: If the file cannot be written.
    """
    out = io.StringIO(newline="")
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(out, names if rows else heads)
    writer.writeheader()
    writer.writerows({k: _plain(v) for k, v in row.items()} for row in rows)
    text: str = writable(out.getvalue())
    if path is not None:
        with writing(path) as fresh:
            fresh.write_text(text, "utf-8", newline="")
    return text
