"""Write trials into a folder as they come."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.errors import BadInput, KimiError
from kimikit.files import arrow_columns, packages
from kimikit.json_values import writable
from kimikit.money.storable import to_json
from kimikit.paths import path_of, taking_place
from kimikit.sweeps import rows
from kimikit.sweeps.bodies import bodies
from kimikit.sweeps.folders import (
    OURS,
    PART_BYTES,
    PART_ROWS,
    TITLE,
    Folder,
    Title,
    delete,
    read_title,
    write_title,
)
from kimikit.sweeps.on_disk import Axes, Known, TrialsOnDisk, labels_of
from kimikit.sweeps.trial import Spent, Trial
from kimikit.types import Reply

QUICKLY: dict[str, Any] = {"compression": "lz4", "use_dictionary": False}
"""How parts are written, which are put together later."""

Judged = tuple[Trial, Mapping[str, Any]]
"""A trial, and what metrics said of it."""


class TrialWriter:
    """Writes the trials of a sweep into a folder as they come, each part a whole file.

    Args:
        path: The folder; it is made if it is not there. One of the same sweep is
            written anew, and keeps its rows until ``written``.
        name: What the sweep is called.
        axes: For each axis its labels.
        fixed: The parameters that are the same throughout.
        metrics: The names of what judges answers.

    Raises:
        MissingDependency: If pyarrow is not installed.
        BadInput: If the folder holds something else, or cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        axes: Axes,
        fixed: Mapping[str, Any],
        metrics: Sequence[str],
    ) -> None:
        packages("results=")
        named = isinstance(path, str | os.PathLike) and str(path).strip()
        if not named or writable(str(path)) != str(path):  # which pyarrow cannot open
            raise BadInput(f"results is {path!r}.", "Give the path of a folder.")
        # Absolute, as the notebook's own folder may be another by and by.
        self.path = path_of(path).absolute()
        self.title = Title(
            kind="sweep",
            name=html.without_secrets(writable(name)),
            columns={**rows.HIDDEN, **rows.kinds(axes, fixed, metrics)},
            order=["_point", "repeat"],
        )
        self._rows: deque[Judged] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._run = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
        self._parts: list[str] = []
        self._began = time.time()
        self._claim()
        self._fixed, self._axes = fixed, axes
        self._places = [{v: n for n, v in enumerate(some)} for some in axes.values()]
        self._asked = rows.Asked()
        # Their labels are kept, so that no other dict has the same id.
        self._points: dict[int, tuple[dict[str, Any], int]] = {}
        self._odd: dict[str, dict[str, Any]] = {}
        self._spent: dict[Any, Spent] = {}
        self._rates: dict[str, bool] = {}
        self.answered = 0

    def _claim(self) -> None:
        before = read_title(self.path)
        asked = self.title.kind, self.title.name
        if before is not None and (before.kind, before.name) != asked:
            raise BadInput(
                f"The folder {self.path} holds the {before.kind} {before.name!r}.",
                f"Give another folder, or name={before.name!r} to go on with it.",
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # What a kernel was killed at is ours.
            names = (file.name for file in self.path.iterdir())
            if before is None and not all(n.startswith(f".{TITLE}") for n in names):
                raise BadInput(
                    f"The folder {self.path} holds other files.", "Give an empty one."
                )
            with tempfile.TemporaryFile(dir=self.path):
                pass
            if before is None:
                write_title(self.path, self.title)
        except OSError as exc:
            raise BadInput(
                f"The folder {self.path} cannot be written: {exc}.",
                "Give another folder.",
            ) from exc

    def put(self, trial: Trial, scores: Mapping[str, Any] = {}) -> None:
        """Take a trial, judged if it is to be; any thread may give it."""
        came = trial.reply or trial.partial
        size = 500 if came is None else 1000 + 4 * len(came.text) + len(came.reasoning)
        self.answered += trial.reply is not None
        self._rows.append((trial, scores))
        self._bytes += size

    @property
    def full(self) -> bool:
        """Whether enough has come for another part."""
        return len(self._rows) >= PART_ROWS or self._bytes >= PART_BYTES

    def flush(self) -> None:
        """Write what has come as a part, if anything has.

        Raises:
            KimiError: If the disk does not take it; the trials are kept.
        """
        _, pq = packages("results=")
        with self._lock:
            if not self._rows:
                return
            self._bytes = 0
            some = [self._rows.popleft() for _ in range(len(self._rows))]
            name = f"{self._run}-{len(self._parts):05}.parquet"
            try:
                with taking_place(self.path / name) as fresh:
                    pq.write_table(self._table(some), fresh, **QUICKLY)
            except Exception as exc:
                self._rows.extendleft(reversed(some))
                raise KimiError(
                    f"Answers cannot be written into {self.path}: {exc}.",
                    f"Make room there, and ask again by name={self.title.name!r}: the "
                    "ledger has what was paid for.",
                ) from exc
            self._parts.append(name)
            self._count([trial for trial, _ in some])

    def _table(self, some: Sequence[Judged]) -> Any:
        """Return trials as columns, the keys in use taken out."""
        trials = [trial for trial, _ in some]
        points = [
            self._points.get(id(t.params)) or self._note(t.params) for t in trials
        ]
        came = [trial.reply or trial.partial for trial in trials]
        said = list(map(rows.said_by, trials))
        columns = rows.columns(trials, self._axes, self._fixed, said)
        texts = [None if t.reply is None else t.reply.text for t in trials]
        columns |= {
            "_point": [point for _, point in points],
            "prompt_text": self._asked.of(trials),
            "_stored": [trial.stored for trial in trials],
            "_whole": [trial.reply is not None for trial in trials],
            "_came": [reply is not None for reply in came],
            "_cost": [reply and reply.cost for reply in came],
            "_said": [
                None if text == whole else text
                for text, whole in zip(said, texts, strict=True)
            ],
            "_reply": bodies(came, texts),
        }
        for name in self.title.columns.keys() - columns.keys():
            columns[name] = [scores.get(name) for _, scores in some]
            known = [type(v) is bool for v in columns[name] if v is not None]
            self._rates[name] = self._rates.get(name, True) and all(known)
        if html.secrets_in_use():
            columns = {name: list(map(_cut, some)) for name, some in columns.items()}
        return arrow_columns(columns, self.title.columns)

    def _note(self, labels: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Number a point by its place in the grid; one that was left out comes last."""
        point = 0
        for (name, axis), places in zip(self._axes.items(), self._places, strict=True):
            point = point * (len(axis) + 1) + places.get(labels[name], len(axis))
        if labels != labels_of(self._axes, self._fixed, point):
            self._odd[str(point)] = labels
        found = self._points[id(labels)] = labels, point
        return found

    def _count(self, trials: Sequence[Trial]) -> None:
        """Add up what trials cost once they are on disk: a write may be repeated."""
        alike: defaultdict[Any, list[Reply]] = defaultdict(list)
        for trial in trials:
            if (r := trial.reply or trial.partial) is not None:
                key = r.host, r.model, r.stand_in, r.replayed, r.cost is None
                alike[key].append(r)
        for key, some in alike.items():
            self._spent.setdefault(key, Spent(*key[:4])).add(some)

    def written(
        self, sweep: Mapping[str, Any], metric_errors: dict[str, list[str]]
    ) -> TrialsOnDisk:
        """Write what is left, and the rest of the sweep; return its trials."""
        self.flush()
        known = Known(
            sweep=dict(sweep),
            odd=self._odd,
            spent=list(self._spent.values()),
            answered=self.answered,
            rates=[name for name, rate in self._rates.items() if rate],
            metric_errors=metric_errors,
        )
        facts = msgspec.json.decode(html.without_secrets(to_json(known)))
        title = msgspec.structs.replace(self.title, parts=self._parts, facts=facts)
        if not all((self.path / part).exists() for part in self._parts):
            raise KimiError(
                f"Another kernel wrote into {self.path} meanwhile.",
                "Open what it wrote by Sweep.from_results(...), or ask again by "
                f"name={title.name!r}, into another folder.",
            )
        write_title(self.path, title)
        ours = [f for f in self.path.iterdir() if OURS.fullmatch(f.name)]
        delete([f for f in ours if f.name not in self._parts], self._began)
        return TrialsOnDisk(Folder(self.path))


def _cut(value: Any) -> Any:
    """Return a text without the keys in use."""
    if isinstance(value, bytes):
        return html.without_secrets(value.decode()).encode()
    return html.without_secrets(value) if isinstance(value, str) else value
