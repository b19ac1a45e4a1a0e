"""Keep bars that stand in code or math from parting the cells of a table's row.

GitHub's rule parts them, and drops the cells beyond the heads: with the rule alone the
last cells of a row with ``a|b`` in code are gone. Only rows that would lose cells are
changed; in those a bar is kept as a sign of its own while the text is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

BAR = "\ufdd0"
"""A code point that no text may contain, in place of a bar."""

_DELIMITERS = re.compile(
    r"[ \t>]*+\|?[ \t]*+:?-++:?[ \t]*+"
    r"(?:\|[ \t]*+:?-++:?[ \t]*+)*\|?[ \t]*+\Z"
)
_LEAD = re.compile(r"[ \t>]*+(?:(?:[-+*]|\d{1,9}[.)])[ \t]++)*")
_BEGIN = ("|", "-", ":")
"""With what the line below the heads may begin."""
_CELL = re.compile("-+")
_OTHER = re.compile(
    r"[ \t>]*+(?:[-+*]|\d{1,9}[.)]|#{1,6})[ \t]|[ \t>]*+(?:```|~~~|\$\$)"
)
"""What ends a table without an empty line."""
_MARKS = re.compile(r"\\.|`+|\$+|\|")
_SEPARATOR = re.compile(r"\\.|(\|)")


def bars_kept(text: str) -> str:
    """Return ``text`` with the bars replaced that would part or drop a cell wrongly."""
    text = text.replace(BAR, "")
    if "|" not in text:
        return text
    lines = text.split("\n")
    for number, columns in _rows(lines):
        lines[number] = _kept(lines[number], columns)
    return "\n".join(lines)


def bars_back(text: str) -> str:
    """Return a parsed text with its bars."""
    return text.replace(BAR, "|")


def cells(text: str) -> int:
    """Return about how many cells the tables of ``text`` have."""
    if "|" not in text:
        return 0
    return sum(columns for _, columns in _rows(text.split("\n")))


def _rows(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Give the numbers of lines that may be rows of tables, and their columns."""
    columns, quotes = 0, 0
    for number, line in enumerate(lines):
        if not columns and line.lstrip(" \t>")[:1] not in _BEGIN:
            continue
        lead = _LEAD.match(line)
        start = lead[0] if lead else ""
        if (
            not line.strip(" \t>")
            or (columns and quotes != start.count(">"))
            or _OTHER.match(line)
        ):
            columns = 0
        if columns:
            yield number, columns
        elif number and "|" in lines[number - 1] and _DELIMITERS.match(line):
            columns, quotes = _CELL.subn("", line)[1], start.count(">")
            yield number - 1, columns


def _kept(line: str, columns: int) -> str:
    """Keep bars in code and math while there are too many cells, then any beyond."""
    begin = _LEAD.match(line)
    start = begin.end() if begin else 0
    start += line.startswith("|", start)
    end = len(line.rstrip())
    if line.endswith("|", start, end) and not line.endswith("\\|", start, end):
        end -= 1
    parting = [m.start() for m in _SEPARATOR.finditer(line, start, end) if m[1]]
    surplus = len(parting) + 1 - columns
    if surplus <= 0:
        return line
    kept = set(list(_in_spans(line, start, end))[:surplus])
    rest = [bar for bar in parting if bar not in kept]
    out = list(line)
    for place in kept | set(rest[columns - 1 :]):
        out[place] = BAR
    return "".join(out)


def _in_spans(line: str, start: int, end: int) -> Iterator[int]:
    """Give the places of bars between two equal runs of backticks or dollars."""
    marks = list(_MARKS.finditer(line, start, end))
    last = {mark[0]: number for number, mark in enumerate(marks)}
    bars: list[int] = []
    opened = ""
    for number, mark in enumerate(marks):
        if mark[0] == "|":
            if opened:
                bars.append(mark.start())
        elif mark[0] == opened:
            yield from bars
            opened, bars = "", []
        elif not opened and mark[0][0] in "`$" and last[mark[0]] > number:
            opened = mark[0]
