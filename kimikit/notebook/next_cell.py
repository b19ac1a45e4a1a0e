"""Put the code of an answer into the next cell of the notebook."""

from __future__ import annotations

import re

from kimikit import html
from kimikit.display.cell import ipython_shell
from kimikit.errors import BadInput, warn
from kimikit.markdown.fences import Code, code
from kimikit.types import Reply

PYTHON = ("python", "py", "python3", "ipython", "")
"""Words after a fence that say Python, or nothing."""

MAGICS = {
    "bash": "bash", "sh": "bash", "shell": "bash", "zsh": "bash", "html": "html",
    "javascript": "javascript", "js": "javascript", "latex": "latex", "svg": "svg",
    "perl": "perl", "ruby": "ruby", "markdown": "markdown", "md": "markdown",
}  # fmt: skip
"""IPython's own cell magics by the words after a fence."""


LINES_SEEN, LETTERS_SEEN = 40, 120
"""Empty lines, and blanks in a line, after which nobody looks for more code."""


def cell(answer: Reply | Code | str) -> str:
    """Return what a cell would hold: the Python of an answer, else its first block.

    Args:
        answer: An answer, or one block of it, or code.

    Raises:
        BadInput: If there is no code, or none that a cell can run.
    """
    if not isinstance(answer, Reply | Code | str):
        raise BadInput(
            f"to_cell() was given a {type(answer).__name__}.",
            "Pass a reply, or one block of reply.code.",
        )
    if isinstance(answer, str):
        blocks = code(answer) or (Code("", answer),)
    else:
        blocks = (answer,) if isinstance(answer, Code) else code(answer.text)
    if not blocks:
        raise BadInput(
            "The answer has no code block.",
            "Ask for one, such as with system='Answer with one Python code block.'.",
        )
    own = [block for block in blocks if block.language in PYTHON[:-1]]
    own = own or [block for block in blocks if block.language in PYTHON]
    if own:
        return _as_read("\n\n\n".join(block.text for block in own))
    for block in blocks:
        if block.language in MAGICS:
            return _as_read(f"%%{MAGICS[block.language]}\n{block.text}")
    named = ", ".join(dict.fromkeys(block.language for block in blocks))
    raise BadInput(
        f"The code is {named}, which no cell runs.",
        "Take the text itself: reply.code[0].text.",
    )


def fill(answer: Reply | Code | str) -> None:
    """Put code into the next cell.

    Args:
        answer: As for ``cell``.

    Raises:
        BadInput: If there is no code, or no IPython shell.
    """
    text, shell = cell(answer), ipython_shell()
    if shell is None:
        raise BadInput(
            "There is no notebook and no IPython here.",
            "Take the text itself: reply.code[0].text.",
        )
    if _hides(text):
        warn(
            "The code goes on far to the right, or far below, where the cell looks "
            "empty. Scroll to its ends and read it all before you run it."
        )
    shell.set_next_input(text)


def _as_read(text: str) -> str:
    """Return code without what reorders or hides it: what is read is what is run."""
    return html.UNSEEN.sub("", html.clean(text))


def _hides(text: str) -> bool:
    gaps = re.findall(r"[\s\u2800]+", text.strip())
    return any(
        gap.count("\n") > LINES_SEEN or max(map(len, gap.split("\n"))) > LETTERS_SEEN
        for gap in gaps
    )
