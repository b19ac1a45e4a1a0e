"""The writer of safe Markdown: it shows what the model wrote, and nothing can run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kimikit import html
from kimikit.markdown import parser, safe

MARKS = [
    "a", "b ", "word ", "\n", "\n\n", "*", "**", "_", "__", "~~", "~", "`", "``", "```\n",
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "<", ">", "<b>", "</b>", "<br>", "&lt;",
    "&", "#", "# ", "- ", "1. ", "> ", "    ", "  ", "|", "|---|---|\n", "[", "]", "(", ")",
    "](", "!", "![", "http://x.y", "javascript:x", ":", "=", "+", "中", "：", "5", ".",
    "\\begin{align}", "\\end{align}", "{", "}", "^", "'", '"', "<img src=x onerror=y>",
    "<sub>2</sub>", "\t", "\r", "~~~\n", "<!--", "-->", "@@0@@", "\u202e", "\x1b[31m", "[a](http://x.y)",
]  # fmt: skip
hostile = st.lists(st.sampled_from(MARKS), max_size=24).map("".join)
OURS = re.compile(
    r"</?(?:strong|em|del|code|span|pre|sub|sup|kbd)>|<br>|<https?://[!-;=?-~]+>"
)
FENCE = re.compile(r"(?ms)^([ >]*(?:[-+*] |\d+[.)] )*)(`{3,})[^`\n]*\n.*?^[ >]*\2$")
readers = {
    "commonmark": MarkdownIt("commonmark", {"html": True}).enable(
        ["table", "strikethrough"]
    ),
}


def outside_code(markdown: str) -> str:
    """What stands neither in fences nor in plain code spans."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", markdown))


def shown(page: str) -> str:
    """The characters a reader sees, apart from spaces."""
    import html as stdlib

    return re.sub(r"\s+", "", stdlib.unescape(re.sub(r"<[^>]*>", "", page)))


def expected(text: str) -> str:
    """The same characters, from the tree that the writer starts from."""
    plain = "".join(contents(parser.parse(html.clean(re.sub(r"\r\n?", "\n", text)))))
    return re.sub(r"\s+", "", plain)


def contents(node: Any) -> Iterator[str]:
    if node.type == "image":
        yield node.content or "image"
        return
    if node.type == "text":
        yield re.sub(r"<br ?/?>|</?(?:su[bp]|kbd)>", "", node.content)
    elif not node.is_root and node.type != "inline":
        yield node.content if node.token else ""
    for child in node.children:
        yield from contents(child)


@given(hostile)
@example("***a** b*")
@example("*a*b**c**")
@example("\\![a](http://x.y)")
@example("!http://x.y*a")
@example("a!!https://x.y`a* !http://x.y")
@example("[a]http://x.y*a")
@example("- ```\n  $\n  ```\n  $x$\n- <img>")
def test_nothing_but_our_own_tags_is_left(text: str) -> None:
    rest = OURS.sub(" ", outside_code(safe(text)))
    assert "<" not in rest
    assert not re.search(r"\]\((?!https?://|mailto:)", rest)
    assert not re.search(r"\]:|!\[[^\]]*\]\(", rest)


@given(hostile)
def test_other_readers_see_no_tags_or_links_but_ours(text: str) -> None:
    page = readers["commonmark"].render(safe(text))
    tags = set(re.findall(r"<([a-z][a-z0-9]*)", page))
    allowed = (
        "p strong em del s code pre span sub sup kbd br h1 h2 h3 h4 h5 h6 ul ol li hr a "
        "blockquote table thead tbody tr th td"
    )
    assert tags <= set(allowed.split())
    assert all(
        re.match(r"https?://|mailto:", u) for u in re.findall(r'href="([^"]*)', page)
    )
    assert " on" not in re.sub(r">[^<]*<", "><", page)


@given(hostile.filter(lambda text: "$" not in text and "\\" not in text))
@example("# b # #")
def test_what_is_shown_is_what_was_written(text: str) -> None:
    assert shown(readers["commonmark"].render(safe(text))) == expected(text)


@given(hostile)
def test_each_dollar_is_math_or_stands_alone(text: str) -> None:
    rest = outside_code(safe(text)).replace("<span>&#36;</span>", "")
    rest = re.sub(r"\\.", "", rest)
    assert rest.count("$") % 2 == 0


@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    safe(text)


