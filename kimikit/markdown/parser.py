r"""Parse CommonMark with tables, strikethrough and TeX, as models write them.

markdown-it-py does the work. Added are: display math as a block; math in a line;
emphasis that closes beside Chinese, Japanese and Korean punctuation, where CommonMark
leaves ``**注意：**这`` unread; bars in the code and math of a table; an end to nesting.
(The plugins ``dollarmath`` and ``texmath`` know neither prices nor a bound.)
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline, emphasis
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from kimikit import html
from kimikit.markdown import formulas, rows

DEEPEST = 40
"""Levels of lists and quotes; what is deeper is text. A list takes two."""

DEEPEST_SPANS = 12
"""Levels of emphasis in a line; those beyond leave their text."""


def parse(text: str) -> SyntaxTreeNode:
    """Return the tree of ``text``; math is in nodes ``math`` and ``math_block``."""
    return SyntaxTreeNode(tokens(text))


def tokens(text: str) -> list[Token]:
    """Return the same as a flat list."""
    kept = rows.bars_kept(text)
    found = _parser().parse(kept)
    for token in found:
        if "&" in text or rows.BAR in kept:
            _tidy(token)
        if token.children and len(token.children) > 2 * DEEPEST_SPANS:
            token.children = _shallow(token.children)
    return found


def blocks(text: str) -> list[Token]:
    """Return the blocks of ``text`` as a flat list, without what is in their lines."""
    md, kept, found = _parser(), rows.bars_kept(text), list[Token]()
    md.block.parse(kept, md, {}, found)
    for token in found:
        _tidy(token)
    return found


def outline(text: str) -> list[Token]:
    """Return the blocks of a text that still grows, flat and without what is in lines.

    Math whose end is still to come is math, so that nothing in it reads as a list; no
    line is a link's address, as the next one could make it a paragraph again.
    """
    md, found = _parser(growing=True), list[Token]()
    md.block.parse(rows.bars_kept(text.replace("\r", " ")), md, {}, found)
    return found


@functools.cache
def _parser(*, growing: bool = False) -> MarkdownIt:
    # Two levels more than are used, as at its own bound markdown-it drops the text.
    md = MarkdownIt("commonmark", {"html": False, "maxNesting": DEEPEST + 2})
    md.enable(["table", "strikethrough"])
    md.validateLink = html.is_link  # type: ignore[method-assign]
    md.inline.ruler.before("escape", "math", _math)
    md.inline.ruler.at("emphasis", _emphasis)
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    math_block = functools.partial(_math_block, growing=growing)
    md.block.ruler.before("fence", "math_block", math_block, {"alt": interrupts})
    md.block.ruler.before("table", "deep", _deep)
    return md.disable("reference") if growing else md


def _tidy(token: Token) -> None:
    """Take out what entities brought in, and put the bars of tables back."""
    token.content = html.clean(rows.bars_back(token.content))
    token.info = html.clean(rows.bars_back(token.info))
    for child in token.children or ():
        _tidy(child)
        if child.attrs:
            child.attrs = {
                key: rows.bars_back(str(value)) for key, value in child.attrs.items()
            }


def _shallow(spans: list[Token]) -> list[Token]:
    """Leave out marks that are nested too deep, and keep what they mark."""
    depth, kept = 0, []
    for token in spans:
        depth += token.nesting > 0
        if not token.nesting or depth <= DEEPEST_SPANS:
            kept.append(token)
        depth -= token.nesting < 0
    return kept


def _deep(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:  # noqa: FBT001
    """Take all that is nested too deep as the text of one paragraph."""
    if silent or state.level < DEEPEST:
        return False
    line = startLine + 1
    while line < endLine and (
        state.isEmpty(line) or state.sCount[line] >= state.blkIndent
    ):
        line += 1
    state.push("paragraph_open", "p", 1).map = [startLine, line]
    token = state.push("inline", "", 0)
    token.content = state.getLines(startLine, line, state.blkIndent, False).strip()  # noqa: FBT003
    token.map, token.children = [startLine, line], []
    state.push("paragraph_close", "p", -1)
    state.line = line
    return True


def _environments(state: StateInline | StateBlock) -> dict[int, int]:
    """Return where the environments of this text end, found once for each text."""
    known = state.env.get("environments")
    if known is None or known[0] is not state.src:
        known = state.src, formulas.environments(state.src)
        state.env["environments"] = known
    pairs: dict[int, int] = known[1]
    return pairs


def _math(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the rule's form
    if state.src[state.pos] not in "$\\":
        return False
    known = functools.partial(_environments, state)
    found = formulas.find(state.src, state.pos, state.posMax, known)
    if found is None:
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = found.content
        token.markup = "$$" if found.display else "$"
    state.pos = found.end
    return True


def _math_block(
    state: StateBlock,
    startLine: int,
    endLine: int,
    silent: bool,  # noqa: FBT001
    *,
    growing: bool,
) -> bool:
    if state.is_code_block(startLine):
        return False
    begin = state.bMarks[startLine] + state.tShift[startLine]
    mark = formulas.opens(state.src, begin, state.eMarks[startLine])
    if mark in (None, "$", "\\("):
        return False
    # An environment ends where its own end is, whatever is nested in it.
    stop = 0 if mark else _environments(state).get(begin, 0)
    if not (mark or stop or growing):
        return False  # nothing ends it, so that no line of it need be read
    end = formulas.closing(mark) if mark else ""
    pieces = [state.src[begin + len(mark) : state.eMarks[startLine]].rstrip()]
    if mark and end in pieces[0] and not pieces[0].endswith(end):
        return False
    line = startLine

    def is_last() -> bool:
        return end in pieces[-1] if mark else 0 < stop <= state.eMarks[line]

    for following in _lines_of(state, startLine, endLine):
        if is_last() or state.eMarks[line] - begin > formulas.LONGEST:
            break
        first = state.bMarks[following] + state.tShift[following]
        piece = state.src[first : state.eMarks[following]].rstrip()
        if mark == "\\[" and mark in piece:
            break  # or each line that opens one would be read to the end
        line = following
        pieces.append(piece)
    content = "\n".join(pieces)
    inner = content.removesuffix(end)
    if mark:
        is_whole = inner != content and bool(inner.strip()) and end not in inner
    else:
        is_whole = is_last() and not state.src[stop : state.eMarks[line]].strip()
    if not growing:
        after = state.src[state.eMarks[line] : state.eMarks[line] + 1]
        if not is_whole or not formulas.is_display(mark, inner, after):
            return False
    if not silent:
        token = state.push("math_block" if is_whole else "math_open", "", 0)
        token.content = inner
        token.map = [startLine, line + 1]
        state.line = line + 1
    return True


def _lines_of(state: StateBlock, startLine: int, endLine: int) -> Iterator[int]:
    """Give the lines that may belong to a formula which began on this one."""
    indent = min(state.blkIndent, state.sCount[startLine])
    for line in range(startLine + 1, endLine):
        if state.isEmpty(line) or state.sCount[line] < indent:
            return
        yield line


def _is_wide(char: str) -> bool:
    return unicodedata.east_asian_width(char) in "WF"


def _emphasis(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    """Take a run of ``*`` or ``_`` as markdown-it does, but see wide characters.

    The conditions are those of the proposal "CommonMark and CJK-friendly emphasis":
    wide punctuation does not count as punctuation, and a wide neighbour counts as a
    word's end.
    """
    begin, known = state.pos, len(state.delimiters)
    if not emphasis.tokenize(state, silent):
        return False
    before = state.src[begin - 1] if begin else " "
    after = state.src[state.pos] if state.pos < state.posMax else " "
    if state.src[begin] == "*" and (_is_wide(before) or _is_wide(after)):
        for delimiter in state.delimiters[known:]:
            delimiter.open = not after.isspace()
            delimiter.close = not before.isspace()
    return True
