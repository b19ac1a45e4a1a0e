"""Tell how much work a text makes, before it is done.

A parser in Python takes some 20 us for a mark. Answers of people's questions have one
in twenty characters; what a broken or hostile model repeats can be nothing else.
"""

from __future__ import annotations

import re

from kimikit.markdown import rows

MARKS_READ = 3_300
"""Marks and lines that are read in any text, besides one for every 12 characters."""

# Code and math are read at once, whatever is in them.
_FENCE = re.compile(r"(?ms)^ {0,3}(`{3,}+|~{3,}+)[^\n]*+\n.*?(?:^ {0,3}\1|\Z)")
_MARK = re.compile(r"`[^`\n]*+`|\$[^$\n]*+\$|[*_~\[\]`<&\\$]|\n(?!\n)")
_LIGHT = re.compile(r"[!#%+:=>@^{}-]")
"""What the parser stops at for a moment only."""
_SHORT_LINE = re.compile(r"(?m)^(?:[^\n]{1,6}|\\[^\n]{1,9})$")
_SHORT_ITEM = re.compile(r"(?m)^ {0,9}(?:[-+*>]|\d{1,9}[.)])(?: [^\n]{0,5})?$")
_SHORT_FENCE = 24
_ITEMS = re.compile(r"(?m)^(?:[ >\t]{0,40}(?:[-+*]|\d{1,9}[.)])(?=\s|\Z))+")
"""What begins a line of a list, and of the lists that begin in the same line."""


def marks(text: str) -> int:
    """Return how many marks, lines and cells of tables a parser has to look at."""
    short = sum(len(fence[0]) < _SHORT_FENCE for fence in _FENCE.finditer(text))
    found = _FENCE.sub("\n", text)
    single, light = len(_MARK.findall(found)), len(_LIGHT.findall(found)) // 4
    # In a line of a word or two, most of the work is the line's own.
    heavy = len(_SHORT_LINE.findall(found)) + 3 * len(_SHORT_ITEM.findall(found))
    # A list of its own is begun for each item, whatever is in it.
    heavy += 2 * len("\n".join(_ITEMS.findall(found)).replace(">", " ").split())
    # What follows a bracket is looked through for its end, for each of those in it too.
    heavy += 4 * (found.count("![") + max(0, found.count("[") - found.count("]")))
    return single + heavy + 6 * short + light + rows.cells(text)


def is_dense(text: str) -> bool:
    """Tell a text that would take long to read for its size."""
    if len(text) <= MARKS_READ and "|" not in text:
        return False
    return marks(text) > most(len(text))


def most(length: int) -> int:
    """Return the marks beyond which a text of this length is shown as written."""
    return MARKS_READ + length // 12
