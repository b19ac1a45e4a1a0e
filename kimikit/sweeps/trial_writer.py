"""Write trials into a folder as they come."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kimikit import html
from kimikit.files import arrow_columns
from kimikit.json_values import writable
from kimikit.money.storable import to_json
from kimikit.sweeps import rows
from kimikit.sweeps.bodies import bodies
from kimikit.sweeps.folders import FolderWriter, Title
from kimikit.sweeps.on_disk import Axes, Known, TrialsOnDisk, labels_of
from kimikit.sweeps.trial import Spent, Trial
from kimikit.types import Reply


class TrialWriter(FolderWriter):
    """Writes the trials of a sweep as they come.

    Args:
        path: The folder.
        name: What the sweep is called.
        axes: For each axis its labels.
        fixed: The parameters that are the same throughout.
        metrics: The names of what judges answers.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        axes: Axes,
        fixed: Mapping[str, Any],
        metrics: Sequence[str],
    ) -> None:
        columns = {**rows.HIDDEN, **rows.kinds(axes, fixed, metrics)}
        order = ["_point", "repeat"]
        named = html.without_secrets(writable(name))
        title = Title(kind="sweep", name=named, columns=columns, order=order)
        super().__init__(path, title, self._table)
        self._fixed, self._axes = fixed, axes
        self._places = [{v: n for n, v in enumerate(some)} for some in axes.values()]
        self._asked = rows.Asked()
        # Their labels are kept, so that no other dict has the same id.
        self._points: dict[int, tuple[dict[str, Any], int]] = {}
        self._odd: dict[str, dict[str, Any]] = {}
        self._spent: dict[Any, Spent] = {}
        self._rates: dict[str, bool] = {}
        self.answered = 0

    def put(self, trial: Trial, scores: Mapping[str, Any] = {}) -> None:
        """Take a trial, judged if it is to be."""
        came = trial.reply or trial.partial
        size = 500 if came is None else 1000 + 4 * len(came.text) + len(came.reasoning)
        self.answered += trial.reply is not None
        self.add((trial, scores), size)

    def _table(self, some: Sequence[tuple[Trial, Mapping[str, Any]]]) -> Any:
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

    def _took(self, rows: Sequence[tuple[Trial, Mapping[str, Any]]]) -> None:
        """Add up what trials cost once they are on disk: a write may be repeated."""
        alike: defaultdict[Any, list[Reply]] = defaultdict(list)
        for trial, _ in rows:
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
        return TrialsOnDisk(self.finish(facts))


def _cut(value: Any) -> Any:
    """Return a text without the keys in use."""
    if isinstance(value, bytes):
        return html.without_secrets(value.decode()).encode()
    return html.without_secrets(value) if isinstance(value, str) else value
