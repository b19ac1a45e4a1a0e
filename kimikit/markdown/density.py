"""How much work a text makes, told before it is done.

A parser in Python takes some 20 us for a mark. Answers of people's questions have one
in twenty characters; what a broken or hostile model repeats can be nothing else.
"""

from __future__ import annotations

import re

from kimikit.markdown import rows

MARKS_READ = 3_000
"""Marks and lines that are read in any text, besides one for every 12 characters."""

_MARK = re.compile(
    # Code and math are read at once, whatever is in them.
    r"(?ms)^ {0,3}(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^ {0,3}\1|\Z)|`[^`\n]*+`|\$[^$\n]*+\$"
    r"|[*_~\[\]`<&\\$]|\n(?!\n)"
)
_LIGHT = re.compile(r"[!#%+:=>@^{}-]")
"""What the parser stops at for a moment only."""


def marks(text: str) -> int:
    """Return how many marks, lines and cells of tables a parser has to look at."""
    found = _MARK.findall(text).count("")  # of fences, what opens them
    return found + len(_LIGHT.findall(text)) // 4 + rows.cells(text)


def is_dense(text: str) -> bool:
    """Tell a text that would take long to read for its size."""
    if len(text) <= MARKS_READ and "|" not in text:
        return False
    return marks(text) > most(len(text))


def most(length: int) -> int:
    """Return the marks beyond which a text of this length is shown as written."""
    return MARKS_READ + length // 12
