r"""Write a model's Markdown again so that no renderer can read it another way.

What a model sends is parsed once, by a strict parser that knows no HTML, and written
anew from the tree. In the result every character that could start something is
escaped unless the tree says that it does; there is no ``<`` outside fenced code but
in the few tags written here; links go to web and mail addresses only; math is kept
apart from prices. JupyterLab (marked, and MathJax over the finished page), GitHub
(cmark), VS Code (markdown-it) and Colab then agree on what is shown, and nothing
in it runs. Differences between these parsers are what HTML filters are beaten with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from kimikit import html

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode as Node

_TEXT = re.compile(
    r"(?P<url>https?://[!-;=?-_a-z{}~]*[/\w&=#%+@-])"
    r"|(?P<entity>&(?=#?\w+;))"
    r"|(?P<dollar>\$)"
    r"|(?P<backslash>\\(?=[^\w\s]|begin|end|ref|eqref|$))"
    r"|(?P<underscore>(?<![^\W_])_|_(?![^\W_]))"
    r"|(?P<bracket>\](?=[(\[:]|$)|!(?=\[|$))"
    r"|(?P<tilde>~(?=\W|$)|(?<=\S)~)"
    r"|(?P<always>[<`*])"
)
_LINE_START = re.compile(
    r"(?m)^(?:(?P<digits>\d{1,9})(?=[.)](?:\s|$))"
    r"|(?=[#>]|[-+](?:\s|$)|=+\s*$|[-|: ]+$))"
)
# Short enough that small print cannot pass for our footer.
_TAGS = re.compile(r"&lt;(su[bp]|kbd)>([\w()+=-]{1,12})&lt;/\1>")
_BREAK = re.compile(r"&lt;br ?/?>")
_PLAIN_CODE = re.compile(r"(?!\s)(?:[^<$`|\\\n\]]|\](?![(:\[]))+(?<!\s)\Z")
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")
_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_SPACING = re.compile(r"\\[hm]space\*?\s*\{[^{}]*\}")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")  # an error when it is drawn again
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(alignat|align|gather|equation)\*?\}")
_FORBIDDEN_TEX = re.compile(
    # What links, styles, loads, defines for the whole page, or leaves its place.
    r"\\(?:href|url|class|cssId|style|data|html\w*|include\w*|require|unicode|mmlToken"
    r"|def|[gex]def|let|futurelet|\w*newcommand|providecommand|\w*newenvironment"
    r"|Declare\w*|Newextarrow|bbox|enclose|toggle|mathtip|texttip|csname|catcode|input"
    r"|raise|lower|moveleft|moveright|[rR]ule|Space|vspace|[hm]?skip|[hm]space|m?kern"
    r"|[rlc]lap|math[rlc]lap|smash|(?:eq)?ref)(?![a-zA-Z])"
)
_APART = frozenset(("fence", "code_block", "math_block", "table"))
# JupyterLab takes math out before it looks for lists and fences; only an empty line
# keeps it from reaching across these.
_ALIGNED = {
    "": "---",
    "text-align:left": ":--",
    "text-align:center": ":-:",
    "text-align:right": "--:",
}
TEX_LIMIT = 5000
"""Characters beyond which math is shown as source."""


def safe(text: str, *, images: bool = False) -> str:
    """Return ``text`` as Markdown that shows the same everywhere and runs nowhere.

    Args:
        text: Markdown as a model wrote it.
        images: Whether to load remote images, by which their server learns who reads
            and when; otherwise they become links.
    """
    # The parser takes 70 ms to import, as long as all the rest of the package.
    from kimikit.notebook import parser

    plain = html.clean(re.sub(r"\r\n?", "\n", text))
    return _Writer(images=images).blocks(parser.parse(plain).children, tight=False)


class _Writer:
    """Writes a tree as Markdown.

    Args:
        images: Whether remote images stay images.
    """

    def __init__(self, *, images: bool) -> None:
        self._image = "!" if images else ""
        self._quoted = 0

    def blocks(self, nodes: list[Node], *, tight: bool) -> str:
        """Return blocks one below the other, apart unless in a tight list."""
        out = last = ""
        for node in nodes:
            gap = "\n" if tight and not {node.type, last} & _APART else "\n\n"
            out += (gap if out else "") + self._block(node)
            last = node.type
        return out

    def _block(self, node: Node) -> str:
        kind = node.type
        if kind in ("fence", "code_block"):
            return self._fence(node)
        if kind == "heading":
            text = " ".join(self._line(node).split("\n"))
            text = re.sub(r"(?<=\s)(#+)$", r"\\\1", text)
            return f"{'#' * int(node.tag[1])} {text}".rstrip()
        if kind == "blockquote":
            self._quoted += 1
            inner = self.blocks(node.children, tight=False)
            self._quoted -= 1
            return "\n".join(f"> {line}".rstrip() for line in inner.split("\n"))
        if kind in ("bullet_list", "ordered_list"):
            return self._list(node)
        if kind == "table":
            return self._table(node)
        if kind == "math_block":
            return _tex(node.content, display=True)
        if kind == "hr":
            return "***"
        return self._line(node)

    def _fence(self, node: Node) -> str:
        code = node.content.removesuffix("\n")
        if self._quoted and re.search(r"[$\\]", code):
            # Inside a quote there is no empty line to stop JupyterLab's math.
            return f"<pre><code>{_entities(code)}</code></pre>"
        longest = max(map(len, re.findall("`+", code)), default=0)
        mark = "`" * max(3, longest + 1)
        language = _LANGUAGE.match(node.info.strip())
        return f"{mark}{language[0] if language else ''}\n{code}\n{mark}"

    def _list(self, node: Node) -> str:
        tight = not any(
            child.type == "paragraph" and not child.hidden
            for item in node.children
            for child in item.children
        )
        items = []
        for item in node.children:
            mark = f"{item.info}{item.markup}"  # of an ordered list, info is the number
            inner = self.blocks(item.children, tight=tight).split("\n")
            indent = " " * (len(mark) + 1)
            rest = [f"{indent}{line}" if line else "" for line in inner[1:]]
            items.append("\n".join([f"{mark} {inner[0]}".rstrip(), *rest]))
        apart = any(child.type in _APART for child in node.walk())
        return ("\n" if tight and not apart else "\n\n").join(items)

    def _table(self, node: Node) -> str:
        rows = [row for part in node.children for row in part.children]
        lines = [
            [
                self._inline(cell, table=True).replace("\n", " ").strip()
                for cell in row.children
            ]
            for row in rows
        ]
        lines.insert(
            1, [_ALIGNED[str(c.attrs.get("style", ""))] for c in rows[0].children]
        )
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _line(self, node: Node) -> str:
        lines = (line.strip(" \t") for line in self._inline(node).split("\n"))
        # A line that is only a tag would begin a block of HTML.
        text = re.sub(r"\A(?:<br>\s*)+", "", "\n".join(filter(None, lines)))
        return _LINE_START.sub(lambda m: f"{m['digits'] or ''}\\", text)

    def _inline(self, node: Node, *, table: bool = False) -> str:
        children = node.children[0].children if node.children else []
        return self._spans(children, table=table, link=False)

    def _spans(self, nodes: list[Node], *, table: bool, link: bool) -> str:
        out = ""
        for i, node in enumerate(nodes):
            kind = node.type
            if kind == "text":
                out += _text(node.content, table=table, link=link)
            elif kind == "code_inline":
                out += _code(node.content)
            elif kind in ("em", "strong", "s"):
                inner = self._spans(node.children, table=table, link=link)
                out += _emphasis(kind, inner, out[-1:], _first(nodes[i + 1 :]))
            elif kind in ("softbreak", "hardbreak"):
                out += "\n" if kind == "softbreak" else "\\\n"
            elif kind == "math":
                out += _tex(node.content, display=node.markup == "$$", table=table)
            elif kind == "link":
                url = _url(str(node.attrs["href"]))
                inner = self._spans(node.children, table=table, link=bool(url))
                out += f"[{inner}]({url})" if url else inner
            elif kind == "image":
                alt = _entities(node.content) or "image"
                url = _url(str(node.attrs["src"]))
                out += alt if link or not url else f"{self._image}[{alt}]({url})"
        return out


def _entities(text: str) -> str:
    """Write every character that Markdown, HTML or TeX could act on as a number."""
    return re.sub(r"[!-/:-@[-`{-~]", lambda m: f"&#{ord(m[0])};", text)


def _text(text: str, *, table: bool, link: bool) -> str:
    def replace(match: re.Match[str]) -> str:
        kind, found = match.lastgroup, match[0]
        if kind == "url":
            return _entities(found) if link else f"<{_url(found)}>"
        if kind in ("dollar", "backslash"):
            # GitHub's own advice for a dollar that is not math; the span also keeps
            # MathJax, which reads the finished page, from pairing it with another.
            return f"<span>&#{ord(found)};</span>"
        named = {"<": "&lt;", "&": "&amp;"}.get(found)
        return named or (f"&#{ord(found)};" if found in "`]!" else f"\\{found}")

    out = _TEXT.sub(replace, text.replace("\n", " "))
    out = _TAGS.sub(r"<\1>\2</\1>", _BREAK.sub("<br>", out))
    if table:
        out = out.replace("|", "&#124;")
    return re.sub(r"(?<!\\)[\[\]]", lambda m: f"&#{ord(m[0])};", out) if link else out


def _code(code: str) -> str:
    if _PLAIN_CODE.match(code):
        return f"`{code}`"
    return f"<code>{_entities(code)}</code>"


def _emphasis(kind: str, inner: str, before: str, after: str) -> str:
    """Return emphasis by marks where these can be read one way only, else by tags."""
    opens = inner[:1].isalnum() or (before in " \n" and inner[:1] not in "*_~ ")
    closes = inner[-1:].isalnum() or (after in " \n" and inner[-1:] not in "*_~ \\")
    apart = not any(c.isalnum() or c in "*_~" for c in before + after)
    if opens and closes and apart:
        mark = {"em": "*", "strong": "**", "s": "~~"}[kind]
        return f"{mark}{inner}{mark}"
    tag = "del" if kind == "s" else kind
    return f"<{tag}>{inner}</{tag}>"


def _first(nodes: list[Node]) -> str:
    """Return what will follow: a letter, a mark, or nothing that matters."""
    for node in nodes:
        if node.type == "text" and node.content:
            return node.content[0]
        if node.type != "text":
            return "*" if node.type in ("em", "strong", "s") else ""
    return ""


def _url(url: str) -> str:
    """Return an address with nothing in it that ends a link, or an empty one."""
    return "" if not html.is_link(url) else quote(url, safe="!#%&'+,-./:=?@_~")


def _tex(tex: str, *, display: bool, table: bool = False) -> str:
    """Return math between dollars, or as code where it could do more than show."""
    body = _LABEL.sub("", _SPACING.sub(r"\\quad ", _COMMENT.sub("", tex)))
    body = " ".join(body.split())
    if not body or _FORBIDDEN_TEX.search(body) or not _is_whole(body):
        return _code(" ".join(tex.split()))
    body = re.sub(r"\](?=[(\[:])", "] ", body)
    body = _ENVIRONMENT.sub(_inner_environment, body)
    body = body.replace("<", "\\lt ").replace(">", "\\gt ")
    if table:
        body = body.replace("\\|", "\\Vert ").replace("|", "\\vert ")
    return f"$$\n{body}\n$$" if display and not table else f"${body}$"


def _is_whole(tex: str) -> bool:
    """Tell whether every renderer will find the end of this math where it is."""
    rest, before = re.sub(r"\\.", "", tex), ""
    if len(tex) > TEX_LIMIT or "$" in rest or "\\" in rest or tex.endswith("\\\\"):
        return False
    rest = re.sub(r"[^{}]", "", rest)
    while rest != before:
        rest, before = rest.replace("{}", ""), rest
    return not rest


def _inner_environment(match: re.Match[str]) -> str:
    """Turn a display environment into the one that stands inside ``$$``."""
    inside = {"align": "aligned", "alignat": "alignedat", "gather": "gathered"}
    inner = inside.get(match[2], "")
    return f"\\{match[1]}{{{inner}}}" if inner else ""
