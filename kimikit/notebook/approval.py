"""Ask a person before a call: by buttons, or with ``input``."""

from __future__ import annotations

from kimikit.display.cell import kernel_shell
from kimikit.errors import BadInput
from kimikit.notebook.screen import Screen
from kimikit.tools.loop import ask_by_input
from kimikit.tools.task import Answer
from kimikit.tools.tool import Tool
from kimikit.types import ToolCall


def ask(call: ToolCall, tool: Tool) -> Answer:
    """Show a call with its exact arguments and ask whether to run it.

    Buttons ask in notebooks whose widgets are heard while a cell runs, ``input`` asks
    everywhere else.

    Raises:
        BadInput: If nobody can be asked, as under nbclient.
    """
    shell = kernel_shell()
    screen = Screen(shell) if shell is not None else None
    try:
        # Under %%capture nothing that is displayed would be seen.
        if screen is None or not screen.live:
            return ask_by_input(call, tool)
        from kimikit.notebook.question import Question, answerable

        question = Question(call, tool, screen)
        if answerable(shell):
            return question.by_buttons()
        return ask_by_input(call, tool, shown=True)
    except (EOFError, RuntimeError) as exc:
        raise BadInput(
            f"{call.name} must be agreed to, and there is nobody to ask.",
            "Pass approve=False to run all calls, or a function that decides.",
        ) from exc
