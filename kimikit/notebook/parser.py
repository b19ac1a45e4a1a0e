r"""CommonMark with tables, strikethrough and TeX, as models write them.

markdown-it-py does the work. Three rules are added: display math as a block, inline
math (``$x$``, ``\(x\)``, ``\[x\]``, ``$$x$$`` and environments, with the conditions
by which pandoc tells math from prices), and emphasis that closes beside Chinese,
Japanese and Korean punctuation, where CommonMark leaves ``**注意：**这`` unread.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline, emphasis
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from kimikit import html

_BLOCK_OPEN = re.compile(r"\$\$|\\\[|(?=\\begin\{([a-zA-Z]+\*?)\})")
_INLINE_OPEN = re.compile(r"\$\$?|\\\(|\\\[|(?=\\begin\{([a-zA-Z]+\*?)\})")
_ENDS = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_PROSE = re.compile(r"\d[\d.,]*[kKMB]?\s+[^\\^_={}]*[a-zA-Z]{2}[^\\^_={}]*$")


def parse(text: str) -> SyntaxTreeNode:
    """Return the tree of ``text``; math is in nodes ``math`` and ``math_block``."""
    return SyntaxTreeNode(_parser().parse(text))


def outline(text: str) -> list[Token]:
    """Return the blocks of a text that still grows, flat and without what is in lines.

    Math whose end is still to come is math, so that nothing in it reads as a list; no
    line is a link's address, as the next one could make it a paragraph again.
    """
    md, tokens = _parser(growing=True), list[Token]()
    md.block.parse(text.replace("\r", " "), md, {}, tokens)
    return tokens


@functools.cache
def _parser(*, growing: bool = False) -> MarkdownIt:
    md = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    md.validateLink = html.is_link  # type: ignore[method-assign]
    md.inline.ruler.before("escape", "math", _math)
    md.inline.ruler.at("emphasis", _emphasis)
    interrupts = ["paragraph", "reference", "blockquote", "list"]
    math_block = functools.partial(_math_block, growing=growing)
    md.block.ruler.before("fence", "math_block", math_block, {"alt": interrupts})
    return md.disable("reference") if growing else md


def _end(opened: re.Match[str]) -> str:
    return _ENDS.get(opened[0]) or f"\\end{{{opened[1]}}}"


def _math(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the rule's form
    opened = _INLINE_OPEN.match(state.src, state.pos, state.posMax)
    if opened is None:
        return False
    end = _end(opened)
    start = opened.end()
    stop = state.src.find(end, start, state.posMax)
    while stop > 0 and end == "$" and state.src[stop - 1] == "\\":
        stop = state.src.find(end, stop + 1, state.posMax)
    if stop < 0:
        return False
    after = stop + len(end)
    content = state.src[start : stop if opened[0] else after]
    if not content.strip() or "`" in content:
        return False
    if end == "$" and not _is_math(state.src, opened.start(), content, after):
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = content
        token.markup = "$" if end in ("$", "\\)") else "$$"
    state.pos = after
    return True


def _is_math(source: str, begin: int, content: str, after: int) -> bool:
    """Tell math from prices, as pandoc's ``tex_math_dollars`` does, and stricter."""
    before = source[begin - 1] if begin else " "
    return not (
        content[0].isspace()
        or content[-1].isspace()
        or source[after : after + 1].isdigit()
        or (before.isascii() and before.isalnum())
        or _PROSE.match(content)
    )


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
    opened = _BLOCK_OPEN.match(state.src, begin, state.eMarks[startLine])
    if opened is None:
        return False
    end, line = _end(opened), startLine
    pieces = [state.src[opened.end() : state.eMarks[line]].rstrip()]
    if end in pieces[0] and not pieces[0].endswith(end):
        return False
    indent = min(state.blkIndent, state.sCount[line])
    while end not in pieces[-1] and line + 1 < endLine:
        if state.isEmpty(line + 1) or state.sCount[line + 1] < indent:
            break
        line += 1
        first = state.bMarks[line] + state.tShift[line]
        pieces.append(state.src[first : state.eMarks[line]].rstrip())
    content = "\n".join(pieces)
    inner = content.removesuffix(end)
    is_whole = inner != content and bool(inner.strip()) and end not in inner
    if not growing and (not is_whole or "`" in inner):
        return False
    if not silent:
        token = state.push("math_block" if is_whole else "math_open", "", 0)
        token.content = inner if opened[0] else content
        token.map = [startLine, line + 1]
        state.line = line + 1
    return True


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
