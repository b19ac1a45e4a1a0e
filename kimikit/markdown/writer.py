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
from kimikit.markdown import density, tex

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode as Node

_TEXT = re.compile(
    # Of other letters only those of scripts that part words by spaces: elsewhere the
    # next word of the sentence would be taken for a part of the address.
    r"(?P<url>https?://[A-Za-z0-9\u00c0-\u024f\u0370-\u058f\u0904-\u0939]"
    r"[!#-;=?-\[\]_a-z{}~\u00c0-\u024f\u0370-\u060b\u0620-\u0963\u0966-\u0dff"
    r"\u10a0-\u10ff\u1200-\u139f\u1e00-\u1fff]*)"
    r"|(?P<entity>&(?=#?\w+;))"
    r"|(?P<dollar>\$)"
    r"|(?P<backslash>\\(?=[^\w\s]|begin|end|ref|eqref|$))"
    r"|(?P<underscore>(?<![^\W_])_|_(?![^\W_]))"
    # An address may be written as a link, which begins with a bracket.
    r"|(?P<bracket>\](?=[(\[:]|$|https?://)|!(?=\[|$|https?://))"
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
_OUTSIDE = re.compile(
    r"(?ms)^([ >]*(?:(?:[-+*]|\d+[.)]) )*)(`{3,})[^`\n]*\n.*?^[ >]*\2$|`[^`\n]*`"
)
"""Fences and code spans as they are written here."""
_PLAIN_CODE = re.compile(r"(?!\s)(?:[^<$`|\\\n\]]|\](?![(:\[]))+(?<!\s)\Z")
_LANGUAGE = re.compile(r"[\w+#.-]{1,30}")
_CLOSERS = {")": "(", "]": "[", "}": "{"}
_APART = frozenset(("fence", "code_block", "math_block", "table"))
# JupyterLab takes math out before it looks for lists and fences; only an empty line
# keeps it from reaching across these.
_ALIGNED = {
    "": "---",
    "text-align:left": ":--",
    "text-align:center": ":-:",
    "text-align:right": "--:",
}
NOTE = "*Shown as it was written, as it could not be set.*"


def safe(text: str, *, images: bool = False) -> str:
    """Return ``text`` as Markdown that shows the same everywhere and runs nowhere.

    Args:
        text: Markdown as a model wrote it.
        images: Whether to load remote images, by which their server learns who reads
            and when; otherwise they become links.
    """
    plain = html.clean(text)
    try:
        # The parser takes 70 ms to import, as long as all the rest of the package.
        from kimikit.markdown import parser

        if density.is_dense(plain):
            return as_written(plain)
        tree = parser.parse(plain)
        return _checked(_Writer(images=images).blocks(tree.children, tight=False))
    except Exception:  # no text may cost the answer, whatever is wrong with it
        return as_written(plain)


def as_written(text: str) -> str:
    """Return any text as Markdown that shows its characters, and a note."""
    return f"{_fenced(html.clean(text))}\n\n{NOTE}"


def small_print(line: str) -> str:
    """Return a footer as it stands below a text in one Markdown display.

    An empty line or a mark in a model's name would end the tag and be Markdown again.
    """
    return f'<div class="muted"><small>{html.in_line(line)}</small></div>'


def _fenced(code: str, language: str = "") -> str:
    longest = max(map(len, re.findall("`+", code)), default=0)
    mark = "`" * max(3, longest + 1)
    return f"{mark}{language}\n{code}\n{mark}"


def _checked(markdown: str) -> str:
    """Return what is about to be shown, once nothing is left in it that may not be.

    Each piece was checked when it was written; this is all, after its last change.

    Raises:
        ValueError: If anything is.
    """
    if html.clean(markdown) != markdown:
        raise ValueError("a control character is left")
    if "$" in markdown:
        formulas = re.findall(r"\$([^$]+)\$", _OUTSIDE.sub("", markdown))
        if not all(map(tex.is_harmless, formulas)):
            raise ValueError("a formula could do more than show")
    return markdown


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
            return _math(node.content, display=True)
        if kind == "hr":
            return "***"
        return self._line(node)

    def _fence(self, node: Node) -> str:
        code = node.content.removesuffix("\n")
        if self._quoted and re.search(r"[$\\]", code):
            # Inside a quote there is no empty line to stop JupyterLab's math.
            return f"<pre><code>{html.entities(code)}</code></pre>"
        language = _LANGUAGE.match(node.info.strip())
        return _fenced(code, language[0] if language else "")

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
                out += _math(node.content, display=node.markup == "$$", table=table)
            elif kind == "link":
                url = _url(str(node.attrs["href"]))
                inner = self._spans(node.children, table=table, link=bool(url))
                out += f"[{inner}]({url})" if url else inner
            elif kind == "image":
                alt = html.entities(node.content) or "image"
                url = _url(str(node.attrs["src"]))
                out += alt if link or not url else f"{self._image}[{alt}]({url})"
        return out


def _text(text: str, *, table: bool = False, link: bool = False) -> str:
    def replace(match: re.Match[str]) -> str:
        kind, found = match.lastgroup, match[0]
        if kind == "url":
            return html.entities(found) if link else _address(found)
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
    return f"<code>{html.entities(code)}</code>"


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


def _address(found: str) -> str:
    """Return an address as a link, and what stands behind it as text.

    It ends where people see its end: before the punctuation of the sentence, and before
    a bracket that was opened outside.
    """
    surplus = {c: found.count(c) - found.count(o) for c, o in _CLOSERS.items()}
    end = len(found)
    while found[end - 1] in "?!.,:;*_~'([{$" or surplus.get(found[end - 1], 0) > 0:
        end -= 1
        if found[end] in surplus:
            surplus[found[end]] -= 1
    url = found[:end]
    target = _url(url)
    same = target.replace("%28", "(").replace("%29", ")") == url
    shown = f"<{url}>" if same else f"[{html.entities(url)}]({target})"
    return shown + (_text(found[end:]) if end < len(found) else "")


def _math(source: str, *, display: bool, table: bool = False) -> str:
    """Return math between dollars, or as code where it could do more than show."""
    body = tex.rewritten(source, table=table)
    if not body or not tex.is_harmless(body):
        return _code(" ".join(source.split()))
    return f"$$\n{body}\n$$" if display and not table else f"${body}$"
