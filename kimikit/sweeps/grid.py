"""What a sweep asks: axes, points and keys, all checked before anything is sent."""

from __future__ import annotations

import hashlib
import itertools
import math
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from kimikit.errors import BadInput
from kimikit.types import AnswerStore, Message, Reply

Label = str | int | float | bool | None
"""How an axis value is shown and found again: itself, or a name for it."""

LISTS = {"tools", "stop"}
"""Parameters whose value is a list: one list is one value, a list of them an axis."""

KINDS: dict[type, str] = {
    bool: "true or false", int: "numbers", float: "numbers",
    str: "texts", dict: "dicts", list: "lists",
}  # fmt: skip
"""What an axis holds values of; an axis of one kind can be read off a plot."""

NOT_IN_A_GRID = {
    "messages": "Give the question as prompt.",
    "n": "Use repeats; each repeat is asked by itself, so that none is lost.",
    "watch": "Use progress, which may be a function.",
    "meta": "Use name, which the ledger remembers.",
    "into": "Give metrics a function that reads reply.text.",
}


class Grid(msgspec.Struct, frozen=True):
    """All that a sweep asks.

    Attributes:
        axes: For each axis its values by label, in the order given.
        fixed: Parameters with one value, the prompt among them unless it is an axis.
        repeats: Answers a point.
    """

    axes: dict[str, dict[Label, Any]]
    fixed: dict[str, Any]
    repeats: int

    def points(self) -> Iterator[tuple[dict[str, Label], dict[str, Any]]]:
        """Yield each point as its labels and as the values to send."""
        shown = {k: label(k, v) for k, v in self.fixed.items()}
        for labels in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, labels, strict=True))
            values = {name: self.axes[name][key] for name, key in point.items()}
            yield {**shown, **point}, {**self.fixed, **values}

    def fingerprint(self) -> str:
        """Return the grid in short, free of ``/``: equal for grids asking the same.

        Repeats are left out: asking for more of them continues the same sweep.
        """
        parts = []
        for name in sorted({**self.axes, **self.fixed}):
            values = self.axes.get(name, {None: self.fixed.get(name)}).values()
            text = ",".join(sorted(_json(value) for value in values))
            short = text if len(text) <= 60 and name != "prompt" else "#" + digest(text)
            parts.append(f"{name}={quote(short, safe=',.#')}")
        return ";".join(parts)


class Shelf:
    """The stored answers of one sweep.

    A key reads ``sweep/name/edition/grid/cell/repeat``: the grid in the key lets a
    name be recognised with another grid from the answers alone, and ``fresh`` opens
    a new edition, so that a sweep started over and killed resumes its new answers.

    Args:
        store: The ledger, if there is one.
        name: The sweep's name, if it has one.
        grid: The fingerprint of the grid now asked.
        fresh: Whether to start over.

    Attributes:
        name: The sweep's name; one is made up where none was given, so that an
            unnamed sweep too can be continued by it.
        failed: Keys whose last call failed, to be asked first.

    Raises:
        BadInput: If the name holds another grid and ``fresh`` was not asked.
    """

    def __init__(
        self, store: AnswerStore | None, name: str | None, grid: str, *, fresh: bool
    ) -> None:
        if name is not None and store is None:
            raise BadInput(
                f"The sweep is named {name!r}, but there is no ledger to keep it in.",
                "Sweep with kimi.sweep(...), or give a store.",
            )
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise BadInput(
                f"name is {name!r}.", "Give the sweep a short name, such as 'colours'."
            )
        made_up = time.strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)
        self.name = made_up if name is None else name
        root = f"sweep/{quote(self.name, safe='')}/"
        known = None if name is None else store
        self._answers: Mapping[str, Reply] = (
            {} if known is None else known.answers(root)
        )
        editions: dict[int, str] = {}
        for key in self._answers:
            edition, stored_grid, *_ = key.removeprefix(root).split("/")
            editions[int(edition)] = stored_grid
        latest = max(editions, default=0)
        if fresh:
            latest += 1
        elif editions and editions[latest] != grid:
            raise BadInput(
                f"The name {self.name!r} belongs to a sweep with another grid: "
                f"{difference(editions[latest], grid)}.",
                "Give another name, or fresh=True to start this one over.",
            )
        self._prefix = f"{root}{latest}/{grid}/"
        self.failed: Collection[str] = (
            () if known is None else known.failed(self._prefix)
        )

    def key(self, cell: str, repeat: int) -> str:
        """Return the key of one answer: ``cell`` is the hash of all it was asked."""
        return f"{self._prefix}{cell}/{repeat}"

    def get(self, key: str) -> Reply | None:
        """Return the stored answer, if it is whole."""
        reply = self._answers.get(key)
        return None if reply is None or reply.partial or reply.truncated else reply


def difference(old: str, new: str) -> str:
    """Say how two fingerprints differ, a clause for each parameter."""
    was, now = (
        dict(part.split("=", 1) for part in text.split(";") if "=" in part)
        for text in (old, new)
    )
    clauses = []
    for name in sorted(was.keys() | now.keys()):
        before, after = (unquote(side.get(name, "not given")) for side in (was, now))
        if before != after:
            hidden = "#" in before + after
            clauses.append(
                f"{name} is another" if hidden else f"{name} was {before}, is {after}"
            )
    return "; ".join(clauses)


