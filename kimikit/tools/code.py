"""Write a run down as a script that needs nothing of kimikit."""

from __future__ import annotations

import ast
import inspect
import pprint
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from kimikit.tools.tool import Tool

if TYPE_CHECKING:
    from kimikit.tools.values import Run

_IMPORT = re.compile("import |from ")
_SCRIPT = '''\
"""Repeats a run of kimikit with the openai package alone."""

import asyncio
import inspect
import json
import os

from openai import OpenAI

client = OpenAI(base_url={base_url!r}, api_key=os.environ["API_KEY"])

{functions}

FUNCTIONS = {{{names}}}
TOOLS = {tools}
messages = {messages}
for _ in range({steps}):
    answer = client.chat.completions.create(
        model={model!r}, messages=messages, tools=TOOLS or None, **{params}
    )
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    if not message.tool_calls:
        break
    for call in message.tool_calls:
        try:
            function = FUNCTIONS[call.function.name]
            result = function(**json.loads(call.function.arguments or "{{}}"))
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except Exception as error:
            result = f"Error: {{type(error).__name__}}: {{error}}"
        content = result if isinstance(result, str) else json.dumps(result, default=str)
        messages.append(
            {{"role": "tool", "tool_call_id": call.id, "content": content}}
        )
print(messages[-1].get("content"))
'''


def script(run: Run) -> str:
    """Return a Python script that asks the same again and runs the tools.

    Functions are copied as they were written, with the imports, values and functions
    of the notebook that they use; where one is not to be had, a place stands for it.
    Arguments are passed as JSON gives them.
    """
    roles = [message["role"] for message in run.messages]
    asked = run.messages[: roles.index("assistant")] if "assistant" in roles else []
    parts: dict[str, str] = {}
    for tool in run.tools:
        _define(_named(tool), tool, parts)
    # Imports before what uses them.
    lines = sorted(parts.values(), key=lambda part: not _IMPORT.match(part))
    return _SCRIPT.format(
        base_url=run.base_url,
        functions="\n".join(lines),
        names=", ".join(f"{tool.name!r}: {_named(tool)}" for tool in run.tools),
        tools=_shown([tool.schema for tool in run.tools]),
        messages=_shown(asked or run.messages),
        steps=len(run.steps),
        model=run.reply.model,
        params=_shown(run.params),
    )


def _shown(value: object) -> str:
    return pprint.pformat(value, width=84, sort_dicts=False)


def _named(tool: Tool) -> str:
    name = getattr(tool.function, "__name__", tool.name)
    return name if name.isidentifier() else tool.name.replace("-", "_")


def _define(name: str, value: Any, parts: dict[str, str]) -> None:
    """Add the code that gives ``name`` its value, and before it what that code uses."""
    if name in parts:
        return
    parts[name] = ""  # for a function that calls itself
    made = value.function if isinstance(value, Tool) else value
    if not isinstance(value, Tool) and (line := _imported(name, value)):
        code = line
    elif (source := _source(made)) is not None:
        code, tree = source
        known = dict(vars(sys.modules[made.__module__]))
        if inspect.isfunction(made):
            known = {**made.__globals__, **inspect.getclosurevars(made).nonlocals}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for used in names & known.keys():
            _define(used, known[used], parts)
    elif isinstance(value, Tool):
        missing = f'raise NotImplementedError("paste the code of {value.name} here")'
        code = f"def {name}(**arguments):\n    {missing}\n"
    elif _is_plain(value):
        code = f"{name} = {_shown(value)}"
    else:
        code = f"{name} = ...  # make this {type(value).__name__} here"
    del parts[name]  # what it uses goes first
    parts[name] = code


def _imported(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        same = value.__name__ == name
        return f"import {value.__name__}" + ("" if same else f" as {name}")
    module = getattr(value, "__module__", None) or "__main__"
    # Special forms of typing have but a _name.
    theirs = str(getattr(value, "__qualname__", None) or getattr(value, "_name", name))
    there = getattr(sys.modules.get(module), theirs, None)
    if module == "__main__" or there is not value:
        return ""
    return f"from {module} import {theirs}" + ("" if theirs == name else f" as {name}")


def _source(value: Any) -> tuple[str, ast.AST] | None:
    """Return a function or class as it was written, without its decorators."""
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return None  # a method's code needs its object
    try:
        source = textwrap.dedent(inspect.getsource(value))
        node: Any = ast.parse(source).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return None
    keep = node.decorator_list if inspect.isclass(value) else []
    node.decorator_list = keep
    first = keep[0].lineno if keep else node.lineno
    return "\n".join(source.splitlines()[first - 1 :]) + "\n", node


def _is_plain(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False
