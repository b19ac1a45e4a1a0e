"""Read the trials of a folder page by page."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, overload

import msgspec
import numpy as np

from kimikit.errors import BadInput
from kimikit.sweeps import rows
from kimikit.sweeps.answers import Answers
from kimikit.sweeps.bodies import reply_of
from kimikit.sweeps.folders import Folder
from kimikit.sweeps.grid import Label
from kimikit.sweeps.trial import Spent, Trial

Axes = Mapping[str, Sequence[Any]]

FULL = ("_point", "repeat", "_whole", "_came", "_stored")
"""Columns of a trial that never lack a value."""

_OF_ANSWERS = ("said", "tokens", "seconds")
"""Columns of a page that an answer is made of."""


class Known(msgspec.Struct, kw_only=True):
    """What a folder says of its sweep beside its trials.

    Attributes:
        sweep: The other fields of the sweep.
        odd: The labels of points that the grid does not have, by their places.
        spent: What its answers took together.
        answered: How many came whole.
        rates: The metrics that said true or false alone.
        metric_errors: What metrics raised, by their names.
    """

    sweep: dict[str, Any]
    odd: dict[str, dict[str, Any]] = {}
    spent: list[Spent] = []
    answered: int = 0
    rates: list[str] = []
    metric_errors: dict[str, list[str]] = {}


def labels_of(axes: Axes, fixed: Mapping[str, Any], point: int) -> dict[str, Any]:
    """Return the labels of a point by its place in the grid."""
    found: dict[str, Any] = {}
    for name, axis in reversed(list(axes.items())):
        point, place = divmod(point, len(axis) + 1)
        found[name] = axis[place] if place < len(axis) else None
    return {**fixed, **{name: found[name] for name in axes}}


class TrialsOnDisk(Sequence[Trial]):
    """The trials of a folder, read some at a time.

    Args:
        folder: The folder.
        judged: Whether what metrics said stands beside them.

    Attributes:
        axes: For each axis its labels, without the keys in use.
        fixed: The parameters that are the same throughout, likewise.
        metrics: The names of what judged the answers.

    Raises:
        BadInput: If it does not hold a sweep.
    """

    def __init__(self, folder: Folder, *, judged: bool = True) -> None:
        self.folder, self.judged = folder, judged
        _check_finished(folder)
        with _a_sweep(folder):
            if folder.title.kind != "sweep":
                raise ValueError(f"it holds a {folder.title.kind}")
            self.known = msgspec.convert(folder.title.facts, Known, strict=False)
            axes = msgspec.convert(self.known.sweep["axes"], dict[str, list[Label]])
            self.axes = {name: tuple(labels) for name, labels in axes.items()}
            self.fixed = dict(self.known.sweep["fixed"])
            self.metrics = msgspec.convert(self.known.sweep["metrics"], list[str])
            _check(folder.title.columns, self.axes, self.fixed, self.metrics)
        self._page = functools.lru_cache(2)(self._read_page)
        # Groups are read one after the other, and a page holds several.
        self._table = functools.lru_cache(1)(self._read_table)
        self._point = functools.lru_cache(4096)(self._read_point)
        self.answers = functools.lru_cache(1)(self._read_answers)

    @functools.cached_property
    def _ends(self) -> list[int]:
        return [int(end) for end in np.cumsum(self.folder.groups())]

    @property
    def _text(self) -> str:
        """What the column of the texts is called."""
        return rows.called("text", {**self.axes, **self.fixed})

    def __len__(self) -> int:
        return self.folder.count

    @overload
    def __getitem__(self, place: int) -> Trial: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, place: int | slice) -> Trial | tuple[Trial, ...]:
        if isinstance(place, slice):
            return tuple(self[n] for n in range(len(self))[place])
        place = range(len(self))[place]
        page = int(np.searchsorted(self._ends, place, side="right"))
        return self._page(page)[place - (self._ends[page - 1] if page else 0)]

    def __iter__(self) -> Iterator[Trial]:
        for page in range(len(self._ends)):
            yield from self._read_page(page)

    def _read_point(self, point: int) -> dict[str, Any]:
        odd = self.known.odd.get(str(point))
        return odd or labels_of(self.axes, self.fixed, point)

    def _read_page(self, page: int) -> list[Trial]:
        columns = ["_point", "repeat", "error", "_whole", "_stored", "_reply"]
        columns.append(self._text)
        table = self.folder.read(page, columns)
        cells = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
        return [self._trial(*row) for row in cells]

    def _trial(
        self,
        point: int,
        repeat: int,
        error: str | None,
        whole: bool,  # noqa: FBT001 - a row's own cells
        stored: bool,  # noqa: FBT001
        body: bytes | None,
        text: str | None,
    ) -> Trial:
        try:
            reply = None if body is None else reply_of(body, text)
        except msgspec.MsgspecError as exc:
            raise BadInput(
                f"An answer in {self.folder.path} cannot be read ({exc}).",
                "Ask again by the same name=, into another folder.",
            ) from exc
        return Trial(
            params=self._point(point),
            repeat=repeat,
            error=error,
            stored=bool(stored),
            **({"reply": reply} if whole else {"partial": reply}),
        )

    # What is known without an object for each.

    def failures(self) -> Counter[str]:
        """Return why trials failed, and how often."""
        found = self.folder.column("error").drop_null().value_counts().to_pylist()
        return Counter({each["values"]: each["counts"] for each in found})

    def asked(self) -> list[str | None]:
        """Return for each trial what was asked, where its label does not say it."""
        known: dict[str | None, str | None] = {}  # most trials ask the same
        read = (self.folder.read(n, ["prompt_text"]) for n in range(len(self._ends)))
        texts = itertools.chain.from_iterable(table[0].to_pylist() for table in read)
        return [known.setdefault(text, text) for text in texts]

    def scores(self) -> dict[str, list[Any]]:
        """Return what each metric said of each trial."""
        out = {}
        for name in self.metrics:
            values = self.folder.column(name).to_pylist()
            rate = name in self.known.rates
            out[name] = [v if v is None or not rate else bool(v) for v in values]
        return out

    def parts(self) -> Iterator[tuple[dict[str, Any], range, int, float | None, Any]]:
        """Yield for each point its labels and places, and figures of its answers.

        These are how many came whole, the median of their words, and what was paid.
        """
        import pyarrow.compute as pc

        points = self.folder.column("_point").to_numpy()
        whole = self.folder.column("_whole").to_numpy(zero_copy_only=False)
        words, costs = self.folder.column("words"), self.folder.column("_cost")
        unpriced = pc.and_(self.folder.column("_came"), pc.is_null(costs))
        changed = np.flatnonzero(np.diff(points)) + 1
        for start, end in itertools.pairwise([0, *changed, len(points)]):
            if start == end:  # nothing came
                return
            some = words.slice(start, end - start).drop_null().to_numpy()
            cost: Decimal | None = None
            if not pc.any(unpriced.slice(start, end - start)).as_py():
                cost = pc.sum(costs.slice(start, end - start)).as_py() or Decimal(0)
            count = int(whole[start:end].sum())
            median = float(np.median(some)) if len(some) else None
            labels = self._point(int(points[start]))
            yield labels, range(int(start), int(end)), count, median, cost

    def _read_table(self, page: int) -> Any:
        """Return what figures are made of: a page's answers, as they count."""
        import pyarrow.compute as pc

        columns = [self._text, "_said", "_whole", "tokens", "seconds", "_cost", "_came"]
        table = self.folder.read(page, columns)
        said = pc.coalesce(table.column("_said"), table.column(self._text))
        made = table.select(["_whole", "_cost", "_came"]).append_column("said", said)
        for name in ("tokens", "seconds"):
            known = pc.fill_null(table.column(name), 0)
            made = made.append_column(name, known)
        return made

    def _read_answers(self, start: int, end: int) -> Answers:
        """Return the answers of some places."""
        columns: dict[str, list[Any]] = {name: [] for name in _OF_ANSWERS}
        costs: list[Decimal | None] = []
        first = 0
        for page, last in enumerate(self._ends):
            if first < end and last > start:
                low = max(start - first, 0)
                table = self._table(page).slice(low, min(end, last) - first - low)
                paid, came = table.column("_cost"), table.column("_came")
                costs += paid.filter(came).to_pylist()
                whole = table.filter(table.column("_whole"))
                for name, some in columns.items():
                    some += whole.column(name).to_pylist()
            first = last
        texts, tokens, seconds = columns.values()
        return Answers(texts, tokens, seconds, costs)

    def __reduce__(self) -> Any:
        return _opened, (str(self.folder.path), self.judged)