def digest(*parts: Any) -> str:
    """Return a short stable hash of JSON-like values."""
    return hashlib.sha256(_json(parts).encode()).hexdigest()[:16]


def make_grid(prompt: Any, repeats: int, params: Mapping[str, Any]) -> Grid:
    """Sort parameters into axes and fixed values.

    Args:
        prompt: A text, one conversation (a list of messages), a list of either, or a
            dict of named ones.
        repeats: Answers a point.
        params: The other parameters; any that holds a list, tuple, range or array is
            an axis.

    Raises:
        BadInput: Naming the parameter, what was given and what is allowed.
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise BadInput(
            f"repeats is {repeats!r}; it counts the answers of each point.",
            "Give a whole number of at least 1; 8 or more make intervals useful.",
        )
    for name in NOT_IN_A_GRID.keys() & params.keys():
        raise BadInput(f"{name} cannot be part of a sweep.", NOT_IN_A_GRID[name])
    axes: dict[str, dict[Label, Any]] = {}
    fixed: dict[str, Any] = {}
    for name, given in {"prompt": prompt, **params}.items():
        value = _plain_lists(given)
        axis = _prompts(value) if name == "prompt" else _values(name, value)
        if axis is None:
            fixed[name] = value
        else:
            axes[name] = axis
        for each in [value] if axis is None else axis.values():
            _json(each, name)
            if name == "prompt" and isinstance(each, str) and not each.strip():
                raise BadInput(
                    "The prompt is empty.", "Write what the model should answer."
                )
    return Grid(axes, fixed, repeats)


def label(name: str, value: Any) -> Label:
    """Return what stands for ``value`` in tables: itself, or a short text for it."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if name == "tools":
        return ", ".join(_tool_name(tool) for tool in value)
    text = _json(value)
    return text if len(text) <= 60 else f"{text[:48]}… {digest(text)[:6]}"


def _plain_lists(value: Any) -> Any:
    """Return arrays, tuples and ranges as lists, and numpy's numbers as Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain_lists(each) for each in value]
    return value


def _is_message(value: Any) -> bool:
    return isinstance(value, Message) or (isinstance(value, dict) and "role" in value)


def _is_prompt(value: Any) -> bool:
    """Whether ``value`` is one prompt: a text, a message or a conversation."""
    if isinstance(value, list):
        return bool(value) and all(_is_message(each) for each in value)
    return isinstance(value, str) or _is_message(value)


def _prompts(value: Any) -> dict[Label, Any] | None:
    """Return the prompts of an axis, or ``None`` where there is but one."""
    if _is_prompt(value):
        return None
    if isinstance(value, dict) and value and all(map(_is_prompt, value.values())):
        return {str(name): prompt for name, prompt in value.items()}
    prompts = value if isinstance(value, list) and all(map(_is_prompt, value)) else []
    if len({isinstance(each, str) for each in prompts}) == 1:
        return _labelled("prompt", prompts)
    raise BadInput(
        f"The prompt is {_short(value)}, which is no prompt and no axis of prompts.",
        "Give a text, a list of messages, a list of texts, or a dict of named prompts.",
    )


def _values(name: str, value: Any) -> dict[Label, Any] | None:
    """Return the values of an axis, or ``None`` where the parameter is none."""
    if not isinstance(value, list):
        return None
    if name in LISTS and not any(isinstance(each, list) for each in value):
        return None
    if not value:
        raise BadInput(
            f"{name} is an empty list, so the grid has no points.",
            f"Give {name} at least one value, or leave it out.",
        )
    types = {type(each) for each in value if each is not None}
    kinds = sorted({KINDS.get(kind, kind.__name__) for kind in types})
    if len(kinds) > 1:
        raise BadInput(
            f"{name} mixes {' and '.join(kinds)}: {_short(value)}.",
            "Give an axis values of one type; None stands for not sending it.",
        )
    return _labelled(name, value)


def _labelled(name: str, values: list[Any]) -> dict[Label, Any]:
    axis = {label(name, value): value for value in values}
    if len(axis) < len(values):
        raise BadInput(
            f"{name} holds a value twice: {_short(values)}.",
            "Give each value once, and use repeats for more answers.",
        )
    return axis


def _tool_name(tool: Any) -> str:
    schema = getattr(tool, "schema", tool)
    function = schema.get("function", schema) if isinstance(schema, dict) else {}
    return str(function.get("name", tool))


def _json(value: Any, name: str = "a parameter") -> str:
    try:
        encoded = msgspec.json.encode(_plain(value), order="sorted")
    except (TypeError, ValueError) as exc:
        raise BadInput(
            f"{name} holds {_short(value)}, which cannot be sent as JSON.",
            "Use numbers, texts, true, false, None, and lists or dicts of them.",
        ) from exc
    return encoded.decode()


def _plain(value: Any) -> Any:
    """Return ``value`` as plain JSON, with 0.0 and 0 the same."""
    if isinstance(value, Message):
        return _plain(value.to_dict())
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(value)
        return int(value) if value.is_integer() else value
    if isinstance(value, set | frozenset | bytes):
        raise TypeError(type(value))
    schema = getattr(value, "schema", None)
    return _plain(schema) if isinstance(schema, dict) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
