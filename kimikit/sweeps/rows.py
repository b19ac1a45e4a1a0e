"""Flatten trials to rows, as frames, files and SQL have them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

from kimikit.files import AT_ONCE, Kind, arrow_columns, kind_of
from kimikit.sweeps.answers import once_if_short, text_of
from kimikit.sweeps.segmentation import words
from kimikit.sweeps.trial import Trial

COUNTS = (
    "prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens",
    "reasoning_tokens",
)  # fmt: skip
OF_REPLY: dict[str, Kind] = {
    "text": "text",
    "finish_reason": "text",
    "cost": "money",
    "model": "text",
    "host": "text",
}
"""What a row has of an answer, called ``used_...`` where a parameter is called so."""

HIDDEN: dict[str, Kind] = {
    "_point": "int",
    "_said": "text",
    "_whole": "bool",
    "_came": "bool",
    "_stored": "bool",
    "_cost": "money",
    "_reply": "bytes",
}
"""Columns of ours: the point's place in the grid, the text that counts where it is not
the answer's, whether it is whole, anything came and it was paid for before, what was
paid, and all of it.
"""


_NONE: Any = SimpleNamespace(
    **dict.fromkeys((*OF_REPLY, "duration_s", "first_token_s")),
    usage=SimpleNamespace(**dict.fromkeys((*COUNTS, "estimated"))),
)
"""What stands for an answer that did not come whole: all of it is unknown."""


@once_if_short
def _count(text: str) -> int:
    return len(words(text))


def _each(things: Sequence[Any], name: str) -> list[Any]:
    """Return what each of many things has by this name, as fast as Python can."""
    return list(map(attrgetter(name), things))


def flat(trial: Trial, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial as a flat row; ``fixed`` parameters were the same throughout."""
    some = columns([trial], trial.params, fixed, [said_by(trial)])
    return {name: value for name, (value,) in some.items()}


def said_by(trial: Trial) -> str | None:
    """Return what counts as the answer, ``None`` where none came whole."""
    return None if trial.reply is None else text_of(trial.reply)


def columns(
    trials: Sequence[Trial],
    axes: Iterable[str],
    fixed: Mapping[str, Any],
    said: Sequence[str | None],
) -> dict[str, list[Any]]:
    """Return the same of many trials at once, as columns; ``said`` are their texts."""
    replies = [trial.reply or _NONE for trial in trials]
    usages = [reply.usage for reply in replies]
    params = dict.fromkeys([*fixed, *axes])
    out: dict[str, list[Any]] = {
        **{p: [t.params.get(p, fixed.get(p)) for t in trials] for p in params},
        "repeat": [trial.repeat for trial in trials],
        "error": [trial.error for trial in trials],
    }
    for key in OF_REPLY:
        out[called(key, params)] = _each(replies, key)
    out["words"] = [None if text is None else _count(text) for text in said]
    out["tokens"] = _each(usages, "completion_tokens")
    out["seconds"] = _each(replies, "duration_s")
    out["first_token_s"] = _each(replies, "first_token_s")
    for name in (*COUNTS, "estimated"):
        out[name] = _each(usages, name)
    return out


def kinds(
    axes: Mapping[str, Iterable[Any]], fixed: Mapping[str, Any], metrics: Iterable[str]
) -> dict[str, Kind]:
    """Return what each column of the rows holds, known before there is one."""
    labels = {name: kind_of([value]) for name, value in fixed.items()}
    labels |= {name: kind_of(values) for name, values in axes.items()}
    return {
        **labels,
        "repeat": "int",
        "error": "text",
        **{called(key, labels): kind for key, kind in OF_REPLY.items()},
        **dict.fromkeys(("words", "tokens"), "int"),
        **dict.fromkeys(("seconds", "first_token_s"), "float"),
        **dict.fromkeys(COUNTS, "int"),
        "estimated": "bool",
        "prompt_text": "text",
        **dict.fromkeys(metrics, "float"),
    }


def called(key: str, params: Mapping[str, Any]) -> str:
    """Return the name of a column of what an answer has, beside those of parameters."""
    return f"used_{key}" if key in params else key


def asked(trial: Trial) -> str | None:
    """Return the text of the last message that was sent, where its label is another."""
    reply = trial.reply or trial.partial
    messages = [] if reply is None else reply.request.get("messages") or []
    users = (m for m in reversed(messages) if isinstance(m, Mapping))
    said = next((m.get("content") for m in users if m.get("role") == "user"), "")
    known = isinstance(said, str) and said != trial.params.get("prompt")
    return said or None if known else None


def tables(
    trials: Sequence[Trial],
    axes: Mapping[str, Iterable[Any]],
    fixed: Mapping[str, Any],
    scores: Mapping[str, Sequence[Any]],
    asked: Sequence[str | None],
) -> Iterator[Any]:
    """Yield the same as tables of pyarrow, some trials each: no row is a dict."""
    points = list({id(trial.params): trial.params for trial in trials}.values())
    names = dict.fromkeys([*fixed, *axes, *itertools.chain.from_iterable(points)])
    labels = {
        p: [*axes.get(p, ()), *(point.get(p, fixed.get(p)) for point in points)]
        for p in names
    }
    known = kinds(labels, {}, scores)
    if not any(asked):
        del known["prompt_text"]
    for start in range(0, max(len(trials), 1), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        some = trials[part]
        made = columns(some, names, fixed, list(map(said_by, some)))
        made["prompt_text"] = list(asked[part])
        made |= {name: list(values[part]) for name, values in scores.items()}
        yield arrow_columns(made, known)


class Asked:
    """Tells of trials what was asked; of each point it is read once.

    Answers that were paid for before do not know it, and no failure does.
    """

    def __init__(self) -> None:
        # Its labels are kept, so that no other dict has the same id.
        self._points: dict[int, tuple[dict[str, Any], str | None]] = {}

    def of(self, trials: Iterable[Trial]) -> list[str | None]:
        """Return for each trial the text, ``None`` where its label is the same."""
        return list(map(self._of, trials))

    def _of(self, trial: Trial) -> str | None:
        came = trial.reply or trial.partial
        if came is None or not came.sent.known:
            return None
        labels = trial.params
        if (found := self._points.get(id(labels))) is None:
            found = self._points[id(labels)] = labels, asked(trial)
        return found[1]
