r"""Rewrite a formula so that MathJax and KaTeX set it, and check what came out.

The check is the last step, on the very text that is emitted: a formula that is changed
after its check can be written such that the change makes the macro that was forbidden.
"""

from __future__ import annotations

import re

LONGEST = 5000
"""Characters beyond which a formula is shown as source."""

_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_SPACING = re.compile(r"\\[hm]space\*?\s*\{[^{}]*\}")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")  # an error when it is drawn again
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(alignat|align|gather|equation)\*?\}")
_INSIDE = {"align": "aligned", "alignat": "alignedat", "gather": "gathered"}

_UNIT = "(?:em|ex|in|cm|pc|pt|px|mm|mu|bp|sp|dd|cc)"
_LARGE = "(?:em|ex|in|cm|pc)"
_FORBIDDEN = re.compile(
    # What links, styles, loads, defines for the whole page, or leaves its place.
    r"\\(?:href|url|class|css[iI]d|style|data|html\w*|include\w*|require|unicode|mmlToken"
    r"|def|[gex]def|let|futurelet|\w*newcommand|providecommand|\w*newenvironment|newtag"
    r"|Declare\w*|Newextarrow|newcolumntype|definecolor|bbox|enclose|toggle|mathtip"
    r"|texttip|csname|catcode|input|verb|above|\w+withdelims|shove\w+|MoveEqLeft"
    r"|raise|lower|moveleft|moveright|[rR]ule|Space|vspace|[hm]?skip|[hm]space|m?kern"
    r"|[rlc]lap|math[rlc]lap|smash|\w*makebox|\w*framebox|\w*parbox|\w*raisebox"
    r"|rotatebox|scalebox|Tip|(?:eq)?ref|label)(?![a-zA-Z])"
    # Lengths by which a line leaves its place.
    rf"|\\\\\*?\s*\[\s*(?:-\s*[\d.]+|\d{{3}}[\d.]*|\d\d[\d.]*(?=\s*{_LARGE}))\s*{_UNIT}"
    rf"|[lcr|{{}}\s][pmbw]\{{\s*\d\d[\d.]*\s*{_UNIT}"
    r"|\\genfrac\s*\{[^{}]*\}\s*\{[^{}]*\}\s*\{\s*(?!\d?(?:\.\d+)?\s*(?:p[tx])?\s*\})"
)
_GROUP = r"\s*(?:\[\w+\]\s*)?\{\s*(?:[a-zA-Z]+|#[\da-fA-F]{3,8}|[\d., ]+)\s*\}"
_COLOUR = re.compile(r"\\(?:text|f)?color(?:box)?(?![a-zA-Z])")
_PLAIN_COLOUR = re.compile(
    rf"\\(?:(?:text)?color(?:box)?{_GROUP}|fcolorbox{_GROUP}{_GROUP})"
)


def rewritten(tex: str, *, table: bool) -> str:
    """Return a formula on one line, as it stands between dollars.

    Args:
        tex: As it was written, without what opens and closes it.
        table: Whether it stands in a table's cell, where a bar would end it.
    """
    body = _LABEL.sub(" ", _SPACING.sub(r"\\quad ", _COMMENT.sub("", tex)))
    body = _ENVIRONMENT.sub(_inner, body)
    body = re.sub(r"\](?=[(\[:])", "] ", body)
    body = body.replace("<", "\\lt ").replace(">", "\\gt ")
    if table:
        body = body.replace("\\|", "\\Vert ").replace("|", "\\vert ")
    return " ".join(body.split())


def _inner(match: re.Match[str]) -> str:
    """Turn a display environment into the one that stands inside ``$$``."""
    inner = _INSIDE.get(match[2], "")
    # A space: what stood on its two sides must not become one name.
    return f"\\{match[1]}{{{inner}}}" if inner else " "


def is_harmless(tex: str) -> bool:
    """Tell whether this text, exactly as it is, can only show something."""
    return (
        len(tex) <= LONGEST
        and not _FORBIDDEN.search(tex)
        and _is_whole(tex)
        and len(_COLOUR.findall(tex)) == len(_PLAIN_COLOUR.findall(tex))
    )


def _is_whole(tex: str) -> bool:
    """Tell whether every renderer will find the end of this formula where it is."""
    rest, depth = re.sub(r"\\.", "", tex), 0
    if "$" in rest or "\\" in rest or tex.endswith("\\\\"):
        return False
    for brace in re.findall(r"[{}]", rest):
        depth += 1 if brace == "{" else -1
        if not 0 <= depth <= DEEPEST:
            return False
    return depth == 0


DEEPEST = 50
"""Levels of braces; MathJax reads each by a call of its own."""
