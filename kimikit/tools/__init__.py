"""Give a model Python functions to call, and run the loop in which it does.

Enter at ``tool``, which makes one, and ``run``, which lets a model call them until it
answers (``loop``; ``task`` decides the next step). ``samples`` has some to try,
``mcp`` takes those of a server, ``sandbox`` runs a model's code.
"""

from kimikit.tools.builtin import builtin
from kimikit.tools.declared import declare, offered
from kimikit.tools.loop import run
from kimikit.tools.tool import Tool, tool
from kimikit.tools.values import Run, Step, ToolResult

__all__ = [
    "Run",
    "Step",
    "Tool",
    "ToolResult",
    "builtin",
    "declare",
    "offered",
    "run",
    "tool",
]