@contextlib.contextmanager
def _a_sweep(folder: Folder) -> Iterator[None]:
    """Say of what a folder tells otherwise that it is no sweep.

    Raises:
        BadInput: If it is none.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise BadInput(
            f"The folder {folder.path} holds no sweep ({exc}).",
            "Give the folder that kimi.sweep(..., results=) named.",
        ) from exc


def _check_finished(folder: Folder) -> None:
    """Refuse the folder of a sweep that was killed, or is under way.

    Raises:
        BadInput: Saying how to go on with it.
    """
    title = folder.title
    if title.kind == "sweep" and not title.facts:
        raise BadInput(
            f"The sweep {title.name!r} in {folder.path} has not ended yet.",
            f"Wait for it or, if it was killed, ask again with name={title.name!r} and "
            "this results=: what is paid for is not bought again.",
        )


def _check(
    columns: Mapping[str, str],
    axes: Axes,
    fixed: Mapping[str, Any],
    metrics: Sequence[str],
) -> None:
    """Refuse a folder whose columns are not those of its sweep.

    Raises:
        ValueError: If they are others.
    """
    expected = {**rows.HIDDEN, **rows.kinds(axes, fixed, metrics)}
    given = axes.keys() | fixed.keys()  # what JSON made of a label may be another kind
    wrong = expected.keys() ^ columns.keys()
    wrong |= {n for n in expected.keys() - given - wrong if expected[n] != columns[n]}
    if wrong:
        raise ValueError(f"its columns are others: {', '.join(sorted(wrong))}")


def _opened(path: str, judged: bool) -> TrialsOnDisk:  # noqa: FBT001
    return TrialsOnDisk(Folder(path, FULL), judged=judged)


def open_sweep(
    path: str | os.PathLike[str], kind: type[msgspec.Struct], *, judged: bool
) -> tuple[Any, dict[str, Any]]:
    """Return the trials of a folder, and the other fields of its sweep's class.

    Raises:
        BadInput: If it holds no sweep.
    """
    trials = _opened(os.fspath(path), judged)
    with _a_sweep(trials.folder):
        known = {**trials.known.sweep, "metrics": {}, "embed": None, "trials": []}
        made = msgspec.convert(known, kind, strict=False)
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return trials, {**fields, "metrics": trials.metrics}
