"""Make a tool that any host takes of a Python function."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, overload

import msgspec

from kimikit import schema
from kimikit.errors import BadInput, BadTool, nearest
from kimikit.schema import for_hosts as host_schema
from kimikit.tools import checks

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""A name that hosts take."""
_BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
_WANTED_LIMIT = 300
_PROBLEMS = 20
_NAME_TOLD = 100
_Check = Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[str]]]


def _named(module: str, path: str) -> Any:
    """Return what has a name in a module, ``None`` if nothing has."""
    found: Any = sys.modules.get(module)
    with contextlib.suppress(ImportError, ValueError):
        found = found or importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


class Tool:
    """A function with what a model must know to call it; still callable as before.

    Attributes:
        name: What the model calls it by.
        description: What it does, from the docstring.
        function: The Python function, sync or async.
        schema: The whole entry for a request's ``tools``.
        confirm: Whether a person must agree before each call.

    Example:
        >>> def weather(city: str) -> str:
        ...     "Current weather of a city."
        ...     return f"Sunny in {city}."
        >>> tool(weather).schema["function"]["parameters"]["required"]
        ['city']
        >>> tool(weather)("Lagos")
        'Sunny in Lagos.'
    """

    def __init__(
        self,
        name: str,
        description: str,
        function: Callable[..., Any],
        parameters: dict[str, Any],
        check: _Check,
        *,
        confirm: bool = False,
    ) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadTool(
                f"{name!r} cannot be the name of a tool.",
                "Use 1 to 64 letters, digits, _ or -: tool(name='...').",
            )
        if not isinstance(description, str) or not description.strip():
            raise BadTool(
                f"The tool {name} has no description, so no model can know its use.",
                "Write a docstring: what it does, then Args: with a line for each.",
            )
        self.name = name
        self.description = description.strip()
        self.function = function
        self.confirm = confirm
        entry = {
            "name": name,
            "description": self.description,
            "parameters": parameters,
        }
        self.schema: dict[str, Any] = {"type": "function", "function": entry}
        self._check = check
        functools.update_wrapper(self, function, updated=())

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A decorated function is found by the name that the tool has taken over.
        place = getattr(self, "__module__", ""), getattr(self, "__qualname__", "")
        if _named(*place) is self:
            return _named, place
        return super().__reduce_ex__(protocol)

    @classmethod
    def from_schema(
        cls,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        function: Callable[..., Any],
        *,
        confirm: bool = False,
    ) -> Tool:
        """Make a tool from a JSON Schema and any callable.

        Args:
            name: What the model calls it by.
            description: What it does.
            parameters: JSON Schema of an object; put into the words hosts take.
            function: Called with the arguments by keyword.
            confirm: Whether a person must agree before each call.

        Raises:
            BadTool: If the schema is none, or has no form that hosts take.
        """
        try:
            validator = checks.validator(parameters)
            taken = host_schema.accepted(parameters)
        except (ValueError, RecursionError) as exc:
            what = exc.what if isinstance(exc, BadInput) else str(exc)
            raise BadTool(
                f"The parameters of {name} are no schema for a tool: {what}",
                "Give a JSON Schema (2020-12) of type object.",
            ) from exc
        check = functools.partial(checks.checked, validator, taken)
        return cls(name, description, function, taken.schema, check, confirm=confirm)

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Validate a model's arguments and return them as the hinted Python values.

        Raises:
            BadInput: Naming every argument that does not fit, and what would.
        """
        values, problems = checks.tried(self._check, arguments)
        if problems:
            told = "; ".join(problems[:_PROBLEMS])
            if len(problems) > _PROBLEMS:
                told += f"; and {len(problems) - _PROBLEMS} more"
            raise BadInput(
                f"The arguments of {self.name} do not fit: {told}.",
                "Call again with arguments that fit the schema.",
            )
        return values

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, as if it had not been made a tool."""
        return self.function(*args, **kwargs)

    def _changed(
        self, name: str | None, description: str | None, *, confirm: bool
    ) -> Tool:
        if not (name or description or confirm):
            return self
        return Tool(
            name or self.name,
            description or self.description,
            self.function,
            self.schema["function"]["parameters"],
            self._check,
            confirm=confirm or self.confirm,
        )

    def __get__(self, instance: Any, owner: type | None = None) -> Tool:
        if instance is None or not self.lacks_self:
            return self
        bound = copy.copy(self)
        bound.function = self.function.__get__(instance, owner)
        return bound

    @property
    def lacks_self(self) -> bool:
        """Whether it is a method of no object, so that no model can call it."""
        return inspect.isfunction(self.function) and _takes_self(self.function)

    def __repr__(self) -> str:
        return f"<Tool {self.name}{inspect.signature(self.function)}>"