EXACT = {
    "prices are not math": (
        "It costs $5 and $10, or US$3.",
        "It costs <span>&#36;</span>5 and <span>&#36;</span>10, or US<span>&#36;</span>3.",
    ),
    "math beside prices": ("$x$ for $5", "$x$ for <span>&#36;</span>5"),
    "prose between dollars": ("$5 for two, 3 for US$ more", None),
    "escaped dollar": (r"\$5", "<span>&#36;</span>5"),
    "brackets of LaTeX": (r"\( a < b \) and \[ c \]", "$a \\lt b$ and $$\nc\n$$"),
    "display over lines": ("\\[\na\n- b\n\\]", "$$\na - b\n$$"),
    "aligned": (
        "\\begin{align*}\na &= b\n\\end{align*}",
        "$$\n\\begin{aligned} a &= b \\end{aligned}\n$$",
    ),
    "equation": ("\\begin{equation}x\\end{equation}", "$$\nx\n$$"),
    "comments in math": ("$$\na % note\nb\n$$", "$$\na b\n$$"),
    "spaces and labels": (r"$$a \hspace{1cm} b \tag{1} \label{x}$$", "$$\na \\quad b \\tag{1}\n$$"),
    "forbidden math": (r"$\href{u}{x}$", "<code>&#92;href&#123;u&#125;&#123;x&#125;</code>"),
    "unbalanced math": ("$a}{b$", "`a}{b`"),
    "math in a table": ("|a|\n|-|\n|$\\|x\\|$|", "| a |\n| --- |\n| $\\vert x\\vert$ |"),
    "nested fence": (
        "- a\n  ```sh\n  echo $HOME\n  ```\n- b",
        "- a\n\n  ```sh\n  echo $HOME\n  ```\n\n- b",
    ),
    "fence in a quote": (
        "> ```\n> $x\n> ```",
        "> <pre><code>&#36;x</code></pre>",
    ),
    "plain fence in a quote": ("> ```\n> x\n> ```", "> ```\n> x\n> ```"),
    "long fence": ("````\n```\n````", "````\n```\n````"),
    "indented code": ("    a < b", "```\na < b\n```"),
    "code span with tags": ("`<b>`", "<code>&#60;b&#62;</code>"),
    "plain code span": ("`a[0] & b`", "`a[0] & b`"),
    "image": ("![a b](https://x.y/z.png)", "[a b](https://x.y/z.png)"),
    "image without words": ("![](http://x.y)", "[image](http://x.y)"),
    "image in a link": ("[![a](http://b.c)](http://x.y)", "[a](http://x.y)"),
    "link": ("[a](http://x.y/(z)?q=$1 'title')", "[a](http://x.y/%28z%29?q=%241)"),
    "brackets in a link": (r"[a\]b](http://x.y)", "[a&#93;b](http://x.y)"),
    "address in a link": ("[http://a.b](http://x.y)", None),
    "bare address": ("See http://x.y/a_b_c.", "See <http://x.y/a_b_c>."),
    "mail": ("<mailto:a@b.c>", "[mailto:a@b.c](mailto:a@b.c)"),
    "inert link": ("[a](javascript:b)", "[a&#93;(javascript:b)"),
    "reference": ("[a][r]\n\n[r]: http://x.y", "[a](http://x.y)"),
    "emphasis": ("*a* __b__ ~~c~~ ***d***", None),
    "emphasis beside words": ("a*b*c", "a<em>b</em>c"),
    "wide punctuation": ("**注意：**这", "<strong>注意：</strong>这"),
    "stars and underscores": ("2 * 3 snake_case _x", r"2 \* 3 snake_case \_x"),
    "line starts": ("a\n\\# b\n1\\. c\n\\- d", "a\n\\# b\n1\\. c\n\\- d"),
    "setext": ("Title\nmore\n===", "# Title more"),
    "heading that ends in hashes": ("# C \\##", "# C \\##"),
    "rule": ("a\n\n---", "a\n\n***"),
    "ordered from 7": ("7. a\n8. b", "7. a\n8. b"),
    "loose list": ("- a\n\n- b", "- a\n\n- b"),
    "empty item": ("-\n- b", "-\n- b"),
    "tags that may stay": ("H<sub>2</sub>O<br/>x", "H<sub>2</sub>O<br>x"),
    "tags that may not": ("<b>x</b>", "&lt;b>x&lt;/b>"),
    "lone break": ("<br>\na", "a"),
    "hard break": ("a  \nb", "a\\\nb"),
    "entities": ("&lt;b&gt; &amp;lt; AT&T", "&lt;b> &amp;lt; AT&T"),
    "controls": ("a\x1b[31mb\u202ec\r\nd", "abc\nd"),
    "table": (
        "|l|c|r|\n|:-|:-:|-:|\n|a\\|b|`c`|**d**|",
        "| l | c | r |\n| :-- | :-: | --: |\n| a&#124;b | `c` | **d** |",
    ),
    "nested quote": ("> a\n>\n> > b", "> a\n>\n> > b"),
    "huge math": ("$" + "x" * 6000 + "$", None),
}  # fmt: skip
LONGER = {
    "prose between dollars": "<span>&#36;</span>5 for two, 3 for US<span>&#36;</span> more",
    "address in a link": "[http&#58;&#47;&#47;a&#46;b](http://x.y)",
    "emphasis": "*a* **b** ~~c~~ <em>**d**</em>",
    "huge math": "`" + "x" * 6000 + "`",
}


@pytest.mark.parametrize("name", EXACT)
def test_written_exactly(name: str) -> None:
    text, written = EXACT[name]
    assert safe(text) == (LONGER[name] if written is None else written)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("![a b](https://x.y/z.png)", "![a b](https://x.y/z.png)"),
        ("[![a](http://b.c)](http://x.y)", "[a](http://x.y)"),
        ("![a](data:image/svg+xml;base64,PHN2Zz4=)", None),
        ("![a](javascript:b)", None),
        ("![a](file:///etc/x.png)", None),
        ("![a](//x.y/z.png)", None),
    ],
)
def test_images_that_are_allowed_come_from_the_web_alone(written, shown):
    text = safe(written, images=True)
    assert text == shown if shown else "](" not in text.replace("&#93;(", "")


def test_the_path_of_older_versions_still_leads_to_it() -> None:
    from kimikit.notebook import markdown

    assert markdown.safe is safe
