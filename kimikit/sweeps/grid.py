"""Check what a sweep asks, axes, points and keys, before anything is sent."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from kimikit.errors import BadInput
from kimikit.json_values import as_json, digest, is_count, plain, short
from kimikit.secrets import masked
from kimikit.wire.keys import PATIENCE, each_picture, picture

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
    "api_key": "Give the key to Kimi(...), where it is never stored.",
}


class Grid(msgspec.Struct, frozen=True):
    """All that a sweep asks.

    Attributes:
        axes: For each axis its values by label, in the order given.
        fixed: Parameters with one value, the prompt among them unless it is an axis.
        repeats: Answers per point.
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
        for name in sorted({**self.axes, **self.fixed}.keys() - PATIENCE):
            values = self.axes.get(name, {None: self.fixed.get(name)}).values()
            named = [each_picture(value, "name") for value in values]
            text = ",".join(sorted(map(as_json, named)))
            told = len(text) <= 60 and name not in ("prompt", "extra_headers")
            told = told and masked(named, name) == named
            said = text if told else "#" + digest(text)
            parts.append(f"{name}={quote(said, safe=',.#')}")
        return ";".join(parts)


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


def make_grid(prompt: Any, repeats: int, params: Mapping[str, Any]) -> Grid:
    """Sort parameters into axes and fixed values.

    Args:
        prompt: A text, one conversation (a list of messages), a list of either, or a
            dict of named ones.
        repeats: Answers per point.
        params: The other parameters; any that holds a list, tuple, range or array is
            an axis.

    Raises:
        BadInput: Naming the parameter, what was given and what is allowed.
    """
    if not is_count(repeats):
        raise BadInput(
            f"repeats is {repeats!r}; it counts the answers of each point.",
            "Give a whole number of at least 1; 8 or more make intervals useful.",
        )
    for name in NOT_IN_A_GRID.keys() & params.keys():
        raise BadInput(f"{name} cannot be part of a sweep.", NOT_IN_A_GRID[name])
    axes: dict[str, dict[Label, Any]] = {}
    fixed: dict[str, Any] = {}
    for name, given in {"prompt": prompt, **params}.items():
        if name == "prompt":
            value, axis = _prompts(given)
        else:
            value = _pictures(given) if name == "image" else _plain(name, given)
            axis = _values(name, value)
        if axis is None:
            fixed[name] = value
        else:
            axes[name] = axis
    return Grid(axes, fixed, int(repeats))


def _plain(name: str, given: Any) -> Any:
    return given if name == "file" else plain(given, name)  # files were read before


def label(name: str, value: Any) -> Label:
    """Return what stands for ``value`` in tables: itself, or a short text for it."""
    value = masked(each_picture(value, "name"), name)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if name == "tools" and isinstance(value, list):
        return ", ".join(_tool_name(tool) for tool in value)
    text = as_json(value, name)
    return text if len(text) <= 60 else f"{text[:48]}… {digest(text)[:6]}"


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value


def _is_prompt(value: Any) -> bool:
    """Tell whether ``value`` is one prompt: a text, a message or a conversation."""
    if isinstance(value, list):
        return bool(value) and all(_is_message(each) for each in value)
    return isinstance(value, str) or _is_message(value)


def _prompts(given: Any) -> tuple[Any, dict[Label, Any] | None]:
    """Return the prompt, and the prompts of an axis where there are several."""
    named = isinstance(given, Mapping) and "role" not in given
    value = [given[name] for name in given] if named else given
    value = plain(value, "prompt")
    one = not named and _is_prompt(value)
    several = [] if one or not isinstance(value, list) else value
    kinds = {isinstance(each, str) for each in several}
    fit = several and all(map(_is_prompt, several)) and (named or len(kinds) == 1)
    if not (one or fit):
        raise BadInput(
            f"The prompt is {short(given)}, which is no prompt and no axis of prompts.",
            "Give a text, a list of messages, a list of texts, or a dict of named "
            "prompts.",
        )
    for each in [value] if one else several:
        if isinstance(each, str) and not each.strip():
            raise BadInput(
                "The prompt is empty.", "Write what the model should answer."
            )
    if one:
        return value, None
    if named:
        names = [_name(name) for name in given]
        return value, dict(zip(names, several, strict=True))
    return value, _labelled("prompt", several)


def _name(name: Any) -> Label:
    """Return what a prompt was named: 1 and ``"1"`` are two names."""
    if isinstance(name, str | bool | int | float):
        return plain(name, "prompt")  # type: ignore[no-any-return]
    return str(name)


def _pictures(given: Any) -> Any:
    """Return pictures as they are now: what is sent is what the key was made of."""
    several = given.tolist() if hasattr(given, "tolist") else given
    if several is None or isinstance(several, list | tuple):
        some = several or []
        return [each and picture(each) for each in some] if several else several
    return picture(several)


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
    types = {type(each_picture(each, "name")) for each in value if each is not None}
    kinds = sorted({KINDS.get(kind, kind.__name__) for kind in types})
    if len(kinds) > 1:
        raise BadInput(
            f"{name} mixes {' and '.join(kinds)}: {short(value)}.",
            "Give an axis values of one type; None stands for not sending it.",
        )
    return _labelled(name, value)


def _labelled(name: str, values: list[Any]) -> dict[Label, Any]:
    """Return values by their labels: what two values are is not what they look like."""
    if len({_identity(value) for value in values}) < len(values):
        raise BadInput(
            f"{name} holds a value twice: {short(values)}.",
            "Give each value once, and use repeats for more answers.",
        )
    labels = [label(name, value) for value in values]
    often = Counter(labels)
    return {
        shown
        if often[shown] == 1
        else f"{shown} #{digest(_identity(value))[:6]}": value
        for shown, value in zip(labels, values, strict=True)
    }


def _identity(value: Any) -> str:
    return as_json(each_picture(value, "content"))


def _tool_name(tool: Any) -> str:
    schema = getattr(tool, "schema", tool)
    function = schema.get("function", schema) if isinstance(schema, dict) else {}
    return str(function.get("name", tool))