@overload
def tool(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = ...,
    description: str | None = ...,
    confirm: bool = ...,
) -> Tool: ...
@overload
def tool(
    *, name: str | None = ..., description: str | None = ..., confirm: bool = ...
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    confirm: bool = False,
) -> Any:
    """Make a tool of a function, method, async function or object with ``__call__``.

    Name, description and the meaning of each parameter come from the docstring
    (Google, numpy or reST style), types from the hints, what is required from the
    defaults. The function can be called as before.

    Args:
        function: What to call. A class with ``__call__`` is instantiated.
        name: Another name than the function's.
        description: Another description than the docstring's.
        confirm: Ask a person before every call; for what cannot be undone.

    Raises:
        BadTool: Without a docstring or a hint, or with a type that has no JSON form;
            the message names the parameter.

    Example:
        >>> @tool(confirm=True)
        ... def remove(path: str, force: bool = False) -> None:
        ...     '''Delete a file.
        ...
        ...     Args:
        ...         path: Where it lies.
        ...     '''
        >>> remove.schema["function"]["parameters"]["properties"]["path"]
        {'type': 'string', 'description': 'Where it lies.'}
    """
    if function is None:
        return functools.partial(
            tool, name=name, description=description, confirm=confirm
        )
    if isinstance(function, Tool):
        return function._changed(name, description, confirm=confirm)
    if inspect.isclass(function):
        function = _instance(function)
    if not callable(function):
        raise BadTool(
            f"{function!r} cannot be called, so it is no tool.",
            "Pass a function, a method, or an object with __call__.",
        )
    described: Any = function
    if not hasattr(function, "__name__"):
        described = type(function).__call__
        name = name or type(function).__name__
        if not inspect.isfunction(inspect.unwrap(described)):  # as of a partial
            raise _unreadable(name)
        description = description or inspect.getdoc(type(function))
    name = name or str(function.__name__)
    if inspect.isgeneratorfunction(described) or inspect.isasyncgenfunction(described):
        raise BadTool(f"{name} yields its results.", "Return them, as a list.")
    import docstring_parser  # here, for `import kimikit` to stay light

    docs = docstring_parser.parse(inspect.getdoc(described) or "")
    text = "\n\n".join(filter(None, (docs.short_description, docs.long_description)))
    texts = {param.arg_name: param.description for param in docs.params}
    hints, parameters = _parameters(described, name, texts)
    check = functools.partial(_converted, hints, parameters)
    return Tool(name, description or text, function, parameters, check, confirm=confirm)


def _instance(kind: type) -> Any:
    """Return an object of a class, to be called as a tool."""
    try:
        return kind()
    except Exception as exc:  # a class may refuse in any way, as pydantic's models do
        said = " ".join(str(exc).split())
        raise BadTool(
            f"No {kind.__name__} can be made: {said}.",
            f"Make one yourself: tool({kind.__name__}(...)).",
        ) from exc


def _converted(
    hints: Mapping[str, tuple[str, Any]],
    parameters: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str]]:
    required = parameters.get("required", ())
    own = {key: sent for sent, (key, _) in hints.items()}
    arguments = {
        name if name in hints else own.get(name, name): value
        for name, value in arguments.items()
    }
    problems = [f"`{name}` is missing" for name in required if name not in arguments]
    values = {}
    for name, value in arguments.items():
        if name not in hints:
            # Looking for the nearest takes time, and only the first are told.
            like = nearest(name, hints) if len(problems) < _PROBLEMS else ""
            problems.append(f"there is no argument `{name[:_NAME_TOLD]}`{like}")
            continue
        key, hint = hints[name]
        try:
            values[key] = schema.convert(value, hint, at=name)
        except BadInput as exc:
            # Models often send null for what they mean to leave out.
            if value is not None or name in required:
                wanted = {**parameters["properties"][name]}
                wanted.pop("description", None)
                text = msgspec.json.encode(wanted).decode()[:_WANTED_LIMIT]
                problems.append(f"{exc.what.rstrip('.')}, whose schema is {text}")
    return values, problems


def _parameters(
    function: Callable[..., Any], name: str, texts: Mapping[str, str | None]
) -> tuple[dict[str, tuple[str, Any]], dict[str, Any]]:
    """Return each parameter's name and hint by the name that is sent; the schema."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as exc:  # a hint that is a text may be any Python
        raise BadTool(
            f"The type hints of {name} cannot be read: {exc}.",
            "Use types that are defined at the top level of the notebook or module.",
        ) from exc
    properties: dict[str, Any] = {}
    taking: dict[str, str] = {}
    required = []
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError as exc:
        raise _unreadable(name) from exc
    for parameter in parameters[_takes_self(function) :]:
        key = parameter.name
        if parameter.kind not in _BY_NAME:
            raise BadTool(
                f"Parameter {key} of {name} cannot be given by name.",
                "Take each argument by its own name: no *args, **kwargs or /.",
            )
        if key not in hints:
            raise BadTool(
                f"Parameter {key} of {name} has no type hint.",
                f"Write {key}: str, or whatever it takes.",
            )
        try:
            form = _property(hints[key], texts.get(key), parameter.default)
            whole = host_schema.accepted({"properties": {key: form}})
        except BadInput as exc:
            raise BadTool(f"Parameter {key} of {name}: {exc.what}", exc.remedy) from exc
        # A name that hosts refuse is another one for them.
        (sent,) = whole.schema["properties"]
        properties |= whole.schema["properties"]
        taking[sent] = key
        if parameter.default is parameter.empty:
            required.append(sent)
    taken = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        taken["required"] = required
    return {sent: (key, hints[key]) for sent, key in taking.items()}, taken


def _unreadable(name: str) -> BadTool:
    """Say of a callable that is not written in Python that nothing tells its use."""
    return BadTool(
        f"It cannot be read what arguments {name} takes.",
        "Write a function with type hints and a docstring that calls it.",
    )


def _takes_self(function: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(function).parameters), "") in ("self", "cls")


def _property(hint: Any, text: str | None, default: Any) -> dict[str, Any]:
    found = schema.of(hint)
    if text:
        found["description"] = text
    if default is not inspect.Parameter.empty and _is_told(default, hint):
        found["default"] = msgspec.to_builtins(default, enc_hook=str)
    return found


def _is_told(default: Any, hint: Any) -> bool:
    """Say whether JSON has a default: no NaN, and no object that only marks its lack.

    ``None`` is often the default of what has another type.
    """
    if default is None:
        return True
    try:
        value = msgspec.to_builtins(default, enc_hook=str)
        json.dumps(value, allow_nan=False)
        return bool(schema.convert(value, hint) == default)
    except Exception:  # what compares may be of any kind, such as an array
        return False
