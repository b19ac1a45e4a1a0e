"""Write what the playground asks as the cell that asks the same."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from kimikit.types.as_code import call

TEMPERATURES = (0.0, 0.3, 0.6, 0.9, 1.2)
"""The axis of a sweep where columns differ in nothing."""

Columns = Mapping[str, tuple[str, Mapping[str, Any]]]
"""By its letter, the host and the parameters of each column."""


def chats(prompt: str, columns: Columns, samples: int, own: str) -> str:
    """Return the cell: a chat, or a race of the columns.

    Args:
        prompt: What is asked.
        columns: Who is asked, and with what.
        samples: How often each is.
        own: The host of ``kimi``.
    """
    if len(columns) == 1:
        [(host, params)] = columns.values()
        kimi = "kimi" if host == own else f"Kimi({host!r})"
        code = call(f"{kimi}.chat", prompt, params)
    else:
        shared, apart = _parted(columns)
        labels = {
            name: _host_first(host, own, apart[name])
            for name, (host, _) in columns.items()
        }
        code = call("kimi.race", prompt, {"hosts": labels, **shared})
    return code if samples == 1 else f"[{code} for _ in range({samples})]"


def _host_first(host: str, own: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {**({} if host == own else {"host": host}), **params}


def _parted(
    columns: Columns,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the parameters that all columns share, and those of each apart."""
    given = {name: params for name, (_, params) in columns.items()}
    first, *others = given.values()
    shared = {
        name: value
        for name, value in first.items()
        if all(name in o and o[name] == value for o in others)
    }
    apart = {
        letter: {k: v for k, v in params.items() if k not in shared}
        for letter, params in given.items()
    }
    return shared, apart


def grids(columns: Columns, samples: int, own: str) -> dict[str, dict[str, Any]]:
    """Return the parameters of the sweeps that compare the columns, by a name.

    Whatever the columns differ in is an axis; where nothing is, the temperature. A
    model is of its host: columns of several hosts make a sweep for each of them.
    """
    by_host: dict[str, dict[str, tuple[str, Mapping[str, Any]]]] = {}
    for letter, (host, params) in columns.items():
        by_host.setdefault(host, {})[letter] = (host, params)
    made = {}
    for host, some in by_host.items():
        shared, apart = _parted(some)
        axes: dict[str, list[Any]] = {}
        for name in dict.fromkeys(n for params in apart.values() for n in params):
            values = [params.get(name) for params in apart.values()]
            axes[name] = [v for i, v in enumerate(values) if v not in values[:i]]
        if not axes and len(by_host) == 1:
            axes = {"temperature": [*TEMPERATURES]}
        grid = {**shared, **axes, "repeats": max(5, samples)}
        if "file" in grid:  # all go together, and a list is an axis
            grid["file"] = [grid["file"]]
        made[host] = _host_first(host, own, grid)
    return made


def sweeps(prompt: str, made: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the cell that sweeps these grids."""
    code = {host: call("kimi.sweep", prompt, grid) for host, grid in made.items()}
    if len(code) == 1:
        return next(iter(code.values()))
    rows = (
        textwrap.indent(f"{host!r}: {each},", "    ") for host, each in code.items()
    )
    return "\n".join(["{", *rows, "}"])
