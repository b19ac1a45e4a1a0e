"""Take tools as they are given: for a run, or in the middle of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kimikit.errors import BadTool
from kimikit.json_values import short
from kimikit.tools.tool import Tool, tool


def offered(some: Any) -> list[Any] | None:
    """Return tools as the wire takes them: dicts as they are, functions as tools.

    Raises:
        BadTool: If something is neither.
    """
    return None if some is None else [*_each(some, schemas=True)]


def as_tools(tools: Any) -> dict[str, Tool]:
    """Return tools by name from tools, functions, and collections of them.

    Raises:
        BadTool: If two have the same name, or something is not callable.
    """
    found: dict[str, Tool] = {}
    for made in _each(() if tools is None else tools):
        if made.name in found:
            raise BadTool(
                f"Two tools are called {made.name}.",
                "Rename one: tool(the_tool, name='...').",
            )
        found[made.name] = made
    return found


def _each(some: Any, *, schemas: bool = False) -> Iterator[Any]:
    if callable(some):
        made = tool(some)
        if made.lacks_self:
            raise BadTool(
                f"{made.name} is a method, and of no object.",
                f"Pass it of one, such as place.{made.name}; a function's own "
                "parameter needs another name than self or cls.",
            )
        yield made
    elif schemas and isinstance(some, dict):
        yield some
    elif isinstance(some, Iterable) and not isinstance(some, str | bytes | Mapping):
        for one in some:
            yield from _each(one, schemas=schemas)
    else:
        raise BadTool(
            f"{short(some)} is not a tool.",
            "Pass functions, or Tool.from_schema(...) for a bare schema.",
        )


def declare(*some: Any) -> dict[str, Any]:
    """Return a message that gives the model tools from its place on.

    Kimi K3 takes it at Moonshot, and what stands before it stays in the cache. In a run
    the tools are called; elsewhere it is refused by name before anything is sent. A
    tool that returns tools gives them to the model in a run, at any host.

    Args:
        some: Functions and ``Tool``s.

    Raises:
        BadTool: If there is none, or one is none.

    Example:
        >>> def weather(city: str) -> str:
        ...     "Current weather of a city."
        ...     return f"Sunny in {city}."
        >>> message = declare(weather)
        >>> message["role"], [each.name for each in message["tools"]]
        ('system', ['weather'])
        >>> kimi.run(["Is it sunny in Lagos?", message], [])
        Traceback (most recent call last):
        kimikit.errors.NotSupported: the local stand-in is not known for tools that...
    """
    tools = [*as_tools(some).values()]
    if not tools:
        raise BadTool("No tool is declared.", "Pass functions.")
    return {"role": "system", "tools": tools}


def brought(value: Any) -> list[Tool]:
    """Return the tools that a value is, if it is nothing else."""
    some = value if isinstance(value, list | tuple) else [value]
    return [*some] if all(isinstance(each, Tool) for each in some) else []
