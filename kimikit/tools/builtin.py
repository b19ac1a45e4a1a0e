"""Name functions that a host runs itself, such as Moonshot's web search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kimikit.errors import BadTool
from kimikit.tools.tool import Tool


class Builtin(Tool):
    """A function of the host's own: what the model calls it with goes back as it is.

    Moonshot searches when it is told its own arguments again ("Use the Web Search
    Tool", platform.moonshot.ai).
    """

    def __init__(self, name: str) -> None:
        if not (isinstance(name, str) and name[:1] == "$" and name[1:].isidentifier()):
            raise BadTool(
                f"{name!r} is no built-in function.", "Give one such as '$web_search'."
            )
        self.name = name
        self.description = f"The host's own function {name}."
        self.function = _back
        self.confirm = False
        self.schema = {"type": "builtin_function", "function": {"name": name}}

    def __reduce_ex__(self, protocol: Any) -> Any:
        return builtin, (self.name,)

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as they are: their form is the host's."""
        return {"arguments": dict(arguments)}


def _back(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments


def builtin(name: str = "$web_search") -> Tool:
    """Return a function that the host runs itself, to be offered as a tool.

    A host that is not known for it refuses it by name before anything is sent. Its
    price per call is part of what an answer costs; what it finds comes as prompt
    tokens that nobody knows before, so a budget refuses it.

    Args:
        name: The host's name for it.

    Raises:
        BadTool: If no such function can be.

    Example:
        >>> search = builtin("$web_search")
        >>> search.schema
        {'type': 'builtin_function', 'function': {'name': '$web_search'}}
        >>> kimi.run("What is new?", [search])
        Traceback (most recent call last):
        kimikit.errors.NotSupported: the local stand-in has no function $web_search...
    """
    return Builtin(name)
