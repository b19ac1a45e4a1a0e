"""Write sweeps as files for engines without a server, such as ``vllm run-batch``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimikit.errors import BadInput, KimiError
from kimikit.json_values import as_json
from kimikit.paths import path_of, writing
from kimikit.runner.batch import custom_id, named_few
from kimikit.sweeps.grid import label
from kimikit.sweeps.trial import Trial
from kimikit.types import Call, Host
from kimikit.wire.batch_results import (
    UNREADABLE,
    Line,
    answers_first,
    lines_in,
    objects_in,
    read_reply,
)
from kimikit.wire.batches import encode_line
from kimikit.wire.coerce import as_count, as_dict, as_object, as_str

if TYPE_CHECKING:
    from kimikit.sweeps.points import HostPoints

OFFLINE = Host(name="offline", title="the offline engine", base_url="")
"""What answered, as no host did."""

_NOT_AN_AXIS = ("messages", "stream", "stream_options")


def requests_of(
    hosts: Iterable[HostPoints], repeats: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all cells as requests: an id each, and the body that a host is sent.

    Raises:
        BadInput: If a client does not tell.
    """
    for host in hosts:
        client: Any = host.endpoint.lend()
        host.endpoint.give_back(client)
        prepared = getattr(client, "prepared", None)
        if prepared is None:
            raise BadInput(
                f"{type(client).__name__} does not tell its requests.",
                "Sweep with kimi.sweep(...).",
            )
        for place in range(len(host.points) * repeats):
            point, _ = host.at(place)
            made = prepared(point.params["prompt"], **point.sent, stream=False)
            yield custom_id(host.key(place)), made.sent.body


def write_requests(
    path: str | os.PathLike[str], requests: Iterable[tuple[str, Mapping[str, Any]]]
) -> Path:
    """Write requests as lines that OpenAI's batches and ``vllm run-batch`` take.

    Args:
        path: The file; an existing one is replaced.
        requests: Ids, each once, and bodies.

    Raises:
        BadInput: If the file cannot be written.
    """
    with writing(path) as fresh, fresh.open("wb") as file:
        for name, body in requests:
            file.write(encode_line(name, body))
    return path_of(path)


def read_sweep(
    requests: str | os.PathLike[str], answers: str | os.PathLike[str]
) -> dict[str, Any]:
    """Return what a ``Sweep`` is made of, from the files of its batch.

    What differs between requests is an axis; equal requests are repeats.

    Raises:
        BadInput: If a file cannot be read, or they do not belong together.
    """
    asked = dict(_requests(path_of(requests)))
    lines = answers_first(lines_in(_content(path_of(answers))))
    found = {each.custom_id: each for each in reversed(lines) if each != UNREADABLE}
    strangers = [name for name in found if name not in asked]
    if not asked or len(strangers) == len(found):
        raise BadInput(
            f"{Path(answers).name} answers none of the {len(asked)} requests in "
            f"{Path(requests).name}.",
            "Give the file that was asked, and the one that came of it.",
        )
    values = {name: _values(body) for name, body in asked.items()}
    names = dict.fromkeys(key for each in values.values() for key in each)
    kinds: dict[str, dict[str, Any]] = {name: {} for name in names}
    for each in values.values():
        for name in names:
            kinds[name].setdefault(as_json(each.get(name)), each.get(name))
    shown = {name: _labels(name, some) for name, some in kinds.items()}
    axes = {name: tuple(some.values()) for name, some in shown.items() if len(some) > 1}
    fixed = {
        name: next(iter(some.values()))
        for name, some in shown.items()
        if len(some) == 1
    }
    trials, seen = [], Counter[str]()
    for name, each in values.items():
        params = {key: shown[key][as_json(each.get(key))] for key in names}
        point = as_json(params)
        trials.append(_trial(name, asked[name], found.get(name), params, seen[point]))
        seen[point] += 1
    missing = [name for name in asked if name not in found]
    notes = [
        named_few(missing, "without an answer"),
        named_few(strangers, "not asked here"),
    ]
    if UNREADABLE in lines:
        notes.append(f"{Path(answers).name} ends within a line: get it again")
    return {
        "trials": tuple(trials),
        "axes": axes,
        "fixed": fixed,
        "repeats": max(seen.values()),
        "notes": tuple(filter(None, notes)),
    }


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BadInput(f"{path} cannot be read: {exc}.", "Give its path.") from exc


def _requests(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    seen = set[str]()
    for number, entry in enumerate(map(as_object, objects_in(_content(path))), 1):
        name, body = as_str(entry.get("custom_id")), as_dict(entry.get("body"))
        if not name or not isinstance(body.get("messages"), list) or name in seen:
            raise BadInput(
                f"Line {number} of {path.name} is no request, or its custom_id comes "
                "twice.",
                "Give the file that sweep.to_batch_file() wrote.",
            )
        if "n" in body:
            body["n"] = as_count(body["n"]) or 1
        seen.add(name)
        yield name, body


def _values(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a request asks, by the names that a sweep has for it."""
    messages = body["messages"]
    alone = len(messages) == 1 and isinstance(messages[0], dict)
    text = messages[0].get("content") if alone else None
    params = {n: v for n, v in body.items() if n not in _NOT_AN_AXIS}
    return {"prompt": text if isinstance(text, str) else messages, **params}


def _labels(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a label for each value; two that look alike are numbered."""
    labels: dict[str, Any] = {}
    seen = set[str]()
    for key, value in values.items():
        made = label(name, value)
        while as_json(made) in seen:
            made = f"{made} #{len(labels)}"
        seen.add(as_json(made))
        labels[key] = made
    return labels


def _trial(
    name: str,
    body: Mapping[str, Any],
    line: Line | None,
    params: dict[str, Any],
    repeat: int,
) -> Trial:
    if line is None:
        return Trial(params=params, repeat=repeat, error="It has no answer.")
    call = Call(
        id=name,
        endpoint="chat",
        host=OFFLINE,
        model=str(body.get("model", "")),
        body=dict(body),
        created=0.0,
    )
    try:
        reply = read_reply(call, line)
    except KimiError as exc:
        error = f"{type(exc).__name__}: {exc.what}"
        return Trial(params=params, repeat=repeat, error=error)
    return Trial(params=params, repeat=repeat, reply=reply)
